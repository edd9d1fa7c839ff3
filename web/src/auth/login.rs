//! Slows down who guesses passwords; nobody is locked out for good.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cathedral_model::time::Timestamp;

use crate::limit::{Buckets, text_key};

/// Wrong passwords that cost nothing: people mistype.
const FREE: u32 = 5;
/// The longest wait.
const LONGEST_S: u64 = 300;
/// Names and addresses that are remembered.
const ROOM: usize = 16_384;

/// Counts attempts: ten a minute from an address, and growing pauses for a name from an address.
#[derive(Debug)]
pub struct Logins {
    addresses: Buckets,
    failures: Mutex<HashMap<u128, (u32, Timestamp)>>,
}

impl Logins {
    /// Makes the counter.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { addresses: Buckets::new(per_minute, ROOM), failures: Mutex::default() }
    }

    /// Asks for an attempt; the seconds to wait when it must wait.
    pub fn attempt(&self, name: &str, address: u128, now: Timestamp) -> Result<(), u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, last)) = failures.get(&key(name, address)) {
            let wait = pause(*count);
            let since = now.ms_since(*last) / 1_000;
            if since < wait {
                return Err(wait - since);
            }
        }
        drop(failures);
        self.addresses.take(address, now)
    }

    /// Notes a wrong password.
    pub fn failed(&self, name: &str, address: u128, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ROOM {
            failures.retain(|_, (count, last)| now.ms_since(*last) / 1_000 < pause(*count).max(60));
        }
        if failures.len() >= ROOM {
            // The bucket of each address still counts.
            failures.clear();
        }
        let entry = failures.entry(key(name, address)).or_insert((0, now));
        if now.ms_since(entry.1) > 2 * LONGEST_S * 1_000 {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
    }

    /// Notes a right one.
    pub fn succeeded(&self, name: &str, address: u128) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name, address));
    }
}

fn key(name: &str, address: u128) -> u128 {
    text_key(name.as_bytes()) ^ address.rotate_left(64)
}

/// Seconds to wait after this many failures: 0 for the first five, then 2, 4, 8, … 300.
fn pause(failures: u32) -> u64 {
    match failures.checked_sub(FREE) {
        None | Some(0) => 0,
        Some(more) => (1 << more.min(9)).min(LONGEST_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let logins = Logins::new(0);
        let mut now = Timestamp(1_000_000_000);
        let mut waits = vec![];
        for _ in 0..16 {
            if let Err(wait) = logins.attempt("admin", 1, now) {
                waits.push(wait);
                now = now.plus_ms(wait * 1_000);
            }
            assert!(logins.attempt("admin", 1, now).is_ok());
            logins.failed("admin", 1, now);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(logins.attempt("admin", 2, now).is_ok(), "the same name from elsewhere");
        assert!(logins.attempt("jo", 1, now).is_ok(), "another name from the same address");
        logins.succeeded("admin", 1);
        assert!(logins.attempt("admin", 1, now).is_ok());
    }
}
