//! What the signer remembers of itself, beside its key and apart from the log.
//!
//! `log-head` is the last published checkpoint, durable. `log-head.recent` is the last signed one,
//! written in place without a sync, so that it costs an append nothing: it survives a killed process,
//! and a power failure leaves at worst a damaged copy, which is ignored.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::disk;
use crate::error::LogError;
use crate::key::VerifierKey;
use crate::note::MAX_NOTE_BYTES;

const PUBLISHED: &str = "log-head";
const RECENT: &str = "log-head.recent";

pub(crate) struct Memory {
    keys: PathBuf,
    recent: File,
}

impl Memory {
    pub fn open(keys: &Path) -> Result<Self, LogError> {
        let path = keys.join(RECENT);
        let recent = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        Ok(Self { keys: keys.to_owned(), recent: recent.map_err(|e| LogError::io(&path, e))? })
    }

    pub fn remember(&self, note: &str) -> Result<(), LogError> {
        let mut bytes = (note.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(blake3::hash(note.as_bytes()).as_bytes());
        bytes.extend_from_slice(note.as_bytes());
        self.recent.write_all_at(&bytes, 0).map_err(|e| LogError::io(&self.keys.join(RECENT), e))
    }

    pub fn published(&self, note: &str) -> Result<(), LogError> {
        disk::replace(&self.keys.join(PUBLISHED), note.as_bytes(), 0o644)
    }
}

/// Whether anything was ever signed with the key in this folder.
pub(crate) fn exists(keys: &Path) -> bool {
    keys.join(PUBLISHED).exists()
}

/// Reads the memories, each with the file it is from.
pub(crate) fn read(keys: &Path, key: &VerifierKey) -> Result<Vec<(PathBuf, Checkpoint)>, LogError> {
    let mut memories = Vec::new();
    let path = keys.join(PUBLISHED);
    if let Some(bytes) = disk::read(&path, MAX_NOTE_BYTES as u64)? {
        let (head, _) = Checkpoint::open(&bytes, key).map_err(|e| LogError::corrupt_at(&path, e.to_string()))?;
        memories.push((path, head));
    }
    let path = keys.join(RECENT);
    if let Some(bytes) = disk::read(&path, 2 * MAX_NOTE_BYTES as u64)? {
        match framed(&bytes).and_then(|note| Checkpoint::open(note, key).ok()) {
            Some((head, _)) => memories.push((path, head)),
            None if bytes.is_empty() => {}
            None => tracing::info!(file = %path.display(), "damaged copy of the last checkpoint is ignored"),
        }
    }
    Ok(memories)
}

fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let note = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    (blake3::hash(note).as_bytes() == hash).then_some(note)
}
