//! A database into a snapshot: everything in it but our own table, as of one read transaction.

use std::path::Path;

use cathedral_model::observation::SideState;
use cathedral_model::ports::vault::{DatabaseSchema, TableInfo};
use cathedral_model::ports::{PortError, Sink};

use super::plan::{Open, open};
use super::scan::{DatabaseDigest, TableDigest, missing};

/// Exports the database at `path`. Before the first sync one side may not be there yet: that is an
/// empty part, and says so.
pub(super) fn export(path: &Path, sink: &mut dyn Sink) -> Result<SideState, PortError> {
    let Some(side) = open(path)? else {
        let engine = format!("sqlite {}", rusqlite::version());
        let settings = serde_json::json!({ "missing": true });
        sink.schema(&DatabaseSchema { engine, statements: vec![], settings })?;
        return Ok(missing());
    };
    export_open(&side, sink)
}

/// Exports a database as of a read transaction that is open already.
pub(super) fn export_open(side: &Open, sink: &mut dyn Sink) -> Result<SideState, PortError> {
    let catalog = &side.catalog;
    let statements = catalog.tables.values().map(|t| &t.sql).chain(catalog.objects.iter().map(|o| &o.sql));
    sink.schema(&DatabaseSchema {
        engine: format!("sqlite {}", rusqlite::version()),
        statements: statements.cloned().collect(),
        settings: catalog.settings.to_json(),
    })?;
    for (name, why) in catalog.left_out() {
        sink.skipped(name, &why);
    }
    let mut digest = DatabaseDigest::new(catalog);
    let mut tables: Vec<_> = catalog.tables.values().map(|t| (t, TableDigest::default())).collect();
    // The digest goes by names as SQLite compares them, the snapshot by bytes.
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|a, b| tables[*a].0.name().cmp(tables[*b].0.name()));
    for at in order {
        let (table, rows) = &mut tables[at];
        sink.table(&TableInfo {
            name: table.name().to_owned(),
            columns: table.shape.columns.clone(),
            key: table.key_names(),
            rows: 0,
        })?;
        let keyless = table.shape.key.is_empty();
        let (mut last, mut copy) = (Vec::new(), 0u64);
        side.reading.scan(table, &table.shape, catalog.is_utf8(), &mut |key, row| {
            rows.add(&key, &row);
            if !keyless {
                return sink.row(&key, &row);
            }
            // Equal rows get keys of their own: the hash, then a running number.
            copy = if last == key { copy + 1 } else { 0 };
            last.clone_from(&key);
            let numbered = [key.as_slice(), &copy.to_be_bytes()].concat();
            sink.row(&numbered, &row)
        })?;
    }
    for (table, rows) in tables {
        digest.table(table, rows);
    }
    Ok(digest.finish())
}
