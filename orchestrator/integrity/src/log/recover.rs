//! Reads a log as a crash may have left it: what is published, and on top of it the write-ahead log.
//!
//! Nothing is written here. A damaged end that was never acknowledged is left out; everything else
//! that does not fit is an error, never trimmed.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::disk;
use crate::error::LogError;
use crate::key::VerifierKey;
use crate::leaf::Leaf;
use crate::note::{MAX_NOTE_BYTES, Note};
use crate::tile::Tiles;
use crate::tree::{Edge, empty_root, root_at};
use crate::wal;

pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A log that was read.
pub(crate) struct Recovered {
    pub tiles: Tiles,
    /// Leaves on disk as tiles and bundles.
    pub published: u64,
    /// Acknowledged leaves after them.
    pub pending: Vec<Leaf>,
    pub head: Checkpoint,
    /// Nothing for an empty log.
    pub note: Option<Note>,
    /// A record that was being written when the process ended.
    pub torn: Option<wal::Torn>,
}

pub(crate) fn recover(dir: &Path, key: &VerifierKey) -> Result<Recovered, LogError> {
    let (mut head, mut note) = published(dir, key)?;
    let published = head.size;
    let mut tiles = Tiles::open(dir, published)?;
    if root_at(&tiles, published)? != head.root {
        let why = format!("the tiles of {published} leaves have another root");
        return Err(LogError::corrupt_at(&dir.join(CHECKPOINT), why));
    }
    let mut edge = Edge::read(&tiles, published)?;
    let mut pending = Vec::new();
    let read = wal::read(dir)?;
    for (record, path) in read.records {
        let end = record.first.saturating_add(record.leaves.len() as u64);
        if end <= published {
            continue;
        }
        if record.first != edge.size() {
            let why = format!("a record begins at leaf {}, the log ends at {}", record.first, edge.size());
            return Err(LogError::corrupt_at(&path, why));
        }
        for leaf in record.leaves {
            let hash = leaf.hash();
            edge.push(hash);
            tiles.push(hash);
            pending.push(leaf);
        }
        let (signed, signed_note) =
            Checkpoint::open(&record.note, key).map_err(|e| LogError::corrupt_at(&path, e.to_string()))?;
        if (signed.size, signed.root) != (edge.size(), edge.root()) {
            let why = format!("the checkpoint at {} leaves does not fit its record", signed.size);
            return Err(LogError::corrupt_at(&path, why));
        }
        (head, note) = (signed, Some(signed_note));
    }
    Ok(Recovered { tiles, published, pending, head, note, torn: read.torn })
}

/// Reads the published checkpoint.
pub(crate) fn published(dir: &Path, key: &VerifierKey) -> Result<(Checkpoint, Option<Note>), LogError> {
    let path = dir.join(CHECKPOINT);
    match disk::read(&path, MAX_NOTE_BYTES as u64)? {
        Some(bytes) => {
            let opened = Checkpoint::open(&bytes, key);
            let (head, note) = opened.map_err(|e| LogError::corrupt_at(&path, e.to_string()))?;
            Ok((head, Some(note)))
        }
        None => Ok((Checkpoint { origin: key.name().to_owned(), size: 0, root: empty_root() }, None)),
    }
}
