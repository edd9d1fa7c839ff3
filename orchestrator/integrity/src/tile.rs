//! The tree on disk: tiles of 256 hashes and bundles of 256 entries (C2SP tlog-tiles).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{self, Staged};
use crate::error::LogError;
use crate::tree::{Hash, Nodes, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH: u64 = 256;
const LEVEL_BITS: u32 = 8;

/// Returns `N` as tlog-tiles writes it: groups of three digits, all but the last with an `x`.
#[must_use]
pub fn number_path(n: u64) -> String {
    let mut text = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

/// Returns the path of a tile with `width` hashes.
#[must_use]
pub fn tile_path(level: u32, n: u64, width: u64) -> String {
    with_width(format!("tile/{level}/{}", number_path(n)), width)
}

/// Returns the path of an entry bundle with `width` entries.
#[must_use]
pub fn bundle_path(n: u64, width: u64) -> String {
    with_width(format!("tile/entries/{}", number_path(n)), width)
}

fn with_width(path: String, width: u64) -> String {
    if width == WIDTH { path } else { format!("{path}.p/{width}") }
}

/// Returns how many hashes tile `n` of this level has in a tree of `size` leaves.
#[must_use]
pub fn width_at(level: u32, n: u64, size: u64) -> u64 {
    let hashes = size.checked_shr(LEVEL_BITS * level).unwrap_or(0);
    hashes.saturating_sub(n.saturating_mul(WIDTH)).min(WIDTH)
}

/// Adds an entry to a bundle.
pub fn write_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), LogError> {
    let len = u16::try_from(entry.len())
        .map_err(|_| LogError::Invalid(format!("entry of {} bytes is over 65535", entry.len())))?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits a bundle into its entries; nothing when it is not exactly a row of entries.
#[must_use]
pub fn read_entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (len, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

/// Reads the bundle `n` as it stands in a log of `published` leaves.
pub fn read_bundle(dir: &Path, n: u64, published: u64) -> Result<Vec<u8>, LogError> {
    let width = width_at(0, n, published);
    let limit = WIDTH * (2 + 65_535);
    let path = dir.join(bundle_path(n, width));
    if let Some(bytes) = disk::read(&path, limit)? {
        return Ok(bytes);
    }
    // A full bundle takes the place of the partial ones.
    let full = disk::read(&dir.join(bundle_path(n, WIDTH)), limit)?
        .ok_or_else(|| LogError::corrupt_at(&path, "entry bundle is missing"))?;
    let entries = read_entries(&full).ok_or_else(|| LogError::corrupt_at(&path, "entry bundle is malformed"))?;
    let keep: usize = entries.iter().take(width as usize).map(|e| e.len() + 2).sum();
    Ok(full[..keep].to_vec())
}

/// The tiles of a log: those on disk, and in memory those that have grown since or can still grow.
pub struct Tiles {
    dir: PathBuf,
    size: u64,
    published: u64,
    live: BTreeMap<(u32, u64), Vec<Hash>>,
}

impl Tiles {
    /// Opens the tiles of a log with `published` leaves on disk; reads only its right edge.
    pub fn open(dir: &Path, published: u64) -> Result<Self, LogError> {
        let mut tiles = Self { dir: dir.to_owned(), size: published, published, live: BTreeMap::new() };
        for level in 0..=7 {
            let n = (published >> (LEVEL_BITS * level)) / WIDTH;
            if width_at(level, n, published) > 0 {
                let tile = tiles.read(level, n)?;
                tiles.live.insert((level, n), tile);
            }
        }
        Ok(tiles)
    }

    /// Returns the number of leaves, those in memory included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let (mut hash, mut index) = (leaf, self.size);
        self.size += 1;
        for level in 0..=7 {
            let tile = self.live.entry((level, index / WIDTH)).or_default();
            tile.push(hash);
            if tile.len() < WIDTH as usize {
                return;
            }
            hash = fold(tile);
            index /= WIDTH;
        }
    }

    /// Writes what has grown. The tiles are durable when `staged` is finished.
    pub fn flush(&mut self, staged: &mut Staged) -> Result<(), LogError> {
        for (&(level, n), tile) in &self.live {
            let width = tile.len() as u64;
            if width > width_at(level, n, self.published) {
                staged.put(&self.dir.join(tile_path(level, n, width)), tile.as_flattened(), 0o644)?;
            }
        }
        Ok(())
    }

    /// Forgets what is on disk now and drops the partial tiles that a full one replaces.
    ///
    /// Only after the tiles and the checkpoint over them are durable.
    pub fn flushed(&mut self) {
        self.published = self.size;
        let dir = &self.dir;
        self.live.retain(|&(level, n), tile| {
            let full = tile.len() == WIDTH as usize;
            if full {
                drop_partials(&dir.join(tile_path(level, n, WIDTH)));
            }
            !full
        });
    }

    fn tile(&self, level: u32, n: u64) -> Result<Cow<'_, [Hash]>, LogError> {
        match self.live.get(&(level, n)) {
            Some(tile) => Ok(Cow::Borrowed(tile)),
            None => self.read(level, n).map(Cow::Owned),
        }
    }

    /// Returns a tile whose hashes are proven to be those of the tree.
    ///
    /// The right edge was compared with the signed root when the log was opened; a full tile is compared
    /// with its hash in the tile above it, up to that edge.
    pub(crate) fn proven(&self, level: u32, n: u64) -> Result<Cow<'_, [Hash]>, LogError> {
        let tile = self.tile(level, n)?;
        if !self.live.contains_key(&(level, n)) {
            let above = self.proven(level + 1, n / WIDTH)?;
            if above.get((n % WIDTH) as usize) != Some(&fold(&tile)) {
                let path = self.dir.join(tile_path(level, n, WIDTH));
                return Err(LogError::corrupt_at(&path, "its hashes are not those of the signed tree"));
            }
        }
        Ok(tile)
    }

    /// Returns the hash of a leaf, proven to be in the tree.
    pub(crate) fn proven_leaf(&self, index: u64) -> Result<Hash, LogError> {
        let tile = self.proven(0, index / WIDTH)?;
        tile.get((index % WIDTH) as usize).copied().ok_or(LogError::NoLeaf(index))
    }

    fn read(&self, level: u32, n: u64) -> Result<Vec<Hash>, LogError> {
        let width = width_at(level, n, self.published);
        let path = self.dir.join(tile_path(level, n, width));
        let limit = WIDTH * 32;
        let bytes = match disk::read(&path, limit)? {
            Some(bytes) => bytes,
            None => disk::read(&self.dir.join(tile_path(level, n, WIDTH)), limit)?
                .filter(|full| full.len() as u64 == limit)
                .map(|full| full[..width as usize * 32].to_vec())
                .ok_or_else(|| LogError::corrupt_at(&path, "tile is missing"))?,
        };
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() as u64 != width || !rest.is_empty() || width == 0 {
            return Err(LogError::corrupt_at(&path, format!("tile does not hold {width} hashes")));
        }
        Ok(hashes.to_vec())
    }
}

/// Removes the folder of partial tiles beside a full one; what stays is only waste.
pub(crate) fn drop_partials(full: &Path) {
    let mut name = full.as_os_str().to_owned();
    name.push(".p");
    let _ = std::fs::remove_dir_all(name);
}

impl Nodes for Tiles {
    type Error = LogError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let (row, inside) = (level / LEVEL_BITS, level % LEVEL_BITS);
        let first = index << inside;
        let tile = self.tile(row, first / WIDTH)?;
        let start = (first % WIDTH) as usize;
        let part = tile.get(start..start + (1 << inside)).ok_or_else(|| {
            LogError::corrupt(tile_path(row, first / WIDTH, tile.len() as u64), "tile ends before the tree does")
        })?;
        Ok(fold(part))
    }
}

/// The root of a complete subtree.
fn fold(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}
