//! The API, `/api/v1`.

use axum::http::Method;
use cathedral_model::access::Action;

use crate::routes::{Access, Routes};

pub mod doc;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.add(Method::GET, "/events/stream", Access::Needs(Action::Read), None, crate::live::stream::follow)
}
