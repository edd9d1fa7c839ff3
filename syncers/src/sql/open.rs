//! Connections to other people's database files, and what their failures mean.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cathedral_model::ports::{Cause, PortError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

const BUSY: Duration = Duration::from_secs(5);

/// A read transaction over a whole database: everything read from it is of one moment.
pub(super) struct Reading {
    pub conn: Connection,
    pub path: PathBuf,
}

/// Opens a read transaction; none when the file is missing. Never checkpoints, never changes the file.
pub(super) fn reading(path: &Path) -> Result<Option<Reading>, PortError> {
    let Some(path) = regular(path)? else { return Ok(None) };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match begin_read(&path, flags) {
        // What a crashed writer left is rolled back by the next reader, and that needs the right to write.
        Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == ErrorCode::ReadOnly => {
            begin_read(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        }
        other => other,
    }
    .map_err(|e| fail(&path, &e))?;
    Ok(Some(Reading { conn, path }))
}

fn begin_read(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)?;
    settle(&conn)?;
    keep_wal(&conn, path)?;
    conn.execute_batch("pragma query_only = on; begin; select count(*) from sqlite_schema;")?;
    Ok(conn)
}

/// Opens an existing database for writing.
pub(super) fn writing(path: &Path) -> Result<Connection, PortError> {
    let path = regular(path)?
        .ok_or_else(|| PortError::failed(Cause::NotFound, format!("database {} is missing", path.display())))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(&path, flags)?;
        settle(&conn)?;
        keep_wal(&conn, &path)?;
        // A trigger of the application has fired where its row was written; here it would fire twice.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        // Cascades would remove rows that no plan names; references are verified before the commit.
        conn.execute_batch("pragma foreign_keys = off; pragma recursive_triggers = off;")?;
        Ok(conn)
    };
    open().map_err(|e| fail(&path, &e))
}

/// Opens a new database of our own.
pub(super) fn creating(path: &Path) -> Result<Connection, PortError> {
    let path = absolute(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(&path, flags)?;
        settle(&conn)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        Ok(conn)
    };
    open().map_err(|e| fail(&path, &e))
}

fn settle(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.execute_batch("pragma trusted_schema = off; pragma cell_size_check = on;")
}

/// The application's log is the application's: closing the last connection must not checkpoint it. Only an empty
/// log, which this very connection may have made, goes when it is closed.
fn keep_wal(conn: &Connection, path: &Path) -> rusqlite::Result<()> {
    let used = std::fs::metadata(beside(path, "-wal")).is_ok_and(|m| m.len() > 0);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, used).map(|_| ())
}

/// Returns the path with something added to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite takes names that begin with `file:` for addresses; an absolute path never does.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, PortError> {
    std::path::absolute(path).map_err(|e| PortError::io(path.display(), &e))
}

/// Returns the absolute path of a database; none when it is missing. To open anything but a file, or a companion
/// that is none, might wait for ever.
fn regular(path: &Path) -> Result<Option<PathBuf>, PortError> {
    let path = absolute(path)?;
    if !is_file(&path)? {
        return Ok(None);
    }
    for suffix in ["-wal", "-journal", "-shm"] {
        is_file(&beside(&path, suffix))?;
    }
    Ok(Some(path))
}

/// Whether there is a file; anything else with that name is an error that says what it is.
fn is_file(path: &Path) -> Result<bool, PortError> {
    let name = path.display();
    let what = match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => return Ok(true),
        Ok(meta) => match meta.file_type() {
            kind if kind.is_dir() => "a folder",
            kind if kind.is_fifo() => "a named pipe",
            kind if kind.is_socket() => "a socket",
            kind if kind.is_block_device() || kind.is_char_device() => "a device",
            _ => "no file",
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => "a link to nothing",
            _ => return Ok(false),
        },
        Err(e) => return Err(PortError::io(name, &e)),
    };
    Err(PortError::failed(Cause::Invalid, format!("{name} is {what}, not a database file")))
}

/// Turns a failure of SQLite on a file into what a caller can act on.
pub(super) fn fail(path: &Path, error: &rusqlite::Error) -> PortError {
    let name = path.display();
    let message = format!("database {name}: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            PortError::transient(Cause::Busy, format!("database {name} is locked by another program"))
        }
        Some(ErrorCode::DatabaseCorrupt) => PortError::Corrupt(format!("database {name} is damaged: {error}")),
        Some(ErrorCode::NotADatabase) => {
            PortError::failed(Cause::Invalid, format!("{name} is not a SQLite database, or it is encrypted"))
        }
        Some(ErrorCode::DiskFull) => PortError::failed(Cause::Full, message),
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            PortError::failed(Cause::Denied, message)
        }
        _ => PortError::permanent(message),
    }
}
