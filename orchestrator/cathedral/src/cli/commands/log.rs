//! `log`, `proof`, `events`.

use std::path::Path;

use cathedral_integrity::{Check, VerifierKey, verify_pack};
use cathedral_model::event::{Event, EventFilter};
use cathedral_model::ids::Cursor;
use cathedral_model::ports::PortError;

use super::super::args::{Global, LogCommand, ProofCommand};
use super::super::output::{Tint, many, safe, with_times};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output, find_snapshot};
use crate::hub::{read_vault, verifier_key};

fn reader(global: &Global) -> Result<cathedral_integrity::LogReader, Failure> {
    super::site(global)?.log()?.ok_or_else(|| {
        Failure::new(4, "C1404", "there is no log yet").next("cathedral sync    makes the first entries")
    })
}

pub fn run(what: LogCommand, global: &Global, output: &Output) -> Ended {
    match what {
        LogCommand::Head => head(global, output),
        LogCommand::Show { since, limit } => show(since, limit, global, output),
        LogCommand::Audit => audit(global, output),
    }
}

fn vkey(global: &Global) -> Result<VerifierKey, Failure> {
    verifier_key(&super::site(global)?)
}

fn head(global: &Global, output: &Output) -> Ended {
    let head = reader(global)?.head();
    let key = vkey(global)?.to_string();
    output.data("log-head", &serde_json::json!({
        "origin": head.origin, "size": head.size, "root": head.root, "signatures": head.signatures, "note": head.note, "vkey": key,
    }), &[]);
    output.say(format!("{}   {}", output.paint(Tint::Bold, &safe(&head.origin)), many(head.size, "leaf", "leaves")));
    output.say(format!("  root  {}", head.root));
    output.say(format!("  key   {key}"));
    for signature in &head.signatures {
        output.say(format!("  {}", safe(signature)));
    }
    Ok(0)
}

fn show(since: Option<u64>, limit: u64, global: &Global, output: &Output) -> Ended {
    let reader = reader(global)?;
    let size = reader.size();
    let from = since.unwrap_or_else(|| size.saturating_sub(limit));
    let mut entries = vec![];
    for index in from..size.min(from.saturating_add(limit)) {
        let statement = reader.statement(index).map_err(PortError::from)?;
        entries.push((index, statement));
    }
    let lines: Vec<_> =
        entries.iter().map(|(index, s)| serde_json::json!({ "index": index, "statement": s.value })).collect();
    output.data("log-show", &serde_json::json!({ "size": size, "entries": lines }), &[]);
    for (index, statement) in &entries {
        let at = cathedral_model::time::Timestamp::parse_rfc3339(&statement.time).map(when::local).unwrap_or_default();
        // The id of an act begins with its name; the subject alone would not say what was done to it.
        let act = match statement.kind.as_str() {
            "admin" => statement.id.split(':').next().map(|act| format!("{}  ", safe(act))).unwrap_or_default(),
            _ => String::new(),
        };
        output.say(format!("{index:>6}  {at}  {:<9} {act}{}", statement.kind, safe(&statement.subject)));
    }
    Ok(0)
}

fn audit(global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    verifier_key(&site)?;
    let audit = crate::hub::audit(&site.state).map_err(PortError::from)?;
    let differences: Vec<String> = audit.differences.iter().map(|d| format!("{}: {}", d.file, d.why)).collect();
    crate::hub::note_log_check(&site.state, true, &differences);
    output.data("log-audit", &serde_json::json!({ "size": audit.leaves, "differences": differences }), &[]);
    if audit.is_clean() {
        output.note(format!(
            "{} {} recomputed: all agree with the signed head",
            output.paint(Tint::Good, output.symbol("●", "ok")),
            many(audit.leaves, "leaf", "leaves")
        ));
        return Ok(0);
    }
    for difference in &differences {
        output.say(format!("{} {}", output.paint(Tint::Bad, output.symbol("✖", "xx")), safe(difference)));
    }
    Ok(20)
}

pub async fn prove(what: ProofCommand, global: &Global, output: &Output) -> Ended {
    let reader = reader(global)?;
    let (index, out) = match what {
        ProofCommand::Leaf { index, out } => (index, out),
        ProofCommand::Snapshot { snapshot, out } => {
            let vault = read_vault(&super::site(global)?)?;
            let list = vault_list(&vault).await?;
            let id = find_snapshot(&vault, &list, &snapshot, global, output).await?.meta.id.to_string();
            let found = reader.find(&id).map_err(PortError::from)?;
            let index = found.first().map(|(index, _)| *index);
            (
                index.ok_or_else(|| {
                    Failure::new(20, "C2002", format!("snapshot {id} is not in the log")).why(
                        "every snapshot becomes a leaf before it is used; this one was put there by something else",
                    )
                })?,
                out,
            )
        }
    };
    let pack = reader.prove(index).map_err(PortError::from)?;
    let bytes = pack.to_bytes().map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
    if out.as_os_str() == "-" {
        output.raw(&bytes);
        return Ok(0);
    }
    let out = super::at(global, &out);
    super::write_new(&out, &bytes)?;
    output.data(
        "proof",
        &serde_json::json!({ "leaf": index, "file": out, "bytes": bytes.len(), "vkey": vkey(global)?.to_string() }),
        &[],
    );
    output.note(format!("proof of leaf {index} written to {}", out.display()));
    output.note(
        output
            .paint(Tint::Dim, &format!("next: cathedral proof --verify {}    works anywhere, offline", out.display())),
    );
    Ok(0)
}

