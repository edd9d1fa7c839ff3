//! What stands where a restore will write becomes a snapshot first, and again whenever somebody has
//! written meanwhile, above all between a kill and the command that goes on.
//!
//! On the worst day no snapshot can be taken. The restore goes on then, with what the syncers keep beside
//! the place, and says so.

use std::collections::BTreeMap;

use cathedral_model::ids::{Digest, SnapshotId};
use cathedral_model::ports::store::Claim;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::restore::{MAX_MOVES, RestorePart, RestoreRun, What};
use cathedral_model::run::SnapshotProgress;
use cathedral_model::snapshot::{PartKey, SnapshotInfo, SnapshotMeta, part_digest};

use super::{Outcomes, RestorePerformer};
use crate::snapshot::{announcement, messages, taken_of};
use crate::standing::tell;

/// How the cause of a snapshot begins that was taken before a restore in place.
pub const BEFORE_RESTORE: &str = "before restore ";

/// Returns the snapshot that `latest` means, everywhere: of those that were taken last (whatever their clocks said),
/// the newest that was not taken by a restore of what it was about to write over. A restore that is repeated must
/// not bring back what it was to mend. `list` is oldest first.
#[must_use]
pub fn latest(list: &[SnapshotInfo]) -> Option<&SnapshotInfo> {
    list.iter().rev().find(|s| !s.meta.cause.starts_with(BEFORE_RESTORE)).or_else(|| list.last())
}

impl RestorePerformer {
    pub(super) async fn begin_snapshot(&self) -> Outcomes {
        vec![self.event(What::SnapshotBegun { id: self.engine.new_snapshot_id().await })]
    }

    pub(super) async fn take_snapshot(
        &self,
        state: &RestoreRun,
        id: &SnapshotId,
        claim: &Claim,
    ) -> Result<Outcomes, PortError> {
        let meta = SnapshotMeta {
            id: id.clone(),
            ecosystem: self.engine.ecosystem.name.clone(),
            at: self.engine.ports.env.now(),
            cause: format!("{BEFORE_RESTORE}{}: {}", claim.run, claim.request.cause),
            tags: vec![],
        };
        let mut unread = BTreeMap::new();
        let taken = self.engine.take_snapshot(&meta, &BTreeMap::new(), &mut unread).await;
        let parts: Vec<&RestorePart> = state.request.iter().flat_map(|r| &r.parts).collect();
        let is_target = |key: &PartKey| parts.iter().any(|p| p.spoke.name == key.spoke && p.side == key.side);
        let left_out = unread.into_iter().filter(|(key, _)| is_target(key));
        let left_out = left_out.map(|(key, error)| (key.spoke, error.to_string())).collect();
        match taken {
            Ok(info) => Ok(vec![self.event(What::SnapshotTaken { taken: taken_of(&info), left_out })]),
            Err(error) => self.no_snapshot(error),
        }
    }

    pub(super) async fn seal_snapshot(&self, state: &RestoreRun, claim: &Claim) -> Result<Outcomes, PortError> {
        let SnapshotProgress::Taken(taken) = &state.before else {
            return Err(PortError::permanent("there is no snapshot to seal"));
        };
        match self.engine.log_snapshot(claim.run, taken).await {
            Ok(leaf) => {
                let told = announcement(claim.run, taken, leaf);
                let mut outcome = self.event(What::SnapshotSealed { leaf }).event(told);
                outcome.messages = messages(claim.run, taken, leaf, self.engine.ports.env.now());
                Ok(vec![outcome])
            }
            Err(error) => self.no_snapshot(error),
        }
    }

    fn no_snapshot(&self, error: PortError) -> Result<Outcomes, PortError> {
        match error {
            PortError::Fenced(_) => Err(error),
            error => Ok(vec![self.event(What::SnapshotFailed { fault: error.fault() })]),
        }
    }

    /// Says in the error of a write in place whether what stands there is as it was.
    pub(super) async fn after_failure(&self, state: &RestoreRun, part: &RestorePart, error: PortError) -> PortError {
        let key = PartKey { spoke: part.spoke.name.clone(), side: part.side };
        if matches!(error, PortError::Fenced(_)) {
            return error;
        }
        // A new folder is filled aside, and a refusal comes before the first write.
        if part.to.is_some() || error.cause() == Cause::Refused {
            self.marks.untouched(&key);
            return error;
        }
        let kind = part.spoke.kind();
        let seen = self.engine.ports.syncer(kind).observe(&part.spoke).await;
        let now = seen.ok().map(|seen| part_digest(kind, part.side, &seen.digests()));
        let is_old = now.is_some() && now == held(state, part);
        if is_old {
            self.marks.untouched(&key);
        }
        tell(error, is_old)
    }

    /// What is to be recorded before a part may be written: none when the snapshot holds what stands there
    /// now, or it is told already that it cannot.
    pub(super) async fn before_writing(
        &self,
        state: &RestoreRun,
        index: usize,
        part: &RestorePart,
    ) -> Result<Option<What>, PortError> {
        let Some(progress) = state.parts.get(index).filter(|_| part.to.is_none()) else { return Ok(None) };
        let spoke = &part.spoke;
        let why = match &state.before {
            SnapshotProgress::Sealed(..) => match self.engine.part_now(spoke, part.side).await {
                Ok(now) if held(state, part) == Some(now) => return Ok(None),
                Ok(_) => match state.left_out.get(&spoke.name) {
                    Some(why) if progress.moves > 0 => why.clone(),
                    _ if progress.moves < MAX_MOVES => return Ok(Some(What::Moved { part: index })),
                    _ => "it changed again after each snapshot".to_owned(),
                },
                Err(error @ PortError::Fenced(_)) => return Err(error),
                Err(error) => error.to_string(),
            },
            SnapshotProgress::Failed(fault) => fault.message.clone(),
            _ => "none was taken".to_owned(),
        };
        Ok(progress.unheld.is_none().then_some(What::Unheld { part: index, why }))
    }
}

/// What the snapshot before the restore holds of a part.
fn held(state: &RestoreRun, part: &RestorePart) -> Option<Digest> {
    let SnapshotProgress::Sealed(taken, _) = &state.before else { return None };
    taken.parts.get(&part.spoke.name)?.get(&part.side).copied()
}
