//! Who asks: sessions in cookies, API tokens, the local socket.

use std::sync::{Arc, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use cathedral_model::access::{Action, Role, allowed};
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;

use crate::problem::Problem;
use crate::state::State;

pub mod cookie;
pub mod csrf;
pub mod login;
pub mod password;
pub mod token;
pub mod welcome;

/// For whom a request through the local socket is made.
pub const ON_BEHALF: &str = "cathedral-on-behalf-of";

/// By what somebody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The socket in the hub's own folder: whoever can open it owns the folder.
    Local,
    /// A signed-in browser.
    Session { secret: Digest, signed_in_at: Timestamp, csrf: String },
    /// An API token, by its public id.
    Token { id: String, secret: Digest },
}

/// Somebody who may ask for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The person's name, or `token <id>`, or `local`: what is recorded as actor.
    pub name: String,
    pub role: Role,
    pub via: Via,
}

/// The identity of a request, for handlers behind [`crate::routes::Access::Needs`].
#[derive(Clone, Debug)]
pub struct Who(pub Arc<Identity>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Arc<Identity>>().cloned().map(Who).ok_or_else(Problem::signed_out)
    }
}

impl Identity {
    /// The owner of the hub's folder, through the local socket.
    #[must_use]
    pub fn local() -> Self {
        Self { name: "local".into(), role: Role::Admin, via: Via::Local }
    }

    /// The owner of the hub's folder, on behalf of somebody: a command that the hub carries out for a token asks
    /// through the socket, and what it does is recorded as done by whoever asked for it.
    #[must_use]
    pub fn local_for(headers: &HeaderMap) -> Self {
        let name = headers.get(ON_BEHALF).and_then(|value| value.to_str().ok());
        let name = name.filter(|name| (1..=80).contains(&name.len()));
        name.map_or_else(Self::local, |name| Self { name: name.to_owned(), ..Self::local() })
    }

    /// Whether it came through the socket in the hub's own folder.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.via == Via::Local
    }

    /// Whether this one may do something.
    #[must_use]
    pub fn may(&self, action: Action) -> bool {
        allowed(self.role, action)
    }

    /// The token that forms of this session carry; empty where no cookie is involved.
    #[must_use]
    pub fn csrf(&self) -> &str {
        match &self.via {
            Via::Session { csrf, .. } => csrf,
            _ => "",
        }
    }

    /// Wants a sign-in of the last minutes for a dangerous act. Tokens and the local socket have none to
    /// repeat: they are let through.
    pub fn require_fresh(&self, state: &State) -> Result<(), Problem> {
        match &self.via {
            Via::Session { signed_in_at, .. } if state.now().ms_since(*signed_in_at) > state.settings.fresh_ms => {
                Err(Problem::forbidden("sign_in_again", "this needs a sign-in of the last 5 minutes")
                    .hint("sign in again, then repeat"))
            }
            _ => Ok(()),
        }
    }

    /// The digest of the secret it came with; none for the local socket.
    pub(crate) fn secret(&self) -> Option<Digest> {
        match &self.via {
            Via::Local => None,
            Via::Session { secret, .. } | Via::Token { secret, .. } => Some(*secret),
        }
    }
}

/// What a request brought along.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Nothing,
    /// Something that cannot be a token or session of ours.
    Malformed,
    Token(String),
    Session(String),
}

/// Reads the credential of a request. A Bearer token goes before a cookie.
pub(crate) fn credential(headers: &HeaderMap, https: bool) -> Credential {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().ok().and_then(|text| {
            let (scheme, rest) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
        });
        return match text {
            Some(text) if token::is_well_formed(text) => Credential::Token(text.to_owned()),
            _ => Credential::Malformed,
        };
    }
    match cookie::read(headers, https) {
        Some(secret) if cookie::is_well_formed(&secret) => Credential::Session(secret),
        Some(_) => Credential::Malformed,
        None => Credential::Nothing,
    }
}

/// How long a looked-up identity is believed: the end of a session reaches every node within this time.
const BELIEVED_MS: u64 = 1_000;
/// How many looked-up identities are kept.
const KNOWN: usize = 4_096;

impl State {
    /// Returns who a credential belongs to; none when it is not valid (any more).
    pub(crate) async fn identify(&self, credential: &Credential) -> Result<Option<Arc<Identity>>, PortError> {
        let (secret, text) = match credential {
            Credential::Nothing | Credential::Malformed => return Ok(None),
            Credential::Token(text) | Credential::Session(text) => (Digest::of(text.as_bytes()), text),
        };
        let now = self.now();
        if let Some((at, identity)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&secret)
            && *at <= now
            && now.ms_since(*at) < BELIEVED_MS
        {
            return Ok(Some(Arc::clone(identity)));
        }
        let found = if matches!(credential, Credential::Token(_)) {
            self.token_identity(secret, now).await?
        } else {
            self.session_identity(secret, text, now).await?
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(identity) = found else {
            known.remove(&secret);
            return Ok(None);
        };
        if known.len() >= KNOWN {
            known.clear();
        }
        let identity = Arc::new(identity);
        known.insert(secret, (now, Arc::clone(&identity)));
        Ok(Some(identity))
    }

    async fn token_identity(&self, secret: Digest, now: Timestamp) -> Result<Option<Identity>, PortError> {
        let Some(token) = self.ports.accounts.token(&secret, now).await? else { return Ok(None) };
        if token.used_at.is_none_or(|at| now.ms_since(at) >= 60_000) {
            self.ports.accounts.touch_token(&token.id, now).await?;
        }
        let name = format!("token {}", token.id);
        Ok(Some(Identity { name, role: token.scope, via: Via::Token { id: token.id, secret } }))
    }

    async fn session_identity(
        &self,
        secret: Digest,
        text: &str,
        now: Timestamp,
    ) -> Result<Option<Identity>, PortError> {
        let accounts = &self.ports.accounts;
        let Some((session, role)) = accounts.session(&secret, now).await? else { return Ok(None) };
        if now.ms_since(session.seen_at) >= self.settings.idle_ms {
            accounts.close_session(&secret).await?;
            return Ok(None);
        }
        if now.ms_since(session.seen_at) >= 60_000 {
            accounts.touch_session(&secret, None, now).await?;
        }
        let via = Via::Session { secret, signed_in_at: session.signed_in_at, csrf: csrf::token(text) };
        Ok(Some(Identity { name: session.person, role, via }))
    }
}
