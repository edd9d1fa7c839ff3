//! One suite per port, run by every implementation, fakes included.

pub mod destination;
pub mod ledger;
pub mod serve;
pub mod store;
pub mod vault;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Runs every check, each on a fresh subject from `make`, and panics with the names of those that fail.
async fn keep<S>(
    checks: impl Iterator<Item = (&'static str, fn(S) -> BoxFuture<'static, ()>)>,
    make: impl Fn() -> BoxFuture<'static, S>,
) {
    let mut broken = Vec::new();
    let mut count = 0;
    for (name, check) in checks {
        let subject = make().await;
        count += 1;
        if AssertUnwindSafe(check(subject)).catch_unwind().await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "{} of {count} promises are broken: {}", broken.len(), broken.join(", "));
}
