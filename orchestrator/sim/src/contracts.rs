//! One suite per port, run by every implementation, fakes included.

pub mod ledger;
pub mod store;
