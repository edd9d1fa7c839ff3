//! Commands of the command line, carried out where the hub is: what `--hub` asks for.
//!
//! The answer is a stream of frames, each a header of eight bytes (kind, three zero bytes, length of what
//! follows as a big-endian number of 32 bits) and its bytes. Kind 1 is standard output, 2 standard error, 0 the
//! exit code as one byte, which comes last: a stream that ends without it was cut off. The frames are those of
//! the Docker Engine API (`application/vnd.docker.multiplexed-stream`) with the exit code added.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use hyper::body::Bytes;
use serde::Deserialize;

use super::Json;
use super::doc::Doc;
use crate::auth::Who;
use crate::hub::{Said, Terminal, Unfit};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

/// What the answer is made of.
pub const MEDIA_TYPE: &str = "application/vnd.cathedral.command-stream";

/// Words of one command, and their bytes.
const WORDS: usize = 4096;
/// So many commands are carried out at the same time.
const AT_ONCE: usize = 8;

/// A command to carry out.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The words after `cathedral`, such as `["status", "--json"]`.
    arguments: Vec<String>,
    /// How the output is looked at; a pipe unless given.
    #[serde(default)]
    terminal: Terminal,
}

pub(super) fn routes(routes: Routes) -> Routes {
    let doc = Doc::new("Carries out a command of the command line and streams what it prints")
        .body::<Wanted>()
        .file(MEDIA_TYPE);
    // Which role it needs depends on the command: the handler asks before anything is begun.
    routes.add(Method::POST, "/api/v1/commands", Access::SignedIn, Some(doc), run)
}

async fn run(State(state): State<Shared>, Who(who): Who, Json(wanted): Json<Wanted>) -> Result<Response, Problem> {
    if wanted.arguments.len() > WORDS || wanted.arguments.iter().any(|word| word.contains('\0')) {
        return Err(Problem::invalid("arguments", "these are no words of a command line"));
    }
    let action = state.hub.command_needs(&wanted.arguments).map_err(unfit)?;
    if !who.may(action) {
        let needed = action.needs().as_str();
        let detail = format!("this command needs the role {needed}; yours is {}", who.role.as_str());
        return Err(Problem::forbidden("needs_role", detail)
            .hint(format!("cathedral token new --scope {needed}    on the hub's machine makes one that may")));
    }
    if matches!(action.needs(), cathedral_model::access::Role::Admin) {
        who.require_fresh(&state)?;
    }
    let Ok(place) = std::sync::Arc::clone(&state.commands).try_acquire_owned() else {
        return Err(Problem::unavailable("busy", format!("{AT_ONCE} commands are under way already"), 2));
    };
    tracing::info!(
        actor = who.name,
        command = wanted.arguments.first().map_or("", String::as_str),
        "a command from elsewhere"
    );
    let said = state.hub.command(wanted.arguments, &wanted.terminal, &who.name).await?;
    let frames = stream::unfold(Some((said, place)), |under_way| async move {
        let (mut said, place) = under_way?;
        // Without an exit code the stream just ends: that is how whoever asked knows that it was cut off.
        let piece = said.recv().await?;
        let is_last = matches!(piece, Said::Exit(_));
        Some((Ok::<_, Infallible>(frame(&piece)), (!is_last).then_some((said, place))))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The places for commands under way.
pub(crate) fn places() -> std::sync::Arc<tokio::sync::Semaphore> {
    std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE))
}

fn unfit(why: Unfit) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_from_elsewhere", why.what);
    match why.next {
        Some(next) => problem.hint(next),
        None => problem,
    }
}

fn frame(said: &Said) -> Bytes {
    let (kind, bytes) = match said {
        Said::Exit(code) => (0, std::slice::from_ref(code)),
        Said::Out(bytes) => (1, bytes.as_ref()),
        Said::Err(bytes) => (2, bytes.as_ref()),
    };
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind, 0, 0, 0][..], &length, bytes].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_which_stream_and_how_long() {
        assert_eq!(&frame(&Said::Out(Bytes::from_static(b"ab")))[..], [1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']);
        assert_eq!(&frame(&Said::Exit(12))[..], [0, 0, 0, 0, 0, 0, 0, 1, 12]);
    }
}
