//! Checking a vault: what is there, what it says, and whether every byte is right.
//!
//! Objects are checked at each destination on its own; content is checked once, read from whichever
//! destination is intact. Every finding names destination, object, fault, and what needs the object.

use cathedral_model::ids::{Digest, SnapshotId};
use cathedral_model::ports::env::Update;
use cathedral_model::ports::{PortError, Progress};
use cathedral_model::snapshot::{CheckLevel, CheckReport, Checked, Problem};
use cathedral_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::check_content::{self, Scope};
use super::checked::{self, Memory};
use super::members::{self, Member};
use super::{Inner, adopt, forget, founding, index_cache, lock, snapshots};
use crate::index::{self, Pack};
use crate::manifest;
use crate::pack::read::PackReader;
use crate::stock;
use crate::vault_file::{self, VaultFile};

const AFFECTS_MAX: usize = 1_000;

/// What was found so far: faults by object and destination.
struct Findings {
    names: Vec<cathedral_model::ids::DestinationName>,
    answers: Vec<bool>,
    bad: BTreeMap<Place, String>,
    /// Small objects that were looked at.
    looked: BTreeSet<String>,
    /// Packs that are not listed with their length.
    unlisted: BTreeSet<Place>,
    affects: BTreeMap<String, BTreeSet<String>>,
    /// What the hub has a copy of by itself.
    kept: BTreeSet<String>,
}

/// An object at the destination of this number.
type Place = (String, usize);

/// The objects of one destination with their sizes.
type Objects = BTreeMap<String, u64>;

/// Runs a check.
pub(crate) fn run(
    inner: &Arc<Inner>,
    level: CheckLevel,
    only: &[SnapshotId],
    progress: &dyn Progress,
) -> Result<CheckReport, PortError> {
    let already = lock(&inner.faults).len();
    let members = members::ask(inner);
    members::require_one(&members)?;
    let mut found = Findings {
        names: members.iter().map(|m| m.destination.name().clone()).collect(),
        answers: members.iter().map(|m| m.state.is_ok()).collect(),
        bad: BTreeMap::new(),
        looked: BTreeSet::new(),
        unlisted: BTreeSet::new(),
        affects: BTreeMap::new(),
        kept: BTreeSet::new(),
    };
    let mut objects: Vec<Option<Objects>> = Vec::new();
    let known = checked::load(inner);
    for (at, member) in members.iter().enumerate() {
        let listed = match &member.state {
            Ok(_) => member.destination.list("").map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        objects.push(match listed {
            Ok(list) => Some(list.into_iter().collect()),
            Err(fault) => {
                found.note(vault_file::OBJECT, at, fault);
                found.answers[at] = false;
                None
            }
        });
    }
    let bytes = AtomicU64::new(0);
    let checked = Checking { inner, members: &members, objects: &objects, known: &known, level, progress, bytes };
    let ids = checked.small_objects(&mut found, only);
    let all = checked.indexed_packs();
    let wanted = if only.is_empty() { None } else { Some(check_content::packs_of(inner, &members, &ids)) };
    let in_scope = |p: &&Pack| wanted.as_ref().is_none_or(|w| w.contains(&p.id));
    let packs: Vec<Pack> = all.iter().filter(in_scope).cloned().collect();
    checked.packs(&mut found, &packs);

    let bad_packs: BTreeSet<Digest> = found.bad.keys().filter_map(|(object, _)| index::pack_of(object)).collect();
    if level != CheckLevel::Quick || !bad_packs.is_empty() {
        let scope = Scope { bad_packs, is_deep: level == CheckLevel::Full };
        for (object, what) in check_content::examine(inner, &members, &ids, scope, progress) {
            found.affects.entry(object).or_default().insert(what);
        }
    }
    // What readers met on the way belongs to this report.
    for fault in lock(&inner.faults).split_off(already) {
        if let Some(at) = found.names.iter().position(|n| *n == fault.destination) {
            found.bad.entry((fault.object, at)).or_insert(fault.fault);
        }
    }
    let mut superseded = checked.superseded(&found, &all, &packs);
    if only.is_empty() && !forget::at(&members).is_empty() {
        superseded.extend(unneeded(inner, &members, &found, &ids));
    }
    let looked: Vec<String> = found.looked.iter().cloned().chain(packs.iter().map(Pack::object)).collect();
    if let Some(env) = &inner.env {
        let is_all = only.is_empty();
        checked::update(inner, |known| found.remember(known, &looked, &superseded, is_all.then_some(level), env.now()));
    }
    found.bad.retain(|place, _| !superseded.contains(place));
    let superseded = superseded.iter().map(|(object, _)| object).collect::<BTreeSet<_>>().len() as u64;
    let chunks = packs.iter().map(|p| p.records.len() as u64).sum();
    let bytes = checked.bytes.load(Ordering::Relaxed);
    Ok(CheckReport {
        checked: Checked { packs: packs.len() as u64, chunks, bytes },
        problems: found.problems(),
        snapshots: ids.iter().map(ToString::to_string).collect(),
        superseded,
    })
}

/// Returns the places of bad packs when no snapshot that is left needs any of them: those that did were forgotten.
/// While one needs some, what it needs beyond them is not known, and all are told.
fn unneeded(inner: &Arc<Inner>, members: &[Member], found: &Findings, ids: &BTreeSet<SnapshotId>) -> Vec<Place> {
    let packs = || found.bad.keys().filter(|(object, _)| index::pack_of(object).is_some());
    let is_needed = packs().any(|(object, _)| found.affects.get(object).is_some_and(|needed| !needed.is_empty()));
    let is_read = ids.iter().all(|id| snapshots::load(inner, members, id).is_ok());
    if is_needed || !is_read || found.unexplained().next().is_some() {
        return Vec::new();
    }
    packs().cloned().collect()
}

struct Checking<'a> {
    inner: &'a Arc<Inner>,
    members: &'a [Member],
    objects: &'a [Option<Objects>],
    /// What earlier checks found: that is read again at each level.
    known: &'a Memory,
    level: CheckLevel,
    progress: &'a dyn Progress,
    bytes: AtomicU64,
}

