//! Carries out the steps of a plan on one side.
//!
//! Order: what makes way, directories (parents first), contents, permissions, removals (children first). Contents
//! are staged in batches and made durable before the first of the batch gets its name, so that every file is old
//! or new after a power loss too. A step whose target has moved on is skipped and listed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use cathedral_model::conflict::tree::{Body, Node};
use cathedral_model::ids::Digest;
use cathedral_model::plan::Skipped;
use cathedral_model::ports::{Content, PortError};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::cache::Cache;
use super::guard::Lock;
use super::handle::{self, Facts, Kind, Root};
use super::hash;
use super::hook::Hook;
use super::names;
use super::stage::{self, Old, Skip, Stage};
use super::step::{Call, From, Step, safe_path_of};

const BATCH_FILES: usize = 2048;
const BATCH_BYTES: u64 = 64 << 20;
/// Up to this many files are flushed one by one; more of them by one flush of the file system.
const SINGLE_FLUSHES: usize = 16;

/// One side while it is written.
pub struct Writer<'a> {
    stage: Stage<'a>,
    other: Option<&'a Root>,
    cache: Cache,
    lock: &'a Lock,
    dirty: BTreeSet<Vec<u8>>,
    made: Vec<(Vec<u8>, u32)>,
    pub done: u64,
    pub skipped: Vec<Skipped>,
    /// Paths, escaped, on which something was not carried out.
    pub failed: BTreeSet<String>,
    /// What paths that are cleared for something else hold in the end.
    replaced: BTreeMap<String, Body>,
}

/// A step with its parsed parts.
struct Task<'s> {
    step: &'s Step,
    path: Vec<u8>,
    expect: Option<Node>,
    then: Option<Node>,
}

/// A content that waits for its name.
struct Staged<'s> {
    task: Task<'s>,
    name: Vec<u8>,
    found: Option<Facts>,
}

/// The name in the stage, and what stands in the target's place.
type Prepared = (Vec<u8>, Option<Facts>);

enum Found {
    /// What the step wants is there already.
    Done,
    Expected(Option<Facts>),
}

impl<'a> Writer<'a> {
    pub fn new(stage: Stage<'a>, other: Option<&'a Root>, cache: Cache, lock: &'a Lock) -> Self {
        Self {
            stage,
            other,
            cache,
            lock,
            dirty: BTreeSet::new(),
            made: vec![],
            done: 0,
            skipped: vec![],
            failed: BTreeSet::new(),
            replaced: BTreeMap::new(),
        }
    }

