//! Snapshots: what can be gone back to.

use axum::extract::{Path, Query, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ids::SnapshotId;
use cathedral_model::run::{Phase, Priority, Request, SyncRequest, Work};
use schemars::JsonSchema;
use serde::Deserialize;

use super::doc::Doc;
use super::runs::{line, submit};
use super::{Answer, Json, answer, length, page, show};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    let new = Doc::new("Asks for a snapshot").body::<NewSnapshot>().status(202);
    routes
        .add(
            Method::GET,
            "/api/v1/snapshots",
            read,
            Some(Doc::new("Lists snapshots, newest first").query::<Wanted>()),
            list,
        )
        .add(Method::POST, "/api/v1/snapshots", Access::Needs(Action::Sync), Some(new), create)
        .add(Method::GET, "/api/v1/snapshots/{snapshot}", read, Some(Doc::new("Shows one snapshot")), one)
}

/// A page of snapshots.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only what comes before this id: `next` of the page before.
    before: Option<String>,
    /// 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

fn no_snapshot() -> Problem {
    Problem::not_found("there is no such snapshot")
}

async fn list(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let before = wanted.before.as_deref().map(SnapshotId::parse).transpose();
    let before = before.map_err(|error| Problem::invalid("before", error.to_string()))?;
    let all = state.snapshots().await.map_err(|why| Problem::unavailable("vault", why, 5))?;
    let rows: Vec<_> = all
        .iter()
        .rev()
        .filter(|info| before.as_ref().is_none_or(|before| info.meta.id < *before))
        .take(limit as usize)
        .collect();
    let next = rows.last().filter(|_| rows.len() >= limit as usize).map(|info| info.meta.id.clone());
    let mut data = page("snapshots", rows.into_iter().map(show::snapshot).collect(), limit, None);
    data["next"] = serde_json::json!(next);
    Ok(answer(&state, "snapshots", data))
}

async fn one(State(state): State<Shared>, Path(id): Path<String>) -> Result<Answer, Problem> {
    let id = SnapshotId::parse(&id).map_err(|_| no_snapshot())?;
    let info = state.vault().snapshot(&id).await?;
    Ok(answer(&state, "snapshot", show::snapshot(&info)))
}

/// What a snapshot is for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewSnapshot {
    tags: Vec<String>,
}

async fn create(
    State(state): State<Shared>,
    Who(who): Who,
    Json(wanted): Json<NewSnapshot>,
) -> Result<Answer, Problem> {
    if wanted.tags.len() > 16 {
        return Err(Problem::invalid("tags", "at most 16 tags"));
    }
    let tags = wanted.tags.iter().map(|tag| line("a tag", tag, 60)).collect::<Result<_, _>>()?;
    let sync = SyncRequest { only: vec![Phase::Snapshot], tags, force_snapshot: true, ..SyncRequest::default() };
    let cause = format!("snapshot asked by {}", who.name);
    submit(&state, Request { priority: Priority::Manual, cause, work: Work::Sync(sync) }).await
}
