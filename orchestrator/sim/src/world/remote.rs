//! Spokes as maps from keys to versions, and a syncer over them. Every version a person writes is new,
//! so that a lost one can be named.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Arc, Mutex};

use cathedral_model::ecosystem::{DataSync, Side, Spoke};
use cathedral_model::ids::{Digest, Fence, RunId, SpokeName};
use cathedral_model::observation::{Digests, Observation, SideState};
use cathedral_model::plan::{
    Action, Answer, Applied, Choice, ConflictDraft, PlanContext, SideValue, Skipped, SpokePlan,
};
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use cathedral_model::ports::{Cause, Content, PortError, Sink, Source, Syncer};
use cathedral_model::snapshot::PartKey;

use super::{Bug, Shared, State};
use crate::memory::lock;

/// One side: what each key holds.
pub type Map = BTreeMap<String, u64>;

/// The two sides of a spoke and the newest fence that wrote to them.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    pub hub: Map,
    pub spoke: Map,
    pub fence: Fence,
}

impl Pair {
    pub fn side(&self, side: Side) -> &Map {
        match side {
            Side::Hub => &self.hub,
            Side::Spoke => &self.spoke,
        }
    }

    pub fn side_mut(&mut self, side: Side) -> &mut Map {
        match side {
            Side::Hub => &mut self.hub,
            Side::Spoke => &mut self.spoke,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Write {
    side: Side,
    key: String,
    expect: Option<u64>,
    to: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Payload {
    writes: Vec<Write>,
    base: Map,
    old_base: Map,
}

/// A syncer over the world's spokes.
pub struct RemoteSyncer {
    pub shared: Arc<Shared>,
    pub hub: usize,
    /// What exports have read of spokes that are to be remembered.
    pub held: Mutex<BTreeMap<SpokeName, BTreeMap<Side, Map>>>,
}

fn state(map: &Map) -> SideState {
    SideState {
        digest: Digest::of(format!("{map:?}").as_bytes()),
        position: format!("{} keys", map.len()),
        items: map.len() as u64,
    }
}

fn shown(version: Option<u64>) -> Option<SideValue> {
    version.map(|v| SideValue { shown: v.to_string(), content: None })
}

fn version(value: Option<&SideValue>) -> Option<u64> {
    value.and_then(|v| v.shown.parse().ok())
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, PortError> {
    serde_json::to_vec(value).map_err(|e| PortError::permanent(e.to_string()))
}

fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, PortError> {
    serde_json::from_slice(bytes).map_err(|e| PortError::Corrupt(e.to_string()))
}

struct Planner<'a> {
    pair: &'a Pair,
    payload: Payload,
    conflicts: Vec<ConflictDraft>,
    settles: Vec<cathedral_model::ids::ConflictId>,
}

impl Planner<'_> {
    fn write(&mut self, side: Side, key: &str, to: Option<u64>) {
        let expect = self.pair.side(side).get(key).copied();
        if expect != to {
            self.payload.writes.push(Write { side, key: key.to_owned(), expect, to });
        }
    }

    /// Both sides get `to`, and agree on it.
    fn agree(&mut self, key: &str, to: Option<u64>) {
        self.write(Side::Hub, key, to);
        self.write(Side::Spoke, key, to);
        self.base(key, to);
    }

    fn base(&mut self, key: &str, to: Option<u64>) {
        match to {
            Some(to) => self.payload.base.insert(key.to_owned(), to),
            None => self.payload.base.remove(key),
        };
    }

    fn park(&mut self, key: &str, base: Option<u64>, hub: Option<u64>, spoke: Option<u64>) {
        self.conflicts.push(ConflictDraft {
            item: key.to_owned(),
            place: key.to_owned(),
            conflict_kind: "update/update".into(),
            because: "both sides changed it".into(),
            base: shown(base),
            hub: shown(hub),
            spoke: shown(spoke),
            suggested: None,
            table: None,
            pk: vec![],
            fields: vec![],
            group: vec![],
        });
    }

    fn key(&mut self, mode: DataSync, key: &str, context: &PlanContext) {
        let base = self.payload.old_base.get(key).copied();
        let (hub, spoke) = (self.pair.hub.get(key).copied(), self.pair.spoke.get(key).copied());
        let directive = context.directives.iter().find(|d| d.draft.item == key);
        if let Some(directive) = directive {
            self.settles.push(directive.conflict);
            let draft = &directive.draft;
            match &directive.answer {
                Answer::Undo if hub == spoke => {
                    let (to_hub, to_spoke) = (version(draft.hub.as_ref()), version(draft.spoke.as_ref()));
                    self.write(Side::Hub, key, to_hub);
                    self.write(Side::Spoke, key, to_spoke);
                    self.base(key, version(draft.base.as_ref()));
                    self.park(key, version(draft.base.as_ref()), to_hub, to_spoke);
                    return;
                }
                Answer::Take(Choice::Hub) => return self.agree(key, hub),
                Answer::Take(Choice::Spoke) => return self.agree(key, spoke),
                _ => {}
            }
        }
        if hub == spoke {
            return self.base(key, hub);
        }
        let first = context.base.is_none();
        match mode {
            DataSync::Bidirectional if spoke == base && !(first && hub.is_none()) => self.agree(key, hub),
            DataSync::Bidirectional if hub == base && !(first && spoke.is_none()) => self.agree(key, spoke),
            DataSync::Bidirectional if first && hub.is_none() => self.agree(key, spoke),
            DataSync::Bidirectional if first && spoke.is_none() => self.agree(key, hub),
            DataSync::HubDistribution if spoke == base => self.agree(key, hub),
            _ => self.park(key, base, hub, spoke),
        }
    }
}

impl RemoteSyncer {
    /// What was read for the snapshot, when it is what the plan is to go by.
    fn held(&self, spoke: &SpokeName, context: &PlanContext) -> Option<BTreeMap<Side, Map>> {
        let sides = lock(&self.held).remove(spoke)?;
        let digests: BTreeMap<Side, Digest> = sides.iter().map(|(side, map)| (*side, state(map).digest)).collect();
        (digests.len() == 2 && digests == context.held).then_some(sides)
    }

    /// Fails while the side is away.
    fn there(&self, spoke: &SpokeName, side: Side) -> Result<(), PortError> {
        if lock(&self.shared.state).away.contains(&(spoke.clone(), side)) {
            let message = format!("the {} of {spoke} is away", side.as_str());
            return Err(PortError::failed(Cause::Unreachable, message));
        }
        Ok(())
    }

    fn both_there(&self, spoke: &SpokeName) -> Result<(), PortError> {
        self.there(spoke, Side::Hub).and_then(|()| self.there(spoke, Side::Spoke))
    }

    fn pair(&self, spoke: &SpokeName) -> Pair {
        lock(&self.shared.state).pairs.get(spoke).cloned().unwrap_or_default()
    }

    async fn write(&self, spoke: &SpokeName, write: &Write, fence: Fence) -> Result<Option<Skipped>, PortError> {
        self.shared.gate(self.hub, format!("write {spoke} {write:?} under {fence}")).await?;
        let skipped = self.write_now(spoke, write, fence)?;
        self.shared.gate(self.hub, format!("write {spoke} answered")).await?;
        Ok(skipped)
    }

    fn write_now(&self, spoke: &SpokeName, write: &Write, fence: Fence) -> Result<Option<Skipped>, PortError> {
        self.there(spoke, write.side)?;
        let now = self.shared.exec.now();
        let mut state = lock(&self.shared.state);
        let key = PartKey { spoke: spoke.clone(), side: write.side };
        let (current, newest) = {
            let pair = state.pairs.entry(spoke.clone()).or_default();
            (pair.side(write.side).get(&write.key).copied(), pair.fence)
        };
        if current == write.to {
            return Ok(None);
        }
        if fence < newest {
            return Err(PortError::Fenced(spoke.to_string()));
        }
        if current != write.expect && self.shared.bug != Bug::BlindPush {
            return Ok(Some(Skipped { target: write.key.clone(), why: "it moved on".into() }));
        }
        if let Some(old) = current {
            if !state.pins.contains(&(spoke.clone(), write.key.clone(), old)) {
                state.violations.push(format!("no pin: {spoke}/{} {old} was replaced", write.key));
            }
            if !self.shared.vault.holds(&key, write.key.as_bytes(), old.to_string().as_bytes()) {
                state.violations.push(format!("no side lost: {spoke}/{} {old} is in no snapshot", write.key));
            }
        }
        if !self.shared.store.is_leased(&format!("spoke:{spoke}"), fence, now) && fence >= newest {
            // The lease may have ended in this very moment; the fence still orders the writers.
            self.shared.exec.note(format!("{spoke} written as its lease ended"));
        }
        state.hub_writes += 1;
        let pair = state.pairs.entry(spoke.clone()).or_default();
        pair.fence = pair.fence.max(fence);
        match write.to {
            Some(to) => pair.side_mut(write.side).insert(write.key.clone(), to),
            None => pair.side_mut(write.side).remove(&write.key),
        };
        Ok(None)
    }
}

#[async_trait]
impl Syncer for RemoteSyncer {
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        self.shared.gate(self.hub, format!("observe {}", spoke.name)).await?;
        self.both_there(&spoke.name)?;
        let mut pair = self.pair(&spoke.name);
        if self.shared.bug == Bug::StaleLook {
            let seen = &mut lock(&self.shared.state).seen;
            pair = seen.entry((self.hub, spoke.name.clone())).or_insert(pair).clone();
        }
        Ok(Observation { hub: state(&pair.hub), spoke: state(&pair.spoke), warnings: vec![] })
    }

    async fn observe_side(&self, spoke: &Spoke, side: Side) -> Result<SideState, PortError> {
        self.shared.gate(self.hub, format!("observe {} {side:?}", spoke.name)).await?;
        self.there(&spoke.name, side)?;
        if self.shared.bug == Bug::BothOrNone {
            self.both_there(&spoke.name)?;
        }
        Ok(state(self.pair(&spoke.name).side(side)))
    }

    async fn plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError> {
        self.shared.gate(self.hub, format!("plan {} {:?}", spoke.name, context.base)).await?;
        self.both_there(&spoke.name)?;
        let pair = self.pair(&spoke.name);
        let old_base: Map = match &context.base {
            Some(id) => read(&self.shared.content.get(id)?)?,
            None => Map::new(),
        };
        let held = self.held(&spoke.name, context);
        let payload = Payload { writes: vec![], base: old_base.clone(), old_base };
        let mut planner = Planner { pair: &pair, payload, conflicts: vec![], settles: vec![] };
        let mut keys: BTreeSet<String> = pair.hub.keys().chain(pair.spoke.keys()).cloned().collect();
        keys.extend(planner.payload.old_base.keys().cloned());
        keys.extend(context.directives.iter().map(|d| d.draft.item.clone()));
        let mut restricted = false;
        for key in keys {
            let is_busy = |side: Side, then: &Map| pair.side(side).get(&key) != then.get(&key);
            if held.iter().flatten().any(|(side, then)| is_busy(*side, then)) {
                restricted = true;
                continue;
            }
            planner.key(spoke.data_sync, &key, context);
        }
        let actions = planner.payload.writes.iter().map(|w| Action {
            side: w.side,
            target: w.key.clone(),
            action: "update".into(),
            from: w.expect.map(|v| v.to_string()).unwrap_or_default(),
            to: w.to.map(|v| v.to_string()).unwrap_or_default(),
            reason: String::new(),
        });
        Ok(SpokePlan {
            spoke: spoke.name.clone(),
            expected: match &held {
                Some(held) => {
                    Digests { hub: state(&held[&Side::Hub]).digest, spoke: state(&held[&Side::Spoke]).digest }
                }
                None => Digests { hub: state(&pair.hub).digest, spoke: state(&pair.spoke).digest },
            },
            actions: actions.collect(),
            conflicts: planner.conflicts,
            settles: planner.settles,
            guards: vec![],
            payload: self.shared.content.put(&json(&planner.payload)?)?,
            restricted,
        })
    }

    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, _run: RunId) -> Result<(), PortError> {
        self.shared.gate(self.hub, format!("pin {}", spoke.name)).await?;
        if self.shared.bug == Bug::SkipPin {
            return Ok(());
        }
        let payload: Payload = read(&self.shared.content.get(&plan.payload)?)?;
        let mut state = lock(&self.shared.state);
        for write in payload.writes {
            if let Some(old) = write.expect {
                state.pins.insert((spoke.name.clone(), write.key, old));
            }
        }
        for draft in &plan.conflicts {
            for value in [&draft.hub, &draft.spoke, &draft.base] {
                if let Some(version) = version(value.as_ref()) {
                    state.pins.insert((spoke.name.clone(), draft.item.clone(), version));
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, _run: RunId, fence: Fence) -> Result<Applied, PortError> {
        let mut payload: Payload = read(&self.shared.content.get(&plan.payload)?)?;
        let mut skipped = vec![];
        for write in &payload.writes {
            if let Some(skip) = self.write(&spoke.name, write, fence).await? {
                match payload.old_base.get(&write.key) {
                    Some(old) => payload.base.insert(write.key.clone(), *old),
                    None => payload.base.remove(&write.key),
                };
                skipped.push(skip);
            }
        }
        // Read back: what the sides hold is what is reported, also what others wrote meanwhile.
        self.shared.gate(self.hub, format!("read back {}", spoke.name)).await?;
        self.both_there(&spoke.name)?;
        let pair = self.pair(&spoke.name);
        let (changes_in, changes_out) = plan.changes();
        Ok(Applied {
            hub: state(&pair.hub),
            spoke: state(&pair.spoke),
            base: self.shared.content.put(&json(&payload.base)?)?,
            changes_in,
            changes_out,
            skipped,
        })
    }

    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        self.shared.gate(self.hub, format!("export {} {place:?}", spoke.name)).await?;
        let Place::Live(side) = place else { return Err(PortError::permanent("the world has no other places")) };
        self.there(&spoke.name, *side)?;
        let pair = self.pair(&spoke.name);
        for (key, version) in pair.side(*side) {
            let content = version.to_string();
            let kind = EntryKind::File { size: content.len() as u64 };
            let entry = TreeEntry { path: key.clone().into_bytes(), kind, mode: 0o644, mtime_ns: 0 };
            sink.entry(&entry, None, Some(&mut content.as_bytes() as &mut dyn Read))?;
        }
        if let Some(sides) = lock(&self.held).get_mut(&spoke.name) {
            sides.insert(*side, pair.side(*side).clone());
        }
        Ok(state(pair.side(*side)))
    }

    fn remember(&self, spoke: &SpokeName) {
        lock(&self.held).insert(spoke.clone(), BTreeMap::new());
    }

    fn forget(&self, spoke: &SpokeName) {
        lock(&self.held).remove(spoke);
    }

    async fn import(
        &self,
        spoke: &Spoke,
        place: &Place,
        source: &mut dyn Source,
        run: RunId,
        fence: Fence,
    ) -> Result<Imported, PortError> {
        let Place::Live(side) = place else { return Err(PortError::permanent("the world has no other places")) };
        let begun = lock(&self.shared.state).versions;
        let mut wanted = Map::new();
        source.entries(&mut |entry, content| {
            let mut text = String::new();
            if let Some(content) = content {
                content.read_to_string(&mut text).map_err(|e| PortError::io("entry", &e))?;
            }
            wanted.insert(String::from_utf8_lossy(&entry.path).into_owned(), text.parse().unwrap_or(0));
            Ok(())
        })?;
        self.shared.gate(self.hub, format!("import {} {side:?} under {fence}", spoke.name)).await?;
        self.there(&spoke.name, *side)?;
        let mut guard = lock(&self.shared.state);
        let State { pairs, pins, hub_writes, displaced, .. } = &mut *guard;
        let pair = pairs.entry(spoke.name.clone()).or_default();
        if fence < pair.fence {
            return Err(PortError::Fenced(spoke.name.to_string()));
        }
        for (key, version) in pair.side(*side) {
            pins.insert((spoke.name.clone(), key.clone(), *version));
            // What somebody writes while it is being written over is in what the syncer keeps only.
            if *version <= begun && wanted.get(key) != Some(version) {
                let (spoke, key) = (spoke.name.clone(), key.clone());
                displaced.push(super::Displaced { run, spoke, key, version: *version });
            }
        }
        pair.fence = fence;
        *pair.side_mut(*side) = wanted;
        *hub_writes += 1;
        Ok(Imported { path: format!("{} {}", spoke.name, side.as_str()), files: 0, bytes: 0, kept: None })
    }
}
