//! The hub's own stores of repositories: looked at, and with `--fix` made anew where they are damaged.

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ports::Vault as _;
use cathedral_model::snapshot::{PartKey, SnapshotInfo};
use cathedral_syncers::git::{Depth, Healed};

use super::super::Failure;
use super::{Bench, Line};
use crate::cli::many;
use crate::hub::{HEAL, Hub, git_syncer, note_store_check, store_check, store_faults, stores};

/// So many refs are named one by one.
const SHOWN: usize = 5;

/// Looks at every store; with `fix`, at every byte of each.
pub async fn look(bench: &Bench<'_>, fix: bool, list: &[SnapshotInfo], lines: &mut Vec<Line>) -> Result<(), Failure> {
    let depth = if fix { Depth::Full } else { Depth::Connected };
    let (mut whole, state) = (0, &bench.site.state);
    for spoke in stores(bench.ecosystem) {
        let faults = store_faults(state, &spoke, depth)?;
        note_store_check(state, spoke.name.as_str(), depth, &faults);
        let fix_it = format!("{HEAL}    makes it anew from what is left of it, the repository and the snapshots");
        let Some(first) = faults.first() else {
            // A closer look than this one may have found more.
            if let Some(found) = store_check(state, spoke.name.as_str()) {
                let what = format!("the hub's own store of {} is damaged: {found}", spoke.name);
                lines.push(Line::bad(20, what, &fix_it));
                continue;
            }
            whole += u64::from(state.join("git").join(format!("{}.git", spoke.name)).is_dir());
            continue;
        };
        // Without what both sides agreed on, no store is made anew.
        let Some(hub) = bench.hub.filter(|_| fix) else {
            let more = if faults.len() > 1 { format!(" and {} more", faults.len() - 1) } else { String::new() };
            let what = format!("the hub's own store of {} is damaged: {first}{more}", spoke.name);
            lines.push(Line::bad(20, what, &fix_it));
            continue;
        };
        if hub.is_attached() {
            return Err(Failure::new(
                75,
                "C7501",
                format!("a hub is running, and works in its store of {}", spoke.name),
            )
            .why("a store is made anew while nobody works in it; nothing was changed")
            .next("stop the hub (cathedral up), then repeat the command"));
        }
        lines.push(match heal(hub, &spoke, list).await {
            Ok(healed) => {
                note_store_check(state, spoke.name.as_str(), Depth::Full, &[]);
                told(&spoke, &healed)
            }
            Err(failure) => Line::bad(
                20,
                format!("the hub's own store of {} was not made anew: {}", spoke.name, failure.what),
                "nothing was changed; repeat the command when the cause is gone",
            ),
        });
    }
    if whole > 0 {
        let what = format!("the hub's own stores of repositories: {} whole", many(whole, "is", "are"));
        lines.push(Line::good(what, String::new()));
    }
    Ok(())
}

async fn heal(hub: &Hub, spoke: &Spoke, list: &[SnapshotInfo]) -> Result<Healed, Failure> {
    let syncer = git_syncer(&hub.site, hub.ecosystem(), &hub.content);
    let key = PartKey { spoke: spoke.name.clone(), side: Side::Hub };
    let mut healing = tokio::task::block_in_place(|| syncer.heal(spoke))?;
    let holding = list.iter().rev().filter(|info| info.parts.iter().any(|part| part.key == key));
    for info in holding {
        if !healing.lacks_something()? {
            break;
        }
        // One that is damaged itself gives nothing; an older one may.
        let taken = match hub.vault.open(&info.meta.id, &key).await {
            Ok(mut source) => tokio::task::block_in_place(|| healing.take(source.as_mut())),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::warn!(snapshot = %info.meta.id, spoke.name = %spoke.name, "the snapshot gives nothing: {error}");
        }
    }
    let base = hub.store().memory(&spoke.name).await?.base;
    Ok(tokio::task::block_in_place(|| healing.finish(base.as_ref()))?)
}

fn told(spoke: &Spoke, healed: &Healed) -> Line {
    let mut notes = vec![];
    let kept = healed.kept.as_deref().map(crate::hub::shown);
    if let Some(kept) = &kept {
        notes.push(format!("the damaged one is kept in {kept}"));
    }
    if healed.is_afresh {
        notes.push("the next sync compares both sides afresh, and deletes nothing".into());
    }
    if !healed.unread.is_empty() {
        notes.push(format!("not asked for what it holds: {}", healed.unread.join("; ")));
    }
    let what = format!("the hub's own store of {} was damaged, and was made anew", spoke.name);
    if healed.lost.is_empty() {
        return Line::good(what, notes.join("; "));
    }
    let mut lost: Vec<String> = healed.lost.iter().take(SHOWN).cloned().collect();
    if healed.lost.len() > SHOWN {
        lost.push(format!("{} more", healed.lost.len() - SHOWN));
    }
    let refs =
        many(healed.lost.len() as u64, "ref names what is nowhere any more", "refs name what is nowhere any more");
    Line::bad(20, format!("{what}; {refs}: {}", lost.join(", ")), &notes.join("; "))
}
