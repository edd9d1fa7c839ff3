//! Phase four: read everything again and compare with what the run left behind.

use cathedral_model::ecosystem::DataSync;
use cathedral_model::ids::SpokeName;
use cathedral_model::observation::{Digests, SpokeMemory};
use cathedral_model::ports::store::Effect;
use cathedral_model::ports::{PortError, env::Update};
use cathedral_model::run::{MAX_ROUNDS, SyncRun, What};

use super::{Outcomes, SyncPerformer};

impl SyncPerformer {
    pub(super) async fn verify(&self, state: &SyncRun, name: &SpokeName) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let spoke = self.spoke(name)?;
        ports.progress.update(&Update { phase: "verify", item: name.as_str(), done: 0, total: 0, unit: "spokes" });
        let Some(progress) = state.spokes.get(name) else {
            return Err(PortError::permanent(format!("spoke {name} is not part of this run")));
        };
        let syncer = ports.syncer(spoke.kind());
        let seen = self.engine.patiently(|| syncer.observe(&spoke)).await?;
        let left = match (&progress.applied, &progress.observed) {
            (Some(applied), _) => Some(Digests { hub: applied.hub.digest, spoke: applied.spoke.digest }),
            (None, Some(observed)) => Some(observed.digests()),
            (None, None) => None,
        };
        let verified = |agrees, note: &str| What::Verified { spoke: name.clone(), agrees, note: note.to_owned() };
        if spoke.data_sync == DataSync::SnapshotOnly {
            let memory = SpokeMemory {
                base: None,
                settled: Some(seen.digests()),
                complete: true,
                hub_position: seen.hub.position.clone(),
                spoke_position: seen.spoke.position.clone(),
            };
            let effect = Effect::Remember { spoke: name.clone(), memory };
            return Ok(vec![self.event(verified(true, "")).effect(effect)]);
        }
        if left == Some(seen.digests()) {
            return Ok(vec![self.event(verified(true, ""))]);
        }
        // A conflict-free apply that skipped items did not leave what it wanted: that is said already.
        let incomplete = progress.applied.as_ref().is_some_and(|a| !a.skipped.is_empty());
        if state.rounds < MAX_ROUNDS && !incomplete {
            return Ok(vec![self.event(What::Stirred { spoke: name.clone(), observation: seen })]);
        }
        Ok(vec![self.event(verified(false, "it changed again while it was synced; the next run continues"))])
    }
}
