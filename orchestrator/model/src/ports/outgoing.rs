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

/// What waits for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub endpoint: String,
    pub waiting: u64,
    /// When the first of them is due.
    pub next_due: Timestamp,
}

/// How tries to reach an endpoint have gone lately; only endpoints that something was tried for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStanding {
    pub endpoint: String,
    /// The oldest message that could not be delivered since the last one that was; none: all is well.
    pub failing_since: Option<Timestamp>,
    /// What the newest try gave.
    pub last: String,
}

/// What a receiver answers that wants nothing any more.
pub const GONE: &str = "410 Gone";

impl EndpointStanding {
    /// Whether the newest try says that the receiver wants nothing any more: nothing new is sent there until
    /// something that a person asked for arrives.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.failing_since.is_some() && self.last.contains(GONE)
    }
}

/// Keeps deliveries to endpoints.
#[async_trait]
pub trait OutgoingStore: Send + Sync {
    /// Files a message for each endpoint and marks it as taken from the outbox, all or nothing; a message
    /// that was taken before is left alone.
    async fn hand_out(&self, key: &str, endpoints: &[String], now: Timestamp) -> Result<(), PortError>;

    /// Returns what is due, oldest first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, PortError>;

    /// Takes what is due for one endpoint, oldest first: until the given time nobody else gets it, and then
    /// it is due again, unless a try was recorded. So a sender that dies holds nothing up, and two senders
    /// do not send the same message side by side.
    async fn take(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Outgoing>, PortError>;

    /// Returns the endpoints that something waits for, by name.
    async fn queues(&self) -> Result<Vec<Queue>, PortError>;

    /// Returns how endpoints stand by their newest deliveries, by name.
    async fn standings(&self) -> Result<Vec<EndpointStanding>, PortError>;

    /// Files a message for one endpoint, past the outbox, to be tried at `due`: whoever tries it before
    /// asks for a time by which that is over.
    async fn file(
        &self,
        message: &Message,
        endpoint: &str,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<Outgoing, PortError>;

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
