//! Live events: the bell, the one reader of the event log, and what it holds ready for streams.
//!
//! A commit rings the bell. One task reads the log from its cursor and keeps the newest events rendered;
//! every stream reads them at its own pace by its own cursor, and from the store when it is far behind.
//! So a slow client costs no memory, and ten thousand clients cost one read of the store.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cathedral_model::event::Event;
use cathedral_model::ids::Cursor;
use cathedral_model::ports::{PortError, Store};
use tokio::sync::watch;

pub mod stream;
pub mod topics;

/// Tells that something was committed. Ringing is cheap and never waits; rings between two looks are one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<watch::Sender<u64>>);

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Bell {
    /// Rings: call it after a commit that wrote events.
    pub fn ring(&self) {
        self.0.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Returns something that hears every ring from now on.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// An event as streams carry it.
#[derive(Debug)]
pub struct Frame {
    pub cursor: Cursor,
    pub event: Event,
    /// The lines of the stream, with the blank one at the end.
    pub text: axum::body::Bytes,
}

impl Frame {
    fn of(event: Event) -> Self {
        let data = serde_json::to_string(&shown(&event)).unwrap_or_else(|_| "{}".into());
        // JSON on one line: no text in it can end a field of the stream.
        let text = format!("id: {}\ndata: {data}\n\n", event.cursor);
        Self { cursor: event.cursor, text: text.into(), event }
    }
}

/// An event as streams and API show it.
#[must_use]
pub fn shown(event: &Event) -> serde_json::Value {
    serde_json::json!({
        "cursor": event.cursor,
        "at": event.at.to_rfc3339(),
        "type": event.event.kind,
        "run": event.event.run,
        "spoke": event.event.spoke,
        "data": event.event.data,
    })
}

/// How many events are held ready.
const HELD: usize = 2_048;
/// How many are read at once.
const PAGE: u32 = 256;
/// The log is looked at this often even when no bell rings: another node may have written.
const SAFETY_NET: Duration = Duration::from_secs(2);

/// All events after `base`, oldest first.
#[derive(Debug, Default)]
struct Held {
    base: Cursor,
    frames: VecDeque<Arc<Frame>>,
}

/// The newest events, ready for streams.
#[derive(Debug)]
pub struct Feed {
    held: RwLock<Held>,
    /// The newest event of the log that is held; [`Self::ENDED`] when the hub stops.
    newest: watch::Sender<Cursor>,
}

impl Feed {
    /// What [`Self::follow`] shows when the hub stops.
    pub const ENDED: Cursor = Cursor(i64::MAX);

    /// Starts the reader.
    pub(crate) fn start(store: Arc<dyn Store>, bell: Bell) -> Arc<Self> {
        let feed = Arc::new(Self { held: RwLock::default(), newest: watch::Sender::new(Cursor(-1)) });
        let weak = Arc::downgrade(&feed);
        let mut rings = bell.listen();
        tokio::spawn(async move {
            let mut at = loop {
                match store.newest_event().await {
                    Ok(cursor) => break cursor,
                    Err(error) => tracing::warn!(%error, "the event log cannot be read"),
                }
                tokio::time::sleep(SAFETY_NET).await;
                if weak.strong_count() == 0 {
                    return;
                }
            };
            if let Some(feed) = weak.upgrade() {
                feed.held.write().unwrap_or_else(PoisonError::into_inner).base = at;
            }
            loop {
                let Some(feed) = weak.upgrade() else { return };
                if *feed.newest.borrow() == Self::ENDED {
                    return;
                }
                match store.events(at, PAGE).await {
                    Ok(events) => {
                        let full = events.len() >= PAGE as usize;
                        at = events.last().map_or(at, |event| event.cursor);
                        feed.take(events, at);
                        if full {
                            continue;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the event log cannot be read"),
                }
                drop(feed);
                let _ = tokio::time::timeout(SAFETY_NET, rings.changed()).await;
            }
        });
        feed
    }

    fn take(&self, events: Vec<Event>, newest: Cursor) {
        if !events.is_empty() {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.frames.extend(events.into_iter().map(|event| Arc::new(Frame::of(event))));
            let surplus = held.frames.len().saturating_sub(HELD);
            for _ in 0..surplus {
                held.base = held.frames.pop_front().map_or(held.base, |frame| frame.cursor);
            }
        }
        self.newest.send_if_modified(|now| {
            let moves = *now != Self::ENDED && *now != newest;
            if moves {
                *now = newest;
            }
            moves
        });
    }

    /// Ends all streams: the hub stops.
    pub fn end(&self) {
        self.newest.send_replace(Self::ENDED);
    }

    /// Tells of the newest cursor, now and whenever it moves.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Cursor> {
        self.newest.subscribe()
    }

    /// The newest event's cursor; -1 while the log has not been looked at.
    #[must_use]
    pub fn newest(&self) -> Cursor {
        *self.newest.borrow()
    }

    /// Returns up to `limit` events after a cursor, from memory or else from the store.
    pub(crate) async fn after(
        &self,
        store: &dyn Store,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Vec<Arc<Frame>>, PortError> {
        {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            if held.base <= cursor {
                let from = held.frames.partition_point(|frame| frame.cursor <= cursor);
                return Ok(held.frames.range(from..).take(limit).map(Arc::clone).collect());
            }
        }
        let events = store.events(cursor, u32::try_from(limit).unwrap_or(PAGE)).await?;
        Ok(events.into_iter().map(|event| Arc::new(Frame::of(event))).collect())
    }
}