impl Checking<'_> {
    /// Checks everything but packs; returns the snapshots in scope.
    fn small_objects(&self, found: &mut Findings, only: &[SnapshotId]) -> BTreeSet<SnapshotId> {
        let listed = |prefix: &str| -> BTreeSet<String> {
            self.objects.iter().flatten().flat_map(|o| o.keys()).filter(|o| o.starts_with(prefix)).cloned().collect()
        };
        let mut expected = listed("keys/");
        expected.insert(super::found::KEY_OBJECT.into());
        expected.extend(listed("index/"));
        expected.insert(vault_file::OBJECT.into());
        expected.extend(stock::FILES.iter().map(|(name, _)| (*name).to_owned()));
        let mut ids: BTreeSet<SnapshotId> = only.iter().cloned().collect();
        if only.is_empty() {
            ids = listed("snapshots/").iter().filter_map(|o| manifest::id_of(o)).collect();
            ids.extend(seen(self.inner));
        }
        // What was forgotten on purpose is missed by nobody, as a snapshot or as a parent.
        let forgotten = forget::at(self.members);
        ids.retain(|id| !forgotten.contains(id) || only.contains(id));
        expected.extend(ids.iter().map(manifest::object));
        for object in &expected {
            self.small_object(found, object);
        }
        if only.is_empty() {
            self.parents(found, &mut ids, &forgotten);
        }
        ids
    }

    /// A parent that is nowhere was removed behind our back.
    fn parents(&self, found: &mut Findings, ids: &mut BTreeSet<SnapshotId>, forgotten: &BTreeSet<SnapshotId>) {
        let loaded = ids.iter().filter_map(|id| snapshots::load(self.inner, self.members, id).ok());
        let parents: Vec<SnapshotId> = loaded.filter_map(|l| l.manifest.parent.clone()).collect();
        for parent in parents.into_iter().filter(|parent| !forgotten.contains(parent)) {
            if ids.insert(parent.clone()) {
                self.small_object(found, &manifest::object(&parent));
            }
        }
    }

    fn small_object(&self, found: &mut Findings, object: &str) {
        found.looked.insert(object.to_owned());
        if let Some(id) = manifest::id_of(object) {
            found.affects.entry(object.into()).or_default().insert(format!("snapshot {id}"));
        }
        // These are few and small, and without them nothing else can be restored: they are read at every level.
        let is_founding = founding::is_founding(object);
        if founding::is_needed(object) {
            let what = "every restore from this destination without the hub";
            found.affects.entry(object.into()).or_default().insert(what.into());
            if founding::is_kept(self.inner, object) {
                found.kept.insert(object.into());
            }
        }
        let sizes = self.objects.iter().map(|o| o.as_ref().and_then(|o| o.get(object).copied()));
        let sizes: Vec<Option<u64>> = sizes.collect();
        let usual = usual(&sizes);
        for (at, member) in self.members.iter().enumerate() {
            if self.objects[at].is_none() {
                continue;
            }
            let Some(size) = sizes[at] else {
                found.note(object, at, "missing".into());
                continue;
            };
            if self.level == CheckLevel::Quick
                && !is_founding
                && !self.known.is_damaged(member.destination.name(), object)
            {
                if size == 0 {
                    found.note(object, at, "is empty".into());
                } else if Some(size) != usual {
                    found.note(object, at, format!("has {size} bytes, elsewhere {}", usual.unwrap_or(0)));
                }
                continue;
            }
            if self.level != CheckLevel::Quick || !is_founding {
                self.bytes.fetch_add(size, Ordering::Relaxed);
            }
            let read = member.destination.get(object).map_err(|e| e.to_string());
            if let Err(fault) = read.and_then(|bytes| judge(self.inner, object, &bytes)) {
                found.note(object, at, fault);
            }
        }
    }

    /// Reads the index anew where the level asks for it; the cache must not hide a loss.
    fn indexed_packs(&self) -> Vec<Pack> {
        let mut packs: BTreeMap<Digest, Pack> = BTreeMap::new();
        let mut is_whole = true;
        for object in index_cache::objects(self.members) {
            let loaded = if self.level == CheckLevel::Quick {
                index_cache::load(self.inner, self.members, &object)
            } else {
                let lists = |l: &members::Listing| l.index.contains_key(&object);
                members::fetch(self.inner, self.members, &object, lists, |b| index_cache::open(self.inner, &b))
            };
            let loaded = loaded.or_else(|_| index_cache::load(self.inner, self.members, &object));
            is_whole &= loaded.is_ok();
            packs.extend(loaded.unwrap_or_default().into_iter().map(|p| (p.id, p)));
        }
        index_cache::refresh(self.inner, self.members);
        if !is_whole {
            // What a lost index named, its packs' own tables still say.
            let found = adopt::unindexed(self.inner, self.members);
            let mut index = self.inner.write_index();
            found.iter().for_each(|pack| index.add(pack));
            packs.extend(found.into_iter().map(|p| (p.id, p)));
        }
        packs.into_values().collect()
    }

    /// Checks the packs at all destinations side by side, then what one intact copy of each holds.
    fn packs(&self, found: &mut Findings, packs: &[Pack]) {
        let is_read = |p: &Pack| match self.level {
            CheckLevel::Quick => false,
            CheckLevel::Metadata => p.is_tree(),
            CheckLevel::Full => true,
        };
        let done = AtomicU64::new(0);
        let total = (packs.len() * self.members.len()) as u64;
        let judged: Vec<Vec<(String, String, bool)>> = std::thread::scope(|scope| {
            let judge = |at: usize| {
                let Some(objects) = &self.objects[at] else { return Vec::new() };
                let mut bad = Vec::new();
                for pack in packs {
                    let object = pack.object();
                    let is_known = self.known.is_damaged(self.members[at].destination.name(), &object);
                    let fault = self.pack(at, objects, pack, &object, is_read(pack) || is_known);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    self.progress.update(&Update { phase: "check", item: &object, done, total, unit: "packs" });
                    let is_listed = objects.get(&object) == Some(&pack.len);
                    bad.extend(fault.map(|fault| (object, fault, is_listed)));
                }
                bad
            };
            let threads: Vec<_> = (0..self.members.len()).map(|at| scope.spawn(move || judge(at))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_default()).collect()
        });
        for (at, bad) in judged.into_iter().enumerate() {
            for (object, fault, is_listed) in bad {
                if !is_listed {
                    found.unlisted.insert((object.clone(), at));
                }
                found.note(&object, at, fault);
            }
        }
        for pack in packs.iter().filter(|p| is_read(p)) {
            let object = pack.object();
            let intact = |at: &usize| self.objects[*at].is_some() && !found.bad.contains_key(&(object.clone(), *at));
            let Some(at) = (0..self.members.len()).find(intact) else { continue };
            if let Err(fault) = self.frames(at, pack, &object) {
                // Same bytes everywhere: the fault is in all copies.
                for at in (0..self.members.len()).filter(intact).collect::<Vec<_>>() {
                    found.note(&object, at, fault.clone());
                }
            }
        }
    }

    /// Returns the places of damaged or missing packs that are no loss: each chunk of them is in another pack
    /// that is whole at the same destination.
    fn superseded(&self, found: &Findings, all: &[Pack], looked: &[Pack]) -> BTreeSet<Place> {
        let bad: Vec<&Pack> = looked.iter().filter(|p| found.is_bad_anywhere(&p.object())).collect();
        let scope: HashSet<Digest> = looked.iter().map(|pack| pack.id).collect();
        let mut superseded = BTreeSet::new();
        for (at, objects) in self.objects.iter().enumerate().filter(|_| !bad.is_empty()) {
            let Some(objects) = objects else { continue };
            let name = self.members[at].destination.name();
            let is_whole = |pack: &&Pack| {
                let place = (pack.object(), at);
                // What was not looked at now is believed as it was found before.
                let is_doubtful = match scope.contains(&pack.id) {
                    true => found.bad.contains_key(&place),
                    false => self.known.is_damaged(name, &place.0),
                };
                objects.get(&place.0) == Some(&pack.len) && !is_doubtful
            };
            let there: HashSet<Digest> =
                all.iter().filter(is_whole).flat_map(|p| p.records.iter().map(|r| r.id)).collect();
            let here = bad.iter().map(|pack| (pack, (pack.object(), at))).filter(|(_, at)| found.bad.contains_key(at));
            let kept = here.filter(|(pack, _)| pack.records.iter().all(|r| there.contains(&r.id)));
            superseded.extend(kept.map(|(_, place)| place));
        }
        superseded
    }

    fn pack(&self, at: usize, objects: &Objects, pack: &Pack, object: &str, is_read: bool) -> Option<String> {
        match objects.get(object) {
            None => return Some("missing".into()),
            Some(size) if *size != pack.len => {
                return Some(format!("truncated or grown: {size} bytes where {} were written", pack.len));
            }
            Some(_) if !is_read => return None,
            Some(_) => {}
        }
        self.bytes.fetch_add(pack.len, Ordering::Relaxed);
        match self.members[at].destination.get(object) {
            Err(e) => Some(e.to_string()),
            Ok(bytes) if Digest::of(&bytes) != pack.id => Some("does not match its name".into()),
            Ok(_) => None,
        }
    }

    /// Decrypts a pack, decodes every frame, compares ids and the pack's own table.
    fn frames(&self, at: usize, pack: &Pack, object: &str) -> Result<(), String> {
        let destination = &self.members[at].destination;
        let mut reader = PackReader::open_len(destination, object.to_owned(), pack.len, &self.inner.identities)?;
        let (table, _) = reader.table()?;
        if table != pack.records {
            return Err("its own table differs from the index".into());
        }
        for record in &pack.records {
            let plain = reader.chunk(record)?;
            if self.inner.hashes.id(&plain) != record.id {
                return Err(format!("chunk {} has other content", record.id));
            }
        }
        Ok(())
    }
}

