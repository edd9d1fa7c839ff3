//! `/runs/{n}`: one run, while it goes on and afterwards.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::ids::RunId;
use cathedral_model::journal::{Journaled, Saga as _};
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{Phase, SyncEvent, SyncRun, Work};
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::part::{self, Html, capital, count, esc, took};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

mod log;

/// Lines of the log on one page.
const LINES: usize = 500;
/// Lanes of the timeline.
const LANES: usize = 60;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/runs/{run}", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/run.html")]
struct Page {
    frame: Frame,
    /// Only syncs have phases of their own for each spoke.
    has_timeline: bool,
    number: i64,
    state: Html,
    work: String,
    cause: Html,
    when: Html,
    phases: Vec<PhaseCell>,
    expected: String,
    axis: Vec<String>,
    lanes: Vec<Lane>,
    more_lanes: usize,
    facts: Vec<(&'static str, Html)>,
    error: String,
    note: String,
    spokes: Vec<SpokeLine>,
    lines: Vec<log::Line>,
    is_following: bool,
    first: usize,
    total: usize,
    before: String,
    after: String,
    warnings: usize,
    only_warnings: bool,
    restored: Vec<RestoredLine>,
}

struct PhaseCell {
    name: String,
    class: &'static str,
    todo: bool,
    current: bool,
    took: String,
    words: String,
    /// How far it is; none while nobody can say.
    percent: Option<u64>,
}

struct Lane {
    name: Html,
    picture: Html,
    took: String,
}

struct SpokeLine {
    link: String,
    name: String,
    kind: &'static str,
    result: Html,
    changes_in: String,
    changes_out: String,
    conflicts: u64,
    note: String,
    warnings: Vec<String>,
}

struct RestoredLine {
    name: String,
    path: Html,
    files: String,
    bytes: String,
    proven: Html,
    kept: Html,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    /// The first line of the log to show, from 1.
    from: usize,
    only: String,
}

fn fold(journal: &[Journaled]) -> SyncRun {
    let mut run = SyncRun::default();
    for record in journal {
        let Ok(event) = serde_json::from_value::<SyncEvent>(record.event.clone()) else { break };
        match run.clone().apply(&event) {
            Ok(next) => run = next,
            Err(_) => break,
        }
    }
    run
}

async fn show(
    State(state): State<Shared>,
    Who(who): Who,
    Path(number): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let row = state.store.run(RunId(number)).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no run {number}")))?;
    let journal = state.store.journal(RunId(number)).await?;
    let view = state.view().await?;
    let now = state.now();
    let is_over = row.state == "finished";
    let sync = matches!(row.request.work, Work::Sync(_)).then(|| fold(&journal));
    let began = sync.as_ref().and_then(|run| run.times.values().map(|(from, _)| *from).min());
    let begun = journal.first().map_or(row.queued_at, |record| began.map_or(record.at, |began| began.min(record.at)));
    let last = if is_over { journal.last().map_or(row.changed_at, |record| record.at) } else { now };
    let usual = view.verdict.running.iter().find(|r| r.run == row.run).and_then(|r| r.usual_ms);

    let all = log::lines(&row, &journal);
    let warnings = all.iter().filter(|line| !line.class.is_empty()).count();
    let only_warnings = wanted.only == "warnings";
    let all: Vec<log::Line> = all.into_iter().filter(|line| !only_warnings || !line.class.is_empty()).collect();
    let total = all.len();
    let first = wanted.from.clamp(1, total.max(1));
    let keep = if only_warnings { "&only=warnings" } else { "" };
    let page_at = |from: usize| format!("/runs/{number}?from={from}{keep}#log");

    let span = last.ms_since(begun).max(1);
    let lanes = sync.as_ref().map_or_else(Vec::new, |run| lanes(run, &journal, begun, span));
    let page = Page {
        frame: Frame::of(&state, Some(&who), "runs")
            .with(&view)
            .at(&[("Runs", "/runs")], &number.to_string())
            .live(format!("run:{number}"), !is_over)
            .api(format!("/api/v1/runs/{number}")),
        number,
        has_timeline: matches!(row.request.work, Work::Sync(_)),
        state: part::result(&super::runs::word(&row)),
        work: part::work_word(&row.request.work),
        cause: part::name(&row.request.cause),
        when: if is_over { part::ago(now, row.changed_at) } else { part::since(now, row.queued_at) },
        phases: phases(&row, sync.as_ref(), is_over),
        expected: match usual {
            Some(usual) => format!("such runs took {} before", took(usual)),
            None if is_over => format!("{} in all", took(span)),
            None => String::new(),
        },
        axis: (0..=4_u64).map(|i| took(span * i / 4)).collect(),
        more_lanes: lanes.len().saturating_sub(LANES),
        lanes: lanes.into_iter().take(LANES).collect(),
        facts: facts(&row, now),
        error: row.summary.error.clone().unwrap_or_default(),
        note: capital(&row.summary.note),
        spokes: row
            .summary
            .spokes
            .iter()
            .map(|s| SpokeLine {
                link: format!("/spokes/{}", part::encode(s.name.as_str())),
                name: s.name.to_string(),
                kind: s.kind.as_str(),
                result: part::result(&s.result),
                changes_in: part::number(s.changes_in),
                changes_out: part::number(s.changes_out),
                conflicts: s.conflicts,
                note: s.note.clone(),
                warnings: s.warnings.iter().take(20).cloned().collect(),
            })
            .collect(),
        restored: row
            .summary
            .restored
            .iter()
            .map(|r| RestoredLine {
                name: if r.side.as_str() == "hub" { r.spoke.to_string() } else { format!("{}@spoke", r.spoke) },
                path: part::cut(&r.path),
                files: part::number(r.files),
                bytes: part::size(r.bytes),
                proven: if r.verified { part::mark("ok", "Proven equal") } else { part::mark("warn", "Not proven") },
                kept: part::cut(r.kept.as_deref().unwrap_or("nothing stood there")),
            })
            .collect(),
        is_following: !is_over,
        lines: all.into_iter().skip(first - 1).take(LINES).collect(),
        before: if first > 1 { page_at(first.saturating_sub(LINES).max(1)) } else { String::new() },
        after: if first - 1 + LINES < total { page_at(first + LINES) } else { String::new() },
        first,
        total,
        warnings,
        only_warnings,
    };
    Ok(html(&page))
}

fn phases(row: &RunRow, sync: Option<&SyncRun>, is_over: bool) -> Vec<PhaseCell> {
    let known = &row.summary.phases;
    let names: Vec<String> = match sync {
        Some(_) => Phase::ALL.iter().map(|p| p.as_str().to_owned()).collect(),
        None if known.is_empty() => vec!["work".into()],
        None => known.iter().map(|p| p.name.clone()).collect(),
    };
    let reached = |name: &str| known.iter().find(|p| p.name == name).filter(|p| p.result != "skipped");
    let current = if is_over { None } else { names.iter().rposition(|name| reached(name).is_some()).or(Some(0)) };
    names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let found = reached(name);
            let is_current = current == Some(at);
            let class = match found {
                _ if is_current => "run",
                Some(p) => part::result_class(&p.result),
                None => "idle",
            };
            let words = match (name.as_str(), sync) {
                ("validate", Some(run)) => count(run.spokes.len() as u64, "spoke looked at", "spokes looked at"),
                ("snapshot", Some(run)) => snapshot_words(run),
                ("sync", Some(run)) => {
                    let done = run.spokes.values().filter(|s| s.applied.is_some()).count();
                    let due = run.spokes.values().filter(|s| s.planned.is_some()).count();
                    if due == 0 { "no change to carry".into() } else { format!("{done} of {due} spokes changed") }
                }
                ("verify", Some(run)) => count(
                    run.spokes.values().filter(|s| s.verified.is_some()).count() as u64,
                    "spoke read back",
                    "spokes read back",
                ),
                ("notify", Some(run)) => {
                    run.leaf.map_or_else(|| "not yet".into(), |leaf| format!("leaf {leaf} of the log"))
                }
                _ => found.map_or_else(String::new, |p| p.result.clone()),
            };
            let skipped = found.is_none() && is_over;
            PhaseCell {
                name: format!("{}. {}", at + 1, capital(name)),
                class,
                todo: found.is_none() && !is_current,
                current: is_current,
                took: found.filter(|p| p.ms > 0).map(|p| took(p.ms)).unwrap_or_default(),
                words: if skipped { "not needed".into() } else { words },
                percent: match (is_current, name.as_str(), sync) {
                    (false, ..) => Some(if found.is_some() { 100 } else { 0 }),
                    (true, "sync", Some(run)) => {
                        let due = run.spokes.values().filter(|s| s.planned.is_some()).count() as u64;
                        let done = run.spokes.values().filter(|s| s.applied.is_some()).count() as u64;
                        (done * 100).checked_div(due)
                    }
                    (true, ..) => None,
                },
            }
        })
        .collect()
}

