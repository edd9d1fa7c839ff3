//! Phase two: one snapshot of the whole ecosystem, held by the quorum and in the log.

use std::collections::BTreeMap;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::event::NewEvent;
use cathedral_model::ids::{LeafIndex, RunId, SnapshotId, SpokeName};
use cathedral_model::observation::Digests;
use cathedral_model::ports::env::Update;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::ports::store::Claim;
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{PortError, SnapshotWriter};
use cathedral_model::run::{Phase, SnapshotTaken, SyncEvent, SyncRun, What};
use cathedral_model::snapshot::{PartKey, SnapshotInfo, SnapshotMeta, part_digest, parts_of};

use super::{Outcomes, SyncPerformer};
use crate::driver::Outcome;
use crate::work::Engine;

impl SyncPerformer {
    pub(super) fn begin_snapshot(&self) -> Outcome<SyncEvent> {
        let mut entropy = [0; 10];
        self.engine.ports.env.entropy(&mut entropy);
        let id = SnapshotId::generate(self.engine.ports.env.now(), entropy);
        self.event(What::SnapshotBegun { id })
    }

    pub(super) async fn take_snapshot(
        &self,
        state: &SyncRun,
        id: &SnapshotId,
        claim: &Claim,
    ) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let meta = SnapshotMeta {
            id: id.clone(),
            ecosystem: self.engine.ecosystem.name.clone(),
            at: ports.env.now(),
            // What a sync changes comes after its snapshot: that must be plain in every list.
            cause: match state.request.only.as_slice() {
                [Phase::Snapshot] => claim.request.cause.clone(),
                _ => format!("before run {}: {}", claim.run, claim.request.cause),
            },
            tags: state.request.tags.clone(),
        };
        let mut outcomes = vec![];
        let taken = match ports.vault.begin(&meta).await {
            Ok(Err(visible)) => Ok(visible),
            Ok(Ok(writer)) => match self.write_parts(state, writer.as_ref(), &mut outcomes).await {
                Ok(()) => self.engine.patiently(|| writer.commit()).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match taken {
            Ok(info) => {
                ports.env.reached("snapshot:visible");
                outcomes.push(self.event(What::SnapshotTaken { taken: taken_of(&info) }));
            }
            Err(PortError::Fenced(who)) => return Err(PortError::Fenced(who)),
            Err(error) => outcomes.push(self.event(What::SnapshotFailed { fault: error.fault() })),
        }
        Ok(outcomes)
    }

    /// Writes every part of the ecosystem. A spoke that cannot be read is left out with what the last
    /// snapshot held of it, and is not synced in this run.
    async fn write_parts(
        &self,
        state: &SyncRun,
        writer: &dyn SnapshotWriter,
        failed: &mut Outcomes,
    ) -> Result<(), PortError> {
        let total = self.engine.ecosystem.spokes.len() as u64;
        for (done, spoke) in self.engine.ecosystem.spokes.iter().enumerate() {
            self.engine.ports.progress.update(&Update {
                phase: "snapshot",
                item: spoke.name.as_str(),
                done: done as u64,
                total,
                unit: "spokes",
            });
            let progress = state.spokes.get(&spoke.name);
            let gave_up = progress.is_some_and(|p| p.failed.is_some());
            let known = self.known_digests(state, spoke).await?;
            let result = if gave_up {
                self.engine.reuse_parts(writer, spoke, known).await
            } else {
                self.engine.write_spoke(writer, spoke, known).await
            };
            match result {
                Ok(()) => {}
                Err(error @ PortError::Fenced(_)) => return Err(error),
                // What concerns the destinations concerns the whole snapshot.
                Err(error) if progress.is_none_or(|p| p.failed.is_some()) => {
                    tracing::warn!(spoke.name = %spoke.name, %error, "not in this snapshot");
                }
                Err(error) => failed.extend(self.failed(&spoke.name, Phase::Snapshot, error)?),
            }
        }
        Ok(())
    }

    /// The digests at which a part may be taken over from the last snapshot without reading it.
    async fn known_digests(&self, state: &SyncRun, spoke: &Spoke) -> Result<Option<Digests>, PortError> {
        match state.spokes.get(&spoke.name) {
            Some(progress) if progress.failed.is_none() && !progress.moved => {
                Ok(progress.observed.as_ref().map(cathedral_model::observation::Observation::digests))
            }
            Some(progress) if progress.failed.is_some() => {
                Ok(self.engine.ports.store.memory(&spoke.name).await?.settled)
            }
            Some(_) => Ok(None),
            None => {
                let syncer = self.engine.ports.syncer(spoke.kind());
                Ok(syncer.observe(spoke).await.ok().map(|o| o.digests()))
            }
        }
    }

    pub(super) async fn seal_snapshot(&self, state: &SyncRun) -> Result<Outcomes, PortError> {
        let cathedral_model::run::SnapshotProgress::Taken(taken) = &state.snapshot else {
            return Err(PortError::permanent("there is no snapshot to seal"));
        };
        match self.engine.log_snapshot(state.run, taken).await {
            Ok(index) => {
                Ok(vec![self.event(What::SnapshotSealed { leaf: index }).event(announcement(state.run, taken, index))])
            }
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => Ok(vec![self.event(What::SnapshotFailed { fault: error.fault() })]),
        }
    }
}

impl Engine {
    /// Makes a snapshot a leaf of the log.
    pub(crate) async fn log_snapshot(&self, run: RunId, taken: &SnapshotTaken) -> Result<LeafIndex, PortError> {
        let leaf = NewLeaf {
            kind: LeafKind::Snapshot,
            id: format!("snapshot:{}", taken.id),
            subject: taken.id.to_string(),
            sha256: Some(taken.manifest_sha256.clone()),
            blake3: Some(taken.manifest_blake3.clone()),
            at: self.ports.env.now(),
            predicate: serde_json::json!({
                "run": run, "root": taken.root, "destinations": taken.destinations,
            }),
        };
        self.patiently(|| self.ports.ledger.append(&leaf)).await
    }

