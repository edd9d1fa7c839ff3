//! The write-ahead log: batches of leaves with the checkpoint over them, one sync each.
//!
//! `wal/<first index, 20 digits>` is a row of records: magic (8 bytes), length of the body (u32),
//! BLAKE3 of the body, body. A damaged record at the very end was never acknowledged and is dropped;
//! a damaged record with an intact one behind it is corruption.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::LogError;
use crate::leaf::{Leaf, Salt};

const MAGIC: &[u8; 8] = b"cthlwal1";
const HEADER: usize = 8 + 4 + 32;
const MAX_SEGMENT: u64 = 1 << 30;
const DIR: &str = "wal";

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub first: u64,
    pub leaves: Vec<Leaf>,
    /// The signed checkpoint over everything up to and with this batch.
    pub note: Vec<u8>,
}

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![1];
        body.extend_from_slice(&self.first.to_be_bytes());
        body.extend_from_slice(&(self.leaves.len() as u32).to_be_bytes());
        for leaf in &self.leaves {
            for part in [&leaf.entry[..], &leaf.salt[..], &leaf.statement[..]] {
                body.extend_from_slice(&(part.len() as u32).to_be_bytes());
                body.extend_from_slice(part);
            }
        }
        body.extend_from_slice(&(self.note.len() as u32).to_be_bytes());
        body.extend_from_slice(&self.note);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (version, rest) = body.split_first()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut leaves = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let entry = part(&mut rest)?.to_vec();
            let salt: Salt = part(&mut rest)?.try_into().ok()?;
            let statement = part(&mut rest)?.to_vec();
            leaves.push(Leaf { entry, salt, statement });
        }
        let note = part(&mut rest)?.to_vec();
        (*version == 1 && rest.is_empty()).then(|| Self { first: u64::from_be_bytes(*first), leaves, note })
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *rest = after;
    Some(part)
}

/// The record that begins here, and what is behind it.
fn take(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let header = bytes.get(..HEADER)?;
    let len = u32::from_be_bytes(header[8..12].try_into().ok()?) as usize;
    let (body, rest) = bytes[HEADER..].split_at_checked(len)?;
    let intact = header.starts_with(MAGIC) && blake3::hash(body).as_bytes()[..] == header[12..HEADER];
    if intact { Record::decode(body).map(|record| (record, rest)) } else { None }
}

/// Everything readable in the write-ahead log.
pub(crate) struct Read {
    pub records: Vec<(Record, PathBuf)>,
    /// A damaged end that was dropped.
    pub torn: Option<Torn>,
}

/// Bytes at the end that are no whole record.
#[derive(Clone, Debug)]
pub(crate) struct Torn {
    pub path: PathBuf,
    pub at: usize,
    pub bytes: usize,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at byte {} of {}", self.bytes, self.at, self.path.display())
    }
}

/// Reads all records in order.
pub(crate) fn read(log: &Path) -> Result<Read, LogError> {
    let mut read = Read { records: Vec::new(), torn: None };
    for path in segments(log)? {
        let Some(bytes) = disk::read(&path, MAX_SEGMENT)? else { continue };
        if let (Some(torn), false) = (&read.torn, bytes.is_empty()) {
            return Err(LogError::corrupt_at(&path, format!("follows a damaged record ({torn})")));
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            if let Some((record, after)) = take(rest) {
                read.records.push((record, path.clone()));
                rest = after;
                continue;
            }
            let behind = (1..rest.len()).filter(|i| rest[*i..].starts_with(MAGIC));
            if let Some(i) = behind.into_iter().find(|i| take(&rest[*i..]).is_some()) {
                let why = format!("record at byte {at} is damaged, the one at byte {} is intact", at + i);
                return Err(LogError::corrupt_at(&path, why));
            }
            read.torn = Some(Torn { path: path.clone(), at, bytes: rest.len() });
            break;
        }
    }
    Ok(read)
}

fn segments(log: &Path) -> Result<Vec<PathBuf>, LogError> {
    let dir = log.join(DIR);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io(&dir, e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| LogError::io(&dir, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The segment that is written to.
pub(crate) struct Wal {
    path: PathBuf,
    file: File,
    len: u64,
}

/// An append that failed.
pub(crate) struct WalError {
    pub source: io::Error,
    /// Whether nothing of the record is left behind.
    pub undone: bool,
}

impl Wal {
    /// Begins a segment at `first`, when everything before it is published, and drops the older ones.
    pub fn begin(log: &Path, first: u64) -> Result<Self, LogError> {
        let dir = log.join(DIR);
        disk::make_dirs(&dir)?;
        let path = dir.join(format!("{first:020}"));
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            // A log that is only opened is not written to: an empty segment stays as it is.
            if file.metadata()?.len() > 0 {
                file.set_len(0)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        let file = open().map_err(|e| LogError::io(&path, e))?;
        disk::sync_dir(&dir)?;
        for old in segments(log)? {
            if old != path {
                fs::remove_file(&old).map_err(|e| LogError::io(&old, e))?;
            }
        }
        Ok(Self { path, file, len: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Writes a record durably, with one sync.
    pub fn append(&mut self, record: &Record) -> Result<(), WalError> {
        let bytes = record.encode();
        if let Err(source) = self.file.write_all_at(&bytes, self.len) {
            let undone = self.file.set_len(self.len).and_then(|()| self.file.sync_data()).is_ok();
            return Err(WalError { source, undone });
        }
        // After a failed sync nobody knows what is on disk: the log stops until it is read again.
        self.file.sync_data().map_err(|source| WalError { source, undone: false })?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
