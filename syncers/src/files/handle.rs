//! A tree's root as an open handle: every path is resolved below it, and no link is ever followed.
//!
//! `openat2` does that in one call; where the kernel lacks it (`ENOSYS`), or a sandbox hides it, each part is
//! opened by itself with `O_NOFOLLOW`. Paths longer than the system's limit are walked in pieces.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cathedral_model::ports::vault::Stamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Longest path given to one call; the system's limit is 4,096.
const PIECE_BYTES: usize = 2048;

/// The kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    /// A pipe, socket or device.
    Special,
}

/// What a stat call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub stamp: Stamp,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Whether fewer bytes are allocated than the size says.
    pub is_sparse: bool,
}

impl Facts {
    pub(super) fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        // Field types differ between architectures.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "field types differ by architecture")]
        let stamp = Stamp {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        };
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        Self { kind, stamp, mode: stat.st_mode & 0o7777, is_sparse: allocated < stamp.size }
    }

    /// Says whether this is the same file with the same content, although it may have been renamed since
    /// (which changes its `ctime`).
    pub fn is_same_file(&self, other: &Self) -> bool {
        let id = |facts: &Self| (facts.kind, facts.stamp.dev, facts.stamp.ino, facts.stamp.size, facts.stamp.mtime_ns);
        id(self) == id(other)
    }
}

/// An opened root.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    dev: u64,
    path: PathBuf,
    walk_only: AtomicBool,
}

impl Root {
    /// Opens a root; none when there is nothing at that place.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let dev = Facts::of(&rustix::fs::fstat(&fd)?).stamp.dev;
        Ok(Some(Self { fd, dev, path: path.to_owned(), walk_only: AtomicBool::new(false) }))
    }

    /// Stops using `openat2`, as on old kernels.
    #[cfg(test)]
    pub fn without_openat2(self) -> Self {
        self.walk_only.store(true, Ordering::Relaxed);
        self
    }

    /// Returns where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file system it is on; mounts below are not crossed.
    pub fn dev(&self) -> u64 {
        self.dev
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a directory below the root; the empty path is the root itself.
    pub fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        if !path.is_empty() && path.split(|b| *b == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
            return Err(Errno::INVAL.into());
        }
        let mut at: Option<OwnedFd> = None;
        let mut rest = path;
        while !rest.is_empty() {
            let end = if rest.len() <= PIECE_BYTES {
                rest.len()
            } else {
                // A name has at most 255 bytes, so there is a separator.
                rest[..=PIECE_BYTES].iter().rposition(|b| *b == b'/').ok_or(Errno::NAMETOOLONG)?
            };
            let next = self.piece(at.as_ref().map_or(self.fd.as_fd(), |fd| fd.as_fd()), &rest[..end])?;
            at = Some(next);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        match at {
            Some(fd) => Ok(fd),
            None => Ok(rustix::fs::openat(&self.fd, c".", DIR, Mode::empty())?),
        }
    }

    fn piece(&self, at: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
        let how =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        if !self.walk_only.load(Ordering::Relaxed) {
            for _ in 0..16 {
                match rustix::fs::openat2(at, path, DIR, Mode::empty(), how) {
                    Ok(fd) => return Ok(fd),
                    // Something was renamed meanwhile.
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.walk_only.store(true, Ordering::Relaxed);
                        break;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        }
        let mut fd: Option<OwnedFd> = None;
        for name in path.split(|b| *b == b'/') {
            let next = rustix::fs::openat(fd.as_ref().map_or(at, |fd| fd.as_fd()), name, DIR, Mode::empty())?;
            if Facts::of(&rustix::fs::fstat(&next)?).stamp.dev != self.dev {
                return Err(Errno::XDEV.into());
            }
            fd = Some(next);
        }
        fd.ok_or_else(|| Errno::INVAL.into())
    }
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns what stands under a name, without following it; none when nothing does.
pub fn stat(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Facts>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Facts::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Opens a file for reading; a link or a pipe put there meanwhile is not followed and not waited for.
pub fn open_file(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}

/// Returns what an open file is.
pub fn facts(file: &File) -> io::Result<Facts> {
    Ok(Facts::of(&rustix::fs::fstat(file)?))
}

/// Returns where a link points.
pub fn read_link(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// Views bytes as a system path.
pub fn os(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_path_leads_out_of_the_root_on_either_way() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        symlink("b", root.join("a/inside")).unwrap();
        for walk in [false, true] {
            let mut opened = Root::open(&root).unwrap().unwrap();
            if walk {
                opened = opened.without_openat2();
            }
            for good in ["", "a", "a/b"] {
                assert!(opened.dir(good.as_bytes()).is_ok(), "{good} walk {walk}");
            }
            for bad in ["out", "a/up", "a/up/a", "a/inside", "..", "a/../a", "/etc", "missing"] {
                assert!(opened.dir(bad.as_bytes()).is_err(), "{bad} walk {walk}");
            }
        }
        assert!(Root::open(&dir.path().join("missing")).unwrap().is_none());
    }
}
