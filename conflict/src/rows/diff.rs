//! Which rows differ between base, hub and spoke.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, Shape};
use crate::conflict::Side;
use crate::value::Row;

/// A row and how many equal ones there are (always one in a table with a key).
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    pub row: Row,
    pub count: u64,
}

/// The rows of one table of one side.
pub type TableRows = BTreeMap<Key, Counted>;

/// A row that is not equal on all sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub base: Option<Row>,
    pub hub: Option<Row>,
    pub spoke: Option<Row>,
    /// Copies on base, hub and spoke.
    pub counts: [u64; 3],
}

impl Change {
    /// Returns the row as one side holds it.
    #[must_use]
    pub fn side(&self, side: Side) -> Option<&Row> {
        match side {
            Side::Base => self.base.as_ref(),
            Side::Hub => self.hub.as_ref(),
            Side::Spoke => self.spoke.as_ref(),
        }
    }

    /// Returns how many copies one side holds.
    #[must_use]
    pub fn count(&self, side: Side) -> u64 {
        self.counts[side_index(side)]
    }
}

pub(super) fn side_index(side: Side) -> usize {
    match side {
        Side::Base => 0,
        Side::Hub => 1,
        Side::Spoke => 2,
    }
}

/// The changed rows of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableDiff {
    pub shape: Shape,
    /// There is no agreed state of this table yet.
    pub first: bool,
    /// Why this table takes no part now; its changes are not looked at.
    pub paused: Option<String>,
    /// How many rows base, hub and spoke hold.
    pub rows: [u64; 3],
    pub changes: BTreeMap<Key, Change>,
}

/// Compares a table on three sides; without a base it is a first sync.
#[must_use]
pub fn diff(shape: Shape, base: Option<&TableRows>, hub: &TableRows, spoke: &TableRows) -> TableDiff {
    let empty = TableRows::new();
    let old = base.unwrap_or(&empty);
    let count = |rows: &TableRows| rows.values().map(|r| r.count).sum();
    let mut out = TableDiff {
        shape,
        first: base.is_none(),
        paused: None,
        rows: [count(old), count(hub), count(spoke)],
        changes: BTreeMap::new(),
    };
    let keys: BTreeSet<&Key> = old.keys().chain(hub.keys()).chain(spoke.keys()).collect();
    for key in keys {
        if let Some(change) = diff_row(old.get(key), hub.get(key), spoke.get(key)) {
            out.changes.insert(key.clone(), change);
        }
    }
    out
}

/// Compares one row on three sides; none when all are equal.
#[must_use]
pub fn diff_row(base: Option<&Counted>, hub: Option<&Counted>, spoke: Option<&Counted>) -> Option<Change> {
    if base == hub && hub == spoke {
        return None;
    }
    let row = |c: Option<&Counted>| c.map(|c| c.row.clone());
    let count = |c: Option<&Counted>| c.map_or(0, |c| c.count);
    Some(Change { base: row(base), hub: row(hub), spoke: row(spoke), counts: [count(base), count(hub), count(spoke)] })
}
