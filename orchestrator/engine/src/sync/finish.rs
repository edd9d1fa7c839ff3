//! Phase five: the run becomes a leaf of the log, then it is told.

use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ports::PortError;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::ports::store::Claim;
use cathedral_model::run::{RunResult, SyncEvent, SyncRun, What};

use super::{Outcomes, SyncPerformer};
use crate::driver::Outcome;

impl SyncPerformer {
    pub(super) async fn seal(&self, state: &SyncRun, claim: &Claim) -> Result<Outcomes, PortError> {
        let summary = state.summary();
        let (result, _) = state.outcome(&summary.spokes);
        let leaf = NewLeaf {
            kind: LeafKind::Sync,
            id: format!("run:{}", claim.run),
            subject: format!("run {}", claim.run),
            sha256: None,
            blake3: None,
            at: self.engine.ports.env.now(),
            predicate: serde_json::json!({
                "cause": claim.request.cause, "result": result,
                "snapshot": summary.snapshot,
                "spokes": summary.spokes.iter().map(|s| serde_json::json!({
                    "name": s.name, "result": s.result, "in": s.changes_in, "out": s.changes_out, "conflicts": s.conflicts,
                })).collect::<Vec<_>>(),
            }),
        };
        match self.engine.patiently(|| self.engine.ports.ledger.append(&leaf)).await {
            Ok(index) => Ok(vec![self.event(What::Sealed { leaf: index })]),
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => Ok(vec![self.event(What::SealFailed { fault: error.fault() })]),
        }
    }

    pub(super) fn announce(&self, state: &SyncRun, claim: &Claim) -> Outcome<SyncEvent> {
        let outcome = self.event(What::Announced);
        let summary = state.summary();
        let (result, _) = state.outcome(&summary.spokes);
        let looked_only = !state.has_work() && state.leaf.is_none() && state.seal_failed.is_none();
        if looked_only || result == RunResult::NothingToDo {
            return outcome;
        }
        let data = serde_json::json!({
            "run": claim.run, "cause": claim.request.cause, "result": result, "snapshot": summary.snapshot, "leaf": summary.leaf,
            "error": summary.error,
        });
        let kind = if result == RunResult::Failed { "run.failed" } else { "run.finished" };
        outcome
            .event(NewEvent { kind: kind.into(), run: Some(claim.run), spoke: None, data: data.clone() })
            .message(Message { key: format!("run:{}:{kind}", claim.run), topic: kind.into(), payload: data })
    }
}
