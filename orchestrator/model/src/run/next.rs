//! The transitions of a sync run and the steps that follow from its state.

use super::{Declared, Phase, Seen, SnapshotProgress, SnapshotTaken, SpokeProgress, Step, SyncEvent, SyncRun, What};
use crate::ecosystem::DataSync;
use std::collections::BTreeMap;

use crate::ecosystem::Side;
use crate::ids::{Digest, SpokeName};
use crate::journal::{IllegalTransition, Next};
use crate::snapshot::{part_digest, parts_of};

/// A spoke that keeps moving is left for the next run after this many snapshots.
pub const MAX_ROUNDS: u32 = 3;

impl SpokeProgress {
    fn new(declared: Declared) -> Self {
        Self {
            declared,
            observed: None,
            planned: None,
            pinned: false,
            moved: false,
            applied: None,
            earlier: (0, 0),
            conflicts: None,
            verified: None,
            failed: None,
            unheld: false,
        }
    }

    /// Whether the spoke differs from what the last run settled, or has answers to carry out.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let Some(observed) = &self.observed else {
            return false;
        };
        self.declared.settled != Some(observed.digests()) || !self.declared.answered.is_empty()
    }

    /// Whether the spoke takes part in the sync phase of this run.
    #[must_use]
    pub fn is_to_be_synced(&self) -> bool {
        self.is_changed() && self.declared.data_sync != DataSync::SnapshotOnly
    }

    fn is_refused(&self, confirmed: bool) -> bool {
        !confirmed && self.planned.as_ref().is_some_and(|p| !p.guards.is_empty())
    }
}

impl SyncRun {
    /// Whether this run goes through a phase at all.
    #[must_use]
    pub fn includes(&self, phase: Phase) -> bool {
        self.request.only.is_empty()
            || self.request.only.contains(&phase)
            || matches!(phase, Phase::Validate | Phase::Notify)
    }

    /// Whether anything at all is to be done beyond looking.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.request.force_snapshot || self.spokes.values().any(|s| s.is_changed() || s.unheld)
    }

    /// Whether a guard holds the spoke back until a person confirms.
    #[must_use]
    pub fn is_refused(&self, spoke: &SpokeProgress) -> bool {
        spoke.is_refused(self.request.confirmed)
    }

    /// Whether the spoke's part in the sync phase has ended, well or not.
    fn is_over(&self, spoke: &SpokeProgress) -> bool {
        !spoke.is_to_be_synced()
            || spoke.failed.is_some()
            || spoke.applied.is_some()
            || self.is_refused(spoke)
            || (spoke.moved && self.rounds >= MAX_ROUNDS)
    }

    /// The snapshot of the current round, once it is in the log.
    #[must_use]
    pub fn sealed_snapshot(&self) -> Option<&SnapshotTaken> {
        match &self.snapshot {
            SnapshotProgress::Sealed(taken, _) => Some(taken),
            _ => None,
        }
    }

    /// Whether what is read of a spoke that has moved on is to be remembered while it is snapshotted again.
    #[must_use]
    pub fn is_remembering(&self, spoke: &SpokeProgress) -> bool {
        spoke.moved && spoke.failed.is_none() && self.rounds > 1
    }

    /// What the sealed snapshot holds each part of a spoke at, once it was read while it was remembered: a
    /// spoke that keeps changing is planned by what was read, since it will not stand still.
    #[must_use]
    pub fn remembered(&self, spoke: &SpokeName) -> BTreeMap<Side, Digest> {
        let held = self.sealed_snapshot().filter(|_| self.rounds > 1).and_then(|taken| taken.parts.get(spoke));
        held.cloned().unwrap_or_default()
    }

    /// Whether the sealed snapshot holds the spoke at exactly these digests.
    #[must_use]
    pub fn is_held(&self, spoke: &SpokeName, digests: &crate::observation::Digests) -> bool {
        let Some(taken) = self.sealed_snapshot() else {
            return false;
        };
        let Some(progress) = self.spokes.get(spoke) else {
            return false;
        };
        let kind = progress.declared.kind;
        parts_of(kind).iter().all(|side| {
            taken.parts.get(spoke).and_then(|parts| parts.get(side)) == Some(&part_digest(kind, *side, digests))
        })
    }
}

