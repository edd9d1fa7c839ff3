//! Passwords: Argon2id, a few at once, the same time for names that do not exist.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// The least length of a password, in characters.
pub const LEAST: usize = 12;
/// The greatest length, in bytes: nobody types more, and hashing must stay cheap to refuse.
pub const MOST: usize = 1_024;
/// How many may wait for their turn.
const WAITING: usize = 64;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 64 * 1_024, passes: 3 }
    }
}

/// Hashes and checks passwords, at most two at once.
#[derive(Debug)]
pub struct Passwords {
    cost: Cost,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Passwords {
    /// Makes the pool.
    #[must_use]
    pub fn new(cost: Cost) -> Self {
        Self { cost, turns: Arc::new(Semaphore::new(2)), queue: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Returns the PHC string of a password. `salt` must be random.
    pub async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, Problem> {
        let (cost, password) = (self.cost, password.to_owned());
        self.turn(move || phc(cost, password.as_bytes(), &salt)).await?.ok_or_else(failed)
    }

    /// Whether a password fits a PHC string. Without one it takes the same time and does not.
    pub async fn fits(&self, password: &str, stored: Option<&str>) -> Result<bool, Problem> {
        if password.len() > MOST {
            return Ok(false);
        }
        let (cost, password, stored) = (self.cost, password.to_owned(), stored.map(str::to_owned));
        self.turn(move || match stored {
            Some(stored) => verify(password.as_bytes(), &stored),
            None => {
                let _ = phc(cost, password.as_bytes(), &[7; 16]);
                false
            }
        })
        .await
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = || Problem::unavailable("busy", "too many people sign in at once", 2);
        let _place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| busy())?;
        // The turn is held by the work itself: a client that leaves does not free it early.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| busy())?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        task.await.map_err(|_| failed())
    }
}

fn failed() -> Problem {
    Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "failed", "the password could not be checked")
}

/// Says what is wrong with a new password.
pub fn refuse(password: &str) -> Option<String> {
    if password.chars().count() < LEAST {
        return Some(format!("a password has at least {LEAST} characters"));
    }
    (password.len() > MOST).then(|| format!("a password has at most {MOST} bytes"))
}

fn raw(memory_kib: u32, passes: u32, lanes: u32, password: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
    let params = Params::new(memory_kib, passes, lanes, Some(32)).ok()?;
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut out).ok()?;
    Some(out)
}

fn phc(cost: Cost, password: &[u8], salt: &[u8; 16]) -> Option<String> {
    let hash = raw(cost.memory_kib, cost.passes, 1, password, salt)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Some(format!("$argon2id$v=19$m={},t={},p=1${salt}${hash}", cost.memory_kib, cost.passes))
}

/// Checks by the costs that are stored with the hash, within bounds.
fn verify(password: &[u8], stored: &str) -> bool {
    let check = || {
        let mut parts = stored.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut numbers =
            costs.split(',').zip(["m=", "t=", "p="]).map(|(part, name)| part.strip_prefix(name)?.parse().ok());
        let (memory, passes, lanes): (u32, u32, u32) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if memory > 1 << 20 || passes > 16 || lanes > 4 {
            return None;
        }
        let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
        let computed = raw(memory, passes, lanes, password, &salt)?;
        Some(bool::from(computed.ct_eq(hash.as_slice())))
    };
    check().unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_stored_password_is_a_phc_string_that_only_its_password_fits() {
        let cost = Cost { memory_kib: 64, passes: 1 };
        let stored = phc(cost, b"correct horse", &[1; 16]).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$"), "{stored}");
        assert!(verify(b"correct horse", &stored));
        assert!(!verify(b"correct horsf", &stored));
        for bad in [
            "",
            "$argon2id$",
            "$argon2id$v=19$m=64,t=1,p=1$AQ$AQ",
            "$argon2id$v=19$m=4294967295,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AQ",
        ] {
            assert!(!verify(b"correct horse", bad), "{bad}");
        }
    }

    /// Vector of the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -k 256 -p 1 -l 32`.
    #[test]
    fn the_hash_is_argon2id() {
        let hash = raw(256, 2, 1, b"password", b"somesalt").unwrap();
        assert_eq!(hex::encode(hash), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }
}
