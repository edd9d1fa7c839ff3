//! Writes a tree from a snapshot: to a new place, or over what stands at a declared one.
//!
//! A path from a snapshot is as foreign as any other: parts `..`, absolute paths and links in the way are refused.
//! Only a content that was read to its end and verified gets a name.

mod live;
mod new;

pub use live::into_live;
pub use new::into_new;

use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::TreeEntry;

use super::names;

/// Refuses an entry that no tree can hold.
fn check(entry: &TreeEntry) -> Result<(), PortError> {
    match names::refuse(&entry.path) {
        None => Ok(()),
        Some(why) => Err(PortError::Corrupt(format!("the snapshot names {:?}: {why}", names::escape(&entry.path)))),
    }
}
