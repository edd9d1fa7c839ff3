//! Where chunks lie: records as JSON lines, and the table of them in memory.

use cathedral_model::ids::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::frame::Coding;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A piece of one file.
    Data,
    /// Several small files.
    Group,
    /// A piece of a git pack.
    Git,
    /// Rows of a table.
    Leaf,
    /// A directory.
    Tree,
    /// A list of chunks.
    List,
    /// The refs of a repository.
    Refs,
    /// The schema of a database.
    Schema,
    /// A git segment: its tips and its pieces.
    Segment,
}

impl Kind {
    /// Says whether chunks of this kind go to tree packs, which are needed to find one's way.
    #[must_use]
    pub fn is_tree(self) -> bool {
        matches!(self, Self::Tree | Self::List | Self::Refs | Self::Schema | Self::Segment)
    }
}

/// Where one chunk lies in its pack's plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: Digest,
    pub offset: u64,
    pub frame: u64,
    pub plain: u64,
    pub kind: Kind,
    pub coding: Coding,
}

/// A pack: its object's name is the BLAKE3 hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    pub id: Digest,
    /// Length of the object.
    pub len: u64,
    /// Length of the age header.
    pub header: u64,
    /// Length of the plain bytes.
    pub plain: u64,
    pub records: Vec<Record>,
}

impl Pack {
    /// Returns the name of the pack's object.
    #[must_use]
    pub fn object(&self) -> String {
        object(&self.id)
    }

    /// Says whether the pack holds directories and lists, not data.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        self.records.first().is_some_and(|r| r.kind.is_tree())
    }
}

/// Returns the name of the object that holds a pack.
#[must_use]
pub fn object(id: &Digest) -> String {
    let hex = id.to_string();
    format!("packs/{}/{hex}.age", &hex[..2])
}

/// Returns the pack that an object's name stands for.
#[must_use]
pub fn pack_of(object: &str) -> Option<Digest> {
    let (shard, file) = object.strip_prefix("packs/")?.split_once('/')?;
    let hex = file.strip_suffix(".age")?;
    (hex.get(..2) == Some(shard)).then(|| Digest::parse(hex).ok()).flatten()
}

/// One JSON line of an index object or of a pack's table.
#[derive(Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Line {
    Pack {
        id: Digest,
        len: u64,
        hdr: u64,
        pt: u64,
        epoch: u64,
    },
    Chunk {
        id: Digest,
        /// The pack; left out in a pack's own table, which cannot know it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p: Option<Digest>,
        o: u64,
        l: u64,
        u: u64,
        k: Kind,
        z: Coding,
    },
}

impl Line {
    /// Returns the line of a record.
    #[must_use]
    pub fn chunk(record: &Record, pack: Option<Digest>) -> Self {
        Self::Chunk {
            id: record.id,
            p: pack,
            o: record.offset,
            l: record.frame,
            u: record.plain,
            k: record.kind,
            z: record.coding,
        }
    }
}

/// The largest plain chunk a record may claim: bounds what a reader allocates.
pub const PLAIN_MAX: u64 = 1 << 30;

/// Writes packs as the JSON lines of an index object.
pub fn to_lines(packs: &[Pack], epoch: u64) -> Result<Vec<u8>, cathedral_model::canonical::CanonicalError> {
    use cathedral_model::canonical::to_string;
    let mut out = String::new();
    for pack in packs {
        let line = Line::Pack { id: pack.id, len: pack.len, hdr: pack.header, pt: pack.plain, epoch };
        out.push_str(&to_string(&line)?);
        out.push('\n');
        for record in &pack.records {
            out.push_str(&to_string(&Line::chunk(record, Some(pack.id)))?);
            out.push('\n');
        }
    }
    Ok(out.into_bytes())
}

/// Reads the JSON lines of an index object; lines of a kind we do not know are skipped.
pub fn from_lines(text: &[u8]) -> Result<Vec<Pack>, String> {
    let mut packs: Vec<Pack> = Vec::new();
    let mut place: HashMap<Digest, usize> = HashMap::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.is_empty()) {
        let bad = |why: &str| format!("index line {}: {why}", number + 1);
        match parse_line(line).map_err(|why| bad(&why))? {
            None => {}
            Some(Line::Pack { id, len, hdr, pt, .. }) => {
                place.insert(id, packs.len());
                packs.push(Pack { id, len, header: hdr, plain: pt, records: Vec::new() });
            }
            Some(Line::Chunk { id, p, o, l, u, k, z }) => {
                let pack =
                    p.and_then(|p| place.get(&p)).ok_or_else(|| bad("chunk of a pack that is not named before"))?;
                let record = Record { id, offset: o, frame: l, plain: u, kind: k, coding: z };
                let pack = &mut packs[*pack];
                check_record(&record, pack.plain).map_err(bad)?;
                pack.records.push(record);
            }
        }
    }
    Ok(packs)
}

