//! Content-addressed bytes beside the store: merge bases, plans, the sides of conflicts, versions.

use std::io::Read;

use super::PortError;
use crate::ids::Digest;

/// Keeps bytes by the BLAKE3 digest of their content. Blocking.
///
/// Guarantees: `put` returns only when the bytes are durable; putting the same bytes twice stores
/// them once; `get` returns exactly the bytes or [`PortError::Corrupt`].
pub trait Content: Send + Sync {
    /// Stores bytes.
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError>;

    /// Stores a stream without holding it in memory.
    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError>;

    /// Returns stored bytes, verified.
    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError>;

    /// Opens stored bytes as a stream; the reader fails at its end if they do not match the digest.
    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError>;

    /// Says whether the bytes are here.
    fn has(&self, id: &Digest) -> Result<bool, PortError>;
}
