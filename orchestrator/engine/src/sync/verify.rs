//! Phase four: read everything again and compare with what the run left behind.

use std::collections::BTreeSet;

use cathedral_model::ecosystem::DataSync;
use cathedral_model::ids::SpokeName;
use cathedral_model::observation::{Digests, SpokeMemory};
use cathedral_model::plan::{ConflictDraft, PlanContext};
use cathedral_model::ports::store::Effect;
use cathedral_model::ports::{PortError, env::Update};
use cathedral_model::run::{MAX_ROUNDS, SpokeProgress, SyncRun, What};

use super::{Outcomes, SyncPerformer};

/// So many items that keep changing are named.
const NAMED: usize = 3;

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
            // What has changed since the snapshot is for the next run to take into one, but for what this run
            // itself has brought into the master repository.
            let wrote = |s: &SpokeProgress| s.earlier.0 > 0 || s.applied.as_ref().is_some_and(|a| a.changes_in > 0);
            let is_ours = *name == self.engine.ecosystem.hub.name && state.spokes.values().any(wrote);
            let settled = (is_ours || state.is_held(name, &seen.digests())).then(|| seen.digests());
            let memory = SpokeMemory {
                base: None,
                complete: settled.is_some(),
                settled,
                hub_position: seen.hub.position.clone(),
                spoke_position: seen.spoke.position.clone(),
            };
            let effect = Effect::Remember { spoke: name.clone(), memory };
            return Ok(vec![self.event(verified(true, "")).effect(effect)]);
        }
        let Some(applied) = &progress.applied else {
            // It was not to be touched; another spoke's change may have reached the hub's copy it shares.
            if left == Some(seen.digests()) || state.rounds >= MAX_ROUNDS {
                return Ok(vec![self.event(verified(true, ""))]);
            }
            return Ok(vec![self.event(What::Stirred { spoke: name.clone(), observation: seen })]);
        };
        // Settled means: planned once more, from what is agreed now, there is nothing to do and nothing new
        // in dispute. A digest alone could hold somebody else's change.
        let context = PlanContext {
            run: state.run,
            base: Some(applied.base),
            directives: vec![],
            waiting: self.engine.waiting(name).await?,
            policy: state.request.policy,
            held: Default::default(),
        };
        let again = self.engine.patiently(|| syncer.plan(&spoke, &context)).await?;
        let plan = self.load_plan(state, name)?;
        let settled =
            again.actions.is_empty() && !plan.restricted && disputes(&again.conflicts) == disputes(&plan.conflicts);
        let memory = SpokeMemory {
            base: Some(applied.base),
            settled: settled.then_some(again.expected),
            complete: settled,
            hub_position: seen.hub.position.clone(),
            spoke_position: seen.spoke.position.clone(),
        };
        let effect = Effect::Remember { spoke: name.clone(), memory };
        if settled && applied.skipped.is_empty() {
            return Ok(vec![self.event(verified(true, "")).effect(effect)]);
        }
        // What an apply has skipped is told already, and left for the next run.
        if !applied.skipped.is_empty() {
            return Ok(vec![self.event(verified(settled, "some items are left for the next run")).effect(effect)]);
        }
        if state.rounds < MAX_ROUNDS {
            return Ok(vec![self.event(What::Stirred { spoke: name.clone(), observation: seen })]);
        }
        let mut changed: Vec<&str> = again.actions.iter().map(|a| a.target.as_str()).collect();
        changed.dedup();
        let more = if changed.len() > NAMED { " and more" } else { "" };
        let names = changed.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let what = if names.is_empty() { "it".to_owned() } else { format!("{names}{more}") };
        let note = format!("{what} changed again while it was synced; the next run continues");
        Ok(vec![self.event(verified(false, &note)).effect(effect)])
    }
}

/// What is in dispute, and the values both sides hold of it.
fn disputes(drafts: &[ConflictDraft]) -> BTreeSet<(&str, Option<&str>, Option<&str>)> {
    drafts
        .iter()
        .map(|d| {
            (d.item.as_str(), d.hub.as_ref().map(|v| v.shown.as_str()), d.spoke.as_ref().map(|v| v.shown.as_str()))
        })
        .collect()
}
