//! Durable files: written aside, synced, renamed, and their folders synced.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::LogError;

/// Makes the entries of a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| LogError::io(dir, e))
}

/// Creates a folder and those above it, durably.
pub fn make_dirs(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dirs(parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(LogError::io(dir, e)),
            _ => sync_dir(parent)?,
        }
    }
    Ok(())
}

/// Several files replaced one by one, whose folders are synced together at the end.
#[derive(Default)]
pub struct Staged {
    dirs: BTreeSet<PathBuf>,
}

impl Staged {
    /// Replaces a file by `bytes`; durable in itself, its name only after [`Self::finish`].
    pub fn put(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), LogError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        make_dirs(dir)?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let aside = dir.join(name);
        let write = || -> io::Result<()> {
            // A left-over of a crash may carry another mode.
            match fs::remove_file(&aside) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&aside, path)
        };
        write().map_err(|e| LogError::io(path, e))?;
        self.dirs.insert(dir.to_owned());
        Ok(())
    }

    /// Notes a folder whose entries changed.
    pub fn touch(&mut self, dir: &Path) {
        self.dirs.insert(dir.to_owned());
    }

    /// Makes every name durable.
    pub fn finish(self) -> Result<(), LogError> {
        self.dirs.iter().try_for_each(|d| sync_dir(d))
    }
}

/// Replaces one file durably.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LogError> {
    let mut staged = Staged::default();
    staged.put(path, bytes, mode)?;
    staged.finish()
}

/// Reads a file of at most `limit` bytes; nothing when there is none.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LogError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LogError::io(path, e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| LogError::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(LogError::corrupt_at(path, format!("larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}
