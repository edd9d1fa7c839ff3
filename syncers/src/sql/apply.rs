//! Carrying a plan out on one side, in one transaction.
//!
//! The plan is noted in the database itself, in the same transaction as the rows, so after a crash it is either
//! there or not (see the module of the marker). Before that, every row is read again: one that has moved on since the plan is
//! left alone. Rows are written with triggers and cascades off, and foreign keys are verified before the commit.
//! A row that the database refuses is left out, and the rest is tried again from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cathedral_model::conflict::rows::{Key, Shape};
use cathedral_model::conflict::value::Row;
use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Digest, Fence};
use cathedral_model::plan::Skipped;
use cathedral_model::ports::{Cause, PortError};
use rusqlite::{Connection, ErrorCode, params};

use super::catalog::{self, Catalog, Table};
use super::draft::{place, target};
use super::form::plain;
use super::marker;
use super::name::quoted;
use super::objects;
use super::open::{fail, writing};
use super::payload::{RowWrite, Step};
use super::write;

/// After so many refused rows the plan itself is wrong.
const MOST_REFUSED: usize = 50;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The spoke's name: one row of the marker for each pair.
    pub pair: String,
    /// Run and plan: applying it again is known by it.
    pub sync: String,
    pub fence: Fence,
}

/// What became of one side.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Positions of the row writes that are in place now.
    pub carried: BTreeSet<usize>,
    pub skipped: Vec<Skipped>,
}

/// A row that refers to nothing: its table, its rowid where it has one, and which of the table's links it is.
type Orphan = (String, Option<i64>, i64);

/// How often each is reported.
type Orphans = BTreeMap<Orphan, u64>;

/// Why an attempt ended.
enum Stop {
    /// The database does not take this row.
    Refused(usize, String),
    Failed(PortError),
}

/// Carries out the steps of one side.
pub(super) fn side(path: &Path, side: Side, steps: &[Step], token: &Token) -> Result<Outcome, PortError> {
    let mut conn = writing(path)?;
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    loop {
        let tx =
            conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(|e| fail(path, &e))?;
        let mut attempt = Attempt {
            conn: &tx,
            path,
            side,
            steps,
            refused: &refused,
            tables: BTreeMap::new(),
            outcome: Outcome::default(),
            wrote: false,
        };
        match attempt.run(token) {
            Ok(()) => {
                let (outcome, wrote) = (attempt.outcome, attempt.wrote);
                if wrote {
                    tx.commit().map_err(|e| fail(path, &e))?;
                } else {
                    tx.rollback().map_err(|e| fail(path, &e))?;
                }
                return Ok(outcome);
            }
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Refused(at, why)) => {
                if refused.len() >= MOST_REFUSED || refused.insert(at, why.clone()).is_some() {
                    return Err(PortError::permanent(format!("database {} refuses the plan: {why}", path.display())));
                }
            }
        }
    }
}

struct Attempt<'a> {
    conn: &'a Connection,
    path: &'a Path,
    side: Side,
    steps: &'a [Step],
    refused: &'a BTreeMap<usize, String>,
    /// The tables whose rows may be written, with the shape of the plan.
    tables: BTreeMap<&'a str, (Table, Shape)>,
    outcome: Outcome,
    wrote: bool,
}

/// A row write that is still to be done.
struct Todo<'a> {
    at: usize,
    write: &'a RowWrite,
    rowid: Option<i64>,
}

impl<'a> Attempt<'a> {
    fn run(&mut self, token: &Token) -> Result<(), Stop> {
        let last = marker::read(self.conn, &token.pair).map_err(|e| self.failed(&e))?;
        let mut replay = false;
        if let Some((noted_in, sync, fence)) = last {
            if fence > token.fence {
                let name = self.path.display();
                return Err(Stop::Failed(PortError::Fenced(format!(
                    "database {name} was synced under fence {fence}, this is {}; if the hub's own state was lost, \
                     delete the row of {} from table {noted_in}",
                    token.fence, token.pair
                ))));
            }
            replay = sync == token.sync;
        }
        if !replay {
            self.create_tables()?;
        }
        self.check_shapes()?;
        let todo = self.look()?;
        if replay {
            // Applied before: what stands otherwise now was changed since, and belongs to the next plan.
            for item in todo {
                self.skip(&self.target(item.write), "the row was changed back since");
            }
            return Ok(());
        }
        let touched: BTreeSet<&str> = todo.iter().map(|t| t.write.table.as_str()).collect();
        let before = self.orphans(&touched)?;
        self.carry_out(&todo)?;
        self.raise_sequences()?;
        self.make_objects()?;
        if self.wrote {
            self.verify(&todo, &touched, &before)?;
            marker::write(self.conn, token).map_err(|e| self.failed(&e))?;
        }
        Ok(())
    }

