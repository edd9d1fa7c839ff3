//! What strangers may cost, and what every answer carries.

use cathedral_model::access::Role;
use cathedral_web::{Listener, LocalListener, Settings, serve};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{self, PATIENCE, Reply};
use super::hub;

fn assert_dressed(name: &str, reply: &Reply) {
    assert_eq!(
        reply.header("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "{name}: {reply:?}"
    );
    for (header, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(reply.header(header), value, "{name}: {header}");
    }
    assert!(reply.header("permissions-policy").contains("camera=()"), "{name}");
    assert_eq!(reply.header("x-request-id").len(), 32, "{name}");
    assert!(!reply.header("cache-control").is_empty(), "{name}");
}

#[tokio::test]
async fn every_answer_carries_the_headers_and_every_error_has_its_form() {
    let hub = hub::start().await;
    let viewer = hub.token(Role::Viewer).await;
    let bearer = ("Authorization", viewer.as_str());
    let html = ("Accept", "text/html");
    let json = ("Content-Type", "application/json");
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(2 << 20));
    let operator = hub.token(Role::Operator).await;
    let operator = ("Authorization", operator.as_str());
    for (status, method, path, headers, body) in [
        (200, "GET", "/healthz", vec![], ""),
        (200, "GET", "/readyz", vec![], ""),
        (200, "GET", "/sign-in", vec![html], ""),
        (200, "GET", "/", vec![html, bearer], ""),
        (200, "GET", "/metrics", vec![bearer], ""),
        (200, "GET", "/api/v1/status", vec![bearer], ""),
        (303, "GET", "/", vec![html], ""),
        (400, "GET", "/api/v1/runs/x", vec![bearer], ""),
        (400, "GET", "/api/v1/runs?limit=0", vec![bearer], ""),
        (400, "GET", "/api/v1/runs?unknown=1", vec![bearer], ""),
        (400, "GET", "/healthz", vec![("Host", "localhost"), ("Host", "localhost")], ""),
        (401, "GET", "/api/v1/runs", vec![], ""),
        (403, "POST", "/api/v1/runs", vec![bearer, json], "{}"),
        (403, "GET", "/api/v1/config", vec![bearer], ""),
        (404, "GET", "/nowhere", vec![], ""),
        (404, "GET", "/nowhere", vec![html], ""),
        (404, "GET", "/assets/..%2fCargo.toml", vec![], ""),
        (404, "GET", "/api/v1/runs/77", vec![bearer], ""),
        (405, "DELETE", "/api/v1/runs", vec![bearer], ""),
        (413, "POST", "/api/v1/config/validate", vec![operator, json], large.as_str()),
        (415, "POST", "/api/v1/runs", vec![operator], "{}"),
        (421, "GET", "/healthz", vec![("Host", "evil.example")], ""),
        (421, "GET", "/healthz", vec![("Host", "localhost.evil.example:80")], ""),
        (422, "POST", "/api/v1/runs", vec![operator, json], r#"{"spoke":1}"#),
    ] {
        let reply = hub.send(method, path, &headers, body).await;
        let name = format!("{method} {path}");
        assert_eq!(reply.status, status, "{name}: {reply:?}");
        assert_dressed(&name, &reply);
        if status >= 400 && !headers.contains(&html) {
            assert_eq!(reply.header("content-type"), "application/problem+json", "{name}");
            let problem = reply.json();
            assert_eq!(problem["status"], status, "{name}");
            assert_eq!(problem["trace_id"], reply.header("x-request-id"), "{name}");
            assert!(problem["type"].as_str().unwrap().starts_with("urn:cathedral:problem:"), "{name}");
        } else if status >= 400 {
            assert!(reply.body.contains("Not here") && reply.body.contains(reply.header("x-request-id")), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn only_its_own_names_are_answered() {
    let hub = hub::start_with(hub::quick(), Some("http://hub.example:9000")).await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("hub.example", 200),
        ("hub.example:9000", 200),
        ("example", 421),
        ("x.hub.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
    ] {
        assert_eq!(hub.send("GET", "/healthz", &[("Host", host)], "").await.status, status, "{host}");
    }
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(client::raw(hub.address, absolute.as_bytes()).await.status, 421);
    let none = "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(client::raw(hub.address, none.as_bytes()).await.status, 400);
    let forwarded = [("X-Forwarded-Host", "evil.example")];
    assert_eq!(hub.send("GET", "/healthz", &forwarded, "").await.status, 200, "ignored");
}

#[tokio::test]
async fn strangers_are_slowed_down_and_others_are_not() {
    let hub = hub::start_with(Settings { anonymous_per_minute: 100, key_per_minute: 120, ..hub::quick() }, None).await;
    let token = hub.token(Role::Viewer).await;
    let bearer = [("Authorization", token.as_str())];
    for n in 0..100 {
        assert_eq!(hub.send("GET", "/api/v1/me", &[], "").await.status, 401, "{n}");
    }
    let refused = hub.send("GET", "/api/v1/me", &[], "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_dressed("429", &refused);
    let claimed = [("X-Forwarded-For", "198.51.100.7")];
    assert_eq!(hub.send("GET", "/api/v1/me", &claimed, "").await.status, 429, "nobody chooses their address");
    assert_eq!(hub.send("GET", "/healthz", &[], "").await.status, 200, "health answers at any rate");
    let sheet = &cathedral_web::assets::asset("cathedral.css").href;
    assert_eq!(hub.send("GET", sheet, &[], "").await.status, 200, "a page that was sent is not left bare");
    for n in 0..120 {
        assert_eq!(hub.send("GET", "/api/v1/me", &bearer, "").await.status, 200, "{n}");
    }
    assert_eq!(hub.send("GET", "/api/v1/me", &bearer, "").await.status, 429);
    hub.clock.pass_ms(60_000);
    assert_eq!(hub.send("GET", "/api/v1/me", &bearer, "").await.status, 200);
    assert_eq!(hub.send("GET", "/api/v1/me", &[], "").await.status, 401);
}

#[tokio::test]
async fn guessing_passwords_gets_slower() {
    let hub = hub::start().await;
    hub.person("jo", Role::Admin, "a long password").await;
    let guess = async |name: &str| hub.post_form("/sign-in", "", &format!("name={name}&password=wrong")).await;
    for _ in 0..6 {
        assert_eq!(guess("jo").await.status, 401);
    }
    let refused = guess("jo").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "2"));
    let right = hub.post_form("/sign-in", "", "name=jo&password=a+long+password").await;
    assert_eq!(right.status, 429, "also the right one has to wait");
    for n in 0..4 {
        assert_eq!(guess(&format!("other{n}")).await.status, 401);
    }
    assert_eq!(guess("other5").await.status, 429, "ten a minute from one address");
    hub.clock.pass_ms(60_000);
    let right = hub.post_form("/sign-in", "", "name=jo&password=a+long+password").await;
    assert_eq!(right.status, 303, "nobody is locked out for good");
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut_off() {
    let hub = hub::start_with(Settings { head_ms: 200, body_ms: 200, ..hub::quick() }, None).await;
    let mut slow = tokio::net::TcpStream::connect(hub.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut rest = vec![];
    let ended = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is closed");
    let token = hub.token(Role::Operator).await;
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("Content-Length", "10")];
    assert_eq!(hub.send("POST", "/api/v1/runs", &headers, "{").await.status, 408);
    for length in [33_000, 40_000, 500_000] {
        let long = "x".repeat(length);
        assert_eq!(hub.send("GET", "/healthz", &[("X-Long", &long)], "").await.status, 431, "{length}");
    }
}

#[tokio::test]
async fn the_socket_of_the_folder_asks_as_its_owner() {
    let hub = hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sock");
    std::fs::write(&path, "left from before").unwrap();
    let listener = LocalListener::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let router = cathedral_web::routes::router(&hub.state);
    let serving = tokio::spawn(serve(Listener::Local(listener), router, Arc::clone(&hub.state), hub.stop.subscribe()));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = client::text("GET", "/api/v1/me", &[("Host", "anything")], "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""name":"local","role":"admin""#), "{answer}");
    hub.stop.send(true).unwrap();
    serving.await.unwrap().unwrap();
    hub.task.await.unwrap().unwrap();
    assert!(!path.exists(), "the socket is removed");
}
