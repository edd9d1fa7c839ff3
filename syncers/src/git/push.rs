//! Writes refs of a remote by compare-and-swap. There is no forced push: every change names the value
//! it replaces, and what came of it is read back by the caller.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::failure::{GitError, cap, is_progress, telling};
use super::held;
use super::object::Oid;
use super::store::Store;
use super::url::Remote;

/// How many refs one call carries.
const BATCH: usize = 1000;

/// One ref to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub name: String,
    /// What it must hold; none: it must not exist.
    pub old: Option<Oid>,
    /// None deletes.
    pub new: Option<Oid>,
}

/// A push of objects and refs.
pub struct Push<'a> {
    pub store: &'a Store,
    pub remote: &'a Remote,
    pub worktree: Worktree,
}

/// What a push does with the working tree of a branch that is checked out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worktree {
    /// It follows the branch; git refuses when it is not clean.
    Follows,
    /// It holds already what the branch is to name, and is not touched.
    Stands,
}

impl Push<'_> {
    /// Carries the updates out as far as the remote lets it, and returns the remote's words for those
    /// it declined. Success is for the caller to read back. Fails only when the remote as a whole does.
    pub fn run(&self, updates: &[Update]) -> Result<BTreeMap<String, String>, GitError> {
        let mut declined = BTreeMap::new();
        // Deletions first: a new name may need the place of an old one.
        let (deletes, sets): (Vec<_>, Vec<_>) = updates.iter().cloned().partition(|u| u.new.is_none());
        for batch in deletes.chunks(BATCH).chain(sets.chunks(BATCH)) {
            let refused = self.push(batch, true)?;
            if refused.is_empty() {
                continue;
            }
            // All or nothing failed for some: the others still go, each judged by itself.
            declined.extend(if batch.len() == 1 { refused } else { self.push(batch, false)? });
        }
        Ok(declined)
    }

    fn push(&self, batch: &[Update], atomic: bool) -> Result<BTreeMap<String, String>, GitError> {
        let mut args: Vec<OsString> = vec![
            "push".into(),
            "--porcelain".into(),
            "--progress".into(),
            "--no-verify".into(),
            "--no-signed".into(),
            "--no-follow-tags".into(),
        ];
        if atomic && batch.len() > 1 {
            args.push("--atomic".into());
        }
        if self.remote.local().is_some() {
            let how = if self.worktree == Worktree::Follows { "updateInstead" } else { "ignore" };
            args.push(format!("--receive-pack=git -c receive.denyCurrentBranch={how} receive-pack").into());
        }
        for update in batch {
            let old = update.old.as_deref().unwrap_or("");
            let name = held::name_of(&update.name);
            args.push(OsString::from_vec([b"--force-with-lease=", name.as_slice(), b":", old.as_bytes()].concat()));
        }
        args.push("--end-of-options".into());
        let specs = batch.iter().map(|u| {
            let new = u.new.as_deref().unwrap_or("");
            OsString::from_vec([new.as_bytes(), b":", &held::name_of(&u.name)].concat())
        });
        let what = format!("push to {}", self.remote);
        let out = self
            .store
            .call(&what)
            .remote(self.remote)
            .config("push.default=nothing")
            .config("push.recurseSubmodules=no")
            .args(args)
            .args([self.remote.argument()])
            .args(specs)
            .run_any()?;
        let mut declined = refusals(&String::from_utf8_lossy(&out.stdout), &out.stderr);
        for update in batch {
            // Names that are not UTF-8 are known by another.
            if let Some(raw) = held::raw_of(&update.name)
                && let Some(why) = declined.remove(&*String::from_utf8_lossy(&raw))
            {
                declined.insert(update.name.clone(), why);
            }
        }
        if out.code == 0 || !declined.is_empty() {
            return Ok(declined);
        }
        if atomic && batch.len() > 1 && out.stderr.contains("does not support --atomic") {
            return Ok(batch.iter().map(|u| (u.name.clone(), telling(&out.stderr))).collect());
        }
        match GitError::classify(&what, &out.stderr) {
            // A hook or limit that speaks for the whole push.
            GitError::Refused(why) | GitError::Failed(why) => {
                Ok(batch.iter().map(|u| (u.name.clone(), why.clone())).collect())
            }
            other => Err(other),
        }
    }
}

/// Reads `! SRC:DST [reason]` lines and adds what the remote said.
fn refusals(stdout: &str, stderr: &str) -> BTreeMap<String, String> {
    let said: Vec<&str> = stderr
        .lines()
        .filter_map(|l| l.strip_prefix("remote:"))
        .map(str::trim)
        .filter(|l| !l.is_empty() && !is_progress(l))
        .collect();
    let said = if said.is_empty() { String::new() } else { format!(": {}", cap(&said.join("; "), 400)) };
    stdout
        .lines()
        .filter_map(|line| {
            let (spec, why) = line.strip_prefix("!\t")?.split_once('\t')?;
            let name = spec.rsplit_once(':').map_or(spec, |(_, dst)| dst);
            Some((name.to_owned(), format!("the remote declined it: {why}{said}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_remote_are_kept_per_ref() {
        let stdout =
            "To x\n=\ta:refs/heads/ok\t[up to date]\n!\tb:refs/heads/main\t[remote rejected] (hook declined)\nDone\n";
        let found = refusals(stdout, "remote: policy: frozen        \nerror: failed to push\n");
        assert_eq!(found.len(), 1);
        assert!(found["refs/heads/main"].ends_with("(hook declined): policy: frozen"), "{found:?}");
    }
}
