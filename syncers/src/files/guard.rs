//! What stops a sync before the first write, and who may write at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Fence, SpokeName};
use cathedral_model::plan::Guard;
use cathedral_model::ports::{Cause, PortError};
use rustix::fs::{FlockOperation, Mode, OFlags};

use super::handle::{self, Root};
use super::names::MARKER;
use super::sound::{HEAL, is_marker};

/// Noted in place of a marker after a restore: whichever marker stands there, if any, is taken as it is by the next
/// sync. What was agreed before says nothing about what was written since, so that sync compares both sides afresh.
const RESTORED: &[u8] = b"{\"schema\":\"cathedral.root/v1\",\"restored\":true}\n";

/// A longer marker is not ours.
const MARKER_BYTES: u64 = 4096;

/// Above this share (percent) and this number, vanished files wait for a person.
const MASS_PERCENT: usize = 20;
const MASS_ITEMS: usize = 5;

/// Says whether removing so many of so many files needs a person.
pub fn mass_deletion(side: Side, removed: usize, of: usize) -> Option<Guard> {
    (removed > MASS_ITEMS && removed * 100 > of * MASS_PERCENT).then(|| Guard {
        name: "mass_deletion".to_owned(),
        why: format!("{removed} of {of} files would be removed on the {}", side.as_str()),
    })
}

/// The hub's own notes about a pair of trees.
#[derive(Clone, Debug)]
pub struct Notes {
    state: PathBuf,
    spoke: SpokeName,
}

impl Notes {
    pub fn new(state: &Path, spoke: &SpokeName) -> Self {
        Self { state: state.to_owned(), spoke: spoke.clone() }
    }

    pub fn cache(&self, side: Side) -> PathBuf {
        self.state.join("scan").join(format!("{}.{}", self.spoke, side.as_str()))
    }

    pub fn versions(&self) -> PathBuf {
        self.state.join("versions").join(format!("{}.jsonl", self.spoke))
    }

    pub fn kept(&self, run: i64, side: &str) -> PathBuf {
        self.state.join("kept").join(run.to_string()).join(self.spoke.as_str()).join(side)
    }

    pub fn restored(&self, run: i64, place: &str) -> PathBuf {
        self.state.join("restored").join(format!("{}.{run}.{place}", self.spoke))
    }

    pub fn mark(&self, side: Side) -> PathBuf {
        self.state.join("marks").join(format!("{}.{}", self.spoke, side.as_str()))
    }

    pub fn fence(&self) -> PathBuf {
        self.state.join("fence").join(self.spoke.as_str())
    }

    /// Says whether a sync has ever written to this pair.
    pub fn is_known(&self) -> bool {
        [Side::Hub, Side::Spoke].into_iter().any(|side| self.mark(side).exists())
    }

    /// Compares a root's marker with the one that was written there.
    pub fn check_mark(&self, side: Side, root: Option<&Root>) -> Result<Option<Guard>, PortError> {
        let noted = match fs::read(self.mark(side)) {
            Ok(noted) => noted,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(PortError::io(self.mark(side).display(), &e)),
        };
        let Some(root) = root.filter(|_| !is_restored(&noted)) else { return Ok(None) };
        let guard = |name: &str, why: &str| {
            let why = format!("{why} {}, which is perhaps not the tree that was synced", root.path().display());
            Ok(Some(Guard { name: name.to_owned(), why }))
        };
        let found = read_marker(root).map_err(|e| PortError::io(format!("{}/{MARKER}", root.path().display()), &e))?;
        if found.as_ref() != Some(&noted) && !is_marker(&noted) {
            let note = self.mark(side);
            let why = format!(
                "the hub's note of the marker in {}, {}, is damaged; `{HEAL}` sets it aside, and the next sync compares \
                 both sides afresh and deletes nothing",
                root.path().display(),
                note.display()
            );
            return Ok(Some(Guard { name: "marker_damaged".to_owned(), why }));
        }
        match found {
            None => guard("marker_missing", "there is no marker in"),
            Some(found) if found != noted => guard("marker_foreign", "there is a foreign marker in"),
            Some(_) => Ok(None),
        }
    }

    /// Says whether a side was restored since the last sync.
    pub fn was_restored(&self) -> bool {
        [Side::Hub, Side::Spoke]
            .into_iter()
            .any(|side| fs::read(self.mark(side)).is_ok_and(|noted| is_restored(&noted)))
    }

