//! Rate limits: token buckets by key, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cathedral_model::time::Timestamp;

/// Token buckets, one a key. When there are more keys than there is room for, the new ones share one
/// bucket: an attacker with many addresses slows other strangers down, never those who are known.
#[derive(Debug)]
pub struct Buckets {
    per_minute: f64,
    room: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: HashMap<u128, Bucket>,
    shared: Option<Bucket>,
    swept: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Buckets {
    /// Makes buckets that hold and regain `per_minute` tokens; zero: no limit.
    #[must_use]
    pub fn new(per_minute: u32, room: usize) -> Self {
        Self { per_minute: f64::from(per_minute), room, inner: Mutex::default() }
    }

    /// Takes one token; the seconds to wait when there is none.
    pub fn take(&self, key: u128, now: Timestamp) -> Result<(), u64> {
        if self.per_minute <= 0.0 {
            return Ok(());
        }
        let full = Bucket { tokens: self.per_minute, at: now };
        let mut inner = self.lock();
        if inner.buckets.len() >= self.room && !inner.buckets.contains_key(&key) {
            self.sweep(&mut inner, now);
        }
        let has_room = inner.buckets.len() < self.room;
        let inner = &mut *inner;
        let bucket = match inner.buckets.get_mut(&key) {
            Some(bucket) => bucket,
            None if has_room => inner.buckets.entry(key).or_insert(full),
            None => inner.shared.get_or_insert(full),
        };
        self.refill(bucket, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - bucket.tokens) * 60.0 / self.per_minute;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        Err(seconds.ceil().max(1.0) as u64)
    }

    fn refill(&self, bucket: &mut Bucket, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "a difference of times")]
        let seconds = now.ms_since(bucket.at) as f64 / 1_000.0;
        bucket.tokens = (bucket.tokens + seconds * self.per_minute / 60.0).min(self.per_minute);
        // A clock that went back must not stop the refill for as long as it went back.
        bucket.at = now;
    }

    /// Forgets those that are full again, at most once a second.
    fn sweep(&self, inner: &mut Inner, now: Timestamp) {
        if inner.swept != Timestamp::default() && now.ms_since(inner.swept) < 1_000 && now >= inner.swept {
            return;
        }
        inner.swept = now;
        inner.buckets.retain(|_, bucket| {
            self.refill(bucket, now);
            bucket.tokens < self.per_minute
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key of an address; IPv6 counts by its /64, an IPv4 address inside IPv6 as IPv4.
#[must_use]
pub fn address_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => (u128::from(v6) >> 64 << 64) | 1 << 63,
    }
}

/// Returns the key of a secret's digest or of a text.
#[must_use]
pub fn text_key(text: &[u8]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(text).as_bytes()[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn the_hundred_and_first_waits_and_then_goes() {
        let buckets = Buckets::new(100, 10);
        assert!((0..100).all(|_| buckets.take(1, at(0)).is_ok()));
        let wait = buckets.take(1, at(0)).unwrap_err();
        assert!(buckets.take(2, at(0)).is_ok(), "others are not affected");
        assert!(buckets.take(1, at(i64::try_from(wait).unwrap())).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_a_flood_shares_one_bucket() {
        let buckets = Buckets::new(5, 100);
        let refused = (0..10_000).filter(|key| buckets.take(*key, at(0)).is_err()).count();
        assert_eq!(refused, 10_000 - 100 - 5);
        assert_eq!(buckets.lock().buckets.len(), 100);
        assert!(buckets.take(3, at(0)).is_ok(), "a known key keeps its own bucket");
        assert!(buckets.take(77_777, at(120)).is_ok(), "room comes back");
        assert!(buckets.lock().buckets.len() <= 2);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_lock_anybody_out() {
        let buckets = Buckets::new(1, 10);
        buckets.take(1, at(1_000)).unwrap();
        assert!(buckets.take(1, at(0)).is_err());
        assert!(buckets.take(1, at(61)).is_ok());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
