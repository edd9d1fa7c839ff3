//! Whether a table takes a row that no side held.

use std::cell::RefCell;
use std::collections::BTreeMap;

use cathedral_model::conflict::value::Row;

use super::catalog::Table;

/// Tries merged rows against the table's own checks, in memory.
pub(super) struct Checker<'a> {
    tables: &'a BTreeMap<String, [Option<Table>; 2]>,
    scratch: std::cell::OnceCell<Option<rusqlite::Connection>>,
    made: RefCell<BTreeMap<String, bool>>,
}

impl<'a> Checker<'a> {
    pub fn new(tables: &'a BTreeMap<String, [Option<Table>; 2]>) -> Self {
        Self { tables, scratch: std::cell::OnceCell::new(), made: RefCell::default() }
    }

    /// Returns what the engine says against the row; a table that cannot be made here is not checked.
    pub fn check(&self, table: &str, row: &Row) -> Option<String> {
        let open = || {
            let conn = rusqlite::Connection::open_in_memory().ok()?;
            conn.execute_batch("pragma foreign_keys = off; pragma trusted_schema = off;").ok().map(|()| conn)
        };
        let conn = self.scratch.get_or_init(open).as_ref()?;
        let table = self.tables.get(table)?.iter().flatten().next()?;
        let made = *self
            .made
            .borrow_mut()
            .entry(table.name().to_owned())
            .or_insert_with(|| conn.execute(&table.sql, []).is_ok());
        if !made {
            return None;
        }
        let error = super::write::insert(conn, table, row, None).err();
        let _ = conn.execute(&format!("delete from {}", table.quoted()), []);
        error.map(|e| e.to_string())
    }
}
