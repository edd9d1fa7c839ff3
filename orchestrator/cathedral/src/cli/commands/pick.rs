//! Which snapshot a word means: one rule for every command.

use cathedral_backup::LocalVault;
use cathedral_engine::latest;
use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::Vault as _;
use cathedral_model::snapshot::SnapshotInfo;
use cathedral_model::time::Timestamp;

use super::super::args::Global;
use super::super::output::safe;
use super::super::when;
use super::snapshot::forget::FORGET;
use super::{Failure, Output, short};
use crate::hub::HubEnv;

/// So many that fit one word are listed.
const SHOWN: usize = 8;

/// Finds a snapshot by `latest`, `@time` or `2h ago`, the beginning of its id, or its tag.
///
/// `latest` is [`cathedral_engine::latest`]. An older state must be asked for: where a newer snapshot was taken and
/// can be read nowhere any more, `latest` is refused.
pub async fn find_snapshot<'a>(
    vault: &LocalVault,
    list: &'a [SnapshotInfo],
    text: &str,
    global: &Global,
    output: &Output,
) -> Result<&'a SnapshotInfo, Failure> {
    if text != "latest" {
        return named(list, text).map_err(|unknown| match unknown.code {
            4 => forgotten(vault, text, global).unwrap_or(unknown),
            _ => unknown,
        });
    }
    let found = latest(list);
    newest_is_readable(vault, found).await?;
    let found = found.ok_or_else(none)?;
    if let Some(newer) = list.last().filter(|newer| newer.meta.id != found.meta.id) {
        output.warn(format!(
            "latest: {}; {} is what stood there before a restore, and is given back by its id",
            short(&found.meta.id),
            short(&newer.meta.id)
        ));
    }
    Ok(found)
}

fn none() -> Failure {
    Failure::new(4, "C1404", "there are no snapshots yet").next("cathedral snapshot create")
}

async fn newest_is_readable(vault: &LocalVault, found: Option<&SnapshotInfo>) -> Result<(), Failure> {
    // What cannot be looked at here is told by the command itself.
    let Ok(look) = vault.look().await else { return Ok(()) };
    let is_newer = |id: &&SnapshotId| found.is_none_or(|found| **id > found.meta.id);
    let Some(newer) = look.vanished.iter().filter(is_newer).max() else { return Ok(()) };
    let failure = Failure::new(20, "C2001", format!("the latest snapshot, {}, cannot be read any more", short(newer)))
        .why("its manifest is damaged or gone at every destination; nothing was changed");
    let failure = match found {
        Some(older) => failure.next(format!(
            "{}    is the one before it, of {}: name it to use it",
            short(&older.meta.id),
            when::local(older.meta.at)
        )),
        None => failure,
    };
    Err(failure.next("cathedral verify --level full    says what is damaged"))
}

fn named<'a>(list: &'a [SnapshotInfo], text: &str) -> Result<&'a SnapshotInfo, Failure> {
    if list.is_empty() {
        return Err(none());
    }
    if text.trim().is_empty() {
        return Err(
            Failure::new(2, "C1202", "an empty text names no snapshot").next("latest, or the beginning of an id")
        );
    }
    if let Some(point) = when::point(text, HubEnv::clock()) {
        let found = list.iter().rev().find(|s| s.meta.at <= point);
        return found.ok_or_else(|| {
            let first = list.first().map(|s| when::local(s.meta.at)).unwrap_or_default();
            Failure::new(4, "C1404", format!("there is no snapshot at or before {text}"))
                .why(format!("the first one was taken {first}"))
                .next("cathedral snapshot list")
        });
    }
    let upper = text.to_ascii_uppercase();
    if let Some(exact) = list.iter().find(|s| s.meta.id.as_str() == upper) {
        return Ok(exact);
    }
    let fits = |s: &&SnapshotInfo| s.meta.id.as_str().starts_with(&upper) || s.meta.tags.iter().any(|t| t == text);
    let found: Vec<&SnapshotInfo> = list.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let mut known: Vec<String> = list.iter().rev().take(SHOWN).map(|s| short(&s.meta.id)).collect();
            known.insert(0, "latest".into());
            known.extend(list.iter().rev().flat_map(|s| s.meta.tags.iter().map(|t| safe(t))).take(SHOWN));
            Err(Failure::unknown("snapshot", text, &known))
        }
        several => Err(ambiguous(text, several)),
    }
}

/// So much of an id must be typed for a forgotten snapshot to be meant.
const TYPED: usize = 4;

/// What to say of an id that is in the trash: that, since when, and how it is taken back.
fn forgotten(vault: &LocalVault, text: &str, global: &Global) -> Option<Failure> {
    let upper = text.to_ascii_uppercase();
    let trash = tokio::task::block_in_place(|| vault.forgotten()).ok()?;
    let found: Vec<&SnapshotId> =
        trash.iter().filter(|id| text.len() >= TYPED && id.as_str().starts_with(&upper)).take(SHOWN).collect();
    let told = |id: &&SnapshotId| match forgotten_at(id, global) {
        Some(at) => format!("{} was forgotten {} ({})", short(id), when::ago(at, HubEnv::clock()), when::local(at)),
        None => format!("{} was forgotten", short(id)),
    };
    let words = found.iter().map(told).collect::<Vec<_>>().join(", ");
    let ids = found.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" ");
    let them = if found.len() == 1 { "it" } else { "them" };
    (!found.is_empty()).then(|| {
        Failure::new(4, "C1404", format!("snapshot {words}"))
            .why("what was forgotten is in the trash of its destinations, and is used by no command")
            .next(format!("cathedral snapshot forget --undo {ids}    takes {them} back"))
    })
}

/// When the log says that a snapshot was forgotten last.
fn forgotten_at(id: &SnapshotId, global: &Global) -> Option<Timestamp> {
    let log = super::site(global).ok()?.log().ok()??;
    let leaves = log.find(&format!("snapshot {id}")).ok()?;
    let (_, leaf) = leaves.iter().rev().find(|(_, leaf)| leaf.value["predicate"]["act"] == FORGET)?;
    Timestamp::parse_rfc3339(&leaf.time).ok()
}

fn ambiguous(text: &str, several: &[&SnapshotInfo]) -> Failure {
    let one = |s: &&SnapshotInfo| {
        let tags = if s.meta.tags.is_empty() { String::new() } else { format!(", {}", safe(&s.meta.tags.join(", "))) };
        format!("{} ({}{tags})", short(&s.meta.id), when::local(s.meta.at))
    };
    let mut shown: Vec<String> = several.iter().rev().take(SHOWN).map(one).collect();
    if several.len() > SHOWN {
        shown.push(format!("and {} more", several.len() - SHOWN));
    }
    Failure::new(2, "C1202", format!("{} snapshots begin with {:?} or have it as a tag", several.len(), safe(text)))
        .why(format!("newest first: {}", shown.join("; ")))
        .next("name one of these; `cathedral snapshot list` shows all")
}
