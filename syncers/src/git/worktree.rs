//! Working trees of people: looked at before a branch that is checked out there moves, never touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::GitError;
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
    let out = git
        .at(work, format!("look at the working tree of {remote}"))
        .args(["status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .run()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
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