pub(super) fn next(run: &SyncRun) -> Next<Step> {
    if run.announced || run.cancelled.is_some() {
        return Next::Done;
    }
    if run.started.is_none() {
        return Next::Do(vec![Step::Start]);
    }
    if !run.has_work() {
        return finish(run);
    }
    if run.includes(Phase::Snapshot) || run.includes(Phase::Sync) {
        match &run.snapshot {
            SnapshotProgress::None => return Next::Do(vec![Step::BeginSnapshot]),
            SnapshotProgress::Begun(id) => return Next::Do(vec![Step::TakeSnapshot(id.clone())]),
            SnapshotProgress::Taken(taken) => {
                return Next::Do(vec![Step::SealSnapshot(taken.id.clone())]);
            }
            SnapshotProgress::Failed(_) => return finish(run),
            SnapshotProgress::Sealed(..) => {}
        }
    }
    if run.includes(Phase::Sync) {
        let steps = sync_steps(run);
        if !steps.is_empty() {
            return Next::Do(steps);
        }
        let waits = |s: &SpokeProgress| s.is_to_be_synced() && s.moved && s.failed.is_none() && s.applied.is_none();
        if run.rounds < MAX_ROUNDS && run.spokes.values().any(waits) {
            return Next::Do(vec![Step::BeginSnapshot]);
        }
    }
    if run.includes(Phase::Verify) {
        let unverified: Vec<Step> = run
            .spokes
            .iter()
            .filter(|(_, s)| s.verified.is_none() && s.failed.is_none() && needs_verifying(run, s))
            .map(|(name, _)| Step::Verify(name.clone()))
            .collect();
        if !unverified.is_empty() {
            return Next::Do(unverified);
        }
    }
    finish(run)
}

/// Applied spokes are read again. When the hub's copies changed, so are all others: what one spoke
/// brought to the hub may belong to another one too, and the master repository moves with its pins.
fn needs_verifying(run: &SyncRun, spoke: &SpokeProgress) -> bool {
    let hub_changed =
        || run.spokes.values().any(|s| s.applied.as_ref().is_some_and(|a| a.changes_in > 0) || s.earlier.0 > 0);
    let only_kept = spoke.declared.data_sync == DataSync::SnapshotOnly && spoke.is_changed();
    spoke.applied.is_some() || only_kept || hub_changed()
}

/// The next step of each spoke of the lowest rank that has not ended.
fn sync_steps(run: &SyncRun) -> Vec<Step> {
    let open = || run.spokes.values().filter(|s| !run.is_over(s) && !s.moved);
    let Some(rank) = open().map(|s| s.declared.rank).min() else {
        return vec![];
    };
    open()
        .filter(|s| s.declared.rank == rank)
        .map(|s| {
            let name = s.declared.name.clone();
            match (&s.planned, s.pinned) {
                (None, _) => Step::Plan(name),
                (Some(_), false) => Step::Pin(name),
                (Some(_), true) => Step::Apply(name),
            }
        })
        .collect()
}

/// A run that did something becomes a leaf before it is announced; one that only looked writes nothing
/// but its own journal.
fn finish(run: &SyncRun) -> Next<Step> {
    // It may have gone by an earlier snapshot, and been refused everything else.
    let is_touched = |s: &SpokeProgress| s.failed.is_some() || s.pinned || s.applied.is_some() || s.earlier != (0, 0);
    let wrote = run.spokes.values().any(is_touched) || (run.has_work() && run.stands.is_none());
    if wrote && run.leaf.is_none() && run.seal_failed.is_none() {
        return Next::Do(vec![Step::Seal]);
    }
    Next::Do(vec![Step::Announce])
}

