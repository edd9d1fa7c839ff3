//! A tree over what stands at a declared place: what differs is replaced, what is not in the snapshot goes; both
//! are kept first, in the hub's own folder. What takes no part is not touched. Repeating finishes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use cathedral_model::conflict::tree::Body;
use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use cathedral_model::ports::{PortError, Source};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::handle::{self, Facts, Kind, Root};
use super::super::hook::Hook;
use super::super::rules::Rules;
use super::super::scan::{self, Scan};
use super::super::stage::{self, Skip, Stage};
use super::super::{FilesSyncer, detail, names, planning};
use super::check;

/// At most so many failures are listed.
const LISTED: usize = 5;

/// Writes a tree over a declared one.
pub fn into_live(
    syncer: &FilesSyncer,
    spoke: &Spoke,
    side: Side,
    source: &mut dyn Source,
    run: RunId,
    fence: Fence,
) -> Result<Imported, PortError> {
    let files = detail(spoke)?;
    let path = if side == Side::Hub { &files.hub } else { &files.spoke };
    if source.info().position == scan::MISSING {
        // This side was not there yet: that says nothing about what has come since.
        return Ok(Imported { path: path.display().to_string(), files: 0, bytes: 0, kept: None });
    }
    let fault = |e: io::Error| PortError::io(path.display(), &e);
    let notes = syncer.notes(spoke);
    let lock = notes.lock(fence)?;
    let [mut hub, mut other] = syncer.roots(spoke)?;
    let here = if side == Side::Hub { &mut hub } else { &mut other };
    if here.is_none() {
        *here = Some(syncer.make_root(path)?);
    }
    let rules = Rules::load(files, &[hub.as_ref(), other.as_ref()]);
    let here = if side == Side::Hub { &hub } else { &other };
    let root = here.as_ref().ok_or_else(|| fault(io::ErrorKind::NotFound.into()))?;
    let scan = scan::scan(Some(root), &rules, Some(&notes.cache(side)), syncer.own(), &syncer.hook);
    if let Some(why) = scan.why.get(&b""[..]) {
        return Err(PortError::permanent(format!("{}: {why}", path.display())));
    }
    let stage_name = format!("{}.{}", spoke.name, side.as_str());
    let mut stage = Stage::open(root, &stage_name, &syncer.hook, &*syncer.content).map_err(fault)?;
    syncer.clear(&mut stage, &notes, side, run)?;
    let mut job = Job {
        rules: &rules,
        hook: &syncer.hook,
        scan,
        stage,
        kept_at: notes.kept(run.0, side.as_str()),
        kept: None,
        wanted: BTreeMap::new(),
        failed: vec![],
        files: 0,
        bytes: 0,
    };
    source.entries(&mut |entry, content| job.prepare(entry, content))?;
    job.stage.flush().map_err(fault)?;
    lock.check()?;
    job.place();
    syncer.hook.reached("syncfs", b"").and_then(|()| Ok(rustix::fs::syncfs(root.fd())?)).map_err(fault)?;
    let imported = job.finish(path.display().to_string())?;
    // Last of all, so that a tree that is only half there is still one that a sync asks about.
    if planning::direction(spoke.data_sync).is_some() {
        syncer.hook.reached("mark", b"").map_err(fault)?;
        notes.set_restored(side, root)?;
    }
    Ok(imported)
}

/// What the snapshot holds at a path.
struct Wanted {
    entry: TreeEntry,
    /// Where its content waits; none when what stands there is equal already.
    staged: Option<Vec<u8>>,
}

struct Job<'a> {
    rules: &'a Rules,
    hook: &'a Hook,
    scan: Scan,
    stage: Stage<'a>,
    kept_at: PathBuf,
    kept: Option<Root>,
    wanted: BTreeMap<Vec<u8>, Wanted>,
    failed: Vec<(Vec<u8>, Skip)>,
    files: u64,
    bytes: u64,
}

