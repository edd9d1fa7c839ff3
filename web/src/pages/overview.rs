//! `/`: is everything safe, what needs somebody, what runs now.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_engine::query::{Health, SpokeView, Verdict, age};
use cathedral_model::access::Action;
use cathedral_model::event::EventFilter;
use cathedral_model::run::RunSummary;
use cathedral_model::time::Timestamp;
use serde::Deserialize;

use super::part::{self, Html, capital, count, esc};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;
use crate::view::View;

/// Rows of the table of spokes; the rest is a page away.
pub(crate) const ROWS: usize = 200;
const NEEDS: usize = 8;
const EVENTS: u32 = 7;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct Page {
    frame: Frame,
    can_sync: bool,
    sentence: String,
    detail: String,
    is_stale: bool,
    seal: Html,
    facts: Vec<Fact>,
    pills: Vec<Pill>,
    map: Html,
    needs: Vec<NeedRow>,
    more_needs: usize,
    running: Vec<Running>,
    upcoming: Vec<Upcoming>,
    strip: Html,
    strip_words: String,
    spokes: Vec<SpokeRow>,
    tabs: Vec<Tab>,
    more_spokes: usize,
    columns: Vec<Column>,
    destinations: Vec<Destination>,
    vault_problem: String,
    events: Vec<EventRow>,
}

struct Fact {
    label: &'static str,
    short: &'static str,
    value: Html,
    of: String,
    sub: Html,
}

pub(crate) struct Pill {
    pub class: &'static str,
    pub words: String,
}

struct NeedRow {
    class: &'static str,
    icon: &'static str,
    what: Html,
    why: String,
    link: String,
    command: String,
    since: Html,
}

struct Running {
    link: String,
    title: String,
    cause: Html,
    state: Html,
    since: Html,
    phase: String,
    /// 0 to 100; none when nobody knows how long it takes.
    percent: Option<u64>,
    left: String,
}

struct Upcoming {
    title: Html,
    at: Html,
}

/// A row of the table of spokes, here and on other pages.
pub(crate) struct SpokeRow {
    pub link: String,
    pub name: String,
    pub icon: &'static str,
    pub state: Html,
    pub note: String,
    pub lag: Html,
    pub spark: Html,
    pub kind: String,
    pub position: Html,
    pub last: Html,
    pub size: String,
}

pub(crate) struct Tab {
    pub name: String,
    pub href: String,
    pub current: bool,
}

struct Column {
    link: String,
    at: Html,
}

struct Destination {
    name: Html,
    cells: Vec<Html>,
    note: String,
    class: &'static str,
}

pub(crate) struct EventRow {
    pub class: &'static str,
    pub words: Html,
    pub link: String,
    pub at: Html,
}

