//! What people and the owner's policy say about conflicts, carried out so that nothing is lost: a
//! branch gets a commit that holds both sides as parents, a tag moves only after it was pinned.

use cathedral_model::ecosystem::{ConflictPolicy, Side};
use cathedral_model::plan::{Answer, Choice, ConflictDraft, Directive, NOT_UNDONE, SideValue};

use super::decide::Shape;
use super::failure::GitError;
use super::merge;
use super::object::{Oid, short};
use super::payload::{Answered, Refused, Resolved};
use super::plan::{Peer, Planner, ordered};
use super::store::Relation;

impl Planner<'_> {
    /// Carries out every answer that still fits what stands there now.
    pub fn carry_out_answers(&mut self) -> Result<(), GitError> {
        for directive in &self.asked.directives {
            let (peer, key) = self.item_of(&directive.draft.item);
            if directive.answer == Answer::Undo {
                self.undo(peer, key, directive);
                continue;
            }
            if self.is_frozen(&peer, &key) {
                continue;
            }
            if self.has_moved_on(&peer, &key, &directive.draft) {
                // Half done before a crash, or settled by people: known when everything is decided.
                self.waiting.push((directive.conflict, peer, key));
                continue;
            }
            let was = self.both(&peer, &key);
            if self.answer(&peer, &key, &directive.draft, &directive.answer)? {
                self.answered.insert((peer, key), Some(was));
                self.settles.push(directive.conflict);
            }
        }
        Ok(())
    }

    /// What hub and peer hold of an item.
    fn both(&self, peer: &Peer, key: &str) -> [Option<Oid>; 2] {
        [self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned()]
    }

    /// Lists what answers leave, and remembers it: nothing else may be taken back.
    pub fn note_answers(&mut self) -> Vec<Answered> {
        let mut out = Vec::new();
        for ((peer, key), was) in std::mem::take(&mut self.answered) {
            let (item, left) = (peer.item(&key), self.both(&peer, &key));
            if let Some(was) = was {
                self.base.answers.insert(item.clone(), Resolved { was, left: left.clone() });
            }
            let mirror = if let Peer::Mirror(name) = peer { Some(name) } else { None };
            out.push(Answered { item, mirror, key, left });
        }
        out
    }

    fn has_moved_on(&self, peer: &Peer, key: &str, draft: &ConflictDraft) -> bool {
        let (hub, spoke) = (self.picture.hub.get(key), self.values(peer).get(key));
        hub != shown(draft.hub.as_ref()).as_ref() || spoke != shown(draft.spoke.as_ref()).as_ref()
    }

    /// Settles what was answered, and is no question any more although the answer did not fit.
    pub fn settle_what_waits(&mut self) {
        for (conflict, peer, key) in std::mem::take(&mut self.waiting) {
            let place = (peer, key);
            if !self.conflicts.contains_key(&place) {
                self.settles.push(conflict);
                self.answered.insert(place, None);
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
            Answer::Fields(_) | Answer::Content(_) | Answer::Undo | Answer::With(_) => Ok(false),
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
        let was = self.both(peer, key);
        let done = match policy {
            ConflictPolicy::Hub => self.take(peer, key, Side::Hub, "policy: hub")?,
            ConflictPolicy::Spoke => self.take(peer, key, Side::Spoke, "policy: spoke")?,
            _ => false,
        };
        if done {
            self.answered.entry((peer.clone(), key.to_owned())).or_insert(Some(was));
        }
        Ok(done)
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

    /// Puts both sides back to what they were, if they hold exactly what the answer left, or says why not.
    /// Either way the wish is dealt with: it must not wait for a later run and other sides.
    fn undo(&mut self, peer: Peer, key: String, directive: &Directive) {
        self.settles.push(directive.conflict);
        let place = (peer, key);
        self.decided.insert(place.clone());
        let (peer, key) = &place;
        match self.why_not_undone(peer, key, &directive.draft) {
            Some(why) => self.refused.push(Refused { item: directive.draft.item.clone(), why }),
            None => {
                self.put_back(peer, key, &directive.draft);
                self.answered.insert(place, None);
            }
        }
    }

    fn why_not_undone(&self, peer: &Peer, key: &str, draft: &ConflictDraft) -> Option<String> {
        let name = super::name_for_people(key);
        if self.is_frozen(peer, key) {
            return Some(format!("{NOT_UNDONE}: {name} is refused at one side"));
        }
        let was = [shown(draft.hub.as_ref()), shown(draft.spoke.as_ref())];
        let now = self.both(peer, key);
        let answer = self.base.answers.get(&draft.item).filter(|a| a.was == was);
        let left = answer.map(|a| &a.left);
        for (n, side) in [Side::Hub, Side::Spoke].into_iter().enumerate() {
            // Put back already, by a run that came to its end at one side only.
            if now[n] == was[n] || left.is_some_and(|left| left[n] == now[n]) {
                continue;
            }
            let holds = match now[n].as_deref() {
                Some(oid) => format!("{name} has moved on to {} at the {}", short(Some(oid)), side.as_str()),
                None => format!("{name} is gone at the {}", side.as_str()),
            };
            let instead = match left.map(|left| left[n].as_deref()) {
                Some(Some(oid)) => format!("the answer left {}", short(Some(oid))),
                Some(None) => "the answer left nothing there".to_owned(),
                None => "what an answer left there is not known".to_owned(),
            };
            return Some(format!("{NOT_UNDONE}: {holds}; {instead}"));
        }
        None
    }

    fn put_back(&mut self, peer: &Peer, key: &str, draft: &ConflictDraft) {
        let was = [shown(draft.hub.as_ref()), shown(draft.spoke.as_ref())];
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
        self.conflicts.insert((peer.clone(), key.to_owned()), draft.clone());
    }
}

fn shown(value: Option<&SideValue>) -> Option<Oid> {
    value.map(|v| v.shown.clone())
}
