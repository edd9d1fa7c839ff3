//! `status`: one sentence, then what needs attention.

use cathedral_model::ids::SpokeName;
use cathedral_model::inbox::ConflictState;
use cathedral_model::ports::Vault;
use cathedral_model::run::{RunResult, Work};

use super::super::args::Global;
use super::super::output::{Tint, many, safe};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{HubEnv, read_vault, resolve};

struct Line {
    name: SpokeName,
    kind: &'static str,
    state: &'static str,
    lag_seconds: Option<u64>,
    position: String,
    conflicts: u64,
    note: String,
}

pub async fn run(only: Option<String>, all: bool, exit_code: bool, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let (ecosystem, _) = resolve(&site)?;
    if let Some(name) = &only
        && !ecosystem.spokes.iter().any(|s| s.name.as_str() == name)
    {
        let known: Vec<String> = ecosystem.spokes.iter().map(|s| s.name.to_string()).collect();
        return Err(Failure::unknown("spoke", name, &known));
    }
    let now = HubEnv::clock();
    let store = site.store().await?;
    let runs = match &store {
        Some(store) => store.runs(None, 50).await?,
        None => vec![],
    };
    // A vault that cannot be read must not look like one that is empty.
    let vault = match read_vault(&site) {
        Ok(vault) => vault.list().await.map_err(Failure::from),
        Err(failure) if runs.is_empty() && failure.code == 5 => Ok(vec![]),
        Err(failure) => Err(failure),
    };
    let (snapshots, unreadable) = match vault {
        Ok(list) => (list, None),
        Err(failure) => (vec![], Some(failure)),
    };
    // A restore changes nothing that is not in a snapshot, and says nothing about the two sides.
    let syncs = || runs.iter().filter(|r| !matches!(r.request.work, Work::Restore(_)));
    let mut lines = vec![];
    for spoke in ecosystem.spokes.iter().filter(|s| only.as_ref().is_none_or(|o| s.name.as_str() == o)) {
        let (memory, open) = match &store {
            Some(store) => (
                store.memory(&spoke.name).await?,
                store.conflicts(Some(&spoke.name), &[ConflictState::Open, ConflictState::Answered]).await?,
            ),
            None => Default::default(),
        };
        let last = syncs().find_map(|r| {
            let found = r.summary.spokes.iter().find(|s| s.name == spoke.name)?;
            Some((r.changed_at, found.clone()))
        });
        let (state, note) = match &last {
            None => ("never synced", "cathedral sync".to_owned()),
            Some((_, s)) if matches!(s.result.as_str(), "failed" | "unreachable" | "refused" | "partial") => {
                (if s.result == "unreachable" { "unreachable" } else { "failing" }, s.note.clone())
            }
            Some(_) if !open.is_empty() => ("conflict", many(open.len() as u64, "conflict waits", "conflicts wait")),
            Some((_, s)) if !s.warnings.is_empty() => (
                "left out",
                format!(
                    "{}: {}",
                    many(s.warnings.len() as u64, "thing is not copied", "things are not copied"),
                    s.warnings[0]
                ),
            ),
            Some(_) => ("in sync", String::new()),
        };
        lines.push(Line {
            name: spoke.name.clone(),
            kind: spoke.kind().as_str(),
            state,
            lag_seconds: last.as_ref().map(|(at, _)| now.ms_since(*at) / 1_000),
            position: memory.spoke_position,
            conflicts: open.len() as u64,
            note,
        });
    }
    let conflicts: u64 = lines.iter().map(|l| l.conflicts).sum();
    let failing = lines.iter().filter(|l| matches!(l.state, "failing" | "unreachable")).count() as u64;
    let fresh = lines.iter().filter(|l| l.state == "never synced").count() as u64;
    let held = snapshots.last();
    let (code, sentence) = match &unreadable {
        Some(failure) => (failure.code, format!("The vault cannot be read: {}.", failure.what)),
        None => sentence(held.is_some(), conflicts, failing, fresh),
    };
    // A sync's snapshot is taken before its changes: until the next one they are only in place.
    let uncovered = syncs().find(|r| r.summary.spokes.iter().any(|s| s.changes_in + s.changes_out > 0));
    let uncovered =
        uncovered.filter(|r| held.is_none_or(|s| r.summary.snapshot.as_ref() == Some(&s.meta.id))).map(|r| r.run);
    let data = serde_json::json!({
        "sentence": sentence, "code": code, "not_in_a_snapshot": uncovered,
        "last_snapshot": held.map(|s| serde_json::json!({ "id": s.meta.id, "created_at": s.meta.at.to_rfc3339(), "root": s.root })),
        "spokes": lines.iter().map(|l| serde_json::json!({
            "name": l.name, "kind": l.kind, "state": l.state, "lag_seconds": l.lag_seconds, "position": l.position, "conflicts": l.conflicts,
        })).collect::<Vec<_>>(),
    });
    let ahead: Vec<String> = super::snapshot::ahead(&snapshots).into_iter().collect();
    output.data("status", &data, &ahead);
    ahead.iter().for_each(|line| output.warn(line));
    if !output.is_machine() {
        tell(
            output,
            code,
            &sentence,
            held.map(|s| s.meta.at),
            runs.first().map(|r| (r.changed_at, r.summary.result)),
            &lines,
            all || only.is_some(),
        );
    }
    if let (Some(run), false, None) = (uncovered, output.is_machine(), &unreadable) {
        output.note(output.paint(Tint::Dim, &format!("what run {run} changed is in no snapshot yet")));
        output.note(output.paint(Tint::Dim, "next: cathedral snapshot create"));
    }
    Ok(if exit_code { code } else { 0 })
}

