//! `kval`: identity and order of keys. Bytes that compare as SQLite compares the values themselves.
//!
//! Two keys are equal exactly when the engine says so: `1` and `1.0`, `0.0` and `-0.0`, `A` and `a` under
//! NOCASE, `a` and `a ` under RTRIM. Columns follow one another without separators: no encoding is the
//! beginning of another.

use serde::{Deserialize, Serialize};

use super::Value;

/// How text of a column is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collation {
    #[default]
    Binary,
    NoCase,
    Rtrim,
}

const NULL: u8 = 0x05;
const NAN: u8 = 0x70;
/// Zero; integer parts of n bytes stand n above, their negatives n below (complement).
const ZERO: u8 = 0x80;
const BEYOND: u8 = 0x89;
const INFINITE: u8 = 0x8a;
const TEXT: u8 = 0xc0;
const BLOB: u8 = 0xd0;

/// Appends the key encoding of one value.
pub fn kval(value: &Value, collation: Collation, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Int(n) => {
            let start = out.len();
            integer_part(n.unsigned_abs(), out);
            out.push(0);
            complement_if(*n < 0, start, out);
        }
        Value::Real(x) => real(*x, out),
        Value::Text(t) => text(t.as_bytes(), collation, out),
        Value::RawText(t) => text(t, collation, out),
        Value::Blob(b) => {
            out.push(BLOB);
            escaped(b, out);
        }
    }
}

/// Returns the key of a row: the encodings of its key columns, each with its collation.
#[must_use]
pub fn write_key<'a>(columns: impl IntoIterator<Item = (&'a Value, Collation)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (value, collation) in columns {
        kval(value, collation, &mut out);
    }
    out
}

fn integer_part(magnitude: u64, out: &mut Vec<u8>) {
    let raw = magnitude.to_be_bytes();
    let skip = raw.iter().take_while(|b| **b == 0).count();
    out.push(ZERO + (8 - skip) as u8);
    out.extend_from_slice(&raw[skip..]);
}

fn complement_if(negative: bool, start: usize, out: &mut [u8]) {
    if negative {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

fn real(x: f64, out: &mut Vec<u8>) {
    if x.is_nan() {
        out.push(NAN);
        return;
    }
    let start = out.len();
    let size = x.abs();
    if size.is_infinite() {
        out.push(INFINITE);
    } else if size >= 18_446_744_073_709_551_616.0 {
        out.push(BEYOND);
        out.extend_from_slice(&size.to_bits().to_be_bytes());
    } else {
        let whole = size.trunc();
        integer_part(whole as u64, out);
        let rest = size - whole;
        if rest == 0.0 {
            out.push(0);
        } else {
            // Exact: the rest of a double below its integer part is a double. Bits of positive doubles
            // order as the doubles do.
            out.push(1);
            out.extend_from_slice(&rest.to_bits().to_be_bytes());
        }
    }
    complement_if(x < 0.0, start, out);
}

fn text(raw: &[u8], collation: Collation, out: &mut Vec<u8>) {
    out.push(TEXT);
    match collation {
        Collation::Binary => escaped(raw, out),
        Collation::Rtrim => {
            let end = raw.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
            escaped(&raw[..end], out);
        }
        Collation::NoCase => {
            // SQLite's NOCASE stops at the first NUL and then compares only the lengths.
            let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
            out.extend(raw[..end].iter().map(u8::to_ascii_lowercase));
            if end == raw.len() {
                out.extend_from_slice(&[0, 0]);
            } else {
                out.extend_from_slice(&[0, 1]);
                out.extend_from_slice(&(raw.len() as u64).to_be_bytes());
            }
        }
    }
}

fn escaped(raw: &[u8], out: &mut Vec<u8>) {
    for byte in raw {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    fn key(value: &Value, collation: Collation) -> Vec<u8> {
        write_key([(value, collation)])
    }

    #[test]
    fn values_that_the_engine_calls_equal_have_one_key() {
        let equal = [
            (Value::Int(1), Value::Real(1.0), Collation::Binary),
            (Value::Real(0.0), Value::Real(-0.0), Collation::Binary),
            (Value::Int(0), Value::Real(-0.0), Collation::Binary),
            (Value::Int(i64::MIN), Value::Real(-9_223_372_036_854_775_808.0), Collation::Binary),
            (Value::Text("ABC".into()), Value::Text("abc".into()), Collation::NoCase),
            (Value::Text("a  ".into()), Value::Text("a".into()), Collation::Rtrim),
        ];
        for (a, b, collation) in equal {
            assert_eq!(key(&a, collation), key(&b, collation), "{a:?} {b:?}");
        }
        let different = [
            (Value::Int(1), Value::Text("1".into())),
            (Value::Text("1".into()), Value::Blob(b"1".to_vec())),
            (Value::Int(i64::MAX), Value::Real(9_223_372_036_854_775_808.0)),
            (Value::Text("É".into()), Value::Text("é".into())),
        ];
        for (a, b) in different {
            assert_ne!(key(&a, Collation::NoCase), key(&b, Collation::NoCase), "{a:?} {b:?}");
        }
    }

    /// Compares numbers the long way round: whole parts as integers, then the rests.
    fn exact(a: f64, b: i64) -> Ordering {
        let whole = a.floor();
        if whole >= 9_223_372_036_854_775_808.0 {
            return Ordering::Greater;
        }
        if whole < -9_223_372_036_854_775_808.0 {
            return Ordering::Less;
        }
        (whole as i64).cmp(&b).then((a - whole).partial_cmp(&0.0).unwrap_or(Ordering::Equal))
    }

    fn reals() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<i32>().prop_map(|n| f64::from(n) / 64.0),
            any::<i64>().prop_map(|n| n as f64),
            prop_oneof![
                Just(0.0),
                Just(-0.0),
                Just(f64::INFINITY),
                Just(f64::MIN_POSITIVE),
                Just(5e-324),
                Just(-5e-324)
            ],
        ]
        .prop_filter("no NaN", |x| !x.is_nan())
    }

    proptest! {
        #[test]
        fn reals_order_as_numbers(a in reals(), b in reals()) {
            let by_key = key(&Value::Real(a), Collation::Binary).cmp(&key(&Value::Real(b), Collation::Binary));
            prop_assert_eq!(Some(by_key), a.partial_cmp(&b));
        }

        #[test]
        fn integers_and_reals_order_exactly(a in reals(), b in prop_oneof![any::<i64>(), -40i64..40]) {
            let by_key = key(&Value::Real(a), Collation::Binary).cmp(&key(&Value::Int(b), Collation::Binary));
            prop_assert_eq!(by_key, exact(a, b));
        }

        #[test]
        fn no_key_begins_another(a in proptest::collection::vec(0u8..3, 0..6), b in proptest::collection::vec(0u8..3, 0..6)) {
            for collation in [Collation::Binary, Collation::NoCase, Collation::Rtrim] {
                let (x, y) = (key(&Value::text(&a), collation), key(&Value::text(&b), collation));
                prop_assert!(x == y || !y.starts_with(&x));
            }
        }
    }
}
