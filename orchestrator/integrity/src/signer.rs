//! The signer: it holds the key and the right edge of what it signed last, and signs nothing that
//! does not extend it.

use std::path::PathBuf;

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::key::LogKey;
use crate::note::Note;
use crate::tile::Tiles;
use crate::tree::{Edge, Hash, root_at};

pub(crate) struct Signer {
    key: LogKey,
    edge: Edge,
}

/// A checkpoint that is signed but not yet durable.
pub(crate) struct Signed {
    pub checkpoint: Checkpoint,
    pub note: Note,
    edge: Edge,
}

impl Signer {
    /// Takes up signing where the log stands, if that extends every memory of what was signed before.
    pub fn resume(key: LogKey, tiles: &Tiles, memories: &[(PathBuf, Checkpoint)]) -> Result<Self, LogError> {
        let size = tiles.size();
        for (file, memory) in memories {
            if memory.size > size {
                let signed = memory.size;
                let why = format!("{signed} leaves were signed, the log has {size}: it was put back or lost leaves");
                return Err(LogError::corrupt_at(file, why));
            }
            if root_at(tiles, memory.size)? != memory.root {
                let why = format!("the log contradicts the checkpoint signed at {} leaves", memory.size);
                return Err(LogError::corrupt_at(file, why));
            }
        }
        Ok(Self { key, edge: Edge::read(tiles, size)? })
    }

    /// Signs the tree that has these leaves from `first` on, which must be where the last one ended.
    pub fn sign(&self, first: u64, leaves: &[Hash]) -> Result<Signed, LogError> {
        if first != self.edge.size() {
            let last = self.edge.size();
            return Err(LogError::Refused(format!("leaves from {first} on do not extend the signed {last}")));
        }
        let mut edge = self.edge.clone();
        leaves.iter().for_each(|leaf| edge.push(*leaf));
        let origin = self.key.name().to_owned();
        let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
        let note = self.key.sign(checkpoint.to_text());
        Ok(Signed { checkpoint, note, edge })
    }

    /// Notes that a signed checkpoint is durable. One that never became so was shown to nobody.
    pub fn commit(&mut self, signed: &Signed) {
        self.edge = signed.edge.clone();
    }
}
