//! What pages and API show, computed once for all who look.
//!
//! The verdict is made again when an event has moved the log on, or when it is a second old (ages and
//! lateness move with the clock; whoever looks first gets the old one meanwhile). So a page costs a lookup,
//! whatever the number of spokes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cathedral_engine::query::{Facts, OwnFault, Verdict, verdict};
use cathedral_model::ids::Cursor;
use cathedral_model::snapshot::{SnapshotInfo, VaultLook};
use cathedral_model::time::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::problem::Problem;
use crate::state::State;

/// How old a verdict may be.
const FRESH_MS: u64 = 1_000;
/// How old it may be while a new one is made.
const STALE_MS: u64 = 3_000;
/// How old the list of snapshots may be when no event told of a change.
const LIST_MS: u64 = 60_000;

/// What was computed last.
#[derive(Default)]
pub struct Views {
    current: ArcSwapOption<View>,
    /// Held by whoever makes the next one.
    making: Arc<Mutex<()>>,
    snapshots: Mutex<Option<Listed>>,
}

/// The facts and what follows from them.
#[derive(Clone)]
pub struct View {
    pub facts: Arc<Facts>,
    pub verdict: Arc<Verdict>,
    cursor: Cursor,
    at: Timestamp,
}

#[derive(Clone)]
struct Listed {
    list: Result<Arc<Vec<SnapshotInfo>>, String>,
    look: Option<VaultLook>,
    log_fault: Option<String>,
    own_faults: Vec<OwnFault>,
    cursor: Cursor,
    at: Timestamp,
}

fn is_fresh(at: Timestamp, now: Timestamp, ms: u64) -> bool {
    at <= now && now.ms_since(at) < ms
}

impl State {
    /// The facts and the verdict as of now, or of a moment ago while they are made again.
    pub async fn view(self: &Arc<Self>) -> Result<View, Problem> {
        let (now, cursor) = (self.now(), self.feed.newest());
        if let Some(view) = self.view.current.load_full().filter(|view| view.cursor == cursor) {
            if is_fresh(view.at, now, FRESH_MS) {
                return Ok(View::clone(&view));
            }
            // Nothing has happened but that time went by: nobody waits for that.
            if is_fresh(view.at, now, STALE_MS) {
                if let Ok(turn) = Arc::clone(&self.view.making).try_lock_owned() {
                    let state = Arc::clone(self);
                    tokio::spawn(async move {
                        if let Err(problem) = state.make_view(turn).await {
                            tracing::warn!(why = %problem.detail, "how everything stands cannot be read");
                        }
                    });
                }
                return Ok(View::clone(&view));
            }
        }
        let turn = Arc::clone(&self.view.making).lock_owned().await;
        self.make_view(turn).await
    }

    /// Makes the view anew, unless somebody did while this waited for its turn.
    async fn make_view(&self, _turn: OwnedMutexGuard<()>) -> Result<View, Problem> {
        let (now, cursor) = (self.now(), self.feed.newest());
        let known = self.view.current.load_full();
        if let Some(view) = known.filter(|view| view.cursor == cursor && is_fresh(view.at, now, FRESH_MS)) {
            return Ok(View::clone(&view));
        }
        let engine = self.engine();
        let ecosystem = Arc::new(engine.ecosystem().clone());
        let Listed { list, look, log_fault, own_faults, .. } = self.listed().await;
        let mut facts = Facts::collect(&self.store, &ecosystem, list, now).await?;
        facts.look = look;
        facts.log_fault = log_fault;
        facts.own_faults = own_faults;
        facts.objectives = self.hub.objectives();
        facts.watching = self.hub.watching();
        facts.schedules = self.ports.schedules.schedules().await?;
        facts.cursor = cursor;
        let verdict = Arc::new(verdict(&facts));
        let view = View { facts: Arc::new(facts), verdict, cursor, at: now };
        self.view.current.store(Some(Arc::new(view.clone())));
        Ok(view)
    }

    /// All snapshots, oldest first; the error as a text when the vault cannot be read.
    pub async fn snapshots(&self) -> Result<Arc<Vec<SnapshotInfo>>, String> {
        self.listed().await.list
    }

    /// The snapshots, and how the places that hold them stand.
    async fn listed(&self) -> Listed {
        let mut listed = self.view.snapshots.lock().await;
        let (now, cursor) = (self.now(), self.feed.newest());
        if let Some(known) = listed.as_ref().filter(|known| known.cursor == cursor && is_fresh(known.at, now, LIST_MS))
        {
            return known.clone();
        }
        let list = self.vault().list().await.map(Arc::new).map_err(|error| error.to_string());
        let look = self.vault().look().await.ok();
        let log_fault = self.hub.log_fault().await;
        let own_faults = self.hub.own_faults().await;
        let found = Listed { list, look, log_fault, own_faults, cursor, at: now };
        *listed = Some(found.clone());
        found
    }
}
