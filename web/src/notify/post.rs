//! One POST to an address that was checked: resolve once, look at every address, connect to the one that was
//! looked at, follow nothing, wait for little.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cathedral_model::config::notify::Target;
use cathedral_model::egress::{Allowed, permit};
use hyper::body::{Body, Bytes};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Header;

/// How long a receiver may take, and how much of its answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Resolving, connecting and shaking hands.
    pub connect: Duration,
    /// Everything up to the head of the answer.
    pub whole: Duration,
    /// The body of the answer, which tells nothing: it is read so that the receiver can finish writing.
    pub body: Duration,
    pub body_bytes: usize,
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
            body: Duration::from_secs(1),
            body_bytes: 16 << 10,
            head_bytes: 16 << 10,
        }
    }
}

/// The head of an answer, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub reason: &'static str,
    pub retry_after: Option<String>,
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends one request and returns the head of the answer.
///
/// # Errors
/// Why there is none, in words that hold neither address nor secrets.
pub async fn post(
    target: &Target,
    allow: &[Allowed],
    headers: &[Header],
    body: Bytes,
    limits: &Limits,
) -> Result<Reply, String> {
    let sent = async {
        let stream = match timeout(limits.connect, connect(target, allow)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(format!("no connection within {} s", limits.connect.as_secs())),
        };
        exchange(stream, target, headers, body, limits).await
    };
    match timeout(limits.whole, sent).await {
        Ok(reply) => reply,
        Err(_) => Err(format!("no answer within {} s", limits.whole.as_secs())),
    }
}

async fn connect(target: &Target, allow: &[Allowed]) -> Result<Box<dyn Stream>, String> {
    let mut last = "its name stands for no address".to_owned();
    for address in checked(target, allow).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // One small request: nothing to gather.
                let _ = stream.set_nodelay(true);
                return secured(stream, target).await;
            }
            Err(error) => last = words(&error),
        }
    }
    Err(last)
}

/// Resolves the host once and looks at every address it stands for: one that is not permitted spoils all, since
/// whoever answers for the name chose them together.
async fn checked(target: &Target, allow: &[Allowed]) -> Result<Vec<SocketAddr>, String> {
    let addresses: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => {
            let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
            found.map_err(|_| "its name cannot be resolved".to_owned())?.collect()
        }
    };
    for address in &addresses {
        permit(allow, &target.host, address.ip(), target.port).map_err(|reach| {
            format!("not sent: {} is {}, and egress.allow does not list it", address.ip(), reach.as_str())
        })?;
    }
    Ok(addresses)
}

#[cfg(feature = "tls")]
async fn secured(stream: TcpStream, target: &Target) -> Result<Box<dyn Stream>, String> {
    if !target.is_https {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(super::tls::handshake(stream, &target.host).await?))
}

#[cfg(not(feature = "tls"))]
async fn secured(stream: TcpStream, target: &Target) -> Result<Box<dyn Stream>, String> {
    if target.is_https { Err("this program was built without https".to_owned()) } else { Ok(Box::new(stream)) }
}

async fn exchange(
    stream: Box<dyn Stream>,
    target: &Target,
    headers: &[Header],
    body: Bytes,
    limits: &Limits,
) -> Result<Reply, String> {
    let broken = |_: hyper::Error| "the receiver broke off, or does not speak HTTP".to_owned();
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_buf_size(limits.head_bytes.max(8 << 10));
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ended with this call, whatever the receiver does.
    let carried = AbortOnDrop(tokio::spawn(connection));
    let mut request = Request::post(target.path.as_str()).header(header::HOST, target.authority());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(http_body_util::Full::new(body)).map_err(|_| "its path cannot be sent".to_owned())?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let reply = Reply {
        code: response.status().as_u16(),
        reason: response.status().canonical_reason().unwrap_or(""),
        retry_after: retry_after(&response),
    };
    // The answer is known: what follows changes nothing.
    let _ = timeout(limits.body, drain(response.into_body(), limits.body_bytes)).await;
    drop(carried);
    Ok(reply)
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn retry_after<B>(response: &Response<B>) -> Option<String> {
    Some(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.to_owned())
}

async fn drain(mut body: hyper::body::Incoming, most: usize) {
    let mut read = 0;
    while read < most {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { return };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// An error of the network without addresses.
fn words(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => "connection refused".to_owned(),
        K::ConnectionReset => "connection reset".to_owned(),
        K::HostUnreachable | K::NetworkUnreachable => "it cannot be reached".to_owned(),
        K::TimedOut => "the connection timed out".to_owned(),
        kind => format!("no connection: {kind}"),
    }
}
