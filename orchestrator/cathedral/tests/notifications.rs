//! Who is told what happens is told: signed, at least once, by the hub that serves, and no secret is shown.

#![allow(clippy::unwrap_used)]

#[path = "serve_support/receiver.rs"]
mod receiver;
mod serve_support;
mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use receiver::{Came, Receiver, Says, says};
use serve_support::{Served, awaited};
use support::world::{World, write};
use support::{Ran, outputs, scratch};

/// Base64 of "old-old-old-old-old-old-old-old-" and of the same with "new".
const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC0=";
const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldy0=";

/// A world whose hub tells `ops` everything.
fn world(place: &Path, url: &str, more: &str) -> World {
    let world = World::build(&place.join("world"));
    fs::create_dir_all(world.state().join("keys")).unwrap();
    fs::write(world.state().join("keys/old"), format!("{OLD}\n")).unwrap();
    fs::write(world.state().join("keys/new"), format!("{NEW}\n")).unwrap();
    fs::write(world.state().join("keys/url"), format!("{url}\n")).unwrap();
    let text = fs::read_to_string(world.config()).unwrap();
    let more = format!(
        "{text}  web: {{ public_url: \"http://hub.example\" }}\n  egress: {{ allow: [127.0.0.1] }}\n  notifications:\n    - {{ name: ops, kind: webhook, url: \"${{file:.cathedral/keys/url}}\", {more} }}\n"
    );
    fs::write(world.config(), more).unwrap();
    world
}

const ONE: &str = "secret: \"${file:.cathedral/keys/old}\"";

/// Checks a signature with nothing of ours: Python's own hmac, as the specification says.
#[track_caller]
fn verified_by(came: &Came, secret: &str) -> bool {
    let script = "import base64, hashlib, hmac, sys
secret, id, stamp, signatures = sys.argv[1:]
key = base64.b64decode(secret.removeprefix('whsec_'))
mac = hmac.new(key, f'{id}.{stamp}.'.encode() + sys.stdin.buffer.read(), hashlib.sha256).digest()
ours = 'v1,' + base64.b64encode(mac).decode()
sys.exit(0 if any(hmac.compare_digest(ours, one) for one in signatures.split(' ')) else 3)";
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| came.header(name));
    let mut python = Command::new("python3");
    let mut child = python.arg("-c").arg(script).arg(secret).args(headers).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&came.body).unwrap();
    let code = child.wait().unwrap().code();
    assert!([Some(0), Some(3)].contains(&code), "python3: {code:?}");
    code == Some(0)
}

fn told(ran: &Ran) {
    for secret in [OLD, NEW, "old-old-old", "hidden-path"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{secret} is shown: {ran:?}");
    }
}

