//! Syncing two real trees.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "files/common.rs"]
mod common;
#[path = "files/core.rs"]
mod core_cases;
