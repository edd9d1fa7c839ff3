//! A stash as it was: its newest entry is a ref, the others stand only in the log of that ref.

use cathedral_model::ports::PortError;
use std::fmt::Write as _;

use super::facts::Context;
use super::failure::GitError;
use super::held::{STASH, STASH_TIP};
use super::object::{Oid, ZERO};
use super::refs::Values;
use super::store::Store;
use super::url::Remote;

/// The entries of a stash, oldest first.
fn entries(values: &Values) -> Vec<&Oid> {
    values.iter().filter(|(n, _)| n.starts_with(STASH)).map(|(_, o)| o).collect()
}

/// Writes the log of a restored stash in a fresh repository, so that every entry is one again.
pub fn write_log(store: &Store, wanted: &Values) -> Result<(), GitError> {
    let (entries, Some(tip)) = (entries(wanted), wanted.get(STASH_TIP)) else { return Ok(()) };
    if entries.last() != Some(&tip) {
        return Ok(());
    }
    let (mut text, mut before) = (String::new(), ZERO);
    for oid in entries {
        let facts = store.commit(oid)?;
        let (name, mail) = &store.author();
        // The log of a stash repeats what its commits say.
        let _ = writeln!(text, "{before} {oid} {name} <{mail}> {} +0000\t{}", facts.date, subject(store, oid)?);
        before = oid;
    }
    let path = store.path().join("logs").join(STASH_TIP);
    let failed = |e: &std::io::Error| GitError::io(path.display(), e);
    std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(|e| failed(&e))?;
    std::fs::write(&path, text).map_err(|e| failed(&e))
}

fn subject(store: &Store, oid: &str) -> Result<String, GitError> {
    let (_, data) = store.object(oid)?;
    let text = String::from_utf8_lossy(&data).into_owned();
    let message = text.split_once("\n\n").map_or("", |(_, message)| message);
    Ok(message.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect())
}

/// Puts missing entries back on the stash of a repository on this machine; those that stand there stay below them.
/// Says whether it did: elsewhere a stash is a ref like others.
pub fn put_back(context: &Context<'_>, now: &Values, wanted: &Values) -> Result<bool, PortError> {
    let (entries_now, entries) = (entries(now), entries(wanted));
    let Some(path) = context.remote.local().filter(|_| !entries.is_empty()) else { return Ok(false) };
    let missing: Vec<&Oid> = entries.into_iter().filter(|o| !entries_now.contains(o)).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    let from = Remote::Local(context.store.path().to_owned());
    context
        .git
        .at(path, "bring the stash back")
        .remote(&from)
        .config("uploadpack.allowAnySHA1InWant=true")
        .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--refmap="])
        .args(["--end-of-options"])
        .args([from.argument()])
        .args(missing.iter().map(|o| o.as_str()))
        .run()?;
    let mut before = now.get(STASH_TIP).map_or(ZERO, String::as_str);
    let (name, mail) = context.store.author();
    for oid in missing {
        let message = subject(&context.store, oid)?;
        context
            .git
            .at(path, "bring the stash back")
            .env("GIT_COMMITTER_NAME", &name)
            .env("GIT_COMMITTER_EMAIL", &mail)
            .args(["update-ref", "--create-reflog", "-m", &message, STASH_TIP, oid, before])
            .run()?;
        before = oid;
    }
    Ok(true)
}
