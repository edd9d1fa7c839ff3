//! Vocabulary, state machines and ports of the hub.
//!
//! Everything that other crates talk about is named here: ids and times, the declared ecosystem,
//! what was observed, what is planned, the journals of long-running work, and the traits ("ports")
//! through which the engine reaches the outside. Nothing in this crate does I/O or reads a clock.

pub mod access;
pub mod canonical;
pub mod config;

pub mod ecosystem;
pub mod egress;
pub mod event;
pub mod ids;
pub mod inbox;
pub mod intake;
pub mod journal;
pub mod notice;
pub mod observation;
pub mod plan;
pub mod ports;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod snapshot;
pub mod time;
pub mod typed;
pub mod upkeep;

pub use cathedral_conflict as conflict;
