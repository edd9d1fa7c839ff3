//! What every request goes through, and every answer: known host, trace id, security headers, the form
//! of errors, the access log.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth::Identity;
use crate::pages;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::state::{Shared, State as Hub};

/// Identifies one request in answers and logs: 32 hex digits, the trace of a `traceparent` where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(pub String);

/// On every answer. `Permissions-Policy` takes away what a page of the hub never needs.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), midi=(), \
         payment=(), usb=()",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// The outermost layer of the router.
pub(crate) async fn shield(State(state): State<Shared>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let trace = trace_id(&state, request.headers());
    let peer =
        request.extensions().get::<Peer>().copied().unwrap_or(Peer::Address(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let peer = peer.behind_proxies(request.headers(), &state.settings);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(TraceId(trace.clone()));
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let asked = Asked::of(&request);
    let response = match check_size(&request).and_then(|()| check_host(&state, peer, &request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = not_modified(&asked, as_problem(&state, &asked, &trace, response).await);
    dress(&state, &trace, response.headers_mut());
    let took = began.elapsed();
    let status = response.status().as_u16();
    state.metrics.request(&route, asked.method.as_str(), status, took);
    let who = response.extensions().get::<Arc<Identity>>().map(|who| who.name.clone());
    // The path of a one-time link is a secret: the route is logged, never the path.
    tracing::info!(
        target: "access", method = %asked.method, route, status, ms = took.as_secs_f64() * 1_000.0, peer = %peer,
        who = who.as_deref().unwrap_or("-"), trace_id = trace, "request"
    );
    response
}

/// What is kept of a request to shape the answer.
struct Asked {
    method: Method,
    html: bool,
    if_none_match: Option<HeaderValue>,
    /// The page of this hub that a form was sent from, or the page that was asked for.
    page: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let path = request.uri().path();
        Self {
            method: request.method().clone(),
            html: wants_html(request.headers(), path),
            if_none_match: request.headers().get(header::IF_NONE_MATCH).cloned(),
            page: came_from(request.headers()),
        }
    }
}

/// The path of the page that the request was made from, when it is one of this hub; else nothing.
fn came_from(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let (host, referer) = (text(header::HOST), text(header::REFERER));
    let path = referer.split_once("://").and_then(|(_, rest)| rest.strip_prefix(host)).unwrap_or_default();
    if host.is_empty() { String::new() } else { path.to_owned() }
}

/// Whether a person looks at the answer.
pub(crate) fn wants_html(headers: &HeaderMap, path: &str) -> bool {
    let machine = ["/api/", "/hooks/", "/metrics", "/healthz", "/readyz"].iter().any(|start| path.starts_with(start));
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    !machine && accept.contains("text/html")
}

fn trace_id(state: &Hub, headers: &HeaderMap) -> String {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(|text| {
        let mut parts = text.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let valid = version.len() == 2 && trace.len() == 32 && hex(trace) && trace.bytes().any(|b| b != b'0');
        valid.then(|| trace.to_owned())
    });
    given.unwrap_or_else(|| hex::encode(state.random::<16>()))
}

/// The head of a request may have this many bytes. The parser bounds memory only roughly.
const HEAD_BYTES: usize = 32 << 10;

fn check_size(request: &Request) -> Result<(), Problem> {
    let target = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if target + lines.sum::<usize>() <= HEAD_BYTES {
        return Ok(());
    }
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Err(Problem::new(status, "head_too_large", format!("the head of a request has at most {HEAD_BYTES} bytes")))
}

/// Another name than the hub's own is not answered: a page of a stranger's name (DNS rebinding) must not
/// read ours.
fn check_host(state: &Hub, peer: Peer, request: &Request) -> Result<(), Problem> {
    if peer == Peer::Local {
        return Ok(());
    }
    let misdirected =
        || Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", "this hub does not answer to that name");
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Problem::bad_request("host", "more than one host"));
    }
    let host = host.ok_or_else(|| Problem::bad_request("host", "the request names no host"))?;
    let authority = request.uri().authority().map(|authority| authority.as_str());
    for name in [Some(host.to_str().map_err(|_| misdirected())?), authority].into_iter().flatten() {
        if !is_known(state, without_port(name)) {
            return Err(misdirected());
        }
    }
    Ok(())
}

fn is_known(state: &Hub, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let public = state.hub.public_url();
    let public = public.as_deref().and_then(|url| url.split("://").nth(1)).and_then(|rest| rest.split('/').next());
    matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]")
        || public.is_some_and(|host| without_port(host).eq_ignore_ascii_case(&name))
        || state.settings.hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|b| b.is_ascii_digit()) => &host[..at],
        _ => host,
    }
}

/// Gives every error its form: a page for people, problem+json for programs.
async fn as_problem(state: &Shared, asked: &Asked, trace: &str, response: Response) -> Response {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        // A page of its own, or an answer that is the handler's business.
        None if parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain")) =>
        {
            return Response::from_parts(parts, body);
        }
        None => framework_problem(parts.status, &to_bytes(body, 4_096).await.unwrap_or_default()),
    };
    if problem.status.is_server_error() {
        tracing::warn!(code = problem.code, detail = problem.detail, trace_id = trace, "a request failed");
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let who = parts.extensions.get::<Arc<Identity>>().cloned();
    let shown = if asked.html {
        pages::error::page(state, who.as_deref(), &problem, trace, &asked.page)
    } else {
        let text = problem.document(trace).to_string();
        ([(header::CONTENT_TYPE, "application/problem+json")], text).into_response()
    };
    let (form, body) = shown.into_parts();
    parts.headers.extend(form.headers);
    Response::from_parts(parts, body)
}

/// What the framework refuses by itself (a path that is no number, a body that is no JSON), in our form.
fn framework_problem(status: StatusCode, text: &[u8]) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type",
        status if status.is_client_error() => "bad_request",
        _ => "failed",
    };
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(300).collect();
    let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
    Problem::new(status, code, if text.is_empty() { reason } else { text })
}

fn not_modified(asked: &Asked, response: Response) -> Response {
    let reads = asked.method == Method::GET || asked.method == Method::HEAD;
    let (Some(wanted), Some(tag)) = (&asked.if_none_match, response.headers().get(header::ETAG)) else {
        return response;
    };
    let is_same = || {
        let (wanted, tag) = (wanted.to_str().ok()?, tag.to_str().ok()?.trim_start_matches("W/"));
        Some(wanted.split(',').any(|one| {
            matches!(one.trim().trim_start_matches("W/"), "*") || one.trim().trim_start_matches("W/") == tag
        }))
    };
    if !reads || response.status() != StatusCode::OK || is_same() != Some(true) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

fn dress(state: &Hub, trace: &str, headers: &mut HeaderMap) {
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if state.is_https() {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("accept, cookie, authorization"));
    if let Ok(trace) = HeaderValue::from_str(trace) {
        headers.insert("x-request-id", trace);
    }
}