pub(super) fn apply(mut run: SyncRun, event: &SyncEvent) -> Result<SyncRun, IllegalTransition> {
    let illegal = |run: &SyncRun| IllegalTransition { state: describe(run), event: format!("{:?}", event.what) };
    if run.announced || run.cancelled.is_some() {
        return Err(illegal(&run));
    }
    let phase = phase_of(&run, &event.what);
    let times = run.times.entry(phase).or_insert((run.last.max(run.started.unwrap_or(event.at)), event.at));
    times.1 = times.1.max(event.at);
    run.last = run.last.max(event.at);
    match &event.what {
        What::Started { request, run: id, began, spokes, seen, unheld } => {
            if run.started.is_some() {
                return Err(illegal(&run));
            }
            run.started = Some(event.at);
            run.run = *id;
            run.times.insert(Phase::Validate, (*began, event.at));
            run.request = request.clone();
            for declared in spokes {
                let mut progress = SpokeProgress::new(declared.clone());
                match seen.get(&declared.name) {
                    Some(Seen::Observed(observation)) => progress.observed = Some(observation.clone()),
                    Some(Seen::Failed(fault)) => progress.failed = Some((Phase::Validate, fault.clone())),
                    None => return Err(illegal(&run)),
                }
                progress.unheld = unheld.get(&declared.name).is_some_and(|sides| !sides.is_empty());
                run.spokes.insert(declared.name.clone(), progress);
            }
        }
        What::SnapshotBegun { id, stands } => {
            let again = run.spokes.values().any(|s| s.moved);
            match run.snapshot {
                SnapshotProgress::None => {}
                SnapshotProgress::Sealed(..) if again => {}
                _ => return Err(illegal(&run)),
            }
            run.snapshot = SnapshotProgress::Begun(id.clone());
            run.stands = *stands;
            run.rounds += 1;
        }
        What::SnapshotTaken { taken } => match &run.snapshot {
            SnapshotProgress::Begun(id) if *id == taken.id => run.snapshot = SnapshotProgress::Taken(taken.clone()),
            _ => return Err(illegal(&run)),
        },
        What::SnapshotSealed { leaf } => match run.snapshot.clone() {
            SnapshotProgress::Taken(taken) => {
                run.snapshot = SnapshotProgress::Sealed(taken, *leaf);
                for spoke in run.spokes.values_mut().filter(|s| s.moved && s.applied.is_none()) {
                    spoke.moved = false;
                    spoke.planned = None;
                    spoke.pinned = false;
                }
            }
            _ => return Err(illegal(&run)),
        },
        What::SnapshotFailed { fault } => match run.snapshot {
            SnapshotProgress::Begun(_) | SnapshotProgress::Taken(_) => {
                run.snapshot = SnapshotProgress::Failed(fault.clone());
            }
            _ => return Err(illegal(&run)),
        },
        What::Sealed { leaf } => run.leaf = Some(*leaf),
        What::SealFailed { fault } => run.seal_failed = Some(fault.clone()),
        What::Announced => run.announced = true,
        What::Cancelled { by } => run.cancelled = Some(by.clone()),
        What::Stirred { spoke, .. }
        | What::Planned { spoke, .. }
        | What::Moved { spoke }
        | What::Pinned { spoke }
        | What::Applied { spoke, .. }
        | What::Verified { spoke, .. }
        | What::Failed { spoke, .. } => {
            let sealed = run.sealed_snapshot().is_some();
            // One verification may find this while what another one has found is being snapshotted already.
            let stirs = matches!(event.what, What::Stirred { .. }) && run.rounds > 0;
            let Some(progress) = run.spokes.get(spoke).cloned() else {
                return Err(illegal(&run));
            };
            match spoke_event(progress, &event.what, sealed || stirs) {
                Some(progress) => {
                    run.spokes.insert(spoke.clone(), progress);
                }
                None => return Err(illegal(&run)),
            }
        }
    }
    Ok(run)
}

/// The progress of a spoke after an event of its own, or none when the event cannot follow. A spoke is
/// planned and changed only under a sealed snapshot, and changed only after it was pinned.
fn spoke_event(mut spoke: SpokeProgress, what: &What, sealed: bool) -> Option<SpokeProgress> {
    if spoke.failed.is_some() {
        // What was under way beside the step that failed may still end; it changes nothing any more.
        let may_end = matches!(what, What::Stirred { .. } | What::Verified { .. } | What::Failed { .. });
        return may_end.then_some(spoke);
    }
    match what {
        What::Stirred { observation, .. } if sealed => {
            if let Some(applied) = spoke.applied.take() {
                spoke.declared.answered.clear();
                spoke.earlier = (spoke.earlier.0 + applied.changes_in, spoke.earlier.1 + applied.changes_out);
            }
            // What an apply read back may already hold what stirred it: nothing counts as settled.
            spoke.declared.settled = None;
            spoke.observed = Some(observation.clone());
            spoke.planned = None;
            spoke.pinned = false;
            spoke.verified = None;
            spoke.moved = true;
        }
        What::Planned { planned, .. } if sealed && spoke.planned.is_none() => spoke.planned = Some(planned.clone()),
        What::Moved { .. } if sealed && spoke.applied.is_none() => spoke.moved = true,
        What::Pinned { .. } if sealed && spoke.planned.is_some() => spoke.pinned = true,
        What::Applied { applied, conflicts, .. } if sealed && spoke.pinned && spoke.applied.is_none() => {
            spoke.applied = Some(applied.clone());
            spoke.conflicts = Some(*conflicts);
        }
        What::Verified { agrees, note, .. } if spoke.observed.is_some() => {
            spoke.verified = Some((*agrees, note.clone()))
        }
        What::Failed { phase, fault, .. } => spoke.failed = Some((*phase, fault.clone())),
        _ => return None,
    }
    Some(spoke)
}

fn phase_of(run: &SyncRun, what: &What) -> Phase {
    match what {
        What::Started { .. } => Phase::Validate,
        What::SnapshotBegun { .. }
        | What::SnapshotTaken { .. }
        | What::SnapshotSealed { .. }
        | What::SnapshotFailed { .. } => Phase::Snapshot,
        What::Planned { .. }
        | What::Moved { .. }
        | What::Pinned { .. }
        | What::Applied { .. }
        | What::Stirred { .. } => Phase::Sync,
        What::Verified { .. } => Phase::Verify,
        What::Failed { phase, .. } => *phase,
        What::Sealed { .. } | What::SealFailed { .. } | What::Announced => Phase::Notify,
        What::Cancelled { .. } => run.times.keys().next_back().copied().unwrap_or(Phase::Validate),
    }
}

fn describe(run: &SyncRun) -> String {
    format!("run {} ({} spokes, announced: {})", run.run, run.spokes.len(), run.announced)
}