    fn failed(&self, error: &rusqlite::Error) -> Stop {
        Stop::Failed(fail(self.path, error))
    }

    fn skip(&mut self, target: &str, why: impl Into<String>) {
        self.outcome.skipped.push(Skipped { target: plain(target, 400), why: why.into() });
    }

    /// The row as conflicts name it.
    fn target(&self, write: &RowWrite) -> String {
        let row = write.after.as_ref().or(write.before.as_ref()).map(|cells| &cells.0);
        self.tables.get(write.table.as_str()).map_or_else(|| write.table.clone(), |(_, shape)| target(shape, row))
    }

    fn catalog(&self) -> Result<Catalog, Stop> {
        catalog::read(self.conn).map_err(|e| self.failed(&e))
    }

    fn create_tables(&mut self) -> Result<(), Stop> {
        let mine = self.steps.iter().filter_map(|s| match s {
            Step::CreateTable { side, table, statements } if *side == self.side => Some((table, statements)),
            _ => None,
        });
        let mine: Vec<_> = mine.collect();
        if mine.is_empty() {
            return Ok(());
        }
        let have = self.catalog()?;
        for (table, statements) in mine {
            if have.tables.contains_key(&table.to_ascii_lowercase()) {
                continue;
            }
            marker::make_room(self.conn, statements).map_err(|e| self.failed(&e))?;
            for sql in statements {
                // `execute` refuses more than one statement in a text.
                self.conn.execute(sql, []).map_err(|e| self.failed(&e))?;
            }
            self.wrote = true;
        }
        Ok(())
    }

