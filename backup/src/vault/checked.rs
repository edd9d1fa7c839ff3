//! What checks have found, remembered beside the hub's keys.
//!
//! It holds with cache and state database lost: a copy that was found damaged is not counted as a copy
//! again, whoever writes the next snapshot. It is believed until a check has read the object whole, or
//! until it was mended; believing too much costs a second copy, never a byte. Who opens the vault with a
//! key alone writes nothing and remembers nothing.

use cathedral_model::ids::{DestinationName, Digest};
use cathedral_model::ports::Destination;
use cathedral_model::snapshot::{CheckLevel, LastCheck, Problem};
use cathedral_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Inner;
use crate::destination::local::sync_dir;
use crate::index;

/// The file in the folder of the keys.
pub(crate) const FILE: &str = "vault-checks.json";
/// So many packs that readers met are looked into at once.
const MET_MAX: usize = 64;
/// So many bytes are read at a destination beside what a reader met.
const AROUND_MAX: u64 = 1 << 30;
const FORMAT: &str = "cathedral-checks";

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    format: String,
    version: u32,
    vault: String,
    pub destinations: BTreeMap<DestinationName, At>,
}

/// What is remembered of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At {
    /// The last check of everything at each level, newest first.
    pub checks: Vec<LastCheck>,
    /// Objects that are not what was written.
    pub damaged: BTreeMap<String, Damage>,
}

/// One object that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub fault: String,
    pub found: Timestamp,
    /// Whether it holds something that is nowhere else.
    pub needed: bool,
}

impl Memory {
    /// Says whether an object is known to be damaged at a destination.
    pub(crate) fn is_damaged(&self, at: &DestinationName, object: &str) -> bool {
        self.destinations.get(at).is_some_and(|d| d.damaged.contains_key(object))
    }

    /// Returns the packs that are known to be damaged at a destination.
    pub(crate) fn packs(&self, at: &DestinationName) -> BTreeSet<Digest> {
        let damaged = self.destinations.get(at).into_iter().flat_map(|d| d.damaged.keys());
        damaged.filter_map(|object| index::pack_of(object)).collect()
    }

    /// Remembers that an object is damaged.
    pub(crate) fn note(&mut self, at: &DestinationName, object: &str, fault: &str, found: Timestamp, needed: bool) {
        let damage = Damage { fault: fault.to_owned(), found, needed };
        self.destinations.entry(at.clone()).or_default().damaged.insert(object.to_owned(), damage);
    }

    /// Forgets what was mended, or found whole.
    pub(crate) fn forget(&mut self, at: &DestinationName, object: &str) {
        if let Some(known) = self.destinations.get_mut(at) {
            known.damaged.remove(object);
        }
    }

    /// Remembers when everything was checked last.
    pub(crate) fn note_check(&mut self, at: &DestinationName, level: CheckLevel, now: Timestamp, problems: u64) {
        let known = self.destinations.entry(at.clone()).or_default();
        known.checks.retain(|check| check.level != level);
        known.checks.insert(0, LastCheck { level, at: now, problems });
    }

    /// Notes which packs hold something that is nowhere else, and which are kept for nothing.
    pub(crate) fn note_needed(&mut self, is_needed: impl Fn(&Digest) -> bool) {
        for (object, damage) in self.destinations.values_mut().flat_map(|d| d.damaged.iter_mut()) {
            if let Some(pack) = index::pack_of(object) {
                damage.needed = is_needed(&pack);
            }
        }
    }
}

/// Reads what is remembered. What cannot be read says nothing: a check finds it again.
pub(crate) fn load(inner: &Inner) -> Memory {
    let fresh =
        || Memory { format: FORMAT.into(), version: 1, vault: inner.file.vault.clone(), destinations: BTreeMap::new() };
    let Some(dir) = &inner.keys_dir else { return fresh() };
    let bytes = match fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return fresh(),
        Err(error) => {
            tracing::warn!(file = FILE, %error, "what earlier checks found cannot be read");
            return fresh();
        }
    };
    match serde_json::from_slice::<Memory>(&bytes) {
        Ok(known) if known.format == FORMAT && known.version == 1 && known.vault == inner.file.vault => known,
        Ok(_) => fresh(),
        Err(error) => {
            tracing::warn!(file = FILE, %error, "what earlier checks found cannot be read");
            fresh()
        }
    }
}

/// Changes what is remembered, durably; other processes of this hub wait meanwhile.
pub(crate) fn update(inner: &Inner, change: impl FnOnce(&mut Memory)) {
    let Some(dir) = &inner.keys_dir else { return };
    let write = || -> io::Result<()> {
        let mut lock = File::options();
        lock.create(true).truncate(false).write(true).mode(0o600);
        let lock = lock.open(dir.join("vault-checks.lock"))?;
        lock.lock()?;
        let mut known = load(inner);
        let before = known.clone();
        change(&mut known);
        if known == before { Ok(()) } else { replace(dir, &known) }
    };
    if let Err(error) = write() {
        tracing::warn!(file = FILE, %error, "what was found is not remembered");
    }
}

/// Remembers packs that a reader could not use, once they are seen to be damaged indeed: what failed may
/// have been the way to them.
pub(crate) fn note_met(inner: &Inner, faults: &[Problem]) {
    let (Some(env), true) = (&inner.env, faults.iter().any(|f| !f.restorable)) else { return };
    let known = load(inner);
    let is_damaged = |fault: &&Problem| {
        let Some(pack) = index::pack_of(&fault.object) else { return false };
        let place = inner.destinations.iter().find(|d| *d.name() == fault.destination);
        let read = place.map(|destination| destination.get(&fault.object));
        read.is_some_and(|bytes| bytes.is_ok_and(|bytes| Digest::of(&bytes) != pack))
    };
    let new = faults.iter().filter(|f| !f.restorable && !known.is_damaged(&f.destination, &f.object));
    let damaged: Vec<&Problem> = new.take(MET_MAX).filter(is_damaged).collect();
    if !damaged.is_empty() {
        let places: BTreeSet<&DestinationName> = damaged.iter().map(|f| &f.destination).collect();
        let more =
            inner.destinations.iter().filter(|d| places.contains(d.name())).flat_map(|d| look_around(d.as_ref()));
        let more: Vec<(DestinationName, String)> = more.collect();
        update(inner, |known| {
            more.iter().for_each(|(at, object)| known.note(at, object, "does not match its name", env.now(), true));
        });
        update(inner, |known| {
            damaged.iter().for_each(|f| known.note(&f.destination, &f.object, &f.fault, env.now(), true))
        });
    }
}

/// Reads the packs of a destination that gave damaged ones, as far as it costs little: damage seldom comes
/// alone, and a reader stops at the first.
fn look_around(destination: &dyn Destination) -> Vec<(DestinationName, String)> {
    let mut left = AROUND_MAX;
    let mut damaged = Vec::new();
    for (object, len) in destination.list("packs/").unwrap_or_default() {
        let Some(pack) = index::pack_of(&object) else { continue };
        let Some(rest) = left.checked_sub(len) else { break };
        left = rest;
        if destination.get(&object).is_ok_and(|bytes| Digest::of(&bytes) != pack) {
            damaged.push((destination.name().clone(), object));
        }
    }
    damaged
}

fn replace(dir: &Path, known: &Memory) -> io::Result<()> {
    let mut aside = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut aside, known)?;
    aside.write_all(b"\n")?;
    aside.as_file().sync_all()?;
    aside.persist(dir.join(FILE)).map_err(|e| e.error)?;
    sync_dir(dir)
}
