//! What a database error means to a caller.

use cathedral_model::ports::{Cause, PortError};

/// Says that the database is damaged, where it is and what to do.
pub(crate) fn corrupt(place: &str, why: &str) -> PortError {
    PortError::Corrupt(format!(
        "state database {place} is damaged: {why}; move it (and the files beside it that begin with its name) \
         aside and start again with a new one: snapshots, vaults and the log do not depend on it"
    ))
}

/// Translates an error of either engine.
pub(crate) fn port(place: &str, error: sqlx::Error) -> PortError {
    let says = |why: String| format!("state database {place}: {why}");
    match error {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default();
            if let Some(number) = code.parse::<u32>().ok().filter(|_| code.len() != 5) {
                return sqlite(place, number, e.message());
            }
            postgres(place, &code, e.message())
        }
        sqlx::Error::Io(e) => PortError::transient(Cause::Unreachable, says(e.to_string())),
        sqlx::Error::Tls(e) => PortError::failed(Cause::Denied, says(format!("TLS: {e}"))),
        sqlx::Error::Protocol(e) => PortError::transient(Cause::Unreachable, says(e)),
        sqlx::Error::PoolTimedOut => {
            PortError::transient(Cause::Busy, says("no connection became free in time".to_owned()))
        }
        sqlx::Error::PoolClosed => PortError::permanent(says("the store has been closed".to_owned())),
        sqlx::Error::WorkerCrashed => PortError::transient(Cause::Other, says("its worker has ended".to_owned())),
        e @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => corrupt(place, &e.to_string()),
        sqlx::Error::Configuration(e) => PortError::failed(Cause::Invalid, says(e.to_string())),
        e => PortError::permanent(says(e.to_string())),
    }
}

/// Translates an extended result code of SQLite.
fn sqlite(place: &str, code: u32, message: &str) -> PortError {
    let says = || format!("state database {place}: {message}");
    match code & 0xff {
        // SQLITE_IOERR_SHMSIZE: no room for the index of the write-ahead log.
        _ if code == 4874 => PortError::failed(Cause::Full, says()),
        5 | 6 => PortError::transient(Cause::Busy, format!("{}; another process is writing to it", says())),
        11 | 26 => corrupt(place, message),
        13 => PortError::failed(Cause::Full, says()),
        3 | 8 | 23 => PortError::failed(Cause::Denied, says()),
        14 => PortError::failed(Cause::NotFound, says()),
        _ => PortError::permanent(says()),
    }
}

/// Translates an SQLSTATE of PostgreSQL.
fn postgres(place: &str, state: &str, message: &str) -> PortError {
    let text = format!("state database {place}: {message} ({state})");
    match state {
        "40001" | "40P01" | "55P03" | "57014" | "25P03" => PortError::transient(Cause::Busy, text),
        "53100" | "53200" => PortError::failed(Cause::Full, text),
        "53300" => PortError::transient(Cause::Busy, text),
        "57P01" | "57P02" | "57P03" => PortError::transient(Cause::Unreachable, text),
        "28000" | "28P01" | "42501" => PortError::failed(Cause::Denied, text),
        "3D000" => PortError::failed(Cause::NotFound, text),
        "XX001" | "XX002" => corrupt(place, message),
        s if s.starts_with("08") => PortError::transient(Cause::Unreachable, text),
        _ => PortError::permanent(text),
    }
}

/// A second copy of an error: everybody whose call was in a failed commit gets one.
pub(crate) fn again(error: &PortError) -> PortError {
    match error {
        PortError::Transient { cause, message } => PortError::Transient { cause: *cause, message: message.clone() },
        PortError::Permanent { cause, message } => PortError::Permanent { cause: *cause, message: message.clone() },
        PortError::Fenced(message) => PortError::Fenced(message.clone()),
        PortError::Corrupt(message) => PortError::Corrupt(message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_a_caller_can_do() {
        assert!(matches!(sqlite("s.db", 11, "malformed"), PortError::Corrupt(m) if m.contains("s.db")));
        assert_eq!(sqlite("s.db", 13, "full").cause(), Cause::Full);
        assert_eq!(sqlite("s.db", 4874, "disk I/O error").cause(), Cause::Full);
        // SQLITE_BUSY_SNAPSHOT: the extended part does not matter.
        assert!(matches!(sqlite("s.db", 517, "busy"), PortError::Transient { cause: Cause::Busy, .. }));
        assert_eq!(postgres("db", "53100", "disk full").cause(), Cause::Full);
        assert_eq!(postgres("db", "28P01", "password").cause(), Cause::Denied);
        assert!(matches!(postgres("db", "08006", "gone"), PortError::Transient { cause: Cause::Unreachable, .. }));
    }
}
