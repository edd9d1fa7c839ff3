//! `/healthz` (the process lives), `/readyz` (it can work), `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cathedral_model::access::Action;

use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/healthz", Access::Unmetered, alive).get("/readyz", Access::Unmetered, ready).get(
        "/metrics",
        Access::Needs(Action::Read),
        crate::metrics::show,
    )
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(state): State<Shared>) -> Response {
    match state.hub.not_ready() {
        None => (StatusCode::OK, "ready\n").into_response(),
        // The reason may name what strangers need not know.
        Some(why) => {
            tracing::debug!(why, "not ready");
            Problem::unavailable("not_ready", "the hub is not ready yet", 1).into_response()
        }
    }
}
