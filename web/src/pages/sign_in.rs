//! Signing in and out.

use askama::Template;
use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Frame, html, html_with};
use crate::auth::{Via, Who, cookie};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/sign-in", Access::Public, show).post("/sign-in", Access::PublicForm, sign_in).post(
        "/sign-out",
        Access::SignedIn,
        sign_out,
    )
}

/// The sign-in page that comes back to a page.
pub(crate) fn address(wanted: &Uri) -> String {
    let wanted = wanted.path_and_query().map_or("/", |path| path.as_str());
    if wanted == "/" {
        return "/sign-in".into();
    }
    let mut text = String::from("/sign-in?next=");
    for byte in wanted.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Only a path of this hub is gone back to.
pub(crate) fn safe_next(next: &str) -> &str {
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if plain && next.starts_with('/') && !next.starts_with("//") && next.len() <= 2_000 { next } else { "/" }
}

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct Page {
    frame: Frame,
    name: String,
    next: String,
    /// What was wrong; empty at first.
    problem: String,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    next: String,
}

async fn show(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    let page = Page {
        frame: Frame::of(&state, None, "sign_in"),
        name: String::new(),
        next: safe_next(&wanted.next).to_owned(),
        problem: String::new(),
    };
    html(&page)
}

#[derive(Deserialize)]
struct Given {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    State(state): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Result<Response, Problem> {
    let next = safe_next(&given.next).to_owned();
    // Names are lower case; what cannot be one still costs the same time.
    let name: String = given.name.trim().to_lowercase().chars().take(64).collect();
    state.logins.attempt(&name, peer.key(), state.now()).map_err(Problem::too_many)?;
    let person = state.ports.accounts.person(&name).await?.filter(|person| !person.disabled);
    let stored = person.as_ref().and_then(|person| person.password.as_deref());
    let fits = state.passwords.fits(&given.password, stored).await?;
    let Some(person) = person.filter(|_| fits) else {
        state.logins.failed(&name, peer.key(), state.now());
        tracing::warn!(target: "access", peer = %peer, "a sign-in failed");
        let page = Page {
            frame: Frame::of(&state, None, "sign_in"),
            name,
            next,
            problem: "Name or password is not right.".into(),
        };
        return Ok(html_with(StatusCode::UNAUTHORIZED, &page));
    };
    state.logins.succeeded(&name, peer.key());
    // The old session of this browser ends: an id that somebody set beforehand is worth nothing.
    if let Some(old) = cookie::read(&headers, state.is_https()).filter(|old| cookie::is_well_formed(old)) {
        state.ports.accounts.close_session(&cathedral_model::ids::Digest::of(old.as_bytes())).await?;
        state.access_changed();
    }
    let cookie = cookie::open(&state, &person).await?;
    Ok(([(header::SET_COOKIE, cookie)], see(&next)).into_response())
}

async fn sign_out(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    if let Via::Session { secret, .. } = &who.via {
        state.ports.accounts.close_session(secret).await?;
        state.access_changed();
    }
    Ok(([(header::SET_COOKIE, cookie::clear(state.is_https()))], see("/sign-in")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_comes_back_to_this_hub_only() {
        for good in ["/", "/runs/12?x=1", "/conflicts"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\nb", "/\t/x"]
        {
            assert_eq!(safe_next(bad), "/", "{bad}");
        }
        assert_eq!(address(&Uri::from_static("/runs?failed=1&x=%2F")), "/sign-in?next=/runs%3Ffailed%3D1%26x%3D%252F");
    }
}
