//! The session cookie.

use axum::http::{HeaderMap, HeaderValue, header};
use cathedral_model::access::{Person, Session};
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;

use super::token::{base62, is_base62};
use crate::state::State;

/// How many characters a session's secret has: 255 bits.
const SECRET: usize = 43;

fn name(https: bool) -> &'static str {
    if https { "__Host-cathedral" } else { "cathedral" }
}

/// Returns the session's secret from the cookies of a request.
pub(crate) fn read(headers: &HeaderMap, https: bool) -> Option<String> {
    let wanted = name(https);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value.to_owned())
}

/// Whether a text can be a session's secret: anything else never reaches the store.
pub(crate) fn is_well_formed(text: &str) -> bool {
    text.len() == SECRET && is_base62(text)
}

/// The header that sets the cookie.
pub(crate) fn set(secret: &str, https: bool) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}", name(https));
    HeaderValue::from_str(&text).expect("a name and base 62 digits are a header")
}

/// The header that removes the cookie.
pub(crate) fn clear(https: bool) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}", name(https));
    HeaderValue::from_str(&text).expect("a fixed text is a header")
}

/// Opens a session with a new secret and returns the cookie for it.
pub(crate) async fn open(state: &State, person: &Person) -> Result<HeaderValue, PortError> {
    let secret = base62::<SECRET>(&|into| state.env.entropy(into));
    let now = state.now();
    let session = Session {
        secret: Digest::of(secret.as_bytes()),
        person: person.name.clone(),
        created_at: now,
        signed_in_at: now,
        seen_at: now,
        expires_at: now.plus_ms(state.settings.session_ms),
    };
    state.ports.accounts.open_session(&session).await?;
    Ok(set(&secret, state.is_https()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_bound_to_host_and_https() {
        let text = set("abc", true).to_str().unwrap().to_owned();
        assert_eq!(text, "__Host-cathedral=abc; Path=/; HttpOnly; SameSite=Lax; Secure");
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; cathedral=x; __Host-cathedral=y"));
        assert_eq!(read(&headers, true).as_deref(), Some("y"));
        assert_eq!(read(&headers, false).as_deref(), Some("x"));
    }
}