impl Findings {
    fn note(&mut self, object: &str, at: usize, fault: String) {
        self.bad.entry((object.to_owned(), at)).or_insert(fault);
    }

    /// What is wrong although no object is: told of the first destination.
    fn unexplained(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.affects.iter().filter(|(o, _)| o.starts_with("chunk ") || o.starts_with("root "))
    }

    fn is_bad_anywhere(&self, object: &str) -> bool {
        (0..self.names.len()).any(|at| self.bad.contains_key(&(object.to_owned(), at)))
    }

    /// Remembers what is damaged, and forgets what was found whole.
    fn remember(
        &self,
        known: &mut Memory,
        looked: &[String],
        superseded: &BTreeSet<Place>,
        all: Option<CheckLevel>,
        now: Timestamp,
    ) {
        for (at, name) in self.names.iter().enumerate() {
            if self.answers[at] {
                looked.iter().for_each(|object| known.forget(name, object));
            }
            let bad = self.bad.iter().filter(|((_, place), _)| *place == at);
            for ((object, _), fault) in bad.clone().filter(|((object, _), _)| self.answers[at] && !object.is_empty()) {
                // What is missing or torn every listing tells.
                let is_listed = !self.unlisted.contains(&(object.clone(), at));
                if is_listed {
                    let needed = !superseded.contains(&(object.clone(), at));
                    known.note(name, object, fault, now, needed);
                }
            }
            if let Some(level) = all {
                let objects = bad.filter(|(place, _)| !superseded.contains(*place)).count();
                let unexplained = if at == 0 { self.unexplained().count() } else { 0 };
                let problems = (objects + unexplained) as u64;
                known.note_check(name, level, now, problems);
            }
        }
    }

