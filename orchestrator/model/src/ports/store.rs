//! The state store: every method is one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::ecosystem::SpokeKind;
use crate::event::{Event, EventFilter, Message, NewEvent};
use crate::ids::{ConflictId, Cursor, Digest, Fence, NodeId, RunId, Seq, SpokeName};
use crate::inbox::{ConflictRecord, ConflictState};
use crate::journal::Journaled;
use crate::observation::SpokeMemory;
use crate::plan::{Answer, ConflictDraft};
use crate::run::{Request, RunSummary};
use crate::time::Timestamp;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    New(RunId),
    /// A waiting run with the same coalescing key takes the request along (and its priority, if higher).
    Coalesced(RunId),
}

impl Enqueued {
    /// Returns the run either way.
    #[must_use]
    pub fn run(self) -> RunId {
        match self {
            Self::New(run) | Self::Coalesced(run) => run,
        }
    }
}

/// The right to drive one run until the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub run: RunId,
    pub request: Request,
    pub node: NodeId,
    /// Grows with every claim of any run in this store.
    pub fence: Fence,
    pub expires: Timestamp,
}

/// A change of state that goes with a journal record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Replaces what is remembered of a spoke.
    Remember { spoke: SpokeName, memory: SpokeMemory },
    /// The complete list of a spoke's disputed items: new ones are opened, known ones (same spoke and
    /// item) updated, `settled` ones closed as carried out, others that are no longer disputed are
    /// closed as agreed outside.
    Conflicts { spoke: SpokeName, kind: SpokeKind, drafts: Vec<ConflictDraft>, settled: Vec<ConflictId> },
    /// Puts a conflict back to open: its answer was undone, or cannot be carried out.
    Reopen { conflict: ConflictId },
}

/// One journal record with everything that must be committed together with it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Must be the next position of the run's journal.
    pub seq: Seq,
    pub event: serde_json::Value,
    pub summary: RunSummary,
    pub effects: Vec<Effect>,
    pub events: Vec<NewEvent>,
    pub messages: Vec<Message>,
    /// True for the last record: the run leaves the queue and the claim ends.
    pub finished: bool,
}

/// A run as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunId,
    pub request: Request,
    /// `queued`, `running` or `finished`.
    pub state: String,
    pub summary: RunSummary,
    pub queued_at: Timestamp,
    pub changed_at: Timestamp,
}

/// Holds the hub's state. Every method is one transaction; what returned `Ok` survives a crash.
#[async_trait]
pub trait Store: Send + Sync {
    /// Files a request, or joins it to a waiting one with the same coalescing key.
    async fn enqueue(&self, request: &Request, now: Timestamp) -> Result<Enqueued, PortError>;

    /// Takes the waiting run of the highest priority (oldest first within one), or a run whose holder's
    /// lease has ended, or a run that this same node holds (one node drives one run at a time, so it was
    /// restarted); unfinished runs go before waiting ones, runs driven elsewhere are left alone. Every
    /// claim gets a new, larger fence.
    async fn claim(&self, node: &NodeId, now: Timestamp, ttl_ms: u64) -> Result<Option<Claim>, PortError>;

    /// Prolongs a claim; [`PortError::Fenced`] when it has been taken over.
    async fn renew(&self, claim: &Claim, now: Timestamp, ttl_ms: u64) -> Result<(), PortError>;

    /// Gives a claim back without finishing the run; it can be claimed again at once.
    async fn release(&self, claim: &Claim, now: Timestamp) -> Result<(), PortError>;

    /// Appends to the journal, updates the summary, carries out the effects, writes events and outbox:
    /// all or nothing. Refused as [`PortError::Fenced`] when the claim is no longer this one's or `seq`
    /// is not the next.
    async fn record(&self, claim: &Claim, record: &Record, now: Timestamp) -> Result<(), PortError>;

    /// Returns the journal of a run, oldest first.
    async fn journal(&self, run: RunId) -> Result<Vec<Journaled>, PortError>;

    /// Returns one run.
    async fn run(&self, run: RunId) -> Result<Option<RunRow>, PortError>;

    /// Lists runs, newest first, before the given one.
    async fn runs(&self, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, PortError>;

    /// Returns what is remembered of a spoke; the default when nothing is.
    async fn memory(&self, spoke: &SpokeName) -> Result<SpokeMemory, PortError>;

    /// Returns what is remembered of all spokes, in one question.
    async fn memories(&self) -> Result<BTreeMap<SpokeName, SpokeMemory>, PortError>;

    /// Forgets what both sides of a spoke agreed on, if that still is `base`: the next sync compares them
    /// afresh. Says whether it was.
    async fn forget_base(&self, spoke: &SpokeName, base: &Digest, now: Timestamp) -> Result<bool, PortError>;

    /// Takes the lease on a resource, or prolongs it for the same holder; none when somebody else
    /// holds it. Each change of holder gets a larger fence.
    async fn lease(
        &self,
        resource: &str,
        holder: &NodeId,
        now: Timestamp,
        ttl_ms: u64,
    ) -> Result<Option<Fence>, PortError>;

    /// Gives a lease back.
    async fn unlease(&self, resource: &str, holder: &NodeId) -> Result<(), PortError>;

    /// Lists conflicts by id; all states when `states` is empty.
    async fn conflicts(
        &self,
        spoke: Option<&SpokeName>,
        states: &[ConflictState],
    ) -> Result<Vec<ConflictRecord>, PortError>;

    /// Returns one conflict.
    async fn conflict(&self, id: ConflictId) -> Result<Option<ConflictRecord>, PortError>;

    /// Records a person's answer to an open or answered conflict ([`Answer::Undo`]: to a settled one),
    /// with an event; the conflict is `answered` then. With `seen`, only while the conflict still is as it was
    /// when somebody looked at it: of several answers in the same instant one is taken, the others are refused.
    async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
        seen: Option<&ConflictRecord>,
        now: Timestamp,
    ) -> Result<ConflictRecord, PortError>;

    /// Returns events after a cursor, oldest first.
    async fn events(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, PortError>;

    /// Returns the cursor of the newest event; zero when there is none.
    async fn newest_event(&self) -> Result<Cursor, PortError>;

    /// Returns events before a cursor (none: from the newest on) that a filter asks for, newest first.
    async fn events_before(
        &self,
        before: Option<Cursor>,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, PortError>;

    /// Writes events that belong to no run (administrative acts).
    async fn publish(&self, events: &[NewEvent], now: Timestamp) -> Result<(), PortError>;

    /// Returns messages that have not been delivered, oldest first.
    async fn undelivered(&self, limit: u32) -> Result<Vec<Message>, PortError>;

    /// Marks a message as delivered.
    async fn delivered(&self, key: &str, now: Timestamp) -> Result<(), PortError>;

    /// Saves a plan under its id, for `sync --plan`.
    async fn save_plan(&self, plan: &Digest, text: &str, now: Timestamp) -> Result<(), PortError>;

    /// Returns a saved plan whose id starts with `prefix`; [`super::Cause::Invalid`] when several do.
    async fn plan(&self, prefix: &str) -> Result<Option<(Digest, String)>, PortError>;
}
