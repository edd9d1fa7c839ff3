//! A tree in a place of its own: built aside, then given its name in one step.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use cathedral_model::ecosystem::Spoke;
use cathedral_model::ids::{Digest, RunId};
use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use cathedral_model::ports::{Cause, PortError, Source};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::super::FilesSyncer;
use super::super::guard::write_durably;
use super::super::handle::Root;
use super::super::{names, stage};
use super::check;

/// What was built for a place, so that a repetition knows its own work.
#[derive(Serialize, Deserialize)]
struct Note {
    dev: u64,
    ino: u64,
    files: u64,
    bytes: u64,
}

/// Writes a tree to a place where nothing, or an empty folder, stands.
pub fn into_new(
    syncer: &FilesSyncer,
    spoke: &Spoke,
    path: &Path,
    source: &mut dyn Source,
    run: RunId,
) -> Result<Imported, PortError> {
    let fault = |e: io::Error| PortError::io(path.display(), &e);
    let tag = &Digest::of(path.as_os_str().as_encoded_bytes()).to_string()[..12];
    let note_at = syncer.notes(spoke).restored(run.0, tag);
    let imported =
        |note: &Note| Imported { path: path.display().to_string(), files: note.files, bytes: note.bytes, kept: None };
    let noted: Option<Note> = fs::read(&note_at).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(fault(e)),
        Ok(meta) => {
            if let Some(note) = noted.filter(|note| (note.dev, note.ino) == (meta.dev(), meta.ino())) {
                return Ok(imported(&note)); // A crash came right after the last step.
            }
            let is_empty = meta.is_dir() && fs::read_dir(path).map_err(fault)?.next().is_none();
            if !is_empty {
                let message = format!("{} is not an empty folder", path.display());
                return Err(PortError::failed(Cause::Refused, message));
            }
        }
    }
    let absolute = std::path::absolute(path).map_err(fault)?;
    let parent = absolute.parent().ok_or_else(|| fault(io::ErrorKind::InvalidInput.into()))?;
    fs::create_dir_all(parent).map_err(fault)?;
    let aside: PathBuf = parent.join(OsString::from(format!(".cathedral-restore-{run}-{tag}")));
    match fs::remove_dir_all(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault(e)),
        _ => {}
    }
    syncer.hook.reached("mkdir", b"").and_then(|()| fs::DirBuilder::new().mode(0o700).create(&aside)).map_err(fault)?;
    let root = Root::open(&aside).map_err(fault)?.ok_or_else(|| fault(io::ErrorKind::NotFound.into()))?;
    let mut builder = Builder { syncer, root: &root, dirs: vec![], files: 0, bytes: 0 };
    source.entries(&mut |entry, content| builder.entry(entry, content))?;
    builder.finish()?;
    let meta = fs::metadata(&aside).map_err(fault)?;
    let note = Note { dev: meta.dev(), ino: meta.ino(), files: builder.files, bytes: builder.bytes };
    let text = serde_json::to_vec(&note).map_err(|e| PortError::permanent(e.to_string()))?;
    write_durably(&note_at, &text).map_err(|e| PortError::io(note_at.display(), &e))?;
    syncer.hook.reached("rename", b"").map_err(fault)?;
    // The mode of a folder that people make.
    fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(fault)?;
    fs::rename(&aside, &absolute).map_err(fault)?;
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(fault)?;
    Ok(imported(&note))
}

struct Builder<'a> {
    syncer: &'a FilesSyncer,
    root: &'a Root,
    /// Rights and times are set at the end: writing into a directory changes its time.
    dirs: Vec<TreeEntry>,
    files: u64,
    bytes: u64,
}

impl Builder<'_> {
    fn entry(&mut self, entry: &TreeEntry, content: Option<&mut dyn Read>) -> Result<(), PortError> {
        check(entry)?;
        let fault = |e: io::Error| PortError::io(names::escape(&entry.path), &e);
        let (parent, name) = names::split(&entry.path);
        let dir = self.root.dir(parent).map_err(fault)?;
        match (&entry.kind, content) {
            (EntryKind::Dir, _) => {
                self.syncer.hook.reached("mkdir", &entry.path).map_err(fault)?;
                rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)).map_err(|e| fault(e.into()))?;
                self.dirs.push(entry.clone());
            }
            (EntryKind::Symlink { target }, _) => {
                self.syncer.hook.reached("symlink", &entry.path).map_err(fault)?;
                rustix::fs::symlinkat(target.as_slice(), &dir, name).map_err(|e| fault(e.into()))?;
                let times = stage::times(entry.mtime_ns);
                rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| fault(e.into()))?;
            }
            (EntryKind::File { .. }, Some(content)) => {
                self.syncer.hook.reached("create", &entry.path).map_err(fault)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600));
                let mut file = File::from(opened.map_err(|e| fault(e.into()))?);
                self.bytes += copy(content, &mut file).map_err(fault)?;
                self.files += 1;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o777)).map_err(|e| fault(e.into()))?;
                rustix::fs::futimens(&file, &stage::times(entry.mtime_ns)).map_err(|e| fault(e.into()))?;
            }
            (EntryKind::File { .. }, None) => {
                let shown = names::escape(&entry.path);
                return Err(PortError::Corrupt(format!("the snapshot has no content for {shown}")));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), PortError> {
        for entry in self.dirs.iter().rev() {
            let fault = |e: io::Error| PortError::io(names::escape(&entry.path), &e);
            let dir = self.root.dir(&entry.path).map_err(fault)?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(entry.mode & 0o777)).map_err(|e| fault(e.into()))?;
            rustix::fs::futimens(&dir, &stage::times(entry.mtime_ns)).map_err(|e| fault(e.into()))?;
        }
        let flushed = self.syncer.hook.reached("syncfs", b"").and_then(|()| Ok(rustix::fs::syncfs(self.root.fd())?));
        flushed.map_err(|e| PortError::io(self.root.path().display(), &e))
    }
}

fn copy(from: &mut dyn Read, to: &mut File) -> io::Result<u64> {
    let mut buffer = [0; 128 << 10];
    let mut size = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                size += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
