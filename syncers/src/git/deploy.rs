//! Working trees that a killed push of ours left half written.
//!
//! Git writes file after file, then the index, then the branch, and a kill in between leaves its lock and what looks
//! like somebody's changes. So a push into a working tree is noted before. Where the note of a push that never came
//! to its end is found, and every file that differs from the branch holds what that push was writing, or the
//! beginning of it, or is gone, the files are put back as the branch has them, and the push is made again. Any other
//! difference is somebody's: then nothing is touched.

mod leftovers;
mod lock;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::failure::GitError;
use super::object::{Oid, is_oid};
use super::run::Git;
use super::store::{self, Store, sync_folder};
use super::url::Remote;
use lock::Lock;

/// A push into a working tree that was begun.
pub struct Begun {
    branch: String,
    old: Oid,
    new: Oid,
    since: SystemTime,
}

fn place(store: &Store, work: &Path) -> PathBuf {
    let name = blake3::hash(work.as_os_str().as_encoded_bytes()).to_hex();
    store.path().join("deploying").join(name.as_str())
}

/// Notes, durably, that a branch and the working tree at `work` are about to go from one commit to another.
pub fn begin(store: &Store, work: &Path, branch: &str, old: &Oid, new: &Oid) -> Result<(), GitError> {
    let place = place(store, work);
    let folder = place.parent().unwrap_or(store.path());
    let noted = fs::create_dir_all(folder).and_then(|()| {
        let mut note = tempfile::NamedTempFile::new_in(folder)?;
        write!(note, "{old} {new} {branch}")?;
        note.as_file().sync_all()?;
        note.persist(&place).map_err(|e| e.error)
    });
    noted.map_err(|e| GitError::io(place.display(), &e))?;
    sync_folder(folder)
}

/// Forgets it: the push has ended.
pub fn done(store: &Store, work: &Path) {
    // One that stays is looked at by the next push, and found to be nothing.
    drop(fs::remove_file(place(store, work)));
}

fn begun(store: &Store, work: &Path) -> Option<Begun> {
    let place = place(store, work);
    let since = fs::metadata(&place).and_then(|m| m.modified()).ok()?;
    let text = fs::read_to_string(&place).ok()?;
    let mut words = text.splitn(3, ' ');
    let (old, new, branch) = (words.next()?, words.next()?, words.next()?);
    (is_oid(old) && is_oid(new)).then(|| Begun { branch: branch.into(), old: old.into(), new: new.into(), since })
}

/// Takes back what a killed push left in the working tree at `work`, where `branch` is checked out. Returns, for
/// people, why that cannot be done.
pub fn settle(
    git: &Git,
    store: &Store,
    remote: &Remote,
    branch: &str,
    work: &Path,
) -> Result<Option<String>, GitError> {
    let Some(begun) = begun(store, work) else { return Ok(None) };
    let Some(repo) = remote.local().and_then(|path| store::open_repository(path).ok()) else { return Ok(None) };
    if begun.branch != branch || store::read_ref(&repo, branch)?.as_ref() != Some(&begun.old) {
        // It came to its end, or somebody went on from there.
        done(store, work);
        return Ok(None);
    }
    if !leftovers::is_indexed(git, remote, work, &begun.old)? {
        return Ok(None);
    }
    let dir = git.at(work, format!("look at {remote}")).args(["rev-parse", "--absolute-git-dir"]).run()?.line();
    let (dir, path) = (PathBuf::from(&dir), Path::new(&dir).join("index.lock"));
    let lock = Lock::look(&path, begun.since);
    let told = |what: &str, then: &str| {
        format!("a sync was killed while it wrote the working tree there, and {what}: {then}, then sync again")
    };
    let left = match leftovers::find(git, store, remote, work, &begun.old, &begun.new)? {
        Ok(left) => left,
        Err(file) => {
            let what = format!("{file} holds something else since");
            let free = if lock.is_there() {
                format!(", remove {} if no git runs there", path.display())
            } else {
                String::new()
            };
            return Ok(Some(told(&what, &format!("see `git status` there, commit or stash what is yours{free}"))));
        }
    };
    if !lock.take(work, &dir) {
        let what = format!("{} is held", path.display());
        return Ok(Some(told(&what, "end the git that runs there, or remove that file if none does")));
    }
    if let Err(why) = left.take_back(store, work) {
        lock.release()?;
        return Ok(Some(told(&why, "see `git status` there, commit or stash what is yours")));
    }
    lock.release()?;
    done(store, work);
    tracing::info!(place = %work.display(), "what a killed sync left half written was taken back");
    Ok(None)
}
