//! A running hub, asked over its API by the socket in its folder.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use cathedral_model::config::scalar::Scalar as _;
use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::ledger::{Head, NewLeaf};
use cathedral_model::ports::{Cause, Ledger, PortError};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::cli::{Failure, safe};
use crate::hub::Site;

/// An answer is never longer than this.
const MOST: usize = 32 << 20;
/// In the state folder, while a hub serves.
const ADDRESS: &str = "hub.address";
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a hub may take to say that it is there.
const ALIVE: Duration = Duration::from_secs(5);

/// Where a running hub is.
#[derive(Debug, Clone)]
pub struct Remote {
    socket: std::path::PathBuf,
}

impl Remote {
    /// The hub that works in this folder now, if one serves there.
    pub async fn local(site: &Site) -> Option<Self> {
        Self::within(&site.state).await
    }

    /// The hub that works with this state folder now, if one serves there.
    pub async fn within(state: &Path) -> Option<Self> {
        let remote = Self { socket: state.join("hub.sock") };
        remote.is_alive().await.then_some(remote)
    }

    /// Whether the hub answers. A hub that was just killed still takes connections for a moment: only an
    /// answer counts.
    pub async fn is_alive(&self) -> bool {
        let asked = self.exchange(Method::GET, "/healthz", None);
        matches!(tokio::time::timeout(ALIVE, asked).await, Ok(Ok((status, _))) if status.is_success())
    }

    /// Returns when the hub has ended: it is asked once a second, and may be slow twice.
    pub async fn ended(&self) {
        let mut silent = 0;
        while silent < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            silent = if self.is_alive().await { 0 } else { silent + 1 };
        }
    }

    /// Asks, and returns `data` of the answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let asked = self.exchange(method, path, body);
        let (status, answer) = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| {
            Failure::new(124, "C1003", "the running hub did not answer within a minute").next("cathedral runs")
        })??;
        if status.is_success() {
            return Ok(answer.get("data").cloned().unwrap_or(answer));
        }
        Err(refused(status, &answer))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| gone(&self.socket, &e))?;
        talk(stream, method, path, body).await
    }
}

/// Leaves word of where the hub listens, for commands that print its address.
pub fn tell_address(site: &Site, address: SocketAddr) -> std::io::Result<()> {
    std::fs::write(site.state.join(ADDRESS), format!("http://{address}\n"))
}

/// The address of the pages, without a slash at its end: the public one, else that of the hub that runs
/// in this folder, else where it would listen.
pub async fn base_url(site: &Site) -> String {
    let web = &site.config.cathedral_ecosystem.web;
    if let Some(url) = &web.public_url {
        return url.text().trim_end_matches('/').to_owned();
    }
    // The word of a hub that is gone counts for nothing.
    if Remote::local(site).await.is_some()
        && let Ok(text) = std::fs::read_to_string(site.state.join(ADDRESS))
    {
        return safe(text.trim());
    }
    format!("http://{}", web.listen.text())
}

/// The log of the running hub.
#[async_trait]
impl Ledger for Remote {
    async fn append(&self, leaf: &NewLeaf) -> Result<LeafIndex, PortError> {
        let body = serde_json::to_value(leaf).map_err(|e| PortError::permanent(e.to_string()))?;
        let data = self.ask(Method::POST, "/api/v1/log/leaves", Some(&body)).await.map_err(|e| from(&e))?;
        let index = data.get("index").and_then(Value::as_i64);
        index.map(LeafIndex).ok_or_else(|| PortError::permanent("the running hub did not say where the leaf is"))
    }

    async fn find(&self, _: &str) -> Result<Option<LeafIndex>, PortError> {
        Err(PortError::permanent("only the running hub looks for leaves"))
    }

    async fn head(&self) -> Result<Head, PortError> {
        let data = self.ask(Method::GET, "/api/v1/log/head", None).await.map_err(|e| from(&e))?;
        serde_json::from_value(data).map_err(|e| PortError::permanent(e.to_string()))
    }
}

fn from(failure: &Failure) -> PortError {
    let cause = match failure.code {
        5 => Cause::Denied,
        6 => Cause::Unreachable,
        75 => Cause::Busy,
        _ => Cause::Other,
    };
    PortError::failed(cause, failure.what.clone())
}

fn gone(socket: &Path, error: &std::io::Error) -> Failure {
    Failure::new(6, "C1601", format!("the hub behind {} does not answer: {error}", crate::hub::shown(socket)))
        .next("cathedral up    starts it")
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Value), Failure> {
    let broken = |why: String| Failure::new(6, "C1601", format!("the running hub broke off: {why}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.to_string()))?;
    let carried = tokio::spawn(connection);
    let mut request =
        Request::builder().method(method).uri(path).header("host", "localhost").header("accept", "application/json");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    if let Some(actor) = crate::cli::on_behalf_of() {
        request = request.header(cathedral_web::auth::ON_BEHALF, actor);
    }
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(bytes))).map_err(|e| broken(e.to_string()))?;
    let response = sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MOST).collect().await.map_err(|e| broken(e.to_string()))?.to_bytes();
    carried.abort();
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok((status, value))
}

/// A problem document as the failure that the same command without a hub would give.
pub fn refused(status: StatusCode, problem: &Value) -> Failure {
    let text = |key: &str| problem.get(key).and_then(Value::as_str).map(safe);
    let (code, id) = match status.as_u16() {
        400 | 422 => (2, "C1201"),
        401 | 403 => (5, "C1501"),
        404 => (4, "C1404"),
        409 => (7, "C1701"),
        429 | 503 => (75, "C7501"),
        502 => (6, "C1601"),
        _ => (1, "C1001"),
    };
    let what = text("detail").unwrap_or_else(|| format!("the running hub answered {status}"));
    let failure = Failure::new(code, id, what).why("the running hub said so");
    match text("hint") {
        Some(hint) => failure.next(hint),
        None => failure,
    }
}
