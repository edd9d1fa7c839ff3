//! `/status`: the sentence and what it rests on, for a screen on the wall; `/search`: find a thing by name.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use cathedral_model::access::Action;
use serde::Deserialize;

use super::overview::{Pill, pills};
use super::part::{self, Html, encode};
use super::{Frame, html, svg};
use crate::auth::Who;
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

/// Hits of each kind.
const HITS: usize = 20;

pub(crate) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    routes.get("/status", read, show).get("/search", read, search)
}

#[derive(Template)]
#[template(path = "pages/status.html")]
struct Page {
    frame: Frame,
    sentence: String,
    detail: String,
    seal: Html,
    pills: Vec<Pill>,
    strip: Html,
    rows: Vec<(String, Html, Html)>,
}

async fn show(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    let view = state.view().await?;
    let (verdict, now) = (&view.verdict, view.facts.now);
    let page = Page {
        frame: Frame::of(&state, Some(&who), "status")
            .with(&view)
            .at(&[], "Status")
            .live("", !verdict.running.is_empty())
            .api("/api/v1/status"),
        sentence: verdict.sentence.clone(),
        detail: verdict.detail.clone(),
        seal: svg::seal(verdict),
        pills: pills(verdict),
        strip: svg::days(&verdict.days),
        rows: verdict
            .spokes
            .iter()
            .take(200)
            .map(|s| {
                (
                    s.name.to_string(),
                    part::health(s.health, s.state),
                    s.good_at.map_or_else(part::none, |at| part::ago(now, at)),
                )
            })
            .collect(),
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "pages/search.html")]
struct Search {
    frame: Frame,
    q: String,
    groups: Vec<Group>,
}

struct Group {
    name: &'static str,
    hits: Vec<Hit>,
}

struct Hit {
    icon: &'static str,
    link: String,
    name: Html,
    more: Html,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    q: String,
}

/// Pages by the words people look for.
const PAGES: [(&str, &str, &str); 12] = [
    ("Overview", "/", "home start status"),
    ("Ecosystem", "/ecosystem", "map spokes wiring"),
    ("Runs", "/runs", "sync history log"),
    ("Conflicts", "/conflicts", "inbox merge resolve"),
    ("Snapshots", "/snapshots", "backup vault calendar"),
    ("Restore", "/restore", "get back recover"),
    ("Integrity", "/integrity", "proof log leaf head verify"),
    ("Schedules", "/schedules", "cron pause next"),
    ("Events", "/events", "stream audit"),
    ("Deliveries", "/deliveries", "webhooks retry hooks"),
    ("Settings", "/settings", "configuration rollback reload"),
    ("People and tokens", "/settings/access", "users roles api keys invite"),
];

async fn search(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let q: String = wanted.q.trim().chars().take(200).collect();
    let low = q.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&low);
    let mut groups = vec![];
    let mut group = |name: &'static str, hits: Vec<Hit>| {
        if !hits.is_empty() {
            groups.push(Group { name, hits });
        }
    };
    if !low.is_empty() {
        group(
            "Spokes",
            view.verdict
                .spokes
                .iter()
                .filter(|s| has(s.name.as_str()) || has(&s.role))
                .take(HITS)
                .map(|s| Hit {
                    icon: s.kind.as_str(),
                    link: format!("/spokes/{}", encode(s.name.as_str())),
                    name: part::name(s.name.as_str()),
                    more: part::health(s.health, s.state),
                })
                .collect(),
        );
        let number = low.trim_start_matches("run").trim().parse::<i64>().ok();
        let mut runs: Vec<_> = view
            .facts
            .runs
            .iter()
            .filter(|r| Some(r.run.0) == number || has(&r.request.cause))
            .take(HITS)
            .cloned()
            .collect();
        if let Some(number) = number
            && !runs.iter().any(|r| r.run.0 == number)
        {
            runs.extend(state.store.run(cathedral_model::ids::RunId(number)).await?);
        }
        group(
            "Runs",
            runs.iter()
                .map(|r| Hit {
                    icon: "runs",
                    link: format!("/runs/{}", r.run),
                    name: part::name(&format!("Run {}: {}", r.run, part::work_word(&r.request.work))),
                    more: part::cut(&r.request.cause),
                })
                .collect(),
        );
        group(
            "Conflicts",
            view.facts
                .conflicts
                .iter()
                .filter(|c| has(&c.draft.place) || has(&c.draft.item))
                .take(HITS)
                .map(|c| Hit {
                    icon: "conflict",
                    link: format!("/conflicts/{}", c.id),
                    name: part::cut(&c.draft.place),
                    more: part::name(c.spoke.as_str()),
                })
                .collect(),
        );
        if let Ok(list) = &view.facts.snapshots {
            let fits = |i: &&cathedral_model::snapshot::SnapshotInfo| {
                has(i.meta.id.as_str())
                    || has(&i.meta.cause)
                    || i.meta.tags.iter().any(|t| has(t))
                    || (low.len() >= 8 && i.root.to_string().starts_with(&low))
            };
            group(
                "Snapshots",
                list.iter()
                    .rev()
                    .filter(fits)
                    .take(HITS)
                    .map(|i| Hit {
                        icon: "box",
                        link: format!("/snapshots/{}", i.meta.id),
                        name: part::name(&part::short(i.meta.id.as_str())),
                        more: part::ago(now, i.meta.at),
                    })
                    .collect(),
            );
        }
        group(
            "Pages",
            PAGES
                .into_iter()
                .filter(|(name, link, words)| {
                    let is_open = match *link {
                        "/settings" => who.may(Action::ReadSettings),
                        "/settings/access" => who.may(Action::ManageAccess),
                        _ => true,
                    };
                    is_open && (has(name) || has(words))
                })
                .map(|(name, link, _)| Hit {
                    icon: "list",
                    link: link.into(),
                    name: part::name(name),
                    more: part::none(),
                })
                .collect(),
        );
    }
    let page = Search { frame: Frame::of(&state, Some(&who), "search").with(&view).at(&[], "Search"), q, groups };
    Ok(html(&page))
}
