//! Forms that file a run: sync, snapshot, check. Each sends the browser to the run.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::ids::SpokeName;
use cathedral_model::run::{Phase, Priority, Request, SyncRequest, Work};
use cathedral_model::snapshot::CheckLevel;
use cathedral_model::upkeep::{Upkeep, UpkeepRequest};

use crate::auth::{Identity, Who};
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

/// The fields of a form, in its order.
pub(crate) type Fields = Vec<(String, String)>;

/// The first field of this name; empty when there is none.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
}

pub(crate) fn routes(routes: Routes) -> Routes {
    let sync = Access::Needs(Action::Sync);
    routes.post("/runs", sync, run).post("/snapshots", sync, snapshot).post("/verify", sync, verify)
}

/// Files a request and goes to its run.
pub(crate) async fn file(state: &Shared, cause: String, work: Work) -> Result<Response, Problem> {
    let request = Request { priority: Priority::Manual, cause, work };
    let run = state.engine().submit(&request).await?.run();
    state.bell.ring();
    Ok(see(&format!("/runs/{run}")))
}

fn asked(who: &Identity) -> String {
    format!("asked by {}", who.name)
}

/// A spoke of the ecosystem by its name.
pub(crate) fn spoke(state: &Shared, name: &str) -> Result<SpokeName, Problem> {
    let engine = state.engine();
    let found = engine.ecosystem().spokes.iter().find(|spoke| spoke.name.as_str() == name);
    let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    found.map(|spoke| spoke.name.clone()).ok_or_else(|| Problem::not_found(format!("there is no spoke {shown:?}")))
}

async fn run(State(state): State<Shared>, Who(who): Who, Form(fields): Form<Fields>) -> Result<Response, Problem> {
    let mut sync = SyncRequest::default();
    let name = field(&fields, "spoke");
    if !name.is_empty() {
        sync.spokes.push(spoke(&state, name)?);
    }
    file(&state, asked(&who), Work::Sync(sync)).await
}

async fn snapshot(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    let sync = SyncRequest { only: vec![Phase::Snapshot], force_snapshot: true, ..SyncRequest::default() };
    file(&state, asked(&who), Work::Sync(sync)).await
}

async fn verify(State(state): State<Shared>, Who(who): Who, Form(fields): Form<Fields>) -> Result<Response, Problem> {
    let level = match field(&fields, "level") {
        "quick" => CheckLevel::Quick,
        "metadata" => CheckLevel::Metadata,
        _ => CheckLevel::Full,
    };
    let upkeep = if field(&fields, "what") == "integrity" { Upkeep::Integrity } else { Upkeep::Verify { level } };
    file(&state, asked(&who), Work::Upkeep(UpkeepRequest { upkeep })).await
}
