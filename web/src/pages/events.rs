//! `/events`: what happened; `/deliveries`: what was told to others, and what others told.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::event::EventFilter;
use cathedral_model::ids::{Cursor, RunId};
use cathedral_model::intake::Outcome;
use cathedral_model::ports::outgoing::Attempted;
use serde::Deserialize;

use super::overview::{EventRow, event_row};
use super::part::{self, Html, encode, size};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

const ROWS: u32 = 100;

pub(crate) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    routes.get("/events", read, show).get("/deliveries", read, deliveries).post(
        "/deliveries/{number}/retry",
        Access::Needs(Action::Schedule),
        retry,
    )
}

#[derive(Template)]
#[template(path = "pages/events.html")]
struct Page {
    frame: Frame,
    events: Vec<EventRow>,
    kinds: Vec<(&'static str, bool)>,
    spoke: String,
    run: String,
    next: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    r#type: String,
    spoke: String,
    run: String,
    before: Option<i64>,
}

const KINDS: [&str; 8] = ["run", "spoke", "snapshot", "restore", "conflict", "schedule", "delivery", "config"];

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let kind = KINDS.into_iter().find(|k| *k == wanted.r#type);
    let spoke = if wanted.spoke.is_empty() { None } else { Some(super::act::spoke(&state, wanted.spoke.trim())?) };
    let run = match wanted.run.trim() {
        "" => None,
        text => Some(RunId(text.parse().map_err(|_| Problem::bad_request("run", "a run is a number"))?)),
    };
    let filter = EventFilter { types: kind.map(|k| vec![format!("{k}.")]).unwrap_or_default(), spoke, run };
    let events = state.store.events_before(wanted.before.map(Cursor), &filter, ROWS).await?;
    let page = Page {
        frame: Frame::of(&state, Some(&who), "events")
            .with(&view)
            .at(&[], "Events")
            .live(kind.unwrap_or(""), false)
            .api("/api/v1/events"),
        next: events.last().filter(|_| events.len() >= ROWS as usize).map_or(String::new(), |e| {
            format!(
                "/events?type={}&spoke={}&run={}&before={}",
                encode(&wanted.r#type),
                encode(&wanted.spoke),
                encode(&wanted.run),
                e.cursor
            )
        }),
        events: events.iter().map(|e| event_row(now, e)).collect(),
        kinds: KINDS.into_iter().map(|k| (k, Some(k) == kind)).collect(),
        spoke: wanted.spoke,
        run: wanted.run,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "pages/deliveries.html")]
struct Deliveries {
    frame: Frame,
    can_retry: bool,
    incoming: bool,
    sent: Vec<Sent>,
    came: Vec<Came>,
    next: String,
}

struct Sent {
    number: i64,
    state: Html,
    topic: String,
    endpoint: Html,
    attempts: u32,
    last: Html,
    at: Html,
    due: Html,
}

struct Came {
    state: Html,
    event: Html,
    source: String,
    repository: Html,
    size: String,
    at: Html,
    runs: Vec<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Which {
    show: String,
    before: Option<i64>,
}

async fn deliveries(
    State(state): State<Shared>,
    Who(who): Who,
    Query(wanted): Query<Which>,
) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let incoming = wanted.show == "in";
    let (mut sent, mut came, mut last) = (vec![], vec![], None);
    if incoming {
        for row in state.ports.intake.deliveries(wanted.before, ROWS).await? {
            last = Some(row.number);
            let (state, runs) = match row.outcome {
                None => (part::mark("run", "Waits"), vec![]),
                Some(Outcome::Runs { runs }) => {
                    (part::mark("ok", "Asked for a run"), runs.iter().map(|r| r.0).collect())
                }
                Some(Outcome::Echo) => (part::mark("idle", "Our own change"), vec![]),
                Some(Outcome::NoSpoke) => (part::mark("warn", "No such spoke"), vec![]),
                Some(Outcome::NothingToDo) => (part::mark("idle", "Nothing to do"), vec![]),
            };
            came.push(Came {
                state,
                event: part::name(&row.delivery.event),
                source: row.delivery.source,
                repository: part::cut(row.delivery.hint.repository.as_deref().unwrap_or("")),
                size: size(row.delivery.body_bytes),
                at: part::clock(now, row.received_at),
                runs,
            });
        }
    } else {
        for row in state.ports.outgoing.outgoing(wanted.before, ROWS).await? {
            last = Some(row.number);
            sent.push(Sent {
                number: row.number,
                state: match row.state {
                    Attempted::Waiting if row.attempts > 0 => part::mark("warn", "Tried again"),
                    Attempted::Waiting => part::mark("run", "Waits"),
                    Attempted::Delivered => part::mark("ok", "Delivered"),
                    Attempted::GivenUp => part::mark("bad", "Given up"),
                },
                topic: row.message.topic.clone(),
                endpoint: part::name(&row.endpoint),
                attempts: row.attempts,
                last: part::cut(&row.last),
                at: part::clock(now, row.filed_at),
                due: if row.state == Attempted::Waiting { part::clock(now, row.due_at) } else { part::none() },
            });
        }
    }
    let full = sent.len().max(came.len()) >= ROWS as usize;
    let api = if incoming { "/api/v1/webhooks" } else { "/api/v1/deliveries" };
    let page = Deliveries {
        frame: Frame::of(&state, Some(&who), "events")
            .with(&view)
            .at(&[("Events", "/events")], "Deliveries")
            .live("", false)
            .api(api),
        can_retry: who.may(Action::Schedule),
        next: last
            .filter(|_| full)
            .map_or(String::new(), |n| format!("/deliveries?show={}&before={n}", if incoming { "in" } else { "out" })),
        incoming,
        sent,
        came,
    };
    Ok(html(&page))
}

async fn retry(State(state): State<Shared>, Path(number): Path<i64>) -> Result<Response, Problem> {
    state.ports.outgoing.retry(number, state.now()).await?;
    state.bell.ring();
    Ok(see("/deliveries"))
}
