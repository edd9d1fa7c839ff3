//! Looks at what an append builds on, before anything is appended: the newest statements and entries
//! against the signed tree, and the lengths of the full files before them.
//!
//! It stays cheap however long the log is; whether every file is whole, only an audit says.

use std::fs;
use std::path::Path;

use crate::error::LogError;
use crate::leaf::sealed_entry;
use crate::statements::{self, Stated};
use crate::tile::{Tiles, WIDTH, bundle_path, read_bundle, read_entries, tile_path, width_at};
use crate::tree::leaf_hash;

/// So many full files before the newest one are looked at.
const FILES: u64 = 256;
/// Length of an entry with its own length before it.
const ENTRY: u64 = 2 + 33;
/// No record of a statement is shorter.
const STATED: u64 = 32 + 4 + 2;

/// Refuses a log whose end is not what was signed. `tiles` fit the signed root at their right edge.
pub(super) fn check(dir: &Path, tiles: &Tiles, published: u64) -> Result<(), LogError> {
    let Some(last) = published.checked_sub(1).map(|leaf| leaf / WIDTH) else { return Ok(()) };
    proven(dir, tiles, last, published)?;
    entries(dir, tiles, last, published)?;
    for n in last.saturating_sub(FILES)..last {
        length(dir, &statements::path(n), |length| length >= WIDTH * STATED)?;
        length(dir, &bundle_path(n, WIDTH), |length| length == WIDTH * ENTRY)?;
        length(dir, &tile_path(0, n, WIDTH), |length| length == WIDTH * 32)?;
    }
    Ok(())
}

/// Reads the statements of file `n`, each of which must be the one in the tree.
pub(crate) fn proven(dir: &Path, tiles: &Tiles, n: u64, published: u64) -> Result<Vec<Stated>, LogError> {
    let hashes = tiles.proven(0, n)?;
    let (records, _) = statements::read(dir, n, published)?;
    for (i, ((salt, statement), hash)) in records.iter().zip(hashes.iter()).enumerate() {
        if leaf_hash(&sealed_entry(salt, statement)) != *hash {
            let why = format!("leaf {}: salt and statement are not those that were signed", n * WIDTH + i as u64);
            return Err(LogError::corrupt_at(&dir.join(statements::path(n)), why));
        }
    }
    Ok(records)
}

/// The newest bundle is taken over into the next one.
fn entries(dir: &Path, tiles: &Tiles, n: u64, published: u64) -> Result<(), LogError> {
    let width = width_at(0, n, published);
    let path = dir.join(bundle_path(n, width));
    let bundle = read_bundle(dir, n, published)?;
    let entries = read_entries(&bundle).unwrap_or_default();
    if entries.len() as u64 != width {
        return Err(LogError::corrupt_at(&path, format!("it does not hold {width} entries")));
    }
    let hashes = tiles.proven(0, n)?;
    match entries.iter().zip(hashes.iter()).position(|(entry, hash)| leaf_hash(entry) != *hash) {
        None => Ok(()),
        Some(i) => {
            let why = format!("entry {} is not the one that was signed", n * WIDTH + i as u64);
            Err(LogError::corrupt_at(&path, why))
        }
    }
}

fn length(dir: &Path, file: &str, fits: impl Fn(u64) -> bool) -> Result<(), LogError> {
    let path = dir.join(file);
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() && fits(meta.len()) => Ok(()),
        Ok(meta) => Err(LogError::corrupt_at(&path, format!("{} bytes are not what {WIDTH} leaves have", meta.len()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(LogError::corrupt_at(&path, "it is missing")),
        Err(e) => Err(LogError::io(&path, e)),
    }
}
