//! The read side: what pages and the API say, computed from recorded facts.
//!
//! One function makes the verdict for pages and API, so that a page, a script and a monitor can never
//! disagree. Nothing is called safe that was not looked at: what is unknown, late or unread counts as such.

use std::collections::BTreeMap;
use std::sync::Arc;

use cathedral_model::ecosystem::{DataSync, Ecosystem, SpokeKind};
use cathedral_model::ids::{ConflictId, Cursor, LeafIndex, RunId, SnapshotId, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::observation::SpokeMemory;
use cathedral_model::ports::outgoing::EndpointStanding;
use cathedral_model::ports::store::RunRow;
use cathedral_model::ports::{PortError, Store};
use cathedral_model::run::RunResult;
use cathedral_model::schedule::ScheduleState;
use cathedral_model::snapshot::{LastCheck, SnapshotInfo, VaultLook};
use cathedral_model::time::Timestamp;
use serde::Serialize;

mod endpoints;
mod places;
mod spokes;
mod verdict;

pub use spokes::spoke_views;
pub use verdict::{age, verdict};

/// How many of the newest runs are looked at.
const RUNS: u32 = 300;

/// What the owner wants, for comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objectives {
    /// How much may be lost at most.
    pub rpo_ms: Option<u64>,
    /// How long a restore may take.
    pub rto_ms: Option<u64>,
    /// How often everything should be read back; twice that is overdue.
    pub verify_every_ms: Option<u64>,
}

/// What only a running hub knows: when it last looked, and found nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    /// When this hub last checked anything; none for a command without a running hub.
    pub checked_at: Option<Timestamp>,
    /// When each spoke was last seen to be as it was left.
    pub quiet_at: BTreeMap<SpokeName, Timestamp>,
    /// Why a spoke could not be looked at.
    pub failing: BTreeMap<SpokeName, String>,
    /// How the declared endpoints of notifications stand.
    pub endpoints: Vec<EndpointStanding>,
}

/// Something the hub keeps for itself that is missing or damaged: a key, a store of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFault {
    /// The exit code it means for scripts.
    pub code: u8,
    /// What is wrong, as the end of a sentence.
    pub what: String,
    pub why: String,
    /// What helps.
    pub command: String,
}

/// Everything the verdict is computed from.
#[derive(Clone)]
pub struct Facts {
    pub now: Timestamp,
    pub ecosystem: Arc<Ecosystem>,
    pub objectives: Objectives,
    pub watching: Watching,
    /// Newest first.
    pub runs: Vec<RunRow>,
    pub memories: BTreeMap<SpokeName, SpokeMemory>,
    /// Open and answered ones, by id.
    pub conflicts: Vec<ConflictRecord>,
    /// Oldest first; the error when the vault cannot be read.
    pub snapshots: Result<Arc<Vec<SnapshotInfo>>, String>,
    /// How the destinations stand; none: nobody has looked.
    pub look: Option<VaultLook>,
    /// What is wrong with the log; none: nothing is known to be.
    pub log_fault: Option<String>,
    /// What else is wrong with what the hub keeps for itself.
    pub own_faults: Vec<OwnFault>,
    pub schedules: Vec<ScheduleState>,
    pub cursor: Cursor,
}

impl Facts {
    /// Reads the store; snapshots come from whoever keeps their list.
    ///
    /// # Errors
    /// The store's.
    pub async fn collect(
        store: &Arc<dyn Store>,
        ecosystem: &Arc<Ecosystem>,
        snapshots: Result<Arc<Vec<SnapshotInfo>>, String>,
        now: Timestamp,
    ) -> Result<Self, PortError> {
        let runs = store.runs(None, RUNS).await?;
        let memories = store.memories().await?;
        let conflicts = store.conflicts(None, &[ConflictState::Open, ConflictState::Answered]).await?;
        Ok(Self { runs, memories, conflicts, ..Self::without_state(ecosystem, snapshots, now) })
    }

    /// What is known where there is no state yet, or no longer.
    #[must_use]
    pub fn without_state(
        ecosystem: &Arc<Ecosystem>,
        snapshots: Result<Arc<Vec<SnapshotInfo>>, String>,
        now: Timestamp,
    ) -> Self {
        Self {
            now,
            ecosystem: Arc::clone(ecosystem),
            objectives: Objectives::default(),
            watching: Watching::default(),
            runs: vec![],
            memories: BTreeMap::new(),
            conflicts: vec![],
            snapshots,
            look: None,
            log_fault: None,
            own_faults: vec![],
            schedules: vec![],
            cursor: Cursor(0),
        }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn newest(&self) -> Option<&SnapshotInfo> {
        self.snapshots.as_ref().ok().and_then(|list| list.last())
    }
}

/// Where something stands; greater is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Looked at, and as it should be.
    Ok,
    /// Work is under way.
    Running,
    /// Rests because somebody said so.
    Paused,
    /// Something is left out, or has never been done.
    Attention,
    /// A person must decide.
    Conflict,
    /// An objective is missed, or something fails.
    Bad,
    /// Nobody knows.
    Unknown,
}

