//! The rows that a plan does not change, where a foreign key leads to them.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::Side;
use cathedral_model::conflict::rows::{Beside, Foreign, Key, Referrer, Shape, TableDiff};
use cathedral_model::conflict::value::{Collation, Value, write_key};
use rusqlite::types::ToSqlOutput;
use rusqlite::{OptionalExtension, params_from_iter};

use super::catalog::Table;
use super::draft::place;
use super::name::quoted;
use super::plan::Open;
use super::scan::{bound, cells, value};

/// Both sides, and how the rows of the tables that take part are identified.
pub(super) struct Sides<'a> {
    hub: &'a Open,
    far: &'a Open,
    shapes: BTreeMap<String, &'a Shape>,
}

impl<'a> Sides<'a> {
    pub fn new(hub: &'a Open, far: &'a Open, diffs: &'a [TableDiff]) -> Self {
        let shapes = diffs.iter().map(|d| (d.shape.name.to_ascii_lowercase(), &d.shape)).collect();
        Self { hub, far, shapes }
    }

    fn side(&self, side: Side) -> &'a Open {
        if side == Side::Hub { self.hub } else { self.far }
    }

    fn table(&self, side: Side, name: &str) -> Option<&'a Table> {
        self.side(side).catalog.tables.get(&name.to_ascii_lowercase())
    }

    /// What cannot be looked up is taken for being in order: it is verified when it is written.
    fn look_up(&self, side: Side, parent: &Table, link: &Foreign, values: &[&Value]) -> rusqlite::Result<Option<Key>> {
        let names: Vec<String> =
            link.parent_columns.iter().filter_map(|i| Some(quoted(parent.shape.columns.get(*i)?))).collect();
        if names.len() != values.len() {
            return Ok(Some(Key::new()));
        }
        let matches: Vec<String> = names.iter().enumerate().map(|(n, name)| format!("{name} = ?{}", n + 1)).collect();
        let sql =
            format!("select {} from {} where {} limit 1", names.join(", "), parent.quoted(), matches.join(" and "));
        let bound = values.iter().map(|v| ToSqlOutput::Borrowed(bound(v)));
        let conn = &self.side(side).reading.conn;
        let row =
            conn.prepare_cached(&sql)?.query_row(params_from_iter(bound), |r| cells(r, names.len())).optional()?;
        Ok(row.map(|row| write_key(row.iter().zip(collations(parent, link)))))
    }

    fn scan(
        &self,
        side: Side,
        child: &Table,
        link: &Foreign,
        values: &BTreeSet<Key>,
    ) -> rusqlite::Result<Vec<Referrer>> {
        let Some(parent) = self.table(side, &link.parent) else { return Ok(vec![]) };
        let shape = self.shapes.get(&child.name().to_ascii_lowercase()).copied().unwrap_or(&child.shape);
        let names: Vec<String> =
            link.columns.iter().filter_map(|i| Some(quoted(child.shape.columns.get(*i)?))).collect();
        if names.len() != link.columns.len() {
            return Ok(vec![]);
        }
        let given: Vec<String> = names.iter().map(|name| format!("{name} is not null")).collect();
        let sql = format!("select {} from {} where {}", child.column_list(), child.quoted(), given.join(" and "));
        let mut found = self.side(side).reading.conn.prepare(&sql)?;
        let mut rows = found.query([])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let refers: rusqlite::Result<Vec<Value>> =
                link.columns.iter().map(|i| row.get_ref(*i).map(value)).collect();
            let to = write_key(refers?.iter().zip(collations(parent, link)));
            if values.contains(&to) {
                let cells = cells(row, child.shape.columns.len())?;
                out.push(Referrer { value: to, key: shape.key_of(&cells), shown: place(shape, Some(&cells)) });
            }
        }
        Ok(out)
    }
}

fn collations<'a>(parent: &'a Table, link: &'a Foreign) -> impl Iterator<Item = Collation> + 'a {
    link.parent_columns.iter().map(|i| parent.shape.collation(*i))
}

impl Beside for Sides<'_> {
    fn parent(&self, side: Side, link: &Foreign, values: &[&Value]) -> Option<Key> {
        match self.table(side, &link.parent) {
            Some(parent) => self.look_up(side, parent, link, values).unwrap_or_else(|error| {
                tracing::debug!(%error, parent = %link.parent, "a reference could not be looked up");
                Some(Key::new())
            }),
            // A table that comes with this plan brings all its rows; one that takes no part is not missed.
            None if self.shapes.contains_key(&link.parent.to_ascii_lowercase()) => None,
            None => Some(Key::new()),
        }
    }

    fn children(&self, side: Side, child: &str, link: &Foreign, values: &BTreeSet<Key>) -> Vec<Referrer> {
        let Some(table) = self.table(side, child) else { return vec![] };
        self.scan(side, table, link, values).unwrap_or_else(|error| {
            tracing::debug!(%error, child, "references could not be looked up");
            vec![]
        })
    }

    fn outside(&self, side: Side) -> Vec<(String, Foreign)> {
        let tables = &self.side(side).catalog.tables;
        let apart = tables.iter().filter(|(name, _)| !self.shapes.contains_key(*name));
        apart.flat_map(|(_, t)| t.shape.foreign.iter().map(|f| (t.name().to_owned(), f.clone()))).collect()
    }
}
