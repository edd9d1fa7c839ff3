//! Carries out the steps of an upkeep run.

use async_trait::async_trait;

use cathedral_model::event::{Message, NewEvent};
use cathedral_model::notice::VERIFY_FAILED;
use cathedral_model::ports::PortError;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::ports::store::Claim;
use cathedral_model::run::{RunResult, RunSummary, Work};
use cathedral_model::upkeep::{UpkeepEvent, UpkeepRun, UpkeepStep, UpkeepWhat};

use crate::driver::{Outcome, Performer};
use crate::work::Engine;

/// Carries out the steps of upkeep runs.
pub(crate) struct UpkeepPerformer {
    engine: Engine,
}

impl UpkeepPerformer {
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone() }
    }

    fn event(&self, what: UpkeepWhat) -> Outcome<UpkeepEvent> {
        Outcome::of(UpkeepEvent { at: self.engine.ports.env.now(), what })
    }

    async fn upkeep(&self, state: &UpkeepRun) -> Result<UpkeepWhat, PortError> {
        let request = state.request.as_ref().ok_or_else(|| PortError::permanent("upkeep has not started"))?;
        match self.engine.patiently(|| self.engine.ports.chores.perform(&request.upkeep)).await {
            Ok(report) => Ok(UpkeepWhat::UpkeepDone { report }),
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => Ok(UpkeepWhat::UpkeepFailed { fault: error.fault() }),
        }
    }

    async fn seal(&self, state: &UpkeepRun, claim: &Claim) -> Result<UpkeepWhat, PortError> {
        let leaf = NewLeaf {
            kind: LeafKind::Admin,
            id: format!("run:{}", claim.run),
            subject: format!("run {}", claim.run),
            sha256: None,
            blake3: None,
            at: self.engine.ports.env.now(),
            predicate: serde_json::json!({
                "act": "upkeep", "cause": claim.request.cause, "request": state.request, "report": state.report,
            }),
        };
        match self.engine.patiently(|| self.engine.ports.ledger.append(&leaf)).await {
            Ok(leaf) => Ok(UpkeepWhat::UpkeepSealed { leaf }),
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => Ok(UpkeepWhat::UpkeepFailed { fault: error.fault() }),
        }
    }
}

#[async_trait]
impl Performer<UpkeepRun> for UpkeepPerformer {
    async fn perform(
        &self,
        state: UpkeepRun,
        step: UpkeepStep,
        claim: Claim,
    ) -> Result<Vec<Outcome<UpkeepEvent>>, PortError> {
        let what = match step {
            UpkeepStep::Start => {
                let Work::Upkeep(request) = claim.request.work.clone() else {
                    return Err(PortError::permanent("not an upkeep request"));
                };
                UpkeepWhat::UpkeepStarted { request, run: claim.run }
            }
            UpkeepStep::Perform => self.upkeep(&state).await?,
            UpkeepStep::Seal => self.seal(&state, &claim).await?,
            UpkeepStep::Announce => {
                let summary = state.clone().apply_announced();
                let kind = if summary.result == Some(RunResult::Failed) { "run.failed" } else { "run.finished" };
                let data = serde_json::json!({
                    "run": claim.run, "cause": claim.request.cause, "result": summary.result,
                    "leaf": summary.leaf, "note": summary.note, "error": summary.error,
                });
                let event = NewEvent { kind: kind.into(), run: Some(claim.run), spoke: None, data: data.clone() };
                let key = format!("run:{}:{kind}", claim.run);
                let message = Message { key, topic: kind.into(), payload: data };
                let mut outcome = self.event(UpkeepWhat::UpkeepAnnounced).event(event).message(message);
                outcome.messages.extend(damage(&state, &claim));
                return Ok(vec![outcome]);
            }
        };
        Ok(vec![self.event(what)])
    }

    fn summary(&self, state: &UpkeepRun) -> RunSummary {
        state.summary()
    }
}

/// What a check has found, for those who want to be told of damage and of nothing else.
fn damage(state: &UpkeepRun, claim: &Claim) -> Option<Message> {
    let problems = &state.report.as_ref()?.problems;
    let first = problems.first()?;
    let payload = serde_json::json!({
        "run": claim.run, "count": problems.len(), "first": first, "check": state.request,
    });
    Some(Message { key: format!("run:{}:{VERIFY_FAILED}", claim.run), topic: VERIFY_FAILED.into(), payload })
}

/// The summary as it will be once announced.
trait Announced {
    fn apply_announced(self) -> RunSummary;
}

impl Announced for UpkeepRun {
    fn apply_announced(mut self) -> RunSummary {
        self.announced = true;
        self.summary()
    }
}
