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

pub mod error;
pub mod overview;
pub mod sign_in;
pub mod welcome;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = crate::assets::routes(routes);
    let routes = sign_in::routes(routes);
    let routes = welcome::routes(routes);
    overview::routes(routes)
}

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
    /// The newest event when the page was made: its stream begins after it.
    pub cursor: i64,
}

impl Frame {
    /// Makes the frame for whoever looks.
    #[must_use]
    pub fn of(state: &State, who: Option<&Identity>, section: &'static str) -> Self {
        let css = crate::assets::asset("cathedral.css");
        Self {
            hub: state.hub.name(),
            version: state.hub.version(),
            person: who.map(|who| who.name.clone()).unwrap_or_default(),
            role: who.map(|who| who.role.as_str().to_owned()).unwrap_or_default(),
            csrf: who.map(|who| who.csrf().to_owned()).unwrap_or_default(),
            section,
            css: &css.href,
            css_integrity: &css.integrity,
            cursor: state.feed.newest().0,
        }
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
