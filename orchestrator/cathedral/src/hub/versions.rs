//! Putting a configuration in force leaves a version and a leaf of the log.

use cathedral_model::ports::PortError;
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_model::ports::versions::ConfigVersion;

use super::{Hub, HubEnv};

impl Hub {
    /// Records the configuration that is in force from now on; nothing when it is the newest already.
    pub async fn accept_config(&self, text: &str, cause: &str) -> Result<ConfigVersion, PortError> {
        let versions = &self.stores.versions;
        if let Some(newest) = versions.config_versions(1).await?.into_iter().next()
            && newest.text == text
        {
            return Ok(newest);
        }
        let digest = cathedral_model::ids::Digest::of(text.as_bytes()).to_string();
        let more = serde_json::json!({ "cause": cause });
        // Sealed first: a version without its leaf would never be noticed.
        self.ledger.append(&NewLeaf::act("config.accepted", cause, &digest, more, HubEnv::clock())).await?;
        versions.accept_config(text, cause, HubEnv::clock()).await
    }
}
