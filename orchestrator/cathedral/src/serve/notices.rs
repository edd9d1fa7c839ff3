//! Sends messages to endpoints while the hub serves.

use std::sync::Arc;
use std::time::Duration;

use cathedral_model::ports::OutgoingStore;
use cathedral_web::notify::sender::Sender;
use tokio::sync::{Notify, watch};

use super::current::Current;
use crate::hub::HubEnv;

/// What was filed outside of a run, or by a process that died, waits in the outbox no longer than this.
const SWEEP: Duration = Duration::from_secs(5);

/// A sender over the hub's own clock.
pub fn sender(outgoing: &Arc<dyn OutgoingStore>) -> Sender {
    Sender { outgoing: Arc::clone(outgoing), env: Arc::new(HubEnv), limits: Default::default() }
}

/// Runs until told to stop; `wake` is rung by each commit, `changed` by each configuration.
pub async fn run(
    current: Arc<Current>,
    outgoing: Arc<dyn OutgoingStore>,
    wake: Arc<Notify>,
    mut changed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let (set, setup) = watch::channel(Arc::new(current.site().notifications()));
    let seen = Arc::clone(&current);
    let told = move |standings| seen.endpoints(standings);
    let sending = tokio::spawn(Arc::new(sender(&outgoing)).run(setup, wake, told, stop.clone()));
    if let Ok(standings) = outgoing.standings().await {
        current.endpoints(standings);
    }
    loop {
        current.engine().send_messages().await;
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            told = changed.changed() => {
                if told.is_err() {
                    break;
                }
                set.send_replace(Arc::new(current.site().notifications()));
            }
            _ = stop.changed() => break,
        }
    }
    // Tries under way are recorded.
    let _ = sending.await;
}
