//! In-memory adapters that keep the promises of the ports. They never fail by themselves; the world
//! wraps them in faults.

mod content;
mod ledger;
mod store;
mod vault;

pub use content::MemoryContent;
pub use ledger::MemoryLedger;
pub use store::MemoryStore;
pub use vault::MemoryVault;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; a test that panicked elsewhere must not hide behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
