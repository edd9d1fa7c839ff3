//! Plans: what a sync would do.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ids::{Digest, SpokeName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::doc::Doc;
use super::overview::named;
use super::runs::saved_plan;
use super::{Answer, Json, answer};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let new = Doc::new("Looks at the spokes and plans, without changing anything").body::<NewPlan>().status(201);
    routes.add(Method::POST, "/api/v1/plans", Access::Needs(Action::Sync), Some(new), create).add(
        Method::GET,
        "/api/v1/plans/{plan}",
        Access::Needs(Action::Read),
        Some(Doc::new("Shows a saved plan")),
        one,
    )
}

/// What to plan for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewPlan {
    /// Names of spokes; none: all.
    spokes: Vec<String>,
}

async fn create(State(state): State<Shared>, Json(wanted): Json<NewPlan>) -> Result<Answer, Problem> {
    let names = named(&state, &wanted.spokes)?;
    let previews = state.engine().preview(&names, None).await?;
    let mut ids: BTreeMap<SpokeName, Digest> = BTreeMap::new();
    let mut spokes = vec![];
    for preview in &previews {
        let plan = preview.plan.as_ref();
        if let Some(plan) = plan {
            let sealed = plan.sealed().map_err(|error| Problem::bad_request("plan", error.to_string()))?;
            ids.insert(preview.spoke.name.clone(), sealed.0);
        }
        spokes.push(json!({
            "name": preview.spoke.name, "kind": preview.spoke.kind(),
            "actions": plan.map(|plan| &plan.actions), "conflicts": plan.map_or(0, |plan| plan.conflicts.len()),
            "guards": plan.map(|plan| &plan.guards), "error": preview.failed.as_ref().map(ToString::to_string),
            "warnings": preview.observation.as_ref().map(|seen| &seen.warnings),
        }));
    }
    // The same text as the command line saves, so that either can carry it out.
    let text = serde_json::to_string(&ids).map_err(|error| Problem::bad_request("plan", error.to_string()))?;
    let id = Digest::of(text.as_bytes());
    state.store.save_plan(&id, &text, state.now()).await?;
    Ok(answer(&state, "plan", json!({ "plan": id, "spokes": spokes })).created(format!("/api/v1/plans/{id}")))
}

async fn one(State(state): State<Shared>, Path(plan): Path<String>) -> Result<Answer, Problem> {
    let (id, spokes) = saved_plan(&state, &plan).await?;
    Ok(answer(&state, "saved-plan", json!({ "plan": id, "spokes": spokes })))
}