    fn root(&self) -> &'a Root {
        self.stage.root
    }

    fn hook(&self) -> &'a Hook {
        self.stage.hook
    }

    /// Carries out the steps, which come in their order.
    pub fn run(&mut self, steps: &[&Step]) -> Result<(), PortError> {
        let removed: BTreeSet<&str> =
            steps.iter().filter(|step| step.then.is_none()).map(|step| step.path.as_str()).collect();
        for step in steps.iter().filter(|step| removed.contains(step.path.as_str())) {
            if let Some(then) = &step.then {
                self.replaced.insert(step.path.clone(), then.node()?.body);
            }
        }
        let mut rest = steps;
        while let Some(first) = rest.first() {
            self.lock.check()?;
            let is_content = |step: &Step| matches!(step.op, Call::Write | Call::Symlink);
            if is_content(first) {
                let length = rest.iter().take_while(|step| is_content(step)).count();
                let (contents, later) = rest.split_at(length);
                self.contents(contents)?;
                rest = later;
            } else {
                let task = task(first)?;
                let outcome = self.simple(&task);
                self.count(&task, outcome);
                rest = &rest[1..];
            }
        }
        self.finish()
    }

    fn count(&mut self, task: &Task<'_>, outcome: Result<(), Skip>) {
        match outcome {
            Ok(()) => {
                self.done += 1;
                self.dirty.insert(names::split(&task.path).0.to_vec());
            }
            Err(why) => {
                self.failed.insert(task.step.path.clone());
                self.skipped.push(Skipped { target: task.step.path.clone(), why: why.to_string() });
            }
        }
    }

    /// Stages contents in batches, makes them durable, then gives them their names.
    fn contents(&mut self, steps: &[&Step]) -> Result<(), PortError> {
        let single = steps.len() <= SINGLE_FLUSHES;
        let mut batch = vec![];
        let mut bytes = 0;
        for (index, step) in steps.iter().enumerate() {
            let task = task(step)?;
            match self.prepare(&task, single) {
                Ok(None) => self.count(&task, Ok(())),
                Ok(Some((name, found))) => {
                    if let Some(Node { body: Body::File { size, .. }, .. }) = &task.then {
                        bytes += size;
                    }
                    batch.push(Staged { task, name, found });
                }
                Err(why) => self.count(&task, Err(why)),
            }
            if batch.len() >= BATCH_FILES || bytes >= BATCH_BYTES || index + 1 == steps.len() {
                self.lock.check()?;
                let flushed = if single || batch.is_empty() { Ok(()) } else { self.stage.flush() };
                for staged in batch.drain(..) {
                    let outcome = match &flushed {
                        Ok(()) => self.place(&staged),
                        Err(e) => Err(Skip::moved(format!("it cannot be made durable: {e}"))),
                    };
                    if outcome.is_err() {
                        self.stage.drop_file(&staged.name);
                    }
                    self.count(&staged.task, outcome);
                }
                bytes = 0;
            }
        }
        Ok(())
    }

    /// Stages a content, unless it is in place already.
    fn prepare(&mut self, task: &Task<'_>, flush: bool) -> Result<Option<Prepared>, Skip> {
        let (parent, name) = names::split(&task.path);
        let dir = self.parent(parent)?;
        let found = match self.look(&dir, name, task)? {
            Found::Done => return Ok(None),
            Found::Expected(found) => found,
        };
        let staged = match task.then.as_ref().map(|node| &node.body) {
            Some(Body::Symlink { target }) => self.stage.link(target)?,
            Some(Body::File { b3, .. }) => {
                let (staged, _) = self.copy(task, b3)?;
                let mode = task.then.as_ref().and_then(|node| node.mode);
                let mode = mode.or(found.filter(|f| f.kind == Kind::File).map(|f| f.mode)).unwrap_or(0o644);
                if let Err(e) = self.stage.dress(&staged, mode, task.step.mtime_ns, flush) {
                    self.stage.drop_file(&staged);
                    return Err(e.into());
                }
                staged
            }
            _ => return Err(Skip::moved("the plan names no content")),
        };
        Ok(Some((staged, found)))
    }

    fn copy(&mut self, task: &Task<'_>, b3: &[u8; 32]) -> Result<(Vec<u8>, [u8; 32]), Skip> {
        let id = Digest(*b3);
        if task.step.source == Some(From::Other) {
            let (parent, name) = names::split(&task.path);
            let other = self.other.ok_or_else(|| Skip::moved("the other side is not there"))?;
            let opened = other.dir(parent).and_then(|dir| handle::open_file(dir, name));
            let copied = opened.map_err(Skip::Io).and_then(|mut file| self.stage.file(&mut file, Some(b3)));
            // What has moved on there may still be in the store.
            match copied {
                Err(why) if !self.stage.content.has(&id)? => return Err(why),
                Err(_) => {}
                Ok(staged) => return Ok(staged),
            }
        }
        let mut stored = self.stage.content.open(&id)?;
        self.stage.file(&mut stored, Some(b3))
    }

    fn place(&mut self, staged: &Staged<'_>) -> Result<(), Skip> {
        let (parent, name) = names::split(&staged.task.path);
        let dir = self.parent(parent)?;
        let now = handle::stat(&dir, name)?;
        if now.map(|now| now.stamp) != staged.found.map(|found| found.stamp) {
            return Err(Skip::moved("it was changed since the plan was made"));
        }
        match (now, &staged.task.expect) {
            (Some(facts), Some(node)) => self.stage.place_over(&staged.name, &dir, name, &Old { node, facts }),
            _ => self.stage.place_new(&staged.name, &dir, name),
        }
    }

    fn simple(&mut self, task: &Task<'_>) -> Result<(), Skip> {
        let (parent, name) = names::split(&task.path);
        let dir = match self.parent(parent) {
            // Nothing is there, which is what was wanted.
            Err(Skip::Io(e)) if e.kind() == io::ErrorKind::NotFound && task.then.is_none() => return Ok(()),
            Err(_) if task.then.is_none() && self.is_within_replaced(&task.path) => return Ok(()),
            dir => dir?,
        };
        let found = match self.look(&dir, name, task)? {
            Found::Done => return Ok(()),
            Found::Expected(found) => found,
        };
        let mode = task.then.as_ref().and_then(|node| node.mode);
        match (task.step.op, found) {
            (Call::Mkdir, None) => {
                self.hook().reached("mkdir", &task.path)?;
                let mode = mode.unwrap_or(0o755);
                match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode | 0o700)) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => return Err(Skip::moved("something new stands there now")),
                    Err(e) => return Err(e.into()),
                }
                self.made.push((task.path.clone(), mode));
                Ok(())
            }
            (Call::Attrs, Some(facts)) => {
                self.hook().reached("chmod", &task.path)?;
                Ok(stage::chmod(&dir, name, &facts, mode.unwrap_or(facts.mode))?)
            }
            (Call::Remove, Some(facts)) => {
                let node = task.expect.as_ref().ok_or_else(|| Skip::moved("the plan does not say what it removes"))?;
                self.stage.take_out(&dir, name, &Old { node, facts })
            }
            (Call::Rmdir, Some(_)) => {
                self.hook().reached("rmdir", &task.path)?;
                match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Skip::moved("the directory is not empty")),
                    Err(e) => Err(e.into()),
                }
            }
            _ => Err(Skip::moved("it was changed since the plan was made")),
        }
    }

    /// Says whether this plan put something else in the place of a directory above, before a crash.
    fn is_within_replaced(&self, path: &[u8]) -> bool {
        !self.replaced.is_empty() && names::parents(path).any(|above| self.replaced.contains_key(&names::escape(above)))
    }

    fn parent(&self, path: &[u8]) -> Result<OwnedFd, Skip> {
        self.root().dir(path).map_err(|e| match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                Skip::moved("a directory above it was replaced by something else")
            }
            _ => Skip::Io(e),
        })
    }

    /// Compares what stands under a name with what the step wants and expects.
    fn look(&self, dir: &OwnedFd, name: &[u8], task: &Task<'_>) -> Result<Found, Skip> {
        let Some(facts) = handle::stat(dir, name)? else {
            return match (&task.then, &task.expect) {
                (None, _) => Ok(Found::Done),
                (_, None) => Ok(Found::Expected(None)),
                _ => Err(Skip::moved("it was removed since the plan was made")),
            };
        };
        let body = match facts.kind {
            Kind::Dir => Body::Dir,
            Kind::Symlink => Body::Symlink { target: handle::read_link(dir, name)? },
            Kind::Special => return Err(Skip::moved("it is no longer a file")),
            Kind::File => {
                let b3 = match self.cache.known(&task.path, &facts.stamp) {
                    Some(b3) => b3,
                    None => hash::hash(dir, name).map_err(|e| Skip::moved(e.to_string()))?.0,
                };
                Body::File { b3, size: facts.stamp.size }
            }
        };
        let is = |node: &Node| node.body == body && node.mode.is_none_or(|mode| mode == facts.mode & 0o777);
        if task.then.as_ref().is_some_and(is) {
            return Ok(Found::Done);
        }
        if task.then.is_none() && self.replaced.get(&task.step.path) == Some(&body) {
            return Ok(Found::Done); // Cleared and replaced before a crash.
        }
        // A directory that this plan made before a crash has not got its mode yet.
        if task.step.op == Call::Mkdir && body == Body::Dir && task.expect.is_none() {
            let mode = task.then.as_ref().and_then(|node| node.mode).unwrap_or(0o755);
            self.hook().reached("chmod", &task.path)?;
            stage::chmod(dir, name, &facts, mode)?;
            return Ok(Found::Done);
        }
        match &task.expect {
            Some(node) if is(node) => Ok(Found::Expected(Some(facts))),
            // Removing a directory does not depend on its rights.
            Some(node) if task.step.op == Call::Rmdir && node.body == body => Ok(Found::Expected(Some(facts))),
            None => Err(Skip::moved("something new stands there now")),
            _ => Err(Skip::moved("it was changed since the plan was made")),
        }
    }

    /// Gives new directories their rights and makes all names durable.
    fn finish(&mut self) -> Result<(), PortError> {
        for (path, mode) in std::mem::take(&mut self.made).into_iter().rev() {
            let (parent, name) = names::split(&path);
            let set = self.hook().reached("chmod", &path).map_err(Skip::Io).and_then(|()| {
                let dir = self.parent(parent)?;
                match handle::stat(&dir, name)? {
                    Some(facts) if facts.kind == Kind::Dir => Ok(stage::chmod(&dir, name, &facts, mode)?),
                    _ => Err(Skip::moved("the new directory was replaced meanwhile")),
                }
            });
            if let Err(why) = set {
                let target = names::escape(&path);
                self.failed.insert(target.clone());
                self.skipped.push(Skipped { target, why: why.to_string() });
            }
        }
        let flushed = self.hook().reached("fsync", b"").and_then(|()| {
            if self.dirty.len() > SINGLE_FLUSHES {
                return Ok(rustix::fs::syncfs(self.root().fd())?);
            }
            for dir in std::mem::take(&mut self.dirty) {
                match self.root().dir(&dir) {
                    Ok(fd) => rustix::fs::fsync(fd)?,
                    // Removed or replaced by a later step; the directory above it is flushed too.
                    Err(e) => match e.raw_os_error().map(Errno::from_raw_os_error) {
                        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        _ => return Err(e),
                    },
                }
            }
            Ok(())
        });
        flushed.map_err(|e| PortError::io(self.root().path().display(), &e))
    }

    /// Ends the work on this side.
    pub fn close(self) -> (u64, Vec<Skipped>, BTreeSet<String>) {
        self.stage.close();
        (self.done, self.skipped, self.failed)
    }
}

