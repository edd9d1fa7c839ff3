//! What a database is made of, read from its own catalog.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::rows::{Foreign, Shape};
use cathedral_model::conflict::value::Collation;
use cathedral_model::ports::PortError;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::form::plain;
use super::marker;
use super::modules::{self, Virtual};
use super::name::{list, quoted};
use super::open::{Reading, fail};

/// One table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub sql: String,
    /// Names, stored columns and keys; generated columns are left out.
    pub shape: Shape,
    pub columns: Vec<Column>,
    /// Names and declared types of generated columns.
    pub generated: Vec<Column>,
    pub strict: bool,
    pub without_rowid: bool,
    pub autoincrement: bool,
    /// A name by which the rowid can be read and set.
    pub rowid: Option<&'static str>,
    /// The key's only column is the rowid itself.
    pub rowid_is_key: bool,
    /// Unique over an expression or a part of the rows: cannot be foreseen from the values alone.
    pub odd_unique: bool,
    /// The virtual table that it may belong to: captured, but never merged.
    pub of_virtual: Option<Virtual>,
}

/// One column as declared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub name: String,
    pub declared: String,
    pub not_null: bool,
    pub default: Option<String>,
}

/// An index, trigger or view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Object {
    pub kind: String,
    pub name: String,
    pub table: String,
    pub sql: String,
}

/// The whole database without our own table.
#[derive(Debug)]
pub(super) struct Catalog {
    /// By name in lower case, as SQLite compares names.
    pub tables: BTreeMap<String, Table>,
    /// In the order in which they were made.
    pub objects: Vec<Object>,
    /// Tables of extensions: neither synced nor captured.
    pub virtuals: Vec<Virtual>,
    /// Views and triggers that need them, and which.
    pub dependent: Vec<(Object, String)>,
    /// All names in use, those of triggers apart: in lower case, with what each is.
    pub taken: BTreeMap<(bool, String), String>,
    pub settings: Settings,
}

/// Facts beside the schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub encoding: String,
    pub page_size: i64,
    pub user_version: i64,
    pub application_id: i64,
    pub wal: bool,
    pub auto_vacuum: i64,
    pub sequences: BTreeMap<String, i64>,
}

impl Settings {
    pub fn to_json(&self) -> serde_json::Value {
        let sequences: BTreeMap<&String, String> = self.sequences.iter().map(|(k, v)| (k, v.to_string())).collect();
        json!({
            "encoding": self.encoding, "page_size": self.page_size, "user_version": self.user_version,
            "application_id": self.application_id, "journal": if self.wal { "wal" } else { "delete" },
            "auto_vacuum": self.auto_vacuum, "sqlite_sequence": sequences,
        })
    }

    pub fn from_json(from: &serde_json::Value) -> Self {
        let int = |name: &str| from[name].as_i64().unwrap_or_default();
        let sequences = from["sqlite_sequence"].as_object().into_iter().flatten();
        Self {
            encoding: from["encoding"].as_str().unwrap_or("UTF-8").to_owned(),
            page_size: int("page_size"),
            user_version: int("user_version"),
            application_id: int("application_id"),
            wal: from["journal"] == "wal",
            auto_vacuum: int("auto_vacuum"),
            sequences: sequences.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.parse().ok()?))).collect(),
        }
    }
}

impl Table {
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    pub fn quoted(&self) -> String {
        quoted(&self.shape.name)
    }

    pub fn column_list(&self) -> String {
        list(&self.shape.columns)
    }

    pub fn key_names(&self) -> Vec<String> {
        self.shape.key.iter().map(|i| self.shape.columns[*i].clone()).collect()
    }
}

impl Catalog {
    pub fn empty(settings: Settings) -> Self {
        let (tables, taken) = (BTreeMap::new(), BTreeMap::new());
        Self { tables, objects: vec![], virtuals: vec![], dependent: vec![], taken, settings }
    }

    /// Returns what is neither synced nor captured, and why.
    pub fn left_out(&self) -> Vec<(&str, String)> {
        let tables = self.virtuals.iter().map(|v| {
            let why = format!("is a virtual table ({}): neither synced nor captured yet", plain(&v.module, 40));
            (v.name.as_str(), why)
        });
        let others = self.dependent.iter().map(|(object, of)| {
            let (kind, of) = (&object.kind, plain(of, 120));
            (
                object.name.as_str(),
                format!("is a {kind} that uses {of:?}, which is left out: neither synced nor captured"),
            )
        });
        tables.chain(others).collect()
    }

