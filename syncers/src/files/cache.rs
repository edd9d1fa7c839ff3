//! What was hashed before: a file whose stamp has not moved is not read again.
//!
//! One compact file a side: `CATHSCN1`, a count, then per entry the stamp, the digest and the path, and the BLAKE3
//! digest of it all. A damaged or missing cache costs a rehash, nothing else, so it is not flushed to disk.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use cathedral_model::ports::vault::Stamp;

use super::handle::Facts;

const MAGIC: &[u8; 8] = b"CATHSCN1";
/// A stamp is trusted when it is older than this at the start of the scan: below it, a file can be written again
/// without its `ctime` moving. Kernels move it with every timer tick, at most 10 ms apart.
const GRAIN_NS: i64 = 50_000_000;
/// The same for file systems that count whole (or even) seconds.
const COARSE_GRAIN_NS: i64 = 2_000_000_000;

/// Digests by path and stamp.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cache {
    entries: HashMap<Vec<u8>, (Stamp, [u8; 32])>,
}

impl Cache {
    /// Loads a cache; an unusable one is empty.
    pub fn load(path: &Path) -> Self {
        fs::read(path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default()
    }

    /// Writes a cache.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let aside = path.with_extension(format!("{}.part", std::process::id()));
        fs::File::create(&aside)?.write_all(&self.encode())?;
        fs::rename(&aside, path)
    }

    /// Returns the digest of a file that has not changed since.
    pub fn known(&self, path: &[u8], stamp: &Stamp) -> Option<[u8; 32]> {
        self.entries.get(path).filter(|(known, _)| known == stamp).map(|(_, b3)| *b3)
    }

    /// Remembers a digest, unless the file could change within its stamp. Only `ctime` counts for that: it moves
    /// with every write and cannot be set.
    pub fn remember(&mut self, path: &[u8], facts: &Facts, b3: [u8; 32], scan_start_ns: i64) {
        let ctime = facts.stamp.ctime_ns;
        let grain = if ctime % 1_000_000_000 == 0 { COARSE_GRAIN_NS } else { GRAIN_NS };
        if ctime.saturating_add(grain) < scan_start_ns {
            self.entries.insert(path.to_vec(), (facts.stamp, b3));
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut paths: Vec<_> = self.entries.iter().collect();
        paths.sort_unstable_by_key(|(path, _)| *path);
        let mut out = Vec::with_capacity(32 + paths.len() * 110);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(paths.len() as u64).to_le_bytes());
        for (path, (stamp, b3)) in paths {
            for number in [stamp.dev, stamp.ino, stamp.size, stamp.mtime_ns as u64, stamp.ctime_ns as u64] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(b3);
            out.extend_from_slice(&(path.len() as u32).to_le_bytes());
            out.extend_from_slice(path);
        }
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }
}

fn decode(bytes: &[u8]) -> Option<Cache> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if blake3::hash(body).as_bytes() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    let count = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let mut entries = HashMap::with_capacity(usize::try_from(count).ok()?.min(body.len() / 76));
    for _ in 0..count {
        let mut number = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
        let (dev, ino, size) = (number()?, number()?, number()?);
        let (mtime_ns, ctime_ns) = (number()? as i64, number()? as i64);
        let b3 = take(32)?.try_into().ok()?;
        let length = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
        let path = take(length)?.to_vec();
        entries.insert(path, (Stamp { dev, ino, size, mtime_ns, ctime_ns }, b3));
    }
    Some(Cache { entries })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::handle::Kind;
    use super::*;

    fn facts(ctime_ns: i64) -> Facts {
        let stamp = Stamp { dev: 1, ino: 2, size: 3, mtime_ns: -4, ctime_ns };
        Facts { kind: Kind::File, stamp, mode: 0o644, is_sparse: false }
    }

    #[test]
    fn a_cache_reads_back_and_a_damaged_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/cache");
        let mut cache = Cache::default();
        cache.remember(b"a/b\n\xff", &facts(5_000_000_001), [7; 32], i64::MAX);
        cache.save(&path).unwrap();
        let loaded = Cache::load(&path);
        assert_eq!(loaded, cache);
        assert_eq!(loaded.known(b"a/b\n\xff", &facts(5_000_000_001).stamp), Some([7; 32]));
        assert_eq!(loaded.known(b"a/b\n\xff", &facts(5_000_000_002).stamp), None);
        let good = fs::read(&path).unwrap();
        for cut in 0..good.len() {
            fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(Cache::load(&path), Cache::default());
        }
    }

    #[test]
    fn what_could_change_within_its_stamp_is_not_remembered() {
        let now = 100_000_000_000;
        for (ctime, kept) in [
            (now - 1_000_000, false),
            (now + 5_000_000_001, false),
            (now - 60_000_001, true),
            (now - 1_000_000_000, false),
            (now - 3_000_000_000, true),
        ] {
            let mut cache = Cache::default();
            cache.remember(b"a", &facts(ctime), [0; 32], now);
            assert_eq!(cache.known(b"a", &facts(ctime).stamp).is_some(), kept, "{ctime}");
        }
    }
}
