//! Phase one: look at every spoke, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_channel::oneshot;

use cathedral_model::ecosystem::{ConflictPolicy, Spoke};
use cathedral_model::ids::SpokeName;
use cathedral_model::inbox::ConflictState;
use cathedral_model::observation::Observation;
use cathedral_model::ports::store::Claim;
use cathedral_model::ports::{Cause, Fault, PortError, env::Update};
use cathedral_model::run::{Declared, Seen, What, Work};

use super::{Outcomes, SyncPerformer};
use crate::work::Engine;

impl SyncPerformer {
    pub(super) async fn start(&self, claim: &Claim) -> Result<Outcomes, PortError> {
        let Work::Sync(request) = claim.request.work.clone() else {
            return Err(PortError::permanent("not a sync request"));
        };
        let began = self.engine.ports.env.now();
        let engine = &self.engine;
        let ranks = ranks(&engine.ecosystem.spokes);
        let chosen: Vec<&Spoke> = engine
            .ecosystem
            .spokes
            .iter()
            // The master repository moves with the pins of the others: it is looked at in every run.
            .filter(|s| {
                request.spokes.is_empty() || request.spokes.contains(&s.name) || s.name == engine.ecosystem.hub.name
            })
            .collect();
        let decides = matches!(request.policy, Some(ConflictPolicy::Hub | ConflictPolicy::Spoke));
        let mut spokes = vec![];
        for spoke in &chosen {
            let memory = engine.ports.store.memory(&spoke.name).await?;
            let waiting = engine
                .ports
                .store
                .conflicts(Some(&spoke.name), &[ConflictState::Open, ConflictState::Answered])
                .await?;
            let answered = waiting.iter().filter(|c| c.state == ConflictState::Answered).map(|c| c.id).collect();
            spokes.push(Declared {
                name: spoke.name.clone(),
                kind: spoke.kind(),
                data_sync: spoke.data_sync,
                rank: ranks[&spoke.name],
                // A policy for this run is also an answer to what is parked already.
                settled: memory.settled.filter(|_| memory.complete && (!decides || waiting.is_empty())),
                open_conflicts: waiting.len() as u64,
                answered,
            });
        }
        let seen = engine.observe_all(&chosen).await;
        let mut unheld = BTreeMap::new();
        for spoke in chosen.iter().filter(|s| matches!(seen.get(&s.name), Some(Seen::Failed(_)))) {
            let sides = engine.unheld_sides(spoke).await;
            if !sides.is_empty() {
                unheld.insert(spoke.name.clone(), sides);
            }
        }
        Ok(vec![self.event(What::Started { request, run: claim.run, began, spokes, seen, unheld })])
    }
}

impl Engine {
    /// Observes spokes side by side.
    pub(crate) async fn observe_all(&self, spokes: &[&Spoke]) -> BTreeMap<SpokeName, Seen> {
        let mut waiting = vec![];
        for spoke in spokes {
            let (send, receive) = oneshot::channel::<Result<Observation, PortError>>();
            let engine = self.clone();
            let spoke = (*spoke).clone();
            let name = spoke.name.clone();
            self.ports.env.spawn(Box::pin(async move {
                let syncer = Arc::clone(&engine.ports.syncer(spoke.kind()));
                let result = engine.patiently(|| syncer.observe(&spoke)).await;
                // Nobody listens any more only when the run was dropped.
                let _ = send.send(result);
            }));
            waiting.push((name, receive));
        }
        let mut seen = BTreeMap::new();
        let total = waiting.len() as u64;
        for (done, (name, receive)) in waiting.into_iter().enumerate() {
            let result =
                receive.await.unwrap_or_else(|_| Err(PortError::permanent("observing stopped without a result")));
            self.ports.progress.update(&Update {
                phase: "validate",
                item: name.as_str(),
                done: done as u64 + 1,
                total,
                unit: "spokes",
            });
            seen.insert(
                name,
                match result {
                    Ok(observation) => Seen::Observed(observation),
                    Err(error) => Seen::Failed(unreachable_if_gone(error.fault())),
                },
            );
        }
        seen
    }
}

/// A declared spoke whose place is not there cannot be reached; "not found" is for names that nobody knows.
pub(super) fn unreachable_if_gone(fault: Fault) -> Fault {
    if fault.cause == Cause::NotFound { Fault { cause: Cause::Unreachable, ..fault } } else { fault }
}

/// A rank for each spoke: by wave, and after everything that it names in `after`.
pub(crate) fn ranks(spokes: &[Spoke]) -> BTreeMap<SpokeName, u32> {
    let mut ranks: BTreeMap<SpokeName, u32> = spokes.iter().map(|s| (s.name.clone(), s.wave)).collect();
    // Cycles are refused by the configuration; the bound only keeps a wrong caller from looping.
    for _ in 0..=spokes.len() {
        let mut moved = false;
        for spoke in spokes {
            let least = spoke.after.iter().filter_map(|a| ranks.get(a)).max().map_or(0, |r| r + 1);
            if ranks[&spoke.name] < least {
                ranks.insert(spoke.name.clone(), least);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    ranks
}
