//! A state store in memory.

use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cathedral_model::event::{Event, EventFilter, Message, NewEvent};
use cathedral_model::ids::{ConflictId, Cursor, Digest, Fence, NodeId, RunId, Seq, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::journal::Journaled;
use cathedral_model::observation::SpokeMemory;
use cathedral_model::plan::{Answer, ConflictDraft};
use cathedral_model::ports::store::{Claim, Effect, Enqueued, Record, RunRow};
use cathedral_model::ports::{Cause, PortError, Store};
use cathedral_model::run::{Request, RunSummary, Work};
use cathedral_model::time::Timestamp;

use super::lock;

struct Run {
    row: RunRow,
    holder: Option<(NodeId, Fence, Timestamp)>,
    journal: Vec<Journaled>,
}

#[derive(Default)]
struct Inner {
    runs: BTreeMap<RunId, Run>,
    fence: i64,
    memories: BTreeMap<SpokeName, SpokeMemory>,
    leases: BTreeMap<String, (NodeId, Fence, Timestamp)>,
    conflicts: BTreeMap<ConflictId, ConflictRecord>,
    events: Vec<Event>,
    messages: Vec<(Message, bool)>,
    keys: BTreeSet<String>,
    plans: BTreeMap<Digest, String>,
}

/// Keeps all state in maps.
#[derive(Default)]
pub struct MemoryStore(Mutex<Inner>);

impl MemoryStore {
    /// Whether somebody holds a live lease on the resource with this fence.
    #[must_use]
    pub fn is_leased(&self, resource: &str, fence: Fence, now: Timestamp) -> bool {
        lock(&self.0).leases.get(resource).is_some_and(|(_, f, until)| *f == fence && *until > now)
    }

    /// Returns all runs with their journals.
    #[must_use]
    pub fn all(&self) -> Vec<(RunRow, Vec<Journaled>)> {
        lock(&self.0).runs.values().map(|r| (r.row.clone(), r.journal.clone())).collect()
    }
}

impl Inner {
    fn next_fence(&mut self) -> Fence {
        self.fence += 1;
        Fence(self.fence)
    }

    fn held(&mut self, claim: &Claim) -> Result<&mut Run, PortError> {
        let fenced = || PortError::Fenced(format!("run {}", claim.run));
        let run = self.runs.get_mut(&claim.run).ok_or_else(fenced)?;
        let mine = run.holder.as_ref().is_some_and(|(n, f, _)| *n == claim.node && *f == claim.fence);
        if mine && run.row.state == "running" { Ok(run) } else { Err(fenced()) }
    }

    fn emit(&mut self, event: NewEvent, at: Timestamp) {
        let cursor = Cursor(i64::try_from(self.events.len()).unwrap_or(i64::MAX) + 1);
        self.events.push(Event { cursor, at, event });
    }

    fn file(&mut self, message: &Message) {
        if self.keys.insert(message.key.clone()) {
            self.messages.push((message.clone(), false));
        }
    }

    fn carry_out(&mut self, effect: &Effect, run: RunId, now: Timestamp) -> Result<(), PortError> {
        match effect {
            Effect::Remember { spoke, memory } => {
                self.memories.insert(spoke.clone(), memory.clone());
            }
            Effect::Reopen { conflict } => {
                let found = self.conflicts.get_mut(conflict);
                let found = found.ok_or_else(|| PortError::failed(Cause::NotFound, format!("conflict {conflict}")))?;
                found.state = ConflictState::Open;
                found.answer = None;
                found.actor = None;
                found.changed_at = now;
            }
            Effect::Conflicts { spoke, kind, drafts, settled } => {
                self.reconcile(spoke, *kind, drafts, settled, run, now);
            }
        }
        Ok(())
    }

    fn reconcile(
        &mut self,
        spoke: &SpokeName,
        kind: cathedral_model::ecosystem::SpokeKind,
        drafts: &[ConflictDraft],
        settled: &[ConflictId],
        run: RunId,
        now: Timestamp,
    ) {
        let waits = |c: &ConflictRecord| matches!(c.state, ConflictState::Open | ConflictState::Answered);
        let mut told = vec![];
        for record in self.conflicts.values_mut().filter(|c| &c.spoke == spoke && waits(c)) {
            if settled.contains(&record.id) {
                record.state = ConflictState::Settled;
                record.changed_at = now;
                told.push(("conflict.settled", record.id));
            } else if let Some(draft) = drafts.iter().find(|d| d.item == record.draft.item) {
                if *draft != record.draft {
                    let moved = !draft.is_of_same_sides(&record.draft);
                    let is_other = !draft.is_same_question(&record.draft);
                    record.draft = draft.clone();
                    record.changed_at = now;
                    record.versions += u32::from(moved);
                    if is_other {
                        record.state = ConflictState::Open;
                        record.answer = None;
                        record.actor = None;
                    }
                }
            } else if record.answer == Some(Answer::Undo) {
                // A run that was under way when the wish to undo came knows nothing of it.
            } else {
                record.state = ConflictState::AgreedOutside;
                record.changed_at = now;
                told.push(("conflict.settled", record.id));
            }
        }
        for draft in drafts {
            if self.conflicts.values().any(|c| &c.spoke == spoke && waits(c) && c.draft.item == draft.item) {
                continue;
            }
            let id = ConflictId(i64::try_from(self.conflicts.len()).unwrap_or(i64::MAX) + 1);
            let record = ConflictRecord {
                id,
                spoke: spoke.clone(),
                kind,
                draft: draft.clone(),
                state: ConflictState::Open,
                answer: None,
                actor: None,
                opened_by: run,
                opened_at: now,
                changed_at: now,
                versions: 1,
            };
            self.conflicts.insert(id, record);
            told.push(("conflict.opened", id));
        }
        for topic in ["conflict.opened", "conflict.settled"] {
            let ids: Vec<ConflictId> = told.iter().filter(|(what, _)| *what == topic).map(|(_, id)| *id).collect();
            let Some(first) = ids.first() else { continue };
            let payload = serde_json::json!({ "spoke": spoke, "run": run, "count": ids.len(), "conflicts": ids });
            self.file(&Message { key: format!("run:{run}:{topic}:{first}"), topic: topic.to_owned(), payload });
        }
        for (what, id) in told {
            let data = serde_json::json!({ "conflict": id });
            self.emit(NewEvent { kind: what.into(), run: Some(run), spoke: Some(spoke.clone()), data }, now);
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn enqueue(&self, request: &Request, now: Timestamp) -> Result<Enqueued, PortError> {
        let mut inner = lock(&self.0);
        if let Some(key) = request.coalescing_key() {
            let waiting = inner
                .runs
                .values_mut()
                .find(|r| r.row.state == "queued" && r.row.request.coalescing_key().as_deref() == Some(key.as_str()));
            if let Some(run) = waiting {
                run.row.request.priority = run.row.request.priority.max(request.priority);
                if let (Work::Sync(waiting), Work::Sync(joining)) = (&mut run.row.request.work, &request.work) {
                    waiting.force_snapshot |= joining.force_snapshot;
                }
                run.row.changed_at = now;
                return Ok(Enqueued::Coalesced(run.row.run));
            }
        }
        let id = RunId(i64::try_from(inner.runs.len()).unwrap_or(i64::MAX) + 1);
        let row = RunRow {
            run: id,
            request: request.clone(),
            state: "queued".into(),
            summary: RunSummary::default(),
            queued_at: now,
            changed_at: now,
        };
        inner.runs.insert(id, Run { row, holder: None, journal: vec![] });
        Ok(Enqueued::New(id))
    }

    async fn claim(&self, node: &NodeId, now: Timestamp, ttl_ms: u64) -> Result<Option<Claim>, PortError> {
        let mut inner = lock(&self.0);
        let free = |r: &Run| match &r.holder {
            None => true,
            Some((holder, _, until)) => holder == node || *until <= now,
        };
        let mut found: Vec<(bool, i32, RunId)> = inner
            .runs
            .values()
            .filter(|r| r.row.state != "finished" && free(r))
            .map(|r| (r.row.state == "queued", -r.row.request.priority.rank(), r.row.run))
            .collect();
        found.sort();
        let Some((_, _, id)) = found.first().copied() else { return Ok(None) };
        let fence = inner.next_fence();
        let expires = now.plus_ms(ttl_ms);
        let Some(run) = inner.runs.get_mut(&id) else { return Ok(None) };
        run.row.state = "running".into();
        run.row.changed_at = now;
        run.holder = Some((node.clone(), fence, expires));
        Ok(Some(Claim { run: id, request: run.row.request.clone(), node: node.clone(), fence, expires }))
    }

    async fn renew(&self, claim: &Claim, now: Timestamp, ttl_ms: u64) -> Result<(), PortError> {
        let mut inner = lock(&self.0);
        inner.held(claim)?.holder = Some((claim.node.clone(), claim.fence, now.plus_ms(ttl_ms)));
        Ok(())
    }

    async fn release(&self, claim: &Claim, now: Timestamp) -> Result<(), PortError> {
        let mut inner = lock(&self.0);
        let run = inner.held(claim)?;
        run.holder = None;
        run.row.changed_at = now;
        Ok(())
    }

    async fn record(&self, claim: &Claim, record: &Record, now: Timestamp) -> Result<(), PortError> {
        let mut inner = lock(&self.0);
        let run = inner.held(claim)?;
        if record.seq != Seq(i64::try_from(run.journal.len()).unwrap_or(i64::MAX)) {
            return Err(PortError::Fenced(format!("run {}: {} is not the next record", claim.run, record.seq)));
        }
        // Effects may fail: they go first, so that nothing is half done.
        for effect in &record.effects {
            if let Effect::Reopen { conflict } = effect
                && !inner.conflicts.contains_key(conflict)
            {
                return Err(PortError::failed(Cause::NotFound, format!("conflict {conflict}")));
            }
        }
        for effect in &record.effects {
            inner.carry_out(effect, claim.run, now)?;
        }
        for event in &record.events {
            inner.emit(NewEvent { run: event.run.or(Some(claim.run)), ..event.clone() }, now);
        }
        for message in &record.messages {
            inner.file(message);
        }
        let run = inner.held(claim)?;
        run.journal.push(Journaled { seq: record.seq, at: now, event: record.event.clone() });
        run.row.summary = record.summary.clone();
        run.row.changed_at = now;
        if record.finished {
            run.row.state = "finished".into();
            run.holder = None;
        }
        Ok(())
    }

    async fn journal(&self, run: RunId) -> Result<Vec<Journaled>, PortError> {
        Ok(lock(&self.0).runs.get(&run).map(|r| r.journal.clone()).unwrap_or_default())
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, PortError> {
        Ok(lock(&self.0).runs.get(&run).map(|r| r.row.clone()))
    }

    async fn runs(&self, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, PortError> {
        let inner = lock(&self.0);
        let older = |r: &&Run| before.is_none_or(|b| r.row.run < b);
        Ok(inner.runs.values().rev().filter(older).take(limit as usize).map(|r| r.row.clone()).collect())
    }

    async fn memory(&self, spoke: &SpokeName) -> Result<SpokeMemory, PortError> {
        Ok(lock(&self.0).memories.get(spoke).cloned().unwrap_or_default())
    }

    async fn memories(&self) -> Result<BTreeMap<SpokeName, SpokeMemory>, PortError> {
        Ok(lock(&self.0).memories.clone())
    }

    async fn forget_base(&self, spoke: &SpokeName, base: &Digest, _: Timestamp) -> Result<bool, PortError> {
        let mut inner = lock(&self.0);
        let Some(memory) = inner.memories.get_mut(spoke).filter(|m| m.base == Some(*base)) else { return Ok(false) };
        *memory = SpokeMemory::default();
        Ok(true)
    }

    async fn lease(
        &self,
        resource: &str,
        holder: &NodeId,
        now: Timestamp,
        ttl_ms: u64,
    ) -> Result<Option<Fence>, PortError> {
        let mut inner = lock(&self.0);
        let until = now.plus_ms(ttl_ms);
        let fence = match inner.leases.get(resource) {
            Some((other, _, ends)) if other != holder && *ends > now => return Ok(None),
            Some((same, fence, _)) if same == holder => *fence,
            _ => {
                inner.fence = inner.fence.max(now.0 / 1_000);
                inner.next_fence()
            }
        };
        inner.leases.insert(resource.to_owned(), (holder.clone(), fence, until));
        Ok(Some(fence))
    }

    async fn unlease(&self, resource: &str, holder: &NodeId) -> Result<(), PortError> {
        let mut inner = lock(&self.0);
        if let Some(lease) = inner.leases.get_mut(resource)
            && lease.0 == *holder
        {
            // Kept with no time left: the next holder still gets a larger fence.
            lease.0 = NodeId::new("");
            lease.2 = Timestamp(i64::MIN);
        }
        Ok(())
    }

    async fn conflicts(
        &self,
        spoke: Option<&SpokeName>,
        states: &[ConflictState],
    ) -> Result<Vec<ConflictRecord>, PortError> {
        let wanted = |c: &&ConflictRecord| {
            spoke.is_none_or(|s| *s == c.spoke) && (states.is_empty() || states.contains(&c.state))
        };
        Ok(lock(&self.0).conflicts.values().filter(wanted).cloned().collect())
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<ConflictRecord>, PortError> {
        Ok(lock(&self.0).conflicts.get(&id).cloned())
    }

    async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
        seen: Option<&ConflictRecord>,
        now: Timestamp,
    ) -> Result<ConflictRecord, PortError> {
        let mut inner = lock(&self.0);
        let missing = || PortError::failed(Cause::NotFound, format!("there is no conflict {id}"));
        let record = inner.conflicts.get_mut(&id).ok_or_else(missing)?;
        if seen.is_some_and(|seen| *seen != *record) {
            let message = format!("conflict {id} has changed since it was looked at");
            return Err(PortError::failed(Cause::Refused, message));
        }
        let allowed = match record.state {
            ConflictState::Open | ConflictState::Answered => *answer != Answer::Undo,
            ConflictState::Settled => *answer == Answer::Undo,
            ConflictState::AgreedOutside => false,
        };
        if !allowed {
            let message = format!("conflict {id} is {}: it cannot be answered so", record.state.as_str());
            return Err(PortError::failed(Cause::Refused, message));
        }
        record.state = ConflictState::Answered;
        record.answer = Some(answer.clone());
        record.actor = Some(actor.to_owned());
        record.changed_at = now;
        let out = record.clone();
        let data = serde_json::json!({ "conflict": id, "actor": actor });
        inner.emit(NewEvent { kind: "conflict.answered".into(), run: None, spoke: Some(out.spoke.clone()), data }, now);
        Ok(out)
    }

    async fn events(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, PortError> {
        Ok(lock(&self.0).events.iter().filter(|e| e.cursor > after).take(limit as usize).cloned().collect())
    }

    async fn newest_event(&self) -> Result<Cursor, PortError> {
        Ok(lock(&self.0).events.last().map_or(Cursor(0), |e| e.cursor))
    }

    async fn events_before(
        &self,
        before: Option<Cursor>,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, PortError> {
        let wanted = |e: &&Event| before.is_none_or(|b| e.cursor < b) && filter.wants(&e.event);
        Ok(lock(&self.0).events.iter().rev().filter(wanted).take(limit as usize).cloned().collect())
    }

    async fn publish(&self, events: &[NewEvent], now: Timestamp) -> Result<(), PortError> {
        let mut inner = lock(&self.0);
        for event in events {
            inner.emit(event.clone(), now);
        }
        Ok(())
    }

    async fn undelivered(&self, limit: u32) -> Result<Vec<Message>, PortError> {
        let inner = lock(&self.0);
        Ok(inner.messages.iter().filter(|(_, sent)| !sent).take(limit as usize).map(|(m, _)| m.clone()).collect())
    }

    async fn delivered(&self, key: &str, _now: Timestamp) -> Result<(), PortError> {
        for (message, sent) in &mut lock(&self.0).messages {
            if message.key == key {
                *sent = true;
            }
        }
        Ok(())
    }

    async fn save_plan(&self, plan: &Digest, text: &str, _now: Timestamp) -> Result<(), PortError> {
        lock(&self.0).plans.insert(*plan, text.to_owned());
        Ok(())
    }

    async fn plan(&self, prefix: &str) -> Result<Option<(Digest, String)>, PortError> {
        let inner = lock(&self.0);
        let found: Vec<_> = inner.plans.iter().filter(|(id, _)| id.to_string().starts_with(prefix)).collect();
        match found.as_slice() {
            [] => Ok(None),
            [(id, text)] => Ok(Some((**id, (*text).clone()))),
            _ => Err(PortError::failed(Cause::Invalid, format!("several plans begin with {prefix}"))),
        }
    }
}
