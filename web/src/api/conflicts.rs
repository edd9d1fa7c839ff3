//! Conflicts: the inbox and the answers.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ids::{ConflictId, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::plan::{Answer as Answered, Choice};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::doc::Doc;
use super::{Answer, Json, answer, length, page, show};
use crate::auth::{Identity, Who};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::{Shared, State as Hub};

pub(super) fn routes(routes: Routes) -> Routes {
    let (read, decide) = (Access::Needs(Action::Read), Access::Needs(Action::AnswerConflict));
    let list_doc =
        Doc::new("Lists conflicts, newest first; open and answered ones unless all are asked for").query::<Wanted>();
    let answer_doc = Doc::new("Answers a conflict; the run that carries it out is filed").body::<Given>().status(202);
    let undo_doc = Doc::new("Puts both sides back to what they were before the answer").status(202);
    routes
        .add(Method::GET, "/api/v1/conflicts", read, Some(list_doc), list)
        .add(Method::GET, "/api/v1/conflicts/{conflict}", read, Some(Doc::new("Shows one conflict")), one)
        .add(Method::POST, "/api/v1/conflicts/{conflict}/answer", decide, Some(answer_doc), give)
        .add(Method::POST, "/api/v1/conflicts/{conflict}/undo", decide, Some(undo_doc), undo)
}

/// Which conflicts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only of this spoke.
    spoke: Option<String>,
    /// Settled ones too.
    all: Option<bool>,
    /// Only what comes before this number.
    before: Option<i64>,
    /// 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

async fn list(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let spoke = wanted.spoke.as_deref().map(SpokeName::new).transpose();
    let spoke = spoke.map_err(|error| Problem::invalid("spoke", error.to_string()))?;
    let states: &[ConflictState] =
        if wanted.all == Some(true) { &[] } else { &[ConflictState::Open, ConflictState::Answered] };
    let records = state.store.conflicts(spoke.as_ref(), states).await?;
    let before = wanted.before.unwrap_or(i64::MAX);
    let rows: Vec<&ConflictRecord> =
        records.iter().rev().filter(|record| record.id.0 < before).take(limit as usize).collect();
    let next = rows.last().map(|record| record.id.0);
    Ok(answer(&state, "conflicts", page("conflicts", rows.into_iter().map(show::conflict).collect(), limit, next)))
}

async fn known(state: &Hub, id: i64) -> Result<ConflictRecord, Problem> {
    let found = state.store.conflict(ConflictId(id)).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no conflict {id}")))
}

async fn one(State(state): State<Shared>, Path(id): Path<i64>) -> Result<Answer, Problem> {
    let record = known(&state, id).await?;
    Ok(answer(&state, "conflict", json!({ "conflict": show::conflict(&record) })))
}

/// An answer: exactly one of `take`, `fields`, `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Given {
    take: Option<Take>,
    /// Field by field: a value, or `@hub`, `@spoke`, `@base`, in a database `@null`. Another value that begins with
    /// `@` is refused: a text is written with a second one, `@@so`.
    fields: Option<BTreeMap<String, String>>,
    /// The whole new value.
    text: Option<String>,
    /// `versions` of the conflict as it was looked at: refused when a side has moved since.
    versions: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Take {
    Hub,
    Spoke,
    Base,
    Suggested,
}

async fn give(
    State(state): State<Shared>,
    Who(who): Who,
    Path(id): Path<i64>,
    Json(given): Json<Given>,
) -> Result<Answer, Problem> {
    let wanted = match (given.take, given.fields, given.text) {
        (Some(take), None, None) => Answered::Take(match take {
            Take::Hub => Choice::Hub,
            Take::Spoke => Choice::Spoke,
            Take::Base => Choice::Base,
            Take::Suggested => Choice::Suggested,
        }),
        (None, Some(fields), None) if !fields.is_empty() => Answered::Fields(fields),
        (None, None, Some(text)) => Answered::Content(state.content().put(text.as_bytes())?),
        _ => return Err(Problem::invalid("answer", "an answer is exactly one of take, fields and text")),
    };
    decide(&state, &who, id, &wanted, given.versions).await
}

async fn undo(State(state): State<Shared>, Who(who): Who, Path(id): Path<i64>) -> Result<Answer, Problem> {
    decide(&state, &who, id, &Answered::Undo, None).await
}

/// Records an answer and files the run that carries it out. `versions` is what the person looked at.
async fn decide(
    state: &Shared,
    who: &Identity,
    id: i64,
    wanted: &Answered,
    versions: Option<u32>,
) -> Result<Answer, Problem> {
    let (record, run) = carry_out(state, who, id, wanted, versions).await?;
    let data = json!({ "conflict": show::conflict(&record), "run": run });
    Ok(answer(state, "conflict-answer", data).accepted(format!("/api/v1/runs/{run}")))
}

/// Records an answer and files the run for it: pages do the same as the API.
pub async fn carry_out(
    state: &Shared,
    who: &Identity,
    id: i64,
    wanted: &Answered,
    versions: Option<u32>,
) -> Result<(ConflictRecord, cathedral_model::ids::RunId), Problem> {
    let _one_at_a_time = state.deciding.lock().await;
    let record = known(state, id).await?;
    if versions.is_some_and(|seen| seen != record.versions) {
        return Err(
            Problem::conflict("moved", "a side has changed since this was looked at").hint("look again, then answer")
        );
    }
    let asks_undo = matches!(wanted, Answered::Undo);
    if !asks_undo && versions.is_some() && record.state == ConflictState::Answered {
        let by = record.actor.as_deref().unwrap_or("somebody");
        return Err(Problem::conflict("answered", format!("{by} has answered this meanwhile")).hint("look again"));
    }
    let engine = state.engine();
    let (record, request) = engine.answer_seen(ConflictId(id), Some(&record), wanted, &who.name).await?;
    let run = engine.submit(&request).await?.run();
    state.bell.ring();
    Ok((record, run))
}
