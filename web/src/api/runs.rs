//! Runs: list, one, its journal; a sync is asked for here.

use axum::extract::{Path, Query, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ecosystem::ConflictPolicy;
use cathedral_model::ids::{Digest, RunId, SpokeName};
use cathedral_model::run::{Phase, Priority, Request, SyncRequest, Work};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

use super::doc::Doc;
use super::overview::named;
use super::{Answer, Json, Page, answer, length, page, show};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let (read, sync) = (Access::Needs(Action::Read), Access::Needs(Action::Sync));
    let new = Doc::new("Asks for a sync; it is filed when this answers").body::<NewRun>().status(202);
    routes
        .add(Method::GET, "/api/v1/runs", read, Some(Doc::new("Lists runs, newest first").query::<Page>()), list)
        .add(Method::POST, "/api/v1/runs", sync, Some(new), create)
        .add(Method::GET, "/api/v1/runs/{run}", read, Some(Doc::new("Shows one run")), one)
        .add(Method::GET, "/api/v1/runs/{run}/journal", read, Some(Doc::new("Lists all that a run recorded")), journal)
}

async fn list(State(state): State<Shared>, Query(wanted): Query<Page>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let rows = state.store.runs(wanted.before.map(RunId), limit).await?;
    let next = rows.last().map(|row| row.run.0);
    Ok(answer(&state, "runs", page("runs", rows.iter().map(show::run).collect(), limit, next)))
}

fn no_run(run: i64) -> Problem {
    Problem::not_found(format!("there is no run {run}"))
}

async fn one(State(state): State<Shared>, Path(run): Path<i64>) -> Result<Answer, Problem> {
    let row = state.store.run(RunId(run)).await?.ok_or_else(|| no_run(run))?;
    Ok(answer(&state, "run", show::run(&row)))
}

async fn journal(State(state): State<Shared>, Path(run): Path<i64>) -> Result<Answer, Problem> {
    state.store.run(RunId(run)).await?.ok_or_else(|| no_run(run))?;
    let journal = state.store.journal(RunId(run)).await?;
    let entries: Vec<_> = journal
        .iter()
        .map(|entry| json!({ "seq": entry.seq, "at": entry.at.to_rfc3339(), "event": entry.event }))
        .collect();
    Ok(answer(&state, "run-log", json!({ "run": run, "journal": entries })))
}

/// What a sync is asked to do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewRun {
    /// Names of spokes; none: all.
    spokes: Vec<String>,
    /// `validate`, `snapshot`, `sync`, `verify`, `notify`; none: all phases.
    only: Vec<Word>,
    /// The id of a saved plan (or its beginning): carry out exactly this, or refuse.
    plan: Option<String>,
    /// A person has read and confirmed the protecting limits.
    confirmed: bool,
    /// Who wins where both sides changed: `hub` or `spoke`; none: as configured.
    on_conflict: Option<Side>,
    /// Tags of the snapshot.
    tags: Vec<String>,
    /// Take a snapshot even when nothing changed.
    force_snapshot: bool,
    /// For people: why.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    Validate,
    Snapshot,
    Sync,
    Verify,
    Notify,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    Hub,
    Spoke,
}

impl From<Word> for Phase {
    fn from(word: Word) -> Self {
        match word {
            Word::Validate => Self::Validate,
            Word::Snapshot => Self::Snapshot,
            Word::Sync => Self::Sync,
            Word::Verify => Self::Verify,
            Word::Notify => Self::Notify,
        }
    }
}

/// A line of text from outside, as it goes into records.
pub(super) fn line(what: &'static str, text: &str, most: usize) -> Result<String, Problem> {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Problem::invalid("text", format!("{what} is one line of at most {most} characters")));
    }
    Ok(text.trim().to_owned())
}

async fn create(State(state): State<Shared>, Who(who): Who, Json(wanted): Json<NewRun>) -> Result<Answer, Problem> {
    let spokes = named(&state, &wanted.spokes)?;
    if wanted.tags.len() > 16 {
        return Err(Problem::invalid("tags", "at most 16 tags"));
    }
    let tags = wanted.tags.iter().map(|tag| line("a tag", tag, 60)).collect::<Result<_, _>>()?;
    let plan = match &wanted.plan {
        Some(prefix) => saved_plan(&state, prefix).await?.1,
        None => BTreeMap::new(),
    };
    let sync = SyncRequest {
        spokes,
        only: wanted.only.iter().map(|word| Phase::from(*word)).collect(),
        plan,
        confirmed: wanted.confirmed,
        policy: wanted.on_conflict.map(|side| match side {
            Side::Hub => ConflictPolicy::Hub,
            Side::Spoke => ConflictPolicy::Spoke,
        }),
        tags,
        force_snapshot: wanted.force_snapshot,
    };
    let reason = wanted.reason.as_deref().map(|reason| line("a reason", reason, 200)).transpose()?;
    let cause = match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{reason} ({})", who.name),
        None => format!("asked by {}", who.name),
    };
    submit(&state, Request { priority: Priority::Manual, cause, work: Work::Sync(sync) }).await
}

/// Files a request and answers with its run.
pub(super) async fn submit(state: &Shared, request: Request) -> Result<Answer, Problem> {
    let run = state.engine().submit(&request).await?.run();
    state.bell.ring();
    Ok(answer(state, "filed", json!({ "run": run })).accepted(format!("/api/v1/runs/{run}")))
}

/// A saved plan by its id or the beginning of it.
pub(super) async fn saved_plan(state: &Shared, prefix: &str) -> Result<(Digest, BTreeMap<SpokeName, Digest>), Problem> {
    let none = || Problem::not_found("there is no such plan").hint("plans are made by POST /api/v1/plans");
    if !(6..=64).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(none());
    }
    let (id, text) = state.store.plan(&prefix.to_ascii_lowercase()).await?.ok_or_else(none)?;
    let plans = serde_json::from_str(&text).map_err(|_| none())?;
    Ok((id, plans))
}
