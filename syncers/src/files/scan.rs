//! Reads what a tree holds, without following or crossing anything.
//!
//! What cannot be read is frozen, which is not absent: only a complete listing of a directory says that a name is
//! not there. What takes no part (patterns, pipes, nested `.git`, live databases) makes its directory held.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cathedral_model::conflict::tree::{Body, Node, Tree};
use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use rustix::fs::Dir;

use super::cache::Cache;
use super::handle::{self, Facts, Kind, Root};
use super::hash::{self, ReadError};
use super::hook::Hook;
use super::names;
use super::rules::Rules;

/// More warnings than this are counted, not listed.
const WARNINGS: usize = 50;
const THREADS: usize = 8;

/// What a tree held when it was read.
#[derive(Debug, Default)]
pub struct Scan {
    /// False when there is nothing at the root's place.
    pub exists: bool,
    pub tree: Tree,
    pub facts: HashMap<Vec<u8>, Facts>,
    pub frozen: BTreeSet<Vec<u8>>,
    /// Why each frozen path is.
    pub why: BTreeMap<Vec<u8>, String>,
    pub held: BTreeSet<Vec<u8>>,
    pub warnings: Vec<String>,
    /// Pipes, sockets, devices, and links where links take no part.
    pub special: u64,
    more_warnings: u64,
}

/// A walk in progress.
struct Walk<'a> {
    root: &'a Root,
    rules: &'a Rules,
    cache: &'a Cache,
    hook: &'a Hook,
    /// The hub's own state folder, which is never a part of a tree.
    state: Option<(u64, u64)>,
    scan: Scan,
    unknown: Vec<(Vec<u8>, Facts)>,
}

/// Reads a tree. `cache_at` is where digests are kept between scans.
pub fn scan(
    root: Option<&Root>,
    rules: &Rules,
    cache_at: Option<&Path>,
    state: Option<(u64, u64)>,
    hook: &Hook,
) -> Scan {
    let Some(root) = root else { return Scan::default() };
    let start = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_nanos()).ok());
    let cache = cache_at.map(Cache::load).unwrap_or_default();
    let scan = Scan { exists: true, ..Scan::default() };
    let mut walk = Walk { root, rules, cache: &cache, hook, state, scan, unknown: vec![] };
    let mut pending = vec![Vec::new()];
    while let Some(dir) = pending.pop() {
        walk.directory(dir, &mut pending);
    }
    walk.hash_unknown();
    let mut scan = walk.scan;
    if scan.more_warnings > 0 {
        scan.warnings.push(format!("and {} more", scan.more_warnings));
    }
    if let Some((at, start)) = cache_at.zip(start) {
        let mut next = Cache::default();
        for (path, node) in &scan.tree {
            if let (Body::File { b3, .. }, Some(facts)) = (&node.body, scan.facts.get(path)) {
                next.remember(path, facts, *b3, start);
            }
        }
        if next != cache
            && let Err(e) = next.save(at)
        {
            tracing::warn!(path = %at.display(), error = %e, "scan cache cannot be written");
        }
    }
    scan
}

