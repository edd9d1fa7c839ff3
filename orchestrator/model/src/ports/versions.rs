//! Every configuration that a hub has accepted.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::ids::Digest;
use crate::time::Timestamp;

/// One accepted version. The text is as it stood in the file: references, never secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVersion {
    pub number: i64,
    pub digest: Digest,
    pub text: String,
    pub accepted_at: Timestamp,
    /// Who or what changed it, for example `file` or `rollback by admin`.
    pub cause: String,
}

/// Keeps accepted configurations, newest last.
#[async_trait]
pub trait ConfigVersions: Send + Sync {
    /// Files a version unless the newest one has the same text; returns the newest either way. A new one
    /// writes an event `config.accepted`.
    async fn accept_config(&self, text: &str, cause: &str, now: Timestamp) -> Result<ConfigVersion, PortError>;

    /// Lists versions, newest first.
    async fn config_versions(&self, limit: u32) -> Result<Vec<ConfigVersion>, PortError>;
}
