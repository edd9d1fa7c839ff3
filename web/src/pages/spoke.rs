//! `/spokes/{name}`: where one spoke stands, and why.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use cathedral_engine::query::{Attempt, Health, age};
use cathedral_model::access::Action;
use cathedral_model::time::Timestamp;

use super::part::{self, Html, capital, esc};
use super::runs::{RunLine, line};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const RUNS: usize = 20;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/spokes/{spoke}", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/spoke.html")]
struct Page {
    frame: Frame,
    name: String,
    icon: &'static str,
    state: Html,
    kind: String,
    role: Html,
    note: Html,
    note_class: &'static str,
    can_sync: bool,
    can_schedule: bool,
    sides: Vec<(&'static str, Html, Html)>,
    facts: Vec<(&'static str, Html)>,
    left_out: Vec<String>,
    conflicts: Vec<(i64, Html, Html)>,
    schedule: Option<Sched>,
    runs: Vec<RunLine>,
    spark: Html,
    snapshot: String,
}

struct Sched {
    name: String,
    words: String,
    next: Html,
    paused: String,
}

async fn show(State(state): State<Shared>, Who(who): Who, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = super::act::spoke(&state, &name)?;
    let view = state.view().await?;
    let (facts, now) = (&view.facts, view.facts.now);
    let missing = || Problem::not_found(format!("there is no spoke {found}"));
    let spoke = view.verdict.spokes.iter().find(|s| s.name == found).ok_or_else(missing)?;
    let declared = facts.ecosystem.spoke(&found).ok_or_else(missing)?;
    let (hub_end, spoke_end) = super::ecosystem::ends(declared);
    let attempt = |a: &Option<Attempt>| match a {
        Some(a) => askama::filters::Safe(format!(
            "{} in <a class=\"link\" href=\"/runs/{}\">run {}</a>, {}",
            esc(&a.result.replace('_', " ")),
            a.run,
            a.run,
            part::ago(now, a.at)
        )),
        None => askama::filters::Safe("never".into()),
    };
    let schedule = facts.schedules.iter().find(|s| s.schedule.name == format!("sync:{found}")).map(|s| Sched {
        name: part::encode(&s.schedule.name),
        words: cathedral_engine::schedule::in_words(&s.schedule.rule),
        next: s.next_due.map_or_else(part::none, |at| part::clock(now, at)),
        paused: s.pause.as_ref().filter(|p| p.until.is_none_or(|until: Timestamp| until > now)).map_or(
            String::new(),
            |p| {
                format!(
                    "{} by {}{}",
                    p.reason,
                    p.actor,
                    p.until.map_or(String::new(), |at| format!(", until {}", part::full(at)))
                )
            },
        ),
    });
    let history: Vec<_> = facts.runs.iter().map(|row| (now.ms_since(row.changed_at), &row.summary)).collect();
    let busy = spoke.health == Health::Running;
    let page = Page {
        frame: Frame::of(&state, Some(&who), "ecosystem")
            .with(&view)
            .at(&[("Ecosystem", "/ecosystem")], &name)
            .live("", busy)
            .api(format!("/api/v1/spokes/{found}")),
        icon: spoke.kind.as_str(),
        state: part::health(spoke.health, spoke.state),
        kind: format!("{} · {}", part::kind_word(spoke.kind), part::flow_word(spoke.data_sync)),
        role: part::name(&spoke.role),
        note: part::name(&capital(&spoke.note)),
        note_class: if spoke.note.is_empty() || spoke.note.starts_with("cathedral ") {
            ""
        } else if spoke.health.mark() == "bad" {
            "bad"
        } else {
            "warn"
        },
        can_sync: who.may(Action::Sync),
        can_schedule: who.may(Action::Schedule),
        sides: vec![
            ("Hub", part::name(&spoke.hub_position), part::cut(&hub_end)),
            ("Spoke", part::name(&spoke.spoke_position), part::cut(&spoke_end)),
        ],
        facts: vec![
            (
                "Last good look",
                spoke.good_at.map_or_else(|| askama::filters::Safe("never".into()), |at| part::ago(now, at)),
            ),
            ("Allowed", askama::filters::Safe(spoke.allowed_ms.map_or("no objective set".into(), age))),
            ("Last attempt", attempt(&spoke.last_attempt)),
            ("Last success", attempt(&spoke.last_success)),
            (
                "Newest snapshot",
                spoke.snapshot.as_ref().map_or_else(
                    || askama::filters::Safe("<span class=\"bad\">none</span>".into()),
                    |(id, at)| {
                        askama::filters::Safe(format!(
                            "<a class=\"link mono\" href=\"/snapshots/{id}\">{}</a>, {}",
                            part::short(id.as_str()),
                            part::ago(now, *at)
                        ))
                    },
                ),
            ),
            ("Conflict policy", askama::filters::Safe(esc(&format!("{:?}", declared.policy).to_lowercase()))),
        ],
        left_out: spoke.left_out.iter().take(50).cloned().collect(),
        conflicts: facts
            .conflicts
            .iter()
            .filter(|c| c.spoke == found)
            .take(50)
            .map(|c| (c.id.0, part::cut(&c.draft.place), part::since(now, c.opened_at)))
            .collect(),
        schedule,
        runs: facts
            .runs
            .iter()
            .filter(|row| row.summary.spokes.iter().any(|s| s.name == found))
            .take(RUNS)
            .map(|row| line(now, row))
            .collect(),
        spark: svg::spark(&svg::changes(&history, &found), spoke.health.mark()),
        snapshot: spoke.snapshot.as_ref().map(|(id, _)| id.to_string()).unwrap_or_default(),
        name,
    };
    Ok(html(&page))
}
