//! Where new content is prepared, in the file system of the target, and how it gets its name.
//!
//! Each call is atomic and checks, at the last moment, that what it replaces or removes is what was expected; what
//! comes out is looked at once more before it is let go, and put back when it is a surprise.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use cathedral_model::conflict::tree::{Body, Node};
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Content, PortError};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::handle::{self, Facts, Kind, Root};
use super::hash;
use super::hook::Hook;
use super::names::{self, STAGE};

const COPY_BYTES: usize = 128 << 10;

/// Why a step was not carried out; the others go on.
#[derive(Debug, thiserror::Error)]
pub enum Skip {
    #[error("{0}")]
    Moved(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<Errno> for Skip {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

impl Skip {
    pub(super) fn moved(why: impl Into<String>) -> Self {
        Self::Moved(why.into())
    }
}

/// A folder of one pair's side in the stage of a root.
pub struct Stage<'a> {
    pub root: &'a Root,
    pub hook: &'a Hook,
    pub content: &'a dyn Content,
    name: String,
    dir: OwnedFd,
    next: u64,
}

impl<'a> Stage<'a> {
    /// Opens the stage. Pairs that share a root have folders of their own.
    pub fn open(root: &'a Root, name: &str, hook: &'a Hook, content: &'a dyn Content) -> io::Result<Self> {
        for _ in 0..8 {
            hook.reached("stage", STAGE.as_bytes())?;
            make_dir(root.fd(), STAGE.as_bytes())?;
            let made = root.dir(STAGE.as_bytes()).and_then(|stage| {
                make_dir(&stage, name.as_bytes())?;
                root.dir(&names::join(STAGE.as_bytes(), name.as_bytes()))
            });
            match made {
                Ok(dir) => {
                    return Ok(Self { root, hook, content, name: name.to_owned(), dir, next: 0 });
                }
                // The other user of the stage has just removed it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Says whether a crash left something behind.
    pub fn is_left(root: &Root, name: &str) -> bool {
        root.dir(&names::join(STAGE.as_bytes(), name.as_bytes())).is_ok()
    }

    /// Empties the stage. A crash may have left here the only copy of a file that somebody wrote at the last
    /// moment, so every content is stored before it goes; returns what was stored.
    pub fn clear(&mut self) -> Result<Vec<(Vec<u8>, Digest)>, Skip> {
        let mut saved = vec![];
        let entries: Vec<Vec<u8>> = Dir::read_from(&self.dir)?
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_bytes().to_vec()))
            .filter(|name| name != b"." && name != b"..")
            .collect();
        for name in entries {
            if let Some(facts) = handle::stat(&self.dir, &name)? {
                if facts.kind == Kind::File && facts.stamp.size > 0 {
                    let (id, _) = self.content.put_from(&mut handle::open_file(&self.dir, &name)?)?;
                    saved.push((name.clone(), id));
                }
                self.hook.reached("unlink", &name)?;
                let flags = if facts.kind == Kind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                rustix::fs::unlinkat(&self.dir, &name, flags)?;
            }
        }
        Ok(saved)
    }

    /// Removes the stage when it is empty.
    pub fn close(self) {
        if self.hook.reached("unstage", STAGE.as_bytes()).is_err() {
            return;
        }
        if let Ok(stage) = self.root.dir(STAGE.as_bytes()) {
            let _ = rustix::fs::unlinkat(&stage, self.name.as_str(), AtFlags::REMOVEDIR);
            let _ = rustix::fs::unlinkat(self.root.fd(), STAGE, AtFlags::REMOVEDIR);
        }
    }

    fn fresh(&mut self) -> Vec<u8> {
        self.next += 1;
        self.next.to_string().into_bytes()
    }

    /// Writes a file aside and checks that it is what was promised; without a promise returns what it is.
    pub fn file(&mut self, from: &mut dyn Read, promised: Option<&[u8; 32]>) -> Result<(Vec<u8>, [u8; 32]), Skip> {
        let name = self.fresh();
        self.hook.reached("create", &name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let mut file = File::from(rustix::fs::openat(&self.dir, name.as_slice(), flags, mode)?);
        let copied = self.hook.reached("write", &name).and_then(|()| copy(from, &mut file));
        match copied {
            Ok(b3) if promised.is_none_or(|promised| *promised == b3) => Ok((name, b3)),
            Ok(_) => {
                self.drop_file(&name);
                Err(Skip::moved("the content to be copied has changed since the plan was made"))
            }
            Err(e) => {
                self.drop_file(&name);
                Err(e.into())
            }
        }
    }

    /// Sets what belongs to a staged file besides its bytes.
    pub fn dress(&self, name: &[u8], mode: u32, mtime_ns: Option<i64>, flush: bool) -> io::Result<()> {
        self.hook.reached("chmod", name)?;
        let file = File::from(rustix::fs::openat(&self.dir, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
        if let Some(ns) = mtime_ns {
            rustix::fs::futimens(&file, &times(ns))?;
        }
        if flush {
            self.hook.reached("fsync", name)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Makes a link aside.
    pub fn link(&mut self, target: &[u8]) -> Result<Vec<u8>, Skip> {
        let name = self.fresh();
        self.hook.reached("symlink", &name)?;
        rustix::fs::symlinkat(target, &self.dir, name.as_slice())?;
        Ok(name)
    }

    /// Makes everything staged so far durable.
    pub fn flush(&self) -> io::Result<()> {
        self.hook.reached("syncfs", b"")?;
        Ok(rustix::fs::syncfs(&self.dir)?)
    }

    pub fn drop_file(&self, name: &[u8]) {
        if self.hook.reached("unlink", name).is_ok() {
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
    }

    /// Gives a staged thing its name, where nothing may stand.
    pub fn place_new(&self, staged: &[u8], dir: impl AsFd, name: &[u8]) -> Result<(), Skip> {
        self.hook.reached("rename", name)?;
        match rustix::fs::renameat_with(&self.dir, staged, dir.as_fd(), name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(Skip::moved("something new stands there now")),
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::linkat(&self.dir, staged, dir.as_fd(), name, AtFlags::empty()) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => return Err(Skip::moved("something new stands there now")),
                    Err(e) => return Err(e.into()),
                }
                self.drop_file(staged);
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Gives a staged thing its name in exchange for what is expected there, which is let go of.
    pub fn place_over(&self, staged: &[u8], dir: impl AsFd, name: &[u8], old: &Old<'_>) -> Result<(), Skip> {
        self.hook.reached("exchange", name)?;
        match rustix::fs::renameat_with(&self.dir, staged, dir.as_fd(), name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(Skip::moved("it was removed meanwhile")),
            Err(Errno::INVAL | Errno::NOSYS) => return self.place_over_without_exchange(staged, dir, name, old),
            Err(e) => return Err(e.into()),
        }
        if let Err(why) = self.examine(staged, old) {
            self.hook.reached("exchange", name)?;
            rustix::fs::renameat_with(&self.dir, staged, dir.as_fd(), name, RenameFlags::EXCHANGE)?;
            self.drop_file(staged);
            return Err(why);
        }
        self.let_go(staged, old)
    }

    fn place_over_without_exchange(
        &self,
        staged: &[u8],
        dir: impl AsFd,
        name: &[u8],
        old: &Old<'_>,
    ) -> Result<(), Skip> {
        let aside = [staged, b".old"].concat();
        rustix::fs::linkat(dir.as_fd(), name, &self.dir, aside.as_slice(), AtFlags::empty())?;
        if let Err(why) = self.examine(&aside, old) {
            self.drop_file(&aside);
            return Err(why);
        }
        rustix::fs::renameat(&self.dir, staged, dir.as_fd(), name)?;
        self.let_go(&aside, old)
    }

    /// Removes what is expected under a name.
    pub fn take_out(&mut self, dir: impl AsFd, name: &[u8], old: &Old<'_>) -> Result<(), Skip> {
        let aside = self.fresh();
        self.hook.reached("take", name)?;
        rename_new(dir.as_fd(), name, self.dir.as_fd(), &aside)?;
        if let Err(why) = self.examine(&aside, old) {
            self.hook.reached("rename", name)?;
            if rename_new(self.dir.as_fd(), &aside, dir.as_fd(), name).is_err() {
                // Somebody was quicker: the next start stores what lies here.
                return Err(Skip::moved("it was changed and replaced at the same moment; the older one is kept"));
            }
            return Err(why);
        }
        self.let_go(&aside, old)
    }

    /// Exchanges a staged thing with whatever stands under a name, which is in its place then.
    pub fn exchange(&self, staged: &[u8], dir: impl AsFd, name: &[u8]) -> Result<Facts, Skip> {
        self.hook.reached("exchange", name)?;
        match rustix::fs::renameat_with(&self.dir, staged, dir.as_fd(), name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = [staged, b".old"].concat();
                rustix::fs::linkat(dir.as_fd(), name, &self.dir, aside.as_slice(), AtFlags::empty())?;
                rustix::fs::renameat(&self.dir, staged, dir.as_fd(), name)?;
                rustix::fs::renameat(&self.dir, aside.as_slice(), &self.dir, staged)?;
            }
            Err(e) => return Err(e.into()),
        }
        handle::stat(&self.dir, staged)?.ok_or_else(|| Skip::moved("the stage was changed by somebody else"))
    }

    /// Takes whatever stands under a name into the stage.
    pub fn withdraw(&mut self, dir: impl AsFd, name: &[u8]) -> Result<(Vec<u8>, Facts), Skip> {
        let aside = self.fresh();
        self.hook.reached("take", name)?;
        rename_new(dir, name, self.dir.as_fd(), &aside)?;
        let facts = handle::stat(&self.dir, &aside)?;
        Ok((aside, facts.ok_or_else(|| Skip::moved("the stage was changed by somebody else"))?))
    }

    /// Opens the stage's folder.
    pub fn dir(&self) -> io::Result<OwnedFd> {
        self.dir.try_clone()
    }

    pub fn unlink(&self, name: &[u8]) -> Result<(), Skip> {
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    /// Checks that what came out is what was expected.
    fn examine(&self, name: &[u8], old: &Old<'_>) -> Result<(), Skip> {
        let surprise = || Skip::moved("it was changed at the last moment");
        let found = handle::stat(&self.dir, name)?.ok_or_else(surprise)?;
        if found.is_same_file(&old.facts) && found.kind != Kind::Symlink {
            return Ok(());
        }
        match &old.node.body {
            Body::File { b3, .. } if found.kind == Kind::File => {
                let (now, _) = hash::hash(&self.dir, name).map_err(|_| surprise())?;
                if now == *b3 { Ok(()) } else { Err(surprise()) }
            }
            Body::Symlink { target } if found.kind == Kind::Symlink => {
                if handle::read_link(&self.dir, name)? == *target { Ok(()) } else { Err(surprise()) }
            }
            _ => Err(surprise()),
        }
    }

    /// Removes what came out, once its content is stored.
    fn let_go(&self, name: &[u8], old: &Old<'_>) -> Result<(), Skip> {
        if let Body::File { b3, .. } = &old.node.body
            && !self.content.has(&Digest(*b3))?
        {
            self.content.put_from(&mut handle::open_file(&self.dir, name)?)?;
        }
        self.hook.reached("unlink", name)?;
        rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?;
        Ok(())
    }
}

/// What is expected under a name.
pub struct Old<'a> {
    pub node: &'a Node,
    pub facts: Facts,
}

fn make_dir(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn rename_new(from: impl AsFd, name: &[u8], to: impl AsFd, new: &[u8]) -> Result<(), Skip> {
    match rustix::fs::renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(Skip::moved("it was removed meanwhile")),
        Err(Errno::EXIST) => Err(Skip::moved("something new stands there now")),
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(&from, name, &to, new, AtFlags::empty())?;
            Ok(rustix::fs::unlinkat(&from, name, AtFlags::empty())?)
        }
        Err(e) => Err(e.into()),
    }
}

/// Copies to the end, leaving holes where there are only zeros, and returns the digest.
fn copy(from: &mut dyn Read, to: &mut File) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = [0; COPY_BYTES];
    let (mut size, mut hole) = (0_u64, false);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buffer[..n]);
        hole = n >= 4096 && buffer[..n].iter().all(|b| *b == 0);
        if hole {
            io::Seek::seek(to, io::SeekFrom::Current(n as i64))?;
        } else {
            to.write_all(&buffer[..n])?;
        }
        size += n as u64;
    }
    if hole {
        to.set_len(size)?;
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Times for a file whose modification time is given and whose access time stays.
pub fn times(mtime_ns: i64) -> Timestamps {
    let seconds = mtime_ns.div_euclid(1_000_000_000);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: mtime_ns.rem_euclid(1_000_000_000) },
    }
}

/// Changes the permission bits of what stands under a name, without following it.
pub fn chmod(dir: impl AsFd, name: &[u8], facts: &Facts, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode((facts.mode & 0o7000) | (mode & 0o777));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()) {
        Ok(fd) => same(&fd, facts).and_then(|()| Ok(rustix::fs::fchmod(&fd, mode)?)),
        // Not readable for its owner: by a handle that only names it.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            same(&fd, facts)?;
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            Ok(rustix::fs::chmod(path, mode)?)
        }
        Err(e) => Err(e.into()),
    }
}

fn same(fd: &OwnedFd, facts: &Facts) -> io::Result<()> {
    let now = Facts::of(&rustix::fs::fstat(fd)?);
    if (now.kind, now.stamp.dev, now.stamp.ino) == (facts.kind, facts.stamp.dev, facts.stamp.ino) {
        return Ok(());
    }
    Err(io::Error::other("it was replaced meanwhile"))
}
