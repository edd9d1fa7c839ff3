//! `snapshot create|list|show|ls|cat|forget`.

pub mod forget;

use cathedral_backup::LocalVault;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use cathedral_model::ports::{Cause, PortError, Vault};
use cathedral_model::run::{Phase, SyncRequest};
use cathedral_model::snapshot::{PartInfo, PartKey, SnapshotInfo};

use super::super::args::{Global, SnapshotCommand};
use super::super::output::{Tint, count, many, safe, size};
use super::super::table::Table;
use super::super::when;
use super::faults::Met;
use super::{Ended, Failure, Output, find_snapshot, short, sync};
use crate::hub::{HubEnv, Site, keys_are_whole, read_vault};

pub async fn run(what: SnapshotCommand, global: &Global, output: &Output) -> Ended {
    match what {
        SnapshotCommand::Create { tag } => create(tag, global, output).await,
        SnapshotCommand::List => list(global, output).await,
        SnapshotCommand::Show { snapshot } => show(&snapshot, global, output).await,
        SnapshotCommand::Ls { snapshot, path } => ls(&snapshot, path.as_deref(), global, output).await,
        SnapshotCommand::Cat { snapshot, path } => cat(&snapshot, &path, global, output).await,
        SnapshotCommand::Forget(args) => forget::run(args, global, output).await,
    }
}

/// The published form of a snapshot.
pub fn json(info: &SnapshotInfo) -> serde_json::Value {
    serde_json::json!({
        "id": info.meta.id, "root": info.root, "created_at": info.meta.at.to_rfc3339(), "cause": info.meta.cause,
        "tags": info.meta.tags, "bytes": info.bytes, "destinations": info.destinations, "parent": info.parent,
        "manifest": { "sha256": info.manifest_sha256, "blake3": info.manifest_blake3 },
        "parts": info.parts.iter().map(|p| serde_json::json!({
            "spoke": p.key.spoke, "side": p.key.side, "kind": p.kind, "root": p.root, "position": p.position,
            "items": p.items, "bytes": p.bytes, "consistency": p.consistency, "skipped": p.skipped,
            "carried": p.carried.as_ref().map(|c| serde_json::json!({
                "snapshot": c.snapshot, "read_at": c.at.to_rfc3339(), "why": c.why, "side": c.side,
            })),
        })).collect::<Vec<_>>(),
    })
}

/// So many of what a snapshot could not take in are named one by one.
const SHOWN: usize = 5;

async fn create(tags: Vec<String>, global: &Global, output: &Output) -> Ended {
    let (hub, bar) = super::hub(global, output).await?;
    let request = SyncRequest { only: vec![Phase::Snapshot], tags, force_snapshot: true, ..SyncRequest::default() };
    let (run, summary) = sync::drive(&hub, "cathedral snapshot create", request, output).await?;
    bar.finish();
    let Some(id) = &summary.snapshot else {
        let why = summary.error.clone().unwrap_or_else(|| "see the run's log".into());
        return Err(Failure::new(summary.code.max(1), "C2102", format!("no snapshot was taken: {}", safe(&why)))
            .why("nothing is visible at any destination before everything is there")
            .next(format!("cathedral run show {run}")));
    };
    let info = hub.vault.snapshot(id).await?;
    let met = Met::take(&hub, &summary).await;
    let mut document = serde_json::json!({ "snapshot": json(&info), "run": run, "result": summary.result });
    met.add_to(&mut document);
    let warnings: Vec<String> = met.warnings().into_iter().chain(carried(&info.parts)).collect();
    output.data("snapshot", &document, &warnings);
    let held = info.destinations.iter().filter(|d| d.state == "held").count();
    output.note_sentence(&format!(
        "{} snapshot {}: {} new of {}, stored {}, at {held} of {}",
        output.paint(Tint::Good, output.symbol("●", "ok")),
        short(id),
        size(info.bytes.new),
        size(info.bytes.logical),
        size(info.bytes.stored),
        many(info.destinations.len() as u64, "destination", "destinations"),
    ));
    for spoke in summary.spokes.iter().filter(|s| !s.note.is_empty()) {
        output.warn(format!("{}: {}", spoke.name, safe(&spoke.note)));
    }
    for line in carried(&info.parts) {
        output.warn(line);
    }
    for line in met.skipped.iter().take(SHOWN) {
        output.warn(format!("{} not in it: {}", output.symbol("▲", "!!"), safe(line)));
    }
    if met.skipped.len() > SHOWN {
        output.warn(format!("and {} more: cathedral snapshot show {}", met.skipped.len() - SHOWN, short(id)));
    }
    met.tell_of(id, output);
    Ok(summary.code)
}

/// The vault, for reading; none where none was founded. Keys that are gone are not taken for keys that
/// were never made.
pub fn vault(site: &Site) -> Result<Option<LocalVault>, Failure> {
    let keys = site.state.join("keys");
    if !keys.join("hub.key").exists() && !keys.join("vault-destinations").exists() {
        keys_are_whole(site)?;
        return Ok(None);
    }
    read_vault(site).map(Some)
}

