//! Working trees of people: looked at before a branch that is checked out there moves, never touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::GitError;
use super::object::Oid;
use super::run::Git;
use super::store;
use super::url::Remote;

/// The branches that are checked out in working trees of a repository on this machine, and where.
pub fn checked_out(remote: &Remote) -> BTreeMap<String, PathBuf> {
    let mut out = BTreeMap::new();
    let Some(repo) = remote.local().and_then(|path| store::open_repository(path).ok()) else { return out };
    let linked = std::fs::read_dir(repo.common_dir().join("worktrees")).into_iter().flatten().flatten();
    for entry in linked {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let (Some(head), Some(place)) = (read("HEAD"), read("gitdir")) else { continue };
        // A worktree that was removed by hand leaves its note behind.
        if let Some(branch) = head.trim().strip_prefix("ref: ")
            && let Some(work) = Path::new(place.trim()).parent().filter(|work| work.is_dir())
        {
            out.insert(branch.to_owned(), work.to_owned());
        }
    }
    if let (Some(work), Some(head)) = (repo.workdir(), repo.head_name().ok().flatten()) {
        out.insert(head.as_bstr().to_string(), work.to_owned());
    }
    out
}

/// Names files with changes that are not committed in a working tree; none when there is nothing in the way. `new`
/// are paths that are about to appear.
pub fn unsaved_files(git: &Git, remote: &Remote, work: &Path, new: &[&str]) -> Result<Option<String>, GitError> {
    let text = status(git, remote, work)?;
    let mut files: Vec<String> = text.split('\0').filter_map(|l| l.get(3..).map(str::to_owned)).collect();
    for path in new {
        if std::fs::symlink_metadata(work.join(path)).is_ok_and(|m| !m.is_dir()) {
            files.push((*path).to_owned());
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let more = files.len().saturating_sub(5);
    files.truncate(5);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(Some(format!("{}{tail}", files.join(", "))))
}

/// Whether index and files are exactly what a commit holds, though the branch does not name it yet: so a push leaves
/// them that was killed between the tree and the branch. A file that differs from it in any byte says no.
pub fn holds_already(git: &Git, remote: &Remote, work: &Path, commit: &Oid) -> Result<bool, GitError> {
    let of_index = git
        .at(work, format!("look at the index of {remote}"))
        .args(["diff-index", "--cached", "--quiet", "--ignore-submodules=none", commit, "--"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .run_any()?;
    // The second letter of an entry says how the file differs from the index.
    let is_as_indexed = |entry: &str| entry.as_bytes().get(1) == Some(&b' ');
    Ok(of_index.code == 0 && status(git, remote, work)?.split('\0').filter(|e| !e.is_empty()).all(is_as_indexed))
}

fn status(git: &Git, remote: &Remote, work: &Path) -> Result<String, GitError> {
    let out = git
        .at(work, format!("look at the working tree of {remote}"))
        .args(["status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .run()?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
