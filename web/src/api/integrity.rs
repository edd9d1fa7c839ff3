//! The log: its head, its leaves, proofs to take away.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use cathedral_model::access::Action;
use cathedral_model::ids::{LeafIndex, SnapshotId};
use cathedral_model::ports::ledger::NewLeaf;
use serde_json::{Value, json};

use super::doc::Doc;
use super::{Answer, Json, Page, answer, length, page};
use crate::auth::Who;
use crate::hub::Subject;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    let leaf_doc = Doc::new("Everything to check a leaf without this hub").file("application/x-tar");
    let snapshot_doc = Doc::new("Everything to check a snapshot without this hub").file("application/x-tar");
    let append_doc =
        Doc::new("Appends a leaf, for commands in the hub's own folder only").body::<BTreeMap<String, Value>>();
    routes
        .add(Method::POST, "/api/v1/log/leaves", Access::Needs(Action::ManageAccess), Some(append_doc), append)
        .add(Method::GET, "/api/v1/log/head", read, Some(Doc::new("The signed head of the log")), head)
        .add(
            Method::GET,
            "/api/v1/log/leaves",
            read,
            Some(Doc::new("Lists leaves, newest first").query::<Page>()),
            leaves,
        )
        .add(Method::GET, "/api/v1/log/leaves/{leaf}/proof", read, Some(leaf_doc), leaf_proof)
        .add(Method::GET, "/api/v1/snapshots/{snapshot}/proof", read, Some(snapshot_doc), snapshot_proof)
}

async fn head(State(state): State<Shared>) -> Result<Answer, Problem> {
    let head = state.ledger().head().await?;
    Ok(answer(&state, "log-head", json!({ "head": head })))
}

async fn leaves(State(state): State<Shared>, Query(wanted): Query<Page>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let leaves = state.hub.leaves(wanted.before.map(LeafIndex), limit).await?;
    let next = leaves.last().map(|leaf| leaf.index.0).filter(|index| *index > 0);
    Ok(answer(&state, "log-leaves", page("leaves", leaves.iter().map(|leaf| json!(leaf)).collect(), limit, next)))
}

async fn leaf_proof(State(state): State<Shared>, Path(leaf): Path<i64>) -> Result<Response, Problem> {
    proof(&state, Subject::Leaf(LeafIndex(leaf))).await
}

async fn snapshot_proof(State(state): State<Shared>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = SnapshotId::parse(&id).map_err(|_| Problem::not_found("there is no such snapshot"))?;
    proof(&state, Subject::Snapshot(id)).await
}

async fn proof(state: &Shared, subject: Subject) -> Result<Response, Problem> {
    let pack = state.hub.proof_pack(&subject).await?;
    let name: String =
        pack.name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&pack.media_type).ok()),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).ok()),
    ];
    let mut response = pack.bytes.into_response();
    for (key, value) in headers {
        response.headers_mut().insert(key, value.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    }
    Ok(response)
}

/// Appends a leaf for a command that runs beside the hub: from the socket in its folder only.
async fn append(State(state): State<Shared>, Who(who): Who, Json(leaf): Json<NewLeaf>) -> Result<Answer, Problem> {
    if !who.is_local() {
        return Err(Problem::forbidden("local_only", "leaves are appended by the hub and by commands in its folder"));
    }
    let index = state.ledger().append(&leaf).await?;
    Ok(answer(&state, "leaf", json!({ "index": index })))
}