    /// Says what is captured but not synced.
    pub fn unsynced(&self) -> Vec<String> {
        let told = |t: &Table| {
            let v = t.of_virtual.as_ref()?;
            let (name, owner, module) = (t.name(), &v.name, plain(&v.module, 40));
            Some(format!(
                "{name:?} may belong to {owner:?} of the module {module}, which is not known here: captured, not synced"
            ))
        };
        self.tables.values().filter_map(told).collect()
    }
}

impl Reading {
    /// Reads the catalog.
    pub fn catalog(&self) -> Result<Catalog, PortError> {
        read(&self.conn).map_err(|e| fail(&self.path, &e))
    }
}

pub(super) fn read(conn: &Connection) -> rusqlite::Result<Catalog> {
    read_without(conn, &marker::find(conn)?)
}

/// Reads the catalog but for the tables named, which are ours.
pub(super) fn read_without(conn: &Connection, ours: &[String]) -> rusqlite::Result<Catalog> {
    let is_ours = |table: &String| ours.iter().any(|own| own.eq_ignore_ascii_case(table));
    let mut catalog = Catalog::empty(settings(conn)?);
    let listed: Vec<Listed> = list_tables(conn)?.into_iter().filter(|l| !is_ours(&l.name)).collect();
    let modules = modules::known(conn)?;
    for virtual_one in listed.iter().filter(|l| l.kind == "virtual") {
        catalog.virtuals.push(Virtual::of(&virtual_one.name, &virtual_one.sql, &modules));
    }
    let mut shadows = BTreeSet::new();
    for one in listed {
        let key = one.name.to_ascii_lowercase();
        let shadow = one.kind == "shadow" && !catalog.virtuals.iter().any(|v| v.spares(&one.name));
        let what = match one.kind.as_str() {
            "shadow" if shadow => "a shadow table",
            "virtual" => "a virtual table",
            _ => "a table",
        };
        catalog.taken.insert((false, key.clone()), format!("{what} named {:?}", one.name));
        if shadow {
            shadows.insert(key);
        } else if one.kind != "virtual" {
            let mut table = table(conn, one.name, one.wr, one.strict, one.sql)?;
            table.of_virtual = catalog.virtuals.iter().find(|v| v.may_own(table.name())).cloned();
            catalog.tables.insert(key, table);
        }
    }
    resolve_foreign(conn, &mut catalog.tables)?;
    let mut found = conn.prepare(
        "select type, name, tbl_name, sql from sqlite_schema where type <> 'table' and sql is not null order by rowid",
    )?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let object = Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? };
        let article = if object.kind == "index" { "an" } else { "a" };
        let what = format!("{article} {} named {:?}", object.kind, object.name);
        catalog.taken.insert((object.kind == "trigger", object.name.to_ascii_lowercase()), what);
        // Indexes of shadow tables come with their virtual table.
        if !is_ours(&object.table) && !shadows.contains(&object.table.to_ascii_lowercase()) {
            catalog.objects.push(object);
        }
    }
    catalog.dependent = modules::take_out_users(&mut catalog.objects, &catalog.virtuals);
    Ok(catalog)
}

/// What SQLite lists as a table of any kind.
struct Listed {
    name: String,
    kind: String,
    wr: bool,
    strict: bool,
    sql: String,
}

