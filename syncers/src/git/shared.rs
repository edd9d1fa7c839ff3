//! Shared paths: a piece of the hub's tree and a piece of the spoke's, kept equal whatever the commits
//! around them do. Contents are compared and merged as trees; each side that changes gets one commit.

use cathedral_model::ecosystem::{GitIntegration, Side};
use cathedral_model::plan::ConflictDraft;

use super::decide::{Decision, Item, Rules, Shape, decide};
use super::disputed::{Disputed, described, few, few_of};
use super::facts::{path_key, pin_key};
use super::failure::GitError;
use super::merge::{self, Merged};
use super::object::Oid;
use super::paths;
use super::payload::Target;
use super::plan::{Peer, Planner};
use super::store::Relation;

impl Planner<'_> {
    /// Decides every shared path on top of what was decided for the branch, and makes the spoke's
    /// commit.
    pub fn settle_paths(&mut self) -> Result<(), GitError> {
        let branch = self.context.branch();
        let is_mirror = matches!(self.context.detail.integration, GitIntegration::Mirror { .. });
        let tip = if is_mirror { self.picture.spoke.get(&branch).cloned() } else { self.picture.branch.clone() };
        let Some(tip) = tip else { return Ok(()) };
        if self.is_frozen(&Peer::Spoke, &branch) {
            return Ok(());
        }
        if self.facts.spoke_refs.get(&branch) != Some(&tip) {
            self.look_again(&tip)?;
        }
        for shared in &self.context.detail.shared_paths {
            let key = path_key(shared);
            if !self.decided.contains(&(Peer::Spoke, key.clone())) {
                self.settle_path(&key)?;
            }
        }
        let Some(commit) = self.spoke_commit(&tip)? else { return Ok(()) };
        let why = (if is_mirror { "update" } else { "commit" }, "shared paths changed at the hub".to_owned());
        self.whys.insert((Target::Spoke, branch.clone()), why);
        // A pin or mirror that stood at the old tip goes along in the same run.
        if is_mirror {
            self.picture.spoke.insert(branch.clone(), commit.clone());
            if self.picture.hub.get(&branch) == Some(&tip) {
                self.set(&Peer::Spoke, &branch, Side::Hub, Some(commit), "fast_forward", "shared paths changed".into());
            }
        } else {
            self.picture.branch = Some(commit.clone());
            if let Some(pin) = self.context.pin().map(pin_key) {
                self.picture.spoke.insert(pin.clone(), commit.clone());
                if self.picture.hub.get(&pin) == Some(&tip) {
                    self.set(&Peer::Spoke, &pin, Side::Hub, Some(commit), "bump", "shared paths changed".into());
                }
            }
        }
        Ok(())
    }

    /// Reads the spoke's contents at a tip that this plan moves to.
    fn look_again(&mut self, tip: &str) -> Result<(), GitError> {
        for shared in &self.context.detail.shared_paths {
            let key = path_key(shared);
            if self.settled_by_answer(&key) {
                continue;
            }
            match paths::value_of(self.context.store.entry_at(tip, &shared.spoke)?, &shared.hub)? {
                Some(value) => drop(self.picture.spoke.insert(key, value)),
                None => drop(self.picture.spoke.remove(&key)),
            }
        }
        Ok(())
    }

    fn settled_by_answer(&self, key: &str) -> bool {
        self.picture.spoke.get(key) != self.facts.spoke.get(key) || self.picture.hub.get(key) != self.facts.hub.get(key)
    }

    fn settle_path(&mut self, key: &str) -> Result<(), GitError> {
        let peer = Peer::Spoke;
        if self.is_frozen(&peer, key) {
            return Ok(());
        }
        let rules = Rules {
            direction: self.context.spoke.data_sync,
            prune: self.context.detail.refs.prune,
            merge: self.context.detail.merge == cathedral_model::ecosystem::GitMerge::Merge,
        };
        let item = Item {
            shape: Shape::Content,
            base: self.base_of(&peer, key).map(String::as_str),
            hub: self.picture.hub.get(key).map(String::as_str),
            spoke: self.picture.spoke.get(key).map(String::as_str),
        };
        match decide(item, rules, &|_, _| Relation::Unknown) {
            Decision::Agreed | Decision::Leave => Ok(()),
            Decision::Set { side, value, action, why } => {
                self.set(&peer, key, side, value, action, why.to_owned());
                Ok(())
            }
            Decision::Merge => self.merge_contents(key),
            Decision::Conflict { kind, because } => self.dispute_contents(key, kind, because, None, &[]),
        }
    }

    fn merge_contents(&mut self, key: &str) -> Result<(), GitError> {
        let (Some(hub), Some(spoke)) = (self.picture.hub.get(key).cloned(), self.picture.spoke.get(key).cloned())
        else {
            return Ok(());
        };
        let (hub, spoke) = (self.written(key, &hub)?, self.written(key, &spoke)?);
        let store = &self.context.store;
        let agreed = self.base_of(&Peer::Spoke, key).filter(|b| store.has(b)).cloned();
        // Two children of the last agreed contents: git then merges them as it merges branches.
        let root = match agreed {
            Some(tree) => tree,
            None => store.write_tree(&[])?,
        };
        let base = paths::carrier(store, &root)?;
        let ours = store.write_commit(&hub, &[&base], 0, "hub\n")?;
        let theirs = store.write_commit(&spoke, &[&base], 0, "spoke\n")?;
        let policy = self.asked.policy.unwrap_or(self.context.spoke.policy);
        match merge::merge(store, self.context.spoke, policy, &ours, &theirs)? {
            Merged::Done { tree, resolved } => {
                let value = (!store.tree(&tree)?.is_empty()).then_some(tree);
                let why = if resolved.is_empty() {
                    "both sides changed it and the changes merge cleanly".to_owned()
                } else {
                    format!("both sides changed it; resolved {}", few(&resolved))
                };
                for (side, now) in [(Side::Hub, &hub), (Side::Spoke, &spoke)] {
                    if Some(now) != value.as_ref() {
                        self.set(&Peer::Spoke, key, side, value.clone(), "merge", why.clone());
                    }
                }
                Ok(())
            }
            Merged::Open { files, suggested } => {
                let kind = if self.base_of(&Peer::Spoke, key).is_some() { "update/update" } else { "insert/insert" };
                self.dispute_contents(key, kind, format!("both sides changed {}", few_of(&files)), suggested, &files)
            }
            Merged::Unrelated => Ok(()),
        }
    }

    fn dispute_contents(
        &mut self,
        key: &str,
        kind: &'static str,
        because: String,
        suggested: Option<Oid>,
        files: &[Disputed],
    ) -> Result<(), GitError> {
        let peer = Peer::Spoke;
        if self.answered_by_policy(&peer, key, kind)? {
            return Ok(());
        }
        for value in [self.picture.hub.get(key), self.picture.spoke.get(key)].into_iter().flatten() {
            self.written(key, value)?;
        }
        let draft = ConflictDraft { fields: described(files), ..self.draft(&peer, key, kind, because, suggested) };
        self.conflicts.insert((peer, key.to_owned()), draft);
        Ok(())
    }

    /// Makes the commit that brings the spoke's branch to the contents decided on; none when it has
    /// them already (an echo is no commit).
    fn spoke_commit(&self, tip: &str) -> Result<Option<Oid>, GitError> {
        let store = &self.context.store;
        let facts = store.commit(tip)?;
        let mut tree = facts.tree.clone();
        let mut trailers = String::new();
        for shared in &self.context.detail.shared_paths {
            let key = path_key(shared);
            let wanted = self.picture.spoke.get(&key);
            let now = paths::value_of(store.entry_at(tip, &shared.spoke)?, &shared.hub)?;
            if self.is_frozen(&Peer::Spoke, &key) || now.as_ref() == wanted {
                continue;
            }
            let entry = match wanted {
                Some(value) => paths::entry_of(store, &self.written(&key, value)?)?,
                None => None,
            };
            tree = store.graft(Some(&tree), &shared.spoke, entry.as_ref())?;
            let oid = entry.map_or_else(|| "none".to_owned(), |e| e.oid);
            trailers.push_str(&format!("Cathedral-Synced: {} {oid}\n", shared.spoke));
        }
        if tree == facts.tree {
            return Ok(None);
        }
        let source = &self.context.hub.hub.name;
        let message = format!("sync: shared paths from {source}\n\n{trailers}Cathedral-Source: {source}\n");
        store.write_commit(&tree, &[tip], facts.date, &message).map(Some)
    }
}
