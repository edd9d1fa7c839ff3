//! What a sync would do, without doing or recording anything.

use std::io::{ErrorKind, Read as _};

use cathedral_model::ecosystem::{ConflictPolicy, DataSync, Spoke};
use cathedral_model::ids::{Digest, RunId, SpokeName};
use cathedral_model::inbox::ConflictState;
use cathedral_model::observation::Observation;
use cathedral_model::plan::{Answer, ConflictDraft, Directive, PlanContext, SpokePlan};
use cathedral_model::ports::{Cause, Content, PortError};

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
                            waiting: self.waiting(&spoke.name).await?,
                            policy,
                            held: Default::default(),
                        };
                        match syncer.plan(spoke, &context).await {
                            Ok(plan) => preview.plan = Some(plan),
                            Err(error) => {
                                preview.failed = Some(self.base_fault(memory.base.as_ref()).unwrap_or(error));
                            }
                        }
                    }
                }
            }
            out.push(preview);
        }
        Ok(out)
    }

    /// What to say in place of a plan's error, when the reason is an agreed state that cannot be read.
    pub(crate) fn base_fault(&self, base: Option<&Digest>) -> Option<PortError> {
        let fault = agreed_fault(&*self.ports.content, base?)?;
        Some(PortError::Corrupt(format!(
            "what both sides last agreed on cannot be read: {fault}; `cathedral doctor --fix` sets it aside, and the \
             next sync compares both sides afresh and deletes nothing"
        )))
    }

    /// What the inbox has open of a spoke, but for answers that are taken back: those are in dispute no more.
    pub(crate) async fn waiting(&self, spoke: &SpokeName) -> Result<Vec<ConflictDraft>, PortError> {
        let found = self.ports.store.conflicts(Some(spoke), &[ConflictState::Open, ConflictState::Answered]).await?;
        Ok(found.into_iter().filter(|r| r.answer != Some(Answer::Undo)).map(|r| r.draft).collect())
    }

    /// The answers of people that wait to be carried out.
    pub(crate) async fn directives(&self, spoke: &SpokeName) -> Result<Vec<Directive>, PortError> {
        let answered = self.ports.store.conflicts(Some(spoke), &[ConflictState::Answered]).await?;
        Ok(answered.iter().filter_map(cathedral_model::inbox::ConflictRecord::directive).collect())
    }
}

/// Reads what both sides last agreed on from end to end; says what is wrong with it, when it is damaged or gone.
pub fn agreed_fault(content: &dyn Content, base: &Digest) -> Option<String> {
    let mut reader = match content.open(base) {
        Ok(reader) => reader,
        Err(error @ PortError::Corrupt(_)) => return Some(error.to_string()),
        Err(error) if error.cause() == Cause::NotFound => return Some(error.to_string()),
        // What could not be opened may be whole.
        Err(_) => return None,
    };
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Damaged frames are reported as `Other`, a cut one as `UnexpectedEof`.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::Other | ErrorKind::UnexpectedEof) => {
                return Some(format!("content {base} is damaged: {e}"));
            }
            Err(_) => return None,
        }
    }
}
