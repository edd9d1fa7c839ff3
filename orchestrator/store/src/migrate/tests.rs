//! Each migration meets a database that the ones before it have filled.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use cathedral_model::event::EventFilter;
use cathedral_model::ids::{Cursor, RunId, SpokeName};
use cathedral_model::ports::schedules::Fired;
use cathedral_model::ports::store::Enqueued;
use cathedral_model::ports::{ConfigVersions as _, Schedules as _, Store as _};
use cathedral_model::schedule::{Fire, Misfire, Overlap, Rule, Schedule};
use cathedral_model::time::Timestamp;

use super::*;
use crate::conn::Pool;
use crate::store::SqlStore;

#[cfg(feature = "postgres")]
#[path = "../../tests/server/mod.rs"]
mod server;

struct Sample {
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! sample {
    ($name:literal) => {
        Sample {
            sqlite: include_str!(concat!("../../../../migrations/sample/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../../migrations/sample/postgres/", $name, ".sql")),
        }
    };
}

/// One for each migration, loaded after it.
const SAMPLES: &[Sample] = &[sample!("0001_create_state"), sample!("0002_add_serving")];

async fn climb(pool: Pool) {
    let mut conn = pool.acquire(&Arc::from("test")).await.unwrap();
    for (number, (migration, sample)) in (1..).zip(MIGRATIONS.iter().zip(SAMPLES)) {
        assert_eq!(migration.number, number, "numbers have no gaps");
        let known = &MIGRATIONS[..usize::try_from(number).unwrap()];
        apply(&mut conn, known, 1).await.unwrap_or_else(|e| panic!("{}: {e}", migration.name));
        conn.script(sample.sqlite, sample.postgres).await.unwrap_or_else(|e| panic!("{}: {e}", migration.name));
        // Once more changes nothing.
        apply(&mut conn, known, 2).await.unwrap();
    }
    let applied = conn.all(SELECT_MIGRATIONS, values![]).await.unwrap();
    assert_eq!(applied.len(), MIGRATIONS.len());
}

/// Leaves a database as the first version left it after some work.
async fn fill_first(pool: Pool) {
    let mut conn = pool.acquire(&Arc::from("test")).await.unwrap();
    apply(&mut conn, &MIGRATIONS[..1], 1).await.unwrap();
    conn.script(SAMPLES[0].sqlite, SAMPLES[0].postgres).await.unwrap();
    drop(conn);
    pool.close().await;
}

/// What the first version has left is there, and the ports of the second work on top of it.
async fn goes_on<E: Send + Sync + 'static>(store: &SqlStore<E>) {
    let runs = store.runs(None, 10).await.unwrap();
    assert_eq!(runs.iter().map(|r| r.state.as_str()).collect::<Vec<_>>(), ["queued", "running", "finished"]);
    assert_eq!(store.journal(RunId(1)).await.unwrap().len(), 2);
    assert_eq!(store.conflicts(None, &[]).await.unwrap().len(), 2);
    assert_eq!(store.undelivered(10).await.unwrap().len(), 1);
    assert_eq!(store.newest_event().await.unwrap(), Cursor(3));
    let of_spoke = EventFilter { spoke: Some(SpokeName::new("stone-grimoire").unwrap()), ..EventFilter::default() };
    assert_eq!(store.events_before(None, &of_spoke, 10).await.unwrap().len(), 1);

    let schedule = Schedule {
        name: "sync".into(),
        title: "sync".into(),
        rule: Rule::Every { ms: 1 },
        jitter_ms: 0,
        overlap: Overlap::Skip,
        misfire: Misfire::RunOnce,
        request: runs[2].request.clone(),
    };
    store.declare(&[(schedule, Some(Timestamp(5)))], Timestamp(1)).await.unwrap();
    let request = Some(runs[2].request.clone());
    let fire = Fire { schedule: "sync".into(), due: Timestamp(5), request, missed: 0, next_due: None };
    let fired = store.fire(&fire, Timestamp(5)).await.unwrap();
    assert_eq!(fired, Fired::Filed(Enqueued::New(RunId(4))), "numbers go on");
    assert_eq!(store.accept_config("a: 1", "file", Timestamp(6)).await.unwrap().number, 1);
    assert_eq!(store.newest_event().await.unwrap(), Cursor(5));
}

#[tokio::test]
async fn a_filled_file_of_the_first_version_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    fill_first(Pool::Sqlite(sqlx::SqlitePool::connect_with(options).await.unwrap())).await;
    for _ in 0..2 {
        crate::SqliteStore::open(&path).await.unwrap().close().await;
    }
    goes_on(&crate::SqliteStore::open(&path).await.unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_filled_server_of_the_first_version_goes_on() {
    let server = server::Server::start();
    let address = server.database().await;
    fill_first(Pool::Postgres(sqlx::PgPool::connect(&address).await.unwrap())).await;
    goes_on(&crate::PostgresStore::connect(&address).await.unwrap()).await;
}

#[test]
fn there_is_a_sample_for_each_migration() {
    assert_eq!(MIGRATIONS.len(), SAMPLES.len());
    for migration in MIGRATIONS {
        assert!(migration.name.starts_with(&format!("{:04}_", migration.number)), "{}", migration.name);
    }
}

#[tokio::test]
async fn migrations_climb_over_sample_data_on_sqlite() {
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    climb(Pool::Sqlite(pool)).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn migrations_climb_over_sample_data_on_postgres() {
    let server = server::Server::start();
    let pool = sqlx::PgPool::connect(&server.address("postgres")).await.unwrap();
    climb(Pool::Postgres(pool)).await;
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    let mut conn = Pool::Sqlite(pool).acquire(&Arc::from("test")).await.unwrap();
    let broken = "create table half (a integer); create table half (a integer);";
    let known = [Migration { number: 1, name: "0001_half", sqlite: broken, postgres: broken }];
    assert!(apply(&mut conn, &known, 1).await.is_err());
    let whole = "create table half (a integer);";
    let known = [Migration { number: 1, name: "0001_half", sqlite: whole, postgres: whole }];
    apply(&mut conn, &known, 1).await.unwrap();
}
