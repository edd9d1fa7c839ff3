//! Manifests: found, verified, listed.

use cathedral_model::ids::{DestinationName, Digest, SnapshotId};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{Held, SnapshotInfo};
use sha2::Digest as _;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::members::{self, Member};
use super::{Inner, lock};
use crate::manifest::{self, Manifest};
use crate::root;
use crate::seal;
use crate::signed::{self, DOMAIN_SNAPSHOT};

/// The largest manifest that is read.
const MANIFEST_MAX: u64 = 256 << 20;

/// A verified manifest with the digests of its stored object.
pub(crate) struct Loaded {
    pub manifest: Manifest,
    pub sha256: String,
    pub blake3: String,
}

/// Lists all snapshots, oldest first; one whose manifest nobody can give is left to the check.
pub(crate) fn list(inner: &Inner) -> Result<Vec<SnapshotInfo>, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    let mut out = Vec::new();
    for id in ids(&members) {
        match load(inner, &members, &id) {
            Ok(loaded) => out.push(loaded.info(held(&members, &id))),
            Err(error) => tracing::warn!(snapshot = %id, %error, "snapshot cannot be listed"),
        }
    }
    Ok(out)
}

/// Returns the newest snapshot that can be read; a name alone proves nothing.
pub(crate) fn newest(inner: &Inner) -> Result<Option<SnapshotId>, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    Ok(ids(&members).into_iter().rev().find(|id| load(inner, &members, id).is_ok()))
}

/// Returns one snapshot.
pub(crate) fn one(inner: &Inner, id: &SnapshotId) -> Result<SnapshotInfo, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    Ok(load(inner, &members, id)?.info(held(&members, id)))
}

/// Loads a snapshot's manifest, asking the destinations.
pub(crate) fn find(inner: &Inner, id: &SnapshotId) -> Result<Arc<Loaded>, PortError> {
    if let Some(loaded) = lock(&inner.manifests).get(id) {
        return Ok(Arc::clone(loaded));
    }
    let members = members::ask(inner);
    members::require_one(&members)?;
    super::index_cache::refresh(inner, &members);
    load(inner, &members, id)
}

/// Returns the digests of one manifest's objects, as the destinations give them.
pub(crate) fn digests(inner: &Inner, id: &SnapshotId) -> Result<Vec<(DestinationName, String)>, PortError> {
    let members = members::ask(inner);
    members::require_one(&members)?;
    let object = manifest::object(id);
    let there = members.iter().filter(|m| m.listing().is_some_and(|l| l.snapshots.contains_key(&object)));
    let read = there.filter_map(|m| Some((m.destination.name().clone(), m.destination.get(&object).ok()?)));
    Ok(read.map(|(name, bytes)| (name, hex::encode(sha2::Sha256::digest(&bytes)))).collect())
}

/// Returns the ids that any destination lists, oldest first.
pub(crate) fn ids(members: &[Member]) -> BTreeSet<SnapshotId> {
    members
        .iter()
        .filter_map(Member::listing)
        .flat_map(|l| l.snapshots.keys())
        .filter_map(|o| manifest::id_of(o))
        .collect()
}

/// Says how a snapshot stands at each destination.
pub(crate) fn held(members: &[Member], id: &SnapshotId) -> Vec<Held> {
    let object = manifest::object(id);
    let state = |m: &Member| match m.listing() {
        None => "unreachable",
        Some(l) if l.snapshots.contains_key(&object) => "held",
        Some(_) => "lagging",
    };
    members.iter().map(|m| Held { name: m.destination.name().clone(), state: state(m).into() }).collect()
}

/// Loads a manifest from the first destination that has a good one.
pub(crate) fn load(inner: &Inner, members: &[Member], id: &SnapshotId) -> Result<Arc<Loaded>, PortError> {
    if let Some(loaded) = lock(&inner.manifests).get(id) {
        return Ok(Arc::clone(loaded));
    }
    let object = manifest::object(id);
    let lists = |l: &members::Listing| l.snapshots.contains_key(&object);
    let loaded = members::fetch(inner, members, &object, lists, |sealed| verify(inner, id, &sealed)).map_err(|e| {
        if e.cause() == Cause::NotFound {
            return PortError::failed(Cause::NotFound, format!("snapshot {id} is at no destination"));
        }
        e
    })?;
    let loaded = Arc::new(loaded);
    lock(&inner.manifests).insert(id.clone(), Arc::clone(&loaded));
    Ok(loaded)
}

/// Opens and verifies a manifest's object.
pub(crate) fn verify(inner: &Inner, id: &SnapshotId, sealed: &[u8]) -> Result<Loaded, String> {
    let plain = seal::decrypt(&inner.identities, sealed, MANIFEST_MAX).map_err(|e| e.to_string())?;
    let line = signed::open(DOMAIN_SNAPSHOT, &plain, &inner.trusted).map_err(|e| e.to_string())?;
    let manifest: Manifest = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if manifest.format != "cathedral-snapshot" || manifest.version != 1 {
        return Err(format!("manifest of an unknown form: {} {}", manifest.format, manifest.version));
    }
    if manifest.vault != inner.file.vault {
        return Err(format!("manifest of another vault: {}", manifest.vault));
    }
    if &manifest.id != id {
        return Err(format!("manifest of another snapshot: {}", manifest.id));
    }
    if !manifest.spokes.is_sorted_by(|a, b| (&a.name, a.side) < (&b.name, b.side)) {
        return Err("manifest's parts are not in order".into());
    }
    let infos: Vec<_> = manifest.spokes.iter().map(manifest::Part::info).collect();
    if root::ecosystem(&inner.hashes, &infos).map_err(|e| e.to_string())? != manifest.root {
        return Err("manifest's root does not follow from its parts".into());
    }
    Ok(Loaded { manifest, sha256: hex::encode(sha2::Sha256::digest(sealed)), blake3: Digest::of(sealed).to_string() })
}

impl Loaded {
    pub(crate) fn info(&self, destinations: Vec<Held>) -> SnapshotInfo {
        self.manifest.info(self.sha256.clone(), self.blake3.clone(), destinations)
    }
}