    /// Takes over what the last snapshot holds of a spoke, as far as it was read at these digests.
    pub(crate) async fn reuse_parts(
        &self,
        writer: &dyn SnapshotWriter,
        spoke: &Spoke,
        known: Option<Digests>,
    ) -> Result<(), PortError> {
        let Some(known) = known else { return Ok(()) };
        for side in parts_of(spoke.kind()) {
            let key = PartKey { spoke: spoke.name.clone(), side: *side };
            writer.reuse(&key, spoke.kind(), &part_digest(spoke.kind(), *side, &known)).await?;
        }
        Ok(())
    }

    /// Writes the parts of a spoke; those that are known to be unchanged are not read.
    pub(crate) async fn write_spoke(
        &self,
        writer: &dyn SnapshotWriter,
        spoke: &Spoke,
        known: Option<Digests>,
    ) -> Result<(), PortError> {
        let syncer = self.ports.syncer(spoke.kind());
        for side in parts_of(spoke.kind()) {
            let key = PartKey { spoke: spoke.name.clone(), side: *side };
            if let Some(known) = &known
                && writer.reuse(&key, spoke.kind(), &part_digest(spoke.kind(), *side, known)).await?
            {
                continue;
            }
            let mut sink = writer.part(&key, spoke.kind())?;
            let read_at = syncer.export(spoke, &Place::Live(*side), sink.as_mut()).await?;
            sink.finish(&read_at, "exact")?;
        }
        Ok(())
    }
}

/// The event that tells of a snapshot that is in the log.
pub(crate) fn announcement(run: RunId, taken: &SnapshotTaken, leaf: LeafIndex) -> NewEvent {
    let data = serde_json::json!({ "snapshot": taken.id, "root": taken.root, "leaf": leaf });
    NewEvent { kind: "snapshot.taken".into(), run: Some(run), spoke: None, data }
}

pub(crate) fn taken_of(info: &SnapshotInfo) -> SnapshotTaken {
    let parts: BTreeMap<SpokeName, BTreeMap<Side, _>> = info.digests();
    SnapshotTaken {
        id: info.meta.id.clone(),
        root: info.root,
        parts,
        bytes: info.bytes,
        destinations: info.destinations.clone(),
        manifest_sha256: info.manifest_sha256.clone(),
        manifest_blake3: info.manifest_blake3.clone(),
        skipped: info.parts.iter().map(|p| p.skipped.len() as u64).sum(),
    }
}
