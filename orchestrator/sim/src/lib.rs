//! A seeded world in which the real engine runs against fakes, and the contract suites of every port.
//!
//! [`World::new`] owns time, randomness, scheduling and every remote. It delays, reorders, loses
//! answers and crashes hubs; then faults stop and the invariants must hold. The seed alone replays a
//! failure. The fakes pass the same contract suites as the real adapters.

pub mod contracts;
pub mod memory;
pub mod rng;
pub mod world;

pub use world::{Bug, World};
