//! The configuration: as it stands, what would be wrong with another, every accepted version.

use axum::extract::{Query, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::config::Severity;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::doc::Doc;
use super::{Answer, Json, answer, length, show};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let (read, change) = (Access::Needs(Action::ReadSettings), Access::Needs(Action::ChangeSettings));
    let validate_doc = Doc::new("Checks a configuration without using it").body::<Text>();
    let versions_doc = Doc::new("Lists accepted configurations, newest first").query::<Wanted>();
    let put_doc = Doc::new("Puts a configuration in place, when it is valid").body::<Text>();
    routes
        .add(Method::GET, "/api/v1/config", read, Some(Doc::new("The configuration file's text")), current)
        .add(Method::PUT, "/api/v1/config", change, Some(put_doc), put)
        .add(Method::POST, "/api/v1/config/validate", read, Some(validate_doc), validate)
        .add(Method::POST, "/api/v1/config/reload", change, Some(Doc::new("Reads the file again")), reload)
        .add(Method::GET, "/api/v1/config/versions", read, Some(versions_doc), versions)
}

async fn current(State(state): State<Shared>) -> Result<Answer, Problem> {
    let text = state.hub.config_text().await?;
    Ok(answer(&state, "config", json!({ "text": text })))
}

/// A configuration text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    text: String,
}

async fn validate(State(state): State<Shared>, Json(given): Json<Text>) -> Answer {
    let problems = state.hub.validate(&given.text);
    let valid = !problems.iter().any(|problem| problem.severity != Severity::Warning);
    answer(&state, "config-validation", json!({ "valid": valid, "problems": problems }))
}

async fn put(State(state): State<Shared>, Who(who): Who, Json(given): Json<Text>) -> Result<Answer, Problem> {
    who.require_fresh(&state)?;
    let version = state.hub.put_config(&given.text, &format!("changed by {}", who.name)).await?;
    state.bell.ring();
    Ok(answer(&state, "config-version", show::version(&version)))
}

async fn reload(State(state): State<Shared>) -> Result<Answer, Problem> {
    let version = state.hub.reload().await?;
    state.bell.ring();
    Ok(answer(&state, "config-version", show::version(&version)))
}

/// How many.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

async fn versions(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Result<Answer, Problem> {
    let versions = state.ports.versions.config_versions(length(wanted.limit)?).await?;
    Ok(answer(&state, "config-versions", json!({ "versions": versions.iter().map(show::version).collect::<Vec<_>>() })))
}
