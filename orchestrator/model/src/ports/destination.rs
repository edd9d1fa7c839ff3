//! A place that holds the vault's objects.

use super::PortError;
use crate::ids::DestinationName;

/// What a put found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Stored,
    /// An object of that name and size was there already.
    AlreadyThere,
}

/// Holds immutable objects by name. Blocking; names are relative paths of `[A-Za-z0-9._+-]` parts.
///
/// Guarantees: `put` is create-only and atomic (an object is visible whole or not at all, and is
/// durable when the call returns); a name that exists with another size is [`PortError::Corrupt`]
/// and is not touched.
pub trait Destination: Send + Sync {
    fn name(&self) -> &DestinationName;

    /// Where it is, for people, without secrets.
    fn location(&self) -> String;

    fn put(&self, object: &str, bytes: &[u8]) -> Result<Put, PortError>;

    /// Reads a whole object. A missing one is `Permanent { cause: NotFound }`.
    fn get(&self, object: &str) -> Result<Vec<u8>, PortError>;

    /// Reads `len` bytes from `offset`; fewer at the end of the object.
    fn get_range(&self, object: &str, offset: u64, len: u64) -> Result<Vec<u8>, PortError>;

    /// Returns the size, or none when there is no such object.
    fn size(&self, object: &str) -> Result<Option<u64>, PortError>;

    /// Lists the objects below a prefix (a folder name ending in `/`, or empty), sorted by name.
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, PortError>;

    /// Puts an object in the place of whatever has its name: for the few objects that have names of their own, when
    /// what is there is damaged. Atomic where the place can do that.
    fn replace(&self, object: &str, bytes: &[u8]) -> Result<(), PortError> {
        self.delete(object)?;
        self.put(object, bytes).map(drop)
    }

    /// Removes an object; one that is not there is no error. Only a sweep calls this.
    fn delete(&self, object: &str) -> Result<(), PortError>;
}