async fn vault_list(
    vault: &cathedral_backup::LocalVault,
) -> Result<Vec<cathedral_model::snapshot::SnapshotInfo>, Failure> {
    Ok(cathedral_model::ports::Vault::list(vault).await?)
}

/// Checks a proof file with nothing but the file, and the key to trust if one is given.
pub fn verify(file: &Path, vkey: Option<&str>, manifest: Option<&Path>, output: &Output) -> Ended {
    let limit = 16 << 20;
    let length = std::fs::metadata(file).map_err(|e| Failure::io(&file.display().to_string(), &e))?.len();
    if length > limit {
        return Err(Failure::new(2, "C1201", format!("{} is too large for a proof", file.display())));
    }
    let bytes = std::fs::read(file).map_err(|e| Failure::io(&file.display().to_string(), &e))?;
    let key = match vkey {
        Some(text) => Some(text.parse::<VerifierKey>().map_err(|e| Failure::new(2, "C1201", format!("--vkey: {e}")))?),
        None => None,
    };
    let manifest = match manifest {
        Some(path) => Some(std::fs::read(path).map_err(|e| Failure::io(&path.display().to_string(), &e))?),
        None => None,
    };
    let verdict = verify_pack(&bytes, Check { trusted: key.as_ref(), object: manifest.as_deref() });
    let steps: Vec<_> =
        verdict.steps.iter().map(|c| serde_json::json!({ "name": c.name, "detail": c.detail })).collect();
    let trust = verdict.result.as_ref().map(|p| p.trust.to_string()).ok();
    let fault = verdict.result.as_ref().err().map(ToString::to_string);
    let valid = verdict.result.is_ok();
    if valid {
        output.data(
            "proof-verify",
            &serde_json::json!({ "valid": valid, "trusted": verdict.is_trusted(), "steps": steps, "trust": trust }),
            &[],
        );
    }
    for step in &verdict.steps {
        let mark = output.paint(Tint::Good, output.symbol("✔", "ok"));
        output.say(format!("{mark} {:<10} {}", step.name, safe(&step.detail)));
    }
    if let Some(trust) = trust {
        output.say(format!("  {}", safe(&trust)));
        return Ok(0);
    }
    let fault = fault.unwrap_or_default();
    Err(Failure::new(20, "C2003", format!("{} does not prove anything: {}", file.display(), safe(&fault)))
        .why("the file was changed, or it was never a proof of this log")
        .data(serde_json::json!({ "steps": steps, "fault": fault })))
}

/// The newest events, or those after a cursor; always oldest first.
pub async fn events(from: Option<i64>, limit: u32, kind: Option<String>, global: &Global, output: &Output) -> Ended {
    let store = super::site(global)?.store().await?;
    let is_wanted = |e: &Event| kind.as_ref().is_none_or(|k| *k == e.event.kind);
    let wanted = limit as usize + 1;
    // One more than is shown tells whether there are others.
    let mut found: Vec<Event> = vec![];
    let page = if kind.is_some() { 1_000 } else { limit + 1 };
    let mut at = Cursor(from.unwrap_or(i64::MAX));
    while let Some(store) = store.as_ref().filter(|_| found.len() < wanted) {
        let read = match from {
            Some(_) => store.events(at, page).await?,
            None => store.events_before(Some(at), &EventFilter::default(), page).await?,
        };
        let Some(last) = read.last() else { break };
        at = last.cursor;
        found.extend(read.into_iter().filter(is_wanted));
    }
    let has_more = found.len() >= wanted;
    found.truncate(limit as usize);
    if from.is_none() {
        found.reverse();
    }
    let events: Vec<_> = found.iter().map(with_times).collect();
    if output.jsonl {
        for event in &events {
            output.raw(format!("{event}\n").as_bytes());
        }
        return Ok(0);
    }
    let next = found.last().map_or(from.unwrap_or(0), |e| e.cursor.0);
    output.data("events", &serde_json::json!({ "events": events, "next": next, "has_more": has_more }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    if found.is_empty() {
        let of = kind.map(|k| format!(" of type {}", safe(&k))).unwrap_or_default();
        let after = from.filter(|from| *from > 0).map(|from| format!(" after cursor {from}")).unwrap_or_default();
        output.note(format!("no events{of}{after}"));
        return Ok(0);
    }
    let mut table = Table::new(&["CURSOR", "WHEN", "TYPE", "RUN", "SPOKE"]);
    for event in &found {
        table.row(vec![
            event.cursor.0.to_string(),
            when::local(event.at),
            safe(&event.event.kind),
            event.event.run.map(|run| run.to_string()).unwrap_or_default(),
            event.event.spoke.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table.print(output);
    if has_more {
        let kind = kind.map(|k| format!(" --type {}", safe(&k))).unwrap_or_default();
        let hint = match from {
            Some(_) => format!("next: cathedral events --from {next} --limit {limit}{kind}"),
            None => {
                let first = found.first().map_or(0, |e| e.cursor.0);
                let before = (first - 1 - i64::from(limit)).max(0);
                let before = if kind.is_empty() { before } else { 0 };
                format!("earlier ones: cathedral events --from {before} --limit {limit}{kind}")
            }
        };
        output.note(output.paint(Tint::Dim, &hint));
    }
    Ok(0)
}
