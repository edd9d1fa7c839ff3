//! Limits that stop a plan until a person confirms it.

use std::collections::BTreeMap;

use super::{TableDiff, Write, diff::side_index};

/// Below this many deletions of a table nothing is asked.
const FEW: u64 = 5;
const MOST_PERCENT: u64 = 20;

/// A limit that a plan exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// `mass_deletion` or `table_emptied`.
    pub name: &'static str,
    pub why: String,
}

/// Returns the limits that these writes exceed.
pub(super) fn check(tables: &[TableDiff], writes: &[Write]) -> Vec<Guard> {
    let mut deleted: BTreeMap<(&str, usize), (u64, u64)> = BTreeMap::new();
    for write in writes {
        let tally = deleted.entry((&write.table, side_index(write.side))).or_default();
        tally.0 += write.counts.0.saturating_sub(write.counts.1);
        tally.1 += write.counts.1.saturating_sub(write.counts.0);
    }
    let mut out = Vec::new();
    for table in tables {
        for (index, side) in [(1, "hub"), (2, "spoke")] {
            let name = &table.shape.name;
            let Some((gone, come)) = deleted.get(&(name.as_str(), index)).copied() else { continue };
            let rows = table.rows[index];
            if gone > 0 && gone == rows && come == 0 {
                let why = format!("all {rows} rows of table {name} would be deleted on the {side}");
                out.push(Guard { name: "table_emptied", why });
            } else if gone > FEW && gone * 100 > rows * MOST_PERCENT {
                let why = format!("{gone} of {rows} rows of table {name} would be deleted on the {side}");
                out.push(Guard { name: "mass_deletion", why });
            }
        }
    }
    out
}
