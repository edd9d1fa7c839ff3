//! The demo's story: told line by line, then as one page.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cathedral_model::inbox::ConflictRecord;
use cathedral_model::run::RunSummary;
use cathedral_model::snapshot::{Checked, SnapshotInfo};
use cathedral_web::report::{Page, Row};

use super::{Lines, Scene, told};
use crate::cli::{Output, Tint, many, safe, size};

/// Tells each step as it begins and ends.
pub struct Teller<'a> {
    output: &'a Output,
    step: Option<(String, Instant)>,
}

impl<'a> Teller<'a> {
    pub fn new(output: &'a Output) -> Self {
        Self { output, step: None }
    }

    pub fn begin(&mut self, name: &str, what: &str) {
        if self.output.is_watched() {
            eprint!("\r\x1b[2K  {} {name:<12} {what}", self.output.symbol("◌", ".."));
        }
        self.step = Some((name.to_owned(), Instant::now()));
    }

    pub fn done(&mut self, what: &str) {
        let Some((name, since)) = self.step.take() else { return };
        if self.output.is_watched() {
            eprint!("\r\x1b[2K");
        }
        let mark = self.output.paint(Tint::Good, self.output.symbol("●", "ok"));
        let took = self.output.paint(Tint::Dim, &format!("{:>6} ms", since.elapsed().as_millis()));
        self.output.note(format!("  {mark} {name:<12} {took}  {what}"));
    }

    pub fn end(&mut self) {
        if self.step.take().is_some() && self.output.is_watched() {
            eprintln!();
        }
    }
}

/// What happened.
pub struct Report {
    root: PathBuf,
    pub first: Option<RunSummary>,
    pub second: Option<RunSummary>,
    pub conflicts: Vec<ConflictRecord>,
    pub snapshot: Option<SnapshotInfo>,
    pub checked: Checked,
    /// What all snapshots take at one destination.
    pub stored: u64,
    pub compared: Lines,
    pub log: Option<(u64, String)>,
    pub seconds: f64,
}

