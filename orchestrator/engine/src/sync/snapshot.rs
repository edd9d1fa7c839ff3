//! Phase two: one snapshot of the whole ecosystem, held by the quorum and in the log.

use std::collections::BTreeMap;

use cathedral_model::ids::{SnapshotId, SpokeName};
use cathedral_model::ports::PortError;
use cathedral_model::ports::store::Claim;
use cathedral_model::run::{Phase, SnapshotProgress, SpokeProgress, SyncEvent, SyncRun, What};
use cathedral_model::snapshot::SnapshotMeta;

use super::{Outcomes, SyncPerformer};
use crate::driver::Outcome;
use crate::snapshot::{Known, announcement, messages, taken_of};

impl SyncPerformer {
    /// Decides the id. A run that finds everything as the newest snapshot holds it goes by that one: what is
    /// refused or fails each time must not fill the vault with snapshots of the same.
    pub(super) async fn begin_snapshot(&self, state: &SyncRun) -> Outcome<SyncEvent> {
        let stands = if state.rounds == 0 && !state.request.force_snapshot && state.request.tags.is_empty() {
            self.engine.snapshot_as_seen(state).await
        } else {
            None
        };
        let (id, stands) = match stands {
            Some((id, leaf)) => (id, Some(leaf)),
            None => (self.engine.new_snapshot_id().await, None),
        };
        self.event(What::SnapshotBegun { id, stands })
    }

    /// A side that cannot be read is in the snapshot as it was, and its spoke is not synced in this run.
    pub(super) async fn take_snapshot(
        &self,
        state: &SyncRun,
        id: &SnapshotId,
        claim: &Claim,
    ) -> Result<Outcomes, PortError> {
        let meta = SnapshotMeta {
            id: id.clone(),
            ecosystem: self.engine.ecosystem.name.clone(),
            at: self.engine.ports.env.now(),
            // What a sync changes comes after its snapshot: that must be plain in every list.
            cause: match state.request.only.as_slice() {
                [Phase::Snapshot] => claim.request.cause.clone(),
                _ => format!("before run {}: {}", claim.run, claim.request.cause),
            },
            tags: state.request.tags.clone(),
        };
        let known: BTreeMap<SpokeName, Known> =
            state.spokes.iter().filter_map(|(name, progress)| Some((name.clone(), known(state, progress)?))).collect();
        let mut unread = BTreeMap::new();
        let taken = self.engine.take_snapshot(&meta, &known, &mut unread).await;
        let mut outcomes = vec![];
        let mut told = None;
        for (key, error) in unread {
            let goes_on = state.spokes.get(&key.spoke).is_some_and(|p| p.failed.is_none());
            if goes_on && told.as_ref() != Some(&key.spoke) {
                outcomes.extend(self.failed(&key.spoke, Phase::Snapshot, error)?);
                told = Some(key.spoke);
            }
        }
        match taken {
            Ok(info) => outcomes.push(self.event(What::SnapshotTaken { taken: taken_of(&info) })),
            Err(PortError::Fenced(who)) => return Err(PortError::Fenced(who)),
            Err(error) => outcomes.push(self.event(What::SnapshotFailed { fault: error.fault() })),
        }
        Ok(outcomes)
    }

    pub(super) async fn seal_snapshot(&self, state: &SyncRun) -> Result<Outcomes, PortError> {
        let SnapshotProgress::Taken(taken) = &state.snapshot else {
            return Err(PortError::permanent("there is no snapshot to seal"));
        };
        if let Some(leaf) = state.stands {
            return Ok(vec![self.event(What::SnapshotSealed { leaf })]);
        }
        match self.engine.log_snapshot(state.run, taken).await {
            Ok(index) => {
                let told = announcement(state.run, taken, index);
                let mut outcome = self.event(What::SnapshotSealed { leaf: index }).event(told);
                outcome.messages = messages(state.run, taken, index, self.engine.ports.env.now());
                Ok(vec![outcome])
            }
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => Ok(vec![self.event(What::SnapshotFailed { fault: error.fault() })]),
        }
    }
}

/// What this run knows of a spoke; none when it must be looked at.
fn known(state: &SyncRun, progress: &SpokeProgress) -> Option<Known> {
    match &progress.failed {
        Some((Phase::Validate | Phase::Snapshot, fault)) => Some(Known::Unread(fault.clone())),
        Some(_) => None,
        None if progress.moved => Some(Known::Moved { remember: state.is_remembering(progress) }),
        None => progress.observed.as_ref().map(|o| Known::At(o.digests())),
    }
}
