//! PostgreSQL as the state store, for several hubs on several machines.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use cathedral_model::ports::{Cause, PortError};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

use crate::conn::{Conn, Place, Pool, values};
use crate::error;
use crate::migrate::migrate;
use crate::statement::Statement;
use crate::store::SqlStore;

/// Names the engine.
pub enum Postgres {}

/// The state store in a PostgreSQL database.
pub type PostgresStore = SqlStore<Postgres>;

const READERS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(10);

const SELECT_FLUSH: &Statement = &Statement::both("select current_setting('synchronous_commit')");

impl SqlStore<Postgres> {
    /// Connects and migrates. TLS is used when the server offers it; `sslmode=verify-full` in the
    /// address insists. Errors never carry the address, which may hold a password.
    pub async fn connect(url: &str) -> Result<Self, PortError> {
        // Not shown: the parser quotes parts of the address.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            PortError::failed(
                Cause::Invalid,
                "the address of the state database is not valid: postgres://USER@HOST/NAME",
            )
        })?;
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        let place: Place = Arc::from(format!("{database} on {}:{}", options.get_host(), options.get_port()));
        // A hub that hangs or vanishes inside a transaction must not hold up the others for ever.
        let options = options.application_name("cathedral").options([
            ("lock_timeout", "10s"),
            ("statement_timeout", "60s"),
            ("idle_in_transaction_session_timeout", "20s"),
        ]);
        // A pool would try again until its patience ends, and then only say that it timed out.
        let first = PgConnection::connect_with(&options).await.map_err(|e| error::port(&place, e))?;
        first.close().await.map_err(|e| error::port(&place, e))?;
        let pool = |size| PgPoolOptions::new().min_connections(0).max_connections(size).acquire_timeout(PATIENCE);
        let writer = Pool::Postgres(pool(1).connect_lazy_with(options.clone()));
        let readers = Pool::Postgres(pool(READERS).connect_lazy_with(options));
        let mut conn = writer.acquire(&place).await?;
        let flush = conn.first(SELECT_FLUSH, values![]).await?.map(|row| row.text(0)).transpose()?;
        if flush.as_deref() == Some("off") {
            return Err(PortError::failed(
                Cause::Invalid,
                format!("state database {place} has synchronous_commit off: what was acknowledged could be lost"),
            ));
        }
        under_lock(&mut conn).await?;
        drop(conn);
        Ok(Self::start(writer, Some(readers), place, ()))
    }
}

/// Migrates while no other hub does.
async fn under_lock(conn: &mut Conn) -> Result<(), PortError> {
    // The number is "migrate!" in ASCII.
    conn.script("", "select pg_advisory_lock(7883942434117186849)").await?;
    let migrated = migrate(conn).await;
    conn.script("", "select pg_advisory_unlock(7883942434117186849)").await?;
    migrated
}
