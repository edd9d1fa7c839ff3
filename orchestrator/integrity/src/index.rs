//! Which leaf carries an id, and which is the last of a kind and subject.
//!
//! `log/index` holds 32 bytes a leaf: the first half of SHA-256(id), the first half of
//! SHA-256(kind LF subject). Behind the last record stands the BLAKE3 of all of them. It only speeds
//! things up: a hit is checked against the statement, and a file that is damaged or does not fit the
//! log is made again from the statements, each of which must then be the one in the tree.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::disk::{self, Staged};
use crate::error::LogError;
use crate::leaf::Statement;
use crate::log::tail;
use crate::statements;
use crate::tile::{Tiles, WIDTH};
use crate::tree::Hash;

pub(crate) type Key = [u8; 16];
/// The keys of each leaf: of its id, and of its kind and subject.
pub(crate) type Keys = Vec<(Key, Key)>;

fn half(hash: Hash) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

pub(crate) fn id_key(id: &str) -> Key {
    half(Sha256::digest(id).into())
}

pub(crate) fn chain_key(kind: &str, subject: &str) -> Key {
    half(Sha256::new().chain_update(kind).chain_update("\n").chain_update(subject).finalize().into())
}

pub(crate) struct Index {
    path: PathBuf,
    keys: Keys,
    /// Records on disk, and the digest over them.
    written: u64,
    sum: blake3::Hasher,
    ids: HashMap<Key, u64>,
    last: HashMap<Key, u64>,
}

pub(crate) const FILE: &str = "index";

impl Index {
    /// Reads the index of the published leaves, or makes it again.
    pub fn open(dir: &Path, tiles: &Tiles, published: u64) -> Result<Self, LogError> {
        let (path, sum) = (dir.join(FILE), blake3::Hasher::new());
        let mut index = Self { path, keys: Vec::new(), written: 0, sum, ids: HashMap::new(), last: HashMap::new() };
        match read(dir, published)? {
            Some(keys) if published == 0 || Some(&keys[keys.len() - 1]) == last_of(dir, published)?.as_ref() => {
                for (id, chain) in keys {
                    index.sum.update(&id).update(&chain);
                    index.insert(id, chain);
                }
                index.written = published;
            }
            _ => {
                tracing::info!(leaves = published, "index of the log is made again from its statements");
                for n in 0..published.div_ceil(WIDTH) {
                    for (_, statement) in tail::proven(dir, tiles, n, published)? {
                        let (id, chain) = keys_in(dir, n, &statement)?;
                        index.insert(id, chain);
                    }
                }
            }
        }
        Ok(index)
    }

    pub fn insert(&mut self, id: Key, chain: Key) {
        let at = self.keys.len() as u64;
        self.keys.push((id, chain));
        // The first leaf of an id is the one that counts, the newest of a subject.
        self.ids.entry(id).or_insert(at);
        self.last.insert(chain, at);
    }

    pub fn by_id(&self, id: &Key) -> Option<u64> {
        self.ids.get(id).copied()
    }

    pub fn last(&self, chain: &Key) -> Option<u64> {
        self.last.get(chain).copied()
    }

    /// Writes what is new, durably.
    pub fn flush(&mut self, staged: &mut Staged) -> Result<(), LogError> {
        let new = &self.keys[self.written as usize..];
        let mut bytes: Vec<u8> = new.iter().flat_map(|(id, chain)| [*id, *chain]).flatten().collect();
        let mut sum = self.sum.clone();
        sum.update(&bytes);
        bytes.extend_from_slice(sum.finalize().as_bytes());
        statements::write_at(&self.path, self.written * 32, &bytes).map_err(|e| LogError::io(&self.path, e))?;
        staged.touch(self.path.parent().unwrap_or(Path::new(".")));
        (self.written, self.sum) = (self.keys.len() as u64, sum);
        Ok(())
    }
}

/// Reads the first `published` records; nothing when there are fewer, or they are not what was written.
pub(crate) fn read(dir: &Path, published: u64) -> Result<Option<Keys>, LogError> {
    Ok(read_as_is(dir, published)?.filter(|(_, sum)| *sum == Sum::Agrees).map(|(keys, _)| keys))
}

/// How the digest behind the records stands to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    Agrees,
    Differs,
    /// A publication that did not end may have left the file so; it is made again then.
    Unknown,
}

/// Reads the first `published` records whatever their digest says; nothing when there are fewer.
pub(crate) fn read_as_is(dir: &Path, published: u64) -> Result<Option<(Keys, Sum)>, LogError> {
    let path = dir.join(FILE);
    let Some(bytes) = disk::read(&path, (published.saturating_add(1 << 20)).saturating_mul(32))? else {
        return Ok(None);
    };
    let sum = match bytes.split_last_chunk::<32>() {
        Some((records, sum)) if blake3::hash(records).as_bytes() == sum => Sum::Agrees,
        _ if bytes.len() as u64 == published.saturating_add(1).saturating_mul(32) => Sum::Differs,
        _ => Sum::Unknown,
    };
    let (halves, _) = bytes.as_chunks::<16>();
    let keys: Vec<_> = halves.chunks_exact(2).take(published as usize).map(|pair| (pair[0], pair[1])).collect();
    Ok((keys.len() as u64 == published).then_some((keys, sum)))
}

fn last_of(dir: &Path, published: u64) -> Result<Option<(Key, Key)>, LogError> {
    let n = (published - 1) / WIDTH;
    let records = statements::read(dir, n, published)?.0;
    records.last().map(|(_, statement)| keys_in(dir, n, statement)).transpose()
}

fn keys_in(dir: &Path, n: u64, statement: &[u8]) -> Result<(Key, Key), LogError> {
    keys_of(statement).map_err(|why| LogError::corrupt_at(&dir.join(statements::path(n)), why))
}

/// Returns the keys of a leaf by its statement.
pub(crate) fn keys_of(statement: &[u8]) -> Result<(Key, Key), String> {
    let read = Statement::parse(statement)?;
    Ok((id_key(&read.id), chain_key(&read.kind, &read.subject)))
}
