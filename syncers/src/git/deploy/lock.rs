//! The lock on the index of a person's working tree, and whether the git that made it is gone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::failure::GitError;

/// So long a lock must stay as it is.
const STILL: Duration = Duration::from_secs(2);

/// A lock as it was found.
pub struct Lock {
    path: PathBuf,
    found: Option<fs::Metadata>,
    /// No lock of ours is older.
    since: SystemTime,
}

impl Lock {
    /// Looks at it.
    pub fn look(path: &Path, since: SystemTime) -> Self {
        Self { path: path.to_owned(), found: fs::symlink_metadata(path).ok(), since }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.found.is_some()
    }

    /// Takes it: where there is none, by making it; where there is one that can be ours, has not changed for a
    /// while, and no git works there, as it is. Where the processes of the machine cannot be seen, nobody knows.
    pub fn take(&self, work: &Path, dir: &Path) -> bool {
        let Some(found) = &self.found else { return fs::File::create_new(&self.path).is_ok() };
        if git_works_in(&[work, dir]) {
            return false;
        }
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        let (true, Ok(changed)) = (is_ours && found.is_file(), found.modified()) else { return false };
        if changed < self.since {
            return false;
        }
        let age = changed.elapsed().unwrap_or_default();
        if age < STILL {
            std::thread::sleep(STILL.saturating_sub(age));
        }
        let same = |now: &fs::Metadata| {
            (now.ino(), now.len(), now.modified().ok()) == (found.ino(), found.len(), Some(changed))
        };
        fs::symlink_metadata(&self.path).is_ok_and(|now| same(&now)) && !git_works_in(&[work, dir])
    }

    /// Gives it back.
    pub fn release(&self) -> Result<(), GitError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(GitError::io(self.path.display(), &e)),
            _ => Ok(()),
        }
    }
}

/// Whether a git runs in one of these folders, or might: also where that cannot be seen.
fn git_works_in(folders: &[&Path]) -> bool {
    let folders: Vec<PathBuf> = folders.iter().filter_map(|f| f.canonicalize().ok()).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    if fs::read_link("/proc/self/cwd").is_err() {
        return true;
    }
    processes.flatten().any(|process| {
        let is_git = fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.starts_with("git"));
        is_git
            && match fs::read_link(process.path().join("cwd")) {
                Ok(cwd) => folders.iter().any(|folder| cwd.starts_with(folder)),
                Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
            }
    })
}
