//! Audit: the whole tree once more from the entries, compared with every file of the log.
//!
//! It goes on after a difference, so that each damaged file is named. Memory does not grow with the
//! number of leaves: one bundle at a time, and the tiles of the right edge.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::disk;
use crate::error::LogError;
use crate::index::{self, Key};
use crate::key::VerifierKey;
use crate::leaf::{Statement, sealed_entry};
use crate::log::CHECKPOINT;
use crate::note::MAX_NOTE_BYTES;
use crate::statements;
use crate::tile::{WIDTH, bundle_path, read_bundle, read_entries, tile_path, width_at};
use crate::tree::{Edge, Hash, leaf_hash, node_hash};
use crate::wal;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file, relative to the log.
    pub file: String,
    pub why: String,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Leaves that were checked.
    pub leaves: u64,
    pub differences: Vec<Difference>,
}

impl Audit {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    fn note(&mut self, file: impl Into<String>, why: impl Into<String>) {
        self.differences.push(Difference { file: file.into(), why: why.into() });
    }

    /// Takes a failed read as a difference of that file.
    fn keep<T>(&mut self, file: &str, read: Result<T, LogError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(LogError::Corrupt { why, .. }) => {
                self.note(file, why);
                None
            }
            Err(error) => {
                self.note(file, error.to_string());
                None
            }
        }
    }
}

struct Auditor<'a> {
    dir: &'a Path,
    published: u64,
    audit: Audit,
    edge: Edge,
    /// Tiles that are still growing, by level.
    rows: BTreeMap<u32, Vec<Hash>>,
    /// The last leaf of each kind and subject.
    last: HashMap<Key, (u64, Hash)>,
    index: Option<Vec<(Key, Key)>>,
}

pub(crate) fn audit(dir: &Path, key: &VerifierKey) -> Result<Audit, LogError> {
    let mut audit = Audit::default();
    let bytes = disk::read(&dir.join(CHECKPOINT), MAX_NOTE_BYTES as u64)?;
    let head = match bytes.as_deref().map(|bytes| (Checkpoint::open(bytes, key), bytes)) {
        None => None,
        Some((Ok((head, _)), _)) => Some(head),
        Some((Err(error), bytes)) => {
            audit.note(CHECKPOINT, error.to_string());
            // What it claims still says how far to look.
            let text = String::from_utf8_lossy(bytes);
            let text = text.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
            Checkpoint::parse(&text).ok()
        }
    };
    if head.is_none() && bytes.is_some() {
        return Ok(audit);
    }
    let published = head.as_ref().map_or(0, |h| h.size);
    let index = audit.keep(index::FILE, index::read_as_is(dir, published)).flatten();
    match &index {
        None if published > 0 => audit.note(index::FILE, format!("it does not hold {published} leaves")),
        Some((_, index::Sum::Differs)) => audit.note(index::FILE, "its records do not have the digest behind them"),
        _ => {}
    }
    let index = index.map(|(keys, _)| keys);
    let (edge, rows, last) = (Edge::default(), BTreeMap::new(), HashMap::new());
    let mut auditor = Auditor { dir, published, audit, edge, rows, last, index };
    for n in 0..published.div_ceil(WIDTH) {
        // Nothing can be computed behind a gap; nor is a size believed beyond what is there.
        if !auditor.bundle(n) {
            break;
        }
    }
    auditor.partial_tiles();
    if let Some(head) = head.filter(|head| head.root != auditor.edge.root()) {
        let why = format!("the {} entries have another root than {}", head.size, hex::encode(head.root));
        auditor.audit.note(CHECKPOINT, why);
    }
    auditor.write_ahead_log(key);
    Ok(auditor.audit)
}

