//! `/schedules`: what runs by itself, and when.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use cathedral_engine::schedule::in_words;
use cathedral_model::access::Action;
use cathedral_model::schedule::{Pause, ScheduleState};
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::act::{Fields, field, file};
use super::part::{self, Html, encode};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

const DAY_MS: u64 = 86_400_000;
/// Schedules on one page.
const ROWS: usize = 100;
/// Due times drawn of one schedule.
const TICKS: usize = 300;

pub(crate) fn routes(routes: Routes) -> Routes {
    let change = Access::Needs(Action::Schedule);
    routes
        .get("/schedules", Access::Needs(Action::Read), show)
        .post("/schedules/{schedule}/pause", change, pause)
        .post("/schedules/{schedule}/resume", change, resume)
        .post("/schedules/{schedule}/run", change, run)
}

#[derive(Template)]
#[template(path = "pages/schedules.html")]
struct Page {
    frame: Frame,
    can_change: bool,
    rows: Vec<Row>,
    axis: Vec<String>,
    /// So many there are, so many of them fit what is looked for.
    total: usize,
    found: usize,
    sought: String,
    next: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    /// Part of a name or title.
    q: String,
    from: usize,
}

struct Row {
    key: String,
    name: String,
    title: Html,
    words: Html,
    lane: Html,
    in_a_day: String,
    next: Html,
    last: Html,
    missed: u64,
    paused: String,
    is_late: bool,
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let all = state.ports.schedules.schedules().await?;
    let sought = wanted.q.trim().to_lowercase();
    let fits = |s: &&ScheduleState| {
        [&s.schedule.name, &s.schedule.title].iter().any(|text| text.to_lowercase().contains(&sought))
    };
    let found: Vec<&ScheduleState> = all.iter().filter(fits).collect();
    let next = wanted.from.saturating_add(ROWS);
    let page = Page {
        frame: Frame::of(&state, Some(&who), "schedules")
            .with(&view)
            .at(&[], "Schedules")
            .live("schedule,run", false)
            .api("/api/v1/schedules"),
        can_change: who.may(Action::Schedule),
        rows: found.iter().skip(wanted.from).take(ROWS).map(|s| row(&state, now, s)).collect(),
        total: all.len(),
        found: found.len(),
        next: if next < found.len() { format!("/schedules?q={}&from={next}", encode(&sought)) } else { String::new() },
        sought: wanted.q.trim().to_owned(),
        axis: (0..=4_u64)
            .map(|i| now.plus_ms(i * DAY_MS / 4).to_rfc3339().get(11..16).unwrap_or_default().to_owned())
            .collect(),
    };
    Ok(html(&page))
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn row(state: &Shared, now: Timestamp, s: &ScheduleState) -> Row {
    let rests = s.pause.as_ref().filter(|p| p.until.is_none_or(|until| until > now));
    let until = now.plus_ms(DAY_MS);
    let mut ticks = vec![];
    let mut at = s.next_due.filter(|_| rests.is_none_or(|p| p.until.is_some()));
    if let (Some(due), Some(wakes)) = (at, rests.and_then(|p| p.until)) {
        at = Some(due.max(wakes));
    }
    while let Some(due) = at.filter(|due| *due <= until && ticks.len() < TICKS) {
        ticks.push(due);
        at = state.hub.next_due(&s.schedule, due).filter(|next| *next > due);
    }
    let class = if rests.is_some() { "idle" } else { "run" };
    let bars: Vec<(f64, f64, &str)> =
        ticks.iter().map(|due| (due.ms_since(now) as f64 * 100.0 / DAY_MS as f64, 0.6, class)).collect();
    let paused = rests.map_or(String::new(), |p| {
        let until = p.until.map_or("until somebody resumes it".into(), |at| format!("until {}", part::full(at)));
        let reason = if p.reason.is_empty() { String::new() } else { format!(": {}", p.reason) };
        format!("paused by {} {until}{reason}", p.actor)
    });
    Row {
        key: encode(&s.schedule.name),
        name: s.schedule.name.clone(),
        title: part::name(&part::capital(&s.schedule.title)),
        words: part::cut(&in_words(&s.schedule.rule)),
        lane: svg::lane(&bars),
        in_a_day: match ticks.len() {
            TICKS => format!("{TICKS}+"),
            n => n.to_string(),
        },
        next: s.next_due.map_or_else(|| askama::filters::Safe("never".into()), |at| part::clock(now, at)),
        last: match (s.last_run, s.last_fired_at) {
            (Some(run), Some(at)) => askama::filters::Safe(format!(
                "<a class=\"link\" href=\"/runs/{run}\">run {run}</a>, {}",
                part::ago(now, at)
            )),
            (_, Some(at)) => part::ago(now, at),
            _ => askama::filters::Safe("not yet".into()),
        },
        missed: s.missed,
        is_late: rests.is_none() && s.next_due.is_some_and(|due| now.ms_since(due) > s.schedule.jitter_ms + 60_000),
        paused,
    }
}

async fn known(state: &Shared, name: &str) -> Result<ScheduleState, Problem> {
    let all = state.ports.schedules.schedules().await?;
    all.into_iter().find(|s| s.schedule.name == name).ok_or_else(|| Problem::not_found("there is no such schedule"))
}

/// Where a form wants to go back to; only pages that have such forms.
fn back(fields: &Fields) -> &str {
    let to = field(fields, "back");
    let plain = to.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'));
    if plain && to.starts_with("/spokes/") { to } else { "/schedules" }
}

async fn pause(
    State(state): State<Shared>,
    Who(who): Who,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let (found, now) = (known(&state, &name).await?, state.now());
    let reason = field(&fields, "reason").trim();
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        return Err(Problem::bad_request("reason", "a reason is one line of at most 200 characters"));
    }
    let until = match field(&fields, "hours") {
        "" => None,
        hours => {
            let hours: u64 =
                hours.parse().map_err(|_| Problem::bad_request("hours", "for how long is a number of hours"))?;
            Some(now.plus_ms(hours.clamp(1, 24 * 366) * 3_600_000))
        }
    };
    let pause = Pause { since: now, until, reason: reason.to_owned(), actor: who.name.clone() };
    state.ports.schedules.pause(&name, Some(&pause), found.next_due, now).await?;
    state.bell.ring();
    Ok(see(back(&fields)))
}

async fn resume(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let (found, now) = (known(&state, &name).await?, state.now());
    let next = state.hub.next_due(&found.schedule, now);
    state.ports.schedules.pause(&name, None, next, now).await?;
    state.bell.ring();
    Ok(see(back(&fields)))
}

async fn run(State(state): State<Shared>, Who(who): Who, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = known(&state, &name).await?;
    file(&state, format!("{} now, asked by {}", found.schedule.name, who.name), found.schedule.request.work).await
}
