//! Webhooks in: what is taken, what is refused, and before what.

use cathedral_model::ports::Intake as _;
use cathedral_web::Settings;
use hmac::{Hmac, KeyInit, Mac};

use super::client::{self, Reply};
use super::hub::{self, Served};

const PUSH: &str = r#"{"ref":"refs/heads/main","before":"aa","after":"bb","repository":{"id":7,"full_name":"octo/docs","clone_url":"https://example.com/octo/docs.git"},"sender":{"login":"jo"}}"#;

fn signature(secret: &str, body: &str) -> String {
    let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

async fn deliver(hub: &Served, id: &str, event: &str, signature: &str, more: &[(&str, &str)], body: &str) -> Reply {
    let mut headers = vec![("X-GitHub-Delivery", id), ("X-GitHub-Event", event)];
    if !signature.is_empty() {
        headers.push(("X-Hub-Signature-256", signature));
    }
    if !more.iter().any(|(name, _)| *name == "Content-Type") {
        headers.push(("Content-Type", "application/json"));
    }
    headers.extend_from_slice(more);
    hub.send("POST", "/hooks/github", &headers, body).await
}

async fn count(hub: &Served) -> usize {
    hub.store.deliveries(None, 100).await.unwrap().len()
}

#[tokio::test]
async fn a_signed_delivery_is_durable_before_it_is_answered() {
    let hub = hub::start().await;
    let mut rings = hub.state.bell.listen();
    let reply = deliver(&hub, "d-1", "push", &signature("new secret", PUSH), &[], PUSH).await;
    assert_eq!((reply.status, reply.json()["accepted"].as_str()), (202, Some("new")), "{reply:?}");
    assert!(rings.has_changed().unwrap(), "the bell rings after the commit");
    rings.borrow_and_update();
    let rows = hub.store.deliveries(None, 10).await.unwrap();
    let delivery = &rows[0].delivery;
    assert_eq!((delivery.source.as_str(), delivery.id.as_str(), delivery.event.as_str()), ("github", "d-1", "push"));
    assert_eq!(delivery.hint.reference.as_deref(), Some("refs/heads/main"));
    assert_eq!((delivery.hint.before.as_deref(), delivery.hint.after.as_deref()), (Some("aa"), Some("bb")));
    assert_eq!((delivery.hint.repository_id, delivery.hint.repository.as_deref()), (Some(7), Some("octo/docs")));
    assert_eq!(delivery.hint.urls, ["https://example.com/octo/docs.git"]);
    assert!(rows[0].outcome.is_none(), "nothing was planned in the request");

    let again = deliver(&hub, "d-1", "push", &signature("new secret", PUSH), &[], PUSH).await;
    assert_eq!((again.status, again.json()["accepted"].as_str()), (202, Some("duplicate")));
    assert!(!rings.has_changed().unwrap());
    let old = deliver(&hub, "d-2", "push", &signature("old secret", PUSH), &[], PUSH).await;
    assert_eq!(old.status, 202, "the secret before is live while it is listed");
    assert_eq!(count(&hub).await, 2);
}

#[tokio::test]
async fn a_wrong_signature_is_refused_whatever_is_wrong() {
    let hub = hub::start().await;
    let good = signature("new secret", PUSH);
    let sha1 = [("X-Hub-Signature", "sha1=2fd4e1c67a2d28fced849ee1bb76e7391b93eb12")];
    assert_eq!(deliver(&hub, "x", "push", "", &sha1, PUSH).await.status, 401, "SHA-1 alone");
    let other = if good.ends_with('0') { '1' } else { '0' };
    let one_off = format!("{}{other}", &good[..good.len() - 1]);
    for wrong in [
        String::new(),
        signature("another secret", PUSH),
        signature("", PUSH),
        one_off,
        good.to_uppercase(),
        good.replace("sha256=", "SHA256="),
        good[..70].to_owned(),
        format!("{good}00"),
        good.replace("sha256=", ""),
        signature("new secret", &format!("{PUSH} ")),
    ] {
        let reply = deliver(&hub, "x", "push", &wrong, &[], PUSH).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("signature")), "{wrong}");
    }
    assert_eq!(count(&hub).await, 0);
}

