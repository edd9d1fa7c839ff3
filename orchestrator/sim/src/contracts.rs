//! One suite per port, run by every implementation, fakes included.

pub mod destination;
pub mod ledger;
pub mod store;
pub mod vault;