#[derive(Deserialize, Default)]
struct Wanted {
    #[serde(default)]
    show: String,
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let events = state.store.events_before(None, &EventFilter::default(), EVENTS).await?;
    let (facts, verdict, now) = (&view.facts, &view.verdict, view.facts.now);
    let attention = |s: &&SpokeView| s.health > Health::Paused;
    let wants = |s: &&SpokeView| match wanted.show.as_str() {
        "attention" => s.health > Health::Paused,
        "git" => s.kind.as_str() == "git",
        "data" => s.kind.as_str() != "git",
        _ => true,
    };
    let total = |keep: &dyn Fn(&&SpokeView) -> bool| verdict.spokes.iter().filter(|s| keep(s)).count();
    let tab = |name: &str, key: &str, n: usize| Tab {
        name: format!("{name} {n}"),
        href: if key.is_empty() { "/#spokes".into() } else { format!("/?show={key}#spokes") },
        current: wanted.show == key,
    };
    let git = total(&|s| s.kind.as_str() == "git");
    let tabs = vec![
        tab("All", "", verdict.spokes.len()),
        tab("Attention", "attention", total(&attention)),
        tab("Git", "git", git),
        tab("Data", "data", verdict.spokes.len() - git),
    ];
    let chosen: Vec<&SpokeView> = verdict.spokes.iter().filter(wants).collect();
    let busy = !verdict.running.is_empty();
    let frame =
        Frame::of(&state, Some(&who), "overview").with(&view).at(&[], "Overview").live("", busy).api("/api/v1/status");
    let hub = frame.hub.clone();
    let page = Page {
        can_sync: who.may(Action::Sync),
        sentence: verdict.sentence.clone(),
        detail: verdict.detail.clone(),
        is_stale: facts.watching.checked_at.is_some_and(|at| now.ms_since(at) > 15 * 60_000),
        seal: svg::seal(verdict),
        facts: facts_of(&view),
        pills: pills(verdict),
        map: svg::map(verdict, &hub, None),
        needs: verdict
            .needs
            .iter()
            .take(NEEDS)
            .map(|need| NeedRow {
                class: need.health.mark(),
                icon: if need.health == Health::Conflict {
                    "conflict"
                } else if need.health.mark() == "bad" {
                    "m-bad"
                } else {
                    "m-warn"
                },
                what: askama::filters::Safe(format!("<bdi>{}</bdi>", esc(&need.what))),
                why: capital(&need.why),
                link: need.link.clone(),
                command: need.command.clone(),
                since: need.since.map_or_else(part::none, |at| part::since(now, at)),
            })
            .collect(),
        more_needs: verdict.needs.len().saturating_sub(NEEDS),
        running: running(&view),
        upcoming: upcoming(&view),
        strip: svg::days(&verdict.days),
        strip_words: strip_words(verdict),
        spokes: rows(&view, &chosen, ROWS),
        tabs,
        more_spokes: chosen.len().saturating_sub(ROWS),
        columns: columns(&view),
        destinations: destinations(&view),
        vault_problem: facts.snapshots.as_ref().err().cloned().unwrap_or_default(),
        events: events.iter().map(|event| event_row(now, event)).collect(),
        frame,
    };
    Ok(html(&page))
}

pub(crate) fn event_row(now: Timestamp, event: &cathedral_model::event::Event) -> EventRow {
    let (words, class, link) = part::event_words(event);
    EventRow { class, words: part::cut(&words), link, at: part::clock(now, event.at) }
}

pub(crate) fn pills(verdict: &Verdict) -> Vec<Pill> {
    let groups: [(&str, &str, &[Health]); 6] = [
        ("ok", "in sync", &[Health::Ok]),
        ("run", "running", &[Health::Running]),
        ("warn", "with conflicts", &[Health::Conflict]),
        ("warn", "to look at", &[Health::Attention]),
        ("bad", "failing or late", &[Health::Bad, Health::Unknown]),
        ("", "paused", &[Health::Paused]),
    ];
    let pill = |(class, word, of): (&'static str, &str, &[Health])| {
        let n = verdict.spokes.iter().filter(|s| of.contains(&s.health)).count();
        (n > 0).then(|| Pill { class, words: format!("{n} {word}") })
    };
    groups.into_iter().filter_map(pill).collect()
}

