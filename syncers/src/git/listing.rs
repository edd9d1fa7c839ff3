//! What a repository advertises now: in process when it is on this machine, else by `ls-remote`.

use super::failure::GitError;
use super::held;
use super::object::{Oid, is_oid};
use super::refs::{Listing, Values};
use super::run::Git;
use super::store;
use super::url::Remote;

/// Lists all refs of a remote and its HEAD.
pub fn list(git: &Git, remote: &Remote) -> Result<Listing, GitError> {
    if let Some(path) = remote.local() {
        if !path.is_dir() {
            return Err(GitError::NotFound(format!("{}: there is no repository", path.display())));
        }
        // What gix cannot read (another ref format, SHA-256) goes through git, which says why.
        if let Ok(repo) = store::open_repository(path)
            && repo.config_snapshot().string("extensions.refStorage").is_none()
        {
            let head = repo.head_name().ok().flatten().map(|n| n.as_bstr().to_string());
            let (mut refs, warnings) = store::list_refs(&repo, "refs/")?;
            if refs.contains_key(held::STASH_TIP) {
                let known = |oid: &Oid| store::is_there(&repo, oid);
                refs.extend(held::entries_of(held::logged_stash(repo.common_dir()).into_iter().filter(known)));
            }
            if head.is_none()
                && let Ok(id) = repo.head_id()
            {
                refs.insert(held::DETACHED.to_owned(), id.to_string());
            }
            let left_out = warnings.iter().map(|why| ("a ref".to_owned(), why.clone())).collect();
            return Ok(Listing { head, refs, left_out, warnings, ..Listing::default() });
        }
    }
    let mut listing = ls_remote(git, remote, None)?;
    if let Some(path) = remote.local().filter(|_| listing.refs.contains_key(held::STASH_TIP)) {
        listing.refs.extend(asked_stash(git, path));
    }
    Ok(listing)
}

/// Asks git for the entries of a stash in a repository that is not read in process.
fn asked_stash(git: &Git, path: &std::path::Path) -> Values {
    let call = git.at(path, "read the stash").args(["reflog", "show", "--format=%H", held::STASH_TIP, "--"]);
    let Ok(out) = call.run() else { return Values::new() };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    held::entries_of(text.lines().rev().filter(|oid| is_oid(oid)).map(str::to_owned))
}

/// Returns the value of one ref of a remote.
pub fn list_one(git: &Git, remote: &Remote, name: &str) -> Result<Option<Oid>, GitError> {
    if let Some(path) = remote.local()
        && let Ok(repo) = store::open_repository(path)
        && repo.config_snapshot().string("extensions.refStorage").is_none()
    {
        return store::read_ref(&repo, name);
    }
    Ok(ls_remote(git, remote, Some(name))?.refs.remove(name))
}

fn ls_remote(git: &Git, remote: &Remote, only: Option<&str>) -> Result<Listing, GitError> {
    let mut call = git.anywhere(format!("read the refs of {remote}")).remote(remote).args([
        "ls-remote",
        "--symref",
        "--end-of-options",
    ]);
    call = call.args([remote.argument()]);
    if let Some(name) = only {
        call = call.args([name]);
    }
    let out = call.run()?;
    let (mut listing, mut detached) = (Listing::default(), None);
    for line in out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let Some(tab) = line.iter().position(|b| *b == b'\t') else { continue };
        let Ok(value) = std::str::from_utf8(&line[..tab]) else { continue };
        let raw = &line[tab + 1..];
        let Some(name) = std::str::from_utf8(raw).map(str::to_owned).ok().or_else(|| held::key_of(raw)) else {
            continue;
        };
        if let Some(target) = value.strip_prefix("ref: ") {
            if name == "HEAD" {
                listing.head = Some(target.to_owned());
            }
        } else if value.len() == 64 {
            return Err(GitError::Invalid(format!(
                "{remote} uses SHA-256 object ids, which this version cannot sync with SHA-1 repositories"
            )));
        } else if is_oid(value) && name == "HEAD" {
            detached = Some(value.to_owned());
        } else if is_oid(value) && name.starts_with("refs/") && !name.ends_with("^{}") {
            listing.refs.insert(name, value.to_owned());
        }
    }
    if let Some(oid) = detached.filter(|_| listing.head.is_none()) {
        listing.refs.insert(held::DETACHED.to_owned(), oid);
    }
    Ok(listing)
}
