//! The restore run: get parts of a snapshot back, keep what stood there, prove what was written.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::ecosystem::{Side, Spoke, SpokeKind};
use crate::ids::{LeafIndex, SnapshotId, SpokeName};
use crate::journal::{IllegalTransition, Next, Saga};
use crate::ports::{Fault, FaultKind};
use crate::run::{Phase, PhaseSummary, RunResult, RunSummary, SpokeSummary, exit_code};
use crate::snapshot::Root;
use crate::time::Timestamp;

/// What a restore is asked to do. Everything is decided before it starts, so that a resumed restore
/// does the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    pub snapshot: SnapshotId,
    pub snapshot_root: Root,
    /// The parts to restore, in order.
    pub parts: Vec<RestorePart>,
    /// Whether the outcome becomes a leaf of the log (not when the hub's state is lost).
    pub seal: bool,
}

/// One part to restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePart {
    /// The spoke as declared, or as rebuilt from the manifest when the configuration is lost.
    pub spoke: Spoke,
    /// The side the snapshot's part belongs to.
    pub side: Side,
    /// The folder or file to write; none: in place.
    pub to: Option<PathBuf>,
    /// The root the snapshot holds, which the written copy must have.
    pub root: Root,
    /// Whether the written copy can be compared as a whole (in place, a git part is merged into what is there).
    pub provable: bool,
}

/// What was restored; schema of `restore --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub spoke: SpokeName,
    pub side: Side,
    pub kind: SpokeKind,
    pub path: String,
    pub files: u64,
    pub bytes: u64,
    pub root: Root,
    pub verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// A journal record of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreEvent {
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    Started {
        request: RestoreRequest,
    },
    /// Restores over living data leave a leaf of intent before the first write.
    Intended {
        leaf: LeafIndex,
    },
    Restored {
        part: usize,
        restored: Restored,
    },
    /// The root computed from what was written is the snapshot's.
    Proven {
        part: usize,
    },
    Failed {
        part: usize,
        fault: Fault,
    },
    Sealed {
        leaf: LeafIndex,
    },
    SealFailed {
        fault: Fault,
    },
    Announced,
}

/// A step of a restore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Start,
    Intend,
    Restore(usize),
    Prove(usize),
    Seal,
    Announce,
}

/// Where one part stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartProgress {
    pub restored: Option<Restored>,
    pub proven: bool,
    pub failed: Option<Fault>,
}

/// A restore: a fold over its [`RestoreEvent`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRun {
    pub request: Option<RestoreRequest>,
    pub parts: Vec<PartProgress>,
    pub intent: Option<LeafIndex>,
    pub leaf: Option<LeafIndex>,
    pub seal_failed: Option<Fault>,
    pub announced: bool,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl RestoreRun {
    fn is_in_place(&self) -> bool {
        self.request.as_ref().is_some_and(|r| r.parts.iter().any(|p| p.to.is_none()))
    }

    /// Returns the summary as of now.
    #[must_use]
    pub fn summary(&self) -> RunSummary {
        let Some(request) = &self.request else {
            return RunSummary::default();
        };
        let spokes = request.parts.iter().zip(&self.parts).map(|(part, progress)| SpokeSummary {
            name: part.spoke.name.clone(),
            kind: part.spoke.kind(),
            result: match progress {
                PartProgress { failed: Some(_), .. } => "failed",
                PartProgress { proven: true, .. } => "restored",
                _ => "waiting",
            }
            .to_owned(),
            changes_in: 0,
            changes_out: progress.restored.as_ref().map_or(0, |r| r.files),
            conflicts: 0,
            note: progress.failed.as_ref().map(|f| f.message.clone()).unwrap_or_default(),
            warnings: vec![],
        });
        let failed: Vec<&Fault> = self.parts.iter().filter_map(|p| p.failed.as_ref()).collect();
        let (result, code) = match failed.first() {
            None => (RunResult::Succeeded, u8::from(self.seal_failed.is_some())),
            Some(fault) => {
                let code = if fault.kind == FaultKind::Corrupt { 20 } else { exit_code(fault.cause) };
                let partly = failed.len() < self.parts.len();
                // What cannot be restored outranks "partly": a person on the worst day must see it.
                (
                    if partly { RunResult::Partial } else { RunResult::Failed },
                    if partly && code != 20 { 12 } else { code },
                )
            }
        };
        RunSummary {
            result: self.announced.then_some(result),
            phases: vec![PhaseSummary {
                name: "restore".into(),
                result: if failed.is_empty() { "ok" } else { "failed" }.into(),
                ms: self.last.ms_since(self.first),
            }],
            spokes: spokes.collect(),
            snapshot: Some(request.snapshot.clone()),
            leaf: self.leaf,
            code,
            error: failed
                .first()
                .map(|f| f.message.clone())
                .or_else(|| self.seal_failed.as_ref().map(|f| f.message.clone())),
            note: String::new(),
            restored: self
                .parts
                .iter()
                .filter_map(|p| p.restored.clone().map(|r| Restored { verified: p.proven, ..r }))
                .collect(),
        }
    }

    /// The name of the only phase, for times and reports.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::Sync
    }
}