fn facts_of(view: &View) -> Vec<Fact> {
    let (facts, verdict, now) = (&view.facts, &view.verdict, view.facts.now);
    let text = |text: &str| askama::filters::Safe(esc(text));
    let rpo = Fact {
        label: "Could lose at most",
        short: "RPO",
        value: verdict.rpo.as_ref().map_or_else(|| text("not known"), |(_, lag)| text(&age(*lag))),
        of: verdict.objectives.rpo_ms.map_or("no objective set".into(), |of| format!("of {}", age(of))),
        sub: match &verdict.rpo {
            Some((name, _)) => text(&format!("{name} is the furthest behind")),
            None => text("nothing has been synced yet"),
        },
    };
    let newest = Fact {
        label: "Newest snapshot",
        short: "",
        value: verdict.newest_snapshot.as_ref().map_or_else(|| text("none"), |(_, at)| part::ago(now, *at)),
        of: String::new(),
        sub: match (&verdict.newest_snapshot, verdict.not_in_a_snapshot) {
            (_, Some(run)) => askama::filters::Safe(format!(
                "<span class=\"warn\">not in it yet: <a class=\"link\" href=\"/runs/{run}\">run {run}</a></span>"
            )),
            (Some((id, _)), None) => askama::filters::Safe(format!(
                "<a class=\"link mono\" href=\"/snapshots/{id}\">{}</a>",
                part::short(id.as_str())
            )),
            (None, None) => text("the first sync takes one"),
        },
    };
    let verified = Fact {
        label: "Last read back",
        short: "",
        value: verdict.verified_at.map_or_else(|| text("never"), |at| part::ago(now, at)),
        of: verdict.objectives.verify_every_ms.map_or(String::new(), |every| format!("every {}", age(every))),
        sub: match &verdict.verify_failed {
            Some((run, at, _)) => askama::filters::Safe(format!(
                "<span class=\"bad\">failed</span> in <a class=\"link\" href=\"/runs/{run}\">run {run}</a>, {} ago",
                age(now.ms_since(*at))
            )),
            None if verdict.verified_at.is_some() => {
                askama::filters::Safe("<span class=\"ok\">no fault found</span>".into())
            }
            None => text("a copy counts once it was read back"),
        },
    };
    let sealed = Fact {
        label: "Last sealed",
        short: "",
        value: verdict.sealed.map_or_else(|| text("never"), |(_, at)| part::ago(now, at)),
        of: String::new(),
        sub: verdict.sealed.map_or_else(
            || text("the log is empty"),
            |(leaf, _)| {
                askama::filters::Safe(format!(
                    "<a class=\"link\" href=\"/integrity/leaf/{leaf}\">leaf {leaf} of the log</a>"
                ))
            },
        ),
    };
    let held = verdict.destinations.iter().filter(|d| d.health == Health::Ok).count();
    let missing: Vec<&str> =
        verdict.destinations.iter().filter(|d| d.health != Health::Ok).map(|d| d.name.as_str()).collect();
    // A place that is in order holds nothing as long as there is nothing to hold.
    let is_empty = facts.snapshots.as_ref().is_ok_and(|list| list.is_empty());
    let copies = Fact {
        label: "Places with the newest",
        short: "",
        value: if facts.snapshots.is_err() {
            text("not known")
        } else {
            text(&if is_empty { 0 } else { held }.to_string())
        },
        of: format!("of {}", verdict.destinations.len()),
        sub: if is_empty {
            text("no snapshot yet")
        } else if missing.is_empty() {
            text("each holds a whole copy")
        } else {
            askama::filters::Safe(format!("<span class=\"warn\">missing: {}</span>", esc(&missing.join(", "))))
        },
    };
    vec![rpo, newest, verified, sealed, copies]
}

fn running(view: &View) -> Vec<Running> {
    let now = view.facts.now;
    let row = |r: &cathedral_engine::query::RunningView| {
        let work = view.facts.runs.iter().find(|row| row.run == r.run).map(|row| part::work_word(&row.request.work));
        let spent = now.ms_since(r.since);
        let percent = r.usual_ms.filter(|_| !r.is_waiting).map(|usual| (spent * 100 / usual.max(1)).min(97));
        let left = match r.usual_ms {
            _ if r.is_waiting => "waits for its turn".to_owned(),
            Some(usual) if usual > spent => format!("about {} left", part::took(usual - spent)),
            Some(usual) => format!("longer than usual ({})", part::took(usual)),
            None => "no such run before".to_owned(),
        };
        Running {
            link: format!("/runs/{}", r.run),
            title: work.unwrap_or_else(|| format!("Run {}", r.run)),
            cause: part::cut(&r.cause),
            state: if r.is_waiting { part::mark("idle", "Waiting") } else { part::mark("run", "Running") },
            since: part::since(now, r.since),
            phase: r.phase.clone(),
            percent,
            left,
        }
    };
    view.verdict.running.iter().take(5).map(row).collect()
}

fn upcoming(view: &View) -> Vec<Upcoming> {
    let mut due: Vec<_> = view
        .facts
        .schedules
        .iter()
        .filter(|s| s.pause.is_none())
        .filter_map(|s| Some((s.next_due?, &s.schedule.title)))
        .collect();
    due.sort();
    due.into_iter()
        .take(3)
        .map(|(at, title)| Upcoming { title: part::name(title), at: part::clock(view.facts.now, at) })
        .collect()
}

