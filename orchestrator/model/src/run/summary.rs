//! What is shown of a run, derived from its state.

use super::{
    Phase, PhaseSummary, RunResult, RunSummary, SnapshotProgress, SpokeProgress, SpokeSummary, SyncRun, exit_code,
};
use crate::plan::NOT_UNDONE;
use crate::ports::{Cause, Fault, FaultKind};

impl SyncRun {
    /// Returns the summary as of now; `result` is set once the run has been announced or cancelled.
    #[must_use]
    pub fn summary(&self) -> RunSummary {
        let spokes: Vec<SpokeSummary> = self.spokes.values().map(|s| self.spoke_summary(s)).collect();
        let (outcome, code) = self.outcome(&spokes);
        RunSummary {
            result: (self.announced || self.cancelled.is_some()).then_some(outcome),
            phases: Phase::ALL.iter().map(|p| self.phase_summary(*p)).collect(),
            spokes,
            snapshot: match &self.snapshot {
                SnapshotProgress::Taken(t) | SnapshotProgress::Sealed(t, _) => Some(t.id.clone()),
                _ => None,
            },
            leaf: self.leaf,
            code,
            error: match (&self.snapshot, &self.seal_failed) {
                (SnapshotProgress::Failed(fault), _) | (_, Some(fault)) => Some(fault.message.clone()),
                _ => None,
            },
            note: String::new(),
            restored: vec![],
        }
    }

    /// Returns how the run ends as things stand, and the exit code for it.
    #[must_use]
    pub fn outcome(&self, spokes: &[SpokeSummary]) -> (RunResult, u8) {
        if self.cancelled.is_some() {
            return (RunResult::Cancelled, 130);
        }
        if let SnapshotProgress::Failed(fault) = &self.snapshot {
            return (RunResult::Failed, fault_code(fault));
        }
        if let Some(fault) = &self.seal_failed {
            return (RunResult::Failed, fault_code(fault));
        }
        let bad = |s: &&SpokeSummary| {
            matches!(s.result.as_str(), "failed" | "unreachable" | "refused" | "partial" | "waiting")
        };
        let bad_count = spokes.iter().filter(bad).count();
        if bad_count > 0 {
            let first = self.spokes.values().filter_map(|s| s.failed.as_ref().map(|(_, fault)| fault));
            let first = first.filter(|fault| fault.cause != Cause::Refused).map(fault_code).next();
            // Damage is told as such, however much else was done: repeating the run mends nothing.
            let damaged =
                self.spokes.values().any(|s| s.failed.as_ref().is_some_and(|(_, f)| f.kind == FaultKind::Corrupt));
            let refused = spokes.iter().filter(bad).all(|s| s.result == "refused");
            // The master repository is looked at in every run: of what was asked for by name it is no part.
            let asked = |s: &&SpokeSummary| self.request.spokes.is_empty() || self.request.spokes.contains(&s.name);
            let done = |s: &SpokeSummary| {
                matches!(s.result.as_str(), "synced" | "conflicts" | "partial" | "unchanged" | "snapshotted")
            };
            let synced = spokes.iter().filter(asked).any(done);
            if damaged {
                return (if synced { RunResult::Partial } else { RunResult::Failed }, 20);
            }
            if synced && !refused {
                return (RunResult::Partial, 12);
            }
            let code = if refused { 7 } else { first.unwrap_or(1) };
            return (if synced { RunResult::Partial } else { RunResult::Failed }, code);
        }
        // A snapshot holds both sides of a conflict: that somebody still has to decide it is no failing of it.
        let only_kept = !self.includes(Phase::Sync) && self.sealed_snapshot().is_some();
        if !only_kept && spokes.iter().any(|s| s.conflicts > 0) {
            return (RunResult::Conflicts, 11);
        }
        if !self.has_work() {
            return (RunResult::NothingToDo, 0);
        }
        (RunResult::Succeeded, 0)
    }

