//! Phase three: plan from what the snapshot holds, pin, apply, remember.

use cathedral_model::ecosystem::{ConflictPolicy, SpokeKind};
use cathedral_model::event::NewEvent;
use cathedral_model::ids::{ConflictId, NodeId, SpokeName};
use cathedral_model::inbox::ConflictState;
use cathedral_model::observation::SpokeMemory;
use cathedral_model::plan::{Answer, Applied, ConflictDraft, Directive, PlanContext, SpokePlan};
use cathedral_model::ports::store::{Claim, Effect};
use cathedral_model::ports::{Cause, PortError, env::Update};
use cathedral_model::run::{Phase, Planned, SyncRun, What};

use super::{Outcomes, SyncPerformer};
use crate::standing::tell;

impl SyncPerformer {
    pub(super) async fn plan(&self, state: &SyncRun, name: &SpokeName, claim: &Claim) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let spoke = self.spoke(name)?;
        ports.progress.update(&Update { phase: "sync", item: name.as_str(), done: 0, total: 0, unit: "spokes" });
        let context = PlanContext {
            run: claim.run,
            base: ports.store.memory(name).await?.base,
            directives: self.engine.directives(name).await?,
            waiting: self.engine.waiting(name).await?,
            policy: state.request.policy,
            held: state.remembered(name),
        };
        let syncer = ports.syncer(spoke.kind());
        let plan = self.engine.patiently(|| syncer.plan(&spoke, &context)).await;
        syncer.forget(name);
        let plan = plan.map_err(|error| self.engine.base_fault(context.base.as_ref()).unwrap_or(error))?;
        // Only what the snapshot holds may be changed: a spoke that moved on is snapshotted again first.
        if !state.is_held(name, &plan.expected) {
            return Ok(vec![self.event(What::Moved { spoke: name.clone() })]);
        }
        let planned = self.store_plan(state, name, &plan)?;
        Ok(vec![self.event(What::Planned { spoke: name.clone(), planned })])
    }

    fn store_plan(&self, state: &SyncRun, name: &SpokeName, plan: &SpokePlan) -> Result<Planned, PortError> {
        let (id, text) = plan.sealed().map_err(|e| PortError::permanent(format!("plan of {name}: {e}")))?;
        if let Some(wanted) = state.request.plan.get(name)
            && *wanted != id
        {
            let message =
                format!("{name} has changed since plan {} was made: make a new plan", &wanted.to_string()[..12]);
            return Err(PortError::failed(Cause::Refused, message));
        }
        let stored = self.engine.ports.content.put(text.as_bytes())?;
        let (changes_in, changes_out) = plan.changes();
        Ok(Planned {
            plan: stored,
            changes_in,
            changes_out,
            conflicts: plan.conflicts.len() as u64,
            guards: plan.guards.clone(),
        })
    }

    pub(super) async fn pin(&self, state: &SyncRun, name: &SpokeName, claim: &Claim) -> Result<Outcomes, PortError> {
        let spoke = self.spoke(name)?;
        let plan = self.load_plan(state, name)?;
        let syncer = self.engine.ports.syncer(spoke.kind());
        self.engine.patiently(|| syncer.pin(&spoke, &plan, claim.run)).await?;
        Ok(vec![self.event(What::Pinned { spoke: name.clone() })])
    }

    pub(super) async fn apply(&self, state: &SyncRun, name: &SpokeName, claim: &Claim) -> Result<Outcomes, PortError> {
        let ports = &self.engine.ports;
        let spoke = self.spoke(name)?;
        let plan = self.load_plan(state, name)?;
        let directives = self.engine.directives(name).await?;
        let holder = NodeId::new(&format!("{}/run-{}", self.engine.node, claim.run));
        let resource = format!("spoke:{name}");
        let ttl_ms = self.engine.options.lease_ttl_ms;
        let lease = ports.store.lease(&resource, &holder, ports.env.now(), ttl_ms).await?;
        let Some(fence) = lease else {
            return Err(PortError::transient(Cause::Busy, format!("spoke {name} is being changed by another run")));
        };
        // The claim is asked for once more right before the write: a run that was taken over stops here.
        ports.store.renew(claim, ports.env.now(), ttl_ms).await?;
        let syncer = ports.syncer(spoke.kind());
        self.marks.writing(name);
        let applied = self.engine.patiently(|| syncer.apply(&spoke, &plan, claim.run, fence)).await;
        ports.env.reached(&format!("applied:{name}"));
        let applied = match applied {
            Ok(applied) => {
                if applied.skipped.is_empty() {
                    self.marks.written(name);
                }
                Ok(applied)
            }
            Err(error @ PortError::Fenced(_)) => Err(error),
            Err(error) => {
                let now = syncer.observe(&spoke).await;
                let is_old = now.is_ok_and(|o| o.digests() == plan.expected);
                if is_old {
                    self.marks.untouched(name);
                }
                Err(tell(error, is_old))
            }
        };
        // An unreturned lease ends by itself.
        let _ = ports.store.unlease(&resource, &holder).await;
        let applied = applied?;
        // What was read back may hold more than this plan wrote: somebody may have changed another item
        // meanwhile. Only the verification, which plans once more, may call the spoke settled.
        let memory = SpokeMemory {
            base: Some(applied.base),
            settled: None,
            complete: false,
            hub_position: applied.hub.position.clone(),
            spoke_position: applied.spoke.position.clone(),
        };
        let carried = Carried::of(&plan, &applied, &directives);
        let mut settled = carried.settled;
        let mut drafts = carried.drafts;
        let mut unfit = vec![];
        if plan.restricted {
            // Nothing is known of what keeps changing: what waits there goes on waiting.
            let waiting = [ConflictState::Open, ConflictState::Answered];
            for record in ports.store.conflicts(Some(name), &waiting).await? {
                if !settled.contains(&record.id) && drafts.iter().all(|d| d.item != record.draft.item) {
                    drafts.push(record.draft);
                }
            }
        } else if spoke.kind() != SpokeKind::Git {
            // An answer that this plan knew and does not carry out waits for nothing: a person is asked again.
            let began = state.times.get(&Phase::Validate).map(|(began, _)| *began);
            for record in ports.store.conflicts(Some(name), &[ConflictState::Answered]).await? {
                let is_disputed = plan.conflicts.iter().any(|d| d.item == record.draft.item);
                match record.answer {
                    _ if plan.settles.contains(&record.id) || began.is_none_or(|t| record.changed_at > t) => {}
                    Some(Answer::Undo) if !is_disputed => settled.push(record.id),
                    _ if is_disputed => unfit.push(record.id),
                    _ => {}
                }
            }
        }
        if matches!(state.request.policy, Some(ConflictPolicy::Hub | ConflictPolicy::Spoke)) {
            // What the policy decided is settled, not agreed outside: it can be undone like an answer.
            let open = ports.store.conflicts(Some(name), &[ConflictState::Open]).await?;
            for record in open {
                if drafts.iter().any(|d| d.item == record.draft.item) {
                    continue;
                }
                if is_skipped(&applied, &record.draft) {
                    drafts.push(record.draft);
                } else if !carried.reopened.contains(&record.id) {
                    settled.push(record.id);
                }
            }
        }
        let conflicts = drafts.len() as u64;
        let data = serde_json::json!({
            "changes_in": applied.changes_in, "changes_out": applied.changes_out,
            "conflicts": conflicts, "skipped": applied.skipped.len(),
        });
        let mut outcome = self
            .event(What::Applied { spoke: name.clone(), applied, conflicts })
            .effect(Effect::Remember { spoke: name.clone(), memory });
        for conflict in carried.reopened.into_iter().chain(unfit) {
            outcome = outcome.effect(Effect::Reopen { conflict });
        }
        outcome = outcome.effect(Effect::Conflicts { spoke: name.clone(), kind: spoke.kind(), drafts, settled });
        let event = NewEvent { kind: "spoke.synced".into(), run: Some(claim.run), spoke: Some(name.clone()), data };
        Ok(vec![outcome.event(event)])
    }
}

