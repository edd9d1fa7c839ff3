//! The engine: takes requests, claims runs, drives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cathedral_model::ecosystem::Ecosystem;
use cathedral_model::ids::{ConflictId, NodeId, RunId};
use cathedral_model::ports::store::{Claim, Enqueued};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::restore::RestoreRun;
use cathedral_model::run::{Request, RunSummary, SyncRun, Work};
use cathedral_model::upkeep::UpkeepRun;

use crate::driver::{Performer, drive, fold};
use crate::restore::RestorePerformer;
use crate::standing::{Marks, Stand, Standing, of_restore, of_sync};
use crate::surroundings::{Options, Ports};
use crate::sync::SyncPerformer;
use crate::upkeep::UpkeepPerformer;

/// Why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("a step stopped without a result; the run can be taken up again")]
    Panicked,
    #[error("the run waits: {0}")]
    Parked(String),
    #[error("a step gave a result that cannot follow: {0}")]
    Illegal(String),
    /// An answer that no run could carry out; `is_typed` when it is a value that somebody wrote.
    #[error("conflict {conflict} cannot be decided like this")]
    Unfit { conflict: ConflictId, why: String, is_typed: bool },
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// What is done cannot be recorded any further. `run` is none when it could not even begin.
    #[error("{}{source}", .run.map(|run| format!("run {run} has stopped: ")).unwrap_or_default())]
    Stopped { run: Option<RunId>, standing: Vec<Standing>, source: Box<EngineError> },
}

/// One hub's engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) ecosystem: Arc<Ecosystem>,
    pub(crate) node: NodeId,
    pub(crate) options: Options,
}

impl Engine {
    /// Makes an engine. `node` must be this process's alone, and stable over its restarts.
    #[must_use]
    pub fn new(ports: Ports, ecosystem: Arc<Ecosystem>, node: NodeId, options: Options) -> Self {
        Self { ports, ecosystem, node, options }
    }

    /// Returns the adapters.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the ecosystem.
    #[must_use]
    pub fn ecosystem(&self) -> &Ecosystem {
        &self.ecosystem
    }

    /// Files a request; it is durable when this returns.
    pub async fn submit(&self, request: &Request) -> Result<Enqueued, EngineError> {
        match self.ports.store.enqueue(request, self.ports.env.now()).await {
            Ok(queued) => Ok(queued),
            Err(error) => Err(self.stopped(error).await),
        }
    }