#[tokio::test]
async fn what_is_no_delivery_is_refused_and_what_is_unknown_is_taken() {
    let hub = hub::start().await;
    let sign = |body: &str| signature("new secret", body);
    for bad in ["", "{", "[]", "null", r#"{"ref":7}"#, "not json"] {
        assert_eq!(deliver(&hub, "b", "push", &sign(bad), &[], bad).await.status, 400, "{bad}");
    }
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(deliver(&hub, "b", "push", &sign(&deep), &[], &deep).await.status, 400);
    for id in ["a b", "../../x", &"x".repeat(129)] {
        assert_eq!(deliver(&hub, id, "push", &sign(PUSH), &[], PUSH).await.status, 400, "{id}");
    }
    let plain = [("Content-Type", "text/plain")];
    assert_eq!(deliver(&hub, "b", "push", &sign(PUSH), &plain, PUSH).await.status, 415);
    assert_eq!(hub.send("GET", "/hooks/github", &[], "").await.status, 405);
    assert_eq!(count(&hub).await, 0);
    let odd = r#"{"ref":7,"zen":"x"}"#;
    assert_eq!(deliver(&hub, "odd", "some_new_event", &sign(odd), &[], odd).await.status, 202);
    let form = "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fx%22%7D";
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(deliver(&hub, "form", "push", &sign(form), &kind, form).await.status, 202);
    let rows = hub.store.deliveries(None, 10).await.unwrap();
    assert_eq!(rows[0].delivery.hint.reference.as_deref(), Some("refs/heads/x"));
    assert_eq!(rows[1].delivery.event, "some_new_event");
}

#[tokio::test]
async fn bodies_are_bounded_before_they_are_read() {
    let hub = hub::start_with(Settings { hook_bytes: 100_000, body_ms: 300, ..hub::quick() }, None).await;
    let sign = |body: &str| signature("new secret", body);
    // 30 MB, declared: refused at its head; the signature is never looked at.
    let thirty = "x".repeat(30_000_000);
    assert_eq!(deliver(&hub, "l", "push", "sha256=0", &[], &thirty).await.status, 413);
    // Not declared: counted while it comes.
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let head = client::text("POST", "/hooks/github", &[("Transfer-Encoding", "chunked")], "");
    let reply = client::raw(hub.address, format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    // Promised and not sent.
    let slow = deliver(&hub, "s", "push", &sign(PUSH), &[("Content-Length", "9999")], PUSH).await;
    assert_eq!(slow.status, 408);
    let packed = [("Content-Encoding", "gzip")];
    assert_eq!(deliver(&hub, "p", "push", &sign(PUSH), &packed, PUSH).await.status, 415);
    // Chunked and small is fine.
    let signed = sign(PUSH);
    let headers = [
        ("Transfer-Encoding", "chunked"),
        ("X-GitHub-Delivery", "c"),
        ("X-GitHub-Event", "push"),
        ("Content-Type", "application/json"),
        ("X-Hub-Signature-256", signed.as_str()),
    ];
    let head = client::text("POST", "/hooks/github", &headers, "");
    let body = format!("{:x}\r\n{PUSH}\r\n0\r\n\r\n", PUSH.len());
    assert_eq!(client::raw(hub.address, format!("{head}{body}").as_bytes()).await.status, 202);
    assert_eq!(count(&hub).await, 1);
}

#[tokio::test]
async fn all_bodies_together_are_bounded_and_room_comes_back() {
    let hub = hub::start_with(Settings { hooks_bytes: 128 << 10, ..hub::quick() }, None).await;
    let large = format!(r#"{{"ref":"{}"}}"#, "x".repeat(200 << 10));
    let reply = deliver(&hub, "l", "push", &signature("new secret", &large), &[], &large).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    for n in 0..4 {
        let fits = format!(r#"{{"ref":"{}"}}"#, "x".repeat(100 << 10));
        let id = format!("f-{n}");
        assert_eq!(deliver(&hub, &id, "push", &signature("new secret", &fits), &[], &fits).await.status, 202);
    }
}

#[tokio::test]
async fn those_who_cannot_sign_are_slowed_down_and_github_is_not() {
    let hub = hub::start_with(Settings { anonymous_per_minute: 5, ..hub::quick() }, None).await;
    for n in 0..8 {
        let expected = if n < 5 { 401 } else { 429 };
        assert_eq!(deliver(&hub, "x", "push", "sha256=0", &[], PUSH).await.status, expected, "{n}");
    }
    let signed = signature("new secret", PUSH);
    for n in 0..10 {
        assert_eq!(deliver(&hub, &format!("d-{n}"), "push", &signed, &[], PUSH).await.status, 202);
    }
}
