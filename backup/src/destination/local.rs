//! A folder on this machine.
//!
//! An object is written aside, flushed, and linked to its name, so that it is visible whole or not at
//! all and nothing is ever overwritten. Every access needs the vault's marker file, so that the empty
//! folder of a disk that is not mounted is told from an empty vault.

use cathedral_model::ids::DestinationName;
use cathedral_model::ports::destination::Put;
use cathedral_model::ports::{Cause, Destination, PortError};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::check_object;
use crate::vault_file;

/// Objects that are written before the marker exists.
fn is_founding(object: &str) -> bool {
    object == vault_file::OBJECT || object.starts_with("keys/") || crate::stock::FILES.iter().any(|(n, _)| *n == object)
}

/// A destination in a local folder.
#[derive(Debug)]
pub struct LocalDestination {
    name: DestinationName,
    root: PathBuf,
}

impl LocalDestination {
    /// Names a folder that holds a vault; nothing is touched yet.
    #[must_use]
    pub fn new(name: DestinationName, root: impl Into<PathBuf>) -> Self {
        Self { name, root: root.into() }
    }

    /// Makes the folder, for a new vault.
    pub fn create(&self) -> Result<(), PortError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(|e| self.failed("", &e))?;
        sync_dir(self.root.parent().unwrap_or(Path::new("/"))).map_err(|e| self.failed("", &e))
    }

    fn path(&self, object: &str) -> Result<PathBuf, PortError> {
        check_object(object).map_err(|why| {
            let shown: String = object.chars().take(120).collect();
            PortError::failed(Cause::Refused, format!("destination {}: object {shown:?}: {why}", self.name))
        })?;
        Ok(self.root.join(object))
    }

    fn require_marker(&self) -> Result<(), PortError> {
        match fs::symlink_metadata(self.root.join(vault_file::OBJECT)) {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(PortError::transient(
                Cause::Unreachable,
                format!("destination {}: {} holds no vault (is the disk mounted?)", self.name, self.root.display()),
            )),
            Err(e) => Err(self.failed(vault_file::OBJECT, &e)),
        }
    }

    /// Fails where an object must not be written: the disk may not be mounted.
    fn require_place(&self, object: &str) -> Result<(), PortError> {
        if !is_founding(object) {
            return self.require_marker();
        }
        if self.root.is_dir() {
            return Ok(());
        }
        Err(PortError::transient(
            Cause::Unreachable,
            format!("destination {}: {} is not there (is the disk mounted?)", self.name, self.root.display()),
        ))
    }

    fn failed(&self, object: &str, error: &std::io::Error) -> PortError {
        let what = format!("destination {}: {}", self.name, self.root.join(object).display());
        if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
            return PortError::transient(Cause::Unreachable, format!("{what}: {error}"));
        }
        PortError::io(what, error)
    }

    fn open(&self, object: &str) -> Result<File, PortError> {
        let path = self.path(object)?;
        let opened = fs::OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path);
        match opened {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.require_marker()?;
                Err(PortError::failed(Cause::NotFound, format!("destination {}: {object} is missing", self.name)))
            }
            Err(e) => Err(self.failed(object, &e)),
        }
    }

    /// Makes the folders of an object, each one durable in its parent.
    fn make_dirs(&self, path: &Path) -> std::io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if parent.is_dir() || !parent.starts_with(&self.root) {
            return Ok(());
        }
        self.make_dirs(parent)?;
        match fs::DirBuilder::new().mode(0o700).create(parent) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        parent.parent().map_or(Ok(()), sync_dir)
    }

    fn write_aside(&self, path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        self.make_dirs(path)?;
        let dir = path.parent().unwrap_or(&self.root);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let aside = dir.join(format!(".tmp-{}-{number}-{}", std::process::id(), hex::encode(random)));
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()
        })();
        if let Err(e) = written {
            let _ = fs::remove_file(&aside);
            return Err(e);
        }
        Ok(aside)
    }

    /// Says whether the object is there: same size is taken for the same content, since names are
    /// contents or ids; another size is never touched.
    fn compare(&self, object: &str, path: &Path, len: u64) -> Result<Option<Put>, PortError> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() && meta.len() == len => Ok(Some(Put::AlreadyThere)),
            Ok(meta) => Err(PortError::Corrupt(format!(
                "destination {}: {object} is there with {} bytes where {len} were to be written",
                self.name,
                meta.len()
            ))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(object, &e)),
        }
    }
}

