//! The restore run: get parts of a snapshot back, keep what stood there, prove what was written.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ecosystem::{Side, Spoke, SpokeKind};
use crate::ids::{LeafIndex, SnapshotId, SpokeName};
use crate::journal::{IllegalTransition, Next, Saga};
use crate::ports::{Fault, FaultKind};
use crate::run::{
    Phase, PhaseSummary, RunResult, RunSummary, SnapshotProgress, SnapshotTaken, SpokeSummary, exit_code,
};
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
    /// What a restore in place will write over becomes a snapshot first.
    SnapshotBegun {
        id: SnapshotId,
    },
    /// `left_out`: spokes of this restore that could not be read into it, and why.
    SnapshotTaken {
        taken: SnapshotTaken,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        left_out: BTreeMap<SpokeName, String>,
    },
    SnapshotSealed {
        leaf: LeafIndex,
    },
    /// The restore goes on: what stands there is kept beside it, as always, but is in no snapshot.
    SnapshotFailed {
        fault: Fault,
    },
    /// What stands there is not what the snapshot holds: somebody wrote, or an earlier attempt did. It is
    /// snapshotted again first.
    Moved {
        part: usize,
    },
    /// What stands there is in no snapshot, for this reason; the restore goes on nevertheless.
    Unheld {
        part: usize,
        why: String,
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
    BeginSnapshot,
    TakeSnapshot(SnapshotId),
    SealSnapshot(SnapshotId),
    Restore(usize),
    Prove(usize),
    Seal,
    Announce,
}

/// Where one part stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartProgress {
    /// What stands there is to be snapshotted again first.
    pub moved: bool,
    /// How often it had to be snapshotted again.
    pub moves: u32,
    /// Why what stood there is in no snapshot.
    pub unheld: Option<String>,
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
    /// The snapshot of what stood there before.
    pub before: SnapshotProgress,
    /// Spokes that could not be read into it.
    pub left_out: BTreeMap<SpokeName, String>,
    pub leaf: Option<LeafIndex>,
    pub seal_failed: Option<Fault>,
    pub announced: bool,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// A part whose place keeps changing is written over all the same after so many further snapshots.
pub const MAX_MOVES: u32 = 5;

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
            warnings: progress.unheld.iter().map(|why| format!("what stood there is in no snapshot: {why}")).collect(),
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
            note: match &self.before {
                SnapshotProgress::Sealed(taken, _) => format!("what stood there before is in snapshot {}", taken.id),
                _ => String::new(),
            },
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
            What::SnapshotBegun { id } => {
                let is_due = match self.before {
                    SnapshotProgress::None => true,
                    SnapshotProgress::Sealed(..) => self.parts.iter().any(|p| p.moved),
                    _ => false,
                };
                if !is_due || !self.is_in_place() || !self.may_write() {
                    return Err(illegal());
                }
                self.before = SnapshotProgress::Begun(id.clone());
            }
            What::SnapshotTaken { taken, left_out } => match &self.before {
                SnapshotProgress::Begun(id) if *id == taken.id => {
                    self.before = SnapshotProgress::Taken(taken.clone());
                    self.left_out.clone_from(left_out);
                }
                _ => return Err(illegal()),
            },
            What::SnapshotSealed { leaf } => match self.before.clone() {
                SnapshotProgress::Taken(taken) => {
                    self.before = SnapshotProgress::Sealed(taken, *leaf);
                    self.parts.iter_mut().for_each(|p| p.moved = false);
                }
                _ => return Err(illegal()),
            },
            What::SnapshotFailed { fault } => {
                if !self.is_keeping() {
                    return Err(illegal());
                }
                self.before = SnapshotProgress::Failed(fault.clone());
                self.parts.iter_mut().for_each(|p| p.moved = false);
            }
            What::Moved { part: index } => {
                let mut progress = part(&mut self, *index)?;
                let is_sealed = matches!(self.before, SnapshotProgress::Sealed(..));
                if progress.restored.is_some() || progress.failed.is_some() || progress.moved || !is_sealed {
                    return Err(illegal());
                }
                progress.moved = true;
                progress.moves += 1;
                self.parts[*index] = progress;
            }
            What::Unheld { part: index, why } => {
                let mut progress = part(&mut self, *index)?;
                if progress.restored.is_some() || progress.failed.is_some() {
                    return Err(illegal());
                }
                progress.unheld = Some(why.clone());
                self.parts[*index] = progress;
            }
            What::Restored { part: index, restored } => {
                let mut progress = part(&mut self, *index)?;
                let may_write = !self.is_in_place() || (self.may_write() && !self.is_keeping());
                if progress.restored.is_some() || progress.failed.is_some() || progress.moved || !may_write {
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
                if progress.restored.is_some() {
                    return Next::Do(vec![Step::Prove(index)]);
                }
                let in_place = request.parts.get(index).is_some_and(|p| p.to.is_none());
                let keep = if in_place { self.keep(progress) } else { None };
                return Next::Do(vec![keep.unwrap_or(Step::Restore(index))]);
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

    /// What is to be done before a part is written in place: a snapshot of what stands there.
    fn keep(&self, progress: &PartProgress) -> Option<Step> {
        match &self.before {
            SnapshotProgress::None => Some(Step::BeginSnapshot),
            SnapshotProgress::Begun(id) => Some(Step::TakeSnapshot(id.clone())),
            SnapshotProgress::Taken(taken) => Some(Step::SealSnapshot(taken.id.clone())),
            SnapshotProgress::Sealed(..) if progress.moved => Some(Step::BeginSnapshot),
            SnapshotProgress::Sealed(..) | SnapshotProgress::Failed(_) => None,
        }
    }

    fn is_keeping(&self) -> bool {
        matches!(self.before, SnapshotProgress::Begun(_) | SnapshotProgress::Taken(_))
    }
}
