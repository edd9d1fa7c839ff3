//! Plans one spoke: decides every item on a picture of all sides until nothing moves any more, so that
//! one run brings hub, spoke and mirrors to rest, then writes down the differences.

use cathedral_model::canonical;
use cathedral_model::ecosystem::{DataSync, GitIntegration, GitMerge, MirrorMode, Side};
use cathedral_model::ids::{ConflictId, Digest};
use cathedral_model::observation::Digests;
use cathedral_model::plan::{Action, ConflictDraft, PlanContext, SideValue, SpokePlan};
use cathedral_model::ports::Content;
use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Decision, Item, Rules, Shape, decide};
use super::disputed::{Disputed, described, few_of};
use super::facts::{Context, Facts, path_key, pin_key};
use super::failure::GitError;
use super::guard;
use super::merge::{self, Merged};
use super::object::{Oid, short};
use super::paths;
use super::payload::{BASE, Base, PLAN, Payload, Pin, Refused, Target, Write};
use super::refs::{Values, colliding, escaped};
use super::store::Relation;

/// A picture of all sides, as it is or as it will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    pub hub: Values,
    pub spoke: Values,
    /// The spoke's branch where it is not an item itself.
    pub branch: Option<Oid>,
    pub mirrors: BTreeMap<String, Values>,
}

/// Which remote an item is compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Spoke,
    Mirror(String),
}

impl Peer {
    /// The name of an item in conflicts.
    pub fn item(&self, key: &str) -> String {
        match self {
            Self::Spoke => key.to_owned(),
            Self::Mirror(name) => format!("{name}:{key}"),
        }
    }
}

/// The work of planning.
pub struct Planner<'a> {
    pub context: &'a Context<'a>,
    pub facts: &'a Facts,
    pub asked: &'a PlanContext,
    pub base: Base,
    pub picture: Picture,
    pub conflicts: BTreeMap<(Peer, String), ConflictDraft>,
    /// Why a write is made: by where and what.
    pub whys: BTreeMap<(Target, String), (&'static str, String)>,
    /// Items a person decided: they are not decided again.
    pub decided: BTreeSet<(Peer, String)>,
    pub moves: BTreeSet<String>,
    pub settles: Vec<ConflictId>,
    /// Answers that no longer fit.
    pub waiting: Vec<(ConflictId, Peer, String)>,
    /// Items that are decided by an answer or a policy, with what stood there before.
    pub answered: BTreeMap<(Peer, String), Option<[Option<Oid>; 2]>>,
    pub refused: Vec<Refused>,
    merges: BTreeMap<(Oid, Oid), Merged>,
}

impl<'a> Planner<'a> {
    /// Begins from what was found.
    pub fn new(context: &'a Context<'a>, facts: &'a Facts, asked: &'a PlanContext, base: Base) -> Self {
        let picture = Picture {
            hub: facts.hub.clone(),
            spoke: facts.spoke.clone(),
            branch: facts.spoke_refs.get(&context.branch()).cloned(),
            mirrors: facts
                .mirrors
                .iter()
                .filter(|(_, m)| m.unreachable.is_none())
                .map(|(n, m)| (n.clone(), m.refs.clone()))
                .collect(),
        };
        Self {
            context,
            facts,
            asked,
            base,
            picture,
            conflicts: BTreeMap::new(),
            whys: BTreeMap::new(),
            decided: BTreeSet::new(),
            moves: BTreeSet::new(),
            settles: Vec::new(),
            waiting: Vec::new(),
            answered: BTreeMap::new(),
            refused: Vec::new(),
            merges: BTreeMap::new(),
        }
    }