    /// Takes the most urgent run and drives it to its end; none when nothing waits.
    pub async fn work_once(&self) -> Result<Option<(RunId, RunSummary)>, EngineError> {
        if !self.options.drives {
            return Ok(None);
        }
        let now = self.ports.env.now();
        let claim = match self.ports.store.claim(&self.node, now, self.options.lease_ttl_ms).await {
            Ok(Some(claim)) => claim,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.stopped(error).await),
        };
        let run = claim.run;
        let summary = self.drive(claim).await?;
        self.send_messages().await;
        Ok(Some((run, summary)))
    }

    /// Drives runs, the most urgent first, until this one has ended.
    pub async fn work_until(&self, run: RunId) -> Result<RunSummary, EngineError> {
        let mut pause = 20;
        loop {
            let row = self.ports.store.run(run).await?.ok_or(EngineError::NoRun(run))?;
            if row.state == "finished" {
                return Ok(row.summary);
            }
            match self.work_once().await? {
                Some((done, summary)) if done == run => return Ok(summary),
                Some(_) => pause = 20,
                None => {
                    // Another node drives it, or holds what it needs.
                    self.ports.env.sleep(pause).await;
                    pause = (pause * 2).min(1_000);
                }
            }
        }
    }

    /// The error of a run that could not begin: everything is as it was, but for what runs before it have
    /// left unfinished.
    async fn stopped(&self, error: PortError) -> EngineError {
        if !matches!(error, PortError::Permanent { .. }) {
            return error.into();
        }
        let all = self.as_it_was().into_iter().map(|s| (s.spoke, s.state));
        let mut all: BTreeMap<String, Stand> = all.collect();
        for row in self.ports.store.runs(None, 50).await.unwrap_or_default() {
            if row.state != "finished" {
                let left = self.standing(row.run).await.unwrap_or_default();
                all.extend(left.into_iter().filter(|s| s.state != Stand::Old).map(|s| (s.spoke, s.state)));
            }
        }
        let standing = all.into_iter().map(|(spoke, state)| Standing { spoke, state }).collect();
        EngineError::Stopped { run: None, standing, source: Box::new(error.into()) }
    }

    fn as_it_was(&self) -> Vec<Standing> {
        let spokes = self.ecosystem.spokes.iter();
        spokes.map(|s| Standing { spoke: s.name.to_string(), state: Stand::Old }).collect()
    }

    /// Where each spoke stands by what a run has recorded; for one that has not ended, what it was ready to
    /// write may be written.
    pub async fn standing(&self, run: RunId) -> Result<Vec<Standing>, EngineError> {
        let row = self.ports.store.run(run).await?.ok_or(EngineError::NoRun(run))?;
        let journal = self.ports.store.journal(run).await?;
        Ok(match &row.request.work {
            Work::Sync(_) => {
                let state: SyncRun = fold(run, &journal)?;
                of_sync(&state, &state, &Marks::default())
            }
            Work::Restore(_) => {
                let state: RestoreRun = fold(run, &journal)?;
                of_restore(&state, &state, &Marks::default())
            }
            Work::Upkeep(_) => vec![],
        })
    }

    async fn drive(&self, claim: Claim) -> Result<RunSummary, EngineError> {
        let released = claim.clone();
        let summary = match &claim.request.work {
            Work::Sync(_) => {
                let performer: Arc<dyn Performer<SyncRun>> = Arc::new(SyncPerformer::new(self));
                drive(&self.ports.store, &self.ports.env, &self.options, &performer, claim).await.map(|s| s.summary())
            }
            Work::Upkeep(_) => {
                let performer: Arc<dyn Performer<UpkeepRun>> = Arc::new(UpkeepPerformer::new(self));
                drive(&self.ports.store, &self.ports.env, &self.options, &performer, claim).await.map(|s| s.summary())
            }
            Work::Restore(_) => {
                let performer: Arc<dyn Performer<RestoreRun>> = Arc::new(RestorePerformer::new(self));
                drive(&self.ports.store, &self.ports.env, &self.options, &performer, claim).await.map(|s| s.summary())
            }
        };
        let summary = match summary {
            // Stopped before it had looked at anything.
            Err(EngineError::Stopped { run, standing, source }) if standing.is_empty() => {
                let is_sync = matches!(released.request.work, Work::Sync(_));
                let standing = if is_sync { self.as_it_was() } else { vec![] };
                Err(EngineError::Stopped { run, standing, source })
            }
            other => other,
        };
        if summary.is_err() {
            // Best effort: a claim that cannot be given back ends with its lease.
            let _ = self.ports.store.release(&released, self.ports.env.now()).await;
        }
        summary
    }

    /// Sends what waits in the outbox; what cannot be sent now stays there.
    pub async fn send_messages(&self) {
        let Ok(messages) = self.ports.store.undelivered(100).await else { return };
        for message in messages {
            if let Err(error) = self.ports.notifier.deliver(&message).await {
                tracing::warn!(message.key, %error, "message was not delivered; it stays in the outbox");
                continue;
            }
            if self.ports.store.delivered(&message.key, self.ports.env.now()).await.is_err() {
                break;
            }
        }
    }

    /// Tries a call a few times when it fails in passing.
    pub(crate) async fn patiently<T, F, Fut>(&self, mut call: F) -> Result<T, PortError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, PortError>>,
    {
        let mut pause = 100;
        let mut left = self.options.attempts;
        loop {
            left = left.saturating_sub(1);
            match call().await {
                Err(PortError::Transient { cause, message }) if left > 0 && cause != Cause::Full => {
                    tracing::debug!(message, "trying again");
                    self.ports.env.sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
    }
}
