//! `snapshot forget`: lets snapshots go, and takes them back.

use std::collections::BTreeSet;

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::Vault as _;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_model::snapshot::{CheckLevel, SnapshotInfo};

use super::super::super::args::{ForgetArgs, Global};
use super::super::super::output::{Tint, many};
use super::super::{Ended, Failure, Output, find_snapshot, short, sync};
use crate::hub::{Hub, HubEnv};

/// What the leaves of these acts are called.
pub const FORGET: &str = "snapshot.forget";
pub const TAKE_BACK: &str = "snapshot.take-back";

pub async fn run(args: ForgetArgs, global: &Global, output: &Output) -> Ended {
    let (hub, bar) = super::super::hub(global, output).await?;
    let ids = match args.undo {
        true => in_trash(&hub, &args.snapshots)?,
        false => known(&hub, &args.snapshots, global, output).await?,
    };
    if !args.undo {
        guard(&hub, &ids, args.yes.as_deref()).await?;
    }
    let named: Vec<&SnapshotId> = ids.iter().collect();
    output.data(
        "snapshot-forget",
        &serde_json::json!({ "snapshots": named, "undo": args.undo, "dry_run": args.dry_run }),
        &[],
    );
    let words = ids.iter().map(short).collect::<Vec<_>>().join(", ");
    let snapshots = many(ids.len() as u64, "snapshot", "snapshots");
    if args.dry_run {
        bar.finish();
        let verb = if args.undo { "taken back" } else { "forgotten" };
        output.note(format!("{snapshots} would be {verb}: {words}; nothing was changed"));
        return Ok(10);
    }
    tokio::task::block_in_place(|| hub.vault.all_answer("forget snapshots or take them back"))?;
    if args.undo {
        tokio::task::block_in_place(|| hub.vault.take_back(&ids))?;
        seal(&hub, TAKE_BACK, &ids).await?;
    } else {
        // Sealed first: a snapshot that goes without its leaf would be missed by every check.
        seal(&hub, FORGET, &ids).await?;
        tokio::task::block_in_place(|| hub.vault.forget(&ids))?;
    }
    bar.finish();
    let good = output.paint(Tint::Good, output.symbol("●", "ok"));
    if args.undo {
        output.note_sentence(&format!("{good} {snapshots} taken back: {words}"));
        output.note(output.paint(Tint::Dim, "next: cathedral verify    says how whole they are"));
    } else {
        output.note_sentence(&format!("{good} {snapshots} forgotten: {words}; no data was deleted"));
        let again = ids.iter().map(SnapshotId::as_str).collect::<Vec<_>>().join(" ");
        let hint = format!("next: cathedral snapshot forget --undo {again}    takes them back");
        output.note(output.paint(Tint::Dim, &hint));
    }
    Ok(0)
}

async fn seal(hub: &Hub, act: &str, ids: &[SnapshotId]) -> Result<(), Failure> {
    for id in ids {
        let subject = format!("snapshot {id}");
        let leaf = NewLeaf::act(act, "command line", &subject, serde_json::json!({}), HubEnv::clock());
        hub.engine.ports().ledger.append(&leaf).await?;
    }
    Ok(())
}

/// The snapshots that are named: listed ones as everywhere, and by their whole ids those of which only the
/// name is left.
async fn known(hub: &Hub, names: &[String], global: &Global, output: &Output) -> Result<Vec<SnapshotId>, Failure> {
    let list = hub.vault.list().await?;
    let mut ids = BTreeSet::new();
    for name in names {
        let whole = SnapshotId::parse(&name.to_ascii_uppercase()).ok();
        match find_snapshot(&hub.vault, &list, name, global, output).await {
            Ok(info) => ids.insert(info.meta.id.clone()),
            Err(unknown) => match whole {
                Some(id) if tokio::task::block_in_place(|| hub.vault.is_known(&id))? => ids.insert(id),
                _ => return Err(unknown),
            },
        };
    }
    Ok(ids.into_iter().collect())
}

fn in_trash(hub: &Hub, names: &[String]) -> Result<Vec<SnapshotId>, Failure> {
    let trash = tokio::task::block_in_place(|| hub.vault.forgotten())?;
    let mut ids = BTreeSet::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let found: Vec<&SnapshotId> = trash.iter().filter(|id| id.as_str().starts_with(&upper)).collect();
        match found.as_slice() {
            [one] if !name.is_empty() => ids.insert((*one).clone()),
            _ => {
                let known = trash.iter().map(SnapshotId::as_str).collect::<Vec<_>>().join(", ");
                let what = if found.len() > 1 { "begins more than one" } else { "is no" };
                return Err(Failure::new(4, "C1404", format!("{name:?} {what} forgotten snapshot"))
                    .why(if known.is_empty() {
                        "no snapshot is in the trash of a destination that answers".to_owned()
                    } else {
                        format!("in the trash: {known}")
                    })
                    .next("cathedral snapshot list    shows those that were never forgotten"));
            }
        };
    }
    Ok(ids.into_iter().collect())
}

/// Refuses to let the newest whole snapshot go, or many at once, unless the ecosystem is named.
async fn guard(hub: &Hub, ids: &[SnapshotId], typed: Option<&str>) -> Result<(), Failure> {
    for (run, request) in hub.unfinished_restores().await? {
        if ids.contains(&request.snapshot) {
            let what = format!("run {run} restores snapshot {} and is not done", short(&request.snapshot));
            return Err(Failure::new(7, "C1701", format!("{what}; nothing was changed"))
                .why("without the snapshot it could not go on, and what it restores would stay half done")
                .next("cathedral sync    finishes it first; then forget the snapshot"));
        }
    }
    if sync::confirm(hub, typed)? {
        return Ok(());
    }
    let list = hub.vault.list().await?;
    let name = &hub.ecosystem().name;
    let refuse = |what: String, why: &str| {
        Err(Failure::new(7, "C1701", format!("{what}; nothing was changed"))
            .why(why)
            .next("cathedral snapshot create    takes a new one first")
            .next(format!("--yes {name}    lets it go all the same; it can be taken back with --undo")))
    };
    if let Some(newest) = newest_whole(hub, &list).await?
        && ids.contains(&newest)
    {
        let what = format!("snapshot {} is the newest that is whole", short(&newest));
        return refuse(what, "it is what a restore of today would come from");
    }
    let listed = ids.iter().filter(|id| list.iter().any(|info| info.meta.id == **id)).count();
    if listed > 5 && listed * 5 > list.len() {
        let what = format!("{listed} of {} snapshots would be forgotten at once", list.len());
        return refuse(what, "more than five and a fifth of all at once is more often a slip than meant");
    }
    Ok(())
}

/// The newest snapshot of which nothing is known to be missing or damaged.
async fn newest_whole(hub: &Hub, list: &[SnapshotInfo]) -> Result<Option<SnapshotId>, Failure> {
    for info in list.iter().rev() {
        let only = [info.meta.id.clone()];
        let report = hub.vault.check(CheckLevel::Quick, &only, &Silent).await?;
        if report.problems.iter().all(|problem| problem.restorable) {
            return Ok(Some(info.meta.id.clone()));
        }
    }
    Ok(None)
}
