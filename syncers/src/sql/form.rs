//! Rows as JSON lines: how bases, plans and the sides of conflicts are kept, readable by stock tools.
//!
//! A cell is `null`, a number (integers within 2^53), a string, or an object: `{"i":"…"}` larger integer,
//! `{"r":"…"}` real in its shortest form, `{"b":"…"}` blob and `{"t":"…"}` text that is not UTF-8, both base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::conflict::value::{Row, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value as Json, json};

const SAFE: u64 = 1 << 53;

/// Returns the JSON of a cell.
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(n) if n.unsigned_abs() <= SAFE => json!(n),
        Value::Int(n) => json!({ "i": n.to_string() }),
        Value::Real(x) => json!({ "r": format!("{x:?}") }),
        Value::Text(t) => json!(t),
        Value::Blob(b) => json!({ "b": STANDARD.encode(b) }),
        Value::RawText(t) => json!({ "t": STANDARD.encode(t) }),
    }
}

/// Reads a cell; none when it is not one.
pub(super) fn from_json(json: &Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::Null),
        Json::Number(n) => n.as_i64().map(Value::Int),
        Json::String(t) => Some(Value::Text(t.clone())),
        Json::Object(map) if map.len() == 1 => {
            let (tag, text) = map.iter().next()?;
            let text = text.as_str()?;
            match tag.as_str() {
                "i" => text.parse().ok().map(Value::Int),
                "r" => text.parse().ok().map(Value::Real),
                "b" => STANDARD.decode(text).ok().map(Value::Blob),
                "t" => STANDARD.decode(text).ok().map(Value::RawText),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A row in its JSON form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cells(pub Row);

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(to_json))
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let cells = Vec::<Json>::deserialize(from)?;
        let row: Option<Row> = cells.iter().map(from_json).collect();
        row.map(Self).ok_or_else(|| serde::de::Error::custom("a cell is not in a known form"))
    }
}

/// Returns a cell for people, on one line and not too long.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::Real(x) => format!("{x:?}"),
        Value::Text(t) => t.clone(),
        Value::RawText(t) => format!("t'{}'", hex::encode(&t[..t.len().min(32)])),
        Value::Blob(b) => format!("x'{}'", hex::encode(&b[..b.len().min(32)])),
    };
    plain(&text, 120)
}

/// Returns text without control characters, cut at so many characters.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut out: String = text
        .chars()
        .take(most)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// Returns some columns of a row for people: the value alone when it is one.
pub(super) fn shown_row(names: &[String], row: &Row, columns: &[usize]) -> String {
    if let [one] = columns {
        return row.get(*one).map(shown).unwrap_or_default();
    }
    let all: Vec<usize> = if columns.is_empty() { (0..row.len()).collect() } else { columns.to_vec() };
    let parts: Vec<String> =
        all.iter().filter_map(|i| Some(format!("{}={}", plain(names.get(*i)?, 40), shown(row.get(*i)?)))).collect();
    plain(&parts.join(", "), 240)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_back_bit_by_bit() {
        for value in [
            Value::Null,
            Value::Int(i64::MIN),
            Value::Int(9_007_199_254_740_993),
            Value::Int(-7),
            Value::Real(f64::INFINITY),
            Value::Real(-0.0),
            Value::Real(5e-324),
            Value::Real(1.0),
            Value::Text("a\0\u{7f}\"".into()),
            Value::Blob(vec![0, 255]),
            Value::RawText(vec![0xff, 0]),
        ] {
            let text = serde_json::to_string(&to_json(&value)).unwrap_or_default();
            let back = serde_json::from_str(&text).ok().and_then(|j| from_json(&j));
            assert_eq!(back, Some(value));
        }
    }
}
