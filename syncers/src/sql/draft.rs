//! A row in dispute as people and the inbox see it.

use std::collections::BTreeMap;

use cathedral_model::conflict::rows::{Change, RowConflict, Shape, TableDiff};
use cathedral_model::conflict::value::{Row, Value};
use cathedral_model::ids::Digest;
use cathedral_model::plan::{ConflictDraft, FieldDispute, Grouped, SideValue};
use cathedral_model::ports::{Content, PortError};

use super::answers::Versions;
use super::form::{Cells, plain, shown, shown_row, to_json};

/// What stands in the fields of a row that one side deleted.
const DELETED: &str = "(deleted)";
/// At most so many rows are named that claim the same value.
const NAMED: usize = 3;

/// Writes a dispute down, its three versions kept whole in the content store, and those of the rows that are
/// decided together with it.
pub(super) fn draft(
    content: &dyn Content,
    diffs: &BTreeMap<&str, &TableDiff>,
    shape: &Shape,
    conflict: &RowConflict,
    all: &[RowConflict],
) -> Result<ConflictDraft, PortError> {
    let sides = [&conflict.base, &conflict.hub, &conflict.spoke];
    let kept = if conflict.key.is_empty() { None } else { Some(keep(content, shape, sides)?) };
    let any = any_row(conflict);
    let (told, listed) = columns(shape, conflict);
    let side = |row: &Option<Row>| {
        row.as_ref().map(|row| SideValue { shown: shown_row(&shape.columns, row, &told), content: kept })
    };
    let group = conflict.group.iter().filter_map(|(table, key)| {
        let diff = diffs.get(table.as_str())?;
        Some(grouped(content, &diff.shape, diff.changes.get(key)?))
    });
    Ok(ConflictDraft {
        item: target(shape, any),
        place: place(shape, any),
        conflict_kind: conflict.kind.into(),
        because: because(shape, conflict, all),
        base: side(&conflict.base),
        hub: side(&conflict.hub),
        spoke: side(&conflict.spoke),
        suggested: None,
        table: Some(shape.name.clone()),
        pk: any.map(|row| pk(shape, row)).unwrap_or_default(),
        fields: fields(shape, sides, &listed),
        group: group.collect::<Result<_, _>>()?,
    })
}

fn grouped(content: &dyn Content, shape: &Shape, change: &Change) -> Result<Grouped, PortError> {
    let sides = [&change.base, &change.hub, &change.spoke];
    let any = change.hub.as_ref().or(change.spoke.as_ref()).or(change.base.as_ref());
    let all: Vec<usize> = (0..shape.columns.len()).collect();
    Ok(Grouped {
        item: target(shape, any),
        place: place(shape, any),
        table: shape.name.clone(),
        pk: any.map(|row| pk(shape, row)).unwrap_or_default(),
        fields: fields(shape, sides, &all),
        content: Some(keep(content, shape, sides)?),
    })
}

fn keep(content: &dyn Content, shape: &Shape, [base, hub, spoke]: [&Option<Row>; 3]) -> Result<Digest, PortError> {
    let cells = |row: &Option<Row>| row.clone().map(Cells);
    let (table, columns) = (shape.name.clone(), shape.columns.clone());
    let versions = Versions { table, columns, base: cells(base), hub: cells(hub), spoke: cells(spoke) };
    let text = serde_json::to_vec(&versions).map_err(|e| PortError::permanent(format!("conflict: {e}")))?;
    content.put(&text)
}

fn pk(shape: &Shape, row: &Row) -> Vec<serde_json::Value> {
    shape.key.iter().map(|i| to_json(&row[*i])).collect()
}

fn fields(shape: &Shape, [base, hub, spoke]: [&Option<Row>; 3], listed: &[usize]) -> Vec<FieldDispute> {
    let cell = |row: &Option<Row>, i: usize| match row {
        Some(row) => row.get(i).map(shown).unwrap_or_default(),
        None if base.is_some() => DELETED.to_owned(),
        None => String::new(),
    };
    let field = |i: &usize| FieldDispute {
        field: shape.columns[*i].clone(),
        base: cell(base, *i),
        hub: cell(hub, *i),
        spoke: cell(spoke, *i),
    };
    listed.iter().map(field).collect()
}

fn any_row(conflict: &RowConflict) -> Option<&Row> {
    conflict.hub.as_ref().or(conflict.spoke.as_ref()).or(conflict.base.as_ref())
}

/// The columns that are told in brief, and those that are listed: of a row that one side deleted, what the other
/// changed, and all; of a row that cannot stand beside others, what they clash in, and all.
fn columns(shape: &Shape, conflict: &RowConflict) -> (Vec<usize>, Vec<usize>) {
    let all: Vec<usize> = (0..shape.columns.len()).collect();
    if matches!(conflict.kind, "unique" | "foreign_key") && !conflict.columns.is_empty() {
        return (conflict.columns.clone(), all);
    }
    let survivor = match (&conflict.base, &conflict.hub, &conflict.spoke) {
        (Some(base), None, Some(row)) | (Some(base), Some(row), None) if conflict.columns.is_empty() => (base, row),
        _ => return (conflict.columns.clone(), conflict.columns.clone()),
    };
    let changed = all.iter().copied().filter(|i| survivor.0.get(*i) != survivor.1.get(*i)).collect();
    (changed, all)
}

/// Why nobody but a person can decide; of rows that claim one value each names the others.
fn because(shape: &Shape, conflict: &RowConflict, all: &[RowConflict]) -> String {
    if conflict.kind != "unique" {
        return conflict.because.clone();
    }
    let values = |one: &RowConflict| -> Vec<_> {
        [&one.hub, &one.spoke].into_iter().flatten().filter_map(|row| shape.value_of(row, &conflict.columns)).collect()
    };
    let own = values(conflict);
    let others: Vec<String> = all
        .iter()
        .filter(|one| one.kind == "unique" && one.table == conflict.table && one.columns == conflict.columns)
        .filter(|one| one.key != conflict.key && values(one).iter().any(|value| own.contains(value)))
        .map(|one| place(shape, any_row(one)))
        .collect();
    if others.is_empty() {
        return conflict.because.clone();
    }
    let more = if others.len() > NAMED { format!(" and {} more", others.len() - NAMED) } else { String::new() };
    format!("{}: it is also in {}{more}", conflict.because, others[..others.len().min(NAMED)].join(", "))
}

/// Returns `table[key]`, the key as JSON, so that it is the same in every run.
pub(super) fn target(shape: &Shape, row: Option<&Row>) -> String {
    named(shape, row, |value| to_json(value).to_string())
}

/// The same for people.
pub(super) fn place(shape: &Shape, row: Option<&Row>) -> String {
    named(shape, row, |value| match value {
        Value::Text(_) => to_json(value).to_string(),
        value => shown(value),
    })
}

fn named(shape: &Shape, row: Option<&Row>, cell: impl Fn(&Value) -> String) -> String {
    let key = |row: &Row| {
        let parts: Vec<String> = shape.key.iter().map(|i| cell(&row[*i])).collect();
        if parts.is_empty() { shown_row(&shape.columns, row, &[]) } else { parts.join(",") }
    };
    let name = plain(&shape.name, 400);
    row.map_or_else(|| name.clone(), |row| format!("{name}[{}]", plain(&key(row), 400)))
}
