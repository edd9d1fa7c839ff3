//! Restores: planned and shown first, then carried out part by part, each proven.

use async_trait::async_trait;

use cathedral_model::ecosystem::Side;
use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{Digest, NodeId, SpokeName};
use cathedral_model::notice::RESTORE_FINISHED;
use cathedral_model::observation::SpokeMemory;
use cathedral_model::ports::env::Update;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::ports::store::{Claim, Effect};
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::restore::{RestoreEvent, RestorePart, RestoreRequest, RestoreRun, Restored, Step, What};
use cathedral_model::run::{RunSummary, Work};
use cathedral_model::snapshot::{PartKey, SnapshotInfo};

use crate::driver::{Outcome, Performer};
use crate::standing::{Marks, Standing, of_restore};
use crate::work::Engine;

mod keep;

pub use keep::{BEFORE_RESTORE, latest};

/// What a restore would do, shown before it is done.
#[derive(Clone, Debug)]
pub struct PlannedRestore {
    pub snapshot: SnapshotInfo,
    pub request: RestoreRequest,
}

/// Carries out the steps of restore runs.
pub(crate) struct RestorePerformer {
    engine: Engine,
    marks: Marks<PartKey>,
}

type Outcomes = Vec<Outcome<RestoreEvent>>;

impl RestorePerformer {
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), marks: Marks::default() }
    }

    fn event(&self, what: What) -> Outcome<RestoreEvent> {
        Outcome::of(RestoreEvent { at: self.engine.ports.env.now(), what })
    }

    fn part(state: &RestoreRun, index: usize) -> Result<(&RestoreRequest, &RestorePart), PortError> {
        let request = state.request.as_ref().ok_or_else(|| PortError::permanent("restore has not started"))?;
        let part = request.parts.get(index).ok_or_else(|| PortError::permanent("restore has no such part"))?;
        Ok((request, part))
    }

    async fn append(
        &self,
        claim: &Claim,
        stage: &str,
        predicate: serde_json::Value,
    ) -> Result<cathedral_model::ids::LeafIndex, PortError> {
        let leaf = NewLeaf {
            kind: LeafKind::Restore,
            id: format!("restore:{}:{stage}", claim.run),
            subject: format!("run {}", claim.run),
            sha256: None,
            blake3: None,
            at: self.engine.ports.env.now(),
            predicate,
        };
        self.engine.patiently(|| self.engine.ports.ledger.append(&leaf)).await
    }

    async fn restore(&self, state: &RestoreRun, index: usize, claim: &Claim) -> Result<Outcomes, PortError> {
        let (_, part) = Self::part(state, index)?;
        let holder = NodeId::new(&format!("{}/run-{}", self.engine.node, claim.run));
        let resource = format!("spoke:{}", part.spoke.name);
        let done = self.restore_part(state, index, claim, (&resource, &holder)).await;
        // However it ended, and also what a process that was killed before had taken: nobody waits for a lease
        // to run out. Only whoever has lost the run may not give back what the next one holds by the same name.
        if !matches!(done, Err(PortError::Fenced(_))) {
            let _ = self.engine.ports.store.unlease(&resource, &holder).await;
        }
        done
    }

    async fn restore_part(
        &self,
        state: &RestoreRun,
        index: usize,
        claim: &Claim,
        (resource, holder): (&str, &NodeId),
    ) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let (request, part) = Self::part(state, index)?;
        let spoke = &part.spoke;
        ports.progress.update(&Update {
            phase: "restore",
            item: spoke.name.as_str(),
            done: index as u64,
            total: request.parts.len() as u64,
            unit: "parts",
        });
        let key = PartKey { spoke: spoke.name.clone(), side: part.side };
        let mut source = ports.vault.open(&request.snapshot, &key).await?;
        let syncer = ports.syncer(spoke.kind());
        let ttl_ms = self.engine.options.lease_ttl_ms;
        let Some(fence) = ports.store.lease(resource, holder, ports.env.now(), ttl_ms).await? else {
            return Err(PortError::transient(
                Cause::Busy,
                format!("spoke {} is being changed by another run", spoke.name),
            ));
        };
        ports.store.renew(claim, ports.env.now(), ttl_ms).await?;
        if let Some(what) = self.before_writing(state, index, part).await? {
            return Ok(vec![self.event(what)]);
        }
        // What has changed since this run began to look may be its own writing, by a process that was killed.
        let as_found = state.parts.get(index).is_some_and(|p| p.moves == 0 && p.unheld.is_none());
        let is_there = part.to.is_none() && as_found && self.is_there(part, &source.info().observed).await;
        self.marks.writing(&key);
        let imported = syncer.import(spoke, &place(part), source.as_mut(), claim.run, fence).await;
        ports.env.reached(&format!("restored:{}", spoke.name));
        let imported = match imported {
            Ok(imported) => imported,
            Err(error) => return Err(self.after_failure(state, part, error).await),
        };
        self.marks.written(&key);
        let restored = Restored {
            spoke: spoke.name.clone(),
            side: part.side,
            kind: spoke.kind(),
            path: imported.path,
            files: imported.files,
            bytes: imported.bytes,
            root: part.root,
            verified: false,
            kept: imported.kept,
        };
        let mut outcome = self.event(What::Restored { part: index, restored });
        if part.to.is_none() && !is_there {
            // What both sides agreed on later no longer holds: the next sync compares them afresh and
            // deletes nothing. Where nothing changes it does hold, and with it what is in dispute.
            outcome = outcome.effect(Effect::Remember { spoke: spoke.name.clone(), memory: SpokeMemory::default() });
        }
        Ok(vec![outcome])
    }

    /// Whether what is to be restored stands there already.
    async fn is_there(&self, part: &RestorePart, digest: &Digest) -> bool {
        self.engine.part_now(&part.spoke, part.side).await.is_ok_and(|now| now == *digest)
    }

    /// Reads back what was written and compares its root with the snapshot's.
    async fn prove(&self, state: &RestoreRun, index: usize) -> Result<Outcomes, PortError> {
        let (_, part) = Self::part(state, index)?;
        if part.provable {
            let key = PartKey { spoke: part.spoke.name.clone(), side: part.side };
            let mut sink = self.engine.ports.vault.prover(&key, part.spoke.kind())?;
            let syncer = self.engine.ports.syncer(part.spoke.kind());
            let read_at = syncer.export(&part.spoke, &place(part), sink.as_mut()).await?;
            let info = sink.finish(&read_at, "exact")?;
            if info.root != part.root {
                return Err(PortError::Corrupt(format!(
                    "what was written for {} does not have the snapshot's root ({} instead of {})",
                    part.spoke.name, info.root, part.root
                )));
            }
        }
        Ok(vec![self.event(What::Proven { part: index })])
    }

    fn failed(&self, index: usize, error: PortError) -> Result<Outcomes, PortError> {
        if let PortError::Fenced(_) = error {
            return Err(error);
        }
        Ok(vec![self.event(What::Failed { part: index, fault: error.fault() })])
    }
}

