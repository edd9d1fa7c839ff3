//! `/settings`: the configuration in force, its versions, and changing it.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use cathedral_model::access::Action;
use cathedral_model::config::Severity;
use cathedral_model::ports::versions::ConfigVersion;

use super::act::{Fields, field};
use super::diff::{self, Line};
use super::part::{self, Html, esc};
use super::{Frame, html, html_with};
use crate::auth::{Identity, Who};
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

const VERSIONS: u32 = 50;
/// Equal lines around a difference.
const AROUND: usize = 3;

pub(crate) fn routes(routes: Routes) -> Routes {
    let (read, change) = (Access::Needs(Action::ReadSettings), Access::Needs(Action::ChangeSettings));
    routes
        .get("/settings", read, show)
        .get("/settings/config", change, edit)
        .post("/settings/config", change, put)
        .post("/settings/reload", change, reload)
        .get("/settings/versions/{version}", read, version)
        .post("/settings/versions/{version}/rollback", change, rollback)
}

#[derive(Template)]
#[template(path = "pages/settings.html")]
struct Page {
    frame: Frame,
    can_change: bool,
    can_manage: bool,
    lines: Vec<Html>,
    problems: Vec<Finding>,
    is_valid: bool,
    versions: Vec<VersionRow>,
    destinations: Vec<(Html, Html)>,
}

struct Finding {
    class: &'static str,
    place: String,
    what: String,
    why: String,
    hint: String,
}

struct VersionRow {
    number: i64,
    at: Html,
    cause: Html,
    digest: String,
    current: bool,
}

fn findings(problems: &[cathedral_model::config::Problem]) -> Vec<Finding> {
    let one = |p: &cathedral_model::config::Problem| Finding {
        class: match p.severity {
            Severity::Error => "bad",
            Severity::NotAvailableYet => "warn",
            Severity::Warning => "idle",
        },
        place: format!("line {}{}{}", p.line, if p.path.is_empty() { "" } else { ", " }, p.path),
        what: part::capital(&p.what),
        why: part::capital(&p.why),
        hint: match (&p.nearest, p.hint.is_empty()) {
            (Some(nearest), true) => format!("Did you mean {nearest}?"),
            _ => part::capital(&p.hint),
        },
    };
    problems.iter().take(200).map(one).collect()
}

fn is_valid(problems: &[cathedral_model::config::Problem]) -> bool {
    !problems.iter().any(|p| p.severity != Severity::Warning)
}

fn numbered(text: &str) -> Vec<Html> {
    text.lines()
        .enumerate()
        .map(|(n, line)| askama::filters::Safe(format!("<span data-n=\"{}\">{}</span>", n + 1, esc(line))))
        .collect()
}

/// A comparison with what is equal and far from a difference left out.
fn difference(old: &str, new: &str) -> Vec<Html> {
    let lines = diff::lines(old, new);
    let near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        lines[from..lines.len().min(at + AROUND + 1)].iter().any(|l| !matches!(l, Line::Same(_)))
    };
    let mut out = vec![];
    let mut number = 0;
    let mut is_gap = false;
    for (at, line) in lines.iter().enumerate() {
        let (class, sign, text) = match line {
            Line::Same(text) => ("", " ", text),
            Line::Removed(text) => ("d", "-", text),
            Line::Added(text) => ("a", "+", text),
        };
        if class != "d" {
            number += 1;
        }
        if !near(at) {
            is_gap = true;
            continue;
        }
        if is_gap {
            out.push(askama::filters::Safe("<span data-n=\"\">…</span>".into()));
            is_gap = false;
        }
        let number = if class == "d" { String::new() } else { number.to_string() };
        out.push(askama::filters::Safe(format!(
            "<span class=\"{class}\" data-n=\"{number}\">{sign} {}</span>",
            esc(text)
        )));
    }
    out
}

