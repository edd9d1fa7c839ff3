//! Status and spokes.

use axum::extract::{Path, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ids::SpokeName;
use serde_json::json;

use super::doc::Doc;
use super::{Answer, answer, show};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    routes
        .add(Method::GET, "/api/v1/status", read, Some(Doc::new("How everything stands, with the sentence")), status)
        .add(Method::GET, "/api/v1/spokes", read, Some(Doc::new("Lists spokes with where they stand")), spokes)
        .add(Method::GET, "/api/v1/spokes/{spoke}", read, Some(Doc::new("Shows one spoke")), spoke)
}

async fn status(State(state): State<Shared>) -> Result<Answer, Problem> {
    let view = state.view().await?;
    let data = json!({ "ecosystem": state.hub.name(), "version": state.hub.version(), "verdict": show::with_times(json!(&*view.verdict)) });
    Ok(answer(&state, "hub-status", data))
}

async fn spokes(State(state): State<Shared>) -> Result<Answer, Problem> {
    let view = state.view().await?;
    Ok(answer(&state, "spokes", json!({ "spokes": show::with_times(json!(view.verdict.spokes)) })))
}

async fn spoke(State(state): State<Shared>, Path(name): Path<String>) -> Result<Answer, Problem> {
    let view = state.view().await?;
    let found = view.verdict.spokes.iter().find(|spoke| spoke.name.as_str() == name);
    let shown = found.ok_or_else(|| no_spoke(&name))?;
    Ok(answer(&state, "spoke", json!({ "spoke": show::with_times(json!(shown)) })))
}

pub(super) fn no_spoke(name: &str) -> Problem {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    Problem::not_found(format!("there is no spoke {shown:?}"))
}

/// Checks that spokes exist.
pub(super) fn named(state: &Shared, names: &[String]) -> Result<Vec<SpokeName>, Problem> {
    let engine = state.engine();
    let known = &engine.ecosystem().spokes;
    let find = |name: &String| known.iter().find(|spoke| spoke.name.as_str() == name.as_str());
    names.iter().map(|name| find(name).map(|spoke| spoke.name.clone()).ok_or_else(|| no_spoke(name))).collect()
}
