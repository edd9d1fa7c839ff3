//! Drives runs, one after the other, whenever something waits.

use std::sync::Arc;
use std::time::Duration;

use cathedral_engine::EngineError;
use tokio::sync::{Notify, watch};

use super::current::Current;

/// A run may be filed by another process on the same store: nothing waits longer than this.
const SAFETY: Duration = Duration::from_secs(5);

/// Works until told to stop; a run that is under way then goes on to its end or until `patience` is over,
/// and is taken up again at the next start.
pub async fn work(current: Arc<Current>, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    let mut pause = Duration::from_millis(200);
    loop {
        if *stop.borrow() {
            return;
        }
        let engine = current.engine();
        match engine.work_once().await {
            Ok(Some((run, summary))) => {
                tracing::info!(run.id = run.0, result = ?summary.result, code = summary.code, "run ended");
                pause = Duration::from_millis(200);
                current.ended(&summary);
                continue;
            }
            Ok(None) => pause = Duration::from_millis(200),
            Err(error) => {
                tell(&error);
                // Whatever it is (a full disk, a lost lease), trying again at once will not mend it.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => return,
                }
                pause = (pause * 2).min(Duration::from_secs(30));
                continue;
            }
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(SAFETY) => {}
            _ = stop.changed() => return,
        }
    }
}

fn tell(error: &EngineError) {
    tracing::error!(error = %chain(error), "a run could not go on; it is taken up again");
}

/// An error with everything below it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        below = error.source();
    }
    text
}
