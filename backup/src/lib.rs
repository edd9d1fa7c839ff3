//! The vault: encrypted, deduplicated snapshots on several destinations.
//!
//! One pass makes one signed snapshot: content is cut into chunks named by keyed hashes, compressed,
//! encrypted once, and put at every destination; a manifest makes it visible where everything it names
//! is. The format is `docs/formats/vault-v1.md`; every vault carries what is needed to read it with
//! age, zstd, jq and git alone.

mod cell;
mod cut;
mod destination;
mod frame;
mod hash;
mod index;
mod keys;
mod list;
mod manifest;
mod merkle;
mod pack;
mod root;
mod seal;
mod signed;
mod sink;
mod source;
mod stock;
mod tree;
mod vault;
mod vault_file;
#[cfg(test)]
mod vectors;

pub use destination::{LocalDestination, check_object};
pub use vault::{LocalVault, Tuning};
pub use vault_file::{Signer, VaultFile};
