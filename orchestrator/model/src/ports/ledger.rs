//! The transparency log, as the engine uses it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::ids::LeafIndex;
use crate::time::Timestamp;

/// What kind of act a leaf records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeafKind {
    Snapshot,
    Sync,
    Restore,
    Admin,
}

impl LeafKind {
    /// Returns the word used in `urn:cathedral:leaf:<kind>:v1`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Sync => "sync",
            Self::Restore => "restore",
            Self::Admin => "admin",
        }
    }
}

/// A leaf to be appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLeaf {
    pub kind: LeafKind,
    /// Idempotency key: appending the same key twice appends once and returns the first index.
    pub id: String,
    /// Name of the subject, for example a snapshot id or `run 12`.
    pub subject: String,
    /// SHA-256 and BLAKE3 (hex) of the stored object, where there is one.
    pub sha256: Option<String>,
    pub blake3: Option<String>,
    pub at: Timestamp,
    /// Further predicate fields.
    pub predicate: serde_json::Value,
}

impl NewLeaf {
    /// An administrative act: who did what to which thing. It goes into the log before the act is done or
    /// answered.
    #[must_use]
    pub fn act(act: &str, actor: &str, subject: &str, more: serde_json::Value, at: Timestamp) -> Self {
        Self {
            kind: LeafKind::Admin,
            id: format!("{act}:{subject}:{}", at.0),
            subject: subject.to_owned(),
            sha256: None,
            blake3: None,
            at,
            predicate: serde_json::json!({ "act": act, "actor": actor, "subject": subject, "more": more }),
        }
    }
}

/// The signed head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub origin: String,
    pub size: u64,
    /// Hex SHA-256.
    pub root: String,
    /// The signature lines of the checkpoint note.
    pub signatures: Vec<String>,
    /// The whole signed note.
    pub note: String,
}

/// Appends leaves. An append returns only after the leaf and a signed checkpoint over it are durable.
#[async_trait]
pub trait Ledger: Send + Sync {
    async fn append(&self, leaf: &NewLeaf) -> Result<LeafIndex, PortError>;

    /// Returns where the leaf with this idempotency key is; none when it is not in the log.
    async fn find(&self, id: &str) -> Result<Option<LeafIndex>, PortError>;

    async fn head(&self) -> Result<Head, PortError>;
}