fn strip_words(verdict: &Verdict) -> String {
    let (runs, failed) = verdict.days.iter().fold((0_u64, 0_u64), |(r, f), d| (r + u64::from(d.1), f + u64::from(d.2)));
    if runs == 0 {
        return "no run yet".into();
    }
    let failed = if failed == 0 { "none failed".to_owned() } else { format!("{} failed", part::number(failed)) };
    format!("{}, {failed}", count(runs, "run", "runs"))
}

/// Rows of the table of spokes.
pub(crate) fn rows(view: &View, spokes: &[&SpokeView], most: usize) -> Vec<SpokeRow> {
    let now = view.facts.now;
    let day: Vec<(u64, &RunSummary)> = view
        .facts
        .runs
        .iter()
        .map(|row| (now.ms_since(row.changed_at), &row.summary))
        .filter(|(age, _)| *age < 86_400_000)
        .collect();
    let sizes = view.facts.newest();
    spokes
        .iter()
        .take(most)
        .map(|s| {
            let word = match s.conflicts.len() {
                0 => capital(s.state),
                _ if s.health != Health::Conflict => capital(s.state),
                n => count(n as u64, "conflict", "conflicts"),
            };
            let bytes = sizes
                .map(|info| info.parts.iter().filter(|p| p.key.spoke == s.name).map(|p| p.bytes).max().unwrap_or(0));
            let position = if s.spoke_position.is_empty() { &s.hub_position } else { &s.spoke_position };
            SpokeRow {
                link: format!("/spokes/{}", part::encode(s.name.as_str())),
                name: s.name.to_string(),
                icon: s.kind.as_str(),
                state: part::mark(s.health.mark(), &word),
                note: s.note.chars().take(300).collect(),
                lag: s.lag_ms.map_or_else(
                    || askama::filters::Safe("—".into()),
                    |lag| {
                        askama::filters::Safe(format!(
                            "{}{}",
                            age(lag),
                            s.allowed_ms
                                .map_or(String::new(), |of| format!(" <span class=\"faint\">of {}</span>", age(of)))
                        ))
                    },
                ),
                spark: svg::spark(&svg::changes(&day, &s.name), s.health.mark()),
                kind: format!("{} · {}", part::kind_word(s.kind), part::flow_word(s.data_sync)),
                position: part::name(position),
                last: s.last_success.as_ref().map_or_else(
                    || askama::filters::Safe("never".into()),
                    |a| askama::filters::Safe(format!("<a href=\"/runs/{}\">{}</a>", a.run, part::since(now, a.at))),
                ),
                size: bytes.map_or("—".into(), part::size),
            }
        })
        .collect()
}

/// The newest snapshots as columns of the matrix.
fn columns(view: &View) -> Vec<Column> {
    let Ok(list) = &view.facts.snapshots else { return vec![] };
    let column = |info: &cathedral_model::snapshot::SnapshotInfo| Column {
        link: format!("/snapshots/{}", info.meta.id),
        at: part::clock(view.facts.now, info.meta.at),
    };
    list.iter().rev().take(3).map(column).collect()
}

/// How one destination holds a snapshot, as a sign.
pub(crate) fn held_sign(state: Option<&str>) -> Html {
    match state {
        Some("held") => part::sign("ok", "stored"),
        Some("lagging") => part::sign("warn", "being copied"),
        Some(other) => part::sign("bad", other),
        None => part::sign("idle", "not meant for this place"),
    }
}

fn destinations(view: &View) -> Vec<Destination> {
    let Ok(list) = &view.facts.snapshots else { return vec![] };
    let recent: Vec<_> = list.iter().rev().take(3).collect();
    let row = |d: &cathedral_engine::query::DestinationView| Destination {
        name: part::name(&d.name),
        cells: recent
            .iter()
            .map(|info| {
                held_sign(info.destinations.iter().find(|h| h.name.as_str() == d.name).map(|h| h.state.as_str()))
            })
            .collect(),
        note: match d.missing + d.damaged {
            0 => format!("{} of {}", part::number(d.held), part::number(d.of)),
            _ => format!("{} of {}, {}", part::number(d.held), part::number(d.of), d.state),
        },
        class: if d.health == Health::Ok { "muted" } else { "bad" },
    };
    view.verdict.destinations.iter().map(row).collect()
}