impl Health {
    /// The class name and plain word of a mark: `ok`, `run`, `idle`, `warn`, `bad`.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Running => "run",
            Self::Paused => "idle",
            Self::Attention | Self::Conflict => "warn",
            Self::Bad | Self::Unknown => "bad",
        }
    }
}

/// One spoke as shown.
#[derive(Clone, Debug, Serialize)]
pub struct SpokeView {
    pub name: SpokeName,
    pub kind: SpokeKind,
    pub role: String,
    pub data_sync: DataSync,
    pub health: Health,
    /// One or two words, for example `in sync`, `conflict`, `unreachable`, `never synced`.
    pub state: &'static str,
    /// Since when the last good look is the last good look; none: never.
    pub good_at: Option<Timestamp>,
    pub lag_ms: Option<u64>,
    /// What the lag is measured against.
    pub allowed_ms: Option<u64>,
    pub hub_position: String,
    pub spoke_position: String,
    pub conflicts: Vec<ConflictId>,
    pub last_attempt: Option<Attempt>,
    pub last_success: Option<Attempt>,
    /// Why it stands as it does.
    pub note: String,
    /// Things that are not copied.
    pub left_out: Vec<String>,
    /// The newest snapshot that holds it.
    pub snapshot: Option<(SnapshotId, Timestamp)>,
}

/// One run's part in a spoke's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    pub run: RunId,
    pub at: Timestamp,
    pub result: String,
}

/// One destination as shown: how the newest snapshot stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationView {
    pub name: String,
    pub health: Health,
    pub state: String,
    /// How many of the snapshots it holds.
    pub held: u64,
    pub of: u64,
    /// Objects it should hold and does not.
    pub missing: u64,
    /// Objects that a check found damaged there and nothing has mended since.
    pub damaged: u64,
    /// The last check of everything there.
    pub last_check: Option<LastCheck>,
}

/// Something that needs a person, with where to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    pub health: Health,
    pub what: String,
    pub why: String,
    /// A path on the dashboard.
    pub link: String,
    /// A command that shows or mends it.
    pub command: String,
    pub since: Option<Timestamp>,
}

/// A run under way or waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningView {
    pub run: RunId,
    pub cause: String,
    pub is_waiting: bool,
    pub since: Timestamp,
    /// The phase it is in.
    pub phase: String,
    /// How long such runs took before: the median of up to 20.
    pub usual_ms: Option<u64>,
}

/// How everything stands, for the overview, `/api/v1/status` and `cathedral status`.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub health: Health,
    /// The exit code of `status --exit-code`.
    pub code: u8,
    pub sentence: String,
    /// The second sentence: what the first rests on.
    pub detail: String,
    pub as_of: Timestamp,
    pub cursor: Cursor,
    pub objectives: Objectives,
    /// The furthest behind, and by how much.
    pub rpo: Option<(SpokeName, u64)>,
    pub newest_snapshot: Option<(SnapshotId, Timestamp)>,
    /// The last time everything was read back without a fault.
    pub verified_at: Option<Timestamp>,
    /// A later or first attempt to verify that failed.
    pub verify_failed: Option<(RunId, Timestamp, String)>,
    /// What the newest changing run brought is in no snapshot yet.
    pub not_in_a_snapshot: Option<RunId>,
    pub sealed: Option<(LeafIndex, Timestamp)>,
    pub spokes: Vec<SpokeView>,
    pub destinations: Vec<DestinationView>,
    pub needs: Vec<Need>,
    pub running: Vec<RunningView>,
    /// Results of the last 90 days: date, runs, failed runs; oldest first.
    pub days: Vec<(String, u32, u32)>,
}

/// Names of all spokes that a run touched and did not bring to a good end.
pub(crate) fn is_bad(result: &str) -> bool {
    matches!(result, "failed" | "unreachable" | "refused" | "partial" | "waiting")
}

/// Whether a run row ended well enough to count as a good look at what it touched.
pub(crate) fn ended_well(row: &RunRow) -> bool {
    row.state == "finished" && !matches!(row.summary.result, None | Some(RunResult::Failed | RunResult::Cancelled))
}

#[cfg(test)]
mod tests;
