//! The JSON Schema of the file, from the types, completed by the table of keys.

use serde_json::{Map, Value, json};

use super::ecosystem::Config;
use super::explain::{entries, join};
use super::table::{Mark, Section, Shape};

/// Returns the JSON Schema (draft 2020-12) of `.cathedral/integration-config.yaml`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Cathedral integration configuration"));
        let mut done = Vec::new();
        complete(&Config::SECTION, root, &mut done);
        // Sections stand in `$defs` under the names of their types.
        if let Some(defs) = root.get_mut("$defs").and_then(Value::as_object_mut) {
            for entry in entries() {
                let Some(section) = entry.key.shape.section() else {
                    continue;
                };
                if done.contains(&section.name) {
                    continue;
                }
                if let Some(def) = defs.get_mut(section.name).and_then(Value::as_object_mut) {
                    complete(section, def, &mut done);
                }
                if section.is_listable
                    && let Some(def) = defs.remove(section.name)
                {
                    let list = json!({ "anyOf": [def, { "type": "array", "items": def }] });
                    defs.insert(section.name.to_owned(), list);
                }
            }
            allow_empty(defs);
        }
    }
    schema
}

/// Adds to one section what serde and schemars cannot know.
fn complete(section: &'static Section, def: &mut Map<String, Value>, done: &mut Vec<&'static str>) {
    done.push(section.name);
    let required: Vec<&str> =
        section.keys.iter().filter(|key| matches!(key.mark, Mark::Required)).map(|key| key.name).collect();
    if !required.is_empty() {
        def.insert("required".to_owned(), json!(required));
    }
    let Some(properties) = def.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for key in section.keys {
        let Some(property) = properties.get_mut(key.name).and_then(Value::as_object_mut) else {
            continue;
        };
        property.insert("description".to_owned(), json!(join(key.meaning)));
        if matches!(key.mark, Mark::Required) || property.get("default").is_some_and(Value::is_null) {
            property.remove("default");
        }
        match key.mark {
            Mark::Later => {
                property.insert("x-available".to_owned(), json!(false));
            }
            Mark::Noted(note) => {
                property.insert("x-note".to_owned(), json!(note));
            }
            _ => {}
        }
        if let Some(words) = key.shape.words() {
            let later: Vec<&str> =
                words.iter().filter(|word| !word.mark.is_available()).map(|word| word.text).collect();
            if !later.is_empty() {
                property.insert("x-not-available-yet".to_owned(), json!(later));
            }
        }
        if !matches!(key.shape, Shape::Section(_) | Shape::List(_) | Shape::Table(_)) {
            property.insert("examples".to_owned(), json!([example(key.example)]));
        }
    }
}

/// The example as the value YAML reads from it.
fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Optional values come out of schemars as "or null"; a key without a value is refused, so null goes.
fn allow_empty(defs: &mut Map<String, Value>) {
    fn walk(value: &mut Value) {
        if let Value::Object(entries) = value {
            if let Some(Value::Array(kinds)) = entries.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = &kinds[..] {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(forms)) = entries.get_mut("anyOf") {
                forms.retain(|form| form != &json!({ "type": "null" }));
                if let [only] = &forms[..]
                    && let Value::Object(only) = only.clone()
                {
                    entries.remove("anyOf");
                    for (name, value) in only {
                        entries.entry(name).or_insert(value);
                    }
                }
            }
            entries.values_mut().for_each(walk);
        } else if let Value::Array(items) = value {
            items.iter_mut().for_each(walk);
        }
    }
    defs.values_mut().for_each(walk);
}