impl Walk<'_> {
    fn warn(&mut self, path: &[u8], why: impl std::fmt::Display) {
        if self.scan.warnings.len() < WARNINGS {
            let shown = if path.is_empty() { ".".to_owned() } else { names::escape(path) };
            self.scan.warnings.push(format!("{shown}: {why}"));
        } else {
            self.scan.more_warnings += 1;
        }
    }

    /// Notes that nothing is known of a path.
    fn freeze(&mut self, path: Vec<u8>, why: impl std::fmt::Display) {
        self.warn(&path, &why);
        self.freeze_quietly(path, why);
    }

    fn freeze_quietly(&mut self, path: Vec<u8>, why: impl std::fmt::Display) {
        self.scan.why.insert(path.clone(), why.to_string());
        self.scan.tree.remove(&path);
        self.scan.frozen.insert(path);
    }

    fn directory(&mut self, dir: Vec<u8>, pending: &mut Vec<Vec<u8>>) {
        let opened = self.hook.reached("read", &dir).and_then(|()| self.root.dir(&dir));
        let listed = opened.and_then(|fd| list(&fd).map(|names| (fd, names)));
        let (fd, entries) = match listed {
            Ok(listed) => listed,
            // The empty path freezes the whole tree.
            Err(e) => return self.freeze(dir, format!("the directory cannot be read: {e}")),
        };
        let databases = self.live_databases(&fd, &entries);
        for name in entries {
            if names::is_ours(&name) {
                continue;
            }
            let path = names::join(&dir, &name);
            if name == b".git" {
                self.hold(&dir);
                self.freeze(path, "a git repository is not copied as files; declare it under connected_repositories");
                continue;
            }
            if databases.contains(&name) {
                self.hold(&dir);
                self.freeze(
                    path,
                    "a live SQLite database is not copied as a file; declare it under connected_databases",
                );
                continue;
            }
            let facts = match self.hook.reached("stat", &path).and_then(|()| handle::stat(&fd, &name)) {
                Ok(Some(facts)) => facts,
                // Removed since it was listed.
                Ok(None) => continue,
                Err(e) => {
                    self.freeze(path, e);
                    continue;
                }
            };
            if self.rules.ignores(&path, facts.kind == Kind::Dir) {
                self.hold(&dir);
                continue;
            }
            self.entry(&dir, path, &name, &fd, facts, pending);
        }
    }

    fn hold(&mut self, dir: &[u8]) {
        if !dir.is_empty() {
            self.scan.held.insert(dir.to_vec());
        }
    }

    fn entry(
        &mut self,
        dir: &[u8],
        path: Vec<u8>,
        name: &[u8],
        fd: &OwnedFd,
        facts: Facts,
        pending: &mut Vec<Vec<u8>>,
    ) {
        let mode = self.rules.keeps_mode.then_some(facts.mode & 0o777);
        let body = match facts.kind {
            Kind::Dir if facts.stamp.dev != self.root.dev() => {
                return self.freeze(path, "another file system is mounted here and is not crossed");
            }
            Kind::Dir if self.state == Some((facts.stamp.dev, facts.stamp.ino)) => {
                self.hold(dir);
                return self.freeze_quietly(path, "the hub's own state is not a part of the tree");
            }
            Kind::Dir => {
                pending.push(path.clone());
                Body::Dir
            }
            Kind::Symlink if !self.rules.keeps_symlinks => {
                self.scan.special += 1;
                return self.freeze_quietly(path, "links take no part");
            }
            Kind::Symlink => match handle::read_link(fd, name) {
                Ok(target) => Body::Symlink { target },
                Err(e) => return self.freeze(path, e),
            },
            Kind::Special => {
                self.scan.special += 1;
                return self.freeze_quietly(path, "it is a pipe, a socket or a device");
            }
            Kind::File => match self.cache.known(&path, &facts.stamp) {
                Some(b3) => Body::File { b3, size: facts.stamp.size },
                None => {
                    self.unknown.push((path, facts));
                    return;
                }
            },
        };
        let mode = mode.filter(|_| !matches!(body, Body::Symlink { .. }));
        self.scan.facts.insert(path.clone(), facts);
        self.scan.tree.insert(path, Node { body, mode });
    }

    /// Finds the names of SQLite databases that are in use, with their companions.
    fn live_databases(&mut self, fd: &OwnedFd, entries: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
        let mut found = BTreeSet::new();
        for name in entries {
            for suffix in [&b"-wal"[..], b"-journal"] {
                let Some(stem) = name.strip_suffix(suffix).filter(|stem| !stem.is_empty()) else { continue };
                if is_sqlite(fd, stem) {
                    found.extend([&b""[..], b"-wal", b"-shm", b"-journal"].map(|end| [stem, end].concat()));
                }
            }
        }
        found
    }

    /// Hashes what the cache did not know, on several threads.
    fn hash_unknown(&mut self) {
        let mut unknown = std::mem::take(&mut self.unknown);
        unknown.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(unknown.len());
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(unknown.len()));
        let (root, hook) = (self.root, self.hook);
        let work = || {
            let mut parent: Option<(&[u8], OwnedFd)> = None;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, _)) = unknown.get(index) else { break };
                let (dir, name) = names::split(path);
                let hashed = hook.reached("read", path).map_err(ReadError::Io).and_then(|()| {
                    if parent.as_ref().is_none_or(|(open, _)| *open != dir) {
                        parent = Some((dir, root.dir(dir)?));
                    }
                    let (_, fd) = parent.as_ref().expect("it was set above");
                    hash::hash(fd.as_fd(), name)
                });
                results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, hashed));
            }
        };
        if threads > 1 && unknown.len() > 8 {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        } else {
            work();
        }
        let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        results.sort_unstable_by_key(|(index, _)| *index);
        for (index, hashed) in results {
            let path = unknown[index].0.clone();
            match hashed {
                Ok((b3, facts)) => {
                    let body = Body::File { b3, size: facts.stamp.size };
                    let mode = self.rules.keeps_mode.then_some(facts.mode & 0o777);
                    self.scan.facts.insert(path.clone(), facts);
                    self.scan.tree.insert(path, Node { body, mode });
                }
                // Removed since it was listed.
                Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.freeze(path, e),
            }
        }
    }
}