/// Lists the tables by name. Pragmas are called as statements here and below: a user's table may have the name
/// of the function that would do the same.
fn list_tables(conn: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let mut definitions: BTreeMap<String, String> = BTreeMap::new();
    let mut found =
        conn.prepare("select name, sql from main.sqlite_schema where type = 'table' and sql is not null")?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        definitions.insert(row.get(0)?, row.get(1)?);
    }
    let mut out = Vec::new();
    let mut found = conn.prepare("pragma main.table_list")?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let (schema, name): (String, String) = (row.get(0)?, row.get(1)?);
        if schema != "main" || name.to_ascii_lowercase().starts_with("sqlite_") {
            continue;
        }
        if let Some(sql) = definitions.remove(&name) {
            out.push(Listed { name, kind: row.get(2)?, wr: row.get(4)?, strict: row.get(5)?, sql });
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn settings(conn: &Connection) -> rusqlite::Result<Settings> {
    let text = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, String>(0));
    let int = |sql: &str| conn.query_row(sql, [], |r| r.get::<_, i64>(0));
    let mut sequences = BTreeMap::new();
    if int("select count(*) from sqlite_schema where name = 'sqlite_sequence'")? > 0 {
        let mut found = conn.prepare("select name, max(seq) from sqlite_sequence group by name")?;
        let mut rows = found.query([])?;
        while let Some(row) = rows.next()? {
            // Anything may stand in this table; only what SQLite itself writes is meant.
            if let (Ok(name), Ok(seq)) = (row.get::<_, String>(0), row.get::<_, i64>(1)) {
                sequences.insert(name, seq);
            }
        }
    }
    Ok(Settings {
        encoding: text("pragma encoding")?,
        page_size: int("pragma page_size")?,
        user_version: int("pragma user_version")?,
        application_id: int("pragma application_id")?,
        wal: text("pragma journal_mode")?.eq_ignore_ascii_case("wal"),
        auto_vacuum: int("pragma auto_vacuum")?,
        sequences,
    })
}

struct Index {
    unique: bool,
    origin: String,
    /// Plain columns only: names and collations; none when partial or over expressions.
    plain: Option<Vec<(String, String)>>,
}

fn indexes(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let mut out = Vec::new();
    let mut found = conn.prepare(&format!("pragma main.index_list({})", quoted(table)))?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let (name, unique, origin, partial): (String, bool, String, bool) =
            (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let mut plain = (!partial).then(Vec::new);
        let mut of = conn.prepare(&format!("pragma main.index_xinfo({})", quoted(&name)))?;
        let mut columns = of.query([])?;
        while let Some(column) = columns.next()? {
            if !column.get::<_, bool>(5)? {
                continue;
            }
            match (column.get::<_, Option<String>>(2)?, &mut plain) {
                (Some(name), Some(all)) => all.push((name, column.get(4)?)),
                _ => plain = None,
            }
        }
        out.push(Index { unique, origin, plain });
    }
    Ok(out)
}

fn collation(name: &str) -> Option<Collation> {
    match name.to_ascii_lowercase().as_str() {
        "binary" => Some(Collation::Binary),
        "nocase" => Some(Collation::NoCase),
        "rtrim" => Some(Collation::Rtrim),
        _ => None,
    }
}

fn table(conn: &Connection, name: String, wr: bool, strict: bool, sql: String) -> rusqlite::Result<Table> {
    let (mut columns, mut generated, mut primary) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = conn.prepare(&format!("pragma main.table_xinfo({})", quoted(&name)))?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let column = Column { name: row.get(1)?, declared: row.get(2)?, not_null: row.get(3)?, default: row.get(4)? };
        let (pk, hidden): (i64, i64) = (row.get(5)?, row.get(6)?);
        if hidden != 0 {
            generated.push(column);
            continue;
        }
        if pk > 0 {
            primary.push((pk, columns.len()));
        }
        columns.push(column);
    }
    primary.sort_unstable();
    let primary: Vec<usize> = primary.into_iter().map(|(_, i)| i).collect();
    let indexes = indexes(conn, &name)?;
    let rowid = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|a| !columns.iter().chain(&generated).any(|c: &Column| c.name.eq_ignore_ascii_case(a)));
    let upper = sql.to_ascii_uppercase();
    let mut out = Table {
        shape: Shape {
            name,
            columns: columns.iter().map(|c| c.name.clone()).collect(),
            collations: vec![Collation::Binary; columns.len()],
            ..Shape::default()
        },
        rowid_is_key: !wr && !primary.is_empty() && !indexes.iter().any(|i| i.origin == "pk"),
        autoincrement: upper.contains("AUTOINCREMENT"),
        rowid: rowid.filter(|_| !wr),
        without_rowid: wr,
        odd_unique: false,
        of_virtual: None,
        sql,
        columns,
        generated,
        strict,
    };
    keys(conn, &mut out, &primary, &indexes)?;
    Ok(out)
}

