//! Changing requests of a browser come from a page of the hub itself.
//!
//! Three checks, each sufficient in a browser of today: where the request comes from (`Origin`), what
//! the browser says about it (`Sec-Fetch-Site`), and a token of the session that only our pages carry.

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use crate::auth::Identity;
use crate::problem::Problem;
use crate::state::State;

/// The field of forms, and the header of scripts.
pub const FIELD: &str = "csrf";
pub const HEADER: &str = "x-csrf-token";

/// The token of a session: derived from its secret, so nothing is stored.
pub(crate) fn token(secret: &str) -> String {
    hex::encode(&blake3::derive_key("cathedral 2026 form token v1", secret.as_bytes())[..16])
}

fn refuse(detail: &str) -> Problem {
    Problem::forbidden("cross_site", detail).hint("go back to the page, load it again, and repeat")
}

/// Checks where a changing request comes from.
pub(crate) fn check_origin(state: &State, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return Err(refuse("the request comes from another site"));
    }
    match text("origin") {
        Some(origin) if is_own(state, headers, origin) => Ok(()),
        Some(_) => Err(refuse("the request comes from another origin")),
        None if site.is_some() => Ok(()),
        None => Err(refuse("the request does not say where it comes from")),
    }
}

/// Whether an origin is the hub's: that of the public URL, or http(s) at the very host asked for (which
/// was checked to be a known one).
fn is_own(state: &State, headers: &HeaderMap, origin: &str) -> bool {
    if state.hub.public_url().is_some_and(|url| origin_of(&url) == Some(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = |scheme: &str| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host));
    !host.is_empty() && (same("https://") || (!state.is_https() && same("http://")))
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let begin = url.find("://")? + 3;
    let end = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    Some(&url[..end])
}

/// Checks a changing request of a session: origin and token.
pub(crate) fn check(state: &State, identity: &Identity, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    check_origin(state, headers)?;
    if let Some(given) = headers.get(HEADER) {
        return same(given.as_bytes(), identity);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(refuse("the request carries no form token"));
    }
    same(field(body).as_bytes(), identity)
}

fn same(given: &[u8], identity: &Identity) -> Result<(), Problem> {
    let wanted = identity.csrf();
    if !wanted.is_empty() && bool::from(given.ct_eq(wanted.as_bytes())) {
        return Ok(());
    }
    Err(refuse("the form token is missing or belongs to another session"))
}

/// The first form token of a form. Its characters need no decoding.
fn field(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let found = text.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == FIELD);
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}
