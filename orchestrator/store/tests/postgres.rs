//! The contract of the store on a real PostgreSQL server, and what only a server can get wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{Cursor, NodeId, SpokeName};
use cathedral_model::ports::outgoing::OutgoingStore;
use cathedral_model::ports::schedules::{Fired, Schedules as _};
use cathedral_model::ports::store::Store;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use cathedral_model::schedule::{Fire, Misfire, Overlap, Rule, Schedule};
use cathedral_model::time::Timestamp;
use cathedral_sim::contracts::{serve, store::Subject, store::suite};
use cathedral_store::PostgresStore;
use futures_util::future::{join, join_all};
use server::Server;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

fn note(kind: &str) -> NewEvent {
    NewEvent { kind: kind.into(), run: None, spoke: None, data: serde_json::json!({}) }
}

fn request(name: &str) -> Request {
    let sync = SyncRequest { spokes: vec![SpokeName::new(name).unwrap()], ..SyncRequest::default() };
    Request { priority: Priority::Manual, cause: "test".into(), work: Work::Sync(sync) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_the_contract() {
    let server = Arc::new(Server::start());
    suite(|| {
        let server = server.clone();
        Box::pin(async move {
            let address = server.database().await;
            Arc::new(PostgresStore::connect(&address).await.unwrap()) as Subject
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_the_contract_of_a_serving_hub() {
    let server = Arc::new(Server::start());
    serve::suite(|| {
        let server = server.clone();
        Box::pin(async move {
            let address = server.database().await;
            Arc::new(PostgresStore::connect(&address).await.unwrap()) as serve::Subject
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_fires_once_for_two_hubs() {
    let server = Server::start();
    let address = server.database().await;
    let hubs = join_all((0..2).map(|_| PostgresStore::connect(&address))).await;
    let hubs: Vec<_> = hubs.into_iter().map(Result::unwrap).collect();
    let schedule = Schedule {
        name: "sync".into(),
        title: "sync".into(),
        rule: Rule::Every { ms: 1 },
        jitter_ms: 0,
        overlap: Overlap::Skip,
        misfire: Misfire::RunOnce,
        request: request("s"),
    };
    hubs[0].declare(&[(schedule, Some(Timestamp(0)))], Timestamp(0)).await.unwrap();
    for round in 0..50 {
        let fires: Vec<Fire> = (0..2)
            .map(|hub| Fire {
                schedule: "sync".into(),
                due: Timestamp(round),
                // A run of its own, so that joining cannot hide a second one.
                request: Some(request(&format!("s{round}-{hub}"))),
                missed: 0,
                next_due: Some(Timestamp(round + 1)),
            })
            .collect();
        let fired = join(hubs[0].fire(&fires[0], Timestamp(round)), hubs[1].fire(&fires[1], Timestamp(round))).await;
        let fired = [fired.0.unwrap(), fired.1.unwrap()];
        assert_eq!(fired.iter().filter(|f| **f == Fired::NotDue).count(), 1, "round {round}: {fired:?}");
    }
    assert_eq!(hubs[1].runs(None, 1_000).await.unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_guards_itself() {
    let server = Server::start();
    let address = server.database().await;
    // All at once on an empty database: one migrates, the others wait.
    let stores = join_all((0..6).map(|_| PostgresStore::connect(&address))).await;
    for store in stores {
        let store = store.unwrap();
        assert!(store.prepare_every_statement().await.unwrap() > 80);
        store.close().await;
    }
    let mut conn = PgConnection::connect(&address).await.unwrap();
    let applied = conn.fetch_one("select count(*) from migration").await.unwrap();
    assert_eq!(applied.get::<i64, _>(0), 2);
    for sample in [
        include_str!("../../../migrations/sample/postgres/0001_create_state.sql"),
        include_str!("../../../migrations/sample/postgres/0002_add_serving.sql"),
    ] {
        conn.execute(sqlx::raw_sql(sample)).await.unwrap();
    }
    for statement in [
        "update journal set event = '{}'",
        "delete from journal",
        "truncate journal",
        "update event set data = '{}'",
        "delete from event where cursor = 1",
        "truncate event",
    ] {
        let error = conn.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains("insert-only"), "{statement}: {error}");
    }
    let bare = conn
        .fetch_one(
            "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'public' and c.relkind = 'r' and c.relname <> 'migration'
             and obj_description(c.oid) is null",
        )
        .await
        .unwrap();
    assert_eq!(bare.get::<i64, _>(0), 0, "every table has a comment");
    // The store works on top of the sample.
    let store = PostgresStore::connect(&address).await.unwrap();
    assert_eq!(store.conflicts(None, &[]).await.unwrap().len(), 2);
    store.publish(&[note("next")], Timestamp(1)).await.unwrap();
    assert_eq!(store.events(Cursor(3), 10).await.unwrap().len(), 1);
    store.close().await;
    let newer = "insert into migration values (9999, '9999_add_wings', decode(repeat('00', 32), 'hex'), 0)";
    conn.execute(newer).await.unwrap();
    match PostgresStore::connect(&address).await.err() {
        Some(PortError::Permanent { cause: Cause::Invalid, message }) => assert!(message.contains("9999_add_wings")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_share_a_server() {
    let server = Server::start();
    let address = server.database().await;
    let (one, two) = join(PostgresStore::connect(&address), PostgresStore::connect(&address)).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    for number in 0..40 {
        one.enqueue(&request(&format!("s{number}")), Timestamp(0)).await.unwrap();
    }
    let nodes: Vec<NodeId> = (0..60).map(|n| NodeId::new(&format!("n{n}"))).collect();
    let claims = join_all(nodes.iter().enumerate().map(|(n, node)| {
        if n % 2 == 0 { one.claim(node, Timestamp(1), 1_000) } else { two.claim(node, Timestamp(1), 1_000) }
    }))
    .await;
    let claims: Vec<_> = claims.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(claims.len(), 40);
    assert_eq!(claims.iter().map(|c| c.run).collect::<BTreeSet<_>>().len(), 40);
    assert_eq!(claims.iter().map(|c| c.fence).collect::<BTreeSet<_>>().len(), 40);

    // A listener that reads while both write never finds an event behind its cursor later.
    let write = |store: PostgresStore, word: &'static str| async move {
        for number in 0..100 {
            store.publish(&[note(&format!("{word}{number}"))], Timestamp(2)).await.unwrap();
        }
        store
    };
    let listener = PostgresStore::connect(&address).await.unwrap();
    let listen = async {
        let (mut seen, mut after) = (vec![], Cursor(0));
        while seen.len() < 200 {
            let page = listener.events(after, 1_000).await.unwrap();
            after = page.last().map_or(after, |e| e.cursor);
            seen.extend(page);
        }
        seen
    };
    let (_, seen) = join(join(write(one, "a"), write(two, "b")), listen).await;
    assert_eq!(seen, listener.events(Cursor(0), 1_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_on_one_server_do_not_take_the_same_message() {
    let server = Server::start();
    let address = server.database().await;
    let hubs = join_all((0..2).map(|_| PostgresStore::connect(&address))).await;
    let hubs: Vec<PostgresStore> = hubs.into_iter().map(Result::unwrap).collect();
    let (now, until) = (Timestamp(1_000_000), Timestamp(31_000_000));
    for number in 0..100 {
        let key = format!("m{number}");
        let message = Message { key, topic: "run.failed".into(), payload: serde_json::json!({}) };
        OutgoingStore::file(&hubs[0], &message, "ops", now, now).await.unwrap();
    }
    let takers = (0..40).map(|n| hubs[n % 2].take("ops", now, until, 5));
    let mut taken: Vec<i64> =
        join_all(takers).await.into_iter().flat_map(Result::unwrap).map(|row| row.number).collect();
    taken.sort_unstable();
    assert_eq!(taken, (1..=100).collect::<Vec<i64>>(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_crash_of_the_server() {
    let mut server = Server::start();
    let address = server.database().await;
    let store = Arc::new(PostgresStore::connect(&address).await.unwrap());
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, tell, over) = (store.clone(), tell.clone(), over.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        // A call that was still waiting when the server went down may find it up again.
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let kind = format!("{round}/{writer}/{number}");
                        let both = [note(&kind), note(&format!("{kind}+"))];
                        match store.publish(&both, Timestamp(1)).await {
                            Ok(()) => tell.send(kind).unwrap(),
                            Err(error) => return Some(error),
                        }
                    }
                    None
                })
            })
            .collect();
        drop(tell);
        for _ in 0..100 {
            acknowledged.insert(told.recv().await.unwrap());
        }
        server.crash_and_restart();
        over.store(true, Ordering::Relaxed);
        let ends = join_all(writers).await;
        let errors: Vec<PortError> = ends.into_iter().filter_map(Result::unwrap).collect();
        assert!(!errors.is_empty(), "somebody's call was under way");
        for error in errors {
            assert!(matches!(error, PortError::Transient { .. }), "{error:?}");
        }
        while let Some(kind) = told.recv().await {
            acknowledged.insert(kind);
        }
        // The same store goes on by itself; connections to the server that died fail once each.
        let mut there = None;
        for _ in 0..20 {
            if let Ok(events) = store.events(Cursor(0), 1_000_000).await {
                there = Some(events);
                break;
            }
        }
        let there: BTreeSet<String> = there.unwrap().into_iter().map(|e| e.event.kind).collect();
        assert!(acknowledged.is_subset(&there), "lost: {:?}", acknowledged.difference(&there).next());
        for kind in &there {
            let partner = kind.strip_suffix('+').map_or_else(|| format!("{kind}+"), str::to_owned);
            assert!(there.contains(&partner), "{kind} is there without {partner}");
        }
        let mut written = store.publish(&[note("x"), note("x+")], Timestamp(1)).await;
        for _ in 0..5 {
            if written.is_ok() {
                break;
            }
            written = store.publish(&[note("x"), note("x+")], Timestamp(1)).await;
        }
        written.unwrap();
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_password() {
    let server = Server::start();
    let right = server.address("postgres");
    let wrong = right.replace("secret-word", "other-word");
    let cases = [
        (wrong.clone(), Cause::Denied),
        (right.replace("/postgres", "/nowhere"), Cause::NotFound),
        ("postgres://cathedral:secret-word@127.0.0.1:1/x".to_owned(), Cause::Unreachable),
        ("postgres://cathedral:secret-word@127.0.0.1:notaport/x".to_owned(), Cause::Invalid),
        ("not an address secret-word".to_owned(), Cause::Invalid),
    ];
    for (address, cause) in cases {
        let error = PostgresStore::connect(&address).await.err().unwrap();
        assert_eq!(error.cause(), cause, "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret-word") && !text.contains("other-word"), "{text}");
    }
}
