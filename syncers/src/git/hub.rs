//! The hub repository as the far side of pins and shared paths: read at its branch, changed by one
//! deterministic commit on top of it, delivered by compare-and-swap.

use cathedral_model::ecosystem::Hub;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::deploy;
use super::failure::GitError;
use super::fetch::{Fetch, kept_at};
use super::listing::list_one;
use super::object::{Entry, Oid};
use super::push::{self, Push, Worktree};
use super::refs::Listing;
use super::run::Git;
use super::store::{self, Store};
use super::url::Remote;
use super::worktree::{checked_out, unsaved_files};

/// How often a commit is made again because somebody else was faster.
const ROUNDS: usize = 3;

/// The hub repository.
pub struct HubRepo<'a> {
    pub git: &'a Git,
    pub state_dir: &'a Path,
    pub hub: &'a Hub,
    pub remote: Remote,
    /// Spokes run side by side; the hub is changed by one at a time.
    pub lock: Arc<Mutex<()>>,
}

/// One entry of the hub's tree to change.
#[derive(Clone, Debug)]
pub struct Edit {
    pub path: String,
    pub old: Option<Entry>,
    pub new: Option<Entry>,
    /// Where the objects of `new` come from: a store and a ref in it.
    pub objects: Option<(PathBuf, String)>,
    /// The url to declare when a submodule is created.
    pub submodule_url: Option<String>,
}

/// What became of the edits, by path.
#[derive(Debug, Default)]
pub struct Edited {
    pub skipped: Vec<(String, String)>,
}

impl<'a> HubRepo<'a> {
    /// Checks the hub's address.
    pub fn new(git: &'a Git, state_dir: &'a Path, hub: &'a Hub, lock: Arc<Mutex<()>>) -> Result<Self, GitError> {
        let remote = Remote::parse(&hub.url, state_dir.parent().unwrap_or(state_dir))?;
        Ok(Self { git, state_dir, hub, remote, lock })
    }

    /// Waits for the turn to use the hub's store.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the full name of the hub's branch.
    #[must_use]
    pub fn branch(&self) -> String {
        format!("refs/heads/{}", self.hub.branch)
    }

    /// Returns the tip of the hub's branch.
    pub fn tip(&self) -> Result<Oid, GitError> {
        list_one(self.git, &self.remote, &self.branch())?
            .ok_or_else(|| GitError::NotFound(format!("hub {}: there is no branch {}", self.remote, self.hub.branch)))
    }

    /// Reads the entries at these paths below `tip`. Take the turn first.
    pub fn read(&self, tip: &str, paths: &[&str]) -> Result<Vec<Option<Entry>>, GitError> {
        if let Some(path) = self.remote.local()
            && let Ok(repo) = store::open_repository(path)
        {
            return paths.iter().map(|p| store::entry_at(&repo, tip, p)).collect();
        }
        let store = self.store_at(tip)?;
        paths.iter().map(|p| store.entry_at(tip, p)).collect()
    }

    /// Returns the hub's store with this tip in it. Take the turn first.
    pub fn store_at(&self, tip: &str) -> Result<Store, GitError> {
        let name = self.hub.name.as_str();
        let store = Store::open(self.git, self.state_dir, name)?;
        if store.get(&kept_at(name, &self.branch()))?.as_deref() == Some(tip) {
            return Ok(store);
        }
        let mut listing = Listing { refs: [(self.branch(), tip.to_owned())].into(), ..Listing::default() };
        let fetch = Fetch { store: &store, remote: &self.remote, side: name, allow: &[], complete: false };
        let refused = fetch.run(&mut listing)?;
        if let Some(why) = refused.into_values().next() {
            return Err(GitError::Corrupt(format!("hub {}: {why}", self.remote)));
        }
        if listing.refs.get(&self.branch()).map(String::as_str) != Some(tip) {
            return Err(GitError::Busy(format!("hub {}: {} moved while it was read", self.remote, self.hub.branch)));
        }
        Ok(store)
    }

    /// Returns the places where a submodule's commits may be besides its own remote.
    #[must_use]
    pub fn submodule_folders(&self, tip: &str, path: &str) -> Vec<PathBuf> {
        let Some(local) = self.remote.local() else { return Vec::new() };
        let Ok(repo) = store::open_repository(local) else { return Vec::new() };
        let mut out = vec![repo.common_dir().join("modules").join(path)];
        let modules = store::entry_at(&repo, tip, ".gitmodules").ok().flatten();
        if let Some((_, text)) = modules.and_then(|e| store::read_object(&repo, &e.oid).ok())
            && let Some(name) = submodule_name(&String::from_utf8_lossy(&text), path)
            && !name.split('/').any(|p| p == ".." || p.is_empty())
        {
            out.push(repo.common_dir().join("modules").join(name));
        }
        if let Some(work) = repo.workdir() {
            out.push(work.join(path));
        }
        // `<hub>/<path>` counts only as a repository of its own.
        out.retain(|p| p.join("HEAD").is_file() || p.join(".git").exists());
        out
    }

