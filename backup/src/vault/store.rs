//! A snapshot under construction.

use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, SnapshotId, SpokeName};
use cathedral_model::ports::{Cause, Env, PortError};
use cathedral_model::snapshot::{Carried, PartKey, SnapshotInfo, SnapshotMeta};
use cathedral_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::fanout::Fanout;
use super::members;
use super::packer::Line;
use super::snapshots::{self, Loaded};
use super::{FileCache, Inner, Reader, adopt, check_content, founding, index_cache, lock, presence};
use crate::index::{Kind, PLAIN_MAX, Pack};
use crate::manifest::{CarriedPart, Manifest, Part};
use crate::tree::Piece;

/// How many snapshots are searched for what a part can build on.
const LOOK_BACK: usize = 16;

/// A part of an earlier snapshot.
struct Found {
    snapshot: SnapshotId,
    /// When that snapshot was taken, UTC microseconds.
    at: String,
    part: Part,
}

/// Where sinks put chunks and finished parts.
pub(crate) struct Store {
    pub(crate) inner: Arc<Inner>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) meta: SnapshotMeta,
    pub(crate) parent: Option<Arc<Loaded>>,
    /// For each part the newest snapshot that has it: later than `parent` none does.
    previous: BTreeMap<(SpokeName, Side), Found>,
    pub(crate) line: Line,
    /// Indexed packs that are not where they must be: nothing is built on them.
    pub(crate) gone: BTreeSet<Digest>,
    /// Whether parts of the parent may need them.
    is_parent_doubtful: bool,
    /// Packs of a run that was killed, found at the destinations.
    pub(crate) adopted: Vec<Pack>,
    started: Mutex<HashSet<Digest>>,
    /// Small contents by their BLAKE3, so that a copy is not stored in another group.
    small: Mutex<HashMap<Digest, Piece>>,
    pub(crate) parts: Mutex<BTreeMap<(SpokeName, Side), Part>>,
    pub(crate) caches: Mutex<Vec<(PathBuf, Vec<u8>)>>,
}

/// Begins a snapshot: brings lagging destinations up to date, adopts what a killed run has left.
pub(crate) fn begin(
    inner: &Arc<Inner>,
    meta: &SnapshotMeta,
) -> Result<Result<Arc<Store>, Box<SnapshotInfo>>, PortError> {
    let (Some(env), Some(_)) = (&inner.env, &inner.signer) else {
        return Err(PortError::failed(Cause::Key, "vault is open for reading only"));
    };
    if !inner.file.is_writable() {
        let message = format!("vault may only be written by a newer release: {:?}", inner.file.features);
        return Err(PortError::failed(Cause::Invalid, message));
    }
    let mut members = members::ask(inner);
    founding::mend(inner, &mut members);
    members::require(&members, inner.quorum, "write the vault")?;
    index_cache::refresh(inner, &members);
    let gone = adopt::catch_up(inner, &mut members);
    members::require(&members, inner.quorum, "write the vault")?;
    inner.write_index().set_gone(&gone);
    let ids = snapshots::ids(&members);
    if ids.contains(&meta.id) {
        let loaded = snapshots::load(inner, &members, &meta.id)?;
        return Ok(Err(Box::new(loaded.info(snapshots::held(&members, &meta.id)))));
    }
    let adopted = adopt::orphans(inner, &members);
    let mut parent = None;
    let mut previous = BTreeMap::new();
    // A part that none of the newest snapshots holds begins anew.
    for id in ids.iter().rev().take(LOOK_BACK) {
        let loaded = match snapshots::load(inner, &members, id) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(snapshot = %id, %error, "snapshot is not usable as a parent");
                continue;
            }
        };
        let Manifest { id, at, spokes, .. } = &loaded.manifest;
        for part in spokes {
            let found = || Found { snapshot: id.clone(), at: at.clone(), part: part.clone() };
            previous.entry((part.name.clone(), part.side)).or_insert_with(found);
        }
        parent.get_or_insert(loaded);
    }
    let parent_id = parent.as_ref().map(|p| &p.manifest.id);
    let is_parent_doubtful = parent_id.is_some_and(|id| !presence::is_proven(inner, id, &gone));
    let lanes = members.iter().map(|m| (Arc::clone(&m.destination), m.state.as_ref().err().map(PortError::fault)));
    let fanout = Fanout::start(lanes.collect(), inner.quorum);
    Ok(Ok(Arc::new(Store {
        inner: Arc::clone(inner),
        env: Arc::clone(env),
        meta: meta.clone(),
        parent,
        previous,
        line: Line::start(inner, fanout),
        gone,
        is_parent_doubtful,
        adopted,
        started: Mutex::default(),
        small: Mutex::default(),
        parts: Mutex::default(),
        caches: Mutex::default(),
    })))
}

