//! Making a new database file: aside, checked, then renamed into place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use cathedral_model::conflict::value::Row;
use cathedral_model::ecosystem::DatabaseSpoke;
use cathedral_model::ports::{Cause, PortError};
use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::apply::Token;
use super::catalog::{self, Catalog, Settings, Table};
use super::marker;
use super::name::is_included;
use super::open::{absolute, beside, creating, fail};
use super::plan::Open;
use super::write;

/// A database file in the making; removed when it is dropped before [`Builder::finish`].
pub(super) struct Builder {
    conn: Option<Connection>,
    path: PathBuf,
    target: PathBuf,
    settings: Settings,
    later: Vec<String>,
    tables: Catalog,
    pub rows: u64,
}

impl Builder {
    /// Begins a file that shall stand at `target`, with all tables but without rows, indexes, views and triggers.
    pub fn new(target: &Path, settings: Settings, statements: &[String]) -> Result<Self, PortError> {
        let target = absolute(target)?;
        let dir = target.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir).map_err(|e| PortError::io(dir.display(), &e))?;
        let path = tempfile::Builder::new()
            .prefix(".cathedral-")
            .suffix(".db")
            .tempfile_in(dir)
            .and_then(|f| f.into_temp_path().keep().map_err(|e| e.error))
            .map_err(|e| PortError::io(dir.display(), &e))?;
        let empty = Catalog::empty(settings.clone());
        let mut out = Self { conn: None, path, target, settings, later: vec![], tables: empty, rows: 0 };
        out.begin(statements)?;
        Ok(out)
    }

    fn begin(&mut self, statements: &[String]) -> Result<(), PortError> {
        let conn = creating(&self.path)?;
        let (now, later): (Vec<&String>, Vec<&String>) = statements.iter().partition(|s| makes_table(s));
        let begin = || {
            // The file is nobody's yet: it is synced once, when it is complete.
            conn.execute_batch("pragma journal_mode = memory; pragma synchronous = off;")?;
            if matches!(self.settings.encoding.as_str(), "UTF-8" | "UTF-16le" | "UTF-16be") {
                conn.execute_batch(&format!("pragma encoding = '{}'", self.settings.encoding))?;
            }
            conn.execute_batch(&format!(
                "pragma page_size = {}; pragma auto_vacuum = {}; pragma foreign_keys = off; \
                 pragma ignore_check_constraints = on; begin;",
                self.settings.page_size, self.settings.auto_vacuum
            ))?;
            for sql in now {
                conn.execute(sql, [])?;
            }
            // Nothing in it is ours yet.
            catalog::read_without(&conn, &[])
        };
        self.tables = begin().map_err(|e| fail(&self.target, &e))?;
        self.later = later.into_iter().cloned().collect();
        self.conn = Some(conn);
        Ok(())
    }

    fn conn(&self) -> Result<&Connection, PortError> {
        self.conn.as_ref().ok_or_else(|| PortError::permanent("the new database was closed already"))
    }

    pub fn table(&self, name: &str) -> Result<Table, PortError> {
        self.tables
            .tables
            .get(&name.to_ascii_lowercase())
            .cloned()
            .ok_or_else(|| PortError::Corrupt(format!("table {name:?} has rows but no definition")))
    }

    pub fn insert(&mut self, table: &Table, row: &Row) -> Result<(), PortError> {
        if row.len() != table.columns.len() {
            return Err(PortError::Corrupt(format!("a row of table {:?} does not fit its columns", table.name())));
        }
        write::insert(self.conn()?, table, row, None).map_err(|e| fail(&self.target, &e))?;
        self.rows += 1;
        Ok(())
    }

    /// Adds indexes, views, triggers and settings, checks everything, and returns the finished file.
    pub fn finish(mut self, token: Option<&Token>) -> Result<Finished, PortError> {
        let conn = self.conn.take().ok_or_else(|| PortError::permanent("the new database was closed already"))?;
        let end = || {
            for sql in &self.later {
                conn.execute(sql, [])?;
            }
            for (name, seq) in &self.settings.sequences {
                conn.execute("delete from sqlite_sequence where name = ?1", [name])?;
                conn.execute("insert into sqlite_sequence (name, seq) values (?1, ?2)", rusqlite::params![name, seq])?;
            }
            conn.execute_batch(&format!(
                "pragma user_version = {}; pragma application_id = {};",
                self.settings.user_version, self.settings.application_id
            ))?;
            if let Some(token) = token {
                marker::write(&conn, token)?;
            }
            conn.execute_batch("commit; pragma ignore_check_constraints = off;")?;
            let mut bad = Vec::new();
            let mut found = conn.prepare("pragma integrity_check")?;
            let mut rows = found.query([])?;
            while let Some(row) = rows.next()? {
                bad.push(row.get::<_, String>(0)?);
            }
            drop(rows);
            drop(found);
            // A parent without a unique key makes the check itself impossible.
            let orphans = conn.prepare("pragma main.foreign_key_check").and_then(|mut found| {
                let mut rows = found.query([])?;
                let mut orphans = 0u64;
                while rows.next()?.is_some() {
                    orphans += 1;
                }
                Ok(orphans)
            });
            let orphans = orphans.unwrap_or(0);
            if self.settings.wal {
                conn.query_row("pragma journal_mode = wal", [], |_| Ok(()))?;
            }
            Ok((bad, orphans))
        };
        let (bad, orphans) = end().map_err(|e| fail(&self.target, &e))?;
        // A snapshot gives back what was there, also what its own declarations forbid.
        let damage = bad.iter().find(|t| *t != "ok" && !t.contains(" value in ") && !t.contains("CHECK constraint"));
        if let Some(text) = damage {
            let name = self.target.display();
            return Err(PortError::Corrupt(format!("the new database for {name} is damaged: {text}")));
        }
        if orphans > 0 {
            tracing::warn!(orphans, database = %self.target.display(), "rows refer to nothing, as they did before");
        }
        conn.close().map_err(|(_, e)| fail(&self.target, &e))?;
        let synced = File::open(&self.path).and_then(|f| f.sync_all());
        synced.map_err(|e| PortError::io(self.path.display(), &e))?;
        let bytes = fs::metadata(&self.path).map_err(|e| PortError::io(self.path.display(), &e))?.len();
        Ok(Finished { builder: self, bytes })
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        drop(self.conn.take());
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

/// A complete new file beside its target.
pub(super) struct Finished {
    builder: Builder,
    pub bytes: u64,
}

impl Finished {
    pub fn path(&self) -> &Path {
        &self.builder.path
    }

    pub fn rows(&self) -> u64 {
        self.builder.rows
    }

    /// Renames the file to its target, where nothing may stand.
    pub fn place(self) -> Result<PathBuf, PortError> {
        let target = self.builder.target.clone();
        let moved = renameat_with(CWD, &self.builder.path, CWD, &target, RenameFlags::NOREPLACE);
        moved.map_err(|e| {
            let e = std::io::Error::from(e);
            if e.kind() == std::io::ErrorKind::AlreadyExists {
                return PortError::failed(Cause::Refused, format!("{} is there already", target.display()));
            }
            PortError::io(target.display(), &e)
        })?;
        let dir = target.parent().unwrap_or(Path::new("/"));
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| PortError::io(dir.display(), &e))?;
        Ok(target)
    }
}

