//! What people said about conflicts, as the merge takes it.

use std::collections::BTreeMap;

use cathedral_model::conflict::Side;
use cathedral_model::conflict::rows::{Answer, Answers, Change, Pick, RowId, Shape};
use cathedral_model::conflict::value::{Row, Value, write_key};
use cathedral_model::ids::Digest;
use cathedral_model::plan::{self, Choice, ConflictDraft, Directive, Grouped};
use cathedral_model::ports::{Cause, Content, PortError};
use cathedral_model::typed::Typed;
use serde::{Deserialize, Serialize};

use super::form::{Cells, from_json, shown_row};

/// The three versions of a row in dispute, in the content store.
#[derive(Serialize, Deserialize)]
pub(super) struct Versions {
    pub table: String,
    pub columns: Vec<String>,
    pub base: Option<Cells>,
    pub hub: Option<Cells>,
    pub spoke: Option<Cells>,
}

/// Returns the row a directive is about; none when its table or key is not to be found any more.
pub(super) fn row_of(draft: &ConflictDraft, shape: &Shape) -> Option<RowId> {
    if draft.conflict_kind == "table" {
        return Some((shape.name.clone(), vec![]));
    }
    key_of(&draft.pk, shape)
}

/// The same by the key alone.
pub(super) fn key_of(pk: &[serde_json::Value], shape: &Shape) -> Option<RowId> {
    if shape.key.is_empty() || pk.len() != shape.key.len() {
        return None;
    }
    let values: Option<Row> = pk.iter().map(from_json).collect();
    let values = values?;
    let key = write_key(values.iter().zip(&shape.key).map(|(v, i)| (v, shape.collation(*i))));
    Some((shape.name.clone(), key))
}

/// Adds a directive to the answers. For one that is undone the agreed row to go back to is returned.
pub(super) fn add(
    answers: &mut Answers,
    directive: &Directive,
    id: &RowId,
    shape: &Shape,
    content: &dyn Content,
) -> Result<Option<Option<Row>>, PortError> {
    let refuse = |why: String| PortError::failed(Cause::Invalid, format!("conflict {}: {why}", directive.conflict));
    let mut past = None;
    let answer = match &directive.answer {
        plan::Answer::Take(Choice::Hub) => Answer::Take(Side::Hub),
        plan::Answer::Take(Choice::Spoke) => Answer::Take(Side::Spoke),
        plan::Answer::Take(Choice::Base) => Answer::Take(Side::Base),
        plan::Answer::Take(Choice::Suggested) => return Err(refuse("it has no suggested value".to_owned())),
        plan::Answer::Fields(fields) => {
            let versions = versions(&directive.draft, content).ok();
            let mut picks = BTreeMap::new();
            for (name, text) in fields {
                let column = column(shape, name).ok_or_else(|| refuse(format!("there is no column {name:?}")))?;
                picks.insert(column, pick(text, versions.as_ref(), name).map_err(|e| refuse(format!("{name}: {e}")))?);
            }
            whole_when_deleted(&directive.draft, picks).map_err(refuse)?
        }
        plan::Answer::Content(id) => Answer::Fields(whole(content, id, shape).map_err(|e| refuse(e.to_string()))?),
        plan::Answer::Undo => {
            let was = was(&directive.draft, shape, content).map_err(|e| refuse(e.to_string()))?;
            past = Some(was.base.clone());
            Answer::Apart { dangles: dangled(&directive.draft, shape, &was), hub: was.hub, spoke: was.spoke }
        }
        // The other answer says it.
        plan::Answer::With(_) => return Ok(None),
    };
    answers.insert(id.clone(), answer);
    Ok(past)
}

/// Returns why the answer does not count when the row is not the one that the person was shown.
pub(super) fn moved(draft: &ConflictDraft, shape: &Shape, now: &Change, content: &dyn Content) -> Option<String> {
    let Ok(kept) = versions(draft, content) else {
        return Some("the values that were answered are no longer kept: please answer again".to_owned());
    };
    let same = |kept_row: &Option<Cells>, row: &Option<Row>| {
        kept_row.as_ref().map(|r| fitted(&kept.columns, &r.0, shape)) == *row
    };
    let is_same = same(&kept.base, &now.base) && same(&kept.hub, &now.hub) && same(&kept.spoke, &now.spoke);
    (!is_same).then(|| "it has changed since it was answered: please answer again".to_owned())
}

/// Returns the dispute as it was when it was answered.
pub(super) fn was(draft: &ConflictDraft, shape: &Shape, content: &dyn Content) -> Result<Change, PortError> {
    Ok(change(&versions(draft, content)?, shape))
}

/// The same of a row that was decided together with one.
pub(super) fn group_was(row: &Grouped, shape: &Shape, content: &dyn Content) -> Result<Change, PortError> {
    let id = row.content.ok_or_else(|| PortError::permanent(format!("{} keeps no values", row.place)))?;
    Ok(change(&read(&id, &row.place, content)?, shape))
}

