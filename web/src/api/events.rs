//! Events and deliveries.

use axum::extract::{Path, Query, State};
use axum::http::Method;
use cathedral_model::access::Action;
use cathedral_model::ids::Cursor;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::doc::Doc;
use super::{Answer, Page, answer, length, page, show};
use crate::live::shown;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(super) fn routes(routes: Routes) -> Routes {
    let (read, change) = (Access::Needs(Action::Read), Access::Needs(Action::Schedule));
    let events_doc = Doc::new("Lists events after a cursor, oldest first").query::<Wanted>();
    let incoming_doc = Doc::new("Lists webhooks that came in, newest first").query::<Page>();
    let outgoing_doc = Doc::new("Lists deliveries to endpoints, newest first").query::<Page>();
    routes
        .add(Method::GET, "/api/v1/events", read, Some(events_doc), events)
        .add(Method::GET, "/api/v1/deliveries", read, Some(outgoing_doc), outgoing)
        .add(Method::GET, "/api/v1/webhooks", read, Some(incoming_doc), incoming)
        .add(Method::POST, "/api/v1/deliveries/{number}/retry", change, Some(Doc::new("Sends once more, now")), retry)
}

/// A page of events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only what comes after this cursor: `next` of the page before; 0: from the beginning.
    after: Option<i64>,
    /// 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

async fn events(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let after = wanted.after.unwrap_or(0);
    let events = state.store.events(Cursor(after), limit).await?;
    // Also a short page tells where to go on: more events will come.
    let next = events.last().map_or(after, |event| event.cursor.0);
    let events: Vec<_> = events.iter().map(shown).collect();
    Ok(answer(&state, "events", json!({ "events": events, "next": next })))
}

async fn incoming(State(state): State<Shared>, Query(wanted): Query<Page>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let rows = state.ports.intake.deliveries(wanted.before, limit).await?;
    let next = rows.last().map(|row| row.number);
    Ok(answer(&state, "webhooks", page("webhooks", rows.iter().map(show::delivery).collect(), limit, next)))
}

async fn outgoing(State(state): State<Shared>, Query(wanted): Query<Page>) -> Result<Answer, Problem> {
    let limit = length(wanted.limit)?;
    let rows = state.ports.outgoing.outgoing(wanted.before, limit).await?;
    let next = rows.last().map(|row| row.number);
    Ok(answer(&state, "deliveries", page("deliveries", rows.iter().map(show::outgoing).collect(), limit, next)))
}

async fn retry(State(state): State<Shared>, Path(number): Path<i64>) -> Result<Answer, Problem> {
    let row = state.ports.outgoing.retry(number, state.now()).await?;
    state.bell.ring();
    Ok(answer(&state, "delivery", show::outgoing(&row)))
}
