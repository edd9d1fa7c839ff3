//! Before a snapshot: lagging destinations are brought up to date, packs of a killed run are adopted.

use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::fanout;
use super::members::Member;
use super::{Inner, checked, index_cache, mend, presence, snapshots};
use crate::index::{self, Pack};
use crate::manifest;
use crate::pack::read::PackReader;
use crate::seal;

/// Copies to each destination the packs, indexes and manifests that another one has: packs before the
/// index that names them, indexes before manifests. One that cannot be brought up to date is lagging.
/// Returns the packs that cannot be had: they hold no destination up, and nothing is built on them.
pub(crate) fn catch_up(inner: &Inner, members: &mut [Member]) -> BTreeSet<Digest> {
    let now = inner.env.as_ref().map_or(Timestamp(0), |env| env.now());
    let mut known = checked::load(inner);
    mend::note_short(members, &mut known, now);
    let mut mended = Vec::new();
    let mut held = presence::ask(members, &known);
    let packs = inner.read_index().packs().to_vec();
    let indexes = index_cache::objects(members);
    let snapshots: BTreeSet<String> =
        members.iter().filter_map(Member::listing).flat_map(|l| l.snapshots.keys().cloned()).collect();
    for at in 0..members.len() {
        let Some(listing) = members[at].listing() else { continue };
        let lacks_index: Vec<_> = indexes.iter().filter(|o| !listing.index.contains_key(*o)).cloned().collect();
        let lacks_snapshot: Vec<_> =
            snapshots.iter().filter(|o| !listing.snapshots.contains_key(*o)).cloned().collect();
        let brought = presence::bring(inner, members, &mut held, at, &packs)
            .and_then(|()| bring(inner, members, at, &lacks_index, &lacks_snapshot))
            .and_then(|()| mend::mend(inner, members, at, &known, &mut mended));
        if let Err(error) = brought {
            tracing::warn!(destination = %members[at].destination.name(), %error, "destination stays behind");
            members[at].state = Err(error);
            continue;
        }
        if let Ok(listing) = &mut members[at].state {
            listing.index.extend(lacks_index.into_iter().map(|o| (o, 0)));
            listing.snapshots.extend(lacks_snapshot.into_iter().map(|o| (o, 0)));
        }
    }
    checked::update(inner, |later| {
        mended.iter().for_each(|(name, object)| later.forget(name, object));
        presence::remember(members, &held, &known, later, now);
    });
    presence::gone(members, &held, &packs)
}

fn bring(
    inner: &Inner,
    members: &[Member],
    to: usize,
    indexes: &[String],
    snapshots: &[String],
) -> Result<(), PortError> {
    let good = |bytes: &[u8], object: &str| match manifest::id_of(object) {
        Some(id) => snapshots::verify(inner, &id, bytes).is_ok(),
        None => index_cache::open(inner, bytes).is_ok(),
    };
    indexes.iter().chain(snapshots).try_for_each(|object| copy(inner, members, to, object, &good))
}

/// Copies one object from any other destination that has it whole.
fn copy(
    inner: &Inner,
    members: &[Member],
    to: usize,
    object: &str,
    good: &dyn Fn(&[u8], &str) -> bool,
) -> Result<(), PortError> {
    let target = members[to].destination.as_ref();
    if target.size(object)?.is_some() {
        return Ok(());
    }
    for member in members.iter().enumerate().filter(|(i, m)| *i != to && m.listing().is_some()).map(|(_, m)| m) {
        let Ok(bytes) = member.destination.get(object) else { continue };
        if good(&bytes, object) {
            return fanout::put(target, object, &bytes);
        }
        inner.note_fault(member.destination.as_ref(), object, "damaged");
    }
    Err(PortError::Corrupt(format!("no destination has an intact {object} to copy to {}", target.name())))
}

/// Finds packs that no index names, makes them complete at all destinations, and returns them.
pub(crate) fn orphans(inner: &Inner, members: &[Member]) -> Vec<Pack> {
    let Some(marker) = marker(inner).filter(|m| m.exists()) else { return Vec::new() };
    let found = unindexed(inner, members);
    let good = |bytes: &[u8], object: &str| index::pack_of(object).is_some_and(|pack| Digest::of(bytes) == pack);
    let complete = |object: &str| {
        (0..members.len())
            .filter(|i| members[*i].listing().is_some())
            .all(|i| copy(inner, members, i, object, &good).is_ok())
    };
    let packs: Vec<Pack> = found.into_iter().filter(|pack| complete(&pack.object())).collect();
    let mut index = inner.write_index();
    packs.iter().for_each(|pack| index.add(pack));
    tracing::info!(packs = packs.len(), marker = %marker.display(), "adopted what an interrupted snapshot had stored");
    packs
}

/// Reads the own tables of packs that no loaded index names.
pub(crate) fn unindexed(inner: &Inner, members: &[Member]) -> Vec<Pack> {
    let mut packs: BTreeMap<Digest, Pack> = BTreeMap::new();
    for member in members.iter().filter(|m| m.listing().is_some()) {
        let Ok(objects) = member.destination.list("packs/") else { continue };
        for (object, len) in objects {
            let Some(id) = index::pack_of(&object) else { continue };
            if packs.contains_key(&id) || inner.read_index().has_pack(&id) {
                continue;
            }
            let table = PackReader::open_len(&member.destination, object.clone(), len, &inner.identities)
                .and_then(|mut reader| reader.table());
            match table {
                Ok((records, plain)) => {
                    let head = member.destination.get_range(&object, 0, seal::HEADER_MAX).unwrap_or_default();
                    let header = seal::header_len(&head).unwrap_or(0) as u64;
                    packs.insert(id, Pack { id, len, header, plain, records });
                }
                Err(fault) => inner.note_fault(member.destination.as_ref(), &object, &fault),
            }
        }
    }
    packs.into_values().collect()
}

/// Notes, durably enough for a crash of this process, that packs may be at destinations unindexed.
pub(crate) fn mark_open(inner: &Inner) {
    if let Some(marker) = marker(inner).filter(|m| !m.exists()) {
        super::file_cache::replace(&marker, b"a snapshot is being written\n");
    }
}

/// Notes that nothing is unindexed.
pub(crate) fn mark_closed(inner: &Inner) {
    if let Some(marker) = marker(inner) {
        let _ = fs::remove_file(marker);
    }
}

fn marker(inner: &Inner) -> Option<PathBuf> {
    inner.cache.as_ref().map(|dir| dir.join("open"))
}
