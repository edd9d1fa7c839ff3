//! What a repository advertises now: in process when it is on this machine, else by `ls-remote`.

use super::failure::{GitError, printable};
use super::object::{Oid, is_oid};
use super::refs::Listing;
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
            let (refs, warnings) = store::list_refs(&repo, "refs/")?;
            return Ok(Listing { head, refs, warnings });
        }
    }
    ls_remote(git, remote, None)
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
    let mut listing = Listing::default();
    for line in out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let Ok(text) = std::str::from_utf8(line) else {
            listing.warnings.push(format!("ref {:?} is not UTF-8 and is left alone", printable(line)));
            continue;
        };
        let Some((value, name)) = text.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: ") {
            if name == "HEAD" {
                listing.head = Some(target.to_owned());
            }
        } else if value.len() == 64 {
            return Err(GitError::Invalid(format!(
                "{remote} uses SHA-256 object ids, which this version cannot sync with SHA-1 repositories"
            )));
        } else if is_oid(value) && name.starts_with("refs/") && !name.ends_with("^{}") {
            listing.refs.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(listing)
}
