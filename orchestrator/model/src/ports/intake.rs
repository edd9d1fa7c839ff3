//! The table of incoming deliveries: every method is one transaction.

use async_trait::async_trait;

use super::PortError;
use crate::intake::{Accepted, Delivery, DeliveryRow, Outcome};
use crate::time::Timestamp;

/// Keeps deliveries from the door to their outcome.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Files a delivery once: durable when this returns. Safe to repeat.
    async fn accept(&self, delivery: &Delivery, now: Timestamp) -> Result<Accepted, PortError>;

    /// Returns deliveries without an outcome, oldest first.
    async fn waiting(&self, limit: u32) -> Result<Vec<DeliveryRow>, PortError>;

    /// Records what became of a delivery, with an event `delivery.handled`. The first outcome stays.
    async fn handled(&self, number: i64, outcome: &Outcome, now: Timestamp) -> Result<(), PortError>;

    /// Lists deliveries, newest first, before the given number.
    async fn deliveries(&self, before: Option<i64>, limit: u32) -> Result<Vec<DeliveryRow>, PortError>;

    /// Returns one delivery.
    async fn delivery(&self, number: i64) -> Result<Option<DeliveryRow>, PortError>;

    /// Removes handled deliveries received before a time; says how many. What is removed can be accepted
    /// again, so the time must be further back than any sender repeats.
    async fn forget_deliveries(&self, before: Timestamp) -> Result<u64, PortError>;
}
