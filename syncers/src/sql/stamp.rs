//! Knowing an unchanged database without reading it.
//!
//! Every commit changes the change counter in the header (rollback journal) or the header of the WAL index
//! (WAL), which readers share through the `-shm` file. Both are read here beside the stamps of the files, so two
//! commits within one tick of the clock are told apart.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use cathedral_model::ports::PortError;
use serde::{Deserialize, Serialize};

use super::open::beside;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    main: FileStamp,
    wal: Option<FileStamp>,
    /// Bytes 24..100 of the main file: change counter, sizes, schema cookie, version-valid-for.
    header: String,
    /// The header of the WAL index.
    index: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileStamp(u64, u64, u64, i64, i64);

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let m = fs::metadata(path).ok()?;
        let ns = |s: i64, n: i64| s.wrapping_mul(1_000_000_000).wrapping_add(n);
        Some(Self(m.dev(), m.ino(), m.size(), ns(m.mtime(), m.mtime_nsec()), ns(m.ctime(), m.ctime_nsec())))
    }
}

/// Returns the stamp of a database; none when it cannot be relied on.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    // What is no file is looked at anew each time, and named; to open a pipe would wait for a writer.
    let odd = |suffix: &&str| fs::metadata(beside(path, suffix)).is_ok_and(|m| !m.is_file());
    if ["", "-wal", "-shm", "-journal"].iter().any(odd) {
        return None;
    }
    if fs::metadata(beside(path, "-journal")).is_ok_and(|m| m.len() > 0) {
        return None;
    }
    let wal = FileStamp::of(&beside(path, "-wal")).filter(|w| w.2 > 0);
    let index = match &wal {
        Some(_) => hex::encode(begin(&beside(path, "-shm"), 0, 48)?),
        None => String::new(),
    };
    let header = hex::encode(begin(path, 24, 76)?);
    Some(Stamp { main: FileStamp::of(path)?, wal, header, index })
}

fn begin(path: &Path, skip: usize, bytes: usize) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    File::open(path).ok()?.take((skip + bytes) as u64).read_to_end(&mut all).ok()?;
    (all.len() == skip + bytes).then(|| all.split_off(skip))
}

/// Raised whenever the same database gets another digest than before.
const RULES: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Entry {
    /// None was written down at first.
    #[serde(default)]
    rules: u32,
    stamp: Stamp,
    state: SideState,
    warnings: Vec<String>,
}

/// Remembered states by path. Disposable.
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn file(&self, path: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let name = Digest::of(path.as_os_str().as_bytes()).to_string();
        self.dir.join(format!("{}.json", &name[..32]))
    }

    /// Returns what was read when the file had this stamp.
    pub fn get(&self, path: &Path, stamp: &Stamp) -> Option<(SideState, Vec<String>)> {
        let entry: Entry = serde_json::from_slice(&fs::read(self.file(path)).ok()?).ok()?;
        (entry.rules == RULES && entry.stamp == *stamp).then_some((entry.state, entry.warnings))
    }

    /// Remembers a state that was read while the file kept this stamp. Losing it costs a scan, so it is not synced.
    pub fn put(&self, path: &Path, stamp: Stamp, state: &SideState, warnings: &[String]) -> Result<(), PortError> {
        let entry = Entry { rules: RULES, stamp, state: state.clone(), warnings: warnings.to_vec() };
        let write = || {
            fs::create_dir_all(&self.dir)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            serde_json::to_writer(&mut file, &entry)?;
            file.persist(self.file(path)).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e: std::io::Error| PortError::io(self.dir.display(), &e))
    }
}
