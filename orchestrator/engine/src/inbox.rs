//! People's answers to conflicts: recorded first, carried out by a run.

use cathedral_model::ecosystem::{DataSync, Spoke, SpokeKind};
use cathedral_model::ids::{ConflictId, RunId};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::plan::{Answer, Choice, Directive, PlanContext, SideValue, SpokePlan};
use cathedral_model::ports::Cause;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use cathedral_model::typed::Typed;

use crate::work::{Engine, EngineError};

impl Engine {
    /// Records an answer and files the run that carries it out. One that cannot be carried out is not recorded.
    pub async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
    ) -> Result<(ConflictRecord, Request), EngineError> {
        let seen = self.ports.store.conflict(id).await?;
        self.answer_seen(id, seen.as_ref(), answer, actor).await
    }

    /// As [`Engine::answer`], to the conflict as somebody has looked at it: one that has changed since, by another
    /// answer or on a side, is refused.
    pub async fn answer_seen(
        &self,
        id: ConflictId,
        seen: Option<&ConflictRecord>,
        answer: &Answer,
        actor: &str,
    ) -> Result<(ConflictRecord, Request), EngineError> {
        let together = match seen {
            Some(record) => self.try_out(record, answer).await?,
            None => vec![],
        };
        let now = self.ports.env.now();
        let record = self.ports.store.answer(id, answer, actor, seen, now).await?;
        for other in &together {
            let with = if *answer == Answer::Undo { Answer::Undo } else { Answer::With(id) };
            match self.ports.store.answer(other.id, &with, actor, Some(other), now).await {
                // One that has changed meanwhile is told by the run as what it is then.
                Err(error) if error.fault().cause == Cause::Refused => {}
                other => drop(other?),
            }
        }
        let leaf = NewLeaf {
            kind: LeafKind::Admin,
            // A second answer to the same conflict is an act of its own.
            id: format!("answer:{id}:{}", record.changed_at.0),
            subject: format!("conflict {id}"),
            sha256: None,
            blake3: None,
            at: now,
            predicate: serde_json::json!({ "act": "conflict.answer", "actor": actor, "spoke": record.spoke, "item": record.draft.item, "answer": answer }),
        };
        self.ports.ledger.append(&leaf).await?;
        let request = Request {
            priority: Priority::Manual,
            cause: format!("answer to conflict {id}"),
            work: Work::Sync(SyncRequest { spokes: vec![record.spoke.clone()], ..SyncRequest::default() }),
        };
        Ok((record, request))
    }

    /// Plans with the answer, without doing or recording anything, and refuses what does not come out as settled.
    /// Returns the other conflicts that it decides, too.
    pub async fn try_out(&self, record: &ConflictRecord, answer: &Answer) -> Result<Vec<ConflictRecord>, EngineError> {
        let is_undo = *answer == Answer::Undo;
        let fits = match record.state {
            ConflictState::Open | ConflictState::Answered => !is_undo,
            ConflictState::Settled => is_undo,
            ConflictState::AgreedOutside => false,
        };
        let is_typed = matches!(answer, Answer::Fields(_) | Answer::Content(_));
        let unfit = |why: String| EngineError::Unfit { conflict: record.id, why, is_typed };
        if fits && let Some(why) = not_of_a_ref(record, answer).or_else(|| no_word(answer)) {
            return Err(unfit(why));
        }
        let spoke = self.ecosystem.spokes.iter().find(|s| s.name == record.spoke);
        // What does not fit is refused by the store; a repository's plan is made with its remote in reach only.
        let Some(spoke) = spoke.filter(|s| {
            fits && s.kind() == record.kind && s.kind() != SpokeKind::Git && s.data_sync != DataSync::SnapshotOnly
        }) else {
            return Ok(vec![]);
        };
        if is_undo && let Some(why) = group_of(record) {
            return Err(unfit(why));
        }
        let mut together = self.together(record, is_undo).await?;
        let mut directives = self.directives(&spoke.name).await?;
        let asked = std::iter::once(record).chain(together.iter().filter(|_| is_undo));
        for record in asked {
            directives.retain(|d| d.conflict != record.id);
            directives.push(Directive {
                conflict: record.id,
                draft: record.draft.clone(),
                answer: answer.clone(),
                undoes: record.answer.clone().filter(|_| is_undo),
            });
        }
        let base = self.ports.store.memory(&spoke.name).await?.base;
        let waiting = self.waiting(&spoke.name).await?;
        let context = PlanContext { run: RunId(0), base, directives, waiting, policy: None, held: Default::default() };
        let plan = match self.ports.syncer(spoke.kind()).plan(spoke, &context).await {
            Ok(plan) => plan,
            Err(error) if matches!(error.fault().cause, Cause::Invalid | Cause::Refused) => {
                return Err(unfit(error.to_string()));
            }
            // A side that cannot be looked at now may be there when the answer is carried out.
            Err(_) => return Ok(vec![]),
        };
        let is_put_back = !is_undo || together.iter().all(|other| plan.settles.contains(&other.id));
        if plan.settles.contains(&record.id) && is_put_back || !plan.guards.is_empty() {
            if !is_undo && plan.guards.is_empty() {
                together.extend(self.decided_along(record, spoke, &context, &plan, &together).await?);
            }
            together.retain(|other| is_undo || plan.conflicts.iter().all(|draft| draft.item != other.draft.item));
            return Ok(together);
        }
        if is_undo {
            let moved_on = || {
                "a side is no longer what the answer left, or had a row before that referred to nothing: undoing it \
                 would lose or break rows"
                    .to_owned()
            };
            return Err(unfit(folder_of(record).unwrap_or_else(moved_on)));
        }
        match plan.conflicts.into_iter().find(|draft| draft.item == record.draft.item) {
            Some(now) if now.is_of_same_sides(&record.draft) => Err(unfit(now.because)),
            // The run tells that a side has moved on, or that both agree by now.
            _ => Ok(vec![]),
        }
    }

    /// The open conflicts that an answer decides beside those about its own rows: without it they go on.
    async fn decided_along(
        &self,
        record: &ConflictRecord,
        spoke: &Spoke,
        with: &PlanContext,
        plan: &SpokePlan,
        known: &[ConflictRecord],
    ) -> Result<Vec<ConflictRecord>, EngineError> {
        let is_in =
            |plan: &SpokePlan, other: &ConflictRecord| plan.conflicts.iter().any(|d| d.item == other.draft.item);
        let mut found = self.ports.store.conflicts(Some(&spoke.name), &[ConflictState::Open]).await?;
        found.retain(|other| other.id != record.id && !is_in(plan, other) && known.iter().all(|k| k.id != other.id));
        if found.is_empty() {
            return Ok(found);
        }
        let directives = with.directives.iter().filter(|d| d.conflict != record.id).cloned().collect();
        let without = PlanContext { directives, ..with.clone() };
        match self.ports.syncer(spoke.kind()).plan(spoke, &without).await {
            Ok(plan) => found.retain(|other| is_in(&plan, other)),
            Err(_) => found.clear(),
        }
        Ok(found)
    }

    /// The other conflicts about the rows of this one: those that wait, or, to take an answer back, those that it
    /// decided.
    async fn together(&self, record: &ConflictRecord, is_undo: bool) -> Result<Vec<ConflictRecord>, EngineError> {
        let states: &[ConflictState] =
            if is_undo { &[ConflictState::Settled] } else { &[ConflictState::Open, ConflictState::Answered] };
        let with = |answer: &Option<Answer>| if let Some(Answer::With(id)) = answer { Some(*id) } else { None };
        let root = with(&record.answer).unwrap_or(record.id);
        let mut found = self.ports.store.conflicts(Some(&record.spoke), states).await?;
        found.retain(|other| {
            let is_of_group = || record.draft.group.iter().any(|row| row.item == other.draft.item);
            let is_tied = match with(&other.answer) {
                Some(id) => id == root,
                None => is_undo && other.id == root || other.state == ConflictState::Open && is_of_group(),
            };
            is_tied && other.id != record.id
        });
        Ok(found)
    }
}

