//! What can go wrong with a log.

use std::io;
use std::path::{Path, PathBuf};

use cathedral_model::ports::{Cause, PortError};

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{what}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// The log, or a memory of it, is not what it should be. Nothing is appended to such a log.
    #[error("{file}: {why}")]
    Corrupt { file: String, why: String },
    /// The log's key is missing, does not fit or is not kept secret.
    #[error("{0}")]
    Key(String),
    /// What was handed in has no place in a log.
    #[error("{0}")]
    Invalid(String),
    /// A rule of the log forbids it.
    #[error("{0}")]
    Refused(String),
    #[error("log {0} is in use by another process")]
    Locked(PathBuf),
    #[error("no leaf {0} in the log")]
    NoLeaf(u64),
    /// An earlier write failed in a way that leaves its outcome open.
    #[error("the log stopped after a failed write, open it again: {0}")]
    Stopped(String),
}

impl LogError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { what: path.display().to_string(), source }
    }

    pub(crate) fn corrupt(file: impl std::fmt::Display, why: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_string(), why: why.into() }
    }

    pub(crate) fn corrupt_at(path: &Path, why: impl Into<String>) -> Self {
        Self::corrupt(path.display(), why)
    }
}

impl From<LogError> for PortError {
    fn from(error: LogError) -> Self {
        let message = error.to_string();
        match error {
            LogError::Io { what, source } => Self::io(what, &source),
            LogError::Corrupt { .. } => Self::Corrupt(message),
            LogError::Key(_) => Self::failed(Cause::Key, message),
            LogError::Invalid(_) => Self::failed(Cause::Invalid, message),
            LogError::Refused(_) => Self::failed(Cause::Refused, message),
            LogError::Locked(_) => Self::transient(Cause::Busy, message),
            LogError::NoLeaf(_) => Self::failed(Cause::NotFound, message),
            LogError::Stopped(_) => Self::transient(Cause::Other, message),
        }
    }
}