    fn problems(self) -> Vec<Problem> {
        let Self { names, answers, bad, affects, kept, .. } = self;
        let intact = |object: &str| {
            (0..names.len()).any(|at| answers[at] && !bad.contains_key(&(object.to_owned(), at))) && !object.is_empty()
        };
        let problem = |((object, at), fault): (&(String, usize), &String)| {
            let mut affects: Vec<String> = affects.get(object).map(|a| a.iter().cloned().collect()).unwrap_or_default();
            let affects_more = affects.len().saturating_sub(AFFECTS_MAX) as u64;
            if affects.len() > AFFECTS_MAX {
                // However long the list, each snapshot in it is named: the first line of each comes first.
                let mut named = BTreeSet::new();
                let is_first = |text: &String| named.insert(text.split(',').next().map(str::to_owned));
                let (first, rest): (Vec<_>, Vec<_>) = affects.into_iter().partition(is_first);
                affects = [first, rest].concat();
                affects.truncate(AFFECTS_MAX);
            }
            Problem {
                destination: names[*at].clone(),
                object: object.clone(),
                fault: fault.clone(),
                affects,
                affects_more,
                restorable: kept.contains(object) || intact(object),
            }
        };
        let mut problems: Vec<Problem> = bad.iter().map(problem).collect();
        // What no object at fault explains is still told.
        for (object, affects) in affects.iter().filter(|(o, _)| o.starts_with("chunk ") || o.starts_with("root ")) {
            problems.push(Problem {
                destination: names[0].clone(),
                object: object.clone(),
                fault: "does not follow from what is stored".into(),
                affects: affects.iter().cloned().collect(),
                affects_more: 0,
                restorable: false,
            });
        }
        problems
    }
}

