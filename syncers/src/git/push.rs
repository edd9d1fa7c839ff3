//! Writes refs of a remote by compare-and-swap. There is no forced push: every change names the value
//! it replaces, and what came of it is read back by the caller.

mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::deploy;
use super::failure::{GitError, cap, is_progress, printable, telling};
use super::held;
use super::object::Oid;
use super::refs::Values;
use super::store::{RefChange, Store};
use super::url::Remote;
use super::worktree::checked_out;
use twins::{Twins, taken_for};

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
    /// The refs that stand there, as far as they are known.
    pub there: &'a [&'a Values],
}

/// Where what is pushed by pattern stands meanwhile.
const OUTGOING: &str = "refs/cathedral/push/";

/// How the refs of a push are told to git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `VALUE:NAME` for each.
    Names,
    /// One pattern, which git does not mistake for anything else.
    Pattern,
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
        let works = if self.worktree == Worktree::Follows { checked_out(self.remote) } else { BTreeMap::new() };
        for update in updates {
            if let (Some(work), Some(old), Some(new)) = (works.get(&update.name), &update.old, &update.new) {
                deploy::begin(self.store, work, &update.name, old, new)?;
            }
        }
        let declined = self.all(updates)?;
        for update in updates {
            let Some(work) = works.get(&update.name) else { continue };
            if declined.contains_key(&update.name) {
                // It may be the git there that was killed.
                deploy::settle(self.store.git(), self.store, self.remote, &update.name, work)?;
            } else {
                deploy::done(self.store, work);
            }
        }
        Ok(declined)
    }

    fn all(&self, updates: &[Update]) -> Result<BTreeMap<String, String>, GitError> {
        let mut declined = BTreeMap::new();
        let mut updates = updates.to_vec();
        if self.is_http() {
            declined = hiding(&Twins::new(self.there, &updates), &updates);
            updates.retain(|u| !declined.contains_key(&u.name));
        }
        let twins = Twins::new(self.there, &updates);
        let (careful, plain): (Vec<_>, Vec<_>) = updates.iter().cloned().partition(|u| twins.of(&u.name).is_some());
        // Deletions first: a new name may need the place of an old one.
        for is_delete in [true, false] {
            let these = |all: &[Update]| all.iter().filter(|u| u.new.is_none() == is_delete).cloned().collect();
            let (plain, careful): (Vec<_>, Vec<_>) = (these(&plain), these(&careful));
            for batch in plain.chunks(BATCH) {
                declined.extend(self.together(batch)?);
            }
            declined.extend(self.careful(&careful)?);
        }
        Ok(declined)
    }

    /// All or nothing; where that fails for some, the others still go, each judged by itself.
    fn together(&self, batch: &[Update]) -> Result<BTreeMap<String, String>, GitError> {
        let refused = self.push(batch, true)?;
        if refused.is_empty() || batch.len() == 1 { Ok(refused) } else { self.push(batch, false) }
    }

    fn is_http(&self) -> bool {
        matches!(self.remote, Remote::Http(_))
    }

    /// Pushes refs that git would take for others.
    fn careful(&self, updates: &[Update]) -> Result<BTreeMap<String, String>, GitError> {
        if self.is_http() {
            // Whatever git is asked, it hands every ref by name to its helper for HTTP, which looks them up again.
            let twins = Twins::new(self.there, updates);
            let why = |u: &Update| {
                let twin = twins.of(&u.name).unwrap_or_else(|| "another ref".into());
                format!(
                    "{twin} stands there as well, and over http git cannot tell them apart when it pushes: \
                     rename or delete {twin} there, or use an ssh address"
                )
            };
            return Ok(updates.iter().map(|u| (u.name.clone(), why(u))).collect());
        }
        let mut declined = BTreeMap::new();
        let (deletes, sets): (Vec<_>, Vec<_>) = updates.iter().cloned().partition(|u| u.new.is_none());
        for delete in deletes {
            declined.extend(self.delete_by_pattern(&delete)?);
        }
        for batch in sets.chunks(BATCH) {
            declined.extend(self.set_by_pattern(batch)?);
        }
        Ok(declined)
    }

    /// Puts the new values below a name of ours, from where a pattern takes them to the remote.
    fn set_by_pattern(&self, batch: &[Update]) -> Result<BTreeMap<String, String>, GitError> {
        let folder = self.outgoing();
        self.tidy(&folder)?;
        let mut input = Vec::new();
        for update in batch {
            let name = held::name_of(&update.name);
            let Some(rest) = name.strip_prefix(b"refs/") else { continue };
            let new = update.new.as_deref().unwrap_or_default();
            input.extend([b"update ", folder.as_bytes(), rest, b"\0", new.as_bytes(), b"\0\0"].concat());
        }
        self.store.call("write refs to push").args(["update-ref", "--stdin", "-z"]).input(input).run()?;
        let spec = OsString::from(format!("{folder}*:refs/*"));
        let mut leases: Vec<&Update> = batch.iter().collect();
        // The first lease that may mean a ref counts; a name that means another one is shorter than that.
        leases.sort_by_key(|u| std::cmp::Reverse(u.name.len()));
        let leases: Vec<OsString> = leases.into_iter().map(lease).collect();
        let push = |how: &[&str]| {
            let how = how.iter().map(Into::into).collect();
            self.call(batch, how, leases.clone(), vec![OsString::clone(&spec)], Form::Pattern)
        };
        let mut done = push(if batch.len() > 1 { &["--atomic"] } else { &[] });
        if batch.len() > 1 && done.as_ref().is_ok_and(|refused| !refused.is_empty()) {
            done = push(&[]);
        }
        self.tidy(&folder)?;
        done
    }

    /// Deletes one ref by a pattern that takes it there from nothing here. A pattern means every name that
    /// begins so; a lease on what is not known here lets none of those go, nor one for which git takes this name.
    fn delete_by_pattern(&self, update: &Update) -> Result<BTreeMap<String, String>, GitError> {
        let folder = self.outgoing();
        self.tidy(&folder)?;
        let mut leases: Vec<OsString> = vec!["--force-with-lease".into()];
        let name = held::name_of(&update.name);
        let guard = |twin: Vec<u8>| OsString::from_vec([b"--force-with-lease=", twin.as_slice(), b":"].concat());
        leases.extend(taken_for(&name).map(guard));
        leases.push(lease(update));
        let spec = vec![OsString::from_vec([folder.as_bytes(), b"*:", &name, b"*"].concat())];
        self.call(std::slice::from_ref(update), vec!["--prune".into()], leases, spec, Form::Pattern)
    }

    /// A folder for this remote alone.
    fn outgoing(&self) -> String {
        format!("{OUTGOING}{}/", blake3::hash(self.remote.to_string().as_bytes()).to_hex())
    }

    fn tidy(&self, folder: &str) -> Result<(), GitError> {
        let left = self.store.refs(folder)?;
        self.store.update(&left.keys().map(RefChange::delete).collect::<Vec<_>>())
    }

    fn push(&self, batch: &[Update], atomic: bool) -> Result<BTreeMap<String, String>, GitError> {
        let how = if atomic && batch.len() > 1 { vec!["--atomic".into()] } else { vec![] };
        let specs = batch.iter().map(|u| {
            let new = u.new.as_deref().unwrap_or("");
            OsString::from_vec([new.as_bytes(), b":", &held::name_of(&u.name)].concat())
        });
        self.call(batch, how, batch.iter().map(lease).collect(), specs.collect(), Form::Names)
    }

    fn call(
        &self,
        batch: &[Update],
        how: Vec<OsString>,
        leases: Vec<OsString>,
        specs: Vec<OsString>,
        form: Form,
    ) -> Result<BTreeMap<String, String>, GitError> {
        let atomic = how.iter().any(|arg| arg == "--atomic");
        let mut args: Vec<OsString> = vec![
            "push".into(),
            "--porcelain".into(),
            "--progress".into(),
            "--no-verify".into(),
            "--no-signed".into(),
            "--no-follow-tags".into(),
        ];
        args.extend(how);
        if self.remote.local().is_some() {
            let how = if self.worktree == Worktree::Follows { "updateInstead" } else { "ignore" };
            args.push(format!("--receive-pack=git -c receive.denyCurrentBranch={how} receive-pack").into());
        }
        args.extend(leases);
        args.push("--end-of-options".into());
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
        let unclear = unclear(&out.stderr);
        if form == Form::Names && !unclear.is_empty() {
            // A ref that nobody knew of. Nothing was sent.
            let (careful, rest): (Vec<_>, Vec<_>) =
                batch.iter().cloned().partition(|u| unclear.contains(&printable(&held::name_of(&u.name))));
            if careful.is_empty() {
                return self.careful(batch);
            }
            let mut declined = if rest.is_empty() { BTreeMap::new() } else { self.push(&rest, atomic)? };
            declined.extend(self.careful(&careful)?);
            return Ok(declined);
        }
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
            // A pattern names others too.
            declined.retain(|name, _| form == Form::Names || batch.iter().any(|u| &u.name == name));
            return Ok(declined);
        }
        if atomic && out.stderr.contains("does not support --atomic") {
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

/// What must not come over HTTP, because nothing could be pushed to another ref beside it.
fn hiding(twins: &Twins<'_>, updates: &[Update]) -> BTreeMap<String, String> {
    let is_new = |u: &&Update| u.old.is_none() && u.new.is_some();
    let hides = |u: &Update| {
        let why = format!(
            "with it there, git could push nothing to {} over http any more: rename it, or use an ssh address",
            twins.hidden_by(&u.name)?
        );
        Some((u.name.clone(), why))
    };
    updates.iter().filter(is_new).filter_map(hides).collect()
}

fn lease(update: &Update) -> OsString {
    let old = update.old.as_deref().unwrap_or("");
    let name = held::name_of(&update.name);
    OsString::from_vec([b"--force-with-lease=", name.as_slice(), b":", old.as_bytes()].concat())
}

/// The targets for which git found more than one ref.
fn unclear(stderr: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let name = line.strip_prefix("error: dst refspec ")?.strip_suffix(" matches more than one")?;
        Some(name.to_owned())
    };
    stderr.lines().filter_map(name).collect()
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