fn makes_table(sql: &str) -> bool {
    let mut words = sql.split_whitespace().map(str::to_ascii_lowercase);
    words.next().as_deref() == Some("create") && words.next().is_some_and(|w| w.starts_with("table"))
}

/// Makes the other side's file from the included tables of this one.
pub(super) fn copy(source: &Open, detail: &DatabaseSpoke, to: &Path, token: &Token) -> Result<u64, PortError> {
    let included = |name: &str| is_included(name, &detail.include, &detail.exclude);
    let catalog = &source.catalog;
    let travels = |t: &&Table| included(t.name()) && t.of_virtual.is_none();
    let tables: Vec<&Table> = catalog.tables.values().filter(travels).collect();
    let table_of = |name: &str| catalog.tables.get(&name.to_ascii_lowercase());
    let objects = catalog.objects.iter().filter(|o| table_of(&o.table).is_none_or(|t| travels(&t)));
    let statements: Vec<String> = tables.iter().map(|t| t.sql.clone()).chain(objects.map(|o| o.sql.clone())).collect();
    let mut settings = catalog.settings.clone();
    settings.sequences.retain(|name, _| included(name));
    let mut builder = Builder::new(to, settings, &statements)?;
    for table in tables {
        let into = builder.table(table.name())?;
        source.reading.scan(table, &table.shape, catalog.is_utf8(), &mut |_, row| builder.insert(&into, &row))?;
    }
    let finished = builder.finish(Some(token))?;
    let rows = finished.rows();
    finished.place().map(|_| rows)
}
