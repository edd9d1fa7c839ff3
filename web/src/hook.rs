//! Webhooks in: one door a source. The source comes from the route, never from a header.
//!
//! What a stranger can cost: the body is not read before its length and encoding are allowed, it is read
//! within a time and within the memory that all bodies share, and nothing in it is looked at before its
//! signature holds. After that the delivery is made durable and answered; what follows from it is
//! decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::State;

pub mod github;

pub(crate) fn routes(routes: Routes) -> Routes {
    routes.post("/hooks/github", Access::Signed, github::receive)
}

/// A body and the room it takes among all bodies.
pub(crate) struct Received {
    pub bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// Room is taken in pieces of this size.
const PIECE: usize = 64 << 10;

fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a delivery has at most {most} bytes"))
}

/// Checks what can be checked before the body: its declared length and its encoding.
fn check_head(headers: &HeaderMap, most: usize) -> Result<Option<usize>, Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let detail = "the body must not be compressed";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", detail));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length: u64 = length
        .to_str()
        .ok()
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| Problem::bad_request("content_length", "the content length is no number"))?;
    match usize::try_from(length) {
        Ok(length) if length <= most => Ok(Some(length)),
        _ => Err(too_large(most)),
    }
}

/// Reads a body within the limits on size, time and shared memory.
pub(crate) async fn receive(state: &State, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    let most = state.settings.hook_bytes;
    let declared = check_head(headers, most)?;
    let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the delivery took too long to arrive");
    let limit = Duration::from_millis(state.settings.body_ms);
    tokio::time::timeout(limit, read(state, body, declared, most)).await.map_err(|_| slow())?
}

async fn read(state: &State, body: Body, declared: Option<usize>, most: usize) -> Result<Received, Problem> {
    // Room and memory grow with what arrives: a length that is only declared costs nothing.
    let mut received = Received { bytes: Vec::with_capacity(declared.unwrap_or(0).min(PIECE)), room: None };
    let mut held = 0;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::bad_request("body", "the body ended early"))?;
        let size = received.bytes.len() + piece.len();
        if size > most {
            return Err(too_large(most));
        }
        while held < size {
            received.take_room(state)?;
            held += PIECE;
        }
        received.bytes.extend_from_slice(&piece);
    }
    Ok(received)
}

impl Received {
    /// Takes room for one more piece. Nobody waits for it: two half-read bodies could wait for each other.
    fn take_room(&mut self, state: &State) -> Result<(), Problem> {
        let full = || Problem::unavailable("busy", "too many deliveries arrive at once", 1);
        let kib = u32::try_from(PIECE / 1_024).map_err(|_| full())?;
        let more = Arc::clone(&state.hook_room).try_acquire_many_owned(kib).map_err(|_| full())?;
        match &mut self.room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}
