//! Faults between the engine and its ports: delays, lost calls, lost answers, stalls, crashes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use std::sync::Arc;

use cathedral_engine::BEFORE_RESTORE;
use cathedral_model::event::{Event, EventFilter, Message, NewEvent};
use cathedral_model::ids::{ConflictId, Cursor, Digest, Fence, LeafIndex, NodeId, RunId, SnapshotId, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::journal::Journaled;
use cathedral_model::observation::SpokeMemory;
use cathedral_model::plan::Answer;
use cathedral_model::ports::env::Task;
use cathedral_model::ports::ledger::{Head, NewLeaf};
use cathedral_model::ports::store::{Claim, Enqueued, Record, RunRow};
use cathedral_model::ports::{
    Cause, Env, Ledger, Notifier, PortError, Progress, Sink, SnapshotWriter, Source, Store, Vault,
};
use cathedral_model::run::Request;
use cathedral_model::snapshot::{CheckLevel, CheckReport, PartKey, SnapshotInfo, SnapshotMeta, VaultLook};
use cathedral_model::time::Timestamp;

use super::Shared;
use crate::memory::lock;

/// A bug planted to show that the invariants see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Nothing is pinned before a write.
    SkipPin,
    /// Snapshots are reported but not kept.
    SkipSnapshot,
    /// The same, but only for those taken before a restore in place.
    SkipRestoreSnapshot,
    /// Once a spoke has been looked at, every further look shows the same.
    StaleLook,
    /// The store acknowledges a record it did not write.
    DropRecord,
    /// Writes do not look at what they replace.
    BlindPush,
    /// Messages leave before the record they belong to.
    AnnounceEarly,
    /// The merge base is not remembered after an apply.
    ForgetBase,
    /// While one side cannot be read, the other one is not looked at either.
    BothOrNone,
}

impl Shared {
    /// Passes a call on, late, or not at all; the caller may crash here.
    pub async fn gate(&self, hub: usize, call: String) -> Result<(), PortError> {
        self.exec.note(format!("hub{hub} {call}"));
        for _ in 0..self.exec.below(3) {
            self.exec.pass().await;
        }
        if self.exec.fault(4) {
            self.exec.crash(hub);
            std::future::pending::<()>().await;
        }
        // A stall long enough to lose every lease.
        if self.exec.fault(4) {
            self.exec.sleep(45_000).await;
        }
        if self.exec.fault(12) {
            self.exec.note(format!("hub{hub} lost: {call}"));
            return Err(PortError::transient(Cause::Unreachable, "the call was lost"));
        }
        Ok(())
    }

    pub fn violate(&self, what: String) {
        lock(&self.state).violations.push(what);
    }
}

/// The surroundings of one hub.
pub struct HubEnv {
    pub shared: Arc<Shared>,
    pub hub: usize,
}

impl Env for HubEnv {
    fn now(&self) -> Timestamp {
        self.shared.exec.now()
    }

    fn entropy(&self, into: &mut [u8]) {
        for byte in into {
            *byte = u8::try_from(self.shared.exec.below(256)).unwrap_or(0);
        }
    }

    fn spawn(&self, task: Task) {
        self.shared.exec.spawn(self.hub, task);
    }

    fn sleep(&self, ms: u64) -> Task {
        self.shared.exec.sleep(ms)
    }

    fn reached(&self, point: &str) {
        self.shared.exec.note(format!("hub{} reached {point}", self.hub));
        if let Some((run, event)) = point.strip_prefix("journal:").and_then(|rest| rest.split_once(':')) {
            let there =
                self.shared.store.all().iter().any(|(row, journal)| {
                    row.run.to_string() == run && journal.iter().any(|j| j.event["event"] == event)
                });
            if !there {
                self.shared.violate(format!("acknowledged means recorded: {point} is not in the journal"));
            }
        }
        self.shared.exec.reached(self.hub, point);
    }
}

pub struct FaultyStore {
    pub shared: Arc<Shared>,
    pub hub: usize,
}

/// A call whose request may be lost before, and whose answer may be lost after it took effect.
macro_rules! through {
    ($self:ident, $name:literal, $args:expr, $call:expr) => {{
        $self.shared.gate($self.hub, format!("{} {:?}", $name, $args)).await?;
        let result = $call.await;
        $self.shared.gate($self.hub, format!("{} answered", $name)).await?;
        result
    }};
}

#[async_trait]
impl Store for FaultyStore {
    async fn enqueue(&self, request: &Request, now: Timestamp) -> Result<Enqueued, PortError> {
        through!(self, "enqueue", request, self.shared.store.enqueue(request, now))
    }

    async fn claim(&self, node: &NodeId, now: Timestamp, ttl_ms: u64) -> Result<Option<Claim>, PortError> {
        through!(self, "claim", node, self.shared.store.claim(node, now, ttl_ms))
    }