#[test]
fn what_happens_is_told_signed_and_listed() {
    let place = scratch();
    let receiver = Receiver::always("200 OK");
    let world = world(place.path(), &receiver.url("/hidden-path"), ONE);
    // Filed by a command without a hub; sent as soon as one serves.
    world.cathedral(&["sync"]).expect(0);
    assert!(receiver.all().is_empty());
    let waiting = outputs::json(&world, "hook-sent", &["hook", "sent"], 0);
    let topics = |v: &serde_json::Value| -> Vec<String> {
        let all = v["data"]["deliveries"].as_array().unwrap();
        all.iter().map(|d| format!("{} {}", d["topic"].as_str().unwrap(), d["state"].as_str().unwrap())).collect()
    };
    assert_eq!(topics(&waiting), ["run.finished waiting", "snapshot.sealed waiting"]);
    let mut served = Served::start(&world.hub());
    let finished = receiver.wait_for("run.finished");
    let body = finished.json();
    assert_eq!((body["ecosystem"].as_str(), body["version"].as_i64()), (Some("small"), Some(1)));
    assert_eq!(body["link"], format!("http://hub.example/runs/{}", body["data"]["run"]));
    assert!(verified_by(&finished, OLD) && !verified_by(&finished, NEW));
    let sealed = receiver.wait_for("snapshot.sealed");
    assert_ne!(sealed.header("webhook-id"), finished.header("webhook-id"));
    // A conflict comes and goes.
    world.change();
    let conflicts = receiver.wait_for("conflict.opened").json();
    let ids = conflicts["data"]["conflicts"].as_array().unwrap().clone();
    assert_eq!(ids.len(), usize::try_from(conflicts["data"]["count"].as_i64().unwrap()).unwrap());
    let all = outputs::json(&world, "hook-sent", &["hook", "sent", "--limit", "100"], 0);
    told(&world.cathedral(&["hook", "sent", "--limit", "100"]).expect(0));
    assert!(topics(&all).contains(&"conflict.opened delivered".to_owned()) || topics(&all).len() > 2, "{all}");
    let listed = outputs::json(&world, "hook-endpoints", &["hook", "list"], 0);
    let ops = &listed["data"]["endpoints"][0];
    assert_eq!((ops["state"].as_str(), ops["url"].as_str()), (Some("well"), Some("${file:.cathedral/keys/url}")));
    told(&world.cathedral(&["hook", "list"]).expect(0));
    // Sent once more on request, by the hub, under the same id.
    outputs::json(&world, "hook-delivery", &["hook", "retry", "1"], 0);
    let id = |c: &Came| c.header("webhook-id").to_owned();
    // The snapshot was told of first; which one arrives first is open.
    receiver.wait("the same once more", |came| came.iter().filter(|c| id(c) == id(&sealed)).nth(1).cloned());
    let tested = outputs::json(&world, "hook-delivery", &["hook", "test", "ops"], 0);
    assert_eq!((tested["data"]["topic"].as_str(), tested["data"]["state"].as_str()), (Some("ping"), Some("delivered")));
    assert_eq!(receiver.all().iter().filter(|c| c.json()["type"] == "ping").count(), 1, "by one process only");
    assert_eq!(served.end(), 0);
    let mut ids: Vec<String> = receiver.all().iter().map(id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), receiver.all().len() - 1, "everything once, but for what was asked for twice");
}

#[test]
fn killed_between_sending_and_noting_it_is_sent_again_under_the_same_id() {
    let place = scratch();
    let receiver = Receiver::start(|n, _| if n == 0 { Says::Nothing } else { says("200 OK", "") });
    let world = world(place.path(), &receiver.url("/"), &format!("{ONE}, events: [run.finished]"));
    world.cathedral(&["sync"]).expect(0);
    let mut served = Served::start(&world.hub());
    let first = receiver.wait("the first try", |came| came.first().cloned());
    served.kill();
    let mut served = Served::start(&world.hub());
    let second = receiver.wait("the second try", |came| came.get(1).cloned());
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    awaited("its end", || {
        let sent = world.cathedral(&["hook", "sent", "--json"]).expect(0).json();
        let state = sent["data"]["deliveries"][0]["state"].as_str().unwrap().to_owned();
        if state == "delivered" { Ok(()) } else { Err(state) }
    });
    assert_eq!(served.end(), 0);
}

#[test]
fn while_a_secret_is_replaced_both_sign_and_a_new_configuration_counts_at_once() {
    let place = scratch();
    let receiver = Receiver::always("200 OK");
    let world = world(place.path(), &receiver.url("/"), ONE);
    world.cathedral(&["sync"]).expect(0);
    let mut served = Served::start(&world.hub());
    receiver.wait_for("run.finished");
    let both = "secrets: [\"${file:.cathedral/keys/new}\", \"${file:.cathedral/keys/old}\"]";
    let text = fs::read_to_string(world.config()).unwrap().replace(ONE, both);
    fs::write(world.config(), text).unwrap();
    let by_both = awaited("both signatures", || {
        let seen = receiver.all().len();
        write(&world.app_files().join("again.txt"), &format!("{seen}\n"));
        world.cathedral(&["sync", "codex"]);
        let came = receiver.all();
        let found = came.iter().find(|c| c.header("webhook-signature").contains(' ')).cloned();
        found.ok_or_else(|| format!("{} came", came.len()))
    });
    assert!(verified_by(&by_both, OLD) && verified_by(&by_both, NEW));
    assert_eq!(served.end(), 0);
}