fn snapshot_words(run: &SyncRun) -> String {
    use cathedral_model::run::SnapshotProgress as S;
    match &run.snapshot {
        S::None => "nothing new to keep".into(),
        S::Begun(id) => format!("{} is being taken", part::short(id.as_str())),
        S::Taken(taken) | S::Sealed(taken, _) => {
            let held = taken.destinations.iter().filter(|d| d.state == "held").count();
            format!(
                "{} new of {}, in {held} of {} places",
                part::size(taken.bytes.new),
                part::size(taken.bytes.logical),
                taken.destinations.len()
            )
        }
        S::Failed(fault) => fault.message.clone(),
    }
}

/// A lane for each phase before the spokes, and one for each spoke that something happened to.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn lanes(run: &SyncRun, journal: &[Journaled], begun: Timestamp, span: u64) -> Vec<Lane> {
    let percent = |at: Timestamp| at.ms_since(begun) as f64 * 100.0 / span as f64;
    let bar = |from: Timestamp, to: Timestamp, class| svg::lane(&[(percent(from), percent(to) - percent(from), class)]);
    let mut out = vec![];
    for phase in [Phase::Validate, Phase::Snapshot] {
        if let Some((from, to)) = run.times.get(&phase) {
            out.push(Lane {
                name: part::name(phase.as_str()),
                picture: bar(*from, *to, "ok"),
                took: took(to.ms_since(*from)),
            });
        }
    }
    let synced_from = run.times.get(&Phase::Sync).map(|(from, _)| *from);
    for (name, progress) in &run.spokes {
        let own: Vec<Timestamp> = journal
            .iter()
            .filter(|record| record.event.get("spoke").and_then(|v| v.as_str()) == Some(name.as_str()))
            .map(|record| record.at)
            .collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let from = synced_from.map_or(*first, |from| from.min(*first));
        let class = if progress.failed.is_some() {
            "bad"
        } else if progress.conflicts.unwrap_or(0) > 0 {
            "warn"
        } else if progress.applied.is_some() && progress.verified.is_none() && !run.announced {
            "run"
        } else {
            "ok"
        };
        out.push(Lane {
            name: part::name(name.as_str()),
            picture: bar(from, *last, class),
            took: took(last.ms_since(from)),
        });
    }
    out
}