fn task(step: &Step) -> Result<Task<'_>, PortError> {
    let node = |thing: &Option<super::step::Thing>| thing.as_ref().map(super::step::Thing::node).transpose();
    Ok(Task { step, path: safe_path_of(&step.path)?, expect: node(&step.expect)?, then: node(&step.then)? })
}

/// Stores the content of a file unless it is stored, if it still is the one that is meant. Returns whether it is
/// in the store now.
pub fn store(content: &dyn Content, root: &Root, path: &[u8], b3: &[u8; 32]) -> Result<bool, PortError> {
    let id = Digest(*b3);
    if content.has(&id)? {
        return Ok(true);
    }
    let (parent, name) = names::split(path);
    let opened = root.dir(parent).and_then(|dir| {
        // Hashed first, so that a changed file does not fill the store.
        match hash::hash(&dir, name) {
            Ok((now, _)) if now == *b3 => Ok(Some(handle::open_file(&dir, name)?)),
            Ok(_) | Err(hash::ReadError::Unstable | hash::ReadError::Replaced) => Ok(None),
            Err(hash::ReadError::Io(e)) => Err(e),
        }
    });
    match opened {
        Ok(Some(file)) => Ok(content.put_from(&mut file.take(u64::MAX))?.0 == id),
        // It has moved on, or cannot be read now: then its step will not be carried out either.
        Ok(None) | Err(_) => Ok(false),
    }
}