    async fn renew(&self, claim: &Claim, _now: Timestamp, ttl_ms: u64) -> Result<(), PortError> {
        through!(self, "renew", claim, self.shared.store.renew(claim, self.shared.exec.now(), ttl_ms))
    }

    async fn release(&self, claim: &Claim, now: Timestamp) -> Result<(), PortError> {
        through!(self, "release", claim, self.shared.store.release(claim, now))
    }

    async fn record(&self, claim: &Claim, record: &Record, now: Timestamp) -> Result<(), PortError> {
        if self.shared.bug == Bug::AnnounceEarly {
            for message in &record.messages {
                let box_ = Postbox { shared: Arc::clone(&self.shared), hub: self.hub };
                let _ = box_.deliver(message).await;
            }
        }
        if self.shared.bug == Bug::DropRecord && self.shared.exec.fault(30) {
            return Ok(());
        }
        let mut record = record.clone();
        if self.shared.bug == Bug::ForgetBase {
            record.effects.retain(|e| !matches!(e, cathedral_model::ports::store::Effect::Remember { .. }));
        }
        let args = format!("{} {} {}", claim.run, record.seq, record.event);
        through!(self, "record", args, self.shared.store.record(claim, &record, now))
    }

    async fn journal(&self, run: RunId) -> Result<Vec<Journaled>, PortError> {
        through!(self, "journal", run, self.shared.store.journal(run))
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, PortError> {
        through!(self, "run", run, self.shared.store.run(run))
    }

    async fn runs(&self, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, PortError> {
        through!(self, "runs", limit, self.shared.store.runs(before, limit))
    }

    async fn memory(&self, spoke: &SpokeName) -> Result<SpokeMemory, PortError> {
        through!(self, "memory", spoke, self.shared.store.memory(spoke))
    }

    async fn memories(&self) -> Result<BTreeMap<SpokeName, SpokeMemory>, PortError> {
        through!(self, "memories", (), self.shared.store.memories())
    }

    async fn forget_base(&self, spoke: &SpokeName, base: &Digest, now: Timestamp) -> Result<bool, PortError> {
        through!(self, "forget_base", spoke, self.shared.store.forget_base(spoke, base, now))
    }

    async fn lease(
        &self,
        resource: &str,
        holder: &NodeId,
        _now: Timestamp,
        ttl_ms: u64,
    ) -> Result<Option<Fence>, PortError> {
        through!(self, "lease", resource, self.shared.store.lease(resource, holder, self.shared.exec.now(), ttl_ms))
    }

    async fn unlease(&self, resource: &str, holder: &NodeId) -> Result<(), PortError> {
        through!(self, "unlease", resource, self.shared.store.unlease(resource, holder))
    }

    async fn conflicts(
        &self,
        spoke: Option<&SpokeName>,
        states: &[ConflictState],
    ) -> Result<Vec<ConflictRecord>, PortError> {
        through!(self, "conflicts", spoke, self.shared.store.conflicts(spoke, states))
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<ConflictRecord>, PortError> {
        through!(self, "conflict", id, self.shared.store.conflict(id))
    }

    async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
        seen: Option<&ConflictRecord>,
        now: Timestamp,
    ) -> Result<ConflictRecord, PortError> {
        through!(self, "answer", (id, answer), self.shared.store.answer(id, answer, actor, seen, now))
    }

    async fn events(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, PortError> {
        through!(self, "events", after, self.shared.store.events(after, limit))
    }

    async fn newest_event(&self) -> Result<Cursor, PortError> {
        through!(self, "newest_event", (), self.shared.store.newest_event())
    }

    async fn events_before(
        &self,
        before: Option<Cursor>,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, PortError> {
        through!(self, "events_before", (before, filter), self.shared.store.events_before(before, filter, limit))
    }

    async fn publish(&self, events: &[NewEvent], now: Timestamp) -> Result<(), PortError> {
        through!(self, "publish", events, self.shared.store.publish(events, now))
    }

    async fn undelivered(&self, limit: u32) -> Result<Vec<Message>, PortError> {
        through!(self, "undelivered", limit, self.shared.store.undelivered(limit))
    }

    async fn delivered(&self, key: &str, now: Timestamp) -> Result<(), PortError> {
        through!(self, "delivered", key, self.shared.store.delivered(key, now))
    }

    async fn save_plan(&self, plan: &Digest, text: &str, now: Timestamp) -> Result<(), PortError> {
        through!(self, "save_plan", plan, self.shared.store.save_plan(plan, text, now))
    }

    async fn plan(&self, prefix: &str) -> Result<Option<(Digest, String)>, PortError> {
        through!(self, "plan", prefix, self.shared.store.plan(prefix))
    }
}

pub struct FaultyLedger {
    pub shared: Arc<Shared>,
    pub hub: usize,
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn append(&self, leaf: &NewLeaf) -> Result<LeafIndex, PortError> {
        through!(self, "append", leaf.id, self.shared.ledger.append(leaf))
    }

    async fn head(&self) -> Result<Head, PortError> {
        through!(self, "head", (), self.shared.ledger.head())
    }

    async fn find(&self, id: &str) -> Result<Option<LeafIndex>, PortError> {
        through!(self, "find", id, self.shared.ledger.find(id))
    }
}

pub struct FaultyVault {
    pub shared: Arc<Shared>,
    pub hub: usize,
}

struct FaultyWriter {
    shared: Arc<Shared>,
    hub: usize,
    inner: Box<dyn SnapshotWriter>,
}

#[async_trait]
impl SnapshotWriter for FaultyWriter {
    async fn reuse(
        &self,
        key: &PartKey,
        kind: cathedral_model::ecosystem::SpokeKind,
        observed: &Digest,
    ) -> Result<bool, PortError> {
        through!(self, "reuse", (key, observed), self.inner.reuse(key, kind, observed))
    }

    async fn carry(
        &self,
        key: &PartKey,
        kind: cathedral_model::ecosystem::SpokeKind,
        why: &str,
    ) -> Result<bool, PortError> {
        through!(self, "carry", (key, why), self.inner.carry(key, kind, why))
    }

    fn part(&self, key: &PartKey, kind: cathedral_model::ecosystem::SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        self.inner.part(key, kind)
    }

    async fn commit(&self) -> Result<SnapshotInfo, PortError> {
        let info = through!(self, "commit", (), self.inner.commit())?;
        let is_lost = match self.shared.bug {
            Bug::SkipSnapshot => true,
            // People restore from a snapshot only, so that the others must stay for this one to be missed.
            Bug::SkipRestoreSnapshot => info.meta.cause.starts_with(BEFORE_RESTORE),
            _ => false,
        };
        if is_lost {
            self.shared.vault.forget(&info.meta.id);
        }
        Ok(info)
    }
}

#[async_trait]
impl Vault for FaultyVault {
    async fn begin(&self, meta: &SnapshotMeta) -> Result<Result<Box<dyn SnapshotWriter>, SnapshotInfo>, PortError> {
        let begun = through!(self, "begin", meta.id, self.shared.vault.begin(meta))?;
        let wrap = |inner| -> Box<dyn SnapshotWriter> {
            Box::new(FaultyWriter { shared: Arc::clone(&self.shared), hub: self.hub, inner })
        };
        Ok(begun.map(wrap))
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>, PortError> {
        through!(self, "list", (), self.shared.vault.list())
    }

    async fn newest(&self) -> Result<Option<SnapshotId>, PortError> {
        through!(self, "newest", (), self.shared.vault.newest())
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<SnapshotInfo, PortError> {
        through!(self, "snapshot", id, self.shared.vault.snapshot(id))
    }

    async fn open(&self, id: &SnapshotId, key: &PartKey) -> Result<Box<dyn Source>, PortError> {
        through!(self, "open", (id, key), self.shared.vault.open(id, key))
    }

    fn prover(&self, key: &PartKey, kind: cathedral_model::ecosystem::SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        self.shared.vault.prover(key, kind)
    }

    async fn check(
        &self,
        level: CheckLevel,
        only: &[SnapshotId],
        progress: &dyn Progress,
    ) -> Result<CheckReport, PortError> {
        self.shared.vault.check(level, only, progress).await
    }

    async fn look(&self) -> Result<VaultLook, PortError> {
        through!(self, "look", (), self.shared.vault.look())
    }
}

/// Where announcements arrive: nothing may arrive that is not committed and in the log.
pub struct Postbox {
    pub shared: Arc<Shared>,
    pub hub: usize,
}

#[async_trait]
impl Notifier for Postbox {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        self.shared.gate(self.hub, format!("deliver {}", message.key)).await?;
        // Of a run's end; what it does on the way may be told at once.
        let is_end = ["run.", "restore."].iter().any(|start| message.topic.starts_with(start));
        let run = message.payload.get("run").and_then(serde_json::Value::as_i64).filter(|_| is_end).map(RunId);
        let row = match run {
            Some(run) => self.shared.store.run(run).await?,
            None => None,
        };
        if is_end && row.is_none_or(|r| r.state != "finished") {
            self.shared.violate(format!("announced before commit: {}", message.key));
        }
        lock(&self.shared.state).delivered.push(message.key.clone());
        self.shared.gate(self.hub, format!("deliver {} answered", message.key)).await
    }
}
