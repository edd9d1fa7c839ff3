//! `/welcome/{secret}`: the one-time link by which a person sets a password.

use askama::Template;
use axum::Form;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cathedral_model::ids::Digest;
use serde::Deserialize;

use super::{Frame, html, html_with};
use crate::auth::cookie;
use crate::auth::password;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.get("/welcome/{secret}", Access::Public, show).post("/welcome/{secret}", Access::PublicForm, set)
}

#[derive(Template)]
#[template(path = "pages/welcome.html")]
struct Page {
    frame: Frame,
    person: String,
    /// Where the form goes: this very link.
    action: String,
    least: usize,
    problem: String,
}

fn page(state: &Shared, person: &str, secret: &str, problem: String) -> Page {
    Page {
        frame: Frame::of(state, None, "sign_in"),
        person: person.to_owned(),
        action: format!("/welcome/{secret}"),
        least: password::LEAST,
        problem,
    }
}

fn used() -> Problem {
    Problem::not_found("this link was used, has expired, or never was").hint(
        "`cathedral up` prints a new one while nobody has signed in; an admin can make one under settings, people",
    )
}

/// The person that an unused link is for.
async fn invited(state: &Shared, secret: &str) -> Result<String, Problem> {
    if !cookie::is_well_formed(secret) {
        return Err(used());
    }
    let found = state.ports.accounts.invitation(&Digest::of(secret.as_bytes()), state.now()).await?;
    found.map(|invitation| invitation.person).ok_or_else(used)
}

async fn show(State(state): State<Shared>, Path(secret): Path<String>) -> Result<Response, Problem> {
    let person = invited(&state, &secret).await?;
    Ok(html(&page(&state, &person, &secret, String::new())))
}

#[derive(Deserialize)]
struct Given {
    password: String,
    again: String,
}

async fn set(
    State(state): State<Shared>,
    Extension(peer): Extension<Peer>,
    Path(secret): Path<String>,
    Form(given): Form<Given>,
) -> Result<Response, Problem> {
    state.logins.attempt("", peer.key(), state.now()).map_err(Problem::too_many)?;
    let person = invited(&state, &secret).await?;
    let wrong = password::refuse(&given.password)
        .or_else(|| (given.password != given.again).then(|| "the two passwords differ".to_owned()));
    if let Some(wrong) = wrong {
        let page = page(&state, &person, &secret, super::error::sentence(&wrong));
        return Ok(html_with(StatusCode::UNPROCESSABLE_ENTITY, &page));
    }
    let hash = state.passwords.hash(&given.password, state.random()).await?;
    let redeemed = state.ports.accounts.redeem(&Digest::of(secret.as_bytes()), &hash, state.now()).await?;
    let person = redeemed.ok_or_else(used)?;
    state.access_changed();
    let cookie = cookie::open(&state, &person).await?;
    Ok(([(header::SET_COOKIE, cookie)], see("/")).into_response())
}
