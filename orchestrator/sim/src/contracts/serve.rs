//! What every store of a serving hub promises: schedules, deliveries in and out, accounts, versions.
//!
//! One subject is all ports at once, since what they promise crosses them: a fire files a run and
//! writes an event.

use std::sync::Arc;

use cathedral_model::event::Event;
use cathedral_model::ids::{Cursor, Digest, SpokeName};
use cathedral_model::ports::{Accounts, Cause, ConfigVersions, Intake, OutgoingStore, PortError, Schedules, Store};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use cathedral_model::time::Timestamp;
use futures_util::future::BoxFuture;

mod accounts;
mod intake;
mod outgoing;
mod schedules;
mod versions;

/// Everything that a hub keeps.
pub trait Hub: Store + Schedules + Intake + Accounts + OutgoingStore + ConfigVersions {}

impl<T: Store + Schedules + Intake + Accounts + OutgoingStore + ConfigVersions> Hub for T {}

/// A store under test.
pub type Subject = Arc<dyn Hub>;

/// A promise and the function that checks it on an empty store, panicking when it is broken.
pub type Check = (&'static str, fn(Subject) -> BoxFuture<'static, ()>);

/// Returns all checks.
pub fn checks() -> impl Iterator<Item = Check> {
    [schedules::CHECKS, intake::CHECKS, accounts::CHECKS, outgoing::CHECKS, versions::CHECKS]
        .into_iter()
        .flatten()
        .copied()
}

/// Runs every check, each on a fresh store from `make`, and panics with the names of those that fail.
pub async fn suite(make: impl Fn() -> BoxFuture<'static, Subject>) {
    super::keep(checks(), make).await;
}

/// A moment `seconds` after the beginning of the check.
fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000_000_000 + seconds * 1_000_000)
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A request that is joined only to requests for the same spoke.
fn request(name: &str) -> Request {
    let sync =
        SyncRequest { spokes: vec![SpokeName::new(name).expect("the contract holds")], ..SyncRequest::default() };
    Request { priority: Priority::Schedule, cause: format!("sync of {name}"), work: Work::Sync(sync) }
}

async fn all_events(hub: &Subject) -> Vec<Event> {
    hub.events(Cursor(0), 1_000_000).await.expect("the contract holds")
}

async fn kinds(hub: &Subject) -> Vec<String> {
    all_events(hub).await.into_iter().map(|e| e.event.kind).collect()
}

#[track_caller]
fn assert_permanent<T: std::fmt::Debug>(result: Result<T, PortError>, expected: Cause) {
    match result {
        Err(PortError::Permanent { cause, .. }) if cause == expected => {}
        other => panic!("a permanent failure ({expected:?}) is expected, found {other:?}"),
    }
}