    /// Notes that a person had a side written in place, where the marker that was noted does not stand any more.
    pub fn set_restored(&self, side: Side, root: &Root) -> Result<(), PortError> {
        if self.check_mark(side, Some(root))?.is_none() {
            return Ok(());
        }
        let note = self.mark(side);
        write_durably(&note, RESTORED).map_err(|e| PortError::io(note.display(), &e))
    }

    /// Writes the marker when there is none, and notes it.
    pub fn set_mark(&self, side: Side, root: &Root) -> Result<(), PortError> {
        let at = || format!("{}/{MARKER}", root.path().display());
        let found = read_marker(root).map_err(|e| PortError::io(at(), &e))?;
        let marker = match found {
            Some(marker) => marker,
            None => write_marker(root).map_err(|e| PortError::io(at(), &e))?,
        };
        let note = self.mark(side);
        if fs::read(&note).is_ok_and(|noted| noted == marker) {
            return Ok(());
        }
        write_durably(&note, &marker).map_err(|e| PortError::io(note.display(), &e))
    }

    /// Takes the right to write to this pair, until the returned value is dropped.
    pub fn lock(&self, fence: Fence) -> Result<Lock, PortError> {
        let lock = Lock { fence, at: self.fence(), _file: self.alone()? };
        if lock.newest()? < fence.0 {
            write_durably(&lock.at, fence.0.to_string().as_bytes())
                .map_err(|e| PortError::io(lock.at.display(), &e))?;
        }
        lock.check()?;
        Ok(lock)
    }

    /// Keeps every other hub away from the pair, as long as the file is open.
    pub fn alone(&self) -> Result<fs::File, PortError> {
        let path = self.state.join("lock").join(self.spoke.as_str());
        let io = |e: io::Error| PortError::io(path.display(), &e);
        fs::create_dir_all(path.parent().expect("it was joined above")).map_err(io)?;
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("another hub is writing to {} now", self.spoke);
                Err(PortError::transient(Cause::Busy, message))
            }
            Err(e) => Err(io(e.into())),
        }
    }
}

/// The right to write to a pair of trees.
#[derive(Debug)]
pub struct Lock {
    fence: Fence,
    at: PathBuf,
    _file: fs::File,
}

impl Lock {
    fn newest(&self) -> Result<i64, PortError> {
        read_fence(&self.at).map(|found| found.unwrap_or(i64::MIN))
    }

    /// Refuses when a newer holder has been seen.
    pub fn check(&self) -> Result<(), PortError> {
        let newest = self.newest()?;
        if newest > self.fence.0 {
            return Err(PortError::Fenced(format!("fence {} is older than {newest}", self.fence)));
        }
        Ok(())
    }
}

/// Reads the newest fence that was seen; none where there was none yet.
pub fn read_fence(path: &Path) -> Result<Option<i64>, PortError> {
    let damaged = || {
        let shown = path.display();
        PortError::Corrupt(format!("{shown} is damaged: it does not hold a fence; `{HEAL}` writes it anew"))
    };
    match fs::read(path) {
        Ok(bytes) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
            let fence = text.trim().parse().ok().filter(|fence| (0..=Fence::GREATEST.0).contains(fence));
            fence.map(Some).ok_or_else(damaged)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(PortError::io(path.display(), &e)),
    }
}

/// Whether this is what is noted after a restore.
pub fn is_restored(noted: &[u8]) -> bool {
    noted == RESTORED
}

fn read_marker(root: &Root) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![];
    match handle::open_file(root.fd(), MARKER.as_bytes()) {
        Ok(file) => io::Read::read_to_end(&mut io::Read::take(file, MARKER_BYTES), &mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Some(bytes))
}

fn write_marker(root: &Root) -> io::Result<Vec<u8>> {
    let mut nonce = [0; 16];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut nonce)?;
    let text = format!("{{\"schema\":\"cathedral.root/v1\",\"nonce\":\"{}\"}}\n", hex::encode(nonce));
    // Written aside and linked, so that two writers agree on one marker and nobody sees half of it.
    let aside = format!("{MARKER}.{}", hex::encode(&nonce[..4]));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::openat(root.fd(), &aside, flags, Mode::from_raw_mode(0o644))?);
    let linked =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
            match rustix::fs::linkat(root.fd(), &aside, root.fd(), MARKER, rustix::fs::AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
                Err(e) => Err(e.into()),
            }
        });
    rustix::fs::unlinkat(root.fd(), &aside, rustix::fs::AtFlags::empty())?;
    linked?;
    rustix::fs::fsync(root.fd())?;
    read_marker(root)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Writes a file of the hub's own so that it is whole and durable.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    let mut aside = tempfile::NamedTempFile::new_in(parent)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(path)?;
    fs::File::open(parent)?.sync_all()
}
