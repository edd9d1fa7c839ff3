//! Which leaf carries an id, and which is the last of a kind and subject.
//!
//! `log/index` holds 32 bytes a leaf: the first half of SHA-256(id), the first half of
//! SHA-256(kind LF subject). It only speeds things up: a hit is checked against the statement, and
//! a file that does not fit the log is made again from the statements.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::disk::{self, Staged};
use crate::error::LogError;
use crate::leaf::Statement;
use crate::statements;
use crate::tile::WIDTH;
use crate::tree::Hash;

pub(crate) type Key = [u8; 16];

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
    keys: Vec<(Key, Key)>,
    /// Records on disk.
    written: u64,
    ids: HashMap<Key, u64>,
    last: HashMap<Key, u64>,
}

pub(crate) const FILE: &str = "index";

impl Index {
    /// Reads the index of the published leaves, or makes it again.
    pub fn open(dir: &Path, published: u64) -> Result<Self, LogError> {
        let path = dir.join(FILE);
        let mut index = Self { path, keys: Vec::new(), written: 0, ids: HashMap::new(), last: HashMap::new() };
        match read(dir, published)? {
            Some(keys) if published == 0 || Some(&keys[keys.len() - 1]) == last_of(dir, published)?.as_ref() => {
                keys.into_iter().for_each(|(id, chain)| index.insert(id, chain));
                index.written = published;
            }
            _ => {
                tracing::info!(leaves = published, "index of the log is made again from its statements");
                for n in 0..published.div_ceil(WIDTH) {
                    for (_, statement) in statements::read(dir, n, published)?.0 {
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
        let bytes: Vec<u8> = new.iter().flat_map(|(id, chain)| [*id, *chain]).flatten().collect();
        statements::write_at(&self.path, self.written * 32, &bytes).map_err(|e| LogError::io(&self.path, e))?;
        staged.touch(self.path.parent().unwrap_or(Path::new(".")));
        self.written = self.keys.len() as u64;
        Ok(())
    }
}

/// Reads the first `published` records; nothing when the file is too short.
pub(crate) fn read(dir: &Path, published: u64) -> Result<Option<Vec<(Key, Key)>>, LogError> {
    let path = dir.join(FILE);
    let Some(bytes) = disk::read(&path, (published.saturating_add(1 << 20)).saturating_mul(32))? else {
        return Ok(None);
    };
    let (halves, _) = bytes.as_chunks::<16>();
    let keys: Vec<_> = halves.chunks_exact(2).take(published as usize).map(|pair| (pair[0], pair[1])).collect();
    Ok((keys.len() as u64 == published).then_some(keys))
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
