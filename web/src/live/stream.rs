//! `GET /events/stream`: server-sent events.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cathedral_model::ids::Cursor;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::topics::Topics;
use super::{Feed, Frame};
use crate::auth::{Credential, Identity, Who, credential};
use crate::problem::Problem;
use crate::state::Shared;

/// How many events are sent in one piece.
const PIECE: usize = 64;
/// A client this far behind is sent away: it does better by loading the page again.
const TOO_FAR: i64 = 100_000;

/// What a stream asks for.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Separated by commas: `run`, `run.finished`, `run:12`, `spoke:name`; none: everything.
    #[serde(default)]
    topics: String,
    /// Begins after this cursor; `Last-Event-ID` goes before it. None: from now on.
    after: Option<i64>,
}

/// Follows the event log from a cursor; resumes by `Last-Event-ID`.
pub async fn follow(
    State(state): State<Shared>,
    Who(who): Who,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let topics = Topics::parse(&wanted.topics)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.trim().parse().ok());
    let mut newest = state.feed.follow();
    if *newest.borrow() < Cursor(0) {
        // The log is looked at for the first time; this takes a moment at most.
        let looked = tokio::time::timeout(Duration::from_secs(5), newest.changed()).await;
        looked.map_err(|_| Problem::unavailable("not_now", "the event log is not open yet", 2))?.ok();
    }
    let end = *newest.borrow();
    if end == Feed::ENDED {
        return Err(Problem::unavailable("stopping", "the hub stops", 5));
    }
    // A cursor from another life of the hub (or made up) begins at the end.
    let cursor = last.or(wanted.after).map_or(end, |cursor| Cursor(cursor.clamp(0, end.0)));
    let place = Place::take(&state, &who)?;
    let client = Client {
        topics,
        cursor,
        sent: cursor,
        newest,
        access: state.access.subscribe(),
        credential: credential(&headers, state.is_https()),
        who,
        ready: VecDeque::new(),
        beat: Instant::now(),
        state,
        _place: place,
    };
    let hello = Bytes::from(format!(": cathedral\nretry: 2000\nid: {cursor}\n\n"));
    let first = stream::iter([Ok::<_, Infallible>(hello)]);
    let rest = stream::unfold(client, |mut client| async move {
        let piece = client.next().await?;
        Some((Ok(piece), client))
    });
    let mut response = Response::new(Body::from_stream(futures_util::StreamExt::chain(first, rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One open stream. It holds no more than one piece of events.
struct Client {
    state: Shared,
    who: Arc<Identity>,
    credential: Credential,
    topics: Topics,
    /// The last event that was looked at, and the last that the client was told of.
    cursor: Cursor,
    sent: Cursor,
    newest: watch::Receiver<Cursor>,
    access: watch::Receiver<u64>,
    ready: VecDeque<Arc<Frame>>,
    beat: Instant,
    _place: Place,
}

impl Client {
    /// Returns the next bytes; none when the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let newest = *self.newest.borrow_and_update();
            if newest == Feed::ENDED || newest.0.saturating_sub(self.cursor.0) > TOO_FAR {
                return None;
            }
            if self.cursor < newest {
                let frames = self.state.feed.after(self.state.store.as_ref(), self.cursor, PIECE).await.ok()?;
                if let Some(last) = frames.last() {
                    self.cursor = last.cursor;
                    self.ready.extend(frames.into_iter().filter(|frame| self.topics.want(&frame.event)));
                    if self.ready.is_empty() {
                        continue;
                    }
                    return Some(self.piece());
                }
                self.cursor = newest;
            }
            let beat = self.beat + Duration::from_millis(self.state.settings.heartbeat_ms);
            tokio::select! {
                moved = self.newest.changed() => moved.ok()?,
                _ = self.access.changed() => self.still_may().await?,
                () = tokio::time::sleep_until(beat) => {
                    self.beat = Instant::now();
                    self.still_may().await?;
                    // A filtered stream still moves its cursor, so that a resume is short.
                    if self.sent < self.cursor {
                        self.sent = self.cursor;
                        return Some(Bytes::from(format!(":\nid: {}\n\n", self.cursor)));
                    }
                    return Some(Bytes::from_static(b":\n\n"));
                }
            }
        }
    }

    fn piece(&mut self) -> Bytes {
        self.beat = Instant::now();
        self.sent = self.cursor;
        if self.ready.len() == 1
            && let Some(frame) = self.ready.pop_front()
        {
            return frame.text.clone();
        }
        let mut text = Vec::with_capacity(self.ready.iter().map(|frame| frame.text.len()).sum());
        self.ready.drain(..).for_each(|frame| text.extend_from_slice(&frame.text));
        text.into()
    }

    /// Ends the stream of whoever may not read any more.
    async fn still_may(&self) -> Option<()> {
        if self.who.secret().is_none() {
            return Some(());
        }
        let who = self.state.identify(&self.credential).await.ok()??;
        who.may(cathedral_model::access::Action::Read).then_some(())
    }
}

/// A place among the open streams, given back when dropped.
struct Place {
    key: u128,
    by_key: Arc<Mutex<HashMap<u128, usize>>>,
    all: Arc<AtomicUsize>,
}

impl Place {
    fn take(state: &Shared, who: &Identity) -> Result<Self, Problem> {
        let full = || Problem::too_many(5).hint("close other pages of the hub");
        let key = who.secret().map_or(0, |secret| crate::limit::text_key(&secret.0));
        if state.stream_count.load(Ordering::Relaxed) >= state.settings.streams {
            return Err(full());
        }
        let mut by_key = state.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_key.entry(key).or_insert(0);
        if key != 0 && *count >= state.settings.streams_per_key {
            return Err(full());
        }
        *count += 1;
        state.stream_count.fetch_add(1, Ordering::Relaxed);
        Ok(Self { key, by_key: Arc::clone(&state.streams), all: Arc::clone(&state.stream_count) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}
