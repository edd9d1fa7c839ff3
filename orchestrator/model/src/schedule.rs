//! What runs by itself, and when: the facts that a scheduler decides on.
//!
//! A due time is nominal: jitter moves the start, never the due time, so that the fire id (schedule and
//! due time) is the same on every node and only one of them can file it.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, RunId};
use crate::run::Request;
use crate::time::Timestamp;

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every so often, counted from the last due time (the first from when the schedule was declared).
    Every { ms: u64 },
    /// Five cron fields or `@daily` and its kin, in a zone of the IANA database.
    Cron { expression: String, time_zone: String },
}

/// What happens when a schedule is due while its last run has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// This time is left out, and counted.
    #[default]
    Skip,
    /// The next one waits in the queue behind it.
    Queue,
}

/// What happens with due times that passed while no hub was running (or the schedule could not fire).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// All missed times become one late run.
    #[default]
    RunOnce,
    /// They are left out and counted; the next due time counts.
    Skip,
}

/// A declared schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Unique and stable, for example `sync:billing`, `snapshot`, `healing:backup_validation:daily`.
    pub name: String,
    /// For people: what it does, for example `sync billing`.
    pub title: String,
    pub rule: Rule,
    /// The start is moved by a fixed part of this that depends on name and due time only.
    pub jitter_ms: u64,
    pub overlap: Overlap,
    pub misfire: Misfire,
    /// Filed when it is due.
    pub request: Request,
}

/// Why a schedule rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: Timestamp,
    /// None: until somebody resumes it.
    pub until: Option<Timestamp>,
    pub reason: String,
    pub actor: String,
}

/// A schedule as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleState {
    pub schedule: Schedule,
    /// The next nominal due time; none when the rule never comes again.
    pub next_due: Option<Timestamp>,
    pub last_due: Option<Timestamp>,
    pub last_fired_at: Option<Timestamp>,
    pub last_run: Option<RunId>,
    /// Due times that were left out since it was declared.
    pub missed: u64,
    pub pause: Option<Pause>,
}

/// One due time acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    pub schedule: String,
    /// The due time that the caller saw; the fire is refused when somebody else has moved it.
    pub due: Timestamp,
    /// None: this time is left out.
    pub request: Option<Request>,
    /// Due times left out with this one, itself included when there is no request.
    pub missed: u64,
    pub next_due: Option<Timestamp>,
}

impl Fire {
    /// Returns the id of a fire: the same on every node.
    #[must_use]
    pub fn id(schedule: &str, due: Timestamp) -> Digest {
        Digest::of(format!("{schedule}\0{}", due.0).as_bytes())
    }
}