    /// Plans, and stores the instructions.
    pub fn run(mut self, expected: Digests, content: &dyn Content) -> Result<SpokePlan, GitError> {
        let planned = !matches!(self.context.detail.integration, GitIntegration::Master);
        if planned {
            self.carry_out_answers()?;
            self.settle_refs()?;
            if !self.context.detail.shared_paths.is_empty() {
                self.settle_paths()?;
                self.settle_refs()?;
            }
        }
        self.settle_what_waits();
        let answered = self.note_answers();
        let guards =
            guard::guards(&self.facts.hub, &self.facts.spoke, &self.base, self.context.detail.refs.max_vanish_percent);
        let writes = self.writes();
        for write in writes.iter().filter(|w| w.name.starts_with("path:")) {
            if let Some(value) = &write.new {
                self.written(&write.name, value)?;
            }
        }
        let conflicts: Vec<ConflictDraft> = self.conflicts.values().cloned().collect();
        let payload = Payload {
            v: PLAN.into(),
            spoke: self.context.spoke.name.as_str().into(),
            config: config_digest(self.context)?,
            pins: self.pins(&writes)?,
            head: self.head(),
            base: self.base.clone(),
            writes,
            answered,
            refused: self.refused.clone(),
        };
        let actions = payload.writes.iter().map(|w| self.action(w)).collect();
        let text = canonical::to_string(&payload).map_err(|e| GitError::Failed(e.to_string()))?;
        let payload = content.put(text.as_bytes())?;
        Ok(SpokePlan {
            spoke: self.context.spoke.name.clone(),
            expected,
            actions,
            conflicts,
            settles: self.settles,
            guards,
            payload,
            restricted: false,
        })
    }

    /// How an item key is compared.
    pub fn shape(key: &str) -> Shape {
        if key.starts_with("path:") {
            Shape::Content
        } else if key.starts_with("refs/tags/") {
            Shape::Tag
        } else {
            Shape::Branch
        }
    }

    fn direction(&self, peer: &Peer) -> DataSync {
        let Peer::Mirror(name) = peer else { return self.context.spoke.data_sync };
        if self.context.spoke.data_sync == DataSync::SnapshotOnly {
            return DataSync::SnapshotOnly;
        }
        let mode = self.context.mirrors().iter().find(|m| m.name.as_str() == name).map(|m| m.mode);
        match mode {
            Some(MirrorMode::Pull) => DataSync::Collect,
            Some(MirrorMode::Both) => DataSync::Bidirectional,
            Some(MirrorMode::Push) | None => DataSync::HubDistribution,
        }
    }