fn place(part: &RestorePart) -> Place {
    part.to.as_ref().map_or(Place::Live(part.side), |path| Place::Path(path.clone()))
}

fn names(request: &RestoreRequest) -> Vec<(&SpokeName, Side, &Option<std::path::PathBuf>)> {
    request.parts.iter().map(|p| (&p.spoke.name, p.side, &p.to)).collect()
}

#[async_trait]
impl Performer<RestoreRun> for RestorePerformer {
    async fn perform(&self, state: RestoreRun, step: Step, claim: Claim) -> Result<Outcomes, PortError> {
        match step {
            Step::Start => {
                let Work::Restore(request) = claim.request.work.clone() else {
                    return Err(PortError::permanent("not a restore request"));
                };
                Ok(vec![self.event(What::Started { request })])
            }
            Step::Intend => {
                let request = state.request.as_ref().ok_or_else(|| PortError::permanent("restore has not started"))?;
                let predicate = serde_json::json!({
                    "intent": "restore", "snapshot": request.snapshot, "root": request.snapshot_root, "parts": names(request),
                });
                match self.append(&claim, "intent", predicate).await {
                    Ok(leaf) => Ok(vec![self.event(What::Intended { leaf })]),
                    Err(error @ PortError::Fenced(_)) => Err(error),
                    Err(error) => Ok(vec![self.event(What::SealFailed { fault: error.fault() })]),
                }
            }
            Step::BeginSnapshot => Ok(self.begin_snapshot().await),
            Step::TakeSnapshot(id) => self.take_snapshot(&state, &id, &claim).await,
            Step::SealSnapshot(_) => self.seal_snapshot(&state, &claim).await,
            Step::Restore(index) => self.restore(&state, index, &claim).await.or_else(|e| self.failed(index, e)),
            Step::Prove(index) => self.prove(&state, index).await.or_else(|e| self.failed(index, e)),
            Step::Seal => {
                let predicate = serde_json::json!({ "summary": state.summary() });
                match self.append(&claim, "outcome", predicate).await {
                    Ok(leaf) => Ok(vec![self.event(What::Sealed { leaf })]),
                    Err(error @ PortError::Fenced(_)) => Err(error),
                    Err(error) => Ok(vec![self.event(What::SealFailed { fault: error.fault() })]),
                }
            }
            Step::Announce => {
                let summary = state.summary();
                let data = serde_json::json!({ "run": claim.run, "snapshot": summary.snapshot, "code": summary.code });
                let kind = RESTORE_FINISHED;
                let mut told = data.clone();
                told["error"] = serde_json::json!(summary.error);
                let message = Message { key: format!("run:{}:{kind}", claim.run), topic: kind.into(), payload: told };
                let event = NewEvent { kind: kind.into(), run: Some(claim.run), spoke: None, data };
                Ok(vec![self.event(What::Announced).event(event).message(message)])
            }
        }
    }

    fn summary(&self, state: &RestoreRun) -> RunSummary {
        state.summary()
    }

    fn standing(&self, state: &RestoreRun, begun: &RestoreRun) -> Vec<Standing> {
        of_restore(state, begun, &self.marks)
    }
}
