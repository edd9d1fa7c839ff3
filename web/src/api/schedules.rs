//! Schedules: what runs by itself, and when.

use axum::extract::{Path, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::run::{Priority, Request};
use cathedral_model::schedule::{Pause, ScheduleState};
use cathedral_model::time::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::doc::Doc;
use super::runs::{line, submit};
use super::{Answer, Json, answer, show};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::{Shared, State as Hub};

pub(super) fn routes(routes: Routes) -> Routes {
    let (read, change) = (Access::Needs(Action::Read), Access::Needs(Action::Schedule));
    let pause_doc = Doc::new("Lets a schedule rest").body::<NewPause>();
    routes
        .add(Method::GET, "/api/v1/schedules", read, Some(Doc::new("Lists schedules")), list)
        .add(Method::GET, "/api/v1/schedules/{schedule}", read, Some(Doc::new("Shows one schedule")), one)
        .add(Method::POST, "/api/v1/schedules/{schedule}/pause", change, Some(pause_doc), pause)
        .add(Method::POST, "/api/v1/schedules/{schedule}/resume", change, Some(Doc::new("Wakes a schedule")), resume)
        .add(
            Method::POST,
            "/api/v1/schedules/{schedule}/run",
            change,
            Some(Doc::new("Does now what it does").status(202)),
            run,
        )
}

async fn known(state: &Hub, name: &str) -> Result<ScheduleState, Problem> {
    let all = state.ports.schedules.schedules().await?;
    let found = all.into_iter().find(|schedule| schedule.schedule.name == name);
    found.ok_or_else(|| Problem::not_found("there is no such schedule"))
}

async fn list(State(state): State<Shared>) -> Result<Answer, Problem> {
    let all = state.ports.schedules.schedules().await?;
    Ok(answer(&state, "schedules", json!({ "schedules": all.iter().map(show::schedule).collect::<Vec<_>>() })))
}

async fn one(State(state): State<Shared>, Path(name): Path<String>) -> Result<Answer, Problem> {
    let found = known(&state, &name).await?;
    Ok(answer(&state, "schedule", show::schedule(&found)))
}

/// For how long, and why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewPause {
    /// RFC 3339; none: until somebody resumes it.
    until: Option<String>,
    reason: String,
}

async fn pause(
    State(state): State<Shared>,
    Who(who): Who,
    Path(name): Path<String>,
    Json(wanted): Json<NewPause>,
) -> Result<Answer, Problem> {
    let (found, now) = (known(&state, &name).await?, state.now());
    let until = wanted.until.as_deref().map(Timestamp::parse_rfc3339).transpose();
    let until = until.map_err(|_| Problem::bad_request("until", "until is no time in RFC 3339"))?;
    if until.is_some_and(|until| until <= now) {
        return Err(Problem::bad_request("until", "until lies in the past"));
    }
    let pause = Pause { since: now, until, reason: line("a reason", &wanted.reason, 200)?, actor: who.name.clone() };
    let after = state.ports.schedules.pause(&name, Some(&pause), found.next_due, now).await?;
    state.bell.ring();
    Ok(answer(&state, "schedule", show::schedule(&after)))
}

async fn resume(State(state): State<Shared>, Path(name): Path<String>) -> Result<Answer, Problem> {
    let (found, now) = (known(&state, &name).await?, state.now());
    let next = state.hub.next_due(&found.schedule, now);
    let after = state.ports.schedules.pause(&name, None, next, now).await?;
    state.bell.ring();
    Ok(answer(&state, "schedule", show::schedule(&after)))
}

async fn run(State(state): State<Shared>, Who(who): Who, Path(name): Path<String>) -> Result<Answer, Problem> {
    let found = known(&state, &name).await?;
    let cause = format!("{} now, asked by {}", found.schedule.name, who.name);
    submit(&state, Request { priority: Priority::Manual, cause, work: found.schedule.request.work }).await
}
