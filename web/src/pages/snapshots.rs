//! `/snapshots`: what can be gone back to.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::snapshot::SnapshotInfo;
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::overview::held_sign;
use super::part::{self, Html, count, size};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const DAY_US: i64 = 86_400_000_000;
const ROWS: usize = 100;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/snapshots", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/snapshots.html")]
struct Page {
    frame: Frame,
    can_sync: bool,
    problem: String,
    total: usize,
    month: String,
    earlier: String,
    later: String,
    blanks: Vec<()>,
    days: Vec<Day>,
    day: String,
    places: Vec<Html>,
    rows: Vec<Row>,
    more: usize,
    facts: Vec<(&'static str, Html)>,
}

struct Day {
    number: u32,
    href: String,
    class: &'static str,
    current: bool,
    title: String,
}

struct Row {
    link: String,
    restore: String,
    at: Html,
    id: String,
    cause: Html,
    new: String,
    cells: Vec<Html>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    day: String,
    from: usize,
}

fn day_of(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_US)
}

fn date(day: i64) -> String {
    Timestamp(day.saturating_mul(DAY_US)).to_rfc3339().chars().take(10).collect()
}

/// The number of a date's day; none when it is no date.
fn parse(text: &str) -> Option<i64> {
    (text.len() == 10).then(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()).flatten().map(day_of)
}

/// All days of the month of a day.
fn month(day: i64) -> Vec<i64> {
    let text = date(day);
    let begin = text.get(8..10).and_then(|d| d.parse::<i64>().ok()).map_or(day, |d| day - d + 1);
    (begin..begin + 31).filter(|d| date(*d).get(..7) == text.get(..7)).collect()
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let (list, problem) = match state.snapshots().await {
        Ok(list) => (list, String::new()),
        Err(why) => (std::sync::Arc::default(), why),
    };
    let newest = list.last().map_or(now, |info| info.meta.at);
    let day = parse(&wanted.day).unwrap_or_else(|| day_of(newest));
    let in_month = month(day);
    let of_day = |d: i64| list.iter().filter(move |info| day_of(info.meta.at) == d);
    let places: Vec<String> =
        list.last().map_or_else(Vec::new, |i| i.destinations.iter().map(|d| d.name.to_string()).collect());
    let first = in_month.first().copied().unwrap_or(day);
    let last = in_month.last().copied().unwrap_or(day);
    let mut rows: Vec<&SnapshotInfo> = of_day(day).collect();
    rows.reverse();
    let total_of_day = rows.len();
    let text = date(day);
    let (year, number) =
        (text.get(..4).unwrap_or_default(), text.get(5..7).and_then(|m| m.parse::<usize>().ok()).unwrap_or(1));
    let page = Page {
        can_sync: who.may(Action::Sync),
        problem,
        total: list.len(),
        month: format!("{} {year}", MONTHS[(number - 1).min(11)]),
        earlier: if list.first().is_some_and(|i| day_of(i.meta.at) < first) {
            format!("/snapshots?day={}", date(first - 1))
        } else {
            String::new()
        },
        later: if day_of(newest) > last { format!("/snapshots?day={}", date(last + 1)) } else { String::new() },
        // Day 0 was a Thursday.
        blanks: vec![(); usize::try_from((first + 3).rem_euclid(7)).unwrap_or(0)],
        days: in_month
            .iter()
            .map(|d| {
                let taken: Vec<&SnapshotInfo> = of_day(*d).collect();
                let whole = |i: &&SnapshotInfo| i.destinations.iter().all(|h| h.state == "held");
                let class = match taken.len() {
                    0 => "n",
                    _ if !taken.iter().all(whole) => "w",
                    n if n > 10 => "l2",
                    _ => "l1",
                };
                Day {
                    number: date(*d).get(8..10).and_then(|t| t.parse().ok()).unwrap_or(0),
                    href: format!("/snapshots?day={}", date(*d)),
                    class,
                    current: *d == day,
                    title: format!("{}: {}", date(*d), count(taken.len() as u64, "snapshot", "snapshots")),
                }
            })
            .collect(),
        day: text,
        more: total_of_day.saturating_sub(wanted.from + ROWS),
        rows: rows
            .into_iter()
            .skip(wanted.from)
            .take(ROWS)
            .map(|info| Row {
                link: format!("/snapshots/{}", info.meta.id),
                restore: format!("/restore?snapshot={}", info.meta.id),
                at: part::clock(now, info.meta.at),
                id: part::short(info.meta.id.as_str()),
                cause: part::cut(&info.meta.cause),
                new: size(info.bytes.new),
                cells: places
                    .iter()
                    .map(|p| {
                        held_sign(
                            info.destinations.iter().find(|h| h.name.as_str() == p.as_str()).map(|h| h.state.as_str()),
                        )
                    })
                    .collect(),
            })
            .collect(),
        places: places.iter().map(|p| part::name(p)).collect(),
        facts: facts(&list, &view.verdict, now),
        frame: Frame::of(&state, Some(&who), "snapshots")
            .with(&view)
            .at(&[], "Snapshots")
            .live("snapshot,run", false)
            .api("/api/v1/snapshots"),
    };
    Ok(html(&page))
}

fn facts(
    list: &[SnapshotInfo],
    verdict: &cathedral_engine::query::Verdict,
    now: Timestamp,
) -> Vec<(&'static str, Html)> {
    let text = |t: String| askama::filters::Safe(part::esc(&t));
    let stored: u64 = list.iter().map(|i| i.bytes.stored).sum();
    let kept: u64 = list.iter().map(|i| i.bytes.logical).sum();
    let mut out = vec![
        ("Protected", text(list.last().map_or("nothing yet".into(), |i| size(i.bytes.logical)))),
        ("Kept history", text(format!("{}, {}", count(list.len() as u64, "snapshot", "snapshots"), size(kept)))),
        ("Stored", text(size(stored))),
    ];
    if let Some(ratio) = kept.checked_div(stored) {
        out.push(("Without copies", text(format!("{} : 1", part::number(ratio)))));
    }
    out.push(("Last read back", verdict.verified_at.map_or_else(|| text("never".into()), |at| part::ago(now, at))));
    out
}