pub async fn load(global: &Global) -> Result<(LocalVault, Vec<SnapshotInfo>), Failure> {
    let Some(vault) = vault(&super::site(global)?)? else {
        return Err(Failure::new(4, "C1404", "there are no snapshots yet").next("cathedral snapshot create"));
    };
    let list = vault.list().await?;
    Ok((vault, list))
}

async fn list(global: &Global, output: &Output) -> Ended {
    let (_, list) = load(global).await?;
    output.data("snapshots", &serde_json::json!({ "snapshots": list.iter().map(json).collect::<Vec<_>>() }), &[]);
    if list.is_empty() {
        output.note("no snapshots yet; `cathedral snapshot create` takes one");
        return Ok(0);
    }
    let now = HubEnv::clock();
    // The column is there when there is something to say in it.
    let has_tags = list.iter().any(|info| !info.meta.tags.is_empty());
    let mut names = vec!["SNAPSHOT", "TAKEN", "SIZE", "NEW", "HELD", "CAUSE"];
    names.extend(has_tags.then_some("TAGS"));
    let mut table = Table::new(&names);
    for info in &list {
        let held = info.destinations.iter().filter(|d| d.state == "held").count();
        let mut row = vec![
            short(&info.meta.id),
            when::ago(info.meta.at, now),
            size(info.bytes.logical),
            size(info.bytes.new),
            format!("{held}/{}", info.destinations.len()),
            safe(&info.meta.cause),
        ];
        row.extend(has_tags.then(|| safe(&info.meta.tags.join(", "))));
        table.row(row);
    }
    if !output.is_machine() {
        table.print(output);
    }
    Ok(0)
}

async fn show(text: &str, global: &Global, output: &Output) -> Ended {
    let (vault, list) = load(global).await?;
    let info = find_snapshot(&vault, &list, text, global, output).await?;
    output.data("snapshot", &serde_json::json!({ "snapshot": json(info) }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    output.say(format!("snapshot {}   {}", output.paint(Tint::Bold, info.meta.id.as_str()), when::local(info.meta.at)));
    output.say(format!("  root   {}", info.root));
    output.say(format!("  cause  {}", safe(&info.meta.cause)));
    if !info.meta.tags.is_empty() {
        output.say(format!("  tags   {}", safe(&info.meta.tags.join(", "))));
    }
    output.say(format!(
        "  size   {}, {} new, {} stored",
        size(info.bytes.logical),
        size(info.bytes.new),
        size(info.bytes.stored)
    ));
    for held in &info.destinations {
        output.say(format!("  at     {} {}", held.name, held.state));
    }
    let mut table = Table::new(&["PART", "KIND", "ITEMS", "SIZE", "POSITION"]);
    for part in &info.parts {
        table.row(vec![
            part.key.to_string(),
            part.kind.as_str().to_owned(),
            count(part.items),
            size(part.bytes),
            safe(&part.position),
        ]);
    }
    table.print(output);
    for line in carried(&info.parts) {
        output.say(output.paint(Tint::Warn, &format!("  older: {line}")));
    }
    for part in &info.parts {
        for skipped in &part.skipped {
            output.say(output.paint(Tint::Warn, &format!("  not in it: {} {}", part.key, safe(skipped))));
        }
    }
    output.note(output.paint(Tint::Dim, &format!("next: cathedral snapshot ls {} SPOKE", short(&info.meta.id))));
    Ok(0)
}

/// Says which snapshots carry a time that is yet to come: some clock was, or is, wrong.
pub fn ahead(list: &[SnapshotInfo]) -> Option<String> {
    let now = HubEnv::clock();
    let is_ahead = |s: &&SnapshotInfo| s.meta.at.ms_since(now) / 1_000 > when::AHEAD_SECONDS;
    let found: Vec<String> =
        list.iter().filter(is_ahead).map(|s| format!("{} ({})", short(&s.meta.id), when::local(s.meta.at))).collect();
    let last = found.last()?;
    let which = match found.len() - 1 {
        0 => format!("snapshot {last} carries"),
        more => format!("snapshot {last} and {} carry", many(more as u64, "other", "others")),
    };
    let why = "this clock is wrong, or one was when it was taken; `latest` is the one that was taken last all the same";
    Some(format!("{which} a time in the future: {why}"))
}

/// What of these parts is older than their snapshot, because it could not be read for it.
pub fn carried<'a>(parts: impl IntoIterator<Item = &'a PartInfo>) -> Vec<String> {
    let line = |part: &PartInfo| {
        let carried = part.carried.as_ref()?;
        let (name, earlier, at) = (part.key.to_string(), short(&carried.snapshot), when::local(carried.at));
        let why = safe(&carried.why);
        if let Some(side) = carried.side {
            return Some(format!(
                "the {} side of {name} could not be read for this snapshot, which holds it as it was read last, at {at} \
                 or later (snapshot {earlier}): {why}",
                side.as_str()
            ));
        }
        Some(format!(
            "{name} could not be read for this snapshot, which holds it as of {at} (snapshot {earlier}): {why}"
        ))
    };
    parts.into_iter().filter_map(line).collect()
}

/// Reads `SPOKE[@spoke][/path]`.
pub fn part_of<'a>(info: &'a SnapshotInfo, text: &'a str) -> Result<(&'a PartKey, &'a str), Failure> {
    let (part, path) = text.split_once('/').unwrap_or((text, ""));
    let (name, side) = match part.split_once('@') {
        None | Some((_, "hub")) => (part.split('@').next().unwrap_or(part), Side::Hub),
        Some((name, "spoke")) => (name, Side::Spoke),
        Some((_, other)) => {
            return Err(Failure::new(2, "C1201", format!("{other:?} is not a side")).next("write NAME or NAME@spoke"));
        }
    };
    let found = info.parts.iter().find(|p| p.key.spoke.as_str() == name && p.key.side == side);
    let known: Vec<String> = info.parts.iter().map(|p| p.key.to_string()).collect();
    found.map(|p| (&p.key, path)).ok_or_else(|| Failure::unknown("part", part, &known))
}

