//! Shared paths as values: the entry at a path, wrapped in a tree of its own under its last name, so
//! that files and folders, their modes and their contents are all told by one object id.

use super::failure::GitError;
use super::object::{self, Entry, Oid};
use super::store::Store;

/// Returns the name an entry gets in its wrapper.
#[must_use]
pub fn wrapped_name(hub_path: &str) -> &str {
    hub_path.rsplit('/').next().unwrap_or(hub_path)
}

/// Returns the value of an entry, computed without writing anything.
pub fn value_of(entry: Option<Entry>, hub_path: &str) -> Result<Option<Oid>, GitError> {
    let named = |e: Entry| Entry { name: wrapped_name(hub_path).as_bytes().to_vec(), ..e };
    entry.map(|e| object::single_entry_tree(&named(e))).transpose()
}

/// Writes the wrapper of an entry whose object is in the store, and returns its value.
pub fn write_value(store: &Store, entry: &Entry, hub_path: &str) -> Result<Oid, GitError> {
    store.write_tree(&[Entry { name: wrapped_name(hub_path).as_bytes().to_vec(), ..entry.clone() }])
}

/// Returns the commit that carries a value between stores and into pins.
pub fn carrier(store: &Store, value: &str) -> Result<Oid, GitError> {
    store.write_commit(value, &[], 0, "shared path\n")
}

/// Returns the entry a value stands for.
pub fn entry_of(store: &Store, value: &str) -> Result<Option<Entry>, GitError> {
    Ok(store.tree(value)?.into_iter().next())
}
