//! `/`: is everything safe, what needs somebody, what runs now.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use cathedral_model::access::Action;

use super::{Frame, html};
use crate::auth::Who;
use crate::routes::{Access, Routes};
use crate::state::Shared;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/", Access::Needs(Action::Read), show)
}

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct Page {
    frame: Frame,
}

async fn show(State(state): State<Shared>, Who(who): Who) -> Response {
    html(&Page { frame: Frame::of(&state, Some(&who), "overview") })
}
