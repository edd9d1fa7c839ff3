//! Everything an engine needs from outside.

use std::sync::Arc;

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ports::{Chores, Content, Env, Ledger, Notifier, Progress, Store, Syncer, Vault};

/// The adapters of one hub.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub vault: Arc<dyn Vault>,
    pub ledger: Arc<dyn Ledger>,
    pub content: Arc<dyn Content>,
    pub git: Arc<dyn Syncer>,
    pub database: Arc<dyn Syncer>,
    pub files: Arc<dyn Syncer>,
    pub notifier: Arc<dyn Notifier>,
    pub chores: Arc<dyn Chores>,
    pub env: Arc<dyn Env>,
    pub progress: Arc<dyn Progress>,
}

impl Ports {
    /// Returns the syncer for a kind of spoke.
    #[must_use]
    pub fn syncer(&self, kind: SpokeKind) -> Arc<dyn Syncer> {
        Arc::clone(match kind {
            SpokeKind::Git => &self.git,
            SpokeKind::Database => &self.database,
            SpokeKind::Files => &self.files,
        })
    }
}

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a claim or lease lives without being renewed.
    pub lease_ttl_ms: u64,
    /// How often a step that failed in passing is tried before it counts as failed.
    pub attempts: u32,
    /// Whether this engine claims and drives runs; else it files them and waits for another node.
    pub drives: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { lease_ttl_ms: 30_000, attempts: 3, drives: true }
    }
}
