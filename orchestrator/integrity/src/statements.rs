//! Salts and statements beside the log: `statements/<N>`, one file for 256 leaves.
//!
//! A file is a row of records: salt (32 bytes), length (u32, big endian), statement. It is written
//! only at its end, and only records below the published size count.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk::{self, Staged};
use crate::error::LogError;
use crate::leaf::{Leaf, MAX_STATEMENT, Salt};
use crate::tile::{WIDTH, number_path, width_at};

/// Returns the path of the file with the statements of leaves `n * 256` onwards.
pub(crate) fn path(n: u64) -> String {
    format!("statements/{}", number_path(n))
}

/// A statement with its salt.
pub(crate) type Stated = (Salt, Vec<u8>);

/// Reads the records of file `n` in a log of `published` leaves, and their length in bytes.
pub(crate) fn read(dir: &Path, n: u64, published: u64) -> Result<(Vec<Stated>, u64), LogError> {
    let path = dir.join(path(n));
    let bytes = disk::read(&path, WIDTH * 2 * (36 + MAX_STATEMENT as u64))?
        .ok_or_else(|| LogError::corrupt_at(&path, "statements are missing"))?;
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    for i in 0..width_at(0, n, published) {
        let record = split(&mut rest);
        records.push(
            record
                .ok_or_else(|| LogError::corrupt_at(&path, format!("record of leaf {} is damaged", n * WIDTH + i)))?,
        );
    }
    Ok((records, (bytes.len() - rest.len()) as u64))
}

fn split(rest: &mut &[u8]) -> Option<Stated> {
    let (salt, after) = rest.split_first_chunk::<32>()?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok().filter(|len| *len <= MAX_STATEMENT)?;
    let (statement, after) = after.split_at_checked(len)?;
    *rest = after;
    Some((*salt, statement.to_vec()))
}

/// Writes at the end of the newest file.
pub(crate) struct Writer {
    dir: PathBuf,
    published: u64,
    /// Bytes of the newest file that count.
    end: u64,
}

impl Writer {
    pub fn open(dir: &Path, published: u64) -> Result<Self, LogError> {
        let end = if published.is_multiple_of(WIDTH) { 0 } else { read(dir, published / WIDTH, published)?.1 };
        Ok(Self { dir: dir.to_owned(), published, end })
    }

    /// Adds leaves after the published ones, durably. Repeating it after a failure overwrites.
    pub fn append(&mut self, leaves: &[Leaf], staged: &mut Staged) -> Result<(), LogError> {
        let (mut index, mut end) = (self.published, self.end);
        let mut leaves = leaves;
        while !leaves.is_empty() {
            let path = self.dir.join(path(index / WIDTH));
            let (now, later) = leaves.split_at(leaves.len().min((WIDTH - index % WIDTH) as usize));
            let mut bytes = Vec::new();
            for leaf in now {
                bytes.extend_from_slice(&leaf.salt);
                bytes.extend_from_slice(&(leaf.statement.len() as u32).to_be_bytes());
                bytes.extend_from_slice(&leaf.statement);
            }
            let parent = path.parent().unwrap_or(&self.dir);
            disk::make_dirs(parent)?;
            write_at(&path, end, &bytes).map_err(|e| LogError::io(&path, e))?;
            staged.touch(parent);
            index += now.len() as u64;
            end = if index.is_multiple_of(WIDTH) { 0 } else { end + bytes.len() as u64 };
            leaves = later;
        }
        self.published = index;
        self.end = end;
        Ok(())
    }

    pub fn mark(&self) -> (u64, u64) {
        (self.published, self.end)
    }

    /// Goes back to a mark, so that a failed publication is written again.
    pub fn reset(&mut self, (published, end): (u64, u64)) {
        self.published = published;
        self.end = end;
    }
}

/// Writes durably at `start` and cuts what a crash may have left behind it.
pub(crate) fn write_at(path: &Path, start: u64, bytes: &[u8]) -> std::io::Result<()> {
    let file: File = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(bytes, start)?;
    file.set_len(start + bytes.len() as u64)?;
    file.sync_data()
}
