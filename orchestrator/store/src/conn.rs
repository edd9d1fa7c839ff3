//! One connection to either engine: values in, rows out, errors as port errors.

use std::sync::Arc;

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Executor as _;
use sqlx::Row as _;

use crate::error;
use crate::statement::Statement;

/// Which database a store works on, for messages.
pub(crate) type Place = Arc<str>;

/// A bound parameter.
#[derive(Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($from:ty, $v:ident => $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($v: $from) -> Self {
                $value
            }
        })*
    };
}

value_from! {
    i64, v => Self::Int(Some(v));
    i32, v => Self::Int(Some(i64::from(v)));
    u32, v => Self::Int(Some(i64::from(v)));
    // Sizes and counts: what is beyond 2^63 is not told apart.
    u64, v => Self::Int(Some(i64::try_from(v).unwrap_or(i64::MAX)));
    bool, v => Self::Int(Some(i64::from(v)));
    Option<i64>, v => Self::Int(v);
    Timestamp, v => Self::Int(Some(v.0));
    Option<Timestamp>, v => Self::Int(v.map(|t| t.0));
    &str, v => Self::Text(Some(v.to_owned()));
    String, v => Self::Text(Some(v));
    Option<&str>, v => Self::Text(v.map(str::to_owned));
    Option<String>, v => Self::Text(v);
    Digest, v => Self::Blob(Some(v.0.to_vec()));
    Option<Digest>, v => Self::Blob(v.map(|d| d.0.to_vec()));
}

/// Builds the parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::conn::Value::from($value)),*] };
}
pub(crate) use values;

/// Turns a value into the text that is stored.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, PortError> {
    serde_json::to_string(value).map_err(|e| PortError::permanent(format!("cannot be written as JSON: {e}")))
}

