//! A cheap look at the vault: what its destinations list, and what checks have found there.

use cathedral_model::ids::{Digest, SnapshotId};
use cathedral_model::ports::PortError;
use cathedral_model::ports::env::Silent;
use cathedral_model::snapshot::{Standing, VaultLook};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::members::{self, Member};
use crate::index::Header;

use super::{Inner, check, check_content, checked, forget, index_cache, lock, mend, presence, snapshots};

/// So many parts are named.
const SHOWN: usize = 3;

/// Looks; nothing is read but listings, manifests and, where something is lost, directories.
pub(crate) fn look(inner: &Arc<Inner>) -> Result<VaultLook, PortError> {
    let met = lock(&inner.faults).len();
    let known = checked::load(inner);
    let mut members = members::ask(inner);
    index_cache::refresh(inner, &members);
    let held = presence::ask(&mut members, &known);
    let packs = inner.read_index().packs().to_vec();
    let unneeded = unneeded(inner, &members, &held, &packs);
    let mut destinations = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let name = member.destination.name();
        let at_home = known.destinations.get(name);
        let unlisted: BTreeSet<Digest> = match member.listing() {
            Some(_) => presence::unlisted(&held, at, &packs).map(|pack| pack.id).collect(),
            None => BTreeSet::new(),
        };
        // What was stored again elsewhere is missed by nobody.
        let missed = match unlisted.is_empty() {
            true => 0,
            false => {
                let bad: BTreeSet<Digest> = unlisted.iter().copied().chain(known.packs(name)).collect();
                inner.read_index().last_places(&bad).intersection(&unlisted).filter(|p| !unneeded.contains(p)).count()
                    as u64
            }
        };
        destinations.push(Standing {
            name: name.clone(),
            fault: member.state.as_ref().err().map(ToString::to_string),
            missing: missed + mend::lacking(inner, &members, at),
            damaged: at_home.map_or(0, |d| d.damaged.values().filter(|d| d.needed).count() as u64),
            checks: at_home.map(|d| d.checks.clone()).unwrap_or_default(),
        });
    }
    // A destination that does not answer may hold all that the others lack.
    let mut found = VaultLook { destinations, ..VaultLook::default() };
    if members.iter().all(|m| m.listing().is_some()) {
        let without = presence::without_copy(&members, &held, &packs);
        let mut lost = inner.read_index().last_places(&without);
        lost.retain(|pack| !unneeded.contains(pack));
        found.lost_packs = lost.len() as u64;
        found.newest_lacks = newest_lacks(inner, &members, &lost);
        let listed = snapshots::ids(&members);
        let unread = listed.iter().filter(|id| snapshots::load(inner, &members, id).is_err()).cloned();
        let forgotten = forget::at(&members);
        let is_gone = |id: &SnapshotId| !listed.contains(id) && !forgotten.contains(id);
        found.vanished = check::seen(inner).into_iter().filter(is_gone).chain(unread).collect();
    }
    // Whatever was met here is part of the answer, not of what the command did.
    lock(&inner.faults).truncate(met);
    Ok(found)
}

/// Returns the packs without a copy, when all snapshots that needed them were forgotten.
fn unneeded(inner: &Arc<Inner>, members: &[Member], held: &presence::Held, packs: &[Header]) -> BTreeSet<Digest> {
    if forget::at(members).is_empty() || members.iter().any(|m| m.listing().is_none()) {
        return BTreeSet::new();
    }
    let without = presence::without_copy(members, held, packs);
    let ids = snapshots::ids(members);
    if without.is_empty() || ids.iter().any(|id| snapshots::load(inner, members, id).is_err()) {
        return BTreeSet::new();
    }
    let scope = check_content::Scope { bad_packs: without.clone(), is_deep: false };
    let needed = check_content::examine(inner, members, &ids, scope, &Silent);
    if needed.is_empty() { without } else { BTreeSet::new() }
}

/// Says what the newest snapshot lacks.
fn newest_lacks(inner: &Arc<Inner>, members: &[Member], lost: &BTreeSet<Digest>) -> Option<String> {
    let newest: SnapshotId = snapshots::ids(members).last()?.clone();
    let loaded = match snapshots::load(inner, members, &newest) {
        Ok(loaded) => loaded,
        Err(error) => return Some(error.to_string()),
    };
    if lost.is_empty() {
        return None;
    }
    let parts = loaded.manifest.spokes.iter();
    let damaged: Vec<String> = parts
        .filter(|part| !check_content::is_whole(inner, &newest, part, lost))
        .map(|part| format!("{} ({})", part.name, part.side.as_str()))
        .collect();
    let shown = damaged.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match damaged.len() {
        0 => None,
        n if n > SHOWN => Some(format!("{shown} and {} more", n - SHOWN)),
        _ => Some(shown),
    }
}
