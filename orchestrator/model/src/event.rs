//! The append-only event log: what listeners are told, in the order it was committed.

use serde::{Deserialize, Serialize};

use crate::ids::{Cursor, RunId, SpokeName};
use crate::time::Timestamp;

/// An event to be written together with the change it tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Dotted type, for example `run.finished` or `conflict.opened`.
    #[serde(rename = "type")]
    pub kind: String,
    pub run: Option<RunId>,
    pub spoke: Option<SpokeName>,
    pub data: serde_json::Value,
}

/// An event as committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub cursor: Cursor,
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: NewEvent,
}

/// Which events are asked for; what is empty asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Beginnings of types, for example `run.` or `conflict.opened`: one of them must fit.
    pub types: Vec<String>,
    pub spoke: Option<SpokeName>,
    pub run: Option<RunId>,
}

impl EventFilter {
    /// Whether an event is asked for.
    #[must_use]
    pub fn wants(&self, event: &NewEvent) -> bool {
        (self.types.is_empty() || self.types.iter().any(|start| event.kind.starts_with(start.as_str())))
            && (self.spoke.is_none() || self.spoke == event.spoke)
            && (self.run.is_none() || self.run == event.run)
    }
}

/// A message that must reach the outside at least once: written with the change, sent after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Idempotency key: filing the same key twice files it once.
    pub key: String,
    pub topic: String,
    pub payload: serde_json::Value,
}
