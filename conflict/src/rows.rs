//! Three-way merge of table rows, pure.
//!
//! Input are the rows that are not equal on base, hub and spoke; output is what to write on each side, what is
//! in dispute, and what waits because it is tied to something in dispute. Kept properties:
//!
//! - a row changed on one side only arrives on the other; a row changed on both merges or becomes a conflict;
//! - a row in dispute, and what depends on it, is touched on neither side;
//! - after the writes each side satisfies the unique and foreign keys it satisfied before;
//! - without a base nothing is ever deleted.
//!
//! Only changed rows are looked at: two unchanged rows, or a changed and an unchanged one, already stand together
//! on one of the sides, which satisfied its own unique keys. Its foreign keys it may have broken, with their
//! enforcement switched off: what else the sides hold is asked for where a change leads out of the changes.

mod counts;
mod diff;
mod foreign;
mod guard;
mod hold;
mod merge;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::conflict::Side;
use crate::value::{Row, Value};

pub use diff::{Change, Counted, TableDiff, TableRows, diff, diff_row};
pub use foreign::{Beside, NothingBroken, Referrer};
pub use guard::Guard;
pub use shape::{Foreign, Shape};

/// The `kval` of a row's key, or the hash of the row in a table without key.
pub type Key = Vec<u8>;

/// A row of a table.
pub type RowId = (String, Key);

/// How rows changed on both sides are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Column by column.
    #[default]
    Cell,
    /// The row is one thing.
    Row,
    /// The table is one thing.
    Table,
}

/// What is done when both sides changed one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Neither side is touched.
    #[default]
    Queue,
    Hub,
    Spoke,
}

/// Which way changes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Both,
    /// The hub is the master; agreed rows that the spoke changed are put back.
    ToSpoke,
    /// The spoke is the master.
    ToHub,
    Neither,
}

/// The owner's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    pub prefer: Prefer,
    pub direction: Direction,
}

/// A person's answer about one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The disputed part of one side; the rest still merges.
    Take(Side),
    /// These columns, by index.
    Fields(BTreeMap<usize, Pick>),
    /// This row, on both sides.
    Whole(Option<Row>),
    /// One state for each side: a dispute opened again.
    Apart {
        hub: Option<Row>,
        spoke: Option<Row>,
        /// By which columns a side's row referred to nothing when the dispute was opened: it may do so again.
        dangles: Vec<(Side, Vec<usize>)>,
    },
}

/// Where the value of one column comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    Side(Side),
    Value(Value),
}

/// Answers by row; a table that is one thing is answered under the empty key.
pub type Answers = BTreeMap<RowId, Answer>;

/// One change of one row on one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// [`Side::Hub`] or [`Side::Spoke`].
    pub side: Side,
    pub table: String,
    pub key: Key,
    pub before: Option<Row>,
    pub after: Option<Row>,
    /// How many equal rows there are before and after; for tables without key.
    pub counts: (u64, u64),
    pub because: &'static str,
    /// By which columns the row may refer to nothing: it did before, on this side.
    pub dangles: Vec<Vec<usize>>,
}

/// A row that only a person can decide.
#[derive(Clone, Debug, PartialEq)]
pub struct RowConflict {
    pub table: String,
    pub key: Key,
    /// `update/update`, `update/delete`, `delete/update`, `insert/insert`, `unique`, `foreign_key`, `check`,
    /// `table`. The hub's part comes first.
    pub kind: &'static str,
    /// The columns in dispute.
    pub columns: Vec<usize>,
    pub because: String,
    pub base: Option<Row>,
    pub hub: Option<Row>,
    pub spoke: Option<Row>,
    /// The other rows that are decided together with it.
    pub group: Vec<RowId>,
}

/// What a sync would do to the rows of all tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowPlan {
    /// By table and key, hub before spoke.
    pub writes: Vec<Write>,
    pub conflicts: Vec<RowConflict>,
    /// Rows that wait for a conflict or a paused table, with the reason.
    pub held: Vec<(RowId, String)>,
    /// Of a row that waits for a conflict the row of that conflict.
    pub waits_for: BTreeMap<RowId, RowId>,
    /// Answered rows that this plan carries out, or that agree by now.
    pub settled: BTreeSet<RowId>,
    pub guards: Vec<Guard>,
}

impl RowPlan {
    /// Says whether a row of a table waits, or the table as a whole.
    #[must_use]
    pub fn is_waiting(&self, table: &str) -> bool {
        self.conflicts.iter().any(|c| c.table == table) || self.held.iter().any(|((name, _), _)| name == table)
    }
}

/// Says why a merged row that no side held is refused by the table's own checks.
pub type Check<'a> = dyn Fn(&str, &Row) -> Option<String> + 'a;

/// Plans all tables together: rows are tied to one another across tables.
#[must_use]
pub fn plan(
    tables: &[TableDiff],
    policy: Policy,
    answers: &Answers,
    check: &Check<'_>,
    beside: &dyn Beside,
) -> RowPlan {
    let mut along = BTreeMap::new();
    loop {
        let mut work = hold::Work::new(tables, policy, answers, &along, beside);
        for (index, table) in tables.iter().enumerate() {
            merge::table(&mut work, index, table, check);
        }
        work.settle_constraints();
        // Tables that are one thing each, and of which the rows refer to one another, are decided together.
        let wanted = std::mem::take(&mut work.wanted);
        if wanted.keys().all(|table| along.contains_key(table)) {
            return work.finish();
        }
        for (table, side) in wanted {
            along.entry(table).or_insert(side);
        }
    }
}
