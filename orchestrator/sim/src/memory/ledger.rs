//! A log in memory: append-only, idempotent by leaf id.

use async_trait::async_trait;
use std::sync::Mutex;

use cathedral_model::canonical;
use cathedral_model::ids::{Digest, LeafIndex};
use cathedral_model::ports::ledger::{Head, NewLeaf};
use cathedral_model::ports::{Cause, Ledger, PortError};

use super::lock;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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
        let refused = |why: String| PortError::failed(Cause::Refused, format!("leaf {}: {why}", leaf.id));
        let index = match leaves.iter().position(|l| l.id == leaf.id) {
            // Only the time may differ between attempts at one act.
            Some(there) if NewLeaf { at: leaf.at, ..leaves[there].clone() } == *leaf => there,
            Some(_) => return Err(refused("it is in the log with another content".into())),
            None => {
                let text = canonical::to_string(leaf).map_err(|e| refused(e.to_string()))?;
                if text.len() > 64 * 1024 {
                    return Err(refused("its statement is too large".into()));
                }
                leaves.push(leaf.clone());
                leaves.len() - 1
            }
        };
        Ok(LeafIndex(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    async fn find(&self, id: &str) -> Result<Option<LeafIndex>, PortError> {
        let at = lock(&self.0).iter().position(|l| l.id == id);
        Ok(at.map(|at| LeafIndex(i64::try_from(at).unwrap_or(i64::MAX))))
    }

    async fn head(&self) -> Result<Head, PortError> {
        let leaves = lock(&self.0);
        let ids: Vec<&str> = leaves.iter().map(|l| l.id.as_str()).collect();
        // Roots only have to differ; the one of the empty tree is fixed by RFC 6962.
        let root = if ids.is_empty() { EMPTY.to_owned() } else { Digest::of(ids.join("\n").as_bytes()).to_string() };
        let note = format!("memory\n{}\n{root}\n", ids.len());
        Ok(Head { origin: "memory".into(), size: ids.len() as u64, root, signatures: vec!["- memory".into()], note })
    }
}
