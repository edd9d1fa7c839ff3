//! What went wrong, why, what to do, and the trace id to quote.

use askama::Template;
use axum::response::Response;

use super::{Frame, html_with};
use crate::auth::Identity;
use crate::problem::Problem;
use crate::state::State;

#[derive(Template)]
#[template(path = "pages/error.html")]
struct Page {
    frame: Frame,
    title: String,
    detail: String,
    hint: String,
    /// Where a person can prove once more who they are, to come back to where they were; else empty.
    sign_in: String,
    status: u16,
    trace: String,
}

pub(crate) fn page(state: &State, who: Option<&Identity>, problem: &Problem, trace: &str, from: &str) -> Response {
    let title = match problem.status.as_u16() {
        404 => "Not here".to_owned(),
        401 => "Signed out".to_owned(),
        403 => "Not allowed".to_owned(),
        409 => "It has moved on".to_owned(),
        429 => "Too fast".to_owned(),
        503 => "Not now".to_owned(),
        500.. => "Something failed".to_owned(),
        _ => problem.status.canonical_reason().unwrap_or("Error").to_owned(),
    };
    let page = Page {
        frame: Frame::of(state, who, ""),
        title,
        detail: sentence(&problem.detail),
        hint: problem.hint.as_deref().map(sentence).unwrap_or_default(),
        sign_in: if matches!(problem.code, "signed_out" | "sign_in_again") {
            from.parse().map_or_else(|_| "/sign-in".into(), |page| super::sign_in::address(&page))
        } else {
            String::new()
        },
        status: problem.status.as_u16(),
        trace: trace.to_owned(),
    };
    html_with(problem.status, &page)
}

/// A message as a sentence: messages are lower case without a full stop.
pub(crate) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
