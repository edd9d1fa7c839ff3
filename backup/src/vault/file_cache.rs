//! The cache of unchanged files: what a file's content was when its stamp was last seen.
//!
//! Racy rule, as in git: a file whose mtime or ctime lies within two seconds of the walk's start, or
//! after it, may change again without a trace, so it is not kept. A cache that does not hash to its
//! own trailer is a miss.

use cathedral_model::ids::Digest;
use cathedral_model::ports::vault::Stamp;
use cathedral_model::snapshot::PartKey;
use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::tree::Piece;

const MAGIC: &[u8; 8] = b"CATHFIL1";
const RACY_NS: i64 = 2_000_000_000;

/// What is known of one file.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub stamp: Stamp,
    pub b3: Digest,
    pub pieces: Vec<Piece>,
}

/// The cache of one part: the entries of the last snapshot, and those of this one.
pub(crate) struct FileCache {
    path: PathBuf,
    domain: [u8; 32],
    started_ns: i64,
    last: HashMap<[u8; 16], Cached>,
    next: Vec<([u8; 16], Cached)>,
}

impl FileCache {
    /// Loads the cache of a part; `domain` tells vaults and cutters apart.
    pub(crate) fn load(dir: &Path, key: &PartKey, domain: &[u8], started_us: i64) -> Self {
        let name = Digest::of(format!("{}/{}", key.spoke, key.side.as_str()).as_bytes()).to_string();
        let path = dir.join("files").join(&name[..32]).with_extension("cache");
        let domain = Digest::of(domain).0;
        let last = fs::read(&path).ok().and_then(|bytes| parse(&bytes, &domain)).unwrap_or_default();
        Self { path, domain, started_ns: started_us.saturating_mul(1_000), last, next: Vec::new() }
    }

    /// Returns what is known of a file when its stamp has not changed.
    pub(crate) fn find(&self, path: &[u8], stamp: &Stamp) -> Option<&Cached> {
        self.last.get(&place(path)).filter(|c| c.stamp == *stamp)
    }

    /// Returns all entries of the last snapshot.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Cached> {
        self.last.values()
    }

    /// Notes a file of this snapshot, unless it is racy.
    pub(crate) fn note(&mut self, path: &[u8], cached: Cached) {
        let settled = self.started_ns.saturating_sub(RACY_NS);
        if cached.stamp.mtime_ns < settled && cached.stamp.ctime_ns < settled {
            self.next.push((place(path), cached));
        }
    }

    /// Returns where this snapshot's entries belong, and their bytes.
    pub(crate) fn into_file(self) -> (PathBuf, Vec<u8>) {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.domain);
        for (place, c) in self.next {
            out.extend_from_slice(&place);
            for n in [c.stamp.dev, c.stamp.ino, c.stamp.size, c.stamp.mtime_ns as u64, c.stamp.ctime_ns as u64] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.extend_from_slice(&c.b3.0);
            out.extend_from_slice(&(c.pieces.len() as u64).to_le_bytes());
            for Piece(id, offset, len) in c.pieces {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&len.to_le_bytes());
            }
        }
        let sum = Digest::of(&out);
        out.extend_from_slice(&sum.0);
        (self.path, out)
    }
}

fn place(path: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(path).as_bytes()[..16]);
    out
}

fn parse(bytes: &[u8], domain: &[u8; 32]) -> Option<HashMap<[u8; 16], Cached>> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if Digest::of(body).0 != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?.strip_prefix(domain.as_slice())?;
    let mut out = HashMap::new();
    while !rest.is_empty() {
        let place = *take::<16>(&mut rest)?;
        let mut n = || number(&mut rest);
        let stamp = Stamp { dev: n()?, ino: n()?, size: n()?, mtime_ns: n()? as i64, ctime_ns: n()? as i64 };
        let b3 = Digest(*take(&mut rest)?);
        let count = number(&mut rest)?;
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push(Piece(Digest(*take(&mut rest)?), number(&mut rest)?, number(&mut rest)?));
        }
        out.insert(place, Cached { stamp, b3, pieces });
    }
    Some(out)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(first)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(|b| u64::from_le_bytes(*b))
}

/// Replaces a cache file; a failure only costs time later.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let write = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut aside = tempfile::NamedTempFile::new_in(dir)?;
        aside.write_all(bytes)?;
        aside.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!(path = %path.display(), %error, "cache is not written");
    }
}
