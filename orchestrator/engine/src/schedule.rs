//! Decides what is due. The table of schedules is the truth; any number of nodes may tick over it, since
//! acting on a due time is one transaction that only one of them wins.

use std::sync::Arc;

use cathedral_model::ports::schedules::Fired;
use cathedral_model::ports::{PortError, Schedules, Store};
use cathedral_model::schedule::{Fire, Misfire, Overlap, Schedule, ScheduleState};
use cathedral_model::time::Timestamp;

mod rule;

pub use rule::{RuleError, Zones, first_due, in_words, next_due, upcoming};

/// A due time this much in the past was missed: no hub was there to act on it.
pub const LATE_MS: u64 = 60_000;

/// How many missed due times are counted one by one; beyond it the count says "at least".
const COUNTED: usize = 10_000;

/// What to do about one schedule now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this time.
    Wait(Timestamp),
    /// Nothing until somebody changes it.
    Rest,
    Act(Fire),
}

/// Decides about one schedule. `is_running` says whether its last run has not ended.
///
/// # Errors
/// The rule cannot be evaluated.
pub fn decide(
    state: &ScheduleState,
    is_running: bool,
    now: Timestamp,
    zones: &Zones<'_>,
) -> Result<Decision, RuleError> {
    let Some(due) = state.next_due else { return Ok(Decision::Rest) };
    if let Some(pause) = &state.pause {
        match pause.until {
            Some(until) if until > now => return Ok(Decision::Wait(until)),
            Some(_) => {}
            None => return Ok(Decision::Rest),
        }
    }
    let start = due.plus_ms(jitter(&state.schedule, due));
    if start > now {
        return Ok(Decision::Wait(start));
    }
    let rule = &state.schedule.rule;
    // Every due time up to now is dealt with at once, so that a long absence costs one transaction.
    let (passed, next) = passed(rule, due, now, zones)?;
    let is_late = now.ms_since(start) > LATE_MS;
    let skips_late = is_late && state.schedule.misfire == Misfire::Skip;
    let skips_busy = is_running && state.schedule.overlap == Overlap::Skip;
    let request = (!skips_late && !skips_busy).then(|| state.schedule.request.clone());
    let missed = if request.is_some() { passed - 1 } else { passed };
    Ok(Decision::Act(Fire { schedule: state.schedule.name.clone(), due, request, missed, next_due: next }))
}

/// How many due times lie in `due..=now`, and the first after them.
fn passed(
    rule: &cathedral_model::schedule::Rule,
    due: Timestamp,
    now: Timestamp,
    zones: &Zones<'_>,
) -> Result<(u64, Option<Timestamp>), RuleError> {
    let mut count = 1;
    let mut at = due;
    loop {
        match next_due(rule, at, zones)? {
            Some(next) if next <= now => {
                count += 1;
                at = if count >= COUNTED as u64 { now } else { next };
            }
            next => return Ok((count, next)),
        }
    }
}

/// The fixed delay of one due time: spread over `0..jitter_ms` by name and time, the same on every node.
#[must_use]
pub fn jitter(schedule: &Schedule, due: Timestamp) -> u64 {
    if schedule.jitter_ms == 0 {
        return 0;
    }
    let id = Fire::id(&schedule.name, due);
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_le_bytes(first) % schedule.jitter_ms
}

/// What one look at the table gave.
#[derive(Debug, Default)]
pub struct Tick {
    /// What was acted on, with what became of it.
    pub fired: Vec<(Fire, Fired)>,
    /// When to look again at the latest; none when nothing will be due.
    pub wake: Option<Timestamp>,
    /// Schedules whose rule cannot be evaluated.
    pub broken: Vec<(String, String)>,
}

/// Looks at all schedules once and acts on what is due.
///
/// # Errors
/// The store's; what was acted on before stays.
pub async fn tick(
    schedules: &Arc<dyn Schedules>,
    store: &Arc<dyn Store>,
    now: Timestamp,
    zones: &Zones<'_>,
) -> Result<Tick, PortError> {
    let mut tick = Tick::default();
    for state in schedules.schedules().await? {
        let is_due = state.next_due.is_some_and(|due| due <= now);
        let is_running = match state.last_run {
            Some(run) if is_due => store.run(run).await?.is_some_and(|row| row.state != "finished"),
            _ => false,
        };
        let wake = match decide(&state, is_running, now, zones) {
            Ok(Decision::Rest) => None,
            Ok(Decision::Wait(at)) => Some(at),
            Ok(Decision::Act(fire)) => {
                let next = fire.next_due;
                let fired = schedules.fire(&fire, now).await?;
                tick.fired.push((fire, fired));
                next
            }
            Err(error) => {
                tick.broken.push((state.schedule.name.clone(), error.to_string()));
                None
            }
        };
        tick.wake = match (tick.wake, wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(tick)
}

#[cfg(test)]
mod tests;
