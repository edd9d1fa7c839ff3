//! Working trees of people: looked at before a branch that is checked out there moves, never touched.

use super::failure::GitError;
use super::run::Git;
use super::store;
use super::url::Remote;

/// Names files with changes that are not committed in the working tree of a repository on this machine
/// that has this branch checked out; none when there is nothing in the way. `new` are paths that are
/// about to appear.
pub fn unsaved_files(git: &Git, remote: &Remote, branch: &str, new: &[&str]) -> Result<Option<String>, GitError> {
    let Some(path) = remote.local() else { return Ok(None) };
    let Ok(repo) = store::open_repository(path) else { return Ok(None) };
    let on_branch = repo.head_name().ok().flatten().is_some_and(|n| n.as_bstr() == branch);
    let Some(work) = repo.workdir().filter(|_| on_branch) else { return Ok(None) };
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
