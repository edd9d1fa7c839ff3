//! Brings a database to the state this build knows, forward only.

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};

use crate::conn::{Conn, values};
use crate::statement::{Statement, statements};

/// One step; both engines have the same numbers and names.
pub(crate) struct Migration {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

macro_rules! migration {
    ($number:literal, $name:literal) => {
        Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
        }
    };
}

/// All migrations, in order. A text that has been released is never changed.
pub(crate) const MIGRATIONS: &[Migration] = &[migration!(1, "0001_create_state"), migration!(2, "0002_add_serving")];

/// The table of applied migrations is needed before the first of them.
const CREATE_MIGRATION: &Statement = &Statement {
    sqlite: "create table if not exists migration (
        -- The migrations that made this database, with the digest of each text.
        number integer not null primary key,
        name text not null,
        checksum blob not null check (length(checksum) = 32),
        applied_at integer not null
    ) strict",
    postgres: "create table if not exists migration (
        number bigint not null primary key,
        name text not null,
        checksum bytea not null check (length(checksum) = 32),
        applied_at bigint not null
    )",
};

statements! {
    SELECT_MIGRATIONS = "select number, name, checksum from migration order by number";
    INSERT_MIGRATION = "insert into migration (number, name, checksum, applied_at) values ($1, $2, $3, $4)";
}

/// Applies what is missing, each migration in a transaction of its own. The caller holds the lock
/// that keeps other processes from doing the same.
pub(crate) async fn migrate(conn: &mut Conn) -> Result<(), PortError> {
    apply(conn, MIGRATIONS, now_us()).await
}

pub(crate) async fn apply(conn: &mut Conn, known: &[Migration], now_us: i64) -> Result<(), PortError> {
    conn.run(CREATE_MIGRATION, values![]).await?;
    let mut applied = 0;
    for row in conn.all(SELECT_MIGRATIONS, values![]).await? {
        let (number, name, checksum) = (row.int(0)?, row.text(1)?, row.digest(2)?);
        let Some(migration) = known.iter().find(|m| m.number == number) else {
            let newest = known.last().map_or(0, |m| m.number);
            return Err(refused(
                conn,
                &format!(
                    "it was written by a newer cathedral: it has migration {name}, this one knows up to {newest:04}; \
                     use that version or a newer one"
                ),
            ));
        };
        if checksum != digest(conn, migration) {
            return Err(refused(conn, &format!("its migration {name} is not the one this cathedral was built with")));
        }
        applied = applied.max(number);
    }
    for migration in known.iter().filter(|m| m.number > applied) {
        tracing::info!(store = %conn.place(), migration = migration.name, "migrating");
        if let Err(error) = step(conn, migration, now_us).await {
            // The first error tells what happened; a failing rollback would only hide it.
            let _ = conn.script("rollback", "rollback").await;
            return Err(error);
        }
    }
    Ok(())
}

async fn step(conn: &mut Conn, migration: &Migration, now_us: i64) -> Result<(), PortError> {
    conn.begin().await?;
    conn.script(migration.sqlite, migration.postgres).await?;
    let checksum = digest(conn, migration);
    conn.run(INSERT_MIGRATION, values![migration.number, migration.name, checksum, now_us]).await?;
    conn.script("commit", "commit").await
}

fn digest(conn: &Conn, migration: &Migration) -> Digest {
    Digest::of(if conn.is_sqlite() { migration.sqlite } else { migration.postgres }.as_bytes())
}

fn refused(conn: &Conn, why: &str) -> PortError {
    PortError::failed(Cause::Invalid, format!("state database {} cannot be used: {why}", conn.place()))
}

fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
