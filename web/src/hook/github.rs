//! `POST /hooks/github`.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cathedral_model::ids::Digest;
use cathedral_model::intake::{Accepted, Delivery, Hint};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::hub::Secret;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::state::{Shared, State as Hub};

const SOURCE: &str = "github";

/// Events whose fields are read; all others are counted and accepted. Also the labels of the metric.
const TYPED: [&str; 6] = ["push", "create", "delete", "ping", "repository", "pull_request"];

/// Takes one delivery. 202 means: it is authentic and durable.
pub(crate) async fn receive(
    State(state): State<Shared>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let taken = take(&state, &parts.headers, body).await;
    match taken {
        Ok((event, accepted)) => {
            let word = if accepted == Accepted::New { "new" } else { "duplicate" };
            state.metrics.delivery(SOURCE, event, word);
            Ok((StatusCode::ACCEPTED, Json(serde_json::json!({ "accepted": word }))).into_response())
        }
        Err(problem) => {
            state.metrics.delivery(SOURCE, "other", "refused");
            // Only those who fail are counted: a valid signature goes through at any rate.
            if problem.status == StatusCode::UNAUTHORIZED {
                state.anonymous.take(peer.key(), state.now()).map_err(Problem::too_many)?;
            }
            Err(problem)
        }
    }
}

async fn take(state: &Hub, headers: &HeaderMap, body: axum::body::Body) -> Result<(&'static str, Accepted), Problem> {
    let received = super::receive(state, headers, body).await?;
    check_signature(headers, &received.bytes, &state.hub.webhook_secrets(SOURCE))?;
    let word = |name: &str| {
        let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let fits = (1..=128).contains(&text.len()) && plain;
        fits.then(|| text.to_owned()).ok_or_else(|| Problem::bad_request("header", format!("{name} is missing or odd")))
    };
    let (id, event) = (word("x-github-delivery")?, word("x-github-event")?);
    let label = TYPED.into_iter().find(|typed| *typed == event);
    let delivery = Delivery {
        source: SOURCE.into(),
        id,
        hint: hint(headers, &received.bytes, label.is_some())?,
        event,
        body_digest: Digest::of(&received.bytes),
        body_bytes: received.bytes.len() as u64,
    };
    drop(received);
    let began = std::time::Instant::now();
    let accepted = state.ports.intake.accept(&delivery, state.now()).await?;
    state.metrics.commit(began.elapsed());
    if accepted == Accepted::New {
        state.bell.ring();
    }
    Ok((label.unwrap_or("other"), accepted))
}

/// The same answer for every reason: a stranger learns nothing.
fn unsigned() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "signature", "the signature is missing or not right")
}

/// Whether any live secret signed the raw body. Every secret is tried, in the same time for all.
fn check_signature(headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> Result<(), Problem> {
    let mut given = headers.get_all("x-hub-signature-256").iter();
    let (Some(first), None) = (given.next(), given.next()) else { return Err(unsigned()) };
    let text = first.as_bytes().strip_prefix(b"sha256=").ok_or_else(unsigned)?;
    // GitHub writes lower case; anything else is not from there.
    if text.len() != 64 || text.iter().any(u8::is_ascii_uppercase) {
        return Err(unsigned());
    }
    let wanted = hex::decode(text).map_err(|_| unsigned())?;
    let mut fits = false;
    for secret in secrets.iter().filter(|secret| !secret.0.is_empty()) {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret.0).map_err(|_| unsigned())?;
        mac.update(body);
        fits |= mac.verify_slice(&wanted).is_ok();
    }
    if fits { Ok(()) } else { Err(unsigned()) }
}

/// The fields of a payload that are read. What is not named here is skipped without being kept.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    #[serde(rename = "ref")]
    reference: Option<String>,
    ref_type: Option<String>,
    before: Option<String>,
    after: Option<String>,
    action: Option<String>,
    repository: Option<Repository>,
    sender: Option<Sender>,
    pull_request: Option<PullRequest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Repository {
    id: Option<i64>,
    full_name: Option<String>,
    clone_url: Option<String>,
    ssh_url: Option<String>,
    git_url: Option<String>,
    html_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sender {
    login: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PullRequest {
    base: Option<Branch>,
    head: Option<Branch>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Branch {
    #[serde(rename = "ref")]
    reference: Option<String>,
    sha: Option<String>,
}

/// Reads the hint. A payload of an event that is not typed only has to be JSON.
fn hint(headers: &HeaderMap, body: &[u8], typed: bool) -> Result<Hint, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => read(body, typed),
        "application/x-www-form-urlencoded" => read(&form_payload(body)?, typed),
        _ => {
            let detail = "the delivery is neither JSON nor a form";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail))
        }
    }
}

fn wrong() -> Problem {
    Problem::bad_request("payload", "the payload is not what GitHub sends")
}

fn read(json: &[u8], typed: bool) -> Result<Hint, Problem> {
    if !is_shallow_object(json) {
        return Err(wrong());
    }
    match parse(json) {
        Err(_) if !typed && serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok() => Ok(Hint::default()),
        read => read,
    }
}

