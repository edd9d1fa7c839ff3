//! Database values as they are compared, merged, stored and restored.

use serde::{Deserialize, Serialize};

/// One cell. SQLite's storage classes; what other engines need is added beside them.
///
/// Equality is equality of bits: `1` and `1.0` differ, all NaNs are one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
    /// Text that is not valid UTF-8, kept as its bytes.
    RawText(Vec<u8>),
}

/// One row: its cells in the order of the table's columns.
pub type Row = Vec<Value>;
