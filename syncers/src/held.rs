//! What an export has read, remembered for the plan that goes by it.
//!
//! A spoke that is written all the time never stands still between the snapshot and the plan. Its plan is
//! then made from what the snapshot has read, and what has changed since waits. Kept in memory only: after
//! a crash there is nothing, and the spoke is snapshotted once more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Digest, SpokeName};

type Sides<T> = BTreeMap<Side, (Digest, T)>;

/// What was read of the spokes that are to be remembered.
pub(crate) struct Held<T>(Mutex<BTreeMap<SpokeName, Sides<T>>>);

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Held<T> {
    fn spokes(&self) -> MutexGuard<'_, BTreeMap<SpokeName, Sides<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to remember a spoke.
    pub fn begin(&self, spoke: &SpokeName) {
        self.spokes().insert(spoke.clone(), Sides::new());
    }

    /// Forgets a spoke.
    pub fn end(&self, spoke: &SpokeName) {
        self.spokes().remove(spoke);
    }

    /// Whether a spoke is to be remembered.
    pub fn wants(&self, spoke: &SpokeName) -> bool {
        self.spokes().contains_key(spoke)
    }

    /// Remembers one side, where the spoke is to be.
    pub fn keep(&self, spoke: &SpokeName, side: Side, digest: Digest, value: T) {
        if let Some(sides) = self.spokes().get_mut(spoke) {
            sides.insert(side, (digest, value));
        }
    }

    /// Gives out everything remembered of a spoke, when it is exactly what was asked for.
    pub fn take(&self, spoke: &SpokeName, wanted: &BTreeMap<Side, Digest>) -> Option<Sides<T>> {
        let found = self.spokes().remove(spoke)?;
        let is_it = !wanted.is_empty() && found.iter().map(|(s, (d, _))| (s, d)).eq(wanted.iter());
        is_it.then_some(found)
    }

    /// The same, for a spoke whose sides are parts of their own.
    pub fn take_pair(&self, spoke: &SpokeName, wanted: &BTreeMap<Side, Digest>) -> Option<[(Digest, T); 2]> {
        let mut found = self.take(spoke, wanted)?;
        Some([found.remove(&Side::Hub)?, found.remove(&Side::Spoke)?])
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_given_out_and_once() {
        let (held, spoke) = (Held::default(), SpokeName::new("s").unwrap());
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        held.keep(&spoke, Side::Hub, one, "hub");
        assert!(!held.wants(&spoke), "it was not to be remembered");
        let fill = || {
            held.begin(&spoke);
            held.keep(&spoke, Side::Hub, one, "hub");
            held.keep(&spoke, Side::Spoke, two, "spoke");
        };
        let both = BTreeMap::from([(Side::Hub, one), (Side::Spoke, two)]);
        fill();
        assert_eq!(held.take_pair(&spoke, &both), Some([(one, "hub"), (two, "spoke")]));
        assert_eq!(held.take_pair(&spoke, &both), None, "it is given out once");
        for other in [
            BTreeMap::new(),
            BTreeMap::from([(Side::Hub, one)]),
            BTreeMap::from([(Side::Hub, two), (Side::Spoke, two)]),
        ] {
            fill();
            assert_eq!(held.take_pair(&spoke, &other), None);
        }
        fill();
        held.end(&spoke);
        assert_eq!(held.take_pair(&spoke, &both), None);
    }
}
