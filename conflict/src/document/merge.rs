//! Three texts of one document: base forked twice, edited, merged.

use serde_json::Value;

use super::{Document, DocumentConflict, DocumentError, Schema, below, bridge, read, write};
use crate::conflict::Side;
use crate::kind::Syntax;
use crate::structure::{self, layout};
use crate::text::form::Text;

/// The merge of three texts of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedDocument {
    /// The merged file form, with provisional winners.
    pub bytes: Vec<u8>,
    /// The merged value.
    pub value: Value,
    /// The fields that a person should look at.
    pub conflicts: Vec<DocumentConflict>,
}

/// Merges three file forms of one document.
///
/// The actors follow from the contents alone, so every node gets the same result, and exchanging hub and spoke
/// changes nothing but the layout at most.
pub fn merge_texts(
    schema: &Schema,
    base: Option<&[u8]>,
    hub: &[u8],
    spoke: &[u8],
) -> Result<MergedDocument, DocumentError> {
    let base = base.unwrap_or(b"{}\n");
    let (before, ours, theirs) = (read(base)?, read(hub)?, read(spoke)?);
    let mut document = Document::import(base, schema, &actor(base))?;
    let mut left = document.fork(&actor(hub));
    let mut right = document.fork(&actor(spoke));
    left.update(hub)?;
    right.update(spoke)?;
    left.merge(&mut right)?;
    let mut value = left.value()?;
    bridge::arrange(&mut value, &before, schema, "");
    let mut conflicts = left.conflicts()?;
    unseen(schema, "", &before, &ours, &theirs, &value, &mut conflicts);
    let text = if canvas(base, hub, spoke) == Side::Spoke { spoke } else { hub };
    let bytes = write(text, &value)?;
    Ok(MergedDocument { bytes, value, conflicts })
}

fn actor(text: &[u8]) -> [u8; 16] {
    let mut actor = [0; 16];
    actor.copy_from_slice(&blake3::hash(text).as_bytes()[..16]);
    actor
}

fn canvas(base: &[u8], hub: &[u8], spoke: &[u8]) -> Side {
    let texts = [base, hub, spoke].map(Text::decode);
    let docs = texts.each_ref().map(|text| {
        let text = text.as_ref()?;
        structure::parse(Syntax::Json, &text.body).ok()
    });
    match docs {
        [Some(base), Some(hub), Some(spoke)] => layout::canvas(Some(&base), &hub, &spoke),
        _ => Side::Hub,
    }
}

