//! Key by key: what is open in a structured item, and the result of a person's choices.

use std::collections::BTreeMap;

use crate::check::{Failed, check};
use crate::conflict::{Candidate, Conflict, Pattern, Reason, Side};
use crate::kind::{Kind, Syntax};
use crate::structure::{self, LIMIT_BYTES, Merged};
use crate::text::form::{Form, Sides, sides};

pub use crate::structure::{FieldChoice, FieldConflict};

/// Why choices could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A choice names a place that is not open.
    #[error("{0} is not an open place of this conflict")]
    Unknown(String),
    /// Places without a choice remain.
    #[error("still open: {}", .0.join(", "))]
    StillOpen(Vec<String>),
    /// The item cannot be merged by key.
    #[error("not merged by key: {0}")]
    Declined(Reason),
    /// The chosen values do not make a well formed item.
    #[error("the chosen values do not fit: {0}")]
    BadValue(Reason),
}

/// Returns the places of a structured item that a person has to decide; empty when there are none or the item is not
/// merged by key.
pub fn fields(conflict: &Conflict<'_>) -> Vec<FieldConflict> {
    match keyed(conflict, &|_| None, Side::Hub) {
        Ok((merged, _)) => merged.open,
        Err(_) => Vec::new(),
    }
}

/// Merges a structured item with a person's choices for its open places.
///
/// Every open place needs a choice and every choice an open place. A [`FieldChoice::Value`] is taken as it is if the
/// item is well formed with it, else as a string.
pub fn apply_fields(conflict: &Conflict<'_>, choices: &BTreeMap<String, FieldChoice>) -> Result<Vec<u8>, ApplyError> {
    let open = keyed(conflict, &|_| None, Side::Hub).map_err(ApplyError::Declined)?.0.open;
    if let Some(unknown) = choices.keys().find(|pointer| !open.iter().any(|field| field.pointer == **pointer)) {
        return Err(ApplyError::Unknown(unknown.clone()));
    }
    let missing: Vec<String> =
        open.iter().map(|field| field.pointer.clone()).filter(|pointer| !choices.contains_key(pointer)).collect();
    if !missing.is_empty() {
        return Err(ApplyError::StillOpen(missing));
    }
    let syntax = conflict.kind.syntax(conflict.path);
    let plain = |pointer: &str| choices.get(pointer).cloned();
    let quoted = |pointer: &str| match choices.get(pointer) {
        Some(FieldChoice::Value(text)) => Some(FieldChoice::Value(quote(syntax, text))),
        other => other.cloned(),
    };
    let (merged, form) = keyed(conflict, &plain, Side::Hub)
        .or_else(|_| keyed(conflict, &quoted, Side::Hub))
        .map_err(ApplyError::BadValue)?;
    if merged.open.is_empty() {
        Ok(form.encode(&merged.text))
    } else {
        Err(ApplyError::StillOpen(merged.open.into_iter().map(|field| field.pointer).collect()))
    }
}

fn quote(syntax: Option<Syntax>, text: &str) -> String {
    match syntax {
        Some(Syntax::GitConfig | Syntax::Ini) => text.to_owned(),
        _ => serde_json::Value::String(text.to_owned()).to_string(),
    }
}

/// Merges entries of both sides; deletions against edits and double edits stay open.
pub(crate) fn union(conflict: &Conflict<'_>) -> Result<Vec<u8>, Reason> {
    let (merged, form) = keyed(conflict, &|_| None, Side::Hub)?;
    if !merged.open.is_empty() {
        return Err(Reason::NoUnion);
    }
    let value = form.encode(&merged.text);
    let candidate = Candidate { value, resolver: "policy@1", pattern: Pattern::Policy, because: String::new() };
    match check(conflict, &candidate) {
        Err(Failed::Broken(why)) => Err(Reason::Check(why)),
        _ => Ok(candidate.value),
    }
}

/// Runs the keyed merge over the decoded sides.
pub(crate) fn keyed(
    conflict: &Conflict<'_>,
    choose: structure::Choose<'_>,
    prefer: Side,
) -> Result<(Merged, Form), Reason> {
    if conflict.kind == Kind::Binary {
        return Err(Reason::Binary);
    }
    let syntax = conflict.kind.syntax(conflict.path).ok_or(Reason::NotApplicable)?;
    if conflict.largest_side_bytes() > LIMIT_BYTES {
        return Err(Reason::TooLarge { bytes: conflict.largest_side_bytes(), limit: LIMIT_BYTES });
    }
    let Sides { base, hub, spoke, form } = sides(conflict)?;
    let mut merged =
        structure::merge(syntax, base.as_ref().map(|text| &*text.body), &hub.body, &spoke.body, choose, prefer)?;
    if form.final_newline && !merged.text.ends_with('\n') && !merged.text.is_empty() {
        merged.text.push('\n');
    } else if !form.final_newline && merged.text.ends_with('\n') {
        merged.text.pop();
    }
    Ok((merged, form))
}
