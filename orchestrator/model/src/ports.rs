//! The traits through which the engine reaches the outside: one verb for one decision.

pub mod accounts;
pub mod chores;
pub mod content;
pub mod destination;
pub mod env;
pub mod intake;
pub mod ledger;
pub mod notifier;
pub mod outgoing;
pub mod schedules;
pub mod store;
pub mod syncer;
pub mod vault;
pub mod versions;

pub use accounts::Accounts;
pub use chores::Chores;
pub use content::Content;
pub use destination::Destination;
pub use env::{Env, Progress};
pub use intake::Intake;
pub use ledger::Ledger;
pub use notifier::Notifier;
pub use outgoing::OutgoingStore;
pub use schedules::Schedules;
pub use store::Store;
pub use syncer::Syncer;
pub use vault::{Sink, SnapshotWriter, Source, Vault};
pub use versions::ConfigVersions;

/// Where a failure came from, for exit codes and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Something else.
    Other,
    NotFound,
    /// Wrong credentials or missing rights.
    Denied,
    /// A spoke or destination cannot be reached.
    Unreachable,
    /// A limit that protects data.
    Refused,
    /// Held by somebody else; try again.
    Busy,
    /// No room left.
    Full,
    /// A key is missing or does not fit.
    Key,
    /// What was asked for cannot work with the configuration as it is.
    Invalid,
}

/// Why a port did not do what was asked: says what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It may work later, unchanged.
    #[error("{message}")]
    Transient { cause: Cause, message: String },
    /// It will not work until somebody changes something.
    #[error("{message}")]
    Permanent { cause: Cause, message: String },
    /// Somebody with a newer fence has taken over: stop writing at once.
    #[error("another hub has taken over: {0}")]
    Fenced(String),
    /// Data is not what its name, signature or log entry says.
    #[error("{0}")]
    Corrupt(String),
}

impl PortError {
    /// A permanent failure without a more telling cause.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent { cause: Cause::Other, message: message.into() }
    }

    /// A permanent failure with its cause.
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        Self::Permanent { cause, message: message.into() }
    }

    /// A failure that may pass.
    pub fn transient(cause: Cause, message: impl Into<String>) -> Self {
        Self::Transient { cause, message: message.into() }
    }

    /// Turns an I/O error on `what` into a port error, keeping what a caller can act on.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let message = format!("{what}: {error}");
        match error.kind() {
            K::NotFound => Self::failed(Cause::NotFound, message),
            K::PermissionDenied => Self::failed(Cause::Denied, message),
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Self::failed(Cause::Full, message),
            K::ReadOnlyFilesystem => Self::failed(Cause::Denied, message),
            K::WouldBlock | K::Interrupted | K::TimedOut | K::ResourceBusy => Self::transient(Cause::Busy, message),
            K::ConnectionRefused | K::ConnectionReset | K::HostUnreachable | K::NetworkUnreachable => {
                Self::transient(Cause::Unreachable, message)
            }
            _ => Self::permanent(message),
        }
    }

    /// Returns the cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::Transient { cause, .. } | Self::Permanent { cause, .. } => *cause,
            Self::Fenced(_) => Cause::Busy,
            Self::Corrupt(_) => Cause::Other,
        }
    }

    /// Returns what is recorded of the failure.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let kind = match self {
            Self::Transient { .. } => FaultKind::Transient,
            Self::Permanent { .. } => FaultKind::Permanent,
            Self::Fenced(_) => FaultKind::Fenced,
            Self::Corrupt(_) => FaultKind::Corrupt,
        };
        Fault { kind, cause: self.cause(), message: self.to_string() }
    }
}

/// The recorded form of a [`PortError`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    pub cause: Cause,
    pub message: String,
}

/// The recorded kind of a [`PortError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Transient,
    Permanent,
    Fenced,
    Corrupt,
}