    fn spoke_summary(&self, spoke: &SpokeProgress) -> SpokeSummary {
        let (changes_in, changes_out) = spoke.applied.as_ref().map_or((0, 0), |a| (a.changes_in, a.changes_out));
        let (changes_in, changes_out) = (changes_in + spoke.earlier.0, changes_out + spoke.earlier.1);
        let conflicts = spoke.conflicts.unwrap_or(spoke.declared.open_conflicts);
        let mut note = String::new();
        let result = if let Some((phase, fault)) = &spoke.failed {
            note = format!("{}: {}", phase.as_str(), fault.message);
            if spoke.unheld && self.sealed_snapshot().is_some() {
                note.push_str("; the side that can be read is in the snapshot");
            }
            if fault.cause == Cause::Unreachable {
                "unreachable"
            } else if fault.cause == Cause::Refused {
                "refused"
            } else {
                "failed"
            }
        } else if self.is_refused(spoke) {
            note = spoke
                .planned
                .iter()
                .flat_map(|p| &p.guards)
                .map(|g| format!("{}: {}", g.name, g.why))
                .collect::<Vec<_>>()
                .join("; ");
            "refused"
        } else if let Some(applied) = &spoke.applied {
            if let Some(first) = applied.skipped.first() {
                note = if first.why.starts_with(NOT_UNDONE) {
                    // No later run does it either.
                    format!("{}: {}", first.target, first.why)
                } else {
                    format!("{} left for the next run, first {}: {}", applied.skipped.len(), first.target, first.why)
                };
                "partial"
            } else if let Some((false, why)) = &spoke.verified {
                note.clone_from(why);
                "partial"
            } else if let Some(unread) = unreadable(spoke) {
                note = format!("left out: {unread}");
                "partial"
            } else if conflicts > 0 {
                "conflicts"
            } else {
                "synced"
            }
        } else if !spoke.is_changed()
            && let Some(unread) = unreadable(spoke)
        {
            note = format!("left out: {unread}");
            "partial"
        } else if !spoke.is_changed() {
            if conflicts > 0 { "conflicts" } else { "unchanged" }
        } else if spoke.moved {
            let when = if spoke.earlier == (0, 0) { "snapshotted" } else { "synced" };
            note = format!("it kept changing while it was {when}; the next run continues");
            "partial"
        } else if !spoke.is_to_be_synced() || (!self.includes(Phase::Sync) && self.sealed_snapshot().is_some()) {
            "snapshotted"
        } else {
            "waiting"
        };
        SpokeSummary {
            name: spoke.declared.name.clone(),
            kind: spoke.declared.kind,
            result: result.to_owned(),
            changes_in,
            changes_out,
            conflicts,
            note,
            warnings: spoke.observed.as_ref().map(|o| o.warnings.clone()).unwrap_or_default(),
        }
    }

    fn phase_summary(&self, phase: Phase) -> PhaseSummary {
        let failed_here = self.spokes.values().filter(|s| s.failed.as_ref().is_some_and(|(p, _)| *p == phase)).count();
        let snapshot_failed = phase == Phase::Snapshot && matches!(self.snapshot, SnapshotProgress::Failed(_));
        let times = self.times.get(&phase);
        let result = if snapshot_failed || (failed_here > 0 && failed_here == self.spokes.len()) {
            "failed"
        } else if failed_here > 0 {
            "partial"
        } else if times.is_none() {
            "skipped"
        } else {
            "ok"
        };
        PhaseSummary {
            name: phase.as_str().to_owned(),
            result: result.to_owned(),
            ms: times.map_or(0, |(first, last)| last.ms_since(*first)),
        }
    }
}

/// What could not be read is neither synced nor in the snapshot: that must not look like success.
fn unreadable(spoke: &SpokeProgress) -> Option<&String> {
    let observed = spoke.observed.as_ref()?;
    observed.warnings.iter().find(|w| w.contains("ermission denied") || w.contains("cannot be read"))
}

fn fault_code(fault: &Fault) -> u8 {
    if fault.kind == FaultKind::Corrupt { 20 } else { exit_code(fault.cause) }
}