    fn make_objects(&mut self) -> Result<(), Stop> {
        for step in self.steps {
            match step {
                Step::CreateObject { side, object } if *side == self.side => {
                    let have = self.catalog()?;
                    match objects::make(self.conn, object, &have).map_err(|e| self.failed(&e))? {
                        Ok(wrote) => self.wrote |= wrote,
                        Err(why) => self.skip(&format!("{} {}", object.kind, object.name), why),
                    }
                }
                Step::Number { side, name, from, to } if *side == self.side => {
                    match objects::set(self.conn, name, *from, *to).map_err(Stop::Failed)? {
                        Some(wrote) => self.wrote |= wrote,
                        None => self.skip(name, "it has changed since it was planned"),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_shapes(&mut self) -> Result<(), Stop> {
        let made: BTreeSet<&str> = self
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::CreateTable { side, table, .. } if *side == self.side => Some(table.as_str()),
                _ => None,
            })
            .collect();
        let mut catalog = self.catalog()?;
        for step in self.steps {
            let Step::Shape { side, table: name, columns, key, sql } = step else { continue };
            if *side != self.side {
                continue;
            }
            let found = catalog.tables.remove(&name.to_ascii_lowercase());
            match found {
                Some(table) if table.shape.columns == *columns || same_names(&table.shape.columns, columns) => {
                    if !made.contains(name.as_str()) && Digest::of(table.sql.as_bytes()) != *sql {
                        self.skip(name, "the table was altered since it was planned");
                        continue;
                    }
                    let shape = Shape { key: key.clone(), ..table.shape.clone() };
                    self.tables.insert(name, (table, shape));
                }
                _ => self.skip(name, "the table was altered or dropped since it was planned"),
            }
        }
        Ok(())
    }

    /// Reads every row that is to be written, and leaves out what is done already or has moved on.
    fn look(&mut self) -> Result<Vec<Todo<'a>>, Stop> {
        let mut todo = Vec::new();
        let mut places: BTreeMap<&str, BTreeMap<Key, Vec<i64>>> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let Step::Write(write) = step else { continue };
            if write.side != self.side {
                continue;
            }
            let Some((table, shape)) = self.tables.get(write.table.as_str()) else { continue };
            let target = self.target(write);
            if let Some(why) = self.refused.get(&at) {
                self.skip(&target, format!("the database refuses it: {why}"));
                continue;
            }
            if shape.key.is_empty() {
                if !places.contains_key(write.table.as_str()) {
                    let all = write::places(self.conn, table, shape).map_err(|e| self.failed(&e))?;
                    places.insert(&write.table, all);
                }
                let key = hex::decode(&write.key).unwrap_or_default();
                let now = places[write.table.as_str()].get(&key).map_or(0, Vec::len) as u64;
                if now == write.counts.1 {
                    self.outcome.carried.insert(at);
                } else if now == write.counts.0 && table.rowid.is_none() && write.counts.0 > write.counts.1 {
                    self.skip(&target, "rowid, _rowid_ and oid are all columns here: equal rows cannot be told apart");
                } else if now == write.counts.0 {
                    todo.push(Todo { at, write, rowid: None });
                } else {
                    self.skip(&target, "the rows have changed since they were planned");
                }
                continue;
            }
            let Some(like) = write.before.as_ref().or(write.after.as_ref()) else { continue };
            let now = write::find(self.conn, table, shape, &like.0).map_err(|e| self.failed(&e))?;
            if now.as_ref() == write.after.as_ref().map(|c| &c.0) {
                self.outcome.carried.insert(at);
            } else if now.as_ref() == write.before.as_ref().map(|c| &c.0) {
                let rowid = write::rowid(self.conn, table, shape, &like.0).map_err(|e| self.failed(&e))?;
                todo.push(Todo { at, write, rowid });
            } else {
                self.skip(&target, "the row has changed since it was planned");
            }
        }
        Ok(todo)
    }

    /// Deletes first, so that unique values are free; then updates, then inserts.
    fn carry_out(&mut self, todo: &[Todo<'a>]) -> Result<(), Stop> {
        let mut back = Vec::new();
        for item in todo {
            let (table, shape) = &self.tables[item.write.table.as_str()];
            if shape.key.is_empty() {
                continue;
            }
            let (before, after) = (&item.write.before, &item.write.after);
            if let Some(before) = before
                && after.as_ref().is_none_or(|a| moves_unique(table, shape, &before.0, &a.0))
            {
                self.tell(item.at, write::delete(self.conn, table, shape, &before.0))?;
                back.push(item);
            }
        }
        self.carry_out_counts(todo)?;
        for item in todo {
            let (table, shape) = &self.tables[item.write.table.as_str()];
            if let (Some(before), Some(after)) = (&item.write.before, &item.write.after)
                && !shape.key.is_empty()
                && !moves_unique(table, shape, &before.0, &after.0)
            {
                self.tell(item.at, write::update(self.conn, table, shape, &before.0, &after.0))?;
            }
        }
        for item in todo {
            let (table, shape) = &self.tables[item.write.table.as_str()];
            let is_back = back.iter().any(|b| b.at == item.at);
            if let Some(after) = &item.write.after
                && !shape.key.is_empty()
                && (item.write.before.is_none() || is_back)
            {
                self.tell(item.at, write::insert(self.conn, table, &after.0, item.rowid))?;
            }
        }
        for item in todo {
            self.outcome.carried.insert(item.at);
            self.wrote = true;
        }
        Ok(())
    }

    fn carry_out_counts(&self, todo: &[Todo<'a>]) -> Result<(), Stop> {
        let mut places: BTreeMap<&str, BTreeMap<Key, Vec<i64>>> = BTreeMap::new();
        for removing in [true, false] {
            for item in todo {
                let (table, shape) = &self.tables[item.write.table.as_str()];
                let (had, shall) = item.write.counts;
                if !shape.key.is_empty() || (had > shall) != removing {
                    continue;
                }
                if removing {
                    let name = item.write.table.as_str();
                    if !places.contains_key(name) {
                        let all = write::places(self.conn, table, shape).map_err(|e| self.failed(&e))?;
                        places.insert(name, all);
                    }
                    let key = hex::decode(&item.write.key).unwrap_or_default();
                    let at = places.get(name).and_then(|p| p.get(&key)).map_or(&[][..], Vec::as_slice);
                    for rowid in at.iter().rev().take((had - shall) as usize) {
                        self.tell(item.at, write::delete_at(self.conn, table, *rowid))?;
                    }
                } else if let Some(row) = &item.write.after {
                    for _ in had..shall {
                        self.tell(item.at, write::insert(self.conn, table, &row.0, None))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// One row of the table must have been touched.
    fn tell(&self, at: usize, result: rusqlite::Result<usize>) -> Result<(), Stop> {
        match result {
            Ok(1) => Ok(()),
            Ok(n) => Err(Stop::Refused(at, format!("{n} rows were touched instead of one"))),
            Err(e) => match e.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                    Err(Stop::Refused(at, e.to_string()))
                }
                _ => Err(self.failed(&e)),
            },
        }
    }

    fn raise_sequences(&mut self) -> Result<(), Stop> {
        for step in self.steps {
            let Step::Sequence { side, table, to, .. } = step else { continue };
            if *side != self.side {
                continue;
            }
            let raised = self
                .conn
                .execute("update sqlite_sequence set seq = ?2 where name = ?1 and seq < ?2", params![table, to])
                .map_err(|e| self.failed(&e))?;
            let there: bool = self
                .conn
                .query_row("select exists(select 1 from sqlite_sequence where name = ?1)", [table], |r| r.get(0))
                .map_err(|e| self.failed(&e))?;
            if !there {
                self.conn
                    .execute("insert into sqlite_sequence (name, seq) values (?1, ?2)", params![table, to])
                    .map_err(|e| self.failed(&e))?;
            }
            if raised > 0 || !there {
                self.wrote = true;
            }
        }
        Ok(())
    }

    /// Rows that refer to nothing, in and around the touched tables: (child table, rowid, link) -> how many.
    fn orphans(&self, touched: &BTreeSet<&str>) -> Result<Orphans, Stop> {
        let mut out = BTreeMap::new();
        if touched.is_empty() {
            return Ok(out);
        }
        let near = |name: &str| touched.iter().any(|t| t.eq_ignore_ascii_case(name));
        let tables = self.catalog()?.tables;
        for table in tables.values() {
            let tied = near(table.name()) || table.shape.foreign.iter().any(|f| near(&f.parent));
            if table.shape.foreign.is_empty() || !tied {
                continue;
            }
            let sql = format!("pragma foreign_key_check({})", quoted(table.name()));
            let found = self.conn.prepare(&sql).and_then(|mut found| {
                let mut rows = found.query([])?;
                while let Some(row) = rows.next()? {
                    // Of a table that is not there nobody can say what it should hold.
                    if !tables.contains_key(&row.get::<_, String>(2)?.to_ascii_lowercase()) {
                        continue;
                    }
                    *out.entry((table.name().to_owned(), row.get(1)?, row.get(3)?)).or_insert(0) += 1;
                }
                Ok(())
            });
            match found {
                // A parent without a unique key makes the check itself impossible; SQLite never enforces it then.
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::Unknown) => {}
                other => other.map_err(|e| self.failed(&e))?,
            }
        }
        Ok(out)
    }

    fn verify(&self, todo: &[Todo<'a>], touched: &BTreeSet<&str>, before: &Orphans) -> Result<(), Stop> {
        for item in todo {
            let (table, shape) = &self.tables[item.write.table.as_str()];
            let like = item.write.after.as_ref().or(item.write.before.as_ref());
            let Some(like) = like.filter(|_| !shape.key.is_empty()) else { continue };
            let now = write::find(self.conn, table, shape, &like.0).map_err(|e| self.failed(&e))?;
            if now.as_ref() != item.write.after.as_ref().map(|c| &c.0) {
                return Err(Stop::Refused(item.at, "the row reads back differently".to_owned()));
            }
        }
        for (orphan, count) in self.orphans(touched)? {
            if before.get(&orphan).copied().unwrap_or_default() < count {
                self.allow(todo, &orphan)?;
            }
        }
        for name in touched {
            let sql = format!("pragma integrity_check({})", quoted(name));
            let mut found = self.conn.prepare(&sql).map_err(|e| self.failed(&e))?;
            let mut rows = found.query([]).map_err(|e| self.failed(&e))?;
            while let Some(row) = rows.next().map_err(|e| self.failed(&e))? {
                let text: String = row.get(0).map_err(|e| self.failed(&e))?;
                // What the application let in against its own declarations is not damage.
                let declared = [" value in ", "CHECK constraint failed"].iter().any(|p| text.contains(p));
                if text != "ok" && !declared {
                    let name = self.path.display();
                    return Err(Stop::Failed(PortError::Corrupt(format!("database {name} is damaged: {text}"))));
                }
            }
        }
        Ok(())
    }

    /// Lets an orphan be that was one before an answer which is taken back. Of another the write is refused that
    /// made it: of the child itself, else of the parent that was removed or changed.
    fn allow(&self, todo: &[Todo<'a>], orphan: &Orphan) -> Result<(), Stop> {
        let lost = self.lost(orphan)?;
        let is = |item: &Todo<'_>, table: &str| item.write.table.eq_ignore_ascii_case(table);
        let by_child = todo.iter().find(|t| {
            is(t, &lost.child) && lost.row.is_some() && t.write.after.as_ref().map(|c| &c.0) == lost.row.as_ref()
        });
        if by_child.is_some_and(|t| t.write.dangles.iter().any(|link| same_names(link, &lost.columns))) {
            return Ok(());
        }
        let held = |item: &Todo<'_>| {
            let (_, shape) = &self.tables[item.write.table.as_str()];
            let columns = lost.parent_columns.iter().map(|name| shape.columns.iter().position(|c| c == name));
            let cells = |i: Option<usize>| item.write.before.as_ref().and_then(|c| c.0.get(i?)).cloned();
            columns.map(cells).collect::<Option<Row>>()
        };
        let parents = || todo.iter().filter(|t| is(t, &lost.parent) && t.write.before.is_some());
        let by_parent = || {
            let exact = parents().find(|t| lost.refers.is_some() && held(t) == lost.refers);
            exact.or_else(|| parents().next())
        };
        let any = || todo.iter().find(|t| is(t, &lost.child));
        let why = format!("{} would refer to no row of {}", lost.shown, plain(&lost.parent, 120));
        Err(match by_child.or_else(by_parent).or_else(any).or(todo.first()) {
            Some(item) => Stop::Refused(item.at, why),
            None => Stop::Failed(PortError::failed(Cause::Refused, why)),
        })
    }

    /// Reads what is known of an orphan.
    fn lost(&self, (child, rowid, link): &Orphan) -> Result<Lost, Stop> {
        let catalog = self.catalog()?;
        let mut out = Lost {
            child: child.clone(),
            shown: format!("a row of {}", plain(child, 120)),
            row: None,
            columns: vec![],
            parent: String::new(),
            parent_columns: vec![],
            refers: None,
        };
        let Some(table) = catalog.tables.get(&child.to_ascii_lowercase()) else { return Ok(out) };
        let sql = format!("pragma foreign_key_list({})", quoted(child));
        let mut own: Vec<(String, Option<String>)> = Vec::new();
        let mut listed = || {
            let mut found = self.conn.prepare(&sql)?;
            let mut rows = found.query([])?;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(0)? == *link {
                    out.parent = row.get(2)?;
                    own.push((row.get(3)?, row.get(4)?));
                }
            }
            Ok(())
        };
        listed().map_err(|e| self.failed(&e))?;
        out.columns = own.iter().map(|(from, _)| from.clone()).collect();
        if let Some(parent) = catalog.tables.get(&out.parent.to_ascii_lowercase()) {
            let keys = parent.key_names();
            out.parent_columns =
                own.iter().enumerate().filter_map(|(n, (_, to))| to.clone().or_else(|| keys.get(n).cloned())).collect();
        }
        if let (Some(rowid), Some(alias)) = (rowid, table.rowid) {
            let sql = format!("select {} from {} where {alias} = ?1", table.column_list(), table.quoted());
            out.row = self.conn.query_row(&sql, [rowid], |r| super::scan::cells(r, table.shape.columns.len())).ok();
        }
        if let Some(row) = &out.row {
            let shape = self.tables.get(table.name()).map_or(&table.shape, |(_, shape)| shape);
            out.shown = place(shape, Some(row));
            let at = |name: &str| table.shape.columns.iter().position(|c| c.eq_ignore_ascii_case(name));
            out.refers = own.iter().map(|(from, _)| row.get(at(from)?).cloned()).collect();
        }
        Ok(out)
    }
}

/// What is known of a row that would refer to nothing.
struct Lost {
    child: String,
    shown: String,
    row: Option<Row>,
    /// The columns that refer.
    columns: Vec<String>,
    parent: String,
    parent_columns: Vec<String>,
    refers: Option<Row>,
}

fn same_names(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Updates that give a unique value away are done by delete and insert, so that values can be swapped.
fn moves_unique(table: &Table, shape: &Shape, before: &Row, after: &Row) -> bool {
    let moved = |columns: &[usize]| columns.iter().any(|i| before.get(*i) != after.get(*i));
    table.odd_unique
        || shape.uniques.iter().any(|u| moved(u))
        || (shape.key != table.shape.key && moved(&table.shape.key))
}