fn sentence(has_snapshot: bool, conflicts: u64, failing: u64, fresh: u64) -> (u8, String) {
    let base = if has_snapshot {
        "Everything that was synced can be restored."
    } else {
        "Nothing can be restored yet: there is no snapshot."
    };
    if failing > 0 {
        return (12, format!("{base} {} not synced.", many(failing, "spoke is", "spokes are")));
    }
    if conflicts > 0 {
        return (11, format!("{base} {} for you.", many(conflicts, "conflict waits", "conflicts wait")));
    }
    if !has_snapshot {
        return (22, base.to_owned());
    }
    if fresh > 0 {
        return (12, format!("{base} {} never been synced.", many(fresh, "spoke has", "spokes have")));
    }
    (0, "Everything can be restored.".to_owned())
}

type LastRun = Option<(cathedral_model::time::Timestamp, Option<RunResult>)>;

fn tell(
    output: &Output,
    code: u8,
    sentence: &str,
    snapshot: Option<cathedral_model::time::Timestamp>,
    last: LastRun,
    lines: &[Line],
    all: bool,
) {
    let now = HubEnv::clock();
    let (symbol, tint) = match code {
        0 => (output.symbol("●", "ok"), Tint::Good),
        5 | 6 | 20 | 22 => (output.symbol("✖", "xx"), Tint::Bad),
        _ => (output.symbol("▲", "!!"), Tint::Warn),
    };
    // Painted word by word, since a terminal that is narrow breaks it.
    let words: Vec<String> = sentence.split(' ').map(|word| output.paint(Tint::Bold, word)).collect();
    output.sentence(&format!("{} {}", output.paint(tint, symbol), words.join(" ")));
    let taken = snapshot.map_or("never".to_owned(), |at| when::ago(at, now));
    let ran = last.map_or("never".to_owned(), |(at, _)| when::ago(at, now));
    let between = if output.room().is_some_and(|room| room < 60) { "\n  last run       " } else { "      last run  " };
    output.say(format!("  last snapshot  {taken}{between}{ran}"));
    let mut table = Table::new(&["SPOKE", "STATE", "SEEN", "POSITION", "NOTE"]);
    let mut quiet = 0;
    for line in lines {
        if line.state == "in sync" && !all {
            quiet += 1;
            continue;
        }
        let mark = match line.state {
            "in sync" => output.symbol("●", "ok"),
            "failing" | "unreachable" => output.symbol("✖", "xx"),
            _ => output.symbol("▲", "!!"),
        };
        let seen = line.lag_seconds.map_or("-".to_owned(), when::long);
        table.row(vec![
            line.name.to_string(),
            format!("{mark} {}", line.state),
            seen,
            safe(&line.position),
            safe(&line.note),
        ]);
    }
    if !table.is_empty() {
        table.print(output);
    }
    if quiet > 0 {
        output.say(output.paint(Tint::Dim, &format!("{} in sync; --all shows them", many(quiet, "spoke", "spokes"))));
    }
    if lines.iter().any(|line| line.state == "conflict") {
        output.note(output.paint(Tint::Dim, "next: cathedral conflicts"));
    }
}
