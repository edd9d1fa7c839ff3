//! A hub that runs elsewhere: `--hub URL` has it carry out the command, and prints what it says.

mod frames;
mod permit;

use std::net::SocketAddr;
use std::time::Duration;

use cathedral_model::config::notify::Target;
use cathedral_web::api::commands::MEDIA_TYPE;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::args::{Color, Command, ConfigCommand, Global, ProofCommand};
use super::{Ended, Failure, Output, safe};
use frames::{Frame, Frames};
pub use permit::needs;

/// How long the hub may take to be reached and to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A refusal is never longer than this.
const REFUSAL: usize = 1 << 20;

/// Whether a command needs no hub at all and works where it is typed, whatever hub is named.
///
/// # Errors
/// It works on a hub of this machine only: that is not what was named.
pub fn is_here(command: &Command) -> Result<bool, Failure> {
    Ok(match command {
        Command::MergeFile { .. }
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Schema { .. }
        | Command::Help { .. }
        | Command::Proof { what: None, .. } => true,
        Command::Config { what } => matches!(
            what,
            ConfigCommand::Explain { .. } | ConfigCommand::Schema | ConfigCommand::Validate { file: Some(_) }
        ),
        Command::Demo { .. } => return Err(only_here("cathedral demo")),
        Command::Up { .. } => return Err(only_here("cathedral up")),
        Command::Init { .. } => return Err(only_here("cathedral init")),
        Command::Restore(args) if args.offline => return Err(only_here("cathedral restore --offline")),
        _ => false,
    })
}

fn only_here(command: &str) -> Failure {
    Failure::new(2, "C1005", format!("`{command}` works on this machine, and --hub names a hub elsewhere"))
        .why("nothing was changed")
        .next("leave --hub out, and CATHEDRAL_HUB unset: unset CATHEDRAL_HUB")
}

/// Has the hub carry out the command that was typed, and ends as it ended there.
pub async fn run(command: &Command, global: &Global, output: &Output) -> Ended {
    let url = global.hub.as_deref().unwrap_or_default();
    if global.dir.is_some() || global.config.is_some() {
        return Err(Failure::new(
            2,
            "C1201",
            "-C and --config name a folder of this machine, and --hub a hub elsewhere",
        )
        .why("the hub has one configuration, its own; nothing was changed")
        .next("leave out one or the other"));
    }
    let typed = std::env::args_os().skip(1).map(|word| word.into_string());
    let typed: Result<Vec<String>, _> = typed.collect();
    let typed = typed.map_err(|_| {
        Failure::new(2, "C1201", "the command holds something that is not UTF-8").next("type it on the hub's machine")
    })?;
    let (mut words, _) = without(&typed, "--hub");
    if global.color == Color::Auto {
        // What this side wants is not what the hub's own environment says.
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if set("NO_COLOR") || std::env::var("TERM").is_ok_and(|term| term == "dumb") {
            words.insert(0, "--color=never".to_owned());
        } else if set("CLICOLOR_FORCE") {
            words.insert(0, "--color=always".to_owned());
        }
    }
    let place = match command {
        Command::Proof { what: Some(ProofCommand::Snapshot { out, .. } | ProofCommand::Leaf { out, .. }), .. }
            if out.as_os_str() != "-" =>
        {
            // The file belongs here: the hub prints it.
            words = without(&words, "--out").0;
            words.extend(["--out".to_owned(), "-".to_owned()]);
            Some(out)
        }
        _ => None,
    };
    let response = asked(url, &words, output).await?;
    let mut kept = vec![];
    let code = follow(response, place.is_some().then_some(&mut kept), output).await?;
    if let Some(place) = place
        && code == 0
    {
        super::commands::write_new(place, &kept)?;
        output.data("proof", &json!({ "file": place, "bytes": kept.len() }), &[]);
        output.note(format!("proof written to {}", Output::safe_path(place)));
    }
    Ok(code)
}

