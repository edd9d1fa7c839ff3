//! Ticks over the table of schedules. What is due is decided by [`cathedral_engine::schedule`] from the
//! table; tokio-cron-scheduler gives the beat, and a wake-up at the next due time keeps it exact.

use std::sync::Arc;
use std::time::Duration;

use cathedral_engine::schedule::{first_due, tick};
use cathedral_model::ports::{PortError, Schedules, Store};
use cathedral_model::schedule::Schedule;
use cathedral_model::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_cron_scheduler::{Job, JobScheduler};

use super::current::Current;
use crate::hub::HubEnv;

/// Zones of the machine's database, else the one built in.
pub fn zones(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok()
}

/// Makes the table hold what the configuration declares.
pub async fn declare(schedules: &Arc<dyn Schedules>, declared: Vec<Schedule>, now: Timestamp) -> Result<(), PortError> {
    let mut rows = vec![];
    for schedule in declared {
        match first_due(&schedule.rule, now, &zones) {
            Ok(due) => rows.push((schedule, due)),
            Err(error) => {
                return Err(PortError::permanent(format!("schedule {}: {error}", schedule.name)));
            }
        }
    }
    schedules.declare(&rows, now).await
}

/// Runs until told to stop.
pub async fn run(
    current: Arc<Current>,
    schedules: Arc<dyn Schedules>,
    store: Arc<dyn Store>,
    wake_worker: Arc<Notify>,
    mut changed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let beat = Arc::new(Notify::new());
    let beats = beats(Arc::clone(&beat)).await;
    loop {
        let now = HubEnv::clock();
        let wake = match tick(&schedules, &store, now, &zones).await {
            Ok(tick) => {
                if tick.fired.iter().any(|(fire, _)| fire.request.is_some()) {
                    wake_worker.notify_one();
                }
                for (name, why) in &tick.broken {
                    tracing::error!(schedule = name, why, "a schedule cannot be evaluated; it does not run");
                }
                current.checked(now);
                tick.wake
            }
            Err(error) => {
                tracing::error!(%error, "the table of schedules could not be read; trying again");
                None
            }
        };
        let until = wake.map_or(Duration::from_secs(60), |at| Duration::from_millis(at.ms_since(HubEnv::clock()) + 1));
        tokio::select! {
            () = tokio::time::sleep(until.min(Duration::from_secs(60))) => {}
            () = beat.notified() => {}
            // Other schedules may be in force now.
            _ = changed.changed() => { changed.mark_unchanged(); }
            _ = stop.changed() => break,
        }
    }
    if let Some(mut beats) = beats {
        // Nothing depends on the beat any more.
        let _ = beats.shutdown().await;
    }
}

/// A beat every 30 seconds: after a jump of the clock or a suspended machine, sleeps can be far off.
async fn beats(beat: Arc<Notify>) -> Option<JobScheduler> {
    let make = async {
        let scheduler = JobScheduler::new().await?;
        let job = Job::new_repeated(Duration::from_secs(30), move |_, _| beat.notify_one())?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok::<_, tokio_cron_scheduler::JobSchedulerError>(scheduler)
    };
    match make.await {
        Ok(scheduler) => Some(scheduler),
        Err(error) => {
            tracing::warn!(%error, "no beat; the scheduler goes by its own sleeps");
            None
        }
    }
}
