//! Between JSON values and automerge objects, in a fixed order so that equal input makes equal changes.

use std::collections::{BTreeMap, BTreeSet};

use automerge::transaction::Transactable;
use automerge::{AutoCommit, AutomergeError, ObjId, ObjType, ReadDoc, ScalarValue, Value as Am};
use serde_json::{Map, Value};

use super::{DocumentConflict, Schema, below};

/// Brings a map to the given fields with as few operations as possible.
pub(super) fn write_map(
    doc: &mut AutoCommit,
    schema: &Schema,
    obj: &ObjId,
    path: &str,
    fields: &Map<String, Value>,
) -> Result<(), AutomergeError> {
    let present: Vec<String> = doc.keys(obj).collect();
    for key in present.iter().filter(|key| !fields.contains_key(*key)) {
        doc.delete(obj, key.as_str())?;
    }
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    for (key, value) in sorted {
        let path = below(path, key);
        let current = doc.get(obj, key.as_str())?;
        match (current, value) {
            (Some((Am::Scalar(old), _)), Value::Number(number))
                if let (ScalarValue::Counter(_), Some(new)) = (old.as_ref(), number.as_i64()) =>
            {
                let by = new.wrapping_sub(old.as_i64().unwrap_or_default());
                if by != 0 {
                    doc.increment(obj, key.as_str(), by)?;
                }
            }
            (Some((Am::Object(ObjType::Map), child)), Value::Object(fields)) if !holds_set(doc, &child)? => {
                write_map(doc, schema, &child, &path, fields)?;
            }
            (Some((Am::Object(ObjType::Map), child)), Value::Array(items))
                if is_set(items) && holds_set(doc, &child)? =>
            {
                write_set(doc, &child, items)?;
            }
            (Some((Am::Object(ObjType::List), child)), Value::Array(items)) => {
                write_list(doc, schema, &child, &path, items)?;
            }
            (Some((current, id)), value) => {
                if read_value(doc, &current, &id)? != *value {
                    put(doc, schema, obj, key, &path, value)?;
                }
            }
            (None, value) => put(doc, schema, obj, key, &path, value)?,
        }
    }
    Ok(())
}

fn put(
    doc: &mut AutoCommit,
    schema: &Schema,
    obj: &ObjId,
    key: &str,
    path: &str,
    value: &Value,
) -> Result<(), AutomergeError> {
    match value {
        Value::Object(fields) => {
            let child = doc.put_object(obj, key, ObjType::Map)?;
            write_map(doc, schema, &child, path, fields)
        }
        Value::Array(items) if schema.is_set(path) && is_set(items) => {
            let child = doc.put_object(obj, key, ObjType::Map)?;
            doc.put(&child, SET_MARK, ScalarValue::Bytes(Vec::new()))?;
            write_set(doc, &child, items)
        }
        Value::Array(items) => {
            let child = doc.put_object(obj, key, ObjType::List)?;
            write_list(doc, schema, &child, path, items)
        }
        Value::Number(number) if schema.is_counter(path) && number.is_i64() => {
            doc.put(obj, key, ScalarValue::counter(number.as_i64().unwrap_or_default()))
        }
        value => doc.put(obj, key, scalar(value)),
    }
}

/// The key that tells a set from other maps: no item's text is empty, and no JSON value is bytes.
const SET_MARK: &str = "";

fn holds_set(doc: &AutoCommit, obj: &ObjId) -> Result<bool, AutomergeError> {
    let mark = doc.get(obj, SET_MARK)?;
    Ok(matches!(mark, Some((Am::Scalar(mark), _)) if matches!(mark.as_ref(), ScalarValue::Bytes(_))))
}

/// A set is kept as a map from the items' JSON texts, with a mark.
fn write_set(doc: &mut AutoCommit, obj: &ObjId, items: &[Value]) -> Result<(), AutomergeError> {
    let wanted: BTreeSet<String> = items.iter().map(Value::to_string).collect();
    let present: BTreeSet<String> = doc.keys(obj).filter(|key| key != SET_MARK).collect();
    for gone in present.difference(&wanted) {
        doc.delete(obj, gone.as_str())?;
    }
    for new in wanted.difference(&present) {
        doc.put(obj, new.as_str(), true)?;
    }
    Ok(())
}

fn is_set(items: &[Value]) -> bool {
    let texts: BTreeSet<String> = items.iter().map(Value::to_string).collect();
    texts.len() == items.len()
}

