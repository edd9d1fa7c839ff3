//! Locks that a killed git left in a store of the hub's own.
//!
//! One hub writes there, and it holds the lock of its folder. So a lock is nobody's when no living process works
//! in the store and the file stays as it is for a while. The repositories of people are never looked at.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long a lock must stay as it is while nobody works in the store.
const STILL: Duration = Duration::from_secs(2);
/// The same where the processes of the machine cannot be listed.
const STILL_UNSEEN: Duration = Duration::from_secs(60);
/// So long another git is given to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

type Locks = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

/// Waits until the locks of a store are free or nobody's, and removes those; says whether to try again.
pub fn remove_stale(store: &Path) -> bool {
    let begun = Instant::now();
    let mut known = locks(store);
    if known.is_empty() {
        return false;
    }
    let mut since = begun;
    loop {
        let now = locks(store);
        if now.is_empty() {
            return true;
        }
        let working = works_in(store);
        if now != known || working == Some(true) {
            (known, since) = (now, Instant::now());
        } else if since.elapsed() >= (if working.is_some() { STILL } else { STILL_UNSEEN }) || are_old(&known) {
            let removed = known.keys().filter(|lock| fs::remove_file(lock).is_ok()).count();
            tracing::warn!(store = %store.display(), removed, "locks of a git that is gone were removed");
            return removed > 0;
        }
        if begun.elapsed() > PATIENCE && working == Some(true) || begun.elapsed() > PATIENCE * 3 {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Where every lock is older than any call of git may be silent, nobody need be waited for.
fn are_old(locks: &Locks) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let limit = i64::try_from(now.saturating_sub(STILL_UNSEEN.as_secs() * 5)).unwrap_or_default();
    locks.values().all(|(_, _, seconds, _)| *seconds < limit)
}

/// All locks of a store: of its own files, of refs however deep, of logs and of lists of objects.
fn locks(store: &Path) -> Locks {
    let mut out = Locks::new();
    let deep = ["refs", "logs", "worktrees", "reftable"].map(|name| store.join(name));
    let flat = [store.to_owned(), store.join("info"), store.join("objects/info"), store.join("objects/pack")];
    let mut folders: Vec<(PathBuf, bool)> = deep.map(|f| (f, true)).into_iter().collect();
    folders.extend(flat.map(|f| (f, false)));
    while let Some((folder, deep)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Links are not followed: they might lead out of the store.
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                if deep {
                    folders.push((path, true));
                }
            } else if path.extension().is_some_and(|e| e == "lock") {
                out.insert(path, (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()));
            }
        }
    }
    out
}

/// Whether a process works in the store, a child of this hub or one that outlived another; none if that cannot
/// be told. Git is started in the folder of the store.
fn works_in(store: &Path) -> Option<bool> {
    let store = store.canonicalize().ok()?;
    fs::read_link("/proc/self/cwd").ok()?;
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    Some(processes.any(|process| {
        let number = process.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        number && fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&store))
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_left_while_somebody_works_in_the_store_and_goes_when_he_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("refs/heads/deep/main.lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let mut worker = std::process::Command::new("cat")
            .current_dir(dir.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(works_in(dir.path()), Some(true));
        let place = dir.path().to_owned();
        let waiting = std::thread::spawn(move || {
            let begun = Instant::now();
            (remove_stale(&place), begun.elapsed())
        });
        while !waiting.is_finished() && worker.try_wait().unwrap().is_none() {
            assert!(lock.exists());
            // Its input ends, and with it the worker.
            drop(worker.stdin.take());
        }
        let (again, took) = waiting.join().unwrap();
        assert!(again && took >= STILL && !lock.exists(), "{took:?}");
    }
}