/// Says why no run can carry an answer to a git conflict out, whatever the repositories hold by then.
fn not_of_a_ref(record: &ConflictRecord, answer: &Answer) -> Option<String> {
    let draft = &record.draft;
    let sides = if draft.suggested.is_some() { "hub, spoke or suggested" } else { "hub or spoke" };
    let why = match answer {
        _ if record.kind != SpokeKind::Git => return None,
        Answer::Take(Choice::Base) if draft.base.is_none() => "both sides never agreed on anything here".to_owned(),
        Answer::Take(Choice::Suggested) if draft.suggested.is_none() => "there is no suggestion".to_owned(),
        Answer::Fields(_) | Answer::Content(_) => format!("{} is one thing and has no text", draft.place),
        Answer::Take(_) | Answer::Undo | Answer::With(_) => return None,
    };
    Some(format!("{why}: take {sides}"))
}

/// Says which typed value begins with `@` and is no word: nobody has said that it is meant as a text.
fn no_word(answer: &Answer) -> Option<String> {
    let Answer::Fields(fields) = answer else { return None };
    fields.iter().find_map(|(name, value)| Some(format!("{name}: {}", Typed::read(value).err()?)))
}

/// Says why an answer cannot be undone that was about rows which depend on each other, of which the conflict holds
/// one: it may have moved all of them.
fn group_of(record: &ConflictRecord) -> Option<String> {
    let kind = record.draft.conflict_kind.as_str();
    if record.kind == SpokeKind::Database && kind == "table" {
        return Some(
            "the answer was about a whole table, and the conflict does not hold its rows; the snapshot of the run \
             that carried the answer out holds them as they were: `cathedral runs` names it, then `cathedral restore \
             SNAPSHOT SPOKE --to DIR`"
                .to_owned(),
        );
    }
    let is_tied = matches!(kind, "unique" | "foreign_key" | "check") && record.draft.group.is_empty();
    let is_tied = is_tied && !record.draft.refers_to_nothing();
    let is_group = record.kind == SpokeKind::Database && is_tied;
    is_group.then(|| {
        "the answer was about rows that depend on each other, and the conflict holds one of them; the snapshot of \
         the run that carried the answer out holds them all as they were: `cathedral runs` names it, then \
         `cathedral restore SNAPSHOT SPOKE --to DIR`"
            .to_owned()
    })
}

/// Says why a conflict cannot be put back in which a side was a folder: it names the folder, not what was in it.
fn folder_of(record: &ConflictRecord) -> Option<String> {
    let draft = &record.draft;
    let is_folder = |side: &Option<SideValue>| side.as_ref().is_some_and(|v| v.shown == "directory");
    let side = [("hub", &draft.hub), ("spoke", &draft.spoke)].into_iter().find(|(_, side)| is_folder(side));
    let (name, _) = side.filter(|_| record.kind == SpokeKind::Files)?;
    Some(format!(
        "the {name} had a folder there, and the conflict does not hold the files in it; the snapshot of the run that \
         carried the answer out holds them: `cathedral snapshot list`, then `cathedral restore`"
    ))
}
