//! The order of merged members.

use std::collections::{HashMap, HashSet};

/// The order of a merge.
pub(crate) struct Order {
    pub keys: Vec<String>,
    pub hub_reordered: bool,
    pub spoke_reordered: bool,
    /// Both sides put the same members into different orders.
    pub clash: bool,
}

/// Puts the keys in `wanted` into an order that keeps what one side did.
///
/// A new key goes after its left neighbour on the side that added it; at one place hub's come first. If every side
/// is sorted, so is the result.
pub(crate) fn order(base: &[String], hub: &[String], spoke: &[String], wanted: &HashSet<&str>) -> Order {
    let hub_reordered = is_reordered(base, hub);
    let spoke_reordered = is_reordered(base, spoke);
    let clash = hub_reordered && spoke_reordered && is_reordered(hub, spoke);
    let spoke_leads = spoke_reordered && !hub_reordered;
    let (first, second) = if spoke_leads { (spoke, hub) } else { (hub, spoke) };
    let known: HashSet<&str> = base.iter().map(String::as_str).collect();
    let in_hub: HashSet<&str> = hub.iter().map(String::as_str).collect();
    let mut keys: Vec<&str> = first.iter().map(String::as_str).filter(|key| wanted.contains(key)).collect();
    let mut placed: HashSet<&str> = keys.iter().copied().collect();
    // Keys of base that both sides dropped from the leading list may be wanted still (a person chose base's).
    for source in [second, base] {
        let mut left: Option<&str> = None;
        for key in source.iter().map(String::as_str) {
            if wanted.contains(key) && placed.insert(key) {
                let mut at = left.and_then(|left| keys.iter().position(|k| *k == left)).map_or(0, |at| at + 1);
                // Hub's additions stay before spoke's.
                let is_hubs = in_hub.contains(key);
                while at < keys.len() && !is_hubs && !known.contains(keys[at]) && in_hub.contains(keys[at]) {
                    at += 1;
                }
                keys.insert(at, key);
            }
            if placed.contains(key) {
                left = Some(key);
            }
        }
    }
    let sorted = |list: &[String]| list.len() > 1 && list.windows(2).all(|pair| pair[0] < pair[1]);
    if sorted(hub) && sorted(spoke) && (base.is_empty() || base.windows(2).all(|pair| pair[0] < pair[1])) {
        keys.sort_unstable();
    }
    Order { keys: keys.into_iter().map(str::to_owned).collect(), hub_reordered, spoke_reordered, clash }
}

/// Says whether the keys that both lists have stand in another order.
fn is_reordered(before: &[String], after: &[String]) -> bool {
    let places: HashMap<&str, usize> = before.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
    let common: Vec<usize> = after.iter().filter_map(|key| places.get(key.as_str()).copied()).collect();
    common.windows(2).any(|pair| pair[0] > pair[1])
}
