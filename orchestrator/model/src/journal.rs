//! Long-running work as a fold over its journal.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;

use crate::ids::Seq;
use crate::time::Timestamp;

/// An event that cannot follow the events before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot follow in state {state}")]
pub struct IllegalTransition {
    pub state: String,
    pub event: String,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// Carry these steps out; they may run side by side and finish in any order.
    Do(Vec<S>),
    WaitUntil(Timestamp),
    /// Nothing can go on without a person.
    Parked(String),
    Done,
}

/// A long-running operation that survives crashes: a fold over its journal.
pub trait Saga: Sized + Clone + Send + Sync + Serialize + DeserializeOwned + 'static {
    type Event: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    type Step: Clone + Debug + Ord + Send + Sync + 'static;

    /// The state after `event`, or why `event` cannot follow.
    fn apply(self, event: &Self::Event) -> Result<Self, IllegalTransition>;

    /// What to do now. Pure: the same journal always gives the same steps.
    fn next(&self, now: Timestamp) -> Next<Self::Step>;
}

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journaled {
    pub seq: Seq,
    pub at: Timestamp,
    pub event: serde_json::Value,
}
