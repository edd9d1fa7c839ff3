//! Live events.

use cathedral_model::access::Role;
use cathedral_model::event::NewEvent;
use cathedral_model::ids::RunId;
use cathedral_model::ports::{Accounts as _, Env as _, Store as _};
use cathedral_web::Settings;

use super::client::{self, Lines, Reply};
use super::hub::{self, Served};

async fn publish(hub: &Served, kind: &str, run: i64) {
    let event =
        NewEvent { kind: kind.into(), run: Some(RunId(run)), spoke: None, data: serde_json::json!({ "n": run }) };
    hub.store.publish(&[event], hub.clock.now()).await.unwrap();
    hub.state.bell.ring();
}

async fn follow(hub: &Served, query: &str, headers: &[(&str, &str)]) -> (Reply, Lines) {
    let (reply, lines) = client::open(hub.address, "GET", &format!("/events/stream{query}"), headers, "").await;
    (reply, lines)
}

async fn event(lines: &mut Lines) -> serde_json::Value {
    serde_json::from_str(&lines.next("data: ").await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_stream_tells_what_is_committed_and_resumes_where_it_was() {
    let hub = hub::start().await;
    let token = hub.token(Role::Viewer).await;
    let bearer = ("Authorization", token.as_str());
    publish(&hub, "run.queued", 1).await;
    // The feed may have looked before or after this commit: begin from the beginning.
    let (head, mut lines) = follow(&hub, "?after=0", &[bearer]).await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(event(&mut lines).await["type"], "run.queued");
    publish(&hub, "run.finished", 1).await;
    let last = event(&mut lines).await;
    assert_eq!((last["type"].as_str(), last["run"].as_i64()), (Some("run.finished"), Some(1)));
    drop(lines);
    publish(&hub, "run.queued", 2).await;
    publish(&hub, "conflict.opened", 2).await;
    let id = last["cursor"].to_string();
    let (_, mut lines) = follow(&hub, "?after=0", &[bearer, ("Last-Event-ID", &id)]).await;
    let got = [event(&mut lines).await, event(&mut lines).await];
    assert_eq!(got.map(|event| event["type"].as_str().unwrap().to_owned()), ["run.queued", "conflict.opened"]);
    let (_, mut lines) = follow(&hub, "?after=0&topics=conflict,run:1", &[bearer]).await;
    let got = [event(&mut lines).await, event(&mut lines).await, event(&mut lines).await];
    assert_eq!(
        got.map(|event| event["type"].as_str().unwrap().to_owned()),
        ["run.queued", "run.finished", "conflict.opened"]
    );
    let pages = hub.send("GET", "/api/v1/events?after=0&limit=3", &[bearer], "").await.json();
    assert_eq!(pages["data"]["events"].as_array().unwrap().len(), 3);
    let rest = hub.send("GET", &format!("/api/v1/events?after={}", pages["data"]["next"]), &[bearer], "").await.json();
    assert_eq!(rest["data"]["events"][0]["type"], "conflict.opened");
    assert_eq!(hub.send("GET", "/events/stream?topics=a%20b", &[bearer], "").await.status, 400);
}

#[tokio::test]
async fn a_stream_reaches_back_further_than_memory() {
    let hub = hub::start().await;
    let token = hub.token(Role::Viewer).await;
    let events: Vec<NewEvent> = (0..3_000)
        .map(|n| NewEvent {
            kind: "run.queued".into(),
            run: Some(RunId(n)),
            spoke: None,
            data: serde_json::Value::Null,
        })
        .collect();
    hub.store.publish(&events, hub.clock.now()).await.unwrap();
    hub.state.bell.ring();
    let (_, mut lines) = follow(&hub, "?after=0", &[("Authorization", &token)]).await;
    for n in 0..3_000 {
        assert_eq!(event(&mut lines).await["run"], n, "none is left out, none comes twice");
    }
}

#[tokio::test]
async fn a_stream_beats_and_ends_with_its_session_and_with_the_hub() {
    let hub = hub::start_with(Settings { heartbeat_ms: 50, ..hub::quick() }, None).await;
    hub.person("jo", Role::Viewer, "a long password").await;
    let (cookie, csrf) = hub.sign_in("jo", "a+long+password").await;
    let (_, mut lines) = follow(&hub, "", &[("Cookie", &cookie)]).await;
    lines.next(": cathedral").await.unwrap();
    assert!(lines.next(":").await.is_some(), "a heartbeat");
    assert_eq!(hub.post_form("/sign-out", &cookie, &format!("csrf={csrf}")).await.status, 303);
    while lines.line().await.is_some() {}

    // Ended elsewhere: the next beat sees it, once what is known is a second old.
    let (cookie, _) = hub.sign_in("jo", "a+long+password").await;
    let (_, mut lines) = follow(&hub, "", &[("Cookie", &cookie)]).await;
    lines.next(": cathedral").await.unwrap();
    hub.store.close_sessions("jo").await.unwrap();
    hub.clock.pass_ms(1_000);
    while lines.line().await.is_some() {}

    let token = hub.token(Role::Viewer).await;
    let (_, mut lines) = follow(&hub, "", &[("Authorization", &token)]).await;
    lines.next(": cathedral").await.unwrap();
    hub.stop.send(true).unwrap();
    while lines.line().await.is_some() {}
    hub.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_of_one_key_are_bounded_and_places_come_back() {
    let hub =
        hub::start_with(Settings { streams_per_key: 2, key_per_minute: 0, heartbeat_ms: 20, ..hub::quick() }, None)
            .await;
    let token = hub.token(Role::Viewer).await;
    let bearer = ("Authorization", token.as_str());
    let first = follow(&hub, "", &[bearer]).await;
    let second = follow(&hub, "", &[bearer]).await;
    assert_eq!((first.0.status, second.0.status), (200, 200));
    assert_eq!(follow(&hub, "", &[bearer]).await.0.status, 429);
    let other = hub.token(Role::Viewer).await;
    assert_eq!(follow(&hub, "", &[("Authorization", &other)]).await.0.status, 200);
    drop(first);
    // The hub learns of it by its next write.
    let again = async {
        while follow(&hub, "", &[bearer]).await.0.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(client::PATIENCE, again).await.expect("the place comes back");
}
