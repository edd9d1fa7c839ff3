//! Deliveries to the outside: one a message and endpoint, tried until it arrives or is given up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::event::Message;
use crate::time::Timestamp;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempted {
    Waiting,
    Delivered,
    /// Tried as often as the policy says; a person can ask for another try.
    GivenUp,
}

/// A delivery as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub number: i64,
    /// The id that the receiver sees, the same for every try.
    pub message: Message,
    /// Name of the endpoint (never its secret address).
    pub endpoint: String,
    pub state: Attempted,
    pub attempts: u32,
    pub filed_at: Timestamp,
    /// When it is tried next.
    pub due_at: Timestamp,
    /// What the last try gave, for example `204` or `connection refused`.
    pub last: String,
}

/// Keeps deliveries to endpoints.
#[async_trait]
pub trait OutgoingStore: Send + Sync {
    /// Files a message for each endpoint and marks it as taken from the outbox, all or nothing; a message
    /// that was taken before is left alone.
    async fn hand_out(&self, key: &str, endpoints: &[String], now: Timestamp) -> Result<(), PortError>;

    /// Returns what is due, oldest first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, PortError>;

    /// Records a try. `again` is the next time; none with `delivered` false gives it up.
    async fn tried(
        &self,
        number: i64,
        delivered: bool,
        last: &str,
        again: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), PortError>;

    /// Makes a delivery due now, also one that was given up or delivered.
    async fn retry(&self, number: i64, now: Timestamp) -> Result<Outgoing, PortError>;

    /// Lists deliveries, newest first, before the given number.
    async fn outgoing(&self, before: Option<i64>, limit: u32) -> Result<Vec<Outgoing>, PortError>;
}
