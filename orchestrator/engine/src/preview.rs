//! What a sync would do, without doing or recording anything.

use cathedral_model::ecosystem::{ConflictPolicy, DataSync, Spoke};
use cathedral_model::ids::{RunId, SpokeName};
use cathedral_model::inbox::ConflictState;
use cathedral_model::observation::Observation;
use cathedral_model::plan::{Directive, PlanContext, SpokePlan};
use cathedral_model::ports::PortError;

use crate::work::{Engine, EngineError};

/// The preview of one spoke.
pub struct Preview {
    pub spoke: Spoke,
    /// None when the spoke could not be looked at.
    pub observation: Option<Observation>,
    /// None when nothing changed, or changes of this spoke do not travel.
    pub plan: Option<SpokePlan>,
    pub failed: Option<PortError>,
}

impl Engine {
    /// Looks at the named spokes (all when empty) and plans for those that changed.
    pub async fn preview(
        &self,
        names: &[SpokeName],
        policy: Option<ConflictPolicy>,
    ) -> Result<Vec<Preview>, EngineError> {
        let mut out = vec![];
        for spoke in self.ecosystem.spokes.iter().filter(|s| names.is_empty() || names.contains(&s.name)) {
            let memory = self.ports.store.memory(&spoke.name).await?;
            let directives = self.directives(&spoke.name).await?;
            let syncer = self.ports.syncer(spoke.kind());
            let mut preview = Preview { spoke: spoke.clone(), observation: None, plan: None, failed: None };
            match syncer.observe(spoke).await {
                Err(error) => preview.failed = Some(error),
                Ok(observation) => {
                    let decides = matches!(policy, Some(ConflictPolicy::Hub | ConflictPolicy::Spoke));
                    let changed = decides
                        || !memory.complete
                        || memory.settled != Some(observation.digests())
                        || !directives.is_empty();
                    preview.observation = Some(observation);
                    if changed && spoke.data_sync != DataSync::SnapshotOnly {
                        let context = PlanContext {
                            run: RunId(0),
                            base: memory.base,
                            directives,
                            policy,
                            held: Default::default(),
                        };
                        match syncer.plan(spoke, &context).await {
                            Ok(plan) => preview.plan = Some(plan),
                            Err(error) => preview.failed = Some(error),
                        }
                    }
                }
            }
            out.push(preview);
        }
        Ok(out)
    }

    /// The answers of people that wait to be carried out.
    pub(crate) async fn directives(&self, spoke: &SpokeName) -> Result<Vec<Directive>, PortError> {
        let answered = self.ports.store.conflicts(Some(spoke), &[ConflictState::Answered]).await?;
        Ok(answered.iter().filter_map(cathedral_model::inbox::ConflictRecord::directive).collect())
    }
}