    /// Makes the edits one commit on the hub's branch. Entries that are there already are left; entries
    /// that hold something else than expected are skipped. `message` gets what is really changed.
    pub fn edit(&self, edits: &[Edit], date: i64, message: &dyn Fn(&[&Edit]) -> String) -> Result<Edited, GitError> {
        let _turn = self.turn();
        let mut refusal = String::new();
        for _ in 0..ROUNDS {
            let tip = self.tip()?;
            let store = self.store_at(&tip)?;
            let mut edited = Edited::default();
            let mut todo: Vec<&Edit> = Vec::new();
            for edit in edits {
                let now = store.entry_at(&tip, &edit.path)?;
                if same(now.as_ref(), edit.new.as_ref()) {
                    continue;
                }
                if same(now.as_ref(), edit.old.as_ref()) {
                    todo.push(edit);
                } else {
                    edited.skipped.push((edit.path.clone(), "the hub has moved on since it was planned".into()));
                }
            }
            if todo.is_empty() {
                return Ok(edited);
            }
            let skip_all = |mut edited: Edited, why: &str| {
                edited.skipped.extend(todo.iter().map(|e| (e.path.clone(), why.to_owned())));
                Ok(edited)
            };
            let new: Vec<&str> = todo.iter().filter(|e| e.old.is_none()).map(|e| e.path.as_str()).collect();
            if let Some(work) = checked_out(&self.remote).get(&self.branch()) {
                if let Some(why) = deploy::settle(self.git, &store, &self.remote, &self.branch(), work)? {
                    return skip_all(edited, &why);
                }
                if let Some(files) = unsaved_files(self.git, &self.remote, work, &new)? {
                    let why = format!("the hub's working tree has changes that are not committed: {files}");
                    return skip_all(edited, &why);
                }
            }
            if !refusal.is_empty() {
                return skip_all(edited, &refusal);
            }
            let commit = self.commit(&store, &tip, date, &todo, message)?;
            let name = self.branch();
            let update = push::Update { name: name.clone(), old: Some(tip.clone()), new: Some(commit.clone()) };
            let (worktree, there) = (Worktree::Follows, &[][..]);
            let outcome = Push { store: &store, remote: &self.remote, worktree, there }.run(&[update])?;
            let now = self.tip()?;
            if now == commit {
                store.update(&[store::RefChange::set(kept_at(self.hub.name.as_str(), &name), &commit)])?;
                return Ok(edited);
            }
            if now == tip {
                // Nobody was faster, so the hub itself declined; one more look at what stands there.
                refusal =
                    outcome.into_iter().next().map_or_else(|| "the hub did not take the change".into(), |(_, why)| why);
            }
        }
        let why = if refusal.is_empty() { "the hub moves faster than it can be followed".to_owned() } else { refusal };
        Ok(Edited { skipped: edits.iter().map(|e| (e.path.clone(), why.clone())).collect() })
    }

    fn commit(
        &self,
        store: &Store,
        tip: &str,
        date: i64,
        todo: &[&Edit],
        message: &dyn Fn(&[&Edit]) -> String,
    ) -> Result<Oid, GitError> {
        let facts = store.commit(tip)?;
        let mut tree = facts.tree.clone();
        for edit in todo {
            if let Some((from, name)) = &edit.objects {
                super::fetch::copy_ref(store, from, name, "refs/cathedral/shared/%arriving")?;
            }
            let before = tree.clone();
            tree = store.graft(Some(&tree), &edit.path, edit.new.as_ref())?;
            if let (Some(url), None) = (&edit.submodule_url, &edit.old) {
                tree = self.declare(store, &tree, &edit.path, url)?;
            }
            assert_ne!(tree, before, "an edit that is to be done changes the tree");
        }
        store.write_commit(&tree, &[tip], facts.date.max(date), &message(todo))
    }

    /// Adds a submodule to `.gitmodules` when no section names its path yet.
    fn declare(&self, store: &Store, tree: &str, path: &str, url: &str) -> Result<Oid, GitError> {
        let found = store.tree(tree)?.into_iter().find(|e| e.name == b".gitmodules");
        let mut text = match &found {
            Some(entry) => String::from_utf8_lossy(&store.object(&entry.oid)?.1).into_owned(),
            None => String::new(),
        };
        if submodule_name(&text, path).is_some() {
            return Ok(tree.to_owned());
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let quote = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("[submodule \"{}\"]\n\tpath = {path}\n\turl = {url}\n", quote(path)));
        let oid = store.write_blob(text.as_bytes())?;
        let entry = Entry { mode: "100644".into(), name: b".gitmodules".to_vec(), oid };
        store.graft(Some(tree), ".gitmodules", Some(&entry))
    }
}

/// Two entries are the same when mode and object are; names differ between the two sides.
fn same(a: Option<&Entry>, b: Option<&Entry>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.oid == b.oid && a.mode.trim_start_matches('0') == b.mode.trim_start_matches('0'),
        (None, None) => true,
        _ => false,
    }
}

/// Finds the name of the submodule at a path.
fn submodule_name(text: &str, path: &str) -> Option<String> {
    let mut name = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            name = line.split('"').nth(1).map(str::to_owned);
        } else if let Some((key, value)) = line.split_once('=')
            && key.trim() == "path"
            && value.trim().trim_matches('"').trim_end_matches('/') == path
        {
            return name;
        }
    }
    None
}
