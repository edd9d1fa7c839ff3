//! `cathedral-vault.json`: what anybody may know of a vault, signed.

use age::x25519;
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::keys;
use crate::signed::{self, DOMAIN_VAULT};
use crate::stock;

/// Name of the object.
pub const OBJECT: &str = "cathedral-vault.json";
/// The way files are cut: part of what a writer must understand.
pub const FEATURE_CUTTER: &str = "must-write:fastcdc5-v2020-262144-1048576-4194304-n1";
const KNOWN_FEATURES: [&str; 1] = [FEATURE_CUTTER];

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFile {
    pub format: String,
    pub version: u32,
    pub vault: String,
    /// UTC microseconds.
    pub created: String,
    pub kem: String,
    pub epoch: u64,
    /// What packs, indexes and manifests are encrypted to.
    pub recipient: String,
    pub features: Vec<String>,
    pub signers: Vec<Signer>,
    /// BLAKE3 of the stock recovery's files.
    pub files: BTreeMap<String, Digest>,
}

/// A key that may sign manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    pub alg: String,
    pub key: String,
}

impl VaultFile {
    /// Describes a new vault.
    #[must_use]
    pub fn new(vault: &str, at: Timestamp, recipient: &x25519::Recipient, signer: &VerifyingKey) -> Self {
        Self {
            format: "cathedral-vault".into(),
            version: 1,
            vault: vault.into(),
            created: at.0.to_string(),
            kem: "x25519".into(),
            epoch: 1,
            recipient: recipient.to_string(),
            features: vec![FEATURE_CUTTER.into()],
            signers: vec![Signer { alg: "ed25519".into(), key: hex::encode(signer.as_bytes()) }],
            files: stock::FILES.iter().map(|(name, text)| ((*name).into(), Digest::of(text.as_bytes()))).collect(),
        }
    }

    /// Writes and signs the file.
    pub fn to_bytes(&self, key: &SigningKey) -> Result<Vec<u8>, PortError> {
        signed::seal(DOMAIN_VAULT, self, key).map_err(|e| PortError::permanent(format!("{OBJECT}: {e}")))
    }

    /// Reads the file. Without `trusted` keys it must be signed by one of its own signers, which proves
    /// that it is whole, not who wrote it.
    pub fn from_bytes(bytes: &[u8], trusted: &[VerifyingKey]) -> Result<Self, PortError> {
        let corrupt = |why: &dyn std::fmt::Display| PortError::Corrupt(format!("{OBJECT}: {why}"));
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let file: Self = serde_json::from_slice(line).map_err(|e| corrupt(&e))?;
        if file.format != "cathedral-vault" {
            return Err(corrupt(&"it does not describe a vault"));
        }
        let own = file.signer_keys();
        let by = if trusted.is_empty() { &own } else { trusted };
        signed::open(DOMAIN_VAULT, bytes, by).map_err(|e| corrupt(&e))?;
        let unread: Vec<_> = file
            .features
            .iter()
            .filter(|f| f.starts_with("must-read:") && !KNOWN_FEATURES.contains(&f.as_str()))
            .collect();
        if file.version != 1 || file.kem != "x25519" || !unread.is_empty() {
            let message = format!("vault needs a newer release: version {}, {}, {unread:?}", file.version, file.kem);
            return Err(PortError::failed(Cause::Invalid, message));
        }
        Ok(file)
    }

    /// Says whether this release may write to the vault.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.features.iter().all(|f| !f.starts_with("must-write:") || KNOWN_FEATURES.contains(&f.as_str()))
    }

    /// Returns the public keys of the signers.
    #[must_use]
    pub fn signer_keys(&self) -> Vec<VerifyingKey> {
        self.signers.iter().filter(|s| s.alg == "ed25519").filter_map(|s| keys::verifying_key(&s.key)).collect()
    }

    /// Returns the recipient.
    pub fn recipient(&self) -> Result<x25519::Recipient, PortError> {
        keys::recipient(&self.recipient)
    }
}
