//! One hub on one machine: its folder, its configuration, and the adapters behind the ports.
//!
//! This is the one place that names every adapter.

mod apart;
mod chores;
mod env;
mod lock;
mod log_check;
mod look;
mod notifier;
mod numbers;
mod open;
mod own;
mod resolve;
mod site;
mod syncers;
mod versions;

pub use env::HubEnv;
pub use log_check::{audit, note_log_check};
pub use open::{Hub, Stores, close_stores, keys_are_whole, offline_engine, places, read_vault, stores_without_config};
pub use own::{
    HEAL, KEYS_BACK, KeyFault, is_key_faulty, key_faults, mend_verifier_key, note_store_check, store_check,
    store_faults, stores, verifier_key,
};
pub use resolve::{is_repository, normal, resolve};
pub use site::{
    CONFIG, FileLookup, GITHUB_SECRET, Site, capabilities, invalid, make_webhook_secret, prepare_state, replace_file,
    shown,
};
pub use syncers::{git_syncer, local_syncers};
