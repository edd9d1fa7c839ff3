//! The table of routes. A route cannot be added without saying who may use it, and the check stands
//! before the handler itself.

use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, on};
use cathedral_model::access::Action;

use crate::api::doc::Doc;
use crate::auth::{Credential, Identity, Via, credential, csrf};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::shield::{shield, wants_html};
use crate::state::{Shared, State as Hub};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody; reads nothing of the ecosystem.
    Public,
    /// Everybody, from a page of the hub itself: the sign-in forms.
    PublicForm,
    /// Whoever proves itself by other means inside the handler: webhooks.
    Signed,
    /// Everybody, however often: health checks, and files that are the same for all and are kept by browsers.
    Unmetered,
    /// Anybody who is signed in, whatever the role.
    SignedIn,
    /// Whose role allows the action.
    Needs(Action),
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// For routes of the API: what OpenAPI tells of it.
    pub doc: Option<Doc>,
}

/// Collects routes.
pub struct Routes {
    state: Shared,
    table: Vec<Route>,
    router: Router<Shared>,
}

impl Routes {
    pub(crate) fn new(state: &Shared) -> Self {
        Self { state: Arc::clone(state), table: vec![], router: Router::new() }
    }

    /// Adds a route that reads.
    #[must_use]
    pub fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.add(Method::GET, path, access, None, handler)
    }

    /// Adds a route that changes something.
    #[must_use]
    pub fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.add(Method::POST, path, access, None, handler)
    }

    /// Adds a route of any method, with what OpenAPI tells of it.
    #[must_use]
    pub fn add<H, T>(mut self, method: Method, path: &'static str, access: Access, doc: Option<Doc>, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("routes use ordinary methods");
        let gate = Gate { state: Arc::clone(&self.state), access };
        self.router = self.router.route(path, on(filter, handler.layer(from_fn_with_state(gate, guard))));
        self.table.push(Route { method, path, access, doc });
        self
    }

    /// Returns the table as it stands.
    #[must_use]
    pub fn table(&self) -> &[Route] {
        &self.table
    }

    fn finish(self) -> Router {
        let state = self.state;
        let document = crate::api::doc::openapi(&self.table, &state.hub.version());
        let _ = state.openapi.set(document);
        self.router
            .fallback(nowhere)
            .layer(DefaultBodyLimit::max(state.settings.body_bytes))
            .layer(from_fn_with_state(Arc::clone(&state), shield))
            .with_state(state)
    }
}

/// All routes of the hub.
fn all(state: &Shared) -> Routes {
    let routes = Routes::new(state);
    let routes = crate::health::routes(routes);
    let routes = crate::hook::routes(routes);
    let routes = crate::pages::routes(routes);
    crate::api::routes(routes)
}

/// Returns the whole hub as a service.
pub fn router(state: &Shared) -> Router {
    all(state).finish()
}

/// Returns the table of all routes, for tests and documents.
#[must_use]
pub fn table(state: &Shared) -> Vec<Route> {
    all(state).table
}

async fn nowhere() -> Problem {
    Problem::not_found("there is no such page")
}

#[derive(Clone)]
struct Gate {
    state: Shared,
    access: Access,
}

/// Stands before every handler: who is it, how often, may they.
async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut who = None;
    let mut response = match enter(&gate, request, &mut who).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused,
    };
    // For the access log.
    if let Some(who) = who {
        response.extensions_mut().insert(who);
    }
    response
}

async fn enter(gate: &Gate, mut request: Request, who: &mut Option<Arc<Identity>>) -> Result<Request, Response> {
    let state = &gate.state;
    let peer =
        request.extensions().get::<Peer>().copied().unwrap_or(Peer::Address(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let action = match gate.access {
        Access::Unmetered | Access::Signed => return Ok(request),
        Access::Public => {
            count_stranger(state, peer).map_err(IntoResponse::into_response)?;
            return Ok(request);
        }
        Access::PublicForm => {
            count_stranger(state, peer).map_err(IntoResponse::into_response)?;
            csrf::check_origin(state, request.headers()).map_err(IntoResponse::into_response)?;
            let (parts, body) = arrived(state, request, FORM_BYTES).await.map_err(IntoResponse::into_response)?;
            return Ok(Request::from_parts(parts, body.into()));
        }
        Access::SignedIn => None,
        Access::Needs(action) => Some(action),
    };
    let identity = identify(state, peer, request.headers(), request.method(), request.uri()).await?;
    *who = Some(Arc::clone(&identity));
    if let Some(secret) = identity.secret()
        && let Err(seconds) = state.keys.take(crate::limit::text_key(&secret.0), state.now())
    {
        return Err(Problem::too_many(seconds).into_response());
    }
    if let Some(action) = action
        && !identity.may(action)
    {
        let needed = action.needs().as_str();
        let problem = Problem::forbidden(
            "needs_role",
            format!("this needs the role {needed}; yours is {}", identity.role.as_str()),
        )
        .hint("an admin can change roles under settings, people");
        return Err(problem.into_response());
    }
    if !request.method().is_safe() {
        let (parts, body) =
            arrived(state, request, state.settings.body_bytes).await.map_err(IntoResponse::into_response)?;
        if matches!(identity.via, Via::Session { .. }) {
            csrf::check(state, &identity, &parts.headers, &body).map_err(IntoResponse::into_response)?;
        }
        request = Request::from_parts(parts, body.into());
    }
    request.extensions_mut().insert(identity);
    Ok(request)
}

/// The forms of those who are not signed in are small.
const FORM_BYTES: usize = 16 << 10;

/// Reads a body to its end, within its size and its time.
async fn arrived(state: &Hub, request: Request, most: usize) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a request has at most {most} bytes"));
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > most as u64) {
        return Err(large());
    }
    let limit = std::time::Duration::from_millis(state.settings.body_ms);
    let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the request took too long to arrive");
    let body = tokio::time::timeout(limit, to_bytes(body, most)).await.map_err(|_| slow())?.map_err(|_| large())?;
    Ok((parts, body))
}

/// Requests without a valid credential are counted by address.
fn count_stranger(state: &Hub, peer: Peer) -> Result<(), Problem> {
    if peer == Peer::Local {
        return Ok(());
    }
    state.anonymous.take(peer.key(), state.now()).map_err(Problem::too_many)
}

// The parts of a request are borrowed one by one: a body cannot be shared between threads.
async fn identify(
    state: &Shared,
    peer: Peer,
    headers: &HeaderMap,
    method: &Method,
    uri: &Uri,
) -> Result<Arc<Identity>, Response> {
    if peer == Peer::Local {
        return Ok(Arc::new(Identity::local_for(headers)));
    }
    let credential = credential(headers, state.is_https());
    let found = state.identify(&credential).await.map_err(|error| Problem::from(error).into_response())?;
    if let Some(identity) = found {
        return Ok(identity);
    }
    count_stranger(state, peer).map_err(IntoResponse::into_response)?;
    let reads = method == Method::GET || method == Method::HEAD;
    if reads && !matches!(credential, Credential::Token(_)) && wants_html(headers, uri.path()) {
        // A person is shown the door, and comes back to where they wanted to go.
        let mut response = Redirect::to(&crate::pages::sign_in::address(uri)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Err(response);
    }
    Err(Problem::signed_out().into_response())
}

/// Answers `303` to a page, after a form was handled.
#[must_use]
pub fn see(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let value = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, value);
    response
}
