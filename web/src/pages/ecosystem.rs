//! `/ecosystem`: how it is wired, where data flows.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_engine::query::{Health, SpokeView};
use cathedral_model::access::Action;
use cathedral_model::ecosystem::{GitIntegration, Spoke, SpokeDetail};
use serde::Deserialize;

use super::overview::{Pill, SpokeRow, pills, rows};
use super::part::{self, Html, encode};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const ROWS: usize = 200;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/ecosystem", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/ecosystem.html")]
struct Page {
    frame: Frame,
    pills: Vec<Pill>,
    map: Html,
    spokes: Vec<SpokeRow>,
    wires: Vec<Wire>,
    found: usize,
    total: usize,
    next: String,
    roles: Vec<(String, bool)>,
    kind: String,
    state: String,
}

struct Wire {
    name: Html,
    hub: Html,
    flow: &'static str,
    spoke: Html,
    after: Html,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    role: String,
    kind: String,
    state: String,
    from: usize,
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let keep = |s: &SpokeView| {
        (wanted.role.is_empty() || s.role == wanted.role)
            && (wanted.kind.is_empty() || s.kind.as_str() == wanted.kind)
            && match wanted.state.as_str() {
                "ok" => s.health <= Health::Running,
                "attention" => s.health > Health::Paused,
                "paused" => s.health == Health::Paused,
                _ => true,
            }
    };
    let chosen: Vec<&SpokeView> = view.verdict.spokes.iter().filter(|s| keep(s)).collect();
    let page: Vec<&SpokeView> = chosen.iter().copied().skip(wanted.from).take(ROWS).collect();
    let mut roles: Vec<String> = view.verdict.spokes.iter().map(|s| s.role.clone()).filter(|r| !r.is_empty()).collect();
    roles.sort();
    roles.dedup();
    let next = wanted.from.saturating_add(ROWS);
    let frame = Frame::of(&state, Some(&who), "ecosystem")
        .with(&view)
        .at(&[], "Ecosystem")
        .live("", !view.verdict.running.is_empty())
        .api("/api/v1/spokes");
    let page = Page {
        pills: pills(&view.verdict),
        map: svg::map(&view.verdict, &frame.hub, Some(&keep)),
        wires: page.iter().filter_map(|s| view.facts.ecosystem.spoke(&s.name)).map(wire).collect(),
        spokes: rows(&view, &page, ROWS),
        found: chosen.len(),
        total: view.verdict.spokes.len(),
        next: if next < chosen.len() {
            let (role, kind, state) = (encode(&wanted.role), encode(&wanted.kind), encode(&wanted.state));
            format!("/ecosystem?role={role}&kind={kind}&state={state}&from={next}")
        } else {
            String::new()
        },
        roles: roles.into_iter().map(|role| (role.clone(), role == wanted.role)).collect(),
        kind: wanted.kind.clone(),
        state: wanted.state.clone(),
        frame,
    };
    Ok(html(&page))
}

/// The two ends of a spoke, without secrets: addresses of the configuration hold none.
pub(crate) fn ends(spoke: &Spoke) -> (String, String) {
    match &spoke.detail {
        SpokeDetail::Git(git) => {
            let here = match &git.integration {
                GitIntegration::Submodule { path } => format!("submodule at {path}"),
                GitIntegration::Mirror { mirrors } if mirrors.is_empty() => "bare store".into(),
                GitIntegration::Mirror { mirrors } => format!("bare store, {} further remotes", mirrors.len()),
                GitIntegration::SharedPaths => format!("{} shared paths", git.shared_paths.len()),
                GitIntegration::Master => "the hub's own repository".into(),
            };
            (here, git.url.clone())
        }
        SpokeDetail::Database(d) => (d.hub.display().to_string(), d.spoke.display().to_string()),
        SpokeDetail::Files(f) => (f.hub.display().to_string(), f.spoke.display().to_string()),
    }
}

fn wire(spoke: &Spoke) -> Wire {
    let (hub, there) = ends(spoke);
    let after: Vec<&str> = spoke.after.iter().map(cathedral_model::ids::SpokeName::as_str).collect();
    Wire {
        name: part::name(spoke.name.as_str()),
        hub: part::cut(&hub),
        flow: part::flow_word(spoke.data_sync),
        spoke: part::cut(&there),
        after: part::cut(&after.join(", ")),
    }
}