/// What an apply made of the answers that its plan was to carry out.
struct Carried {
    settled: Vec<ConflictId>,
    reopened: Vec<ConflictId>,
    /// What is in dispute now.
    drafts: Vec<ConflictDraft>,
}

impl Carried {
    fn of(plan: &SpokePlan, applied: &Applied, directives: &[Directive]) -> Self {
        let mut out = Self { settled: vec![], reopened: vec![], drafts: plan.conflicts.clone() };
        for conflict in &plan.settles {
            let directive = directives.iter().find(|d| d.conflict == *conflict);
            match directive.map(|d| (d, d.answer == Answer::Undo, is_skipped(applied, &d.draft))) {
                Some((_, true, false)) => out.reopened.push(*conflict),
                // It must not wait for a later run, which would find other sides than the person saw.
                Some((directive, true, true)) => {
                    out.drafts.retain(|d| d.item != directive.draft.item);
                    out.settled.push(*conflict);
                }
                // One side does not have it yet: the answer stays, for the next run.
                Some((directive, false, true)) => {
                    if out.drafts.iter().all(|d| d.item != directive.draft.item) {
                        out.drafts.push(directive.draft.clone());
                    }
                }
                Some((_, false, false)) | None => out.settled.push(*conflict),
            }
        }
        out
    }
}

/// Says whether a disputed item is among what was left undone.
fn is_skipped(applied: &Applied, draft: &ConflictDraft) -> bool {
    applied.skipped.iter().any(|s| s.target == draft.item)
}
