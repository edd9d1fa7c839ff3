//! Looks at accepted deliveries and files the runs they ask for.

use std::sync::Arc;
use std::time::Duration;

use cathedral_engine::intake::{Wanted, requests, wanted};
use cathedral_model::intake::Outcome;
use cathedral_model::ports::{Intake, PortError};
use tokio::sync::{Notify, watch};

use super::current::Current;
use crate::hub::HubEnv;

/// Runs until told to stop; `wake` is rung by each accepted delivery.
pub async fn run(
    current: Arc<Current>,
    intake: Arc<dyn Intake>,
    wake: Arc<Notify>,
    wake_worker: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        if let Err(error) = once(&current, &intake, &wake_worker).await {
            tracing::error!(%error, "deliveries could not be looked at; trying again");
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Looks at everything that waits.
async fn once(current: &Current, intake: &Arc<dyn Intake>, wake_worker: &Notify) -> Result<(), PortError> {
    loop {
        let rows = intake.waiting(200).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let engine = current.engine();
        for row in rows {
            let outcome = match wanted(engine.ecosystem(), &row.delivery) {
                Wanted::Nothing => Outcome::NothingToDo,
                Wanted::NoSpoke => Outcome::NoSpoke,
                Wanted::Sync(names) => {
                    let mut runs = vec![];
                    for request in requests(&names, &row.delivery) {
                        let filed = engine.ports().store.enqueue(&request, HubEnv::clock()).await?;
                        runs.push(filed.run());
                    }
                    wake_worker.notify_one();
                    Outcome::Runs { runs }
                }
            };
            intake.handled(row.number, &outcome, HubEnv::clock()).await?;
        }
    }
}