/// Takes an option with its value out of the words, wherever it stands before `--`.
fn without(words: &[String], option: &str) -> (Vec<String>, Option<String>) {
    let (mut rest, mut value) = (vec![], None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            rest.extend(words.by_ref().cloned());
        } else if word == option {
            value = words.next().cloned();
        } else if let Some(given) = word.strip_prefix(option).and_then(|text| text.strip_prefix('=')) {
            value = Some(given.to_owned());
        } else {
            rest.push(word.clone());
        }
    }
    (rest, value)
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where a hub is, and what to say to it.
struct Way {
    stream: Box<dyn Stream>,
    host: String,
    token: Option<String>,
}

async fn asked(url: &str, words: &[String], output: &Output) -> Result<Response<Incoming>, Failure> {
    let asked = async {
        let way = way(url).await?;
        ask(way, words, output).await
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(unreachable(url, &format!("no answer within {} s", PATIENCE.as_secs()))
            .why("whether the command arrived is not known: it may have been carried out"))
    })
}

async fn way(url: &str) -> Result<Way, Failure> {
    if let Some(path) = url.strip_prefix("unix:") {
        let stream = UnixStream::connect(path).await.map_err(|e| unreachable(url, &e.to_string()))?;
        return Ok(Way { stream: Box::new(stream), host: "localhost".to_owned(), token: None });
    }
    let wrong = |why: &str| {
        Failure::new(2, "C1201", "the address of the hub cannot be used")
            .why(why)
            .next("--hub https://hub.example    or http://127.0.0.1:7420, or unix:/srv/hub/.cathedral/hub.sock")
    };
    let target = Target::parse(url).map_err(wrong)?;
    if target.path != "/" {
        return Err(wrong("it has a path; a hub stands at the root of its address"));
    }
    let token = token()?;
    let addresses = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let addresses: Vec<SocketAddr> = addresses.map_err(|_| unreachable(url, "its name cannot be resolved"))?.collect();
    if !target.is_https && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Failure::new(
            7,
            "C1703",
            format!("{} is not on this machine, and http does not protect a token", safe(url)),
        )
        .why("whoever reads along could do with the hub what the token may; nothing was sent")
        .next("--hub https://…    the address that `web.public_url` names")
        .next("ssh -L 7420:127.0.0.1:7420 HOST    then --hub http://127.0.0.1:7420"));
    }
    let mut last = "its name stands for no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let stream = secured(stream, &target).await.map_err(|why| unreachable(url, &why))?;
                return Ok(Way { stream, host: target.authority(), token: Some(token) });
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(unreachable(url, &last))
}

/// The token that programs and people come in with.
fn token() -> Result<String, Failure> {
    let token = std::env::var("CATHEDRAL_TOKEN").unwrap_or_default();
    let token = token.trim();
    if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(token.to_owned());
    }
    Err(Failure::new(5, "C1501", "there is no token for the hub")
        .why(if token.is_empty() { "CATHEDRAL_TOKEN is not set" } else { "CATHEDRAL_TOKEN holds what no token has" })
        .next("cathedral token new --scope viewer    on the hub's machine makes one; operator may sync, admin may all")
        .next("read -rs CATHEDRAL_TOKEN && export CATHEDRAL_TOKEN    takes it without leaving it in the history"))
}

#[cfg(feature = "tls")]
async fn secured(stream: TcpStream, target: &Target) -> Result<Box<dyn Stream>, String> {
    if !target.is_https {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(cathedral_web::notify::tls::handshake(stream, &target.host).await?))
}

#[cfg(not(feature = "tls"))]
async fn secured(stream: TcpStream, target: &Target) -> Result<Box<dyn Stream>, String> {
    if target.is_https {
        return Err("this program was built without https (feature `tls`)".to_owned());
    }
    Ok(Box::new(stream))
}

