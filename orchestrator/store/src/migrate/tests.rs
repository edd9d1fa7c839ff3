//! Each migration meets a database that the ones before it have filled.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::conn::Pool;

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
const SAMPLES: &[Sample] = &[sample!("0001_create_state")];

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
