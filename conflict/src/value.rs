//! Database values as they are compared, merged, stored and restored.

use serde::{Deserialize, Serialize};

mod cval;
mod kval;

pub use cval::{CvalError, cval, read_row, write_row};
pub use kval::{Collation, kval, write_key};

/// One cell. SQLite's storage classes; what other engines need is added beside them.
///
/// Equality is equality of bits: `1` and `1.0` differ, `0.0` and `-0.0` differ, all NaNs are one.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl Value {
    /// Returns the text for these bytes: [`Value::Text`] when they are UTF-8, else [`Value::RawText`].
    #[must_use]
    pub fn text(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::RawText(bytes.to_vec()),
        }
    }

    /// Says whether this is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) | (Self::RawText(a), Self::RawText(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}
