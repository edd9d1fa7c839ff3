//! The contract of the store on SQLite, in a file and in memory, and what only a file can get wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cathedral_model::event::NewEvent;
use cathedral_model::ids::{Cursor, NodeId};
use cathedral_model::ports::store::Store;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use cathedral_model::time::Timestamp;
use cathedral_sim::contracts::{serve, store::Subject, store::suite};
use cathedral_store::SqliteStore;
use futures_util::future::join;
use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

fn request() -> Request {
    Request { priority: Priority::Manual, cause: "test".into(), work: Work::Sync(SyncRequest::default()) }
}

fn note(kind: &str) -> NewEvent {
    NewEvent { kind: kind.into(), run: None, spoke: None, data: serde_json::json!({}) }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.unwrap()
}

async fn plain(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    suite(|| {
        let path = dir.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        Box::pin(async move { Arc::new(open(&path).await) as Subject })
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    suite(|| Box::pin(async { Arc::new(SqliteStore::in_memory().await.unwrap()) as Subject })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract_of_a_serving_hub() {
    let dir = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    serve::suite(|| {
        let path = dir.path().join(format!("{}.db", count.fetch_add(1, Ordering::Relaxed)));
        Box::pin(async move { Arc::new(open(&path).await) as serve::Subject })
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_contract_of_a_serving_hub() {
    serve::suite(|| Box::pin(async { Arc::new(SqliteStore::in_memory().await.unwrap()) as serve::Subject })).await;
}

#[tokio::test]
async fn every_statement_is_understood() {
    let store = SqliteStore::in_memory().await.unwrap();
    assert!(store.prepare_every_statement().await.unwrap() > 80);
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path).await;
    let run = store.enqueue(&request(), Timestamp(1)).await.unwrap().run();
    let first = store.claim(&NodeId::new("a"), Timestamp(1), 0).await.unwrap().unwrap();
    store.close().await;
    assert!(!path.with_extension("db-wal").exists(), "closing in order leaves one file");
    assert!(matches!(store.enqueue(&request(), Timestamp(2)).await, Err(PortError::Permanent { .. })), "closed");
    let store = open(&path).await;
    let second = store.claim(&NodeId::new("b"), Timestamp(2), 0).await.unwrap().unwrap();
    assert_eq!(second.run, run);
    assert!(second.fence > first.fence, "fences go on over restarts");
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (one, two) = (open(&path).await, open(&path).await);
    for number in 0..20 {
        let (a, b) = ([note(&format!("a{number}"))], [note(&format!("b{number}"))]);
        let (a, b) = join(one.publish(&a, Timestamp(1)), two.publish(&b, Timestamp(1))).await;
        a.unwrap();
        b.unwrap();
    }
    let seen = one.events(Cursor(0), 100).await.unwrap();
    assert_eq!(seen.len(), 40);
    assert_eq!(two.events(Cursor(0), 100).await.unwrap(), seen);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    std::fs::write(&path, "this is not a database, but it is long enough to be read as one".repeat(100)).unwrap();
    match SqliteStore::open(&path).await.err() {
        Some(PortError::Corrupt(message)) => {
            assert!(message.contains(path.to_str().unwrap()) && message.contains("aside"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn damage_is_found_when_the_last_user_did_not_close() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("state.db"), dir.path().join("copy.db"));
    let store = open(&path).await;
    for number in 0..400 {
        store.publish(&[note(&"x".repeat(500 + number))], Timestamp(1)).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let store = open(&path).await;
    store.publish(&[note("after")], Timestamp(2)).await.unwrap();
    // As after a power cut: the log is still there, and a page in the middle is not what it was.
    std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&copy, &bytes).unwrap();
    match SqliteStore::open(&copy).await.err() {
        Some(PortError::Corrupt(message)) => assert!(message.contains(copy.to_str().unwrap()), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_page_met_later_is_corrupt_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(&path).await;
    for _ in 0..400 {
        store.publish(&[note(&"x".repeat(500))], Timestamp(1)).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let store = open(&path).await;
    let read = store.events(Cursor(0), 1_000).await;
    assert!(matches!(&read, Err(PortError::Corrupt(m)) if m.contains(path.to_str().unwrap())), "{read:?}");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no such folder/state.db");
    match SqliteStore::open(&path).await.err() {
        Some(PortError::Permanent { cause: Cause::NotFound, message }) => assert!(message.contains("no such folder")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_database_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    open(&path).await.close().await;
    let mut conn = plain(&path).await;
    let newer = "insert into migration values (9999, '9999_add_wings', zeroblob(32), 0)";
    conn.execute(newer).await.unwrap();
    conn.close().await.unwrap();
    match SqliteStore::open(&path).await.err() {
        Some(PortError::Permanent { cause: Cause::Invalid, message }) => {
            assert!(message.contains("9999_add_wings") && message.contains("newer"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_migration_that_was_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    open(&path).await.close().await;
    let mut conn = plain(&path).await;
    conn.execute("update migration set checksum = zeroblob(32)").await.unwrap();
    conn.close().await.unwrap();
    let error = SqliteStore::open(&path).await.err().unwrap();
    assert!(error.to_string().contains("0001_create_state"), "{error}");
}

#[tokio::test]
async fn the_journal_and_the_events_cannot_be_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    open(&path).await.close().await;
    let mut conn = plain(&path).await;
    let sample = include_str!("../../../migrations/sample/sqlite/0001_create_state.sql");
    conn.execute(sqlx::raw_sql(sample)).await.unwrap();
    for statement in [
        "update journal set event = '{}'",
        "delete from journal",
        "update event set data = '{}'",
        "delete from event where cursor = 1",
    ] {
        let error = conn.execute(statement).await.unwrap_err().to_string();
        assert!(error.contains("insert-only"), "{statement}: {error}");
    }
    let left = conn.fetch_one("select count(*) from journal").await.unwrap();
    assert_eq!(left.get::<i64, _>(0), 3);
}

#[tokio::test]
async fn a_text_with_a_zero_byte_is_refused_not_cut() {
    let store = SqliteStore::in_memory().await.unwrap();
    let refused = store.publish(&[note("a\0b")], Timestamp(1)).await;
    assert!(matches!(refused, Err(PortError::Permanent { cause: Cause::Invalid, .. })), "{refused:?}");
    assert!(store.events(Cursor(0), 10).await.unwrap().is_empty());
}
