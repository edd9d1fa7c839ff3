//! Decides and drives: the queue, the one driver of all sagas, sync and restore runs.
//!
//! The engine reaches the outside through the ports of `cathedral-model` only. It owns no clock, no
//! randomness and no runtime, so that a seeded world can replay every run of it.

mod driver;
mod inbox;
pub mod intake;
pub mod outgoing;
mod preview;
pub mod query;
mod restore;
pub mod schedule;
mod snapshot;
mod standing;
mod surroundings;
mod sync;
mod upkeep;
mod work;

pub use preview::{Preview, agreed_fault};
pub use restore::{BEFORE_RESTORE, PlannedRestore, latest};
pub use standing::{Stand, Standing};
pub use surroundings::{Options, Ports};
pub use work::{Engine, EngineError};