impl Store {
    /// Stores a chunk once and returns its id.
    pub(crate) fn put(&self, kind: Kind, plain: Vec<u8>) -> Result<Digest, PortError> {
        // A record that readers refuse must never be written.
        if plain.len() as u64 > PLAIN_MAX {
            let message = format!("a chunk of {} bytes is larger than a vault holds", plain.len());
            return Err(PortError::failed(Cause::Refused, message));
        }
        let id = self.inner.hashes.id(&plain);
        if self.inner.read_index().has(&id) || !lock(&self.started).insert(id) {
            return Ok(id);
        }
        self.line.send(id, kind, plain)?;
        Ok(id)
    }

    /// Says whether a chunk is stored or about to be.
    pub(crate) fn has(&self, id: &Digest) -> bool {
        self.inner.read_index().has(id) || lock(&self.started).contains(id)
    }

    /// Returns where a small content is stored already.
    pub(crate) fn small(&self, b3: &Digest) -> Option<Piece> {
        let piece = lock(&self.small).get(b3).copied();
        piece.filter(|p| self.has(&p.0))
    }

    /// Notes where a small content is stored.
    pub(crate) fn note_small(&self, b3: Digest, piece: Piece) {
        lock(&self.small).entry(b3).or_insert(piece);
    }

    /// Returns the part as the newest snapshot that has it holds it.
    pub(crate) fn previous(&self, key: &PartKey) -> Option<&Part> {
        self.previous.get(&(key.spoke.clone(), key.side)).map(|found| &found.part)
    }

    /// Loads the cache of unchanged files of a part.
    pub(crate) fn file_cache(&self, key: &PartKey) -> Option<FileCache> {
        let dir = self.inner.cache.as_deref()?;
        let domain =
            format!("{} {} {}", self.inner.file.vault, self.inner.secret.epoch, crate::vault_file::FEATURE_CUTTER);
        let cache = FileCache::load(dir, key, domain.as_bytes(), self.env.now().0);
        for cached in cache.known().filter(|c| c.pieces.len() == 1 && c.stamp.size < crate::cut::SMALL as u64) {
            self.note_small(cached.b3, cached.pieces[0]);
        }
        Some(cache)
    }

    /// Takes a part over from the newest snapshot when it was read at the same digest there.
    pub(crate) fn reuse(&self, key: &PartKey, kind: SpokeKind, observed: &Digest) -> bool {
        let Some(parent) = &self.parent else { return false };
        let Some(part) = parent.manifest.part(key) else { return false };
        if part.kind != kind || part.observed != *observed || !self.is_there(part) {
            return false;
        }
        if self.is_parent_doubtful && !check_content::is_whole(&self.inner, &parent.manifest.id, part, &self.gone) {
            return false;
        }
        // It has just been read as it is there.
        self.finish(Part { carried: None, ..part.clone() });
        true
    }

    /// Takes a part over from the newest snapshot that has it, and marks it.
    pub(crate) fn carry(&self, key: &PartKey, kind: SpokeKind, why: &str) -> bool {
        let Some(Found { snapshot, part, .. }) = self.previous.get(&(key.spoke.clone(), key.side)) else {
            return false;
        };
        let is_doubtful = !presence::is_proven(&self.inner, snapshot, &self.gone);
        if part.kind != kind
            || !self.is_there(part)
            || (is_doubtful && !check_content::is_whole(&self.inner, snapshot, part, &self.gone))
        {
            return false;
        }
        self.finish(Part { carried: self.older(key, None, why), ..part.clone() });
        true
    }

    /// Returns the mark of a part of which a side, or all, is older than this snapshot; none when no snapshot
    /// has the part.
    pub(crate) fn older(&self, key: &PartKey, side: Option<Side>, why: &str) -> Option<CarriedPart> {
        let Found { snapshot, at, part } = self.previous.get(&(key.spoke.clone(), key.side))?;
        let newest = (snapshot.clone(), Timestamp(at.parse().unwrap_or(0)));
        let (snapshot, at) = Carried::since(newest, part.info().carried.as_ref(), side);
        Some(CarriedPart { snapshot, at: at.0.to_string(), why: why.to_owned(), side })
    }

    fn is_there(&self, part: &Part) -> bool {
        let first = part.tree.or(part.git.as_ref().map(|g| g.refs)).or(part.database.as_ref().map(|d| d.schema));
        first.is_some_and(|id| self.has(&id))
    }

    /// Adds a finished part.
    pub(crate) fn finish(&self, part: Part) {
        lock(&self.parts).insert((part.name.clone(), part.side), part);
    }

    /// Returns a reader of what earlier snapshots hold.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.inner))
    }
}