#[test]
fn a_test_says_what_was_answered_and_what_comes_next() {
    let place = scratch();
    let receiver = Receiver::start(|n, _| match n {
        0 => says("500 Internal Server Error", ""),
        1 => says("410 Gone", ""),
        _ => says("204 No Content", ""),
    });
    let world = world(place.path(), &receiver.url("/hidden-path"), &format!("{ONE}, events: [run.failed]"));
    let refused = outputs::refused(&world, &["hook", "test", "ops"], 4);
    assert!(refused.err.contains("cathedral sync"), "{refused:?}");
    world.cathedral(&["sync"]).expect(0);
    let failed = world.cathedral(&["hook", "test", "ops"]).expect(6);
    assert!(failed.err.contains("500 Internal Server Error") && failed.err.contains("tried again in"), "{failed:?}");
    told(&failed);
    let gone = world.cathedral(&["hook", "retry", "1"]).expect(6);
    assert!(gone.err.contains("410 Gone") && gone.err.contains("not tried again"), "{gone:?}");
    let listed = outputs::json(&world, "hook-endpoints", &["hook", "list"], 0);
    assert_eq!(listed["data"]["endpoints"][0]["state"], "gone");
    let status = outputs::json(&world, "status", &["status"], 0);
    let needs = status["data"]["needs"].to_string();
    assert!(needs.contains("ops is not told what happens") && needs.contains("cathedral hook test ops"), "{needs}");
    let well = world.cathedral(&["hook", "test", "ops"]).expect(0);
    assert!(well.out.contains("204 No Content"), "{well:?}");
    let unknown = outputs::refused(&world, &["hook", "test", "opps"], 4);
    assert!(unknown.err.contains("ops"), "{unknown:?}");
    outputs::refused(&world, &["hook", "retry", "99"], 4);
}

#[test]
fn a_hub_whose_secret_is_missing_does_not_start_and_says_which() {
    let place = scratch();
    let world = world(place.path(), "http://127.0.0.1:9/hidden-path", ONE);
    fs::remove_file(world.state().join("keys/old")).unwrap();
    let refused = world.cathedral(&["up", "--listen", "127.0.0.1:0"]).expect(3);
    assert!(refused.err.contains("notifications[0].secret"), "{refused:?}");
    assert!(refused.err.contains(".cathedral/keys/old cannot be read"), "{refused:?}");
    told(&refused);
    fs::write(world.state().join("keys/old"), "hunter2hunter2\n").unwrap();
    let refused = world.cathedral(&["config", "validate"]).expect(3);
    assert!(refused.err.contains("whsec_") && !refused.err.contains("hunter2"), "{refused:?}");
}

#[test]
fn the_dashboard_lists_deliveries_and_sends_again() {
    let place = scratch();
    let receiver = Receiver::start(|n, _| says(if n == 0 { "410 Gone" } else { "200 OK" }, ""));
    let world = world(place.path(), &receiver.url("/hidden-path"), &format!("{ONE}, events: [run.finished]"));
    world.cathedral(&["sync"]).expect(0);
    let mut served = Served::start(&world.hub());
    let made = world.cathedral(&["token", "new", "--scope", "operator", "--label", "t", "--json"]).expect(0);
    let token = made.json()["data"]["token"].as_str().unwrap().to_owned();
    let delivery = |state: &str| {
        awaited(state, || {
            let reply = served.get("/api/v1/deliveries", Some(&token));
            let rows = reply.json()["data"]["deliveries"].as_array().unwrap().clone();
            let row = rows.first().cloned().unwrap_or_default();
            if row["state"] == state { Ok(row) } else { Err(reply.body) }
        })
    };
    let row = delivery("given_up");
    assert_eq!(row["last"], "410 Gone");
    let page = served.get("/deliveries", Some(&token));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("410 Gone") && page.body.contains("Given up"), "{}", page.body);
    for secret in [OLD, "old-old", "hidden-path"] {
        assert!(!page.body.contains(secret), "{secret}");
    }
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let again = served.request("POST", &format!("/api/v1/deliveries/{}/retry", row["number"]), &headers, b"{}");
    assert_eq!(again.status, 200, "{again:?}");
    delivery("delivered");
    assert_eq!(served.end(), 0);
}
