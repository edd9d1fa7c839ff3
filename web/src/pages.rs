//! Pages of the hub: one struct a page, one template of the same name. The struct holds finished strings;
//! the template only loops and chooses. A page never writes; forms are posted to routes that do and then
//! send the browser to a page.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::auth::Identity;
use crate::problem::Problem;
use crate::routes::Routes;
use crate::state::State;
use crate::view::View;

pub mod act;
pub mod conflict;
pub mod conflicts;
mod diff;
pub mod ecosystem;
pub mod error;
pub mod events;
pub mod integrity;
pub mod overview;
mod part;
pub mod people;
pub mod plan;
pub mod restore;
pub mod run;
pub mod runs;
pub mod schedules;
pub mod settings;
pub mod sign_in;
pub mod snapshot;
pub mod snapshots;
pub mod spoke;
pub mod status;
mod svg;
pub mod welcome;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = crate::assets::routes(routes);
    let routes = sign_in::routes(routes);
    let routes = welcome::routes(routes);
    let routes = act::routes(routes);
    let routes = overview::routes(routes);
    let routes = ecosystem::routes(routes);
    let routes = spoke::routes(routes);
    let routes = runs::routes(routes);
    let routes = run::routes(routes);
    let routes = plan::routes(routes);
    let routes = conflicts::routes(routes);
    let routes = conflict::routes(routes);
    let routes = snapshots::routes(routes);
    let routes = snapshot::routes(routes);
    let routes = restore::routes(routes);
    let routes = integrity::routes(routes);
    let routes = schedules::routes(routes);
    let routes = events::routes(routes);
    let routes = settings::routes(routes);
    let routes = people::routes(routes);
    status::routes(routes)
}

/// A place in the navigation.
#[derive(Clone, Debug)]
pub struct MenuItem {
    pub group: &'static str,
    pub name: &'static str,
    pub href: &'static str,
    pub icon: &'static str,
    pub current: bool,
    pub count: usize,
}

/// Section, heading of the group that begins with it, name, address, icon.
const MENU: [(&str, &str, &str, &str, &str); 9] = [
    ("overview", "", "Overview", "/", "home"),
    ("ecosystem", "", "Ecosystem", "/ecosystem", "eco"),
    ("runs", "", "Runs", "/runs", "runs"),
    ("conflicts", "", "Conflicts", "/conflicts", "conflict"),
    ("snapshots", "", "Snapshots", "/snapshots", "box"),
    ("integrity", "Trust", "Integrity", "/integrity", "shield"),
    ("schedules", "", "Schedules", "/schedules", "clock"),
    ("events", "", "Events", "/events", "list"),
    ("settings", "Admin", "Settings", "/settings", "set"),
];

/// What the frame around every page needs; templates extend `base.html` and have it as `frame`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The ecosystem.
    pub hub: String,
    pub version: String,
    /// Who looks: empty when nobody is signed in.
    pub person: String,
    pub role: String,
    /// The token that every form carries in the field `csrf`.
    pub csrf: String,
    /// The section of the navigation that is current, for example `runs`.
    pub section: &'static str,
    pub css: &'static str,
    pub css_integrity: &'static str,
    pub js: &'static str,
    pub js_integrity: &'static str,
    pub icon: &'static str,
    /// The newest event when the page was made: its stream begins after it.
    pub cursor: i64,
    /// When the page was made.
    pub at: String,
    pub at_short: String,
    /// Name and address of the places above this page; the page itself last, without an address.
    pub crumbs: Vec<(String, String)>,
    /// Conflicts that wait.
    pub waiting: usize,
    /// Whether the page follows the event stream, and which topics of it; empty: all.
    pub is_live: bool,
    pub topics: String,
    /// Work is under way: a page without script loads itself again.
    pub busy: bool,
    /// Where the API has the same.
    pub api: String,
}

impl Frame {
    /// Makes the frame for whoever looks.
    #[must_use]
    pub fn of(state: &State, who: Option<&Identity>, section: &'static str) -> Self {
        let (css, js) = (crate::assets::asset("cathedral.css"), crate::assets::asset("live.js"));
        let at = state.now().to_rfc3339();
        Self {
            hub: state.hub.name(),
            version: state.hub.version(),
            person: who.map(|who| who.name.clone()).unwrap_or_default(),
            role: who.map(|who| who.role.as_str().to_owned()).unwrap_or_default(),
            csrf: who.map(|who| who.csrf().to_owned()).unwrap_or_default(),
            section,
            css: &css.href,
            css_integrity: &css.integrity,
            js: &js.href,
            js_integrity: &js.integrity,
            icon: &crate::assets::asset("icon.svg").href,
            cursor: state.feed.newest().0.max(0),
            at_short: at.get(11..19).unwrap_or_default().to_owned(),
            at,
            crumbs: vec![],
            waiting: 0,
            is_live: false,
            topics: String::new(),
            busy: false,
            api: String::new(),
        }
    }

    /// Takes from the view what every page shows.
    #[must_use]
    pub fn with(mut self, view: &View) -> Self {
        self.waiting = view.facts.conflicts.len();
        self
    }

    /// Says where the page is: names and addresses from the top, the page's own name last.
    #[must_use]
    pub fn at(mut self, above: &[(&str, &str)], name: &str) -> Self {
        self.crumbs = above.iter().map(|(name, href)| ((*name).to_owned(), (*href).to_owned())).collect();
        self.crumbs.push((name.to_owned(), String::new()));
        self
    }

    /// Lets the page follow topics of the event stream; empty: all.
    #[must_use]
    pub fn live(mut self, topics: impl Into<String>, busy: bool) -> Self {
        (self.is_live, self.topics, self.busy) = (true, topics.into(), busy);
        self
    }

    /// Says where the API has the same.
    #[must_use]
    pub fn api(mut self, path: impl Into<String>) -> Self {
        self.api = path.into();
        self
    }

    /// Whether somebody is signed in.
    #[must_use]
    pub fn is_in(&self) -> bool {
        !self.person.is_empty()
    }

    /// The navigation.
    #[must_use]
    pub fn menu(&self) -> Vec<MenuItem> {
        let item =
            |(section, group, name, href, icon): (&str, &'static str, &'static str, &'static str, &'static str)| {
                let count = if section == "conflicts" { self.waiting } else { 0 };
                MenuItem { group, name, href, icon, current: section == self.section, count }
            };
        MENU.into_iter().filter(|(section, ..)| *section != "settings" || self.role != "viewer").map(item).collect()
    }

    /// The five places at the bottom of a small screen.
    #[must_use]
    pub fn short_menu(&self) -> Vec<MenuItem> {
        self.menu().into_iter().take(5).collect()
    }

    /// The places that a small screen has at the end of the page.
    #[must_use]
    pub fn more_menu(&self) -> Vec<MenuItem> {
        self.menu().into_iter().skip(5).collect()
    }
}

/// Renders a page.
pub fn html(page: &impl Template) -> Response {
    html_with(StatusCode::OK, page)
}

/// Renders a page with a status of its own.
pub fn html_with(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", format!("the page could not be written: {error}"))
                .into_response()
        }
    }
}