impl Job<'_> {
    /// Reads an entry and stages what differs, before anything is changed.
    fn prepare(&mut self, entry: &TreeEntry, content: Option<&mut dyn Read>) -> Result<(), PortError> {
        check(entry)?;
        let fault = |e: Skip| match e {
            Skip::Port(e) => e,
            Skip::Io(e) => PortError::io(names::escape(&entry.path), &e),
            Skip::Moved(why) => PortError::permanent(format!("{}: {why}", names::escape(&entry.path))),
        };
        let is_dir = entry.kind == EntryKind::Dir;
        let is_unread = self.scan.frozen.contains(&entry.path)
            || names::parents(&entry.path).any(|parent| self.scan.frozen.contains(parent));
        let live = self.scan.tree.get(&entry.path).map(|node| &node.body);
        let staged = match (&entry.kind, content) {
            (EntryKind::Dir, _) => None,
            (EntryKind::Symlink { target }, _) => {
                let is_equal = matches!(live, Some(Body::Symlink { target: live }) if live == target);
                if is_equal { None } else { Some(self.stage.link(target).map_err(fault)?) }
            }
            (EntryKind::File { size }, Some(content)) => {
                let (name, b3) = self.stage.file(content, None).map_err(fault)?;
                self.files += 1;
                self.bytes += size;
                if matches!(live, Some(Body::File { b3: live, .. }) if *live == b3) {
                    self.stage.drop_file(&name);
                    None
                } else {
                    let dressed = self.stage.dress(&name, entry.mode, Some(entry.mtime_ns), false);
                    dressed.map_err(|e| fault(e.into()))?;
                    Some(name)
                }
            }
            (EntryKind::File { .. }, None) => {
                let shown = names::escape(&entry.path);
                return Err(PortError::Corrupt(format!("the snapshot has no content for {shown}")));
            }
        };
        if is_unread || self.rules.ignores_with_parents(&entry.path, is_dir) {
            if let Some(name) = staged {
                self.stage.drop_file(&name);
            }
            let why = if is_unread { "what stands there cannot be read" } else { "the path takes no part any more" };
            self.failed.push((entry.path.clone(), Skip::moved(why)));
            return Ok(());
        }
        let known = self.wanted.insert(entry.path.clone(), Wanted { entry: entry.clone(), staged });
        if known.is_some() {
            let shown = names::escape(&entry.path);
            return Err(PortError::Corrupt(format!("the snapshot has {shown} twice")));
        }
        Ok(())
    }

    fn place(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        for (path, wanted) in &wanted {
            if let Err(why) = self.place_one(path, wanted) {
                self.failed.push((path.clone(), why));
            }
        }
        // Children sort after their parents.
        let extra: BTreeSet<Vec<u8>> =
            self.scan.tree.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in extra.iter().rev() {
            if let Err(why) = self.remove(path) {
                self.failed.push((path.clone(), why));
            }
        }
        for (path, wanted) in wanted.iter().rev() {
            if let Err(why) = self.dress(path, &wanted.entry) {
                self.failed.push((path.clone(), why));
            }
        }
        self.wanted = wanted;
    }

    fn place_one(&mut self, path: &[u8], wanted: &Wanted) -> Result<(), Skip> {
        let (parent, name) = names::split(path);
        let dir = self.stage.root.dir(parent)?;
        let live = handle::stat(&dir, name)?;
        if wanted.entry.kind == EntryKind::Dir {
            match live {
                Some(facts) if facts.kind == Kind::Dir => {
                    if facts.mode & 0o700 != 0o700 {
                        self.hook.reached("chmod", path)?;
                        stage::chmod(&dir, name, &facts, facts.mode | 0o700)?;
                    }
                    return Ok(());
                }
                Some(_) => self.take_out(&dir, path, name)?,
                None => {}
            }
            self.hook.reached("mkdir", path)?;
            rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700))?;
            return Ok(());
        }
        let Some(staged) = &wanted.staged else { return Ok(()) };
        match live {
            None => self.stage.place_new(staged, &dir, name),
            Some(facts) if facts.kind == Kind::Dir => {
                let below = [path, b"/"].concat()..[path, b"0"].concat();
                let inside: Vec<Vec<u8>> = self.scan.tree.range(below).map(|(path, _)| path.clone()).collect();
                for path in inside.iter().rev().chain([&path.to_vec()]) {
                    self.remove(path)?;
                }
                self.stage.place_new(staged, &dir, name)
            }
            Some(facts) => {
                self.keep(&dir, path, name, &facts)?;
                let came_out = self.stage.exchange(staged, &dir, name)?;
                self.let_go(path, staged, &facts, came_out)
            }
        }
    }

    /// Removes what is not in the snapshot, once it is kept.
    fn remove(&mut self, path: &[u8]) -> Result<(), Skip> {
        let (parent, name) = names::split(path);
        let dir = match self.stage.root.dir(parent) {
            Ok(dir) => dir,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        match handle::stat(&dir, name)? {
            None => Ok(()),
            Some(facts) if facts.kind == Kind::Dir => {
                // Something that takes no part is inside, so that the folder stays where it is.
                if !scan::list(&self.stage.root.dir(path)?)?.is_empty() {
                    return Ok(());
                }
                self.keep_folder(path, &facts)?;
                self.hook.reached("rmdir", path)?;
                match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
                    // Something came meanwhile.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                    Err(e) => Err(e.into()),
                }
            }
            Some(_) => self.take_out(&dir, path, name),
        }
    }

    fn take_out(&mut self, dir: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), Skip> {
        let Some(facts) = handle::stat(dir, name)? else { return Ok(()) };
        self.keep(dir, path, name, &facts)?;
        let (aside, came_out) = self.stage.withdraw(dir, name)?;
        self.let_go(path, &aside, &facts, came_out)
    }

    /// Removes what came out of the tree; when it is not what was kept, it is kept too.
    fn let_go(&mut self, path: &[u8], aside: &[u8], kept: &Facts, came_out: Facts) -> Result<(), Skip> {
        if !came_out.is_same_file(kept) {
            let dir = self.stage.dir()?;
            self.keep_as(&dir, aside, path, &came_out)?;
        }
        self.hook.reached("unlink", path)?;
        self.stage.unlink(aside)
    }

    fn keep(&mut self, dir: &OwnedFd, path: &[u8], name: &[u8], facts: &Facts) -> Result<(), Skip> {
        self.keep_as(dir, name, path, facts)
    }

    /// Makes a folder in the kept folder, with its rights as far as they let us in.
    fn keep_folder(&mut self, path: &[u8], facts: &Facts) -> Result<(), Skip> {
        self.hook.reached("keep", path)?;
        let (_, name) = names::split(path);
        let into = self.kept_parent(path)?;
        match rustix::fs::mkdirat(&into, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(there) = handle::stat(&into, name)?.filter(|there| there.kind == Kind::Dir) {
            stage::chmod(&into, name, &there, facts.mode & 0o777 | 0o700)?;
        }
        flush(&into)
    }

    /// Opens the folder in which a path is kept, making it.
    fn kept_parent(&mut self, path: &[u8]) -> Result<OwnedFd, Skip> {
        if self.kept.is_none() {
            std::fs::create_dir_all(&self.kept_at)?;
            self.kept = Root::open(&self.kept_at)?;
        }
        let kept = self.kept.as_ref().ok_or_else(|| Skip::Io(io::ErrorKind::NotFound.into()))?;
        for dir in names::parents(path) {
            let (above, name) = names::split(dir);
            match rustix::fs::mkdirat(kept.dir(above)?, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(kept.dir(names::split(path).0)?)
    }

    /// Gives a file a second name in the kept folder, or copies it there from another file system.
    fn keep_as(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8], facts: &Facts) -> Result<(), Skip> {
        self.hook.reached("keep", path)?;
        let (_, to) = names::split(path);
        let into = self.kept_parent(path)?;
        for attempt in 0..1000 {
            let to = if attempt == 0 { to.to_vec() } else { [to, format!(".{attempt}").as_bytes()].concat() };
            match rustix::fs::linkat(dir, name, &into, to.as_slice(), AtFlags::empty()) {
                Ok(()) => return flush(&into),
                Err(Errno::EXIST) => {
                    let there = handle::stat(&into, &to)?;
                    if there.is_some_and(|there| there.is_same_file(facts)) {
                        return flush(&into);
                    }
                }
                Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                    match copy(dir, name, &into, &to, facts) {
                        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                        copied => {
                            copied?;
                            return flush(&into);
                        }
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(Skip::moved("there is no free name to keep what stands there"))
    }

    /// Sets rights and times, children first.
    fn dress(&self, path: &[u8], entry: &TreeEntry) -> Result<(), Skip> {
        let (parent, name) = names::split(path);
        let dir = self.stage.root.dir(parent)?;
        let Some(facts) = handle::stat(&dir, name)? else { return Ok(()) };
        if facts.kind != Kind::Symlink && facts.mode & 0o777 != entry.mode & 0o777 {
            self.hook.reached("chmod", path)?;
            stage::chmod(&dir, name, &facts, entry.mode)?;
        }
        if facts.stamp.mtime_ns != entry.mtime_ns {
            self.hook.reached("utimens", path)?;
            let times = stage::times(entry.mtime_ns);
            rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn finish(self, path: String) -> Result<Imported, PortError> {
        let kept = self.kept.as_ref().map(|_| self.kept_at.display().to_string());
        let (files, bytes) = (self.files, self.bytes);
        self.stage.close();
        if self.failed.is_empty() {
            return Ok(Imported { path, files, bytes, kept });
        }
        let first: Vec<String> =
            self.failed.iter().take(LISTED).map(|(path, why)| format!("{}: {why}", names::escape(path))).collect();
        let n = self.failed.len();
        Err(PortError::permanent(format!("{path}: {n} paths could not be restored ({})", first.join("; "))))
    }
}

fn flush(dir: &OwnedFd) -> Result<(), Skip> {
    Ok(rustix::fs::fsync(dir)?)
}

fn copy(dir: &OwnedFd, name: &[u8], into: impl AsFd, to: &[u8], facts: &Facts) -> io::Result<()> {
    if facts.kind == Kind::Symlink {
        return Ok(rustix::fs::symlinkat(handle::read_link(dir, name)?.as_slice(), into, to)?);
    }
    let mut from = handle::open_file(dir, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::openat(into, to, flags, Mode::from_raw_mode(0o600))?);
    io::copy(&mut from, &mut file)?;
    rustix::fs::futimens(&file, &stage::times(facts.stamp.mtime_ns))?;
    file.sync_all()
}