impl Auditor<'_> {
    /// Checks one bundle with its statements; returns whether the tree can go on behind it.
    ///
    /// Each leaf is told three times: by its entry, by its statement and by its tile. Where one of them
    /// differs from the other two it is the one that is named, and the tree goes on with the others.
    fn bundle(&mut self, n: u64) -> bool {
        let width = width_at(0, n, self.published);
        let (file, path) = (bundle_path(n, width), statements::path(n));
        let bundle = self.audit.keep(&file, read_bundle(self.dir, n, self.published));
        let entries = bundle.as_deref().map(|bundle| read_entries(bundle).unwrap_or_default());
        let entries = entries.filter(|entries| {
            let whole = entries.len() as u64 == width;
            if !whole {
                self.audit.note(&file, format!("it does not hold {width} entries"));
            }
            whole
        });
        let records = self.audit.keep(&path, statements::read(self.dir, n, self.published)).map(|r| r.0);
        let tile = disk::read(&self.dir.join(tile_path(0, n, width)), WIDTH * 32).ok().flatten().unwrap_or_default();
        let mut good: Vec<Vec<u8>> = Vec::new();
        for i in 0..width as usize {
            let at = self.edge.size();
            let entry = entries.as_ref().map(|e| leaf_hash(e[i]));
            let record = records.as_ref().map(|r| &r[i]);
            let stated = record.map(|(salt, statement)| leaf_hash(&sealed_entry(salt, statement)));
            let stored = tile.as_chunks::<32>().0.get(i).copied();
            let told = [entry, stated, stored];
            let agreed = told.into_iter().flatten().find(|h| told.iter().filter(|t| **t == Some(*h)).count() > 1);
            let Some(hash) = agreed.or(entry).or(stated) else { return false };
            if entry.is_some_and(|e| e != hash) {
                self.audit.note(&file, format!("entry {at} is neither that of its statement nor that of its tile"));
            }
            match record {
                Some((_, statement)) if stated == Some(hash) => self.statement(&path, at, hash, statement),
                Some(_) => self.audit.note(&path, format!("leaf {at}: salt and statement are not those of its entry")),
                None => {}
            }
            let resealed = record.map(|(salt, statement)| sealed_entry(salt, statement));
            let own = entries.as_ref().map(|e| e[i].to_vec());
            good.push(resealed.filter(|_| entry != Some(hash)).or(own).unwrap_or_default());
            self.push(hash);
        }
        self.earlier(&file, |width| good.iter().take(width).flat_map(|e| with_length(e)).collect());
        true
    }

    fn statement(&mut self, file: &str, at: u64, hash: Hash, statement: &[u8]) {
        let read = match Statement::parse(statement) {
            Ok(read) => read,
            Err(why) => return self.audit.note(file, format!("leaf {at}: {why}")),
        };
        let keys = (index::id_key(&read.id), index::chain_key(&read.kind, &read.subject));
        if self.index.as_ref().is_some_and(|index| index.get(at as usize).is_some_and(|k| *k != keys)) {
            self.audit.note(index::FILE, format!("record {at} is not that of leaf {at}"));
        }
        if self.last.insert(keys.1, (at, hash)) != read.prev {
            self.audit.note(file, format!("leaf {at} does not name the leaf before it of {}", read.subject));
        }
    }

    fn push(&mut self, leaf: Hash) {
        let (mut hash, mut index) = (leaf, self.edge.size());
        self.edge.push(leaf);
        self.audit.leaves += 1;
        for level in 0..=7 {
            let row = self.rows.entry(level).or_default();
            row.push(hash);
            if row.len() < WIDTH as usize {
                return;
            }
            let full = std::mem::take(row);
            self.compare_tile(level, index / WIDTH, &full);
            hash = root_of(full);
            index /= WIDTH;
        }
    }

    fn compare_tile(&mut self, level: u32, n: u64, expect: &[Hash]) {
        let file = tile_path(level, n, expect.len() as u64);
        match self.audit.keep(&file, disk::read(&self.dir.join(&file), WIDTH * 32)) {
            Some(Some(bytes)) if bytes == expect.as_flattened() => {}
            Some(Some(_)) => self.audit.note(&file, "it does not hold the hashes of the entries below it"),
            Some(None) => self.audit.note(&file, "tile is missing"),
            None => {}
        }
        self.earlier(&file, |width| expect[..width].as_flattened().to_vec());
    }

    fn partial_tiles(&mut self) {
        for (level, row) in std::mem::take(&mut self.rows) {
            if !row.is_empty() {
                let n = (self.edge.size() >> (8 * level)) / WIDTH;
                self.compare_tile(level, n, &row);
            }
        }
    }

    /// Reads the write-ahead log on top; records below the published size are compared too.
    fn write_ahead_log(&mut self, key: &VerifierKey) {
        let read = match wal::read(self.dir) {
            Ok(read) => read,
            Err(error) => {
                let file = match &error {
                    LogError::Corrupt { file, .. } => self.relative(Path::new(file)),
                    _ => "wal".to_owned(),
                };
                self.audit.keep::<()>(&file, Err(error));
                return;
            }
        };
        for (record, path) in read.records {
            let file = self.relative(&path);
            for (leaf, at) in record.leaves.iter().zip(record.first..) {
                if sealed_entry(&leaf.salt, &leaf.statement) != leaf.entry {
                    self.audit.note(&file, format!("leaf {at}: salt and statement are not those of its entry"));
                }
                if at == self.edge.size() && at >= self.published {
                    self.edge.push(leaf.hash());
                    self.audit.leaves += 1;
                }
            }
            match Checkpoint::open(&record.note, key) {
                Err(error) => self.audit.note(&file, error.to_string()),
                Ok((head, _)) if head.size == self.edge.size() && head.root != self.edge.root() => {
                    self.audit.note(&file, format!("its checkpoint at {} leaves has another root", head.size));
                }
                Ok(_) => {}
            }
        }
        // A damaged end may be a record that was just being written; only the hub's own memory can tell.
        if let Some(torn) = read.torn {
            let file = self.relative(&torn.path);
            self.audit.note(file, format!("damaged end: {} bytes from byte {} on", torn.bytes, torn.at));
        }
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.dir).unwrap_or(path).display().to_string()
    }

    /// Compares partial files of earlier publications: each must be how the newest one begins.
    fn earlier(&mut self, newest: &str, begin: impl Fn(usize) -> Vec<u8>) {
        let Some((folder, width)) = newest.rsplit_once('/').filter(|(folder, _)| folder.ends_with(".p")) else {
            return;
        };
        let Ok(listed) = std::fs::read_dir(self.dir.join(folder)) else { return };
        let mut widths: Vec<usize> =
            listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        widths.retain(|w| width.parse().is_ok_and(|newest: usize| *w < newest));
        widths.sort_unstable();
        for width in widths {
            let file = format!("{folder}/{width}");
            let limit = WIDTH * (2 + 65_535);
            if let Some(Some(bytes)) = self.audit.keep(&file, disk::read(&self.dir.join(&file), limit))
                && bytes != begin(width)
            {
                self.audit.note(&file, format!("it is not how {newest} begins"));
            }
        }
    }
}

fn with_length(entry: &[u8]) -> Vec<u8> {
    let mut bytes = (entry.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(entry);
    bytes
}

fn root_of(mut row: Vec<Hash>) -> Hash {
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}
