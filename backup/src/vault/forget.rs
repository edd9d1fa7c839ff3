//! Snapshots that are let go, and taken back.
//!
//! A manifest is all that makes a snapshot one. To forget it is to move its manifest to `trash/` at every
//! destination; no pack is touched, so that what was forgotten can be taken back until a prune has run. The
//! copy is put before the original goes: stopped anywhere, the same call ends what was begun.

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::{Cause, PortError};
use std::collections::BTreeSet;

use super::members::{self, Member};
use super::{Inner, check, lock, snapshots};
use crate::manifest;

/// The object that a forgotten snapshot's manifest becomes.
fn trash(id: &SnapshotId) -> String {
    format!("trash/{id}.age")
}

/// Returns the snapshots whose manifests lie in the trash of a destination that answers.
pub(crate) fn forgotten(inner: &Inner) -> Result<BTreeSet<SnapshotId>, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    Ok(at(&members))
}

/// As [`forgotten`], of destinations that were asked already. What any of them lists is still a snapshot: it is
/// on its way there, or back.
pub(crate) fn at(members: &[Member]) -> BTreeSet<SnapshotId> {
    let listed = snapshots::ids(members);
    let there = members.iter().filter(|m| m.listing().is_some());
    let names = there.flat_map(|member| member.destination.list("trash/").unwrap_or_default());
    let ids = names.filter_map(|(name, _)| SnapshotId::parse(name.strip_prefix("trash/")?.strip_suffix(".age")?).ok());
    ids.filter(|id| !listed.contains(id)).collect()
}

/// Moves the manifests of these snapshots to the trash of each destination.
pub(crate) fn forget(inner: &Inner, ids: &[SnapshotId]) -> Result<(), PortError> {
    let members = all(inner, "forget a snapshot")?;
    for id in ids {
        for member in &members {
            let listed = member.listing().is_some_and(|l| l.snapshots.contains_key(&manifest::object(id)));
            if listed {
                move_object(member, &manifest::object(id), &trash(id))?;
            }
        }
        lock(&inner.manifests).remove(id);
        if let Some(dir) = inner.cache.as_deref() {
            match std::fs::remove_file(dir.join("seen").join(id.as_str())) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(PortError::permanent(e.to_string())),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Moves the manifests of these snapshots back.
pub(crate) fn take_back(inner: &Inner, ids: &[SnapshotId]) -> Result<(), PortError> {
    let members = all(inner, "take a snapshot back")?;
    for id in ids {
        let mut is_back = false;
        for member in &members {
            if member.destination.size(&trash(id))?.is_some() {
                move_object(member, &trash(id), &manifest::object(id))?;
                is_back = true;
            }
        }
        is_back |= members.iter().filter_map(Member::listing).any(|l| l.snapshots.contains_key(&manifest::object(id)));
        if !is_back {
            return Err(PortError::failed(Cause::NotFound, format!("snapshot {id} is in no destination's trash")));
        }
    }
    Ok(())
}

/// Whether a snapshot is known at all: listed, in the trash, or seen by this hub.
pub(crate) fn is_known(inner: &Inner, id: &SnapshotId) -> Result<bool, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    let is_listed = members.iter().filter_map(Member::listing).any(|l| l.snapshots.contains_key(&manifest::object(id)));
    Ok(is_listed || at(&members).contains(id) || check::seen(inner).contains(id))
}

/// All destinations: one that is away would bring the snapshot back when it returns.
pub(crate) fn all(inner: &Inner, to: &str) -> Result<Vec<Member>, PortError> {
    let members = members::ask(inner);
    members::require(&members, members.len(), to)?;
    Ok(members)
}

fn move_object(member: &Member, from: &str, to: &str) -> Result<(), PortError> {
    let bytes = member.destination.get(from)?;
    match member.destination.put(to, &bytes) {
        // A damaged manifest of another length lay there before: the one that stands now is what counts.
        Err(PortError::Corrupt(_)) => {
            member.destination.delete(to)?;
            member.destination.put(to, &bytes)?;
        }
        put => {
            put?;
        }
    }
    member.destination.delete(from)
}