/// Reads one line; none when its kind is not known to this release.
pub fn parse_line(line: &[u8]) -> Result<Option<Line>, String> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        t: &'a str,
    }
    let tag: Tag<'_> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if !matches!(tag.t, "pack" | "chunk") {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).map_err(|e| e.to_string())
}

/// Checks that a record lies inside its pack and claims no absurd size.
pub fn check_record(record: &Record, pack_plain: u64) -> Result<(), &'static str> {
    let end = record.offset.checked_add(record.frame).ok_or("chunk lies outside its pack")?;
    if end > pack_plain {
        return Err("chunk lies outside its pack");
    }
    if record.plain > PLAIN_MAX {
        return Err("chunk claims to be larger than any chunk is");
    }
    Ok(())
}

/// All known chunks, in memory.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<Header>,
    by_pack: HashMap<Digest, u32>,
    chunks: HashMap<Digest, Place>,
    /// Where chunks lay before they were stored again, oldest first.
    earlier: HashMap<Digest, Vec<Place>>,
    /// Packs that were missed when the destinations were last looked through.
    gone: HashSet<u32>,
}

/// A pack without its records.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub id: Digest,
    pub len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    pack: u32,
    offset: u32,
    frame: u32,
    plain: u32,
    kind: Kind,
    coding: Coding,
}

impl Index {
    /// Adds a pack and its chunks. A chunk that is known already was stored again because its pack was
    /// gone: the later place comes first.
    pub fn add(&mut self, pack: &Pack) {
        if self.by_pack.contains_key(&pack.id) {
            return;
        }
        let Ok(number) = u32::try_from(self.packs.len()) else { return };
        self.by_pack.insert(pack.id, number);
        self.packs.push(Header { id: pack.id, len: pack.len });
        for r in &pack.records {
            let fit = |n: u64| u32::try_from(n).ok();
            if let (Some(offset), Some(frame), Some(plain)) = (fit(r.offset), fit(r.frame), fit(r.plain)) {
                let place = Place { pack: number, offset, frame, plain, kind: r.kind, coding: r.coding };
                if let Some(before) = self.chunks.insert(r.id, place) {
                    self.earlier.entry(r.id).or_default().push(before);
                }
            }
        }
    }

    /// Says whether a chunk is in a known pack that is not gone.
    #[must_use]
    pub fn has(&self, id: &Digest) -> bool {
        self.spots(id).any(|p| !self.gone.contains(&p.pack))
    }

    /// Says whether a pack is known.
    #[must_use]
    pub fn has_pack(&self, id: &Digest) -> bool {
        self.by_pack.contains_key(id)
    }

    /// Returns all known packs.
    #[must_use]
    pub fn packs(&self) -> &[Header] {
        &self.packs
    }

    /// Replaces what is known to be gone.
    pub fn set_gone(&mut self, gone: &BTreeSet<Digest>) {
        self.gone = gone.iter().filter_map(|id| self.by_pack.get(id).copied()).collect();
    }

    /// Returns those of the given packs that hold a chunk which is in none but them.
    #[must_use]
    pub fn last_places(&self, packs: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let numbers: HashSet<u32> = packs.iter().filter_map(|id| self.by_pack.get(id).copied()).collect();
        let mut last = BTreeSet::new();
        if numbers.is_empty() {
            return last;
        }
        for id in self.chunks.keys() {
            if self.spots(id).all(|place| numbers.contains(&place.pack)) {
                last.extend(self.spots(id).map(|place| self.packs[place.pack as usize].id));
            }
        }
        last
    }

    /// Returns all places of a chunk, the latest first, those in packs that are gone last.
    #[must_use]
    pub fn places(&self, id: &Digest) -> Vec<(Header, Record)> {
        let mut spots: Vec<&Place> = self.spots(id).collect();
        spots.sort_by_key(|p| self.gone.contains(&p.pack));
        let record = |p: &Place| Record {
            id: *id,
            offset: p.offset.into(),
            frame: p.frame.into(),
            plain: p.plain.into(),
            kind: p.kind,
            coding: p.coding,
        };
        spots.into_iter().map(|p| (self.packs[p.pack as usize], record(p))).collect()
    }

    fn spots(&self, id: &Digest) -> impl Iterator<Item = &Place> {
        self.chunks.get(id).into_iter().chain(self.earlier.get(id).into_iter().flatten().rev())
    }
}
