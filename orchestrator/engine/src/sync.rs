//! Carries out the steps of a sync run. Each returns what is to be recorded; what belongs to the run
//! (an unreachable spoke, a full disk) is recorded as such and the other spokes go on.

use async_trait::async_trait;

use cathedral_model::ecosystem::Spoke;
use cathedral_model::event::NewEvent;
use cathedral_model::ids::SpokeName;
use cathedral_model::plan::SpokePlan;
use cathedral_model::ports::store::Claim;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::run::{Phase, RunSummary, Step, SyncEvent, SyncRun, What};

use crate::driver::{Outcome, Performer};
use crate::standing::{Marks, Standing, of_sync};
use crate::work::Engine;

mod apply;
mod finish;
mod snapshot;
mod start;
mod verify;

/// Carries out the steps of sync runs.
pub(crate) struct SyncPerformer {
    engine: Engine,
    marks: Marks<SpokeName>,
}

type Outcomes = Vec<Outcome<SyncEvent>>;

impl SyncPerformer {
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), marks: Marks::default() }
    }

    fn event(&self, what: What) -> Outcome<SyncEvent> {
        Outcome::of(SyncEvent { at: self.engine.ports.env.now(), what })
    }

    fn spoke(&self, name: &SpokeName) -> Result<Spoke, PortError> {
        self.engine.ecosystem.spoke(name).cloned().ok_or_else(|| {
            PortError::failed(Cause::NotFound, format!("spoke {name} is no longer in the configuration"))
        })
    }

    /// Turns a spoke's failure into a record, except for losing the run itself.
    fn failed(&self, spoke: &SpokeName, phase: Phase, error: PortError) -> Result<Outcomes, PortError> {
        if let PortError::Fenced(_) = error {
            return Err(error);
        }
        let fault = start::unreachable_if_gone(error.fault());
        let data = serde_json::json!({ "phase": phase, "message": fault.message });
        Ok(vec![self.event(What::Failed { spoke: spoke.clone(), phase, fault }).event(NewEvent {
            kind: "spoke.failed".into(),
            run: None,
            spoke: Some(spoke.clone()),
            data,
        })])
    }

    fn load_plan(&self, state: &SyncRun, name: &SpokeName) -> Result<SpokePlan, PortError> {
        let planned = state.spokes.get(name).and_then(|s| s.planned.as_ref());
        let planned = planned.ok_or_else(|| PortError::permanent(format!("spoke {name} has no plan")))?;
        let text = self.engine.ports.content.get(&planned.plan)?;
        serde_json::from_slice(&text).map_err(|e| PortError::Corrupt(format!("plan {} of {name}: {e}", planned.plan)))
    }
}

/// What a syncer remembers for a plan that did not come about is of no use to anybody.
impl Drop for SyncPerformer {
    fn drop(&mut self) {
        for spoke in &self.engine.ecosystem.spokes {
            self.engine.ports.syncer(spoke.kind()).forget(&spoke.name);
        }
    }
}

#[async_trait]
impl Performer<SyncRun> for SyncPerformer {
    async fn perform(&self, state: SyncRun, step: Step, claim: Claim) -> Result<Outcomes, PortError> {
        match step {
            Step::Start => self.start(&claim).await,
            Step::BeginSnapshot => Ok(vec![self.begin_snapshot(&state).await]),
            Step::TakeSnapshot(id) => self.take_snapshot(&state, &id, &claim).await,
            Step::SealSnapshot(_) => self.seal_snapshot(&state).await,
            Step::Plan(name) => self.plan(&state, &name, &claim).await.or_else(|e| self.failed(&name, Phase::Sync, e)),
            Step::Pin(name) => self.pin(&state, &name, &claim).await.or_else(|e| self.failed(&name, Phase::Sync, e)),
            Step::Apply(name) => {
                self.apply(&state, &name, &claim).await.or_else(|e| self.failed(&name, Phase::Sync, e))
            }
            Step::Verify(name) => self.verify(&state, &name).await.or_else(|e| self.failed(&name, Phase::Verify, e)),
            Step::Seal => self.seal(&state, &claim).await,
            Step::Announce => Ok(vec![self.announce(&state, &claim)]),
        }
    }

    fn summary(&self, state: &SyncRun) -> RunSummary {
        state.summary()
    }

    fn standing(&self, state: &SyncRun, begun: &SyncRun) -> Vec<Standing> {
        of_sync(state, begun, &self.marks)
    }
}