/// Returns by which columns a side's own row referred to nothing: those that the dispute was told by.
fn dangled(draft: &ConflictDraft, shape: &Shape, was: &Change) -> Vec<(Side, Vec<usize>)> {
    if !draft.refers_to_nothing() {
        return vec![];
    }
    let mut out = Vec::new();
    for (side, row, told) in [(Side::Hub, &was.hub, &draft.hub), (Side::Spoke, &was.spoke, &draft.spoke)] {
        let (Some(row), Some(told)) = (row, told) else { continue };
        for link in &shape.foreign {
            let value = shape.value_of(row, &link.columns);
            // What both sides had agreed on before is not what the side has broken.
            let is_new = value != was.base.as_ref().and_then(|base| shape.value_of(base, &link.columns));
            if value.is_some() && is_new && shown_row(&shape.columns, row, &link.columns) == told.shown {
                out.push((side, link.columns.clone()));
            }
        }
    }
    out
}

fn change(kept: &Versions, shape: &Shape) -> Change {
    let [base, hub, spoke] =
        [&kept.base, &kept.hub, &kept.spoke].map(|row| row.as_ref().map(|r| fitted(&kept.columns, &r.0, shape)));
    let counts = [&base, &hub, &spoke].map(|row| u64::from(row.is_some()));
    Change { base, hub, spoke, counts }
}

/// Of a row that one side deleted, that side is taken for all fields or for none.
fn whole_when_deleted(draft: &ConflictDraft, picks: BTreeMap<usize, Pick>) -> Result<Answer, String> {
    let deleted = match draft.conflict_kind.as_str() {
        "delete/update" => Side::Hub,
        "update/delete" => Side::Spoke,
        _ => return Ok(Answer::Fields(picks)),
    };
    let taken = picks.values().filter(|pick| **pick == Pick::Side(deleted)).count();
    match taken {
        0 => Ok(Answer::Fields(picks)),
        all if all == picks.len() => Ok(Answer::Take(deleted)),
        _ => Err(format!("the {deleted} deleted the row: its side can only be taken for all fields")),
    }
}

fn column(shape: &Shape, name: &str) -> Option<usize> {
    shape.columns.iter().position(|c| c.eq_ignore_ascii_case(name))
}

fn fitted(columns: &[String], row: &Row, shape: &Shape) -> Row {
    let at = |name: &String| columns.iter().position(|c| c.eq_ignore_ascii_case(name));
    shape.columns.iter().map(|c| at(c).and_then(|i| row.get(i)).cloned().unwrap_or(Value::Null)).collect()
}

fn versions(draft: &ConflictDraft, content: &dyn Content) -> Result<Versions, PortError> {
    let id = [&draft.base, &draft.hub, &draft.spoke].into_iter().flatten().find_map(|v| v.content);
    let id = id.ok_or_else(|| PortError::permanent(format!("conflict at {} keeps no values", draft.place)))?;
    read(&id, &draft.place, content)
}

fn read(id: &Digest, place: &str, content: &dyn Content) -> Result<Versions, PortError> {
    serde_json::from_slice(&content.get(id)?)
        .map_err(|_| PortError::Corrupt(format!("the values of the conflict at {place} are damaged")))
}

/// A typed word becomes the kind of value that the column holds on the sides.
fn pick(typed: &str, versions: Option<&Versions>, name: &str) -> Result<Pick, String> {
    let text = match Typed::read(typed).map_err(|e| e.to_string())? {
        Typed::Take(Choice::Hub) => return Ok(Pick::Side(Side::Hub)),
        Typed::Take(Choice::Spoke) => return Ok(Pick::Side(Side::Spoke)),
        Typed::Take(Choice::Base) => return Ok(Pick::Side(Side::Base)),
        Typed::Take(Choice::Suggested) => return Err("it has no suggested value".to_owned()),
        Typed::Null => return Ok(Pick::Value(Value::Null)),
        Typed::Text(text) => text,
    };
    let held: Vec<&Value> = versions.map_or_else(Vec::new, |v| {
        let at = v.columns.iter().position(|c| c.eq_ignore_ascii_case(name));
        [&v.hub, &v.spoke, &v.base].into_iter().flatten().filter_map(|r| at.and_then(|i| r.0.get(i))).collect()
    });
    let any = |f: fn(&Value) -> bool| held.iter().any(|v| f(v));
    let as_text = || Value::Text(text.to_owned());
    let value = if any(|v| matches!(v, Value::Int(_))) && text.parse::<i64>().is_ok() {
        text.parse().map_or_else(|_| as_text(), Value::Int)
    } else if any(|v| matches!(v, Value::Int(_) | Value::Real(_))) && text.parse::<f64>().is_ok_and(|x| !x.is_nan()) {
        text.parse().map_or_else(|_| as_text(), Value::Real)
    } else if any(|v| matches!(v, Value::Blob(_))) && text.starts_with("x'") && text.ends_with('\'') && text.len() > 2 {
        hex::decode(&text[2..text.len() - 1]).map_or_else(|_| as_text(), Value::Blob)
    } else {
        as_text()
    };
    Ok(Pick::Value(value))
}

fn whole(content: &dyn Content, id: &Digest, shape: &Shape) -> Result<BTreeMap<usize, Pick>, PortError> {
    let bad = || PortError::failed(Cause::Invalid, "the new row must be a JSON object of columns");
    let raw: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&content.get(id)?).map_err(|_| bad())?;
    raw.iter()
        .map(|(name, cell)| {
            let column = column(shape, name).ok_or_else(bad)?;
            Ok((column, Pick::Value(from_json(cell).ok_or_else(bad)?)))
        })
        .collect()
}
