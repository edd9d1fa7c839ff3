//! Whether a store of the hub's own is whole: its form, its refs, its objects. Nothing is written here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::failure::{GitError, is_progress, printable};
use super::run::Git;
use super::salvage;
use super::store::open_repository;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The files that make it a repository, and the refs.
    Form,
    /// And every object that a ref needs is there.
    Connected,
    /// And every byte of each.
    Full,
}

/// So many faults are told of one store.
const TOLD: usize = 40;

/// Returns the folder of a store.
#[must_use]
pub fn place(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("git").join(format!("{name}.git"))
}

/// Whether there was a store of this name once. It is noted beside the stores, so that a folder that is gone is
/// not taken for one that was never made.
#[must_use]
pub fn is_known(state_dir: &Path, name: &str) -> bool {
    note(state_dir, name).exists()
}

/// Notes that there is a store of this name.
pub fn make_known(state_dir: &Path, name: &str) {
    let note = note(state_dir, name);
    if note.exists() {
        return;
    }
    let folder = note.parent().unwrap_or(state_dir).to_owned();
    let made = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&note, b""))
        .and_then(|()| std::fs::File::open(&folder)?.sync_all());
    if let Err(error) = made {
        // Without it only a folder that is gone is not missed.
        tracing::debug!(note = %note.display(), %error, "that there is a store is not noted");
    }
}

fn note(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("git-stores").join(name)
}

/// Says what is wrong with the store of a name; nothing for one that was never made. `allow` are message ids of
/// git's checks that are tolerated.
pub fn faults(
    git: &Git,
    state_dir: &Path,
    name: &str,
    depth: Depth,
    allow: &[String],
) -> Result<Vec<String>, GitError> {
    let path = place(state_dir, name);
    if !path.is_dir() {
        let gone = is_known(state_dir, name).then(|| "the whole folder is gone".to_owned());
        return Ok(gone.into_iter().collect());
    }
    faults_at(git, &path, depth, allow)
}

/// The same of a store that lies anywhere.
pub fn faults_at(git: &Git, path: &Path, depth: Depth, allow: &[String]) -> Result<Vec<String>, GitError> {
    let mut found = form(git, path)?;
    if found.is_empty() && depth > Depth::Form {
        found = objects(git, path, depth, allow)?;
    }
    found.truncate(TOLD);
    Ok(found)
}

fn form(git: &Git, path: &Path) -> Result<Vec<String>, GitError> {
    let mut found: Vec<String> = ["objects", "refs"]
        .into_iter()
        .filter(|folder| !path.join(folder).is_dir())
        .map(|folder| format!("the folder {folder} is gone"))
        .collect();
    if salvage::head(path).is_none() {
        found.push("HEAD is gone, or names no branch".into());
    }
    found.extend(settings(git, path)?);
    found.extend(salvage::refs(path).unreadable);
    if found.is_empty()
        && let Err(error) = open_repository(path)
    {
        found.push(error.to_string());
    }
    Ok(found)
}

/// What git itself writes into a new bare repository; the hub adds nothing.
const SETTINGS: [&str; 6] = [
    "core.repositoryformatversion",
    "core.filemode",
    "core.bare",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
];

fn settings(git: &Git, path: &Path) -> Result<Vec<String>, GitError> {
    let file = path.join("config");
    if !file.is_file() {
        return Ok(vec!["the file config is gone".into()]);
    }
    let call = git.anywhere("read the settings of a store").args(["config", "--list", "-z", "--file"]).args([&file]);
    let out = call.run_any()?;
    if out.code != 0 {
        return Ok(vec!["the file config cannot be read".into()]);
    }
    let entries = out.stdout.split(|b| *b == 0).filter(|entry| !entry.is_empty());
    let set: BTreeSet<String> = entries.map(|entry| printable(entry).replacen('\n', "=", 1)).collect();
    let mut found: Vec<String> = set
        .iter()
        .filter(|line| !SETTINGS.contains(&line.split('=').next().unwrap_or_default()))
        .map(|line| format!("the file config holds {line:?}, which the hub has not written"))
        .collect();
    for wanted in ["core.bare=true", "core.repositoryformatversion=0"] {
        if !set.contains(wanted) {
            found.push(format!("the file config does not say {wanted}"));
        }
    }
    Ok(found)
}

fn objects(git: &Git, path: &Path, depth: Depth, allow: &[String]) -> Result<Vec<String>, GitError> {
    let mut call = git.at(path, "check a store");
    for id in allow.iter().filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric())) {
        call = call.config(format!("fsck.{id}=ignore"));
    }
    let how = if depth == Depth::Full { "--full" } else { "--connectivity-only" };
    let out = call.args(["fsck", how, "--no-dangling", "--progress"]).run_any()?;
    if out.code == 0 {
        return Ok(vec![]);
    }
    let (said, words) = (printable(&out.stdout), out.stderr);
    let mut seen = BTreeSet::new();
    let lines = said.lines().chain(words.lines().filter(|l| !is_progress(l) && !l.starts_with("notice")));
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = lines.map(|line| plain(line.trim().trim_start_matches("error: ").trim_start_matches("fatal: ")));
    let told: Vec<String> = lines.filter(|line| !line.is_empty() && seen.insert(line.clone())).collect();
    Ok(if told.is_empty() { vec![format!("git fsck ended with {}", out.code)] } else { told })
}
