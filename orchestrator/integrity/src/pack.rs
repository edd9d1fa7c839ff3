//! Proof packs: one file with everything a stranger needs to check a leaf, offline.

use crate::leaf::Salt;
use crate::proof::InclusionProof;
use crate::tar::{self, Member, TarError};

/// The text that tells a person how to check a pack with programs that are not ours.
pub const VERIFY_MD: &str = include_str!("pack/VERIFY.md");

pub(crate) const NAMES: [&str; 6] =
    ["VERIFY.md", "statement.json", "salt", "leaf.tlog-proof", "checkpoint", "keys/log.vkey"];

/// The parts of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPack {
    pub statement: Vec<u8>,
    pub salt: Salt,
    pub proof: InclusionProof,
    /// The log's verifier key, as the log claims it.
    pub vkey: String,
}

impl ProofPack {
    /// Returns the bytes of the `.cathedral-proof` file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TarError> {
        let contents = [
            VERIFY_MD.as_bytes().to_vec(),
            self.statement.clone(),
            self.salt.to_vec(),
            self.proof.to_text().into_bytes(),
            self.proof.checkpoint.clone().into_bytes(),
            format!("{}\n", self.vkey).into_bytes(),
        ];
        let members: Vec<Member> =
            NAMES.iter().zip(contents).map(|(name, bytes)| Member { name: (*name).to_owned(), bytes }).collect();
        tar::write(&members)
    }
}
