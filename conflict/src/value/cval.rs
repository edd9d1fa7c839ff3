//! `cval` v1: the identity of a value. Tag, then payload; every value has exactly one encoding.

use super::{Row, Value};

const NULL: u8 = 0x00;
const INT: u8 = 0x10;
const FLOAT64: u8 = 0x13;
const TEXT: u8 = 0x20;
const BYTES: u8 = 0x21;
const RAW_TEXT: u8 = 0x22;

/// Why bytes are not a `cval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CvalError {
    #[error("the encoded row ends early")]
    Short,
    #[error("tag {0:#04x} is not known")]
    Tag(u8),
    #[error("the encoded row is not in its one form")]
    Form,
}

/// Appends the encoding of one value.
pub fn cval(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Int(n) => {
            out.push(INT);
            let magnitude = n.unsigned_abs().to_be_bytes();
            let skip = magnitude.iter().take_while(|b| **b == 0).count();
            // Sign and length share no byte so that longer integers of other engines fit in later.
            out.push(u8::from(*n >= 0));
            length(magnitude.len() - skip, out);
            out.extend_from_slice(&magnitude[skip..]);
        }
        Value::Real(x) => {
            out.push(FLOAT64);
            let bits = if x.is_nan() { 0x7ff8_0000_0000_0000 } else { x.to_bits() };
            out.extend_from_slice(&bits.to_be_bytes());
        }
        Value::Text(text) => bytes(TEXT, text.as_bytes(), out),
        Value::Blob(blob) => bytes(BYTES, blob, out),
        Value::RawText(text) => bytes(RAW_TEXT, text, out),
    }
}

/// Appends a row: the count of its columns, then its values.
pub fn write_row(row: &[Value], out: &mut Vec<u8>) {
    length(row.len(), out);
    for value in row {
        cval(value, out);
    }
}

/// Reads a row that [`write_row`] wrote; any other bytes are refused.
pub fn read_row(mut from: &[u8]) -> Result<Row, CvalError> {
    let count = read_length(&mut from)?;
    let mut row = Vec::with_capacity(count.min(4096));
    for _ in 0..count {
        row.push(read_value(&mut from)?);
    }
    if from.is_empty() { Ok(row) } else { Err(CvalError::Form) }
}

fn bytes(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    length(content.len(), out);
    out.extend_from_slice(content);
}

fn length(n: usize, out: &mut Vec<u8>) {
    let mut n = n as u64;
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take<'a>(from: &mut &'a [u8], n: usize) -> Result<&'a [u8], CvalError> {
    if n > from.len() {
        return Err(CvalError::Short);
    }
    let (head, tail) = from.split_at(n);
    *from = tail;
    Ok(head)
}

fn read_length(from: &mut &[u8]) -> Result<usize, CvalError> {
    let mut n: u64 = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(from, 1)?[0];
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                return Err(CvalError::Form);
            }
            return usize::try_from(n).map_err(|_| CvalError::Form);
        }
    }
    Err(CvalError::Form)
}

fn read_value(from: &mut &[u8]) -> Result<Value, CvalError> {
    let tag = take(from, 1)?[0];
    match tag {
        NULL => Ok(Value::Null),
        INT => read_int(from),
        FLOAT64 => {
            let mut raw = [0; 8];
            raw.copy_from_slice(take(from, 8)?);
            let x = f64::from_bits(u64::from_be_bytes(raw));
            if x.is_nan() && x.to_bits() != 0x7ff8_0000_0000_0000 {
                return Err(CvalError::Form);
            }
            Ok(Value::Real(x))
        }
        TEXT => {
            let n = read_length(from)?;
            std::str::from_utf8(take(from, n)?).map(|t| Value::Text(t.to_owned())).map_err(|_| CvalError::Form)
        }
        BYTES => {
            let n = read_length(from)?;
            Ok(Value::Blob(take(from, n)?.to_vec()))
        }
        RAW_TEXT => {
            let n = read_length(from)?;
            let raw = take(from, n)?;
            if std::str::from_utf8(raw).is_ok() { Err(CvalError::Form) } else { Ok(Value::RawText(raw.to_vec())) }
        }
        other => Err(CvalError::Tag(other)),
    }
}

fn read_int(from: &mut &[u8]) -> Result<Value, CvalError> {
    let sign = take(from, 1)?[0];
    let n = read_length(from)?;
    let raw = take(from, n)?;
    if sign > 1 || n > 8 || raw.first() == Some(&0) {
        return Err(CvalError::Form);
    }
    let magnitude = raw.iter().fold(0u64, |all, b| (all << 8) | u64::from(*b));
    match sign {
        1 => i64::try_from(magnitude).map(Value::Int).map_err(|_| CvalError::Form),
        _ if magnitude == 0 || magnitude > 1 << 63 => Err(CvalError::Form),
        _ => Ok(Value::Int(0i64.wrapping_sub_unsigned(magnitude))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Int),
            prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), Just(255), Just(256)].prop_map(Value::Int),
            any::<u64>().prop_map(|b| Value::Real(f64::from_bits(b))),
            ".{0,9}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(Value::Blob),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(|b| Value::text(&b)),
        ]
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was(row in proptest::collection::vec(any_value(), 0..6)) {
            let mut out = vec![];
            write_row(&row, &mut out);
            prop_assert_eq!(read_row(&out), Ok(row));
        }

        #[test]
        fn two_values_share_an_encoding_only_when_they_are_equal(a in any_value(), b in any_value()) {
            let (mut x, mut y) = (vec![], vec![]);
            cval(&a, &mut x);
            cval(&b, &mut y);
            prop_assert_eq!(x == y, a == b);
        }

        #[test]
        fn bytes_that_are_read_are_the_one_form(raw in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..4, Just(0x10u8), Just(0x22)], 0..24)) {
            if let Ok(row) = read_row(&raw) {
                let mut out = vec![];
                write_row(&row, &mut out);
                prop_assert_eq!(out, raw);
            }
        }
    }

    #[test]
    fn the_encoding_is_frozen() {
        let row = [Value::Int(-256), Value::Int(0), Value::Real(-0.0), Value::Text("é".into()), Value::Null];
        let mut out = vec![];
        write_row(&row, &mut out);
        let expected = [5, 0x10, 0, 2, 1, 0, 0x10, 1, 0, 0x13, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x20, 2, 0xc3, 0xa9, 0];
        assert_eq!(out, expected);
    }
}
