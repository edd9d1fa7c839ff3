//! The fakes keep the promises of the ports: a fake that drifts fails here.

use std::sync::Arc;

use cathedral_sim::contracts;
use cathedral_sim::memory::{MemoryLedger, MemoryStore, MemoryVault};
use futures_util::FutureExt as _;

/// Fakes answer at once: nothing here may wait.
fn at_once<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("a fake never waits")
}

#[test]
fn the_fake_log_keeps_the_contract() {
    at_once(contracts::ledger::check(&MemoryLedger::default()));
}

#[test]
fn the_fake_store_keeps_the_contract() {
    at_once(contracts::store::suite(|| {
        Box::pin(async { Arc::new(MemoryStore::default()) as contracts::store::Subject })
    }));
}

#[test]
fn the_fake_vault_keeps_the_contract() {
    at_once(contracts::vault::check(MemoryVault::default));
}