/// Replaces the middle of a list between its equal ends.
fn write_list(
    doc: &mut AutoCommit,
    schema: &Schema,
    obj: &ObjId,
    path: &str,
    items: &[Value],
) -> Result<(), AutomergeError> {
    let path = below(path, "-");
    let mut current = Vec::with_capacity(doc.length(obj));
    for index in 0..doc.length(obj) {
        if let Some((value, id)) = doc.get(obj, index)? {
            current.push(read_value(doc, &value, &id)?);
        }
    }
    let prefix = current.iter().zip(items).take_while(|(a, b)| a == b).count();
    let left = current.len().min(items.len()) - prefix;
    let suffix = current.iter().rev().zip(items.iter().rev()).take(left).take_while(|(a, b)| a == b).count();
    for _ in prefix..current.len() - suffix {
        doc.delete(obj, prefix)?;
    }
    for (index, item) in items.iter().enumerate().take(items.len() - suffix).skip(prefix) {
        match item {
            Value::Object(fields) => {
                let child = doc.insert_object(obj, index, ObjType::Map)?;
                write_map(doc, schema, &child, &path, fields)?;
            }
            Value::Array(inner) => {
                let child = doc.insert_object(obj, index, ObjType::List)?;
                write_list(doc, schema, &child, &path, inner)?;
            }
            value => doc.insert(obj, index, scalar(value))?,
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(value) => ScalarValue::Boolean(*value),
        Value::String(text) => ScalarValue::Str(text.as_str().into()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => ScalarValue::Int(value),
            (_, Some(value), _) => ScalarValue::Uint(value),
            (_, _, Some(value)) => ScalarValue::F64(value),
            _ => ScalarValue::Null,
        },
        _ => ScalarValue::Null,
    }
}

/// Reads a map as JSON.
pub(super) fn read_object(doc: &AutoCommit, obj: &ObjId) -> Result<Value, AutomergeError> {
    let mut fields = Map::new();
    for key in doc.keys(obj) {
        if let Some((value, id)) = doc.get(obj, key.as_str())? {
            fields.insert(key, read_value(doc, &value, &id)?);
        }
    }
    Ok(Value::Object(fields))
}

fn read_value(doc: &AutoCommit, value: &Am<'_>, id: &ObjId) -> Result<Value, AutomergeError> {
    Ok(match value {
        Am::Object(ObjType::Map) if holds_set(doc, id)? => {
            // A key that is no JSON comes from a peer that does not keep the rules; it is shown as it is.
            let item = |key: String| serde_json::from_str(&key).unwrap_or(Value::String(key));
            Value::Array(doc.keys(id).filter(|key| key != SET_MARK).map(item).collect())
        }
        Am::Object(ObjType::Map | ObjType::Table) => read_object(doc, id)?,
        Am::Object(ObjType::List) => {
            let mut items = Vec::with_capacity(doc.length(id));
            for index in 0..doc.length(id) {
                if let Some((value, id)) = doc.get(id, index)? {
                    items.push(read_value(doc, &value, &id)?);
                }
            }
            Value::Array(items)
        }
        Am::Object(ObjType::Text) => Value::String(doc.text(id)?),
        Am::Scalar(scalar) => match scalar.as_ref() {
            ScalarValue::Str(text) => Value::String(text.to_string()),
            ScalarValue::Int(value) | ScalarValue::Timestamp(value) => Value::from(*value),
            ScalarValue::Uint(value) => Value::from(*value),
            ScalarValue::F64(value) => Value::from(*value),
            ScalarValue::Boolean(value) => Value::Bool(*value),
            ScalarValue::Counter(_) => scalar.as_i64().map_or(Value::Null, Value::from),
            ScalarValue::Bytes(_) | ScalarValue::Unknown { .. } | ScalarValue::Null => Value::Null,
        },
    })
}

/// Lists the fields with more than one value; equal values are no conflict.
pub(super) fn conflicts(
    doc: &AutoCommit,
    obj: &ObjId,
    path: &str,
    found: &mut Vec<DocumentConflict>,
) -> Result<(), AutomergeError> {
    let keys: Vec<String> = doc.keys(obj).collect();
    for key in keys {
        let path = below(path, &key);
        let Some((winner, id)) = doc.get(obj, key.as_str())? else { continue };
        let mut values = vec![Some(read_value(doc, &winner, &id)?)];
        for (value, id) in doc.get_all(obj, key.as_str())? {
            let value = Some(read_value(doc, &value, &id)?);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > 1 {
            found.push(DocumentConflict { pointer: path, values });
        } else if matches!(winner, Am::Object(ObjType::Map)) && !holds_set(doc, &id)? {
            conflicts(doc, &id, &path, found)?;
        }
    }
    Ok(())
}

/// Puts the items of sets into the order of `before`, new ones behind, sorted.
pub(super) fn arrange(value: &mut Value, before: &Value, schema: &Schema, path: &str) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                arrange(value, before.get(key).unwrap_or(&Value::Null), schema, &below(path, key));
            }
        }
        Value::Array(items) if schema.is_set(path) && is_set(items) => {
            let old = before.as_array().map(Vec::as_slice).unwrap_or_default();
            let places: BTreeMap<String, usize> =
                old.iter().enumerate().map(|(place, item)| (item.to_string(), place)).collect();
            items.sort_by_cached_key(|item| {
                let text = item.to_string();
                (places.get(&text).copied().unwrap_or(usize::MAX), text)
            });
        }
        _ => {}
    }
}