impl Destination for LocalDestination {
    fn name(&self) -> &DestinationName {
        &self.name
    }

    fn location(&self) -> String {
        format!("file:{}", self.root.display())
    }

    fn put(&self, object: &str, bytes: &[u8]) -> Result<Put, PortError> {
        let path = self.path(object)?;
        self.require_place(object)?;
        let len = bytes.len() as u64;
        if let Some(found) = self.compare(object, &path, len)? {
            return Ok(found);
        }
        let aside = self.write_aside(&path, bytes).map_err(|e| self.failed(object, &e))?;
        let placed = match rustix::fs::renameat_with(CWD, &aside, CWD, &path, RenameFlags::NOREPLACE) {
            // File systems without that flag know links, which never replace anything either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                let linked = fs::hard_link(&aside, &path);
                let _ = fs::remove_file(&aside);
                linked
            }
            other => other.map_err(std::io::Error::from),
        };
        match placed {
            Ok(()) => {
                sync_dir(path.parent().unwrap_or(&self.root)).map_err(|e| self.failed(object, &e))?;
                Ok(Put::Stored)
            }
            Err(e) => {
                let _ = fs::remove_file(&aside);
                match e.kind() {
                    ErrorKind::AlreadyExists => {
                        self.compare(object, &path, len)?.ok_or_else(|| self.failed(object, &e))
                    }
                    _ => Err(self.failed(object, &e)),
                }
            }
        }
    }

    fn get(&self, object: &str) -> Result<Vec<u8>, PortError> {
        let mut file = self.open(object)?;
        let len = file.metadata().map_or(0, |m| m.len());
        let mut out = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        file.read_to_end(&mut out).map_err(|e| self.failed(object, &e))?;
        Ok(out)
    }

    fn get_range(&self, object: &str, offset: u64, len: u64) -> Result<Vec<u8>, PortError> {
        let mut file = self.open(object)?;
        let mut out = Vec::with_capacity(usize::try_from(len.min(1 << 26)).unwrap_or(0));
        file.seek(std::io::SeekFrom::Start(offset))
            .and_then(|_| file.take(len).read_to_end(&mut out))
            .map_err(|e| self.failed(object, &e))?;
        Ok(out)
    }

    fn size(&self, object: &str) -> Result<Option<u64>, PortError> {
        match fs::symlink_metadata(self.path(object)?) {
            Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
            Ok(_) => Err(PortError::Corrupt(format!("destination {}: {object} is not a file", self.name))),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.require_marker()?;
                Ok(None)
            }
            Err(e) => Err(self.failed(object, &e)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, PortError> {
        self.require_marker()?;
        let start = match prefix.strip_suffix('/') {
            Some(folder) => self.path(folder)?,
            None if prefix.is_empty() => self.root.clone(),
            None => {
                let message = format!("destination {}: prefix {prefix:?} does not end in '/'", self.name);
                return Err(PortError::failed(Cause::Refused, message));
            }
        };
        let mut found = Vec::new();
        let mut open = vec![(start, prefix.to_owned())];
        while let Some((folder, prefix)) = open.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(self.failed(&prefix, &e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| self.failed(&prefix, &e))?;
                // Files aside and whatever else a file system puts there are no objects.
                let Some(name) = entry.file_name().to_str().map(|n| format!("{prefix}{n}")) else { continue };
                if check_object(&name).is_err() {
                    continue;
                }
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => open.push((entry.path(), format!("{name}/"))),
                    Ok(meta) if meta.is_file() => found.push((name, meta.len())),
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(self.failed(&name, &e)),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn replace(&self, object: &str, bytes: &[u8]) -> Result<(), PortError> {
        let path = self.path(object)?;
        self.require_place(object)?;
        let aside = self.write_aside(&path, bytes).map_err(|e| self.failed(object, &e))?;
        if let Err(e) = fs::rename(&aside, &path) {
            let _ = fs::remove_file(&aside);
            return Err(self.failed(object, &e));
        }
        sync_dir(path.parent().unwrap_or(&self.root)).map_err(|e| self.failed(object, &e))
    }

    fn delete(&self, object: &str) -> Result<(), PortError> {
        let path = self.path(object)?;
        self.require_marker()?;
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(path.parent().unwrap_or(&self.root)).map_err(|e| self.failed(object, &e)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(self.failed(object, &e)),
        }
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    let fd = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fsync(fd)?;
    Ok(())
}
