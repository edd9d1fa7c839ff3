//! Database values as JSON that jq can carry without loss.
//!
//! Null, text, and integers of at most 2^53 are themselves; all else is an object with one key: `i` a
//! larger integer, `f` a float, `b` bytes in base64, `raw` text that is not UTF-8, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::conflict::value::Value;
use serde_json::Value as Json;
use std::fmt::Write as _;

const SAFE: u64 = 1 << 53;

/// Appends a cell's JSON.
pub fn write(value: &Value, out: &mut String) {
    let written = match value {
        Value::Null => out.write_str("null"),
        Value::Int(n) if n.unsigned_abs() <= SAFE => write!(out, "{n}"),
        Value::Int(n) => write!(out, "{{\"i\":\"{n}\"}}"),
        Value::Real(x) => write!(out, "{{\"f\":\"{}\"}}", float(*x)),
        Value::Text(text) => {
            string(text, out);
            Ok(())
        }
        Value::Blob(bytes) => tagged("b", bytes, out),
        Value::RawText(bytes) => tagged("raw", bytes, out),
    };
    written.expect("writing to a string cannot fail");
}

/// Reads a cell; none when it is not one.
#[must_use]
pub fn read(json: Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::Null),
        Json::Number(n) => n.as_i64().filter(|n| n.unsigned_abs() <= SAFE).map(Value::Int),
        Json::String(text) => Some(Value::Text(text)),
        Json::Object(map) => {
            let mut entries = map.into_iter();
            let (Some((tag, Json::String(text))), None) = (entries.next(), entries.next()) else { return None };
            match tag.as_str() {
                "i" => text.parse().ok().map(Value::Int),
                "f" => parse_float(&text).map(Value::Real),
                "b" => STANDARD.decode(text).ok().map(Value::Blob),
                "raw" => STANDARD.decode(text).ok().map(Value::RawText),
                _ => None,
            }
        }
        Json::Bool(_) | Json::Array(_) => None,
    }
}

/// Writes a float as the shortest decimal that reads back to the same bits: `1.5`, `-0.0`, `1e300`,
/// `inf`, `-inf`, `nan`.
#[must_use]
pub fn float(x: f64) -> String {
    if x.is_nan() { "nan".into() } else { format!("{x:?}") }
}

fn parse_float(text: &str) -> Option<f64> {
    match text {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'+')) => text.parse().ok(),
        _ => None,
    }
}

fn tagged(tag: &str, bytes: &[u8], out: &mut String) -> std::fmt::Result {
    write!(out, "{{\"{tag}\":\"")?;
    STANDARD.encode_string(bytes, out);
    out.write_str("\"}")
}

/// Appends a string as RFC 8785 writes it.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            8 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            12 => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            control => write!(out, "\\u{control:04x}").expect("writing to a string cannot fail"),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, expect: &str) {
        let mut out = String::new();
        write(&value, &mut out);
        assert_eq!(out, expect);
        let back = read(serde_json::from_str(&out).expect("valid JSON")).expect("a cell");
        match (&value, &back) {
            (Value::Real(a), Value::Real(b)) => assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()),
            _ => assert_eq!(value, back),
        }
    }

    #[test]
    fn every_kind_of_value_comes_back_bit_for_bit() {
        check(Value::Null, "null");
        check(Value::Int(-(1 << 53)), "-9007199254740992");
        check(Value::Int((1 << 53) + 1), r#"{"i":"9007199254740993"}"#);
        check(Value::Int(i64::MIN), r#"{"i":"-9223372036854775808"}"#);
        check(Value::Real(1.0), r#"{"f":"1.0"}"#);
        check(Value::Real(-0.0), r#"{"f":"-0.0"}"#);
        check(Value::Real(1e300), r#"{"f":"1e300"}"#);
        check(Value::Real(5e-324), r#"{"f":"5e-324"}"#);
        check(Value::Real(0.1), r#"{"f":"0.1"}"#);
        check(Value::Real(f64::NEG_INFINITY), r#"{"f":"-inf"}"#);
        check(Value::Real(f64::NAN), r#"{"f":"nan"}"#);
        check(Value::Text("a\"\\\n\u{1}é\0".into()), "\"a\\\"\\\\\\n\\u0001é\\u0000\"");
        check(Value::Blob(vec![0, 255]), r#"{"b":"AP8="}"#);
        check(Value::RawText(vec![0xff]), r#"{"raw":"/w=="}"#);
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        for bad in ["true", "[]", "1.5", r#"{"x":"1"}"#, r#"{"i":"a"}"#, r#"{"f":"infinity"}"#, r#"{"i":"1","b":""}"#] {
            assert_eq!(read(serde_json::from_str(bad).expect("JSON")), None, "{bad}");
        }
    }
}
