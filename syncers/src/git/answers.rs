//! What people and the owner's policy say about conflicts, carried out so that nothing is lost: a
//! branch gets a commit that holds both sides as parents, a tag moves only after it was pinned.

use cathedral_model::ecosystem::{ConflictPolicy, Side};
use cathedral_model::plan::{Answer, Choice, ConflictDraft, Directive, SideValue};

use super::decide::Shape;
use super::failure::GitError;
use super::merge;
use super::object::Oid;
use super::plan::{Peer, Planner, ordered};
use super::store::Relation;

impl Planner<'_> {
    /// Carries out every answer that still fits what stands there now.
    pub fn carry_out_answers(&mut self) -> Result<(), GitError> {
        for directive in &self.asked.directives {
            let (peer, key) = self.item_of(&directive.draft.item);
            if self.is_frozen(&peer, &key) {
                continue;
            }
            if self.has_moved_on(&peer, &key, &directive.draft) && directive.answer != Answer::Undo {
                // Half done before a crash, or settled by people: known when everything is decided.
                self.waiting.push((directive.conflict, peer, key));
                continue;
            }
            let done = match &directive.answer {
                Answer::Undo => self.undo(&peer, &key, directive)?,
                answer => self.answer(&peer, &key, &directive.draft, answer)?,
            };
            if done {
                self.settles.push(directive.conflict);
            }
        }
        Ok(())
    }

    fn has_moved_on(&self, peer: &Peer, key: &str, draft: &ConflictDraft) -> bool {
        let (hub, spoke) = (self.picture.hub.get(key), self.values(peer).get(key));
        hub != shown(draft.hub.as_ref()).as_ref() || spoke != shown(draft.spoke.as_ref()).as_ref()
    }

    /// Settles what was answered, and is no question any more although the answer did not fit.
    pub fn settle_what_waits(&mut self) {
        for (conflict, peer, key) in std::mem::take(&mut self.waiting) {
            if !self.conflicts.contains_key(&(peer, key)) {
                self.settles.push(conflict);
            }
        }
    }

    fn item_of(&self, item: &str) -> (Peer, String) {
        if let Some((name, key)) = item.split_once(':')
            && self.picture.mirrors.contains_key(name)
            && key.starts_with("refs/")
        {
            return (Peer::Mirror(name.to_owned()), key.to_owned());
        }
        (Peer::Spoke, item.to_owned())
    }

    fn answer(&mut self, peer: &Peer, key: &str, draft: &ConflictDraft, answer: &Answer) -> Result<bool, GitError> {
        match answer {
            Answer::Take(Choice::Hub) => self.take(peer, key, Side::Hub, "a person chose the hub's side"),
            Answer::Take(Choice::Spoke) => self.take(peer, key, Side::Spoke, "a person chose the spoke's side"),
            Answer::Take(Choice::Base) => self.take_base(peer, key),
            Answer::Take(Choice::Suggested) => self.take_suggested(peer, key, shown(draft.suggested.as_ref())),
            // There are no fields or contents of a ref to give.
            Answer::Fields(_) | Answer::Content(_) | Answer::Undo => Ok(false),
        }
    }

    /// Lets the owner's policy answer, where it may.
    pub fn answered_by_policy(&mut self, peer: &Peer, key: &str, kind: &str) -> Result<bool, GitError> {
        let whole_tree = matches!(kind, "diverged" | "rewritten" | "rewound");
        let policy = match self.asked.policy {
            Some(policy) => policy,
            None if whole_tree => return Ok(false),
            None => self.context.spoke.policy,
        };
        if matches!(kind, "unrelated" | "missing_commit" | "directory_file") {
            return Ok(false);
        }
        match policy {
            ConflictPolicy::Hub => self.take(peer, key, Side::Hub, "policy: hub"),
            ConflictPolicy::Spoke => self.take(peer, key, Side::Spoke, "policy: spoke"),
            _ => Ok(false),
        }
    }

    fn take(&mut self, peer: &Peer, key: &str, side: Side, why: &str) -> Result<bool, GitError> {
        let (hub, spoke) = (self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned());
        let (chosen, other) =
            if side == Side::Hub { (hub.clone(), spoke.clone()) } else { (spoke.clone(), hub.clone()) };
        let (Some(chosen_value), Some(other_value)) = (&chosen, &other) else {
            let action = if chosen.is_some() { "restore" } else { "delete" };
            self.moves.insert(key.to_owned());
            self.set(peer, key, side.other(), chosen, action, why.to_owned());
            return Ok(true);
        };
        if Self::shape(key) != Shape::Branch {
            self.moves.insert(key.to_owned());
            self.set(peer, key, side.other(), chosen.clone(), "update", why.to_owned());
            return Ok(true);
        }
        let store = &self.context.store;
        let value = match store.relation(other_value, chosen_value) {
            Relation::Behind => chosen_value.clone(),
            Relation::Unknown => return Ok(false),
            relation => {
                let tree = store.commit(chosen_value)?.tree;
                let (hub, spoke) = (hub.unwrap_or_default(), spoke.unwrap_or_default());
                let both = ordered(peer, &hub, &spoke);
                let parents: &[&str] = if relation == Relation::Ahead { &[other_value.as_str()] } else { &both };
                merge::commit(store, &self.subject("resolve"), self.context.spoke.name.as_str(), parents, &tree, why)?
            }
        };
        self.set_both(peer, key, &value, why);
        Ok(true)
    }

    fn take_base(&mut self, peer: &Peer, key: &str) -> Result<bool, GitError> {
        let Some(base) = self.base_of(peer, key).cloned() else { return Ok(false) };
        let why = "a person chose what both sides last agreed on";
        if Self::shape(key) != Shape::Branch {
            self.moves.insert(key.to_owned());
            self.set_both(peer, key, &base, why);
            return Ok(true);
        }
        let store = &self.context.store;
        let (hub, spoke) = (self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned());
        let (Ok(facts), Some(one)) = (store.commit(&base), hub.clone().or_else(|| spoke.clone())) else {
            return Ok(false);
        };
        let (hub, spoke) = (hub.unwrap_or_else(|| one.clone()), spoke.unwrap_or(one));
        let both = ordered(peer, &hub, &spoke);
        let parents: Vec<&str> = match store.relation(&hub, &spoke) {
            Relation::Same | Relation::Behind => vec![spoke.as_str()],
            Relation::Ahead => vec![hub.as_str()],
            Relation::Unknown => return Ok(false),
            Relation::Diverged | Relation::Unrelated => both.to_vec(),
        };
        let name = self.context.spoke.name.as_str();
        let commit = merge::commit(store, &self.subject("resolve"), name, &parents, &facts.tree, why)?;
        self.set_both(peer, key, &commit, why);
        Ok(true)
    }

    fn take_suggested(&mut self, peer: &Peer, key: &str, suggested: Option<Oid>) -> Result<bool, GitError> {
        let Some(value) = suggested.filter(|v| self.context.store.has(v)) else { return Ok(false) };
        if Self::shape(key) == Shape::Branch {
            let store = &self.context.store;
            let sides = [self.picture.hub.get(key), self.values(peer).get(key)];
            let contains = |side: &Oid| matches!(store.relation(side, &value), Relation::Behind | Relation::Same);
            if !sides.into_iter().flatten().all(contains) {
                return Ok(false);
            }
        }
        self.set_both(peer, key, &value, "a person took the suggested merge");
        Ok(true)
    }

    fn set_both(&mut self, peer: &Peer, key: &str, value: &Oid, why: &str) {
        for side in [Side::Hub, Side::Spoke] {
            let there = if side == Side::Hub { &self.picture.hub } else { self.values(peer) };
            if there.get(key) != Some(value) {
                self.set(peer, key, side, Some(value.clone()), "resolve", why.to_owned());
            }
        }
    }

    /// Puts both sides back to what they were, where they still hold what the resolution made.
    fn undo(&mut self, peer: &Peer, key: &str, directive: &Directive) -> Result<bool, GitError> {
        let draft = &directive.draft;
        let (hub, spoke) = (self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned());
        let was = [shown(draft.hub.as_ref()), shown(draft.spoke.as_ref())];
        let restored = [hub.clone(), spoke.clone()] == was;
        let ours = hub == spoke && (Self::shape(key) != Shape::Branch || self.contains_all(hub.as_ref(), &was));
        if !ours && !restored {
            return Ok(false);
        }
        let why = "a person took the resolution back";
        for (side, value) in [Side::Hub, Side::Spoke].into_iter().zip(was) {
            let there = if side == Side::Hub { &self.picture.hub } else { self.values(peer) };
            if there.get(key) != value.as_ref() {
                self.moves.insert(key.to_owned());
                if key.starts_with("pin:") {
                    self.moves.insert(self.context.branch());
                }
                self.set(peer, key, side, value, "restore", why.to_owned());
            }
        }
        let base = match peer {
            Peer::Spoke => &mut self.base.items,
            Peer::Mirror(name) => self.base.mirrors.entry(name.clone()).or_default(),
        };
        match shown(draft.base.as_ref()) {
            Some(value) => drop(base.insert(key.to_owned(), value)),
            None => drop(base.remove(key)),
        }
        self.decided.insert((peer.clone(), key.to_owned()));
        self.conflicts.insert((peer.clone(), key.to_owned()), draft.clone());
        Ok(true)
    }

    fn contains_all(&self, value: Option<&Oid>, sides: &[Option<Oid>]) -> bool {
        let Some(value) = value else { return true };
        let store = &self.context.store;
        sides.iter().flatten().all(|s| matches!(store.relation(s, value), Relation::Behind | Relation::Same))
    }
}

fn shown(value: Option<&SideValue>) -> Option<Oid> {
    value.map(|v| v.shown.clone())
}
