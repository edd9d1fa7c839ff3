//! Reading and writing single rows by their key.

use std::collections::BTreeMap;

use cathedral_model::conflict::rows::{Key, Shape};
use cathedral_model::conflict::value::{Collation, Row};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::catalog::Table;
use super::name::quoted;
use super::scan::{bound, cells};

fn bind<'a>(row: impl Iterator<Item = &'a cathedral_model::conflict::value::Value>) -> Vec<ToSqlOutput<'a>> {
    row.map(|v| ToSqlOutput::Borrowed(bound(v))).collect()
}

fn where_key(table: &Table, shape: &Shape, first: usize) -> String {
    let parts: Vec<String> = shape
        .key
        .iter()
        .enumerate()
        .map(|(n, i)| {
            let column = quoted(&shape.columns[*i]);
            let collate = match shape.collation(*i) {
                _ if table.rowid_is_key => "",
                Collation::Binary => " collate binary",
                Collation::NoCase => " collate nocase",
                Collation::Rtrim => " collate rtrim",
            };
            format!("{column}{collate} = ?{}", first + n)
        })
        .collect();
    parts.join(" and ")
}

fn key_of<'a>(shape: &Shape, row: &'a Row) -> impl Iterator<Item = &'a cathedral_model::conflict::value::Value> {
    let key = shape.key.clone();
    key.into_iter().filter_map(|i| row.get(i))
}

/// Returns the row that has the key of `like`.
pub(super) fn find(conn: &Connection, table: &Table, shape: &Shape, like: &Row) -> rusqlite::Result<Option<Row>> {
    let sql = format!("select {} from {} where {}", table.column_list(), table.quoted(), where_key(table, shape, 1));
    conn.prepare_cached(&sql)?
        .query_row(params_from_iter(bind(key_of(shape, like))), |r| cells(r, shape.columns.len()))
        .optional()
}

/// Returns the rowid of the row that has the key of `like`, where it can be read.
pub(super) fn rowid(conn: &Connection, table: &Table, shape: &Shape, like: &Row) -> rusqlite::Result<Option<i64>> {
    let Some(alias) = table.rowid.filter(|_| !table.rowid_is_key) else { return Ok(None) };
    let sql = format!("select {alias} from {} where {}", table.quoted(), where_key(table, shape, 1));
    conn.prepare_cached(&sql)?.query_row(params_from_iter(bind(key_of(shape, like))), |r| r.get(0)).optional()
}

pub(super) fn delete(conn: &Connection, table: &Table, shape: &Shape, like: &Row) -> rusqlite::Result<usize> {
    let sql = format!("delete from {} where {}", table.quoted(), where_key(table, shape, 1));
    conn.prepare_cached(&sql)?.execute(params_from_iter(bind(key_of(shape, like))))
}

/// Changes the columns that differ.
pub(super) fn update(
    conn: &Connection,
    table: &Table,
    shape: &Shape,
    before: &Row,
    after: &Row,
) -> rusqlite::Result<usize> {
    let changed: Vec<usize> = (0..after.len()).filter(|i| before.get(*i) != after.get(*i)).collect();
    let sets: Vec<String> =
        changed.iter().enumerate().map(|(n, i)| format!("{} = ?{}", quoted(&shape.columns[*i]), n + 1)).collect();
    // The table's own conflict clauses could remove other rows: they do not apply here.
    let sql = format!(
        "update or abort {} set {} where {}",
        table.quoted(),
        sets.join(", "),
        where_key(table, shape, changed.len() + 1)
    );
    let values = changed.iter().map(|i| &after[*i]).chain(key_of(shape, before));
    conn.prepare_cached(&sql)?.execute(params_from_iter(bind(values)))
}

pub(super) fn insert(conn: &Connection, table: &Table, row: &Row, rowid: Option<i64>) -> rusqlite::Result<usize> {
    let alias = rowid.and(table.rowid);
    let names = match alias {
        Some(alias) => format!("{alias}, {}", table.column_list()),
        None => table.column_list(),
    };
    let places = vec!["?"; row.len() + usize::from(alias.is_some())].join(", ");
    let sql = format!("insert or abort into {} ({names}) values ({places})", table.quoted());
    let mut values = bind(row.iter());
    if alias.is_some() {
        values.insert(0, ToSqlOutput::Owned(rowid.unwrap_or_default().into()));
    }
    conn.prepare_cached(&sql)?.execute(params_from_iter(values))
}

/// Where the rows of a table without key stand: rowids by hash of the row.
pub(super) fn places(conn: &Connection, table: &Table, shape: &Shape) -> rusqlite::Result<BTreeMap<Key, Vec<i64>>> {
    let mut out: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    // Without a name for the rowid they can be counted, no more.
    let alias = table.rowid.unwrap_or("0");
    let n = shape.columns.len();
    let mut found = conn.prepare(&format!("select {}, {alias} from {}", table.column_list(), table.quoted()))?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        out.entry(shape.key_of(&cells(row, n)?)).or_default().push(row.get(n)?);
    }
    Ok(out)
}

pub(super) fn delete_at(conn: &Connection, table: &Table, rowid: i64) -> rusqlite::Result<usize> {
    let alias = table.rowid.unwrap_or("rowid");
    conn.prepare_cached(&format!("delete from {} where {alias} = ?1", table.quoted()))?.execute([rowid])
}
