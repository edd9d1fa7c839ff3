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
    let leading = first.iter().map(String::as_str).filter(|key| wanted.contains(key)).collect();
    let is_hubs = |key: &str| !known.contains(key) && in_hub.contains(key);
    let mut keys: Vec<&str> = weave(leading, second.iter().map(String::as_str), wanted, &is_hubs);
    // What both sides dropped may be wanted still: a person chose base's.
    keys = weave(keys, base.iter().map(String::as_str), wanted, &is_hubs);
    let sorted = |list: &[String]| list.len() > 1 && list.windows(2).all(|pair| pair[0] < pair[1]);
    if sorted(hub) && sorted(spoke) && (base.is_empty() || base.windows(2).all(|pair| pair[0] < pair[1])) {
        keys.sort_unstable();
    }
    Order { keys: keys.into_iter().map(str::to_owned).collect(), hub_reordered, spoke_reordered, clash }
}

/// Puts the wanted keys of `source` that `list` lacks behind their left neighbours.
///
/// Keys that hub added (`is_hubs`) go right behind; others after hub's additions at that place.
pub(crate) fn weave<'k>(
    list: Vec<&'k str>,
    source: impl Iterator<Item = &'k str>,
    wanted: &HashSet<&str>,
    is_hubs: &dyn Fn(&str) -> bool,
) -> Vec<&'k str> {
    let anchors: HashSet<&str> = list.iter().copied().collect();
    let mut placed = anchors.clone();
    let mut behind: HashMap<Option<&'k str>, Vec<&'k str>> = HashMap::new();
    let mut left = None;
    for key in source {
        if wanted.contains(key) && placed.insert(key) {
            behind.entry(left).or_default().push(key);
        } else if anchors.contains(key) {
            left = Some(key);
        }
    }
    let mut woven = Vec::with_capacity(placed.len());
    let mut waiting: Vec<&'k str> = Vec::new();
    let mut arrive = |at: Option<&'k str>, woven: &mut Vec<&'k str>, waiting: &mut Vec<&'k str>| {
        for key in behind.remove(&at).unwrap_or_default() {
            if is_hubs(key) { woven.push(key) } else { waiting.push(key) }
        }
    };
    arrive(None, &mut woven, &mut waiting);
    for key in list {
        if !is_hubs(key) {
            woven.append(&mut waiting);
        }
        woven.push(key);
        arrive(Some(key), &mut woven, &mut waiting);
    }
    woven.append(&mut waiting);
    woven
}

/// Says whether the keys that both lists have stand in another order.
fn is_reordered(before: &[String], after: &[String]) -> bool {
    let places: HashMap<&str, usize> = before.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect();
    let common: Vec<usize> = after.iter().filter_map(|key| places.get(key.as_str()).copied()).collect();
    common.windows(2).any(|pair| pair[0] > pair[1])
}