async fn show(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let text = state.hub.config_text().await?;
    let problems = state.hub.validate(&text);
    let versions = state.ports.versions.config_versions(VERSIONS).await?;
    let newest = versions.first().map(|v| v.number);
    let page = Page {
        frame: Frame::of(&state, Some(&who), "settings")
            .with(&view)
            .at(&[], "Settings")
            .live("config", false)
            .api("/api/v1/config"),
        can_change: who.may(Action::ChangeSettings),
        can_manage: who.may(Action::ManageAccess),
        lines: numbered(&text),
        is_valid: is_valid(&problems),
        problems: findings(&problems),
        versions: versions
            .iter()
            .map(|v| VersionRow {
                number: v.number,
                at: part::clock(now, v.accepted_at),
                cause: part::cut(&v.cause),
                digest: v.digest.to_string().chars().take(12).collect(),
                current: Some(v.number) == newest,
            })
            .collect(),
        destinations: view
            .verdict
            .destinations
            .iter()
            .map(|d| (part::name(&d.name), part::health(d.health, &d.state)))
            .collect(),
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "pages/settings_edit.html")]
struct Edit {
    frame: Frame,
    text: String,
    is_checked: bool,
    is_valid: bool,
    is_same: bool,
    problems: Vec<Finding>,
    difference: Vec<Html>,
    base: String,
    problem: String,
}

async fn form(
    state: &Shared,
    who: &Identity,
    text: String,
    is_checked: bool,
    base: &str,
    problem: String,
) -> Result<Edit, Problem> {
    let view = state.view().await?;
    let old = state.hub.config_text().await?;
    let problems = if is_checked { state.hub.validate(&text) } else { vec![] };
    Ok(Edit {
        frame: Frame::of(state, Some(who), "settings")
            .with(&view)
            .at(&[("Settings", "/settings")], "Change the configuration"),
        is_same: old == text,
        is_valid: is_valid(&problems),
        problems: findings(&problems),
        difference: if is_checked { difference(&old, &text) } else { vec![] },
        is_checked,
        base: base.to_owned(),
        text,
        problem,
    })
}

fn digest(text: &str) -> String {
    cathedral_model::ids::Digest::of(text.as_bytes()).to_string()
}

async fn edit(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    let text = state.hub.config_text().await?;
    let base = digest(&text);
    Ok(html(&form(&state, &who, text, false, &base, String::new()).await?))
}

async fn put(State(state): State<Shared>, Who(who): Who, Form(fields): Form<Fields>) -> Result<Response, Problem> {
    let text = field(&fields, "text").replace("\r\n", "\n");
    let base = field(&fields, "base");
    let now = digest(&state.hub.config_text().await?);
    let moved = if base == now {
        String::new()
    } else {
        "The configuration was changed meanwhile: the difference below is against how it is now.".to_owned()
    };
    if field(&fields, "step") != "apply" || !moved.is_empty() || !is_valid(&state.hub.validate(&text)) {
        let page = form(&state, &who, text, true, &now, moved).await?;
        let status = if page.is_valid { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        return Ok(html_with(status, &page));
    }
    who.require_fresh(&state)?;
    state.hub.put_config(&text, &format!("changed by {}", who.name)).await?;
    state.bell.ring();
    Ok(see("/settings"))
}

async fn reload(State(state): State<Shared>) -> Result<Response, Problem> {
    state.hub.reload().await?;
    state.bell.ring();
    Ok(see("/settings"))
}

async fn known(state: &Shared, number: i64) -> Result<ConfigVersion, Problem> {
    let all = state.ports.versions.config_versions(1_000).await?;
    all.into_iter()
        .find(|v| v.number == number)
        .ok_or_else(|| Problem::not_found(format!("there is no version {number}")))
}

#[derive(Template)]
#[template(path = "pages/settings_version.html")]
struct Version {
    frame: Frame,
    number: i64,
    at: Html,
    cause: Html,
    difference: Vec<Html>,
    can_change: bool,
}

async fn version(State(state): State<Shared>, Who(who): Who, Path(number): Path<i64>) -> Result<Response, Problem> {
    let found = known(&state, number).await?;
    let view = state.view().await?;
    let now = state.hub.config_text().await?;
    let page = Version {
        frame: Frame::of(&state, Some(&who), "settings")
            .with(&view)
            .at(&[("Settings", "/settings")], &format!("Version {number}")),
        number,
        at: part::ago(state.now(), found.accepted_at),
        cause: part::name(&found.cause),
        difference: difference(&now, &found.text),
        can_change: who.may(Action::ChangeSettings) && found.text != now,
    };
    Ok(html(&page))
}

async fn rollback(State(state): State<Shared>, Who(who): Who, Path(number): Path<i64>) -> Result<Response, Problem> {
    who.require_fresh(&state)?;
    let found = known(&state, number).await?;
    state.hub.put_config(&found.text, &format!("rollback to {number} by {}", who.name)).await?;
    state.bell.ring();
    Ok(see("/settings"))
}
