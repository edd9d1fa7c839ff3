//! Reading schema and rows of a database part.

use cathedral_model::conflict::value::Value;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{DatabaseSchema, TableInfo};
use serde::Deserialize;

use crate::cell;
use crate::list;
use crate::manifest::{DatabasePart, Table};
use crate::sink::database::SchemaLine;
use crate::vault::Reader;

#[derive(Deserialize)]
struct Column {
    c: String,
    v: Vec<serde_json::Value>,
}

/// Reads schema and tables.
pub(crate) fn schema(reader: &mut Reader, part: &DatabasePart) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
    let frame = reader.chunk(&part.schema)?;
    let line: SchemaLine =
        serde_json::from_slice(&frame).map_err(|e| PortError::Corrupt(format!("schema {}: {e}", part.schema)))?;
    let tables = part.tables.iter().map(|t| TableInfo {
        name: t.n.clone(),
        columns: t.columns.clone(),
        key: t.key.clone(),
        rows: t.rows.parse().unwrap_or(0),
    });
    let SchemaLine { engine, statements, settings } = line;
    Ok((DatabaseSchema { engine, statements, settings }, tables.collect()))
}

/// Visits the rows of a table; fails at the end when there are more or fewer than the manifest says.
pub(crate) fn rows(
    reader: &mut Reader,
    table: &Table,
    visit: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>,
) -> Result<(), PortError> {
    let mut count = 0u64;
    if let Some(root) = &table.leaves {
        list::visit(reader, root, &mut |_| {}, &mut |reader, member| {
            let rows = leaf(reader, &member.id, table).map_err(|e| {
                super::files::named(e, &format!("table {}, rows {} to {}", table.n, count, count + member.n))
            })?;
            if rows.len() as u64 != member.n {
                return Err(PortError::Corrupt(format!("rows {} of table {}: wrong number", member.id, table.n)));
            }
            count += member.n;
            rows.into_iter().try_for_each(&mut *visit)
        })?;
    }
    if count.to_string() != table.rows {
        return Err(PortError::Corrupt(format!(
            "table {} has {count} rows where {} were written",
            table.n, table.rows
        )));
    }
    Ok(())
}

fn leaf(reader: &mut Reader, id: &Digest, table: &Table) -> Result<Vec<Vec<Value>>, PortError> {
    let frame = reader.chunk(id)?;
    parse_leaf(&frame, &table.columns).map_err(|why| PortError::Corrupt(format!("rows {id}: {why}")))
}

/// Reads a leaf's lines, one for each column, as rows.
pub(crate) fn parse_leaf(frame: &[u8], columns: &[String]) -> Result<Vec<Vec<Value>>, String> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut names = columns.iter();
    for (at, line) in frame.split(|b| *b == b'\n').filter(|l| !l.is_empty()).enumerate() {
        let Column { c, v } = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        if names.next() != Some(&c) {
            return Err("columns differ from the table's".into());
        }
        if at == 0 {
            rows.resize_with(v.len(), || Vec::with_capacity(columns.len()));
        }
        if v.len() != rows.len() {
            return Err("columns have different lengths".into());
        }
        for (row, cell) in rows.iter_mut().zip(v) {
            row.push(cell::read(cell).ok_or("a cell is not valid")?);
        }
    }
    if names.next().is_some() { Err("a column is missing".into()) } else { Ok(rows) }
}
