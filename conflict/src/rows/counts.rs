//! Rows of a table without key: a multiset, merged by adding what each side added.

use super::{Direction, diff::Change};

/// Returns how many copies there shall be on both sides; none when the row stays as it is on each.
pub(super) fn merged(change: &Change, first: bool, direction: Direction) -> Option<u64> {
    let [base, hub, spoke] = change.counts;
    let one_way = |from: u64, to: u64| {
        // What only the receiving side added is not ours to remove.
        if first || to > base { (from >= to).then_some(from) } else { Some(from) }
    };
    match direction {
        Direction::Both if first => Some(hub.max(spoke)),
        Direction::Both => {
            let sum = i128::from(hub) + i128::from(spoke) - i128::from(base);
            Some(u64::try_from(sum.max(0)).unwrap_or(u64::MAX))
        }
        Direction::ToSpoke => one_way(hub, spoke),
        Direction::ToHub => one_way(spoke, hub),
        Direction::Neither => None,
    }
}
