//! What the merge needs to know of a table.

use crate::value::{Collation, Row, Value, write_key};

use super::Key;

/// The columns and keys of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    pub name: String,
    pub columns: Vec<String>,
    /// One for each column.
    pub collations: Vec<Collation>,
    /// Indexes of the key's columns; empty: the table is a multiset of rows.
    pub key: Vec<usize>,
    /// Further unique keys; NULL is never equal to anything in them.
    pub uniques: Vec<Vec<usize>>,
    pub foreign: Vec<Foreign>,
}

/// A reference to a parent table.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    pub columns: Vec<usize>,
    pub parent: String,
    /// Indexes into the parent's columns.
    pub parent_columns: Vec<usize>,
}

impl Shape {
    /// Returns the identity of a row.
    #[must_use]
    pub fn key_of(&self, row: &Row) -> Key {
        if self.key.is_empty() {
            let mut out = Vec::new();
            crate::value::write_row(row, &mut out);
            blake3::hash(&out).as_bytes().to_vec()
        } else {
            write_key(self.key.iter().filter_map(|i| Some((row.get(*i)?, self.collation(*i)))))
        }
    }

    /// Returns the value of some columns as it is compared; none when one of them is NULL.
    #[must_use]
    pub fn value_of(&self, row: &Row, columns: &[usize]) -> Option<Key> {
        let parts: Option<Vec<_>> = columns
            .iter()
            .map(|i| row.get(*i).filter(|v| !v.is_null()).map(|v: &Value| (v, self.collation(*i))))
            .collect();
        parts.map(write_key)
    }

    /// Returns the collation of a column.
    #[must_use]
    pub fn collation(&self, column: usize) -> Collation {
        self.collations.get(column).copied().unwrap_or_default()
    }
}
