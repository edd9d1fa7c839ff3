//! Listens: one loop for TCP and for the socket in the hub's own folder.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

use crate::peer::Peer;
use crate::state::Shared;

/// The head of a request may have this many bytes.
const HEAD_BYTES: usize = 32 << 10;
/// After the signal, open requests have this long to end.
const GRACE: Duration = Duration::from_secs(10);

/// After an answer that closes a connection, what still arrives is read and dropped for this long.
const LINGER: Duration = Duration::from_secs(1);

/// What is listened on.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    /// Whoever can open the socket is the owner of the hub's folder and asks as its administrator.
    Local(LocalListener),
}

/// A Unix socket that only its owner can open; removed when dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalListener {
    /// Binds the socket, mode 0600. One that is left from before is replaced; the caller must hold the
    /// lock of the folder.
    pub fn bind(path: &Path) -> io::Result<Self> {
        // The mode is set before the name is the one that clients know.
        let aside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        let placed = std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&aside, path));
        if let Err(error) = placed {
            let _ = std::fs::remove_file(&aside);
            return Err(error);
        }
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves until `stop` is true (or its sender is gone), then lets open requests end. May run for several
/// listeners with one router.
pub async fn serve(
    listener: Listener,
    router: Router,
    state: Shared,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(state.settings.connections));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stopped(&mut stop) => break,
            place = Arc::clone(&room).acquire_owned() => place.expect("the room is never closed"),
        };
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = open.join_next() => { drop(place); continue }
            accepted = accept(&listener) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, stop, settings) = (router.clone(), stop.clone(), state.settings.clone());
        open.spawn(async move {
            let _place = place;
            connection(stream, peer, router, &settings, stop).await;
        });
    }
    state.feed.end();
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!(open = open.len(), "requests are cut off: they did not end in time");
    }
    Ok(())
}

/// Completes when the hub is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Either kind of stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Peer::Address(address.ip())))
        }
        Listener::Local(local) => {
            let (stream, _) = local.listener.accept().await?;
            Ok((Box::new(stream), Peer::Local))
        }
    }
}

async fn connection(
    stream: Box<dyn Stream>,
    peer: Peer,
    router: Router,
    settings: &crate::state::Settings,
    mut stop: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request.map(Body::new))
    });
    let stream = Patient { inner: stream, stall: Duration::from_millis(settings.stall_ms), since: None, linger: None };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.head_ms))
        .max_buf_size(HEAD_BYTES)
        .max_headers(100);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A stream that gives up when the other side takes no byte for too long, and that closes so that a
/// refusal arrives: closing over unread bytes would reset the connection before they have read it.
struct Patient {
    inner: Box<dyn Stream>,
    stall: Duration,
    since: Option<Pin<Box<Sleep>>>,
    /// After our end: how long the rest of what they send is read and dropped.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.since = None;
            return poll;
        }
        let stall = self.stall;
        let sleep = self.since.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let poll = Pin::new(&mut self.inner).poll_shutdown(cx);
            match self.watch(cx, poll) {
                Poll::Ready(Ok(())) => self.linger = Some(Box::pin(tokio::time::sleep(LINGER))),
                other => return other,
            }
        }
        let mut scratch = [0; 8_192];
        loop {
            if self.linger.as_mut().is_none_or(|sleep| sleep.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
