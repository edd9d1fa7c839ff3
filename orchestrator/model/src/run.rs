//! The five-phase sync run: what is asked for, what was recorded, and what follows from it.
//!
//! A run is a fold over its journal. The order that protects data is kept here and nowhere else:
//! nothing is planned before a verified snapshot holds both sides as they are, nothing is written
//! before it is pinned, nothing is announced before it is committed and in the log.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::ecosystem::{ConflictPolicy, DataSync, Side, SpokeKind};
use crate::ids::{ConflictId, Digest, LeafIndex, RunId, SnapshotId, SpokeName};
use crate::journal::{IllegalTransition, Next, Saga};
use crate::observation::{Digests, Observation};
use crate::plan::{Applied, Guard};
use crate::ports::{Cause, Fault};
use crate::restore::RestoreRequest;
use crate::snapshot::{Held, Root, SnapshotBytes};
use crate::time::Timestamp;
use crate::upkeep::UpkeepRequest;

mod next;
pub use next::MAX_ROUNDS;
mod summary;

/// How urgent a run is; greater goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Upkeep,
    Schedule,
    Webhook,
    Manual,
    Incident,
}

impl Priority {
    /// Returns the stored number: greater is more urgent.
    #[must_use]
    pub fn rank(self) -> i32 {
        self as i32
    }
}

/// One of the five phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Validate,
    Snapshot,
    Sync,
    Verify,
    Notify,
}

impl Phase {
    pub const ALL: [Self; 5] = [Self::Validate, Self::Snapshot, Self::Sync, Self::Verify, Self::Notify];

    /// Returns the word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Snapshot => "snapshot",
            Self::Sync => "sync",
            Self::Verify => "verify",
            Self::Notify => "notify",
        }
    }
}

/// What a run is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Sync(SyncRequest),
    Restore(RestoreRequest),
    Upkeep(UpkeepRequest),
}

/// A request as it waits in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub priority: Priority,
    /// For people, for example `cathedral sync` or `push to stone-grimoire`.
    pub cause: String,
    pub work: Work,
}

impl Request {
    /// Returns the key under which waiting requests are joined; none when this one must run by itself.
    #[must_use]
    pub fn coalescing_key(&self) -> Option<String> {
        match &self.work {
            Work::Sync(sync) if sync.plan.is_empty() && !sync.confirmed && sync.policy.is_none() => {
                let only: Vec<&str> = sync.only.iter().map(|p| p.as_str()).collect();
                let names: Vec<&str> = sync.spokes.iter().map(SpokeName::as_str).collect();
                Some(format!("sync:{}:{}:{}", only.join(","), names.join(","), sync.tags.join(",")))
            }
            Work::Upkeep(request) => serde_json::to_string(request).ok().map(|text| format!("upkeep:{text}")),
            _ => None,
        }
    }
}

/// What a sync run is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// Empty: all spokes.
    pub spokes: Vec<SpokeName>,
    /// Empty: all phases. `[snapshot]` takes a snapshot and ends.
    pub only: Vec<Phase>,
    /// Carry out exactly these plans, or refuse.
    pub plan: BTreeMap<SpokeName, Digest>,
    /// A person has confirmed the protecting limits.
    pub confirmed: bool,
    /// `--on-conflict hub|spoke`.
    pub policy: Option<ConflictPolicy>,
    /// Tags for the snapshot.
    pub tags: Vec<String>,
    /// Take a snapshot even when nothing changed.
    pub force_snapshot: bool,
}

/// A spoke as it stood when the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    pub name: SpokeName,
    pub kind: SpokeKind,
    pub data_sync: DataSync,
    /// Spokes of equal rank may run side by side; smaller ranks first.
    pub rank: u32,
    /// Digests that mean: nothing to do here.
    pub settled: Option<Digests>,
    /// Conflicts of this spoke that wait for a person, and answers that wait to be carried out.
    pub open_conflicts: u64,
    pub answered: Vec<ConflictId>,
}

/// A journal record of a sync run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncEvent {
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// What was asked for and what all spokes looked like, in one record: a run that finds nothing to do
    /// costs two.
    Started {
        request: SyncRequest,
        run: RunId,
        began: Timestamp,
        spokes: Vec<Declared>,
        seen: BTreeMap<SpokeName, Seen>,
        /// Sides that can be read and are in no snapshot as they are, of spokes whose other side cannot.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        unheld: BTreeMap<SpokeName, Vec<Side>>,
    },
    /// A spoke is no longer as it was observed or left: another spoke's change reached the hub's copy it
    /// shares, or somebody wrote. It goes through snapshot, plan and apply once more.
    Stirred {
        spoke: SpokeName,
        observation: Observation,
    },
    /// The snapshot's id is decided before its first byte is written.
    SnapshotBegun {
        id: SnapshotId,
        /// The leaf of that snapshot when it was taken before and nothing has changed since: it goes for this
        /// run too, and no other one is taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stands: Option<LeafIndex>,
    },
    SnapshotTaken {
        taken: SnapshotTaken,
    },
    SnapshotSealed {
        leaf: LeafIndex,
    },
    SnapshotFailed {
        fault: Fault,
    },
    /// `plan` is the content id of the canonical plan.
    Planned {
        spoke: SpokeName,
        planned: Planned,
    },
    /// The spoke no longer is what the snapshot holds: it must be snapshotted again first.
    Moved {
        spoke: SpokeName,
    },
    Pinned {
        spoke: SpokeName,
    },
    Applied {
        spoke: SpokeName,
        applied: Applied,
        conflicts: u64,
    },
    Verified {
        spoke: SpokeName,
        agrees: bool,
        note: String,
    },
    /// The spoke is given up for this run; the others go on.
    Failed {
        spoke: SpokeName,
        phase: Phase,
        fault: Fault,
    },
    Sealed {
        leaf: LeafIndex,
    },
    SealFailed {
        fault: Fault,
    },
    Announced,
    Cancelled {
        by: String,
    },
}

