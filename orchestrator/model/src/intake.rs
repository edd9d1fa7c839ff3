//! What the outside tells the hub: deliveries of webhooks. A payload is a hint; addresses and names come
//! from the configuration only.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, RunId};
use crate::time::Timestamp;

/// A delivery as it was accepted: authentic, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// `github`, `gitlab` or `gitea`: from the route, never from a header.
    pub source: String,
    /// The sender's id of the delivery; the same id is accepted once.
    pub id: String,
    /// The sender's word for the event, for example `push`.
    pub event: String,
    pub hint: Hint,
    pub body_digest: Digest,
    pub body_bytes: u64,
}

/// The few fields that are read from a payload; every one is hostile text of at most 1,024 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hint {
    /// The sender's numeric id of the repository.
    pub repository_id: Option<i64>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// The addresses by which the sender knows the repository (clone, ssh, git, html), for comparison
    /// with the configuration; nothing ever connects to them.
    pub urls: Vec<String>,
    /// The full name of the ref.
    pub reference: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    /// For example `opened` or `renamed`.
    pub action: Option<String>,
    pub sender: Option<String>,
}

/// What became of a delivery at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    New,
    /// The same source and id is already there.
    Duplicate,
}

/// What became of a delivery after it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It asked for these runs (or joined waiting ones).
    Runs { runs: Vec<RunId> },
    /// It tells of a change that the hub made itself.
    Echo,
    /// No spoke has the repository it tells of.
    NoSpoke,
    /// The event means nothing to a sync.
    NothingToDo,
}

/// A delivery as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Numbered by the store, growing.
    pub number: i64,
    pub delivery: Delivery,
    pub received_at: Timestamp,
    /// None: it waits to be looked at.
    pub outcome: Option<Outcome>,
    pub handled_at: Option<Timestamp>,
}