    fn rules(&self, peer: &Peer, key: &str) -> Rules {
        let is_note = key.starts_with("refs/") && !key.starts_with("refs/heads/");
        Rules {
            direction: self.direction(peer),
            prune: self.context.detail.refs.prune,
            merge: self.context.detail.merge == GitMerge::Merge && !is_note,
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers = vec![Peer::Spoke];
        peers.extend(self.picture.mirrors.keys().cloned().map(Peer::Mirror));
        peers
    }

    /// The values of a peer in the picture.
    pub fn values(&self, peer: &Peer) -> &Values {
        match peer {
            Peer::Spoke => &self.picture.spoke,
            Peer::Mirror(name) => self.picture.mirrors.get(name).unwrap_or(&self.picture.spoke),
        }
    }

    /// The agreed value of an item.
    pub fn base_of(&self, peer: &Peer, key: &str) -> Option<&Oid> {
        match peer {
            Peer::Spoke => self.base.items.get(key),
            Peer::Mirror(name) => self.base.mirrors.get(name)?.get(key),
        }
    }

    /// Decides refs and pins, pair by pair, until a whole round changes nothing.
    fn settle_refs(&mut self) -> Result<(), GitError> {
        for _ in 0..self.picture.mirrors.len() + 3 {
            let before = self.picture.clone();
            for peer in self.peers() {
                self.settle_pair(&peer)?;
            }
            if self.picture == before {
                break;
            }
        }
        Ok(())
    }

    fn settle_pair(&mut self, peer: &Peer) -> Result<(), GitError> {
        let mut keys: BTreeSet<String> = self.picture.hub.keys().chain(self.values(peer).keys()).cloned().collect();
        keys.retain(|k| {
            !k.starts_with("path:") && !self.is_frozen(peer, k) && !self.decided.contains(&(peer.clone(), k.clone()))
        });
        // Deletions first: a new name may need the place of an old one.
        let mut ordered: Vec<(bool, String)> = Vec::new();
        for key in keys {
            let deletes = matches!(self.decision(peer, &key), Decision::Set { value: None, .. });
            ordered.push((!deletes, key));
        }
        ordered.sort();
        for (_, key) in ordered {
            self.conflicts.remove(&(peer.clone(), key.clone()));
            match self.decision(peer, &key) {
                Decision::Agreed | Decision::Leave => {}
                Decision::Set { side, value, action, why } => self.set_one(peer, &key, side, value, action, why),
                Decision::Merge => self.merge_item(peer, &key)?,
                Decision::Conflict { kind, because } => self.dispute(peer, &key, kind, because)?,
            }
        }
        Ok(())
    }

    /// Says whether an item must be left alone in this run.
    pub fn is_frozen(&self, peer: &Peer, key: &str) -> bool {
        let frozen = &self.facts.frozen;
        match peer {
            Peer::Spoke => frozen.contains_key(key),
            // A ref that is refused from one remote is not passed on to another either.
            Peer::Mirror(name) => frozen.contains_key(key) || frozen.contains_key(&format!("{name}:{key}")),
        }
    }

    fn decision(&self, peer: &Peer, key: &str) -> Decision {
        let item = Item {
            shape: Self::shape(key),
            base: self.base_of(peer, key).map(String::as_str),
            hub: self.picture.hub.get(key).map(String::as_str),
            spoke: self.values(peer).get(key).map(String::as_str),
        };
        decide(item, self.rules(peer, key), &|a, b| self.context.store.relation(a, b))
    }

    fn set_one(&mut self, peer: &Peer, key: &str, side: Side, value: Option<Oid>, action: &'static str, why: &str) {
        let there = if side == Side::Hub { &self.picture.hub } else { self.values(peer) };
        if value.is_some()
            && !there.contains_key(key)
            && key.starts_with("refs/")
            && let Some(in_the_way) = colliding(there, key).map(str::to_owned)
        {
            let because =
                format!("{in_the_way} stands at the {} where a folder of that name would be needed", side.as_str());
            let draft = self.draft(peer, key, "directory_file", because, None);
            self.conflicts.insert((peer.clone(), key.to_owned()), draft);
            return;
        }
        self.set(peer, key, side, value, action, why.to_owned());
    }

    /// Sets a value in the picture, and remembers why.
    pub fn set(&mut self, peer: &Peer, key: &str, side: Side, value: Option<Oid>, action: &'static str, why: String) {
        let target = self.target(peer, key, side);
        let values = match (side, peer) {
            (Side::Hub, _) => &mut self.picture.hub,
            (Side::Spoke, Peer::Spoke) => &mut self.picture.spoke,
            (Side::Spoke, Peer::Mirror(name)) => self.picture.mirrors.entry(name.clone()).or_default(),
        };
        match &value {
            Some(oid) => drop(values.insert(key.to_owned(), oid.clone())),
            None => drop(values.remove(key)),
        }
        let mut name = key.to_owned();
        if target == Target::Spoke && key.starts_with("pin:") {
            self.picture.branch = value;
            name = self.context.branch();
        }
        self.whys.insert((target, name), (action, why));
    }

    fn target(&self, peer: &Peer, key: &str, side: Side) -> Target {
        match (side, peer) {
            (Side::Hub, _) if key.starts_with("refs/") => Target::HubStore,
            (Side::Hub, _) => Target::HubTree,
            (Side::Spoke, Peer::Spoke) => Target::Spoke,
            (Side::Spoke, Peer::Mirror(name)) => Target::Mirror(name.clone()),
        }
    }

    fn merge_item(&mut self, peer: &Peer, key: &str) -> Result<(), GitError> {
        let (Some(hub), Some(theirs)) = (self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned())
        else {
            return Ok(());
        };
        let store = &self.context.store;
        match self.merged(&hub, &theirs)? {
            Merged::Done { tree, resolved } => {
                let parents = ordered(peer, &hub, &theirs);
                let commit = merge::commit(
                    store,
                    &self.subject("merge"),
                    self.context.spoke.name.as_str(),
                    &parents,
                    &tree,
                    "",
                )?;
                let why = if resolved.is_empty() {
                    "both sides moved and merge cleanly".to_owned()
                } else {
                    format!("both sides moved; resolved {}", resolved.join(", "))
                };
                self.set(peer, key, Side::Hub, Some(commit.clone()), "merge", why.clone());
                self.set(peer, key, Side::Spoke, Some(commit), "merge", why);
                Ok(())
            }
            Merged::Open { files, .. } => {
                let because = format!("both sides changed {}", few_of(&files));
                self.dispute(peer, key, "diverged", because)
            }
            Merged::Unrelated => self.dispute(peer, key, "unrelated", "the two sides have no commit in common".into()),
        }
    }

    /// The subject of a commit we make for the followed branch.
    pub fn subject(&self, verb: &str) -> String {
        format!("{verb}: {}", self.context.spoke.name)
    }

    /// Merges two commits, once.
    pub fn merged(&mut self, hub: &Oid, theirs: &Oid) -> Result<Merged, GitError> {
        let pair = (hub.clone(), theirs.clone());
        if let Some(known) = self.merges.get(&pair) {
            return Ok(known.clone());
        }
        let policy = self.asked.policy.unwrap_or(self.context.spoke.policy);
        let merged = merge::merge(&self.context.store, self.context.spoke, policy, hub, theirs)?;
        self.merges.insert(pair, merged.clone());
        Ok(merged)
    }

    /// Files a conflict, unless the owner's policy answers it.
    fn dispute(&mut self, peer: &Peer, key: &str, kind: &'static str, because: String) -> Result<(), GitError> {
        if self.answered_by_policy(peer, key, kind)? {
            return Ok(());
        }
        let (suggested, files) = self.suggestion(peer, key, kind)?;
        let draft = ConflictDraft { fields: described(&files), ..self.draft(peer, key, kind, because, suggested) };
        self.conflicts.insert((peer.clone(), key.to_owned()), draft);
        Ok(())
    }

    /// Makes the merge commit that a person could take, where one can be made, and tells the files that stand
    /// against each other.
    fn suggestion(&mut self, peer: &Peer, key: &str, kind: &str) -> Result<(Option<Oid>, Vec<Disputed>), GitError> {
        let none = (None, Vec::new());
        let (Some(hub), Some(theirs)) = (self.picture.hub.get(key).cloned(), self.values(peer).get(key).cloned())
        else {
            return Ok(none);
        };
        if Self::shape(key) != Shape::Branch || !matches!(kind, "diverged" | "rewritten") {
            return Ok(none);
        }
        if self.context.store.relation(&hub, &theirs) != Relation::Diverged {
            return Ok(none);
        }
        let (tree, files) = match self.merged(&hub, &theirs)? {
            Merged::Done { tree, .. } => (Some(tree), Vec::new()),
            Merged::Open { suggested, files } => (suggested, files),
            Merged::Unrelated => none,
        };
        let Some(tree) = tree else { return Ok((None, files)) };
        let parents = ordered(peer, &hub, &theirs);
        let name = self.context.spoke.name.as_str();
        let commit = merge::commit(&self.context.store, &self.subject("merge"), name, &parents, &tree, "")?;
        Ok((Some(commit), files))
    }

    /// Describes an item in dispute.
    pub fn draft(&self, peer: &Peer, key: &str, kind: &str, because: String, suggested: Option<Oid>) -> ConflictDraft {
        let value = |oid: Option<&Oid>| oid.map(|o| SideValue { shown: o.clone(), content: None });
        let whose = match peer {
            Peer::Spoke => self.context.spoke.name.to_string(),
            Peer::Mirror(name) => format!("mirror {name}"),
        };
        let thing = match key.split_once(':') {
            Some(("pin", path)) => format!("branch {} and the pin {path}", self.context.detail.branch),
            Some((_, path)) => format!("shared path {path}"),
            None => super::name_for_people(key),
        };
        let mut because = because;
        if kind == "tag_moved" {
            because = format!("{because} ({})", self.tag_forms(peer, key));
        }
        ConflictDraft {
            item: peer.item(key),
            place: format!("{thing} of {whose}"),
            conflict_kind: kind.to_owned(),
            because,
            base: value(self.base_of(peer, key)),
            hub: value(self.picture.hub.get(key)),
            spoke: value(self.values(peer).get(key)),
            suggested: value(suggested.as_ref()),
            table: None,
            pk: Vec::new(),
            fields: Vec::new(),
            group: vec![],
        }
    }

    fn tag_forms(&self, peer: &Peer, key: &str) -> String {
        let form = |oid: Option<&Oid>| match oid {
            None => "absent".to_owned(),
            Some(oid) => match self.context.store.peeled(oid) {
                Some(commit) => format!("annotated, on {}", short(Some(&commit))),
                None => format!("lightweight, on {}", short(Some(oid))),
            },
        };
        format!("hub: {}; spoke: {}", form(self.picture.hub.get(key)), form(self.values(peer).get(key)))
    }

    /// Lists the differences between what is and what will be.
    fn writes(&self) -> Vec<Write> {
        let mut out = Vec::new();
        let branch = self.context.branch();
        let is_mirror = matches!(self.context.detail.integration, GitIntegration::Mirror { .. });
        let mut diff = |target: Target, now: &Values, then: &Values| {
            let names: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
            for name in names {
                let (old, new) = (now.get(name).cloned(), then.get(name).cloned());
                if old != new {
                    let why = self.whys.get(&(target.clone(), name.clone()));
                    let action = why.map_or("update", |w| w.0).to_owned();
                    let moves = self.moves.contains(name);
                    out.push(Write { target: target.clone(), name: name.clone(), old, new, action, moves });
                }
            }
        };
        let only = |values: &Values, tree: bool| -> Values {
            values.iter().filter(|(k, _)| k.starts_with("refs/") != tree).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        diff(Target::HubStore, &only(&self.facts.hub, false), &only(&self.picture.hub, false));
        diff(Target::HubTree, &only(&self.facts.hub, true), &only(&self.picture.hub, true));
        if is_mirror {
            diff(Target::Spoke, &only(&self.facts.spoke, false), &only(&self.picture.spoke, false));
        } else {
            let one = |oid: Option<&Oid>| oid.map(|o| Values::from([(branch.clone(), o.clone())])).unwrap_or_default();
            diff(Target::Spoke, &one(self.facts.spoke_refs.get(&branch)), &one(self.picture.branch.as_ref()));
        }
        for (name, then) in &self.picture.mirrors {
            let empty = Values::new();
            let now = self.facts.mirrors.get(name).map_or(&empty, |m| &m.refs);
            diff(Target::Mirror(name.clone()), now, then);
        }
        out
    }

    fn action(&self, write: &Write) -> Action {
        let target = match &write.target {
            Target::Mirror(name) => format!("{name}:{}", write.name),
            _ => write.name.split_once(':').map_or(write.name.as_str(), |(_, path)| path).to_owned(),
        };
        let pinned = write.target == Target::HubTree && write.name.starts_with("pin:");
        let (action, reason) = match self.whys.get(&(write.target.clone(), write.name.clone())) {
            Some((action, why)) => (*action, why.clone()),
            None => ("update", String::new()),
        };
        Action {
            side: write.target.side(),
            target,
            action: if pinned && write.old.is_some() { "bump" } else { action }.to_owned(),
            from: short(write.old.as_deref()),
            to: short(write.new.as_deref()),
            reason,
        }
    }

    /// Everything that is replaced, removed or in dispute.
    fn pins(&self, writes: &[Write]) -> Result<Vec<Pin>, GitError> {
        let mut pins = BTreeSet::new();
        let mut add = |side: &str, name: &str, oid: Option<&Oid>| -> Result<(), GitError> {
            let Some(oid) = oid else { return Ok(()) };
            let oid = if name.starts_with("path:") {
                paths::carrier(&self.context.store, &self.written(name, oid)?)?
            } else {
                oid.clone()
            };
            if self.context.store.has(&oid) {
                pins.insert(Pin { side: side.to_owned(), name: name.to_owned(), oid });
            }
            Ok(())
        };
        for write in writes {
            let side = match &write.target {
                Target::Mirror(name) => name.as_str(),
                target => target.side().as_str(),
            };
            add(side, &write.name, write.old.as_ref())?;
        }
        for ((peer, key), draft) in &self.conflicts {
            let shown = |value: &Option<SideValue>| value.as_ref().map(|v| v.shown.clone());
            let spoke = if let Peer::Mirror(name) = peer { name.as_str() } else { "spoke" };
            add("hub", key, shown(&draft.hub).as_ref())?;
            add(spoke, key, shown(&draft.spoke).as_ref())?;
            add("suggested", key, shown(&draft.suggested).as_ref())?;
            let base = shown(&draft.base).filter(|b| self.context.store.has(b));
            add("base", key, base.as_ref())?;
        }
        Ok(pins.into_iter().collect())
    }

    /// Makes sure that the wrapper of a shared path's value is an object of the store.
    pub fn written(&self, key: &str, value: &Oid) -> Result<Oid, GitError> {
        let store = &self.context.store;
        if store.has(value) {
            return Ok(value.clone());
        }
        let branch = self.context.branch();
        let tips = [self.facts.spoke_refs.get(&branch), self.picture.branch.as_ref(), self.picture.spoke.get(&branch)];
        if let Some(shared) = self.context.detail.shared_paths.iter().find(|s| path_key(s) == key) {
            for tip in tips.into_iter().flatten() {
                if let Some(entry) = store.entry_at(tip, &shared.spoke)?
                    && paths::write_value(store, &entry, &shared.hub)? == *value
                {
                    return Ok(value.clone());
                }
            }
        }
        Err(GitError::Corrupt(format!("the contents {value} of {key} are not in the store")))
    }

    /// The hub store of a mirror follows the spoke's default branch, unless the hub decides.
    fn head(&self) -> Option<String> {
        let is_mirror = matches!(self.context.detail.integration, GitIntegration::Mirror { .. });
        let follows = matches!(self.context.spoke.data_sync, DataSync::Bidirectional | DataSync::Collect);
        let head = self.facts.spoke_head.clone()?;
        let stands = self.picture.hub.contains_key(&head) || self.picture.hub.is_empty();
        (is_mirror && follows && stands && self.facts.hub_head.as_ref() != Some(&head)).then_some(head)
    }
}

/// Between hub and spoke the hub comes first; between mirrors the order must not depend on which of
/// them is looked at from where.
pub fn ordered<'o>(peer: &Peer, hub: &'o str, theirs: &'o str) -> [&'o str; 2] {
    if matches!(peer, Peer::Mirror(_)) && theirs < hub { [theirs, hub] } else { [hub, theirs] }
}

/// Digest of the spoke's declaration.
pub fn config_digest(context: &Context<'_>) -> Result<Digest, GitError> {
    let text = canonical::to_string(context.spoke).map_err(|e| GitError::Failed(e.to_string()))?;
    Ok(Digest::of(text.as_bytes()))
}

/// Reads the agreed state: from the content store, else from the copy among the store's refs.
pub fn read_base(context: &Context<'_>, id: Option<&Digest>, content: &dyn Content) -> Result<Base, GitError> {
    if let Some(id) = id {
        if super::heal::is_disregarded(&context.store, id) {
            return Ok(Base { v: BASE.into(), ..Base::default() });
        }
        let bytes = content.get(id)?;
        return serde_json::from_slice(&bytes).map_err(|e| GitError::Corrupt(format!("agreed state {id}: {e}")));
    }
    let mut base = Base { v: BASE.into(), ..Base::default() };
    let prefix = format!("refs/cathedral/base/{}/", context.spoke.name);
    for (name, oid) in context.store.refs(&prefix)? {
        let rest = &name[prefix.len()..];
        if let Some(pin) = context.pin().filter(|p| rest == format!("pin/{}/%tip", escaped(p))) {
            base.items.insert(pin_key(pin), oid);
        } else if let Some(shared) =
            context.detail.shared_paths.iter().find(|s| rest == format!("paths/{}/%tip", escaped(&s.hub)))
        {
            base.items.insert(path_key(shared), context.store.commit(&oid)?.tree);
        } else {
            base.items.insert(format!("refs/{rest}"), oid);
        }
    }
    Ok(base)
}
