//! What every state store promises, as named checks on fresh stores.
//!
//! The checks know no runtime: what happens at once is joined, not spawned, so that a simulated store
//! and a real server run the same suite. Time is passed in and never read.

use std::sync::Arc;

use cathedral_model::event::{Event, NewEvent};
use cathedral_model::ids::{Cursor, Digest, NodeId, Seq, SpokeName};
use cathedral_model::plan::{ConflictDraft, SideValue};
use cathedral_model::ports::store::{Claim, Effect, Record, Store};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::run::{Priority, Request, RunSummary, SyncRequest, Work};
use cathedral_model::time::Timestamp;
use futures_util::future::BoxFuture;
use serde_json::json;

mod inbox;
mod log;
mod queue;
mod record;

/// A store under test.
pub type Subject = Arc<dyn Store>;

/// A promise and the function that checks it on an empty store, panicking when it is broken.
pub type Check = (&'static str, fn(Subject) -> BoxFuture<'static, ()>);

/// Returns all checks.
pub fn checks() -> impl Iterator<Item = Check> {
    [queue::CHECKS, record::CHECKS, inbox::CHECKS, log::CHECKS].into_iter().flatten().copied()
}

/// Runs every check, each on a fresh store from `make`, and panics with the names of those that fail.
pub async fn suite(make: impl Fn() -> BoxFuture<'static, Subject>) {
    super::keep(checks(), make).await;
}

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] =
            &[$((stringify!($name), |store| Box::pin($name(store)))),*];
    };
}
pub(super) use promises;

const TTL_MS: u64 = 60_000;

/// A moment `seconds` after the beginning of the check.
fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name)
}

fn spoke(name: &str) -> SpokeName {
    SpokeName::new(name).expect("the contract holds")
}

/// A request that is joined only to requests for the same spoke.
fn request(priority: Priority, name: &str) -> Request {
    let sync = SyncRequest { spokes: vec![spoke(name)], ..SyncRequest::default() };
    Request { priority, cause: format!("sync of {name}"), work: Work::Sync(sync) }
}

/// A run of its own, claimed by a node of its own.
async fn claimed(store: &Subject, name: &str) -> Claim {
    let run = store.enqueue(&request(Priority::Incident, name), at(0)).await.expect("the contract holds").run();
    let claim = store.claim(&node(name), at(0), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(claim.run, run, "only the run just filed is waiting");
    claim
}

/// A record without consequences.
fn step(seq: i64) -> Record {
    Record {
        seq: Seq(seq),
        event: json!({ "event": "step", "number": seq }),
        summary: RunSummary::default(),
        effects: vec![],
        events: vec![],
        messages: vec![],
        finished: false,
    }
}

fn effects(seq: i64, effects: Vec<Effect>) -> Record {
    Record { effects, ..step(seq) }
}

fn value(shown: &str) -> Option<SideValue> {
    Some(SideValue { shown: shown.to_owned(), content: Some(Digest::of(shown.as_bytes())) })
}

/// A dispute over `item` between two values.
fn dispute(item: &str, hub: &str, spoke: &str) -> ConflictDraft {
    ConflictDraft {
        item: item.to_owned(),
        place: format!("the {item}"),
        conflict_kind: "update/update".to_owned(),
        because: "both sides changed it".to_owned(),
        base: value("base"),
        hub: value(hub),
        spoke: value(spoke),
        suggested: None,
        table: None,
        pk: vec![],
        fields: vec![],
        group: vec![],
    }
}

fn note(kind: &str) -> NewEvent {
    NewEvent { kind: kind.to_owned(), run: None, spoke: None, data: json!({ "for": kind }) }
}

async fn all_events(store: &Subject) -> Vec<Event> {
    store.events(Cursor(0), 1_000_000).await.expect("the contract holds")
}

async fn kinds(store: &Subject) -> Vec<String> {
    all_events(store).await.into_iter().map(|e| e.event.kind).collect()
}

#[track_caller]
fn assert_fenced<T: std::fmt::Debug>(result: Result<T, PortError>) {
    assert!(matches!(result, Err(PortError::Fenced(_))), "fenced is expected, found {result:?}");
}

#[track_caller]
fn assert_permanent<T: std::fmt::Debug>(result: Result<T, PortError>, expected: Option<Cause>) {
    match result {
        Err(PortError::Permanent { cause, .. }) if expected.is_none_or(|e| e == cause) => {}
        other => panic!("a permanent failure ({expected:?}) is expected, found {other:?}"),
    }
}
