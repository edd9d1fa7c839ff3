//! What is told when the hub cannot be opened: all that needs no state is looked at all the same.

use std::sync::Arc;

use cathedral_model::ports::Store;

use super::super::Failure;
use super::Line;
use crate::hub::Site;

/// So many runs are read to see whether the state can be read.
const RUNS: u32 = 1_000;

/// Says how a state that could be opened is damaged.
pub async fn state(store: &Arc<dyn Store>) -> Option<Failure> {
    let read = async {
        store.memories().await?;
        store.conflicts(None, &[]).await?;
        store.runs(None, RUNS).await.map(drop)
    };
    read.await.err().map(Failure::from).filter(|failure| failure.code == 20)
}

/// Says how the state is damaged, where the hub could not be opened.
pub async fn stored(site: &Site) -> Option<Failure> {
    match site.store().await {
        Ok(Some(store)) => state(&store).await,
        Ok(None) => None,
        Err(failure) => Some(failure).filter(|failure| failure.code == 20),
    }
}

/// A state database that is damaged. Nothing that a restore needs stands in it.
pub fn lost(damage: &Failure) -> Line {
    // Its own message says more than once what to do; here it stands below.
    let what = damage.what.split("; move it").next().unwrap_or_default();
    Line::bad(
        20,
        what.to_owned(),
        "put hub.db back from your copy of it; or move it (and the files beside it that begin with its name) away, then \
         cathedral sync    makes it anew, compares both sides afresh and deletes nothing; cathedral restore SNAP --to \
         DIR    works without it. What needs it was not looked at",
    )
}

/// What else has stopped the hub, with what its message advises.
pub fn told(failure: &Failure) -> Line {
    Line::bad(failure.code, failure.what.clone(), &failure.next.join("; or "))
}
