//! `/runs`: what happened.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::ids::RunId;
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{RunResult, Work};
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::overview::Tab;
use super::part::{self, Html, count};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const ROWS: u32 = 50;
/// Pages of the store that are looked through for a filter.
const LOOKS: usize = 20;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/runs", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/runs.html")]
struct Page {
    frame: Frame,
    can_sync: bool,
    tabs: Vec<Tab>,
    runs: Vec<RunLine>,
    next: String,
}

/// One run in a list.
pub(crate) struct RunLine {
    pub link: String,
    pub number: i64,
    pub state: Html,
    pub work: String,
    pub cause: Html,
    pub at: Html,
    pub took: String,
    pub changes: String,
    pub note: Html,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    before: Option<i64>,
    show: String,
}

/// The word of a run's state or end.
pub(crate) fn word(row: &RunRow) -> String {
    match (row.state.as_str(), row.summary.result) {
        ("finished", Some(result)) => {
            serde_json::to_value(result).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        }
        ("queued", _) => "waits".into(),
        (state, _) => state.to_owned(),
    }
}

pub(crate) fn line(now: Timestamp, row: &RunRow) -> RunLine {
    let s = &row.summary;
    let (into, out) = s.spokes.iter().fold((0, 0), |(i, o), s| (i + s.changes_in, o + s.changes_out));
    let spent: u64 = s.phases.iter().map(|p| p.ms).sum();
    let conflicts: u64 = s.spokes.iter().map(|s| s.conflicts).sum();
    let mut note = s.error.clone().unwrap_or_else(|| s.note.clone());
    if note.is_empty() {
        note =
            s.spokes.iter().find(|s| !s.note.is_empty()).map(|s| format!("{}: {}", s.name, s.note)).unwrap_or_default();
    }
    if note.is_empty() && conflicts > 0 {
        note = count(conflicts, "conflict", "conflicts");
    }
    RunLine {
        link: format!("/runs/{}", row.run),
        number: row.run.0,
        state: part::result(&word(row)),
        work: part::work_word(&row.request.work),
        cause: part::cut(&row.request.cause),
        at: part::clock(now, row.queued_at),
        took: if row.state == "finished" { part::took(spent) } else { String::new() },
        changes: if into + out > 0 {
            format!("{} in · {} out", part::number(into), part::number(out))
        } else {
            "—".into()
        },
        note: part::cut(&note),
    }
}

fn wants(show: &str, row: &RunRow) -> bool {
    match show {
        "failed" => matches!(row.summary.result, Some(RunResult::Failed | RunResult::Partial | RunResult::Cancelled)),
        "changed" => row.summary.spokes.iter().any(|s| s.changes_in + s.changes_out > 0),
        "restore" => matches!(row.request.work, Work::Restore(_)),
        "upkeep" => matches!(row.request.work, Work::Upkeep(_)),
        _ => true,
    }
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let (mut runs, mut before, mut ended) = (vec![], wanted.before.map(RunId), false);
    for _ in 0..LOOKS {
        let page = state.store.runs(before, ROWS).await?;
        ended = page.len() < ROWS as usize;
        for row in &page {
            before = Some(row.run);
            if wants(&wanted.show, row) {
                runs.push(line(now, row));
            }
            if runs.len() >= ROWS as usize {
                ended = false;
                break;
            }
        }
        if ended || runs.len() >= ROWS as usize || wanted.show.is_empty() {
            break;
        }
    }
    let tab = |name: &str, key: &str| Tab {
        name: name.to_owned(),
        href: if key.is_empty() { "/runs".into() } else { format!("/runs?show={key}") },
        current: wanted.show == key,
    };
    let is_known = ["", "changed", "failed", "restore", "upkeep"].contains(&wanted.show.as_str());
    let more = if wanted.show.is_empty() || !is_known { String::new() } else { format!("&show={}", wanted.show) };
    let busy = !view.verdict.running.is_empty();
    let page = Page {
        frame: Frame::of(&state, Some(&who), "runs").with(&view).at(&[], "Runs").live("run", busy).api("/api/v1/runs"),
        can_sync: who.may(Action::Sync),
        tabs: vec![
            tab("All", ""),
            tab("With changes", "changed"),
            tab("Failed", "failed"),
            tab("Restores", "restore"),
            tab("Upkeep", "upkeep"),
        ],
        runs,
        next: before.filter(|_| !ended).map_or(String::new(), |before| format!("/runs?before={before}{more}")),
    };
    Ok(html(&page))
}