/// A set of connections to one database.
pub(crate) enum Pool {
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

impl Pool {
    pub(crate) async fn acquire(&self, place: &Place) -> Result<Conn, PortError> {
        let handle = match self {
            Self::Sqlite(pool) => pool.acquire().await.map(Handle::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.acquire().await.map(Handle::Postgres),
        };
        let handle = handle.map_err(|e| error::port(place, e))?;
        Ok(Conn { handle, place: place.clone() })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

enum Handle {
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
}

/// One connection.
pub(crate) struct Conn {
    handle: Handle,
    place: Place,
}

macro_rules! bound {
    ($text:expr, $values:expr) => {{
        let mut query = sqlx::query($text);
        for value in $values {
            query = match value {
                Value::Int(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
                Value::Blob(v) => query.bind(v),
            };
        }
        query
    }};
}

impl Conn {
    /// Carries a statement out and returns how many rows it changed.
    pub(crate) async fn run(&mut self, what: &'static Statement, values: Vec<Value>) -> Result<u64, PortError> {
        check_text(&values)?;
        match &mut self.handle {
            Handle::Sqlite(c) => bound!(what.sqlite, values).execute(&mut **c).await.map(|r| r.rows_affected()),
            #[cfg(feature = "postgres")]
            Handle::Postgres(c) => bound!(what.postgres, values).execute(&mut **c).await.map(|r| r.rows_affected()),
        }
        .map_err(|e| error::port(&self.place, e))
    }

    /// Returns all rows.
    pub(crate) async fn all(&mut self, what: &'static Statement, values: Vec<Value>) -> Result<Vec<Row>, PortError> {
        check_text(&values)?;
        let place = &self.place;
        match &mut self.handle {
            Handle::Sqlite(c) => bound!(what.sqlite, values)
                .fetch_all(&mut **c)
                .await
                .map(|rows| rows.into_iter().map(|r| Row { cells: Cells::Sqlite(r), place: place.clone() }).collect()),
            #[cfg(feature = "postgres")]
            Handle::Postgres(c) => bound!(what.postgres, values).fetch_all(&mut **c).await.map(|rows| {
                rows.into_iter().map(|r| Row { cells: Cells::Postgres(r), place: place.clone() }).collect()
            }),
        }
        .map_err(|e| error::port(place, e))
    }

    /// Returns the first row.
    pub(crate) async fn first(
        &mut self,
        what: &'static Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, PortError> {
        Ok(self.all(what, values).await?.into_iter().next())
    }

    /// Runs a script of several statements without parameters: migrations and transaction control.
    pub(crate) async fn script(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), PortError> {
        #[cfg(not(feature = "postgres"))]
        let _ = postgres;
        match &mut self.handle {
            Handle::Sqlite(c) => c.execute(sqlx::raw_sql(sqlite)).await.map(|_| ()),
            #[cfg(feature = "postgres")]
            Handle::Postgres(c) => c.execute(sqlx::raw_sql(postgres)).await.map(|_| ()),
        }
        .map_err(|e| error::port(&self.place, e))
    }

    /// Begins a write transaction; no other writer of this database is inside one until it ends.
    pub(crate) async fn begin(&mut self) -> Result<(), PortError> {
        // The number is "cathedra" in ASCII; the lock ends with the transaction.
        self.script("begin immediate", "begin; select pg_advisory_xact_lock(7161131863230148193)").await
    }

    /// Asks the engine to parse a statement without running it.
    pub(crate) async fn prepare(&mut self, what: &'static Statement) -> Result<(), PortError> {
        use sqlx::SqlSafeStr as _;
        match &mut self.handle {
            Handle::Sqlite(c) => c.prepare(what.sqlite.into_sql_str()).await.map(|_| ()),
            #[cfg(feature = "postgres")]
            Handle::Postgres(c) => c.prepare(what.postgres.into_sql_str()).await.map(|_| ()),
        }
        .map_err(|e| error::port(&self.place, e))
    }

    /// Closes a connection that can no longer be trusted.
    pub(crate) fn discard(mut self) {
        match &mut self.handle {
            Handle::Sqlite(c) => c.close_on_drop(),
            #[cfg(feature = "postgres")]
            Handle::Postgres(c) => c.close_on_drop(),
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.handle, Handle::Sqlite(_))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// PostgreSQL cannot hold a zero byte in a text: both engines refuse it alike, nothing is cut.
fn check_text(values: &[Value]) -> Result<(), PortError> {
    let holds_zero = |v: &Value| matches!(v, Value::Text(Some(text)) if text.contains('\0'));
    if values.iter().any(holds_zero) {
        return Err(PortError::failed(Cause::Invalid, "a text with a zero byte cannot be stored"));
    }
    Ok(())
}

enum Cells {
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

/// One row of an answer.
pub(crate) struct Row {
    cells: Cells,
    place: Place,
}

macro_rules! cell {
    ($row:expr, $at:expr) => {
        match &$row.cells {
            Cells::Sqlite(row) => row.try_get($at),
            #[cfg(feature = "postgres")]
            Cells::Postgres(row) => row.try_get($at),
        }
        .map_err(|e| error::port(&$row.place, e))
    };
}

impl Row {
    pub(crate) fn int(&self, at: usize) -> Result<i64, PortError> {
        cell!(self, at)
    }

    pub(crate) fn time(&self, at: usize) -> Result<Timestamp, PortError> {
        self.int(at).map(Timestamp)
    }

    pub(crate) fn maybe_time(&self, at: usize) -> Result<Option<Timestamp>, PortError> {
        self.maybe_int(at).map(|v| v.map(Timestamp))
    }

    pub(crate) fn flag(&self, at: usize) -> Result<bool, PortError> {
        self.int(at).map(|v| v != 0)
    }

    /// Reads a count or a size.
    pub(crate) fn count<T: TryFrom<i64>>(&self, at: usize) -> Result<T, PortError> {
        let number = self.int(at)?;
        T::try_from(number).map_err(|_| self.damaged(&format!("column {at} cannot be {number}")))
    }

    pub(crate) fn maybe_int(&self, at: usize) -> Result<Option<i64>, PortError> {
        cell!(self, at)
    }

    pub(crate) fn text(&self, at: usize) -> Result<String, PortError> {
        cell!(self, at)
    }

    pub(crate) fn maybe_text(&self, at: usize) -> Result<Option<String>, PortError> {
        cell!(self, at)
    }

    pub(crate) fn digest(&self, at: usize) -> Result<Digest, PortError> {
        self.maybe_digest(at)?.ok_or_else(|| self.damaged("a digest is missing"))
    }

    pub(crate) fn maybe_digest(&self, at: usize) -> Result<Option<Digest>, PortError> {
        let bytes: Option<Vec<u8>> = cell!(self, at)?;
        bytes
            .map(|b| <[u8; 32]>::try_from(b).map(Digest).map_err(|_| self.damaged("a digest has the wrong length")))
            .transpose()
    }

    /// Reads a text that holds JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, at: usize) -> Result<T, PortError> {
        serde_json::from_str(&self.text(at)?).map_err(|e| self.damaged(&format!("column {at} is not readable: {e}")))
    }

    /// Reads a text that holds JSON, if it is there.
    pub(crate) fn maybe_json<T: DeserializeOwned>(&self, at: usize) -> Result<Option<T>, PortError> {
        self.maybe_text(at)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|e| self.damaged(&format!("column {at} is not readable: {e}")))
    }

    /// The error for a value that this store cannot have written.
    pub(crate) fn damaged(&self, why: &str) -> PortError {
        error::corrupt(&self.place, why)
    }
}
