//! Syncing two real trees.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "files/absent.rs"]
mod absent;
#[path = "files/busy.rs"]
mod busy;
#[path = "files/common.rs"]
mod common;
#[path = "files/core.rs"]
mod core_cases;
#[path = "files/faults.rs"]
mod faults;
#[path = "files/hard.rs"]
mod hard;
#[path = "files/random.rs"]
mod random;
#[path = "files/snapshot.rs"]
mod snapshot;