/// Lists a directory to its end, in the order of the names.
pub fn list(fd: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![];
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_sqlite(fd: &OwnedFd, name: &[u8]) -> bool {
    let mut header = [0; 16];
    handle::open_file(fd, name)
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut header))
        .is_ok_and(|()| &header == b"SQLite format 3\0")
}

/// The position of a side that is not there.
pub const MISSING: &str = "missing";

/// Why a path is left alone that is not as the snapshot has it.
const BUSY: &str = "it keeps changing: it waits for a quieter moment";

impl Scan {
    /// Leaves alone what is not as it was before, as if nothing were known of it; says whether anything is.
    pub fn freeze_changed(&mut self, before: &Tree) -> bool {
        let changed = |path: &&Vec<u8>| self.tree.get(*path) != before.get(*path);
        let paths: BTreeSet<Vec<u8>> = self.tree.keys().chain(before.keys()).filter(changed).cloned().collect();
        let any = !paths.is_empty();
        for path in paths {
            self.why.entry(path.clone()).or_insert_with(|| BUSY.to_owned());
            self.tree.remove(&path);
            self.frozen.insert(path);
        }
        any
    }

    /// Returns the state as the engine sees it.
    pub fn state(&self) -> SideState {
        let files = self.tree.values().filter(|node| matches!(node.body, Body::File { .. })).count() as u64;
        let position = match (self.exists, files) {
            (false, _) => MISSING.to_owned(),
            (true, 1) => "1 file".to_owned(),
            (true, files) => format!("{files} files"),
        };
        SideState { digest: self.digest(), position, items: self.tree.len() as u64 }
    }

    /// Digest over everything that takes part; times do not.
    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"cathedral.files-state/v1\n");
        hasher.update(&[u8::from(self.exists)]);
        let mut line = Vec::with_capacity(256);
        for (path, node) in &self.tree {
            line.clear();
            let (kind, value): (u8, &[u8]) = match &node.body {
                Body::File { b3, .. } => (b'f', b3),
                Body::Dir => (b'd', b""),
                Body::Symlink { target } => (b'l', target),
            };
            line.push(kind);
            line.extend_from_slice(&node.mode.map_or(u32::MAX, |mode| mode).to_le_bytes());
            for text in [path.as_slice(), value] {
                line.extend_from_slice(&(text.len() as u64).to_le_bytes());
                line.extend_from_slice(text);
            }
            hasher.update(&line);
        }
        for path in &self.frozen {
            hasher.update(b"?");
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path);
        }
        Digest(*hasher.finalize().as_bytes())
    }
}