impl Saga for RestoreRun {
    type Event = RestoreEvent;
    type Step = Step;

    fn apply(mut self, event: &RestoreEvent) -> Result<Self, IllegalTransition> {
        let illegal = || IllegalTransition { state: "restore".into(), event: format!("{:?}", event.what) };
        if self.announced || (self.request.is_none() != matches!(event.what, What::Started { .. })) {
            return Err(illegal());
        }
        self.last = self.last.max(event.at);
        let part = |run: &mut Self, index: usize| run.parts.get(index).cloned().ok_or_else(illegal);
        match &event.what {
            What::Started { request } => {
                self.first = event.at;
                self.parts = vec![PartProgress::default(); request.parts.len()];
                self.request = Some(request.clone());
            }
            What::Intended { leaf } => self.intent = Some(*leaf),
            What::Restored { part: index, restored } => {
                let mut progress = part(&mut self, *index)?;
                if progress.restored.is_some() || progress.failed.is_some() || (self.is_in_place() && !self.may_write())
                {
                    return Err(illegal());
                }
                progress.restored = Some(restored.clone());
                self.parts[*index] = progress;
            }
            What::Proven { part: index } => {
                let mut progress = part(&mut self, *index)?;
                if progress.restored.is_none() {
                    return Err(illegal());
                }
                progress.proven = true;
                self.parts[*index] = progress;
            }
            What::Failed { part: index, fault } => {
                let mut progress = part(&mut self, *index)?;
                progress.failed = Some(fault.clone());
                self.parts[*index] = progress;
            }
            What::Sealed { leaf } => self.leaf = Some(*leaf),
            What::SealFailed { fault } => self.seal_failed = Some(fault.clone()),
            What::Announced => self.announced = true,
        }
        Ok(self)
    }

    fn next(&self, _now: Timestamp) -> Next<Step> {
        let Some(request) = &self.request else {
            return Next::Do(vec![Step::Start]);
        };
        if self.announced {
            return Next::Done;
        }
        if !self.may_write() && self.seal_failed.is_none() {
            return Next::Do(vec![Step::Intend]);
        }
        if self.may_write() {
            // One part after the other: the first failure of a disk should not be met by all at once.
            for (index, progress) in self.parts.iter().enumerate() {
                if progress.failed.is_some() || progress.proven {
                    continue;
                }
                return Next::Do(vec![if progress.restored.is_none() {
                    Step::Restore(index)
                } else {
                    Step::Prove(index)
                }]);
            }
        }
        if request.seal && self.leaf.is_none() && self.seal_failed.is_none() {
            return Next::Do(vec![Step::Seal]);
        }
        Next::Do(vec![Step::Announce])
    }
}

impl RestoreRun {
    /// Living data is written only after the intent is in the log.
    fn may_write(&self) -> bool {
        let sealed = self.request.as_ref().is_some_and(|r| r.seal);
        !sealed || !self.is_in_place() || self.intent.is_some()
    }
}
