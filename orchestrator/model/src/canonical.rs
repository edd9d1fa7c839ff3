//! Canonical JSON (RFC 8785, JCS) for the values this project writes.
//!
//! Everything that is hashed or signed goes through [`to_string`], so that equal values have equal
//! bytes on every machine. Floats and integers beyond 2^53 are refused: formats carry them as strings.

use serde::Serialize;
use serde_json::Value;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("number {0} cannot be written canonically: carry it as a string")]
    Number(String),
    #[error("value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

const MAX_SAFE: u64 = 1 << 53;

/// Returns the canonical JSON text of `value`: keys sorted by UTF-16 code units, no white space.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    let value = serde_json::to_value(value)?;
    let mut out = String::new();
    write(&value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => {
            let safe =
                n.as_u64().is_some_and(|u| u <= MAX_SAFE) || n.as_i64().is_some_and(|i| i.unsigned_abs() <= MAX_SAFE);
            if !safe {
                return Err(CanonicalError::Number(n.to_string()));
            }
            out.push_str(&n.to_string());
        }
        Value::String(s) => write_string(s, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(&map[key], out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2: the two-character escapes, `\u00xx` for other controls, nothing else.
fn write_string(s: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expect: &str) {
        assert_eq!(to_string(&value).ok().as_deref(), Some(expect));
    }

    #[test]
    fn keys_are_sorted_and_strings_escaped_as_rfc_8785_says() {
        check(json!({"b": 1, "a": [true, null]}), r#"{"a":[true,null],"b":1}"#);
        check(json!({"\u{20ac}": 1, "\r": 2, "1": 3}), "{\"\\r\":2,\"1\":3,\"€\":1}");
        check(json!("\u{1}\"\\\u{7f}"), "\"\\u0001\\\"\\\\\u{7f}\"");
        // UTF-16 order differs from byte order outside the basic plane.
        check(json!({"\u{fb33}": 1, "\u{1f600}": 2}), "{\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    #[test]
    fn numbers_that_other_readers_would_round_are_refused() {
        assert!(to_string(&json!(9_007_199_254_740_993_u64)).is_err());
        assert!(to_string(&json!(1.5)).is_err());
        check(json!(-3), "-3");
    }
}
