//! Reading rows in the order of their keys, and the digest of a database.

use std::collections::BTreeMap;

use cathedral_model::conflict::rows::{Counted, Key, Shape, TableRows};
use cathedral_model::conflict::value::{Collation, Row, Value, write_row};
use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use cathedral_model::ports::PortError;
use rusqlite::types::ValueRef;

use super::catalog::{Catalog, Table};
use super::name::quoted;
use super::open::{Reading, fail};

/// Returns a cell as it is stored.
pub(super) fn value(from: ValueRef<'_>) -> Value {
    match from {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Real(x) => Value::Real(x),
        ValueRef::Text(t) => Value::text(t),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

/// Returns a cell for binding.
pub(super) fn bound(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Int(n) => ValueRef::Integer(*n),
        Value::Real(x) => ValueRef::Real(*x),
        Value::Text(t) => ValueRef::Text(t.as_bytes()),
        Value::RawText(t) => ValueRef::Text(t),
        Value::Blob(b) => ValueRef::Blob(b),
    }
}

/// Reads the first `columns` cells of a result row.
pub(super) fn cells(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Row> {
    (0..columns).map(|i| row.get_ref(i).map(value)).collect()
}

impl Reading {
    /// Visits the rows of a table in the order of their keys; equal rows of a table without key follow one
    /// another. `shape` may have another key than the table itself.
    pub fn scan(
        &self,
        table: &Table,
        shape: &Shape,
        utf8: bool,
        visit: &mut dyn FnMut(Key, Row) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let sorted = utf8 && !shape.key.is_empty();
        let mut sql = format!("select {} from {}", table.column_list(), table.quoted());
        if sorted {
            let order: Vec<String> = shape
                .key
                .iter()
                .map(|i| format!("{} collate {}", quoted(&shape.columns[*i]), collation_name(shape.collation(*i))))
                .collect();
            // Without the collation words a plain integer key is read in its own order.
            let plain: Vec<String> = shape.key.iter().map(|i| quoted(&shape.columns[*i])).collect();
            sql += " order by ";
            sql += &if table.rowid_is_key { plain.join(", ") } else { order.join(", ") };
        }
        let fail = |e: rusqlite::Error| fail(&self.path, &e);
        let mut found = self.conn.prepare(&sql).map_err(fail)?;
        let mut rows = found.query([]).map_err(fail)?;
        let mut last: Option<Key> = None;
        let mut unsorted: BTreeMap<Key, Counted> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(fail)? {
            let row = cells(row, shape.columns.len()).map_err(fail)?;
            let key = shape.key_of(&row);
            if !sorted {
                unsorted.entry(key).or_insert(Counted { row, count: 0 }).count += 1;
                continue;
            }
            if last.as_ref().is_some_and(|l| *l >= key) {
                let (path, name) = (self.path.display(), table.name());
                return Err(PortError::Corrupt(format!(
                    "database {path} is damaged: the key of table {name:?} is out of order or not unique"
                )));
            }
            last = Some(key.clone());
            visit(key, row)?;
        }
        for (key, counted) in unsorted {
            for _ in 0..counted.count {
                visit(key.clone(), counted.row.clone())?;
            }
        }
        Ok(())
    }

    /// Digests the whole database.
    pub fn digest(&self, catalog: &Catalog) -> Result<SideState, PortError> {
        let mut digest = DatabaseDigest::new(catalog);
        for table in catalog.tables.values() {
            let mut rows = TableDigest::default();
            self.scan(table, &table.shape, catalog.is_utf8(), &mut |key, row| {
                rows.add(&key, &row);
                Ok(())
            })?;
            digest.table(table, rows);
        }
        Ok(digest.finish())
    }

    /// Loads a table, telling its digest by the table's own key on the way.
    pub fn load(&self, catalog: &Catalog, table: &Table, shape: &Shape) -> Result<(TableRows, TableDigest), PortError> {
        let (mut out, mut digest) = (TableRows::new(), TableDigest::default());
        let mut keep = |key: Key, row: Row| {
            out.entry(key).or_insert(Counted { row, count: 0 }).count += 1;
        };
        let same = shape.key == table.shape.key;
        self.scan(table, &table.shape, catalog.is_utf8(), &mut |key, row| {
            digest.add(&key, &row);
            let key = if same { key } else { shape.key_of(&row) };
            keep(key, row);
            Ok(())
        })?;
        Ok((out, digest))
    }
}

impl Catalog {
    /// In other encodings SQLite orders text by other bytes than ours.
    pub fn is_utf8(&self) -> bool {
        self.settings.encoding == "UTF-8"
    }
}

fn collation_name(collation: Collation) -> &'static str {
    match collation {
        Collation::Binary => "binary",
        Collation::NoCase => "nocase",
        Collation::Rtrim => "rtrim",
    }
}

/// The digest of one table's rows in the order of their keys.
#[derive(Default)]
pub(super) struct TableDigest {
    hasher: blake3::Hasher,
    rows: u64,
    buffer: Vec<u8>,
}

impl TableDigest {
    pub fn add(&mut self, key: &[u8], row: &Row) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&(key.len() as u64).to_be_bytes());
        self.buffer.extend_from_slice(key);
        write_row(row, &mut self.buffer);
        self.hasher.update(&self.buffer);
        self.rows += 1;
    }
}

/// The digest of a database: its schema, facts beside it, and all rows. How pages lie does not matter.
pub(super) struct DatabaseDigest {
    hasher: blake3::Hasher,
    tables: u64,
    rows: u64,
}

impl DatabaseDigest {
    pub fn new(catalog: &Catalog) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"cathedral sqlite v1\n");
        let settings = &catalog.settings;
        let facts = format!("{} {} {}", settings.encoding, settings.user_version, settings.application_id);
        part(&mut hasher, facts.as_bytes());
        for (name, seq) in &settings.sequences {
            part(&mut hasher, name.as_bytes());
            part(&mut hasher, &seq.to_be_bytes());
        }
        let mut objects: Vec<_> = catalog.objects.iter().collect();
        objects.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        for object in objects {
            part(&mut hasher, object.kind.as_bytes());
            part(&mut hasher, object.name.as_bytes());
            part(&mut hasher, object.sql.as_bytes());
        }
        Self { hasher, tables: 0, rows: 0 }
    }

    pub fn table(&mut self, table: &Table, rows: TableDigest) {
        part(&mut self.hasher, table.name().as_bytes());
        part(&mut self.hasher, table.sql.as_bytes());
        part(&mut self.hasher, table.key_names().join("\0").as_bytes());
        part(&mut self.hasher, &rows.rows.to_be_bytes());
        part(&mut self.hasher, rows.hasher.finalize().as_bytes());
        self.tables += 1;
        self.rows += rows.rows;
    }

    pub fn finish(self) -> SideState {
        let position = format!("{}, {}", counted(self.tables, "table"), counted(self.rows, "row"));
        SideState { digest: Digest(*self.hasher.finalize().as_bytes()), position, items: self.rows }
    }
}

/// Returns the state of a side whose file is missing.
pub(super) fn missing() -> SideState {
    SideState { digest: Digest::of(b"cathedral sqlite missing"), position: "missing".into(), items: 0 }
}

fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

/// Returns a number with thousands parted, and its noun.
pub(super) fn counted(n: u64, noun: &str) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    format!("{out} {noun}{}", if n == 1 { "" } else { "s" })
}
