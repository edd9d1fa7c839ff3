//! The table of schedules: every method is one transaction.

use async_trait::async_trait;

use super::PortError;
use super::store::Enqueued;
use crate::schedule::{Fire, Pause, Schedule, ScheduleState};
use crate::time::Timestamp;

/// What became of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// The request was filed.
    Filed(Enqueued),
    /// This time was left out, as asked.
    LeftOut,
    /// Somebody else has acted on it (or the schedule is gone, paused or moved): nothing was done.
    NotDue,
}

/// Keeps schedules and acts on each due time once, whatever the number of nodes.
#[async_trait]
pub trait Schedules: Send + Sync {
    /// Makes the table hold exactly these. One that is there with an equal rule keeps its due times,
    /// counters and pause; one whose rule changed keeps its pause and begins at the given due time.
    async fn declare(&self, schedules: &[(Schedule, Option<Timestamp>)], now: Timestamp) -> Result<(), PortError>;

    /// Returns all schedules, sorted by name.
    async fn schedules(&self) -> Result<Vec<ScheduleState>, PortError>;

    /// Acts on a due time: files the request (joined with an equal waiting one), counts what is left out,
    /// moves `next_due`, and writes an event (`schedule.fired` or `schedule.missed`), all or nothing.
    async fn fire(&self, fire: &Fire, now: Timestamp) -> Result<Fired, PortError>;

    /// Lets a schedule rest (or, with none, wakes it: `next_due` is then set to the given time). Writes an
    /// event; [`super::Cause::NotFound`] when there is no such schedule.
    async fn pause(
        &self,
        name: &str,
        pause: Option<&Pause>,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<ScheduleState, PortError>;
}
