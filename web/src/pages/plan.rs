//! `/plans/{id}`: what a sync would do. A plan is made by a look at both sides; nothing is written.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use cathedral_engine::Preview;
use cathedral_model::access::Action;
use cathedral_model::ids::{Digest, SpokeName};
use cathedral_model::plan::SpokePlan;
use cathedral_model::run::{SyncRequest, Work};

use super::act::{Fields, field, file};
use super::part::{self, Html, count};
use super::{Frame, html};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

/// Changes of one spoke that are listed.
const SHOWN: usize = 200;

pub(crate) fn routes(routes: Routes) -> Routes {
    let sync = Access::Needs(Action::Sync);
    routes.post("/plans", sync, make).get("/plans/{plan}", Access::Needs(Action::Read), show).post(
        "/plans/{plan}/run",
        sync,
        carry_out,
    )
}

#[derive(Template)]
#[template(path = "pages/plan.html")]
struct Page {
    frame: Frame,
    id: String,
    short: String,
    is_current: bool,
    can_sync: bool,
    changes: usize,
    conflicts: usize,
    has_guards: bool,
    spokes: Vec<SpokeCard>,
    quiet: Vec<String>,
}

struct SpokeCard {
    name: String,
    icon: &'static str,
    words: String,
    error: String,
    warnings: Vec<String>,
    guards: Vec<(String, String)>,
    actions: Vec<Row>,
    more: usize,
    conflicts: Vec<(String, Html, String)>,
}

struct Row {
    at: &'static str,
    action: String,
    class: &'static str,
    target: Html,
    from: Html,
    to: Html,
    why: Html,
}

fn ids(previews: &[Preview]) -> Result<BTreeMap<SpokeName, Digest>, Problem> {
    let mut ids = BTreeMap::new();
    for preview in previews {
        if let Some(plan) = &preview.plan {
            let (id, _) = plan.sealed().map_err(|error| Problem::bad_request("plan", error.to_string()))?;
            ids.insert(preview.spoke.name.clone(), id);
        }
    }
    Ok(ids)
}

/// The text of a plan as it is saved, and its id: the same as the command line's.
fn sealed(ids: &BTreeMap<SpokeName, Digest>) -> Result<(Digest, String), Problem> {
    let text = serde_json::to_string(ids).map_err(|error| Problem::bad_request("plan", error.to_string()))?;
    Ok((Digest::of(text.as_bytes()), text))
}

async fn make(State(state): State<Shared>, Form(fields): Form<Fields>) -> Result<Response, Problem> {
    let mut names = vec![];
    let name = field(&fields, "spoke");
    if !name.is_empty() {
        names.push(super::act::spoke(&state, name)?);
    }
    let previews = state.engine().preview(&names, None).await?;
    let (id, text) = sealed(&ids(&previews)?)?;
    state.store.save_plan(&id, &text, state.now()).await?;
    let only = names.first().map_or(String::new(), |name| format!("?spoke={name}"));
    Ok(see(&format!("/plans/{id}{only}")))
}

async fn saved(state: &Shared, prefix: &str) -> Result<(Digest, BTreeMap<SpokeName, Digest>), Problem> {
    let none =
        || Problem::not_found("there is no such plan").hint("\"plan now\" on a spoke or on the page of runs makes one");
    if !(6..=64).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(none());
    }
    let (id, text) = state.store.plan(&prefix.to_ascii_lowercase()).await?.ok_or_else(none)?;
    Ok((id, serde_json::from_str(&text).map_err(|_| none())?))
}

async fn show(
    State(state): State<Shared>,
    Who(who): Who,
    Path(plan): Path<String>,
    axum::extract::Query(wanted): axum::extract::Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let (id, plans) = saved(&state, &plan).await?;
    let view = state.view().await?;
    // A plan is a fact of both sides: it is made anew, and told when they have moved on.
    let mut names: Vec<SpokeName> = plans.keys().cloned().collect();
    if let Some(name) = wanted.get("spoke") {
        names = vec![super::act::spoke(&state, name)?];
    }
    let previews = state.engine().preview(&names, None).await?;
    let is_current = ids(&previews)? == plans;
    let plans_now = previews.iter().filter_map(|p| p.plan.as_ref());
    let (mut changes, mut conflicts, mut has_guards) = (0, 0, false);
    for plan in plans_now {
        changes += plan.actions.len();
        conflicts += plan.conflicts.len();
        has_guards |= !plan.guards.is_empty();
    }
    let is_quiet = |p: &Preview| {
        let empty = |plan: &SpokePlan| plan.actions.is_empty() && plan.conflicts.is_empty() && plan.guards.is_empty();
        p.failed.is_none() && p.plan.as_ref().is_none_or(empty)
    };
    let page = Page {
        frame: Frame::of(&state, Some(&who), "runs")
            .with(&view)
            .at(&[("Runs", "/runs")], &format!("Plan {}", part::short(&id.to_string())))
            .api(format!("/api/v1/plans/{id}")),
        short: part::short(&id.to_string()),
        id: id.to_string(),
        is_current,
        can_sync: who.may(Action::Sync),
        changes,
        conflicts,
        has_guards,
        quiet: previews.iter().filter(|p| is_quiet(p)).map(|p| p.spoke.name.to_string()).collect(),
        spokes: previews.iter().filter(|p| !is_quiet(p)).map(card).collect(),
    };
    Ok(html(&page))
}

fn card(preview: &Preview) -> SpokeCard {
    let plan = preview.plan.as_ref();
    let actions = plan.map_or(&[][..], |p| &p.actions);
    let (into, out) = plan.map_or((0, 0), SpokePlan::changes);
    let row = |a: &cathedral_model::plan::Action| Row {
        at: a.side.as_str(),
        action: a.action.replace('_', " "),
        class: if a.action.contains("delete") {
            "bad"
        } else if a.action == "create" {
            "ok"
        } else {
            ""
        },
        target: part::cut(&a.target),
        from: part::name(&a.from),
        to: part::name(&a.to),
        why: part::cut(&a.reason),
    };
    SpokeCard {
        name: preview.spoke.name.to_string(),
        icon: preview.spoke.kind().as_str(),
        words: format!("{} to the hub, {} to the spoke", count(into, "change", "changes"), part::number(out)),
        error: preview.failed.as_ref().map(ToString::to_string).unwrap_or_default(),
        warnings: preview.observation.iter().flat_map(|o| &o.warnings).take(20).cloned().collect(),
        guards: plan
            .map_or_else(Vec::new, |p| p.guards.iter().map(|g| (g.name.replace('_', " "), g.why.clone())).collect()),
        actions: actions.iter().take(SHOWN).map(row).collect(),
        more: actions.len().saturating_sub(SHOWN),
        conflicts: plan.map_or_else(Vec::new, |p| {
            p.conflicts
                .iter()
                .take(SHOWN)
                .map(|c| (c.conflict_kind.clone(), part::cut(&c.place), c.because.clone()))
                .collect()
        }),
    }
}

async fn carry_out(
    State(state): State<Shared>,
    Who(who): Who,
    Path(plan): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let (id, plans) = saved(&state, &plan).await?;
    let sync = SyncRequest {
        spokes: plans.keys().cloned().collect(),
        plan: plans,
        confirmed: field(&fields, "confirmed") == "yes",
        ..SyncRequest::default()
    };
    file(&state, format!("plan {} approved by {}", part::short(&id.to_string()), who.name), Work::Sync(sync)).await
}
