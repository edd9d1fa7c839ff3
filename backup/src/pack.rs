//! Packs: independent zstd frames, then the pack's own table in a skippable frame, all in one age file.

pub mod read;
pub mod table;

use age::x25519;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use std::io::Write;

use crate::frame::Coding;
use crate::index::{Kind, Pack, Record};
use crate::seal;

/// A pack that is being written: encrypted as it grows, so that its plain bytes are never held.
pub struct PackWriter {
    sealed: age::stream::StreamWriter<Vec<u8>>,
    plain: u64,
    records: Vec<Record>,
}

/// A finished pack.
pub struct SealedPack {
    pub pack: Pack,
    pub bytes: Vec<u8>,
}

impl PackWriter {
    /// Starts a pack of about `target` bytes.
    pub fn new(recipients: &[x25519::Recipient], target: usize) -> Result<Self, PortError> {
        let sealed = seal::writer(recipients, Vec::with_capacity(target + target / 8))?;
        Ok(Self { sealed, plain: 0, records: Vec::new() })
    }

    /// Appends a chunk's frame.
    pub fn push(&mut self, id: Digest, kind: Kind, coding: Coding, plain: u64, frame: &[u8]) -> Result<(), PortError> {
        self.sealed.write_all(frame).map_err(writing)?;
        let record = Record { id, offset: self.plain, frame: frame.len() as u64, plain, kind, coding };
        self.plain += record.frame;
        self.records.push(record);
        Ok(())
    }

    /// Returns how many plain bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.plain
    }

    /// Says whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Appends the table and closes the age file.
    pub fn finish(mut self) -> Result<SealedPack, PortError> {
        let table = table::write(&self.records)?;
        self.sealed.write_all(&table).map_err(writing)?;
        let plain = self.plain + table.len() as u64;
        let bytes = self.sealed.finish().map_err(writing)?;
        let id = Digest::of(&bytes);
        let header = seal::header_len(&bytes).ok_or_else(|| PortError::permanent("age wrote no header"))? as u64;
        let pack = Pack { id, len: bytes.len() as u64, header, plain, records: self.records };
        Ok(SealedPack { pack, bytes })
    }
}

fn writing(e: std::io::Error) -> PortError {
    PortError::permanent(format!("cannot write a pack: {e}"))
}
