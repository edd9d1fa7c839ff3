//! A log in memory: append-only, idempotent by leaf id.

use async_trait::async_trait;
use std::sync::Mutex;

use cathedral_model::ids::{Digest, LeafIndex};
use cathedral_model::ports::ledger::{Head, NewLeaf};
use cathedral_model::ports::{Ledger, PortError};

use super::lock;

/// Keeps leaves in order.
#[derive(Default)]
pub struct MemoryLedger(Mutex<Vec<NewLeaf>>);

impl MemoryLedger {
    /// Returns all leaves.
    #[must_use]
    pub fn leaves(&self) -> Vec<NewLeaf> {
        lock(&self.0).clone()
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn append(&self, leaf: &NewLeaf) -> Result<LeafIndex, PortError> {
        let mut leaves = lock(&self.0);
        let index = leaves.iter().position(|l| l.id == leaf.id).unwrap_or_else(|| {
            leaves.push(leaf.clone());
            leaves.len() - 1
        });
        Ok(LeafIndex(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    async fn head(&self) -> Result<Head, PortError> {
        let leaves = lock(&self.0);
        let ids: Vec<&str> = leaves.iter().map(|l| l.id.as_str()).collect();
        Ok(Head {
            origin: "memory".into(),
            size: leaves.len() as u64,
            root: Digest::of(ids.join("\n").as_bytes()).to_string(),
            signatures: vec![],
            note: String::new(),
        })
    }
}