/// Returns the size that most destinations give an object.
fn usual(sizes: &[Option<u64>]) -> Option<u64> {
    let count = |size: &u64| sizes.iter().flatten().filter(|s| *s == size).count();
    sizes.iter().flatten().copied().max_by_key(|size| (count(size), *size))
}

/// Says whether a small object's bytes are what they must be.
pub(crate) fn judge(inner: &Inner, object: &str, bytes: &[u8]) -> Result<(), String> {
    if let Some(id) = manifest::id_of(object) {
        return snapshots::verify(inner, &id, bytes).map(|_| ());
    }
    if object.starts_with("index/") {
        return index_cache::open(inner, bytes).map(|_| ());
    }
    if object.starts_with("keys/") {
        return super::found::judge_key(inner, object, bytes);
    }
    if object == vault_file::OBJECT {
        let file = VaultFile::from_bytes(bytes, &inner.trusted).map_err(|e| e.to_string())?;
        return if file == inner.file { Ok(()) } else { Err("it is another version than the one in use".into()) };
    }
    match inner.file.files.get(object) {
        Some(digest) if *digest != Digest::of(bytes) => Err("it is not the file that was written".into()),
        _ => Ok(()),
    }
}

/// Snapshots that this hub has committed, as its cache remembers.
pub(crate) fn seen(inner: &Inner) -> Vec<SnapshotId> {
    let Some(dir) = inner.cache.as_deref() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir.join("seen")) else { return Vec::new() };
    entries.flatten().filter_map(|e| SnapshotId::parse(e.file_name().to_str()?).ok()).collect()
}
