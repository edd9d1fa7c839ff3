//! The configuration in effect: defaults filled in, secrets masked.

use serde_json::Value;

use super::ecosystem::Config;

/// The configuration in effect as JSON. What has no value is left out; secrets are their references.
#[must_use]
pub fn show_json(config: &Config) -> Value {
    let mut config = config.clone();
    let ecosystem = &mut config.cathedral_ecosystem;
    ecosystem.name = Some(ecosystem.name().clone());
    ecosystem.backup.quorum = Some(ecosystem.quorum());
    let mut value = serde_json::to_value(&config).unwrap_or_default();
    strip(&mut value);
    value
}

/// The configuration in effect as YAML, readable by [`parse`](super::parse) again.
#[must_use]
pub fn show_yaml(config: &Config) -> String {
    serde_saphyr::to_string(&show_json(config)).unwrap_or_default()
}

/// Removes what has no value, and sections of which nothing is left.
fn strip(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.values_mut().for_each(strip);
            entries.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|inner| !inner.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
