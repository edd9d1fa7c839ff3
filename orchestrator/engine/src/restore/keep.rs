//! What stands where a restore will write becomes a snapshot first, and again whenever somebody has
//! written meanwhile, above all between a kill and the command that goes on.
//!
//! On the worst day no snapshot can be taken. The restore goes on then, with what the syncers keep beside
//! the place, and says so.

use std::collections::BTreeMap;

use cathedral_model::ids::{Digest, SnapshotId, SpokeName};
use cathedral_model::ports::env::Update;
use cathedral_model::ports::store::Claim;
use cathedral_model::ports::{Cause, PortError, SnapshotWriter};
use cathedral_model::restore::{MAX_MOVES, RestorePart, RestoreRun, What};
use cathedral_model::run::SnapshotProgress;
use cathedral_model::snapshot::{PartKey, SnapshotMeta, part_digest};

use super::{Outcomes, RestorePerformer};
use crate::standing::tell;
use crate::sync::snapshot::{announcement, taken_of};

/// How the cause of a snapshot begins that was taken before a restore in place.
pub const BEFORE_RESTORE: &str = "before restore ";

impl RestorePerformer {
    pub(super) fn begin_snapshot(&self) -> Outcomes {
        let env = &self.engine.ports.env;
        let mut entropy = [0; 10];
        env.entropy(&mut entropy);
        vec![self.event(What::SnapshotBegun { id: SnapshotId::generate(env.now(), entropy) })]
    }

    pub(super) async fn take_snapshot(
        &self,
        state: &RestoreRun,
        id: &SnapshotId,
        claim: &Claim,
    ) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let meta = SnapshotMeta {
            id: id.clone(),
            ecosystem: self.engine.ecosystem.name.clone(),
            at: ports.env.now(),
            cause: format!("{BEFORE_RESTORE}{}: {}", claim.run, claim.request.cause),
            tags: vec![],
        };
        let mut left_out = BTreeMap::new();
        let taken = match ports.vault.begin(&meta).await {
            Ok(Err(visible)) => Ok(visible),
            Ok(Ok(writer)) => match self.write_parts(state, writer.as_ref(), &mut left_out).await {
                Ok(()) => self.engine.patiently(|| writer.commit()).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match taken {
            Ok(info) => {
                ports.env.reached("snapshot:visible");
                Ok(vec![self.event(What::SnapshotTaken { taken: taken_of(&info), left_out })])
            }
            Err(error) => self.no_snapshot(error),
        }
    }

    /// Writes every part of the ecosystem, and notes which of this restore could not be read.
    async fn write_parts(
        &self,
        state: &RestoreRun,
        writer: &dyn SnapshotWriter,
        left_out: &mut BTreeMap<SpokeName, String>,
    ) -> Result<(), PortError> {
        let engine = &self.engine;
        let total = engine.ecosystem.spokes.len() as u64;
        let parts = state.request.iter().flat_map(|r| &r.parts);
        let targets: Vec<&SpokeName> = parts.map(|p| &p.spoke.name).collect();
        for (done, spoke) in engine.ecosystem.spokes.iter().enumerate() {
            engine.ports.progress.update(&Update {
                phase: "snapshot",
                item: spoke.name.as_str(),
                done: done as u64,
                total,
                unit: "spokes",
            });
            let syncer = engine.ports.syncer(spoke.kind());
            let written = match engine.patiently(|| syncer.observe(spoke)).await {
                Ok(seen) => engine.write_spoke(writer, spoke, Some(seen.digests())).await,
                Err(error) => {
                    let known = engine.ports.store.memory(&spoke.name).await?.settled;
                    engine.reuse_parts(writer, spoke, known).await?;
                    Err(error)
                }
            };
            match written {
                Ok(()) => {}
                Err(error @ PortError::Fenced(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(spoke.name = %spoke.name, %error, "not in this snapshot");
                    if targets.contains(&&spoke.name) {
                        left_out.insert(spoke.name.clone(), error.to_string());
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) async fn seal_snapshot(&self, state: &RestoreRun, claim: &Claim) -> Result<Outcomes, PortError> {
        let SnapshotProgress::Taken(taken) = &state.before else {
            return Err(PortError::permanent("there is no snapshot to seal"));
        };
        match self.engine.log_snapshot(claim.run, taken).await {
            Ok(leaf) => {
                let told = announcement(claim.run, taken, leaf);
                Ok(vec![self.event(What::SnapshotSealed { leaf }).event(told)])
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
            SnapshotProgress::Sealed(..) => {
                let syncer = self.engine.ports.syncer(spoke.kind());
                match self.engine.patiently(|| syncer.observe(spoke)).await {
                    Ok(seen) => {
                        let now = part_digest(spoke.kind(), part.side, &seen.digests());
                        let left_out = state.left_out.get(&spoke.name);
                        match left_out {
                            None if held(state, part) == Some(now) => return Ok(None),
                            Some(why) if progress.moves > 0 => why.clone(),
                            _ if progress.moves < MAX_MOVES => return Ok(Some(What::Moved { part: index })),
                            _ => "it changed again after each snapshot".to_owned(),
                        }
                    }
                    Err(error @ PortError::Fenced(_)) => return Err(error),
                    Err(error) => error.to_string(),
                }
            }
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
