//! `/conflicts`: the inbox.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::part::{self, Html};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const ROWS: usize = 100;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/conflicts", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/conflicts.html")]
struct Page {
    frame: Frame,
    open: Vec<Item>,
    open_count: usize,
    settled: Vec<Item>,
    settled_count: usize,
    next: String,
    spoke: String,
}

/// One conflict in a list.
pub(crate) struct Item {
    pub link: String,
    pub current: bool,
    pub class: &'static str,
    pub spoke: String,
    pub place: Html,
    pub words: String,
    pub at: Html,
}

/// What is to be said of a conflict in one line.
pub(crate) fn words(record: &ConflictRecord) -> String {
    let by = record.actor.as_deref().unwrap_or("somebody");
    match record.state {
        ConflictState::Open => match record.draft.fields.len() {
            0 => record.draft.conflict_kind.replace('_', " "),
            1 => "1 field differs".into(),
            n => format!("{n} fields differ"),
        },
        ConflictState::Answered => format!("answered by {by}; the next run carries it out"),
        ConflictState::Settled => format!("{by}: {}", answer_words(record)),
        ConflictState::AgreedOutside => "the sides became equal".into(),
    }
}

pub(crate) fn answer_words(record: &ConflictRecord) -> String {
    use cathedral_model::plan::{Answer, Choice};
    match &record.answer {
        Some(Answer::Take(Choice::Hub)) => "took the hub's".into(),
        Some(Answer::Take(Choice::Spoke)) => "took the spoke's".into(),
        Some(Answer::Take(Choice::Base)) => "went back to what was before".into(),
        Some(Answer::Take(Choice::Suggested)) => "took the suggestion".into(),
        Some(Answer::Fields(fields)) => {
            format!("chose {} by hand", part::count(fields.len() as u64, "field", "fields"))
        }
        Some(Answer::Content(_)) => "wrote a result by hand".into(),
        Some(Answer::Undo) => "undid the answer".into(),
        Some(Answer::With(other)) => format!("decided it together with conflict {other}"),
        None => "settled".into(),
    }
}

pub(crate) fn item(now: Timestamp, record: &ConflictRecord, current: Option<i64>) -> Item {
    let class = match record.state {
        ConflictState::Open => "warn",
        ConflictState::Answered => "run",
        _ => "ok",
    };
    Item {
        link: format!("/conflicts/{}", record.id),
        current: current == Some(record.id.0),
        class,
        spoke: record.spoke.to_string(),
        place: part::cut(&record.draft.place),
        words: words(record),
        at: if record.state == ConflictState::Open {
            part::since(now, record.opened_at)
        } else {
            part::clock(now, record.changed_at)
        },
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    spoke: String,
    before: Option<i64>,
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let spoke = if wanted.spoke.is_empty() { None } else { Some(super::act::spoke(&state, &wanted.spoke)?) };
    let all = state.store.conflicts(spoke.as_ref(), &[]).await?;
    let is_open = |r: &&ConflictRecord| matches!(r.state, ConflictState::Open | ConflictState::Answered);
    let before = wanted.before.unwrap_or(i64::MAX);
    let settled: Vec<&ConflictRecord> =
        all.iter().rev().filter(|r| !is_open(r) && r.id.0 < before).take(ROWS).collect();
    let open: Vec<&ConflictRecord> = all.iter().filter(is_open).collect();
    let page = Page {
        frame: Frame::of(&state, Some(&who), "conflicts")
            .with(&view)
            .at(&[], "Conflicts")
            .live("conflict,run", false)
            .api("/api/v1/conflicts?all=true"),
        open_count: open.len(),
        open: open.into_iter().take(2 * ROWS).map(|r| item(now, r, None)).collect(),
        settled_count: all.iter().filter(|r| !is_open(r)).count(),
        next: settled
            .last()
            .filter(|_| settled.len() >= ROWS)
            .map_or(String::new(), |r| format!("/conflicts?spoke={}&before={}", part::encode(&wanted.spoke), r.id)),
        settled: settled.into_iter().map(|r| item(now, r, None)).collect(),
        spoke: wanted.spoke,
    };
    Ok(html(&page))
}
