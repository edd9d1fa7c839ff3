//! One hub on one machine: its folder, its configuration, and the adapters behind the ports.
//!
//! This is the one place that names every adapter.

mod chores;
mod env;
mod log_check;
mod notifier;
mod open;
mod resolve;
mod site;

pub use env::HubEnv;
pub use log_check::{audit, note_log_check};
pub use open::{Hub, close_stores, keys_are_whole, offline_engine, places, read_vault};
pub use resolve::{is_repository, normal, resolve};
pub use site::{CONFIG, FileLookup, Site, capabilities, invalid, prepare_state, shown};
