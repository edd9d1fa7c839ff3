//! Bringing the index up to date: from the local cache, else from the index objects.
//!
//! The cache is never trusted for more than speed: a file that does not hash to its own trailer is a
//! miss, and every chunk that is read is checked against its full id.

use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::members::{self, Listing, Member};
use super::{Inner, lock};
use crate::frame::{self, Coding};
use crate::index::{self, Kind, Pack, Record};
use crate::seal;

const MAGIC: &[u8; 8] = b"CATHIDX1";
/// The largest index object that is read.
const INDEX_MAX: u64 = 4 << 30;

/// Loads all index objects that are not loaded yet. One that no destination can give is skipped: its
/// packs are found by their own tables when a chunk is missed.
pub(crate) fn refresh(inner: &Inner, members: &[Member]) {
    for object in objects(members) {
        if lock(&inner.indexed).contains(&object) {
            continue;
        }
        match load(inner, members, &object) {
            Ok(packs) => {
                let mut index = inner.write_index();
                packs.iter().for_each(|pack| index.add(pack));
                lock(&inner.indexed).insert(object);
            }
            Err(error) => tracing::warn!(object, %error, "index object is not usable"),
        }
    }
}

/// Returns the names of all index objects.
pub(crate) fn objects(members: &[Member]) -> BTreeSet<String> {
    members.iter().filter_map(Member::listing).flat_map(|l| l.index.keys().cloned()).collect()
}

/// Loads one index object.
pub(crate) fn load(inner: &Inner, members: &[Member], object: &str) -> Result<Vec<Pack>, PortError> {
    let cached = inner.cache.as_deref().map(|dir| cache_path(dir, object));
    if let Some(packs) = cached.as_deref().and_then(|path| read_cache(path, &inner.file.vault)) {
        return Ok(packs);
    }
    let lists = |l: &Listing| l.index.contains_key(object);
    let packs = members::fetch(inner, members, object, lists, |sealed| open(inner, &sealed))?;
    if let Some(path) = cached {
        write_cache(&path, &inner.file.vault, &packs);
    }
    Ok(packs)
}

/// Opens an index object.
pub(crate) fn open(inner: &Inner, sealed: &[u8]) -> Result<Vec<Pack>, String> {
    let packed = seal::decrypt(&inner.identities, sealed, INDEX_MAX).map_err(|e| e.to_string())?;
    let lines = frame::decode_all(&packed, INDEX_MAX).map_err(|e| e.to_string())?;
    index::from_lines(&lines)
}

/// Seals packs as an index object.
pub(crate) fn seal(inner: &Inner, packs: &[Pack]) -> Result<Vec<u8>, PortError> {
    let lines = index::to_lines(packs, inner.secret.epoch).map_err(|e| PortError::permanent(format!("index: {e}")))?;
    let packed = zstd::bulk::compress(&lines, 3).map_err(|e| PortError::permanent(format!("index: {e}")))?;
    seal::encrypt(&inner.recipients, &packed)
}

/// Returns where the cache keeps an index object.
pub(crate) fn cache_path(dir: &Path, object: &str) -> PathBuf {
    dir.join("index").join(object.rsplit('/').next().unwrap_or(object)).with_extension("run")
}

/// Keeps an index object's records; failing to is no error.
pub(crate) fn write_cache(path: &Path, vault: &str, packs: &[Pack]) {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(Digest::of(vault.as_bytes()).0.as_slice());
    for pack in packs {
        out.extend_from_slice(&pack.id.0);
        for n in [pack.len, pack.header, pack.plain, pack.records.len() as u64] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for r in &pack.records {
            out.extend_from_slice(&r.id.0);
            for n in [r.offset, r.frame, r.plain] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.push(r.kind as u8);
            out.push(u8::from(r.coding == Coding::Raw));
        }
    }
    let sum = Digest::of(&out);
    out.extend_from_slice(&sum.0);
    super::file_cache::replace(path, &out);
}

fn read_cache(path: &Path, vault: &str) -> Option<Vec<Pack>> {
    let bytes = fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if Digest::of(body).0 != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?.strip_prefix(Digest::of(vault.as_bytes()).0.as_slice())?;
    let mut packs = Vec::new();
    while !rest.is_empty() {
        let id = Digest(*take(&mut rest)?);
        let [len, header, plain, count] = [(); 4].map(|()| number(&mut rest));
        let (len, header, plain, count) = (len?, header?, plain?, count?);
        let mut records = Vec::new();
        for _ in 0..count {
            let id = Digest(*take(&mut rest)?);
            let (offset, frame, plain) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
            let [kind, coding] = *take::<2>(&mut rest)?;
            let coding = if coding == 1 { Coding::Raw } else { Coding::Zstd };
            records.push(Record { id, offset, frame, plain, kind: kind_of(kind)?, coding });
        }
        packs.push(Pack { id, len, header, plain, records });
    }
    Some(packs)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(first)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(|b| u64::from_le_bytes(*b))
}

fn kind_of(byte: u8) -> Option<Kind> {
    use Kind::{Data, Git, Group, Leaf, List, Refs, Schema, Segment, Tree};
    [Data, Group, Git, Leaf, Tree, List, Refs, Schema, Segment].into_iter().find(|k| *k as u8 == byte)
}