fn facts(row: &RunRow, now: Timestamp) -> Vec<(&'static str, Html)> {
    let text = |text: String| askama::filters::Safe(esc(&text));
    let mut out = vec![
        ("Asked for", part::clock(now, row.queued_at)),
        ("Urgency", text(capital(&format!("{:?}", row.request.priority).to_lowercase()))),
    ];
    if let Some(id) = &row.summary.snapshot {
        out.push((
            "Snapshot",
            askama::filters::Safe(format!(
                "<a class=\"link mono\" href=\"/snapshots/{id}\">{}</a>",
                part::short(id.as_str())
            )),
        ));
    }
    if let Some(leaf) = row.summary.leaf {
        out.push((
            "Log leaf",
            askama::filters::Safe(format!("<a class=\"link\" href=\"/integrity/leaf/{leaf}\">{leaf}</a>")),
        ));
    }
    let conflicts: u64 = row.summary.spokes.iter().map(|s| s.conflicts).sum();
    out.push((
        "Conflicts",
        if conflicts > 0 {
            askama::filters::Safe(format!("<a class=\"link warn\" href=\"/conflicts\">{conflicts}</a>"))
        } else {
            text("0".into())
        },
    ));
    if row.state == "finished" {
        out.push(("Exit code", text(row.summary.code.to_string())));
    }
    out
}
