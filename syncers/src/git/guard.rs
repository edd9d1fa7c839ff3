//! The limit that stops a sync when a side looks emptied.

use cathedral_model::plan::Guard;
use std::collections::BTreeSet;

use super::payload::Base;
use super::refs::Values;

/// So many refs may always vanish.
const FEW: usize = 5;

/// Returns a guard for each side that lost more than it may since both last agreed.
pub fn guards(hub: &Values, spoke: &Values, base: &Base, max_percent: u8) -> Vec<Guard> {
    let known: BTreeSet<&String> = base.left.iter().collect();
    let agreed = base.items.len();
    let mut out = Vec::new();
    for (side, values) in [("hub", hub), ("spoke", spoke)] {
        let vanished = base.items.keys().filter(|k| !values.contains_key(*k) && !known.contains(k)).count();
        let empty = values.is_empty() && vanished > 0;
        let many = vanished > FEW && vanished * 100 > agreed * usize::from(max_percent);
        if empty || many {
            out.push(Guard {
                name: "mass_deletion".into(),
                why: format!("{vanished} of {agreed} agreed refs are gone from the {side}"),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_side_stops_the_sync_and_a_few_deletions_do_not() {
        let values = |n: usize| -> Values { (0..n).map(|i| (format!("refs/heads/{i}"), "a".into())).collect() };
        let base = Base { items: values(20), ..Base::default() };
        assert!(guards(&values(20), &values(15), &base, 20).is_empty());
        assert_eq!(guards(&values(20), &values(14), &base, 20).len(), 1);
        assert!(guards(&values(20), &values(14), &base, 50).is_empty());
        assert_eq!(guards(&values(0), &values(20), &base, 100).len(), 1);
        let seen = Base { left: base.items.keys().cloned().collect(), ..base };
        assert!(guards(&values(20), &values(0), &seen, 20).is_empty());
    }
}