/// Lists what automerge settles without a record: an edit of something deleted, and lists that both sides changed.
fn unseen(
    schema: &Schema,
    path: &str,
    base: &Value,
    hub: &Value,
    spoke: &Value,
    merged: &Value,
    found: &mut Vec<DocumentConflict>,
) {
    let (Value::Object(before), Value::Object(ours), Value::Object(theirs)) = (base, hub, spoke) else { return };
    for (key, old) in before {
        let path = below(path, key);
        let (ours, theirs) = (ours.get(key), theirs.get(key));
        if ours == theirs || ours == Some(old) || theirs == Some(old) || found.iter().any(|c| c.pointer == path) {
            continue;
        }
        let now = merged.get(key);
        match (ours, theirs) {
            (Some(Value::Object(_)), Some(Value::Object(_))) if old.is_object() => {
                let (ours, theirs) = (ours.unwrap_or(&Value::Null), theirs.unwrap_or(&Value::Null));
                unseen(schema, &path, old, ours, theirs, now.unwrap_or(&Value::Null), found);
                continue;
            }
            (Some(Value::Array(_)), Some(Value::Array(_))) if !schema.is_set(&path) => {}
            (None, _) | (_, None) => {}
            // Both changed the value: automerge kept both, or they add up or unite.
            _ => continue,
        }
        let mut values = vec![now.cloned()];
        for value in [ours.cloned(), theirs.cloned()] {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        found.push(DocumentConflict { pointer: path, values });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema { counters: vec!["/hits".to_owned(), "/by/*".to_owned()], sets: vec!["/labels".to_owned()] }
    }

    fn merged(base: &str, hub: &str, spoke: &str) -> MergedDocument {
        let merged = merge_texts(&schema(), Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes()).unwrap();
        let swapped = merge_texts(&schema(), Some(base.as_bytes()), spoke.as_bytes(), hub.as_bytes()).unwrap();
        assert_eq!(merged.value, swapped.value);
        merged
    }

    #[test]
    fn counters_add_up_sets_unite_and_maps_merge() {
        let base = "{\n  \"hits\": 5,\n  \"labels\": [\"a\", \"b\"],\n  \"by\": {\"x\": 1}\n}\n";
        let hub =
            "{\n  \"hits\": 7,\n  \"labels\": [\"a\", \"b\", \"h\"],\n  \"by\": {\"x\": 2},\n  \"note\": \"n\"\n}\n";
        let spoke = "{\n  \"hits\": 6,\n  \"labels\": [\"b\", \"s\"],\n  \"by\": {\"x\": 3, \"y\": 1}\n}\n";
        let merged = merged(base, hub, spoke);
        let expect = "{\n  \"hits\": 8,\n  \"labels\": [\"b\", \"h\", \"s\"],\n  \"by\": {\"x\": 4, \"y\": 1},\n  \"note\": \"n\"\n}\n";
        assert_eq!(String::from_utf8(merged.bytes).unwrap(), expect);
        assert_eq!(merged.conflicts, []);
    }

    #[test]
    fn two_values_of_one_field_are_listed_with_a_provisional_winner() {
        let merged = merged("{\"a\":1,\"b\":1}", "{\"a\":2,\"b\":1}", "{\"a\":3,\"b\":4}");
        assert_eq!(merged.conflicts.len(), 1);
        assert_eq!(merged.conflicts[0].pointer, "/a");
        assert_eq!(merged.conflicts[0].values.len(), 2);
        assert_eq!(merged.value["a"], *merged.conflicts[0].values[0].as_ref().unwrap());
        assert_eq!(merged.value["b"], 4);
    }

    #[test]
    fn an_edit_inside_a_deleted_field_is_listed() {
        let merged = merged("{\"m\":{\"x\":1},\"z\":0}", "{\"z\":0}", "{\"m\":{\"x\":2},\"z\":0}");
        assert_eq!(merged.conflicts.len(), 1);
        assert!(merged.conflicts[0].values.contains(&Some(serde_json::json!({"x": 2}))));
    }

    #[test]
    fn a_list_changed_on_both_sides_is_listed() {
        let merged = merged("{\"l\":[1]}", "{\"l\":[1,2]}", "{\"l\":[1,3]}");
        assert_eq!(merged.conflicts[0].pointer, "/l");
    }

    #[test]
    fn a_document_is_the_same_on_every_node_and_survives_saving() {
        let text = "{\"a\": 1.50, \"labels\": [\"z\", \"a\"], \"hits\": 3}\r\n".as_bytes();
        let mut one = Document::import(text, &schema(), &[1; 16]).unwrap();
        let mut two = Document::import(text, &schema(), &[1; 16]).unwrap();
        assert_eq!(one.save(), two.save());
        assert_eq!(one.heads(), two.heads());
        let again = Document::load(&one.save(), &schema()).unwrap();
        assert_eq!(again.export(text).unwrap(), text);
        assert!(matches!(Document::import(b"[1]", &schema(), &[1; 16]), Err(DocumentError::NoObject)));
        let huge = b"{\"n\": 123456789012345678901234567890}";
        assert!(matches!(Document::import(huge, &schema(), &[1; 16]), Err(DocumentError::Number)));
        assert!(Document::load(b"nonsense", &schema()).is_err());
    }
}