/// Whether a text begins as an object and no bracket in it is deeper than any real payload's. What is
/// skipped is not bounded by the parser.
fn is_shallow_object(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 100 {
            return false;
        }
    }
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn parse(json: &[u8]) -> Result<Hint, Problem> {
    let mut payload: Payload = serde_json::from_slice(json).map_err(|_| wrong())?;
    let repository = payload.repository.take().unwrap_or_default();
    let pull = payload.pull_request.take().unwrap_or_default();
    let (base, head) = (pull.base.unwrap_or_default(), pull.head.unwrap_or_default());
    // `create` and `delete` name a ref without its namespace, `push` with it.
    let reference = match (payload.reference, payload.ref_type.as_deref()) {
        (Some(name), Some("branch")) => Some(format!("refs/heads/{name}")),
        (Some(name), Some("tag")) => Some(format!("refs/tags/{name}")),
        (Some(name), _) => Some(name),
        (None, _) => base.reference.map(|name| format!("refs/heads/{name}")),
    };
    let addresses = [repository.clone_url, repository.ssh_url, repository.git_url, repository.html_url];
    Ok(Hint {
        repository_id: repository.id,
        repository: short(repository.full_name),
        urls: addresses.into_iter().filter_map(short).collect(),
        reference: short(reference),
        before: short(payload.before),
        after: short(payload.after).or_else(|| short(head.sha)),
        action: short(payload.action),
        sender: short(payload.sender.and_then(|sender| sender.login)),
    })
}

/// A text as a hint may hold it; one that is too long is left out, since half a name is another name.
fn short(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.chars().count() <= 1_024)
}

/// The decoded `payload` of a form. The signature was over the raw form.
fn form_payload(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let wrong = || Problem::bad_request("payload", "the form has no payload");
    let field = body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"payload=")).ok_or_else(wrong)?;
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(*digit).to_digit(16));
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                u8::try_from(high * 16 + low).map_err(|_| wrong())?
            }
            other => *other,
        });
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The example of GitHub's documentation on validating deliveries.
    #[test]
    fn a_signature_is_checked_as_github_documents_it() {
        let secrets = [Secret(b"old".to_vec()), Secret(b"It's a Secret to Everybody".to_vec())];
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let fits = |value: &str, secrets: &[Secret]| {
            let mut headers = HeaderMap::new();
            headers.append("x-hub-signature-256", value.parse().unwrap());
            check_signature(&headers, b"Hello, World!", secrets).is_ok()
        };
        assert!(fits(good, &secrets));
        assert!(!fits(good, &secrets[..1]));
        assert!(!fits(good, &[]));
        for bad in [&good.replace('7', "8"), &good.to_uppercase(), &good[..70], &format!("{good}0"), &good[7..], ""] {
            assert!(!fits(bad, &secrets), "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append("x-hub-signature-256", good.parse().unwrap());
        twice.append("x-hub-signature-256", good.parse().unwrap());
        assert!(check_signature(&twice, b"Hello, World!", &secrets).is_err());
        let mut old = HeaderMap::new();
        old.append("x-hub-signature", "sha1=0".parse().unwrap());
        assert!(check_signature(&old, b"Hello, World!", &secrets).is_err());
    }

    #[test]
    fn few_fields_are_read_and_long_ones_left_out() {
        let parse = |json: &[u8]| read(json, true);
        let hint = parse(br#"{"ref":"refs/heads/main","before":"a","after":"b","x":{"y":[1]},
            "repository":{"id":7,"full_name":"o/n","clone_url":"https://example.com/o/n.git"},"sender":{"login":"jo"}}"#).unwrap();
        assert_eq!(hint.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!((hint.repository_id, hint.repository.as_deref()), (Some(7), Some("o/n")));
        assert_eq!(hint.urls, ["https://example.com/o/n.git"]);
        let tag = parse(br#"{"ref":"v1","ref_type":"tag"}"#).unwrap();
        assert_eq!(tag.reference.as_deref(), Some("refs/tags/v1"));
        let long = format!(r#"{{"ref":"{}"}}"#, "x".repeat(1_025));
        assert_eq!(parse(long.as_bytes()).unwrap().reference, None);
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(parse(deep.as_bytes()).is_err(), "depth is bounded");
        assert!(parse(br#"{"x":"[[[ \" [["}"#).is_ok(), "brackets in texts are text");
        assert!(parse(br#"{"ref":7}"#).is_err());
        assert_eq!(read(br#"{"ref":7}"#, false), Ok(Hint::default()), "an event that is not typed only has to be JSON");
        assert!(parse(b"{").is_err() && parse(b"[]").is_err());
        assert_eq!(form_payload(b"a=b&payload=%7B%22ref%22%3A+%22x%22%7D").unwrap(), br#"{"ref": "x"}"#);
        assert!(form_payload(b"payload=%7").is_err() && form_payload(b"x=1").is_err());
    }
}
