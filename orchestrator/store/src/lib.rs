//! The state store over SQLite and PostgreSQL.
//!
//! Everything the hub must not forget is written here, and every method of the port is one
//! transaction. All writes of a process go through one connection ([`writer`]): calls that arrive
//! while a commit is under way are committed together by the next one, each in a savepoint of its
//! own. What returned `Ok` is on the disk.
//!
//! One [`SqlStore`] is every port that keeps state: `Store`, `Schedules`, `Intake`, `Accounts`,
//! `OutgoingStore` and `ConfigVersions`.
//!
//! The statements stand beside the operations they serve, as whole texts that both engines accept;
//! [`conn`] is the only place that knows which engine is at the other end.

mod account;
mod config_version;
mod conn;
mod delivery;
mod error;
mod event;
mod inbox;
mod lease;
mod memory;
mod migrate;
mod outgoing;
mod plan;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
mod record;
mod schedule;
mod session;
mod sqlite;
mod statement;
mod store;
mod token;
mod writer;

#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresStore};
pub use sqlite::{Sqlite, SqliteStore};
pub use store::SqlStore;