async fn ls(text: &str, path: Option<&str>, global: &Global, output: &Output) -> Ended {
    let (vault, list) = load(global).await?;
    let info = find_snapshot(&vault, &list, text, global, output).await?;
    let Some(path) = path else {
        let parts: Vec<_> = info.parts.iter().map(|p| p.key.to_string()).collect();
        output.data("snapshot-ls", &serde_json::json!({ "parts": parts }), &[]);
        for part in parts {
            output.say(part);
        }
        return Ok(0);
    };
    let (key, below) = part_of(info, path)?;
    let entries = tokio::task::block_in_place(|| vault.ls(&info.meta.id, key, below.as_bytes()))
        .map_err(|error| not_there(error, text, key))?;
    let lines: Vec<serde_json::Value> = entries.iter().map(entry_json).collect();
    output.data("snapshot-ls", &serde_json::json!({ "entries": lines }), &[]);
    if !output.is_machine() {
        let kind = info.parts.iter().find(|p| p.key == *key).map_or(SpokeKind::Files, |p| p.kind);
        for entry in &entries {
            let (mark, length) = match (&entry.kind, kind) {
                (EntryKind::File { size: rows }, SpokeKind::Database) => ("", many(*rows, "row", "rows")),
                (EntryKind::File { .. }, SpokeKind::Git) => ("", String::new()),
                (EntryKind::File { size: bytes }, SpokeKind::Files) => ("", size(*bytes)),
                (EntryKind::Dir, _) => ("/", String::new()),
                (EntryKind::Symlink { .. }, _) => ("@", String::new()),
            };
            output.say(format!(
                "{:04o} {length:>8}  {}{mark}",
                entry.mode,
                safe(&String::from_utf8_lossy(&entry.path))
            ));
        }
    }
    Met::of_vault(&vault).tell(output);
    Ok(0)
}

fn entry_json(entry: &TreeEntry) -> serde_json::Value {
    let path = String::from_utf8_lossy(&entry.path);
    match &entry.kind {
        EntryKind::File { size } => {
            serde_json::json!({ "path": path, "type": "file", "size": size, "mode": entry.mode })
        }
        EntryKind::Dir => serde_json::json!({ "path": path, "type": "dir", "mode": entry.mode }),
        EntryKind::Symlink { target } => {
            serde_json::json!({ "path": path, "type": "symlink", "target": String::from_utf8_lossy(target) })
        }
    }
}

/// A name that a part does not hold is told with where the names are.
fn not_there(error: PortError, text: &str, key: &PartKey) -> Failure {
    if error.cause() != Cause::NotFound {
        return error.into();
    }
    Failure::new(4, "C1404", safe(&error.to_string()))
        .why("this part holds nothing of that name, as it was when the snapshot was taken")
        .next(format!("cathedral snapshot ls {text} {key}    lists what it holds"))
}

async fn cat(text: &str, path: &str, global: &Global, output: &Output) -> Ended {
    let (vault, list) = load(global).await?;
    let info = find_snapshot(&vault, &list, text, global, output).await?;
    let (key, below) = part_of(info, path)?;
    if below.is_empty() {
        return Err(Failure::new(2, "C1201", format!("what of {} to print is not said", key))
            .why("a part holds files, tables or refs")
            .next(format!("cathedral snapshot ls {text} {}    lists them", key))
            .next(format!("cathedral snapshot cat {text} {}/NAME", key)));
    }
    let mut out = std::io::stdout().lock();
    let copied = tokio::task::block_in_place(|| vault.cat(&info.meta.id, key, below.as_bytes(), &mut out));
    copied.map_err(|error| match error.cause() {
        Cause::Invalid => Failure::new(2, "C1201", format!("{:?} is a folder", safe(path)))
            .why("a folder has no content of its own to print")
            .next(format!("cathedral snapshot ls {text} {path}    lists it")),
        _ => not_there(error, text, key),
    })?;
    drop(out);
    Met::of_vault(&vault).tell(output);
    Ok(0)
}