/// Chooses the key and notes the other unique keys.
fn keys(conn: &Connection, table: &mut Table, primary: &[usize], indexes: &[Index]) -> rusqlite::Result<()> {
    let mut uniques: Vec<Vec<(usize, Collation)>> = Vec::new();
    let mut primary_known = table.rowid_is_key;
    for index in indexes.iter().filter(|i| i.unique) {
        let resolved: Option<Vec<_>> = index
            .plain
            .iter()
            .flatten()
            .map(|(name, coll)| {
                let at = table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name))?;
                Some((at, collation(coll)?))
            })
            .collect();
        match resolved.filter(|r| !r.is_empty()) {
            Some(columns) if index.origin == "pk" => {
                primary_known = true;
                for (i, c) in &columns {
                    table.shape.collations[*i] = *c;
                }
            }
            Some(columns) => uniques.push(columns),
            None => table.odd_unique = true,
        }
    }
    uniques.sort_by(|a, b| a.iter().map(|c| c.0).cmp(b.iter().map(|c| c.0)));
    if primary_known && !primary.is_empty() && !holds_null(conn, table, primary)? {
        table.shape.key = primary.to_vec();
    } else if primary_known && !primary.is_empty() {
        uniques.push(primary.iter().map(|i| (*i, table.shape.collations[*i])).collect());
    }
    let mut set: Vec<bool> = (0..table.columns.len()).map(|i| primary.contains(&i)).collect();
    for columns in uniques {
        // One collation for each column; a second one is not foreseen.
        if columns.iter().any(|(i, c)| set[*i] && table.shape.collations[*i] != *c) {
            table.odd_unique = true;
            continue;
        }
        for (i, c) in &columns {
            set[*i] = true;
            table.shape.collations[*i] = *c;
        }
        let columns: Vec<usize> = columns.into_iter().map(|(i, _)| i).collect();
        if table.shape.key.is_empty() && columns.iter().all(|i| table.columns[*i].not_null) {
            table.shape.key = columns;
        } else if columns != table.shape.key && !table.shape.uniques.contains(&columns) {
            table.shape.uniques.push(columns);
        }
    }
    Ok(())
}

/// A primary key of SQLite may hold NULLs, which are equal to nothing: then it is no key.
fn holds_null(conn: &Connection, table: &Table, key: &[usize]) -> rusqlite::Result<bool> {
    if table.rowid_is_key || table.without_rowid || key.iter().all(|i| table.columns[*i].not_null) {
        return Ok(false);
    }
    let any: Vec<String> = key.iter().map(|i| format!("{} is null", quoted(&table.columns[*i].name))).collect();
    let sql = format!("select exists(select 1 from {} where {})", table.quoted(), any.join(" or "));
    conn.query_row(&sql, [], |r| r.get(0))
}

/// A parent's name, and pairs of own and parent's columns (none: the parent's key).
type Link = (String, Vec<(String, Option<String>)>);

fn resolve_foreign(conn: &Connection, tables: &mut BTreeMap<String, Table>) -> rusqlite::Result<()> {
    let mut all: BTreeMap<String, Vec<Foreign>> = BTreeMap::new();
    for (key, table) in &*tables {
        let mut links: BTreeMap<i64, Link> = BTreeMap::new();
        let mut found = conn.prepare(&format!("pragma main.foreign_key_list({})", table.quoted()))?;
        let mut rows = found.query([])?;
        while let Some(row) = rows.next()? {
            links.entry(row.get(0)?).or_insert((row.get(2)?, vec![])).1.push((row.get(3)?, row.get(4)?));
        }
        for (parent_name, pairs) in links.into_values() {
            let Some(parent) = tables.get(&parent_name.to_ascii_lowercase()) else { continue };
            let at = |t: &Table, name: &str| t.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
            let from: Option<Vec<usize>> = pairs.iter().map(|(from, _)| at(table, from)).collect();
            let to: Option<Vec<usize>> = if pairs.iter().all(|(_, to)| to.is_none()) {
                Some(parent.shape.key.clone()).filter(|k| k.len() == pairs.len())
            } else {
                pairs.iter().map(|(_, to)| to.as_ref().and_then(|t| at(parent, t))).collect()
            };
            if let (Some(columns), Some(parent_columns)) = (from, to) {
                let parent = parent.shape.name.clone();
                all.entry(key.clone()).or_default().push(Foreign { columns, parent, parent_columns });
            }
        }
    }
    for (key, foreign) in all {
        if let Some(table) = tables.get_mut(&key) {
            table.shape.foreign = foreign;
        }
    }
    Ok(())
}