impl Report {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            first: None,
            second: None,
            conflicts: vec![],
            snapshot: None,
            checked: Checked::default(),
            stored: 0,
            compared: vec![],
            log: None,
            seconds: 0.0,
        }
    }

    pub fn is_good(&self) -> bool {
        self.compared.iter().all(|(_, outcome)| outcome.is_ok())
    }

    /// The end of the story for the terminal.
    pub fn print(&self, scene: &Scene, page: &Path, output: &Output) {
        self.data(page, output);
        if output.is_machine() {
            return;
        }
        output.say("");
        output.say(output.paint(Tint::Bold, "What merged by itself"));
        for spoke in self.second.iter().flat_map(|s| &s.spokes).filter(|s| s.changes_in + s.changes_out > 0) {
            output.say(format!(
                "  {:<30} {:>4} to the hub, {:>4} to the spoke",
                spoke.name, spoke.changes_in, spoke.changes_out
            ));
        }
        output.say("");
        output.say(output.paint(Tint::Bold, "What waits for a person; both sides are kept"));
        for record in &self.conflicts {
            let [spoke, place, hub, theirs] = told(record).map(|t| cut(&safe(&t), 46));
            let mark = output.paint(Tint::Warn, output.symbol("▲", "!!"));
            output.say(format!("  {mark} {:>2}  {spoke}: {place}   ({})", record.id, record.draft.conflict_kind));
            output.say(format!("        hub {hub}   spoke {theirs}"));
        }
        output.say("");
        output.say(output.paint(Tint::Bold, "What came back, compared by other means"));
        for (name, outcome) in &self.compared {
            let (mark, text) = match outcome {
                Ok(text) => (output.paint(Tint::Good, output.symbol("✔", "ok")), text),
                Err(text) => (output.paint(Tint::Bad, output.symbol("✖", "xx")), text),
            };
            output.say(format!("  {mark} {name:<30} {text}"));
        }
        output.say("");
        if let (Some(snapshot), Some((leaves, root))) = (&self.snapshot, &self.log) {
            output.say(format!("  snapshot {}   root {}", snapshot.meta.id, &snapshot.root.to_string()[..32]));
            output.say(format!(
                "  three snapshots take {} encrypted, for {} of content",
                size(self.stored),
                size(snapshot.bytes.logical)
            ));
            output.say(format!("  log      {}, head {}", many(*leaves, "leaf", "leaves"), &root[..32]));
        }
        let verdict = if self.is_good() { "Everything can be restored." } else { "A comparison failed." };
        let (symbol, tint) = if self.is_good() {
            (output.symbol("●", "ok"), Tint::Good)
        } else {
            (output.symbol("✖", "xx"), Tint::Bad)
        };
        output.say("");
        output.say(format!(
            "{} {} {:.1} s",
            output.paint(tint, symbol),
            output.paint(Tint::Bold, verdict),
            self.seconds
        ));
        output.say(format!("  report   {}", page.display()));
        output.say(format!("  try      cathedral -C {} status", scene.hub.display()));
        if let Some(first) = self.conflicts.first() {
            output.say(format!("           cathedral -C {} conflicts show {}", scene.hub.display(), first.id));
        }
        output.say(format!("           cathedral -C {} proof snapshot latest --out proof", scene.hub.display()));
    }

    /// Three things to try while the dashboard is served.
    pub fn try_this(&self, scene: &Scene) -> Vec<String> {
        let hub = scene.hub.display();
        let id = self.conflicts.first().map_or(1, |first| first.id.0);
        vec![
            format!(
                "try  echo hello >> {}    it is at the hub a second later",
                scene.root.join("apps/codex/README.md").display()
            ),
            format!("     open /conflicts/{id} and choose a side; the other one stays in a snapshot"),
            format!("     cathedral -C {hub} sync    works beside the hub that serves"),
        ]
    }

    fn data(&self, page: &Path, output: &Output) {
        let compared: Vec<_> = self
            .compared
            .iter()
            .map(|(name, outcome)| serde_json::json!({ "name": name, "equal": outcome.is_ok(), "detail": outcome.as_ref().unwrap_or_else(|e| e) }))
            .collect();
        output.data("demo", &serde_json::json!({
            "root": self.root, "report": page, "seconds": self.seconds, "good": self.is_good(), "compared": compared,
            "first": self.first, "second": self.second, "conflicts": self.conflicts.len(),
            "snapshot": self.snapshot.as_ref().map(|s| &s.meta.id), "log": self.log,
        }), &[]);
    }

    /// The report as a page that needs nothing but itself.
    pub fn page(&self) -> Result<String, cathedral_web::report::PageError> {
        let changed = self.second.iter().flat_map(|s| &s.spokes).filter(|s| s.changes_in + s.changes_out > 0);
        let merged = changed.map(|s| Row {
            name: s.name.to_string(),
            state: s.result.clone(),
            detail: format!("{} to the hub, {} to the spoke", s.changes_in, s.changes_out),
        });
        let waits = self.conflicts.iter().map(|record| {
            let [spoke, place, hub, theirs] = told(record);
            Row {
                name: spoke,
                state: record.draft.conflict_kind.clone(),
                detail: format!("{place}: hub {hub}, spoke {theirs}"),
            }
        });
        let compared = self.compared.iter().map(|(name, outcome)| Row {
            name: name.clone(),
            state: if outcome.is_ok() { "equal" } else { "differs" }.into(),
            detail: outcome.clone().unwrap_or_else(|e| e),
        });
        let snapshot = self.snapshot.as_ref();
        Page {
            sentence: if self.is_good() { "Everything can be restored." } else { "A comparison failed." }.into(),
            good: self.is_good(),
            seconds: format!("{:.1}", self.seconds),
            merged: merged.collect(),
            waits: waits.collect(),
            compared: compared.collect(),
            snapshot: snapshot.map(|s| s.meta.id.to_string()).unwrap_or_default(),
            root: snapshot.map(|s| s.root.to_string()).unwrap_or_default(),
            stored: size(self.stored),
            logical: snapshot.map(|s| size(s.bytes.logical)).unwrap_or_default(),
            log_size: self.log.as_ref().map(|(n, _)| n.to_string()).unwrap_or_default(),
            log_root: self.log.as_ref().map(|(_, root)| root.clone()).unwrap_or_default(),
            hub: self.root.join("cathedral").display().to_string(),
        }
        .render()
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