async fn ask(way: Way, words: &[String], output: &Output) -> Result<Response<Incoming>, Failure> {
    let broken = |why: hyper::Error| Failure::new(6, "C1601", format!("the hub broke off: {why}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(way.stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let (out, err) = output.columns();
    let body = json!({ "arguments": words, "terminal": { "out": out, "err": err, "utf8": output.is_utf8() } });
    let mut request = Request::post("/api/v1/commands")
        .header(header::HOST, way.host)
        .header(header::ACCEPT, format!("{MEDIA_TYPE}, application/problem+json"))
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = way.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body.to_string())));
    let request = request.map_err(|e| Failure::new(2, "C1201", format!("the request cannot be made: {e}")))?;
    let response = sender.send_request(request).await.map_err(|why| {
        broken(why)
            .why("the command had been sent: it may have been carried out")
            .next("cathedral runs    or the list of what it makes (snapshot list, token list) says whether it was")
    })?;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if status == StatusCode::OK && kind == MEDIA_TYPE {
        return Ok(response);
    }
    let is_problem = kind.starts_with("application/problem+json");
    let body = Limited::new(response.into_body(), REFUSAL).collect().await.map(|body| body.to_bytes());
    let problem: Value = body.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    Err(if is_problem {
        refused(status, &problem)
    } else {
        Failure::new(6, "C1601", format!("what answers there is no hub of this kind: it answered {status}"))
            .why("a hub of this version carries out commands at /api/v1/commands")
            .next("look at the address, and at `cathedral --version` on both machines")
    })
}

fn refused(status: StatusCode, problem: &Value) -> Failure {
    let failure = crate::remote::refused(status, problem);
    match problem.get("code").and_then(Value::as_str) {
        Some("signed_out") => Failure::new(5, "C1501", "the hub does not know the token in CATHEDRAL_TOKEN")
            .why("it was revoked, has run out, or is of another hub")
            .next("cathedral token list    on the hub's machine; cathedral token new --scope viewer makes another"),
        Some("needs_role") => failure.why("the token that was given may do less; nothing was changed"),
        Some("not_from_elsewhere") => {
            Failure { code: 2, id: "C1005", why: Some("nothing was changed".into()), ..failure }
        }
        _ => failure,
    }
}

/// Prints what the hub says until it says how the command ended; standard output goes to `kept` where one is given.
async fn follow(response: Response<Incoming>, mut kept: Option<&mut Vec<u8>>, output: &Output) -> Ended {
    let cut = |why: &str| {
        Failure::new(6, "C1601", format!("the connection to the hub was lost: {why}"))
            .why("the hub stops a command that nobody listens to; a run goes on from its journal")
            .next("cathedral runs    says how far it came")
    };
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(piece) = body.frame().await {
        let piece = piece.map_err(|e| cut(&e.to_string()))?;
        let Ok(data) = piece.into_data() else { continue };
        frames.push(&data);
        while let Some(frame) = frames.next().map_err(&cut)? {
            match (frame, &mut kept) {
                (Frame::Exit(code), _) => return Ok(code),
                (Frame::Out(bytes), Some(kept)) => kept.extend_from_slice(&bytes),
                (Frame::Out(bytes), None) => output.raw(&bytes),
                (Frame::Err(bytes), _) => Output::bytes_err(&bytes),
            }
        }
    }
    Err(cut("it ended before the command did"))
}

fn unreachable(url: &str, why: &str) -> Failure {
    Failure::new(6, "C1601", format!("the hub at {} cannot be reached: {}", safe(url), safe(why)))
        .next("cathedral up    on the hub's machine starts it; cathedral doctor looks at it there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_taken_out_in_either_form_and_not_behind_the_dashes() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (rest, value) = without(&words("status --hub http://h --json"), "--hub");
        assert_eq!((rest, value.as_deref()), (words("status --json"), Some("http://h")));
        let (rest, value) = without(&words("--hub=unix:/s sync -- --hub x"), "--hub");
        assert_eq!((rest, value.as_deref()), (words("sync -- --hub x"), Some("unix:/s")));
    }
}
