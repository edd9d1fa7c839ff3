//! The journal of a run as lines for people.

use cathedral_model::journal::Journaled;
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{Seen, SyncEvent, What, Work};
use cathedral_model::time::Timestamp;

use crate::pages::part::{self, count};

/// One line of the log.
pub struct Line {
    pub at: String,
    pub time: String,
    pub who: String,
    pub words: String,
    /// `hl` for what is worth a look; else empty.
    pub class: &'static str,
}

fn line(at: Timestamp, who: &str, words: String, class: &'static str) -> Line {
    let at = at.to_rfc3339();
    let time = at.get(11..23).unwrap_or_default().to_owned();
    Line { at, time, who: who.to_owned(), words, class }
}

/// Returns all lines, the first record first.
pub fn lines(row: &RunRow, journal: &[Journaled]) -> Vec<Line> {
    let mut out = vec![line(row.queued_at, "run", format!("asked for: {}", row.request.cause), "")];
    for record in journal {
        match serde_json::from_value::<SyncEvent>(record.event.clone()) {
            Ok(event) if matches!(row.request.work, Work::Sync(_)) => sync(record.at, event.what, &mut out),
            _ => out.push(plain(record)),
        }
    }
    out
}

/// A record of another kind of run: its word, and the fields that people read.
fn plain(record: &Journaled) -> Line {
    let event = &record.event;
    let word = event.get("event").and_then(|v| v.as_str()).unwrap_or("event").replace('_', " ");
    let mut more = vec![];
    let mut find = |key: &str| {
        if let Some(found) = event.pointer(key) {
            let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            if text != "null" && text.len() < 400 {
                more.push(text);
            }
        }
    };
    for key in
        ["/report/sentence", "/fault/message", "/restored/spoke", "/restored/path", "/taken/id", "/why", "/leaf", "/id"]
    {
        find(key);
    }
    let class = if event.get("fault").is_some() { "hl" } else { "" };
    line(record.at, "run", if more.is_empty() { word } else { format!("{word}: {}", more.join(", ")) }, class)
}

fn sync(at: Timestamp, what: What, out: &mut Vec<Line>) {
    let mut say = |who: &str, words: String, class: &'static str| out.push(line(at, who, words, class));
    match what {
        What::Started { spokes, seen, .. } => {
            say("validate", format!("{} looked at", count(seen.len() as u64, "spoke", "spokes")), "");
            for declared in spokes {
                match seen.get(&declared.name) {
                    Some(Seen::Observed(o)) => {
                        let is_new = declared.settled != Some(o.digests());
                        let state = if is_new { "changed" } else { "as it was left" };
                        say(
                            declared.name.as_str(),
                            format!("{state}: hub {}, spoke {}", o.hub.position, o.spoke.position),
                            "",
                        );
                        for warning in &o.warnings {
                            say(declared.name.as_str(), warning.clone(), "hl");
                        }
                    }
                    Some(Seen::Failed(fault)) => say(declared.name.as_str(), fault.message.clone(), "hl"),
                    None => {}
                }
            }
        }
        What::Stirred { spoke, .. } => {
            say(spoke.as_str(), "has changed meanwhile; it goes through once more".into(), "")
        }
        What::SnapshotBegun { id, stands: None } => say("snapshot", format!("{id} begun"), ""),
        What::SnapshotBegun { id, stands: Some(_) } => {
            say("snapshot", format!("{id} holds everything as it is; no other one is taken"), "")
        }
        What::SnapshotTaken { taken } => {
            let held: Vec<&str> =
                taken.destinations.iter().filter(|d| d.state == "held").map(|d| d.name.as_str()).collect();
            let (new, all, stored) =
                (part::size(taken.bytes.new), part::size(taken.bytes.logical), part::size(taken.bytes.stored));
            say(
                "snapshot",
                format!("{}: {new} new of {all}, {stored} stored, held at {}", taken.id, held.join(", ")),
                "",
            );
            if taken.skipped > 0 {
                say("snapshot", format!("{} could not be read into it", count(taken.skipped, "item", "items")), "hl");
            }
        }
        What::SnapshotSealed { leaf } => say("log", format!("leaf {leaf}: the snapshot is sealed"), ""),
        What::SnapshotFailed { fault } => say("snapshot", fault.message, "hl"),
        What::Planned { spoke, planned } => {
            let (into, out) = (planned.changes_in, planned.changes_out);
            say(
                spoke.as_str(),
                format!(
                    "planned: {into} to the hub, {out} to the spoke, {}",
                    count(planned.conflicts, "conflict", "conflicts")
                ),
                "",
            );
            for guard in planned.guards {
                say(spoke.as_str(), format!("stopped by {}: {}", guard.name, guard.why), "hl");
            }
        }
        What::Moved { spoke } => {
            say(spoke.as_str(), "is no longer what the snapshot holds; it is snapshotted again".into(), "")
        }
        What::Pinned { spoke } => say(spoke.as_str(), "what will be replaced is kept".into(), ""),
        What::Applied { spoke, applied, conflicts } => {
            let words = format!("changed: {} to the hub, {} to the spoke", applied.changes_in, applied.changes_out);
            say(spoke.as_str(), words, "");
            if conflicts > 0 {
                say(
                    spoke.as_str(),
                    format!("{} for a person", count(conflicts, "conflict waits", "conflicts wait")),
                    "hl",
                );
            }
            for skipped in applied.skipped {
                say(spoke.as_str(), format!("left for the next run: {}: {}", skipped.target, skipped.why), "hl");
            }
        }
        What::Verified { spoke, agrees, note } => {
            let words = if agrees { "read back: as planned".to_owned() } else { format!("read back: differs. {note}") };
            say(spoke.as_str(), words, if agrees { "" } else { "hl" });
        }
        What::Failed { spoke, phase, fault } => {
            say(spoke.as_str(), format!("{}: {}", phase.as_str(), fault.message), "hl")
        }
        What::Sealed { leaf } => say("log", format!("leaf {leaf}: the run is sealed"), ""),
        What::SealFailed { fault } => say("log", fault.message, "hl"),
        What::Announced => say("run", "ended".into(), ""),
        What::Cancelled { by } => say("run", format!("cancelled by {by}"), "hl"),
    }
}
