//! Every hash of the vault that is not a Merkle node: chunk ids, salts, row boundaries.
//!
//! Purposes are separated by BLAKE3 `derive_key` with the fixed contexts below, so that no hash made
//! for one purpose says anything in another.

use cathedral_model::ids::Digest;
use zeroize::Zeroizing;

/// Keys the ids of chunks.
pub const CONTEXT_ID: &str = "cathedral vault v1 chunk id";
/// Keys the salts of Merkle leaves.
pub const CONTEXT_SALT: &str = "cathedral vault v1 leaf salt";
/// Keys where runs of rows and lists of chunks are cut.
pub const CONTEXT_CUT: &str = "cathedral vault v1 row cut";
/// Seeds the gear table of the content-defined cutter.
pub const CONTEXT_GEAR: &str = "cathedral vault v1 gear seed";

/// The keyed hashes of one vault.
#[derive(Clone)]
pub struct Hashes {
    id: Zeroizing<[u8; 32]>,
    salt: Zeroizing<[u8; 32]>,
    cut: Zeroizing<[u8; 32]>,
    gear: u64,
}

impl Hashes {
    /// Derives all purposes from the vault's id-key and salt-key.
    #[must_use]
    pub fn new(id_key: &[u8; 32], salt_key: &[u8; 32]) -> Self {
        let gear = blake3::derive_key(CONTEXT_GEAR, id_key);
        let mut seed = [0; 8];
        seed.copy_from_slice(&gear[..8]);
        Self {
            id: Zeroizing::new(blake3::derive_key(CONTEXT_ID, id_key)),
            salt: Zeroizing::new(blake3::derive_key(CONTEXT_SALT, salt_key)),
            cut: Zeroizing::new(blake3::derive_key(CONTEXT_CUT, id_key)),
            gear: u64::from_le_bytes(seed),
        }
    }

    /// Returns the id of a chunk's plain bytes.
    #[must_use]
    pub fn id(&self, plain: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.id, plain).as_bytes())
    }

    /// Returns the salt of a leaf: the first 16 bytes of the keyed hash of its path and content root.
    #[must_use]
    pub fn salt(&self, path: &[u8], content: &[u8; 32]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        hasher.update(path).update(content);
        let mut salt = [0; 16];
        salt.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        salt
    }

    /// Says whether a run ends after this key: true for one key in `one_in` (a power of two).
    #[must_use]
    pub fn cuts_after(&self, key: &[u8], one_in: u32) -> bool {
        let hash = blake3::keyed_hash(&self.cut, key);
        let b = hash.as_bytes();
        u32::from_le_bytes([b[0], b[1], b[2], b[3]]) & (one_in - 1) == 0
    }

    /// Returns the seed of the content-defined cutter.
    #[must_use]
    pub fn gear_seed(&self) -> u64 {
        self.gear
    }
}

impl std::fmt::Debug for Hashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashes(..)")
    }
}