/// What an observation gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Observed(Observation),
    Failed(Fault),
}

/// A snapshot as the run needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    pub id: SnapshotId,
    pub root: Root,
    /// What each part was read at, by spoke and side (`hub`, `spoke`).
    pub parts: BTreeMap<SpokeName, BTreeMap<Side, Digest>>,
    pub bytes: SnapshotBytes,
    pub destinations: Vec<Held>,
    pub manifest_sha256: String,
    pub manifest_blake3: String,
    /// Items that could not be read into it.
    pub skipped: u64,
}

/// A plan as the run needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub plan: Digest,
    pub changes_in: u64,
    pub changes_out: u64,
    pub conflicts: u64,
    pub guards: Vec<Guard>,
}

/// A step of a sync run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Start,
    BeginSnapshot,
    TakeSnapshot(SnapshotId),
    SealSnapshot(SnapshotId),
    Plan(SpokeName),
    Pin(SpokeName),
    Apply(SpokeName),
    Verify(SpokeName),
    Seal,
    Announce,
}

/// Where the snapshot of the current round stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotProgress {
    #[default]
    None,
    Begun(SnapshotId),
    Taken(SnapshotTaken),
    Sealed(SnapshotTaken, LeafIndex),
    Failed(Fault),
}

/// Where one spoke stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokeProgress {
    pub declared: Declared,
    pub observed: Option<Observation>,
    pub planned: Option<Planned>,
    pub pinned: bool,
    pub moved: bool,
    pub applied: Option<Applied>,
    /// Changes in and out of earlier rounds of this run.
    pub earlier: (u64, u64),
    /// Open conflicts after the apply.
    pub conflicts: Option<u64>,
    pub verified: Option<(bool, String)>,
    pub failed: Option<(Phase, Fault)>,
    /// The spoke cannot be synced, yet one of its sides is in no snapshot as it is.
    #[serde(default)]
    pub unheld: bool,
}

/// A sync run: a fold over its [`SyncEvent`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRun {
    pub request: SyncRequest,
    pub run: RunId,
    pub started: Option<Timestamp>,
    pub spokes: BTreeMap<SpokeName, SpokeProgress>,
    pub snapshot: SnapshotProgress,
    /// The leaf of the snapshot when it was taken before this run, and goes for it too.
    pub stands: Option<LeafIndex>,
    /// How many snapshots this run has taken because spokes moved on.
    pub rounds: u32,
    pub leaf: Option<LeafIndex>,
    pub seal_failed: Option<Fault>,
    pub announced: bool,
    pub cancelled: Option<String>,
    /// First and last event of each phase.
    pub times: BTreeMap<Phase, (Timestamp, Timestamp)>,
    pub last: Timestamp,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Succeeded,
    /// Done; conflicts wait for a person.
    Conflicts,
    /// Some spokes are done, the rest is listed and can be repeated.
    Partial,
    Failed,
    NothingToDo,
    Cancelled,
}

/// What is shown of a run; schema of `sync --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    pub result: Option<RunResult>,
    pub phases: Vec<PhaseSummary>,
    pub spokes: Vec<SpokeSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<LeafIndex>,
    /// The exit code the command line ends with (cli.md).
    #[serde(default)]
    pub code: u8,
    /// Why the run as a whole failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// One sentence on what was done, where the parts above do not tell it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Restores only: what was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<crate::restore::Restored>,
}

/// One phase of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSummary {
    pub name: String,
    /// `ok`, `skipped`, `partial`, `failed`, `running`.
    pub result: String,
    pub ms: u64,
}

/// One spoke of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokeSummary {
    pub name: SpokeName,
    pub kind: SpokeKind,
    /// `synced`, `unchanged`, `conflicts`, `partial`, `snapshotted`, `failed`, `refused`, `unreachable`, `waiting`.
    pub result: String,
    pub changes_in: u64,
    pub changes_out: u64,
    pub conflicts: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What is left out of sync and snapshot without stopping them, for example an unreadable file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Saga for SyncRun {
    type Event = SyncEvent;
    type Step = Step;

    fn apply(self, event: &SyncEvent) -> Result<Self, IllegalTransition> {
        next::apply(self, event)
    }

    fn next(&self, _now: Timestamp) -> Next<Step> {
        next::next(self)
    }
}

/// Returns the exit code for a failure with this cause.
#[must_use]
pub fn exit_code(cause: Cause) -> u8 {
    match cause {
        Cause::Other | Cause::Full => 1,
        Cause::NotFound => 4,
        Cause::Denied | Cause::Key => 5,
        Cause::Unreachable => 6,
        Cause::Refused => 7,
        Cause::Busy => 75,
        Cause::Invalid => 3,
    }
}
