//! SQLite as the state store: one file, write-ahead log, flushed at each commit.
//!
//! Two files stand beside the database. `.lock` is held by whoever opens and migrates it; `.users` is
//! held, shared, by everybody who has it open: an opener who is alone and finds a write-ahead log
//! knows that the last user did not close in order, and checks the file before it is used.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cathedral_model::ports::{Cause, PortError};
use rustix::fs::{FlockOperation, flock};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::conn::{Conn, Place, Pool, values};
use crate::error;
use crate::migrate::migrate;
use crate::statement::Statement;
use crate::store::SqlStore;

/// Names the engine.
pub enum Sqlite {}

/// The state store in a SQLite file or in memory.
pub type SqliteStore = SqlStore<Sqlite>;

/// How long to wait for another process that writes.
const PATIENCE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

const QUICK_CHECK: &Statement = &Statement::both("pragma quick_check(1)");

impl SqlStore<Sqlite> {
    /// Opens the database at `path`, creating it if it is not there; its folder must exist. Several
    /// processes may have it open.
    ///
    /// A damaged file is [`PortError::Corrupt`]; one that a newer version has written is refused.
    pub async fn open(path: &Path) -> Result<Self, PortError> {
        let place: Place = Arc::from(path.display().to_string());
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::metadata(folder)
            .map_err(|e| PortError::io(format!("folder {} of the state database", folder.display()), &e))?;

        let opening = hold(&beside(path, ".lock"), FlockOperation::NonBlockingLockExclusive, PATIENCE).await?;
        let users = open_private(&beside(path, ".users"))?;
        let alone = flock(&users, FlockOperation::NonBlockingLockExclusive).is_ok();
        let unclean = alone && std::fs::metadata(beside(path, "-wal")).is_ok_and(|m| m.len() > 0);
        flock(&users, FlockOperation::LockShared)
            .map_err(|e| PortError::io(format!("lock of state database {place}"), &e.into()))?;
        // Made here, so that nobody else can read it from its first byte on.
        drop(open_private(path)?);

        let options = options().filename(path).create_if_missing(false);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(0)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.pragma("query_only", "on"));
        let writer = Pool::Sqlite(writer);
        let mut conn = writer.acquire(&place).await?;
        if unclean {
            tracing::info!(store = %place, "the last user did not close in order: checking the file");
            check(&mut conn).await?;
        }
        migrate(&mut conn).await?;
        drop(conn);
        drop(opening);
        Ok(Self::start(writer, Some(Pool::Sqlite(readers)), place, users))
    }

    /// Opens a database that lives as long as the store.
    pub async fn in_memory() -> Result<Self, PortError> {
        let place: Place = Arc::from("in memory");
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options().in_memory(true))
            .await
            .map_err(|e| error::port(&place, e))?;
        let pool = Pool::Sqlite(pool);
        let mut conn = pool.acquire(&place).await?;
        migrate(&mut conn).await?;
        drop(conn);
        Ok(Self::start(pool, None, place, ()))
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .journal_mode(SqliteJournalMode::Wal)
        // Journals and events must survive a power cut, not only a crash.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .pragma("trusted_schema", "off")
        .pragma("cell_size_check", "on")
        .statement_cache_capacity(256)
}

/// Reads the whole file once and checks its structure.
async fn check(conn: &mut Conn) -> Result<(), PortError> {
    let row = conn.first(QUICK_CHECK, values![]).await?;
    match row.map(|r| r.text(0)).transpose()?.as_deref() {
        Some("ok") => Ok(()),
        found => Err(error::corrupt(conn.place(), found.unwrap_or("its check says nothing"))),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens or makes a file that only its owner can read; what is in it stays.
fn open_private(path: &Path) -> Result<File, PortError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| PortError::io(path.display(), &e))
}

/// Takes a lock, waiting for a limited time.
async fn hold(path: &Path, operation: FlockOperation, patience: Duration) -> Result<File, PortError> {
    let file = open_private(path)?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if started.elapsed() < patience => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("{}: another process is opening the state database", path.display());
                return Err(PortError::transient(Cause::Busy, message));
            }
            Err(error) => return Err(PortError::io(path.display(), &error.into())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use cathedral_model::event::NewEvent;
    use cathedral_model::ids::Cursor;
    use cathedral_model::ports::Store as _;
    use cathedral_model::time::Timestamp;
    use futures_util::future::join;

    use super::*;

    // The engine's own limit stands in for the end of the disk.
    const NARROW: &Statement = &Statement::both("pragma max_page_count = 100");
    const WIDE: &Statement = &Statement::both("pragma max_page_count = 1000000");

    async fn limit(store: &SqliteStore, what: &'static Statement) {
        // A pragma has no effect on a page count that has been reached, so it may go through a batch.
        store.write(move |conn| Box::pin(async move { conn.all(what, values![]).await.map(|_| ()) })).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_says_so_and_the_store_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("state.db")).await.unwrap();
        let note = |kind: &str, data: &str| {
            [NewEvent { kind: kind.into(), run: None, spoke: None, data: serde_json::json!(data) }]
        };
        limit(&store, NARROW).await;
        let (large, small) = (note("large", &"x".repeat(100_000)), note("small", ""));
        let mut full = None;
        for _ in 0..20 {
            let both = join(store.publish(&small, Timestamp(1)), store.publish(&large, Timestamp(1))).await;
            if let Err(error) = both.1 {
                full = Some((both.0.is_ok(), error));
                break;
            }
        }
        let (small_is_there, error) = full.expect("20 times 100 kB do not fit 100 pages");
        assert_eq!(error.cause(), Cause::Full, "{error}");
        let before = store.events(Cursor(0), 1_000).await.unwrap();
        assert_eq!(before.last().unwrap().event.kind == "small", small_is_there);
        limit(&store, WIDE).await;
        store.publish(&note("after", ""), Timestamp(2)).await.unwrap();
        let told = store.events(Cursor(0), 1_000).await.unwrap();
        assert_eq!(told.len(), before.len() + 1);
        let cursors: Vec<i64> = told.iter().map(|e| e.cursor.0).collect();
        assert_eq!(cursors, (1..=i64::try_from(told.len()).unwrap()).collect::<Vec<_>>(), "nothing half written");
    }
}
