//! One hub on one machine: its folder, its configuration, and the adapters behind the ports.
//!
//! This is the one place that names every adapter.

mod chores;
mod env;
mod lock;
mod log_check;
mod look;
mod notifier;
mod open;
mod own;
mod resolve;
mod site;
mod versions;

pub use env::HubEnv;
pub use log_check::{audit, note_log_check};
pub use open::{
    Hub, Stores, close_stores, git_syncer, keys_are_whole, offline_engine, places, read_vault, stores_without_config,
};
pub use own::{HEAL, KEYS_BACK, KeyFault, key_faults, note_store_check, store_check, store_faults, stores};
pub use resolve::{is_repository, normal, resolve};
pub use site::{
    CONFIG, FileLookup, GITHUB_SECRET, Site, capabilities, invalid, make_webhook_secret, prepare_state, replace_file,
    shown,
};
