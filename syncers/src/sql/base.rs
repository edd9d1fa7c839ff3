//! The agreed state: all rows on which both sides agree, as JSON lines in the content store.
//!
//! A line `{"table":…,"columns":[…]}` begins a table, each row follows as an array (repeated for equal rows of
//! a table without key), `{"end":LINES}` ends the file. Tables are sorted by name in lower case. Before them a line
//! `{"schema":…}` holds what is no table; what was written before it was kept has none.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Seek, Write};

use cathedral_model::conflict::rows::{Counted, Shape, TableRows};
use cathedral_model::conflict::value::{Row, Value};
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Content, PortError};
use serde::{Deserialize, Serialize};

use super::form::Cells;
use super::objects::Agreed;

const FORMAT: &str = "cathedral sqlite base v1";

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Schema { schema: Agreed },
    Row(Cells),
    Table { table: String, columns: Vec<String> },
    End { end: u64 },
    Format { format: String },
}

/// One table of the agreed state, as it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct BaseTable {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

impl BaseTable {
    /// Returns the rows by the key and in the columns of `shape`. What a column held that has come since is
    /// taken from the sides: it was not agreed on, and it was not changed either.
    pub fn fitted(&self, shape: &Shape, hub: &TableRows, spoke: &TableRows) -> TableRows {
        let from: Vec<Option<usize>> =
            shape.columns.iter().map(|c| self.columns.iter().position(|b| b.eq_ignore_ascii_case(c))).collect();
        let mut out = TableRows::new();
        for old in &self.rows {
            let mut row: Row =
                from.iter().map(|i| i.and_then(|i| old.get(i)).cloned().unwrap_or(Value::Null)).collect();
            let key = shape.key_of(&row);
            for (i, _) in from.iter().enumerate().filter(|(_, f)| f.is_none()) {
                let sides = (hub.get(&key).map(|c| &c.row[i]), spoke.get(&key).map(|c| &c.row[i]));
                row[i] = match sides {
                    (Some(h), Some(s)) if h == s => h.clone(),
                    (Some(one), None) | (None, Some(one)) => one.clone(),
                    _ => Value::Null,
                };
            }
            let key = if shape.key.is_empty() { shape.key_of(&row) } else { key };
            out.entry(key).or_insert(Counted { row, count: 0 }).count += 1;
        }
        out
    }
}

/// Reads the agreed state table by table.
pub(super) struct BaseReader {
    from: BufReader<Box<dyn Read + Send>>,
    lines: u64,
    next: Option<BaseTable>,
    ended: bool,
    schema: Option<Agreed>,
}

impl BaseReader {
    pub fn open(content: &dyn Content, id: &Digest) -> Result<Self, PortError> {
        let mut out =
            Self { from: BufReader::new(content.open(id)?), lines: 0, next: None, ended: false, schema: None };
        match out.line()? {
            Some(Line::Format { format }) if format == FORMAT => {}
            _ => return Err(damaged()),
        }
        out.next = out.begin()?;
        Ok(out)
    }

    fn line(&mut self) -> Result<Option<Line>, PortError> {
        let mut text = Vec::new();
        let n = self.from.read_until(b'\n', &mut text).map_err(|e| PortError::io("the agreed state", &e))?;
        if n == 0 {
            return Ok(None);
        }
        self.lines += 1;
        serde_json::from_slice(&text).map(Some).map_err(|_| damaged())
    }

    fn begin(&mut self) -> Result<Option<BaseTable>, PortError> {
        let mut first = self.line()?;
        if let Some(Line::Schema { schema }) = first {
            self.schema = Some(schema);
            first = self.line()?;
        }
        match first {
            Some(Line::Table { table, columns }) => Ok(Some(BaseTable { name: table, columns, rows: vec![] })),
            Some(Line::End { end }) if end + 1 == self.lines && self.line()?.is_none() => {
                self.ended = true;
                Ok(None)
            }
            _ => Err(damaged()),
        }
    }

    /// Returns the next table, loaded.
    pub fn table(&mut self) -> Result<Option<BaseTable>, PortError> {
        let Some(mut table) = self.next.take() else { return Ok(None) };
        loop {
            match self.line()? {
                Some(Line::Row(Cells(row))) if row.len() == table.columns.len() => table.rows.push(row),
                Some(Line::Table { table: name, columns }) => {
                    self.next = Some(BaseTable { name, columns, rows: vec![] });
                    return Ok(Some(table));
                }
                Some(Line::End { end }) if end + 1 == self.lines && self.line()?.is_none() => {
                    self.ended = true;
                    return Ok(Some(table));
                }
                _ => return Err(damaged()),
            }
        }
    }

    /// Loads all tables, by name in lower case, and what is no table.
    pub fn all(mut self) -> Result<(BTreeMap<String, BaseTable>, Option<Agreed>), PortError> {
        let mut out = BTreeMap::new();
        while let Some(table) = self.table()? {
            out.insert(table.name.to_ascii_lowercase(), table);
        }
        Ok((out, self.schema))
    }
}

fn damaged() -> PortError {
    PortError::Corrupt("the agreed state of the database pair is damaged".to_owned())
}

/// Writes an agreed state.
pub(super) struct BaseWriter {
    file: std::io::BufWriter<std::fs::File>,
    lines: u64,
}

impl BaseWriter {
    pub fn new(dir: &std::path::Path) -> Result<Self, PortError> {
        let file = tempfile::tempfile_in(dir).map_err(|e| PortError::io(dir.display(), &e))?;
        let mut out = Self { file: std::io::BufWriter::new(file), lines: 0 };
        out.line(&Line::Format { format: FORMAT.to_owned() })?;
        Ok(out)
    }

    fn line(&mut self, line: &Line) -> Result<(), PortError> {
        self.lines += 1;
        serde_json::to_writer(&mut self.file, line).map_err(|e| PortError::permanent(format!("agreed state: {e}")))?;
        self.file.write_all(b"\n").map_err(|e| PortError::io("agreed state", &e))
    }

    /// What is no table; comes first.
    pub fn schema(&mut self, agreed: Agreed) -> Result<(), PortError> {
        self.line(&Line::Schema { schema: agreed })
    }

    pub fn table(&mut self, name: &str, columns: &[String]) -> Result<(), PortError> {
        self.line(&Line::Table { table: name.to_owned(), columns: columns.to_vec() })
    }

    pub fn row(&mut self, row: &Row, count: u64) -> Result<(), PortError> {
        let line = Line::Row(Cells(row.clone()));
        (0..count).try_for_each(|_| self.line(&line))
    }

    pub fn finish(mut self, content: &dyn Content) -> Result<Digest, PortError> {
        let end = self.lines;
        self.line(&Line::End { end })?;
        let io = |e: std::io::Error| PortError::io("agreed state", &e);
        let mut file = self.file.into_inner().map_err(|e| io(e.into_error()))?;
        file.rewind().map_err(io)?;
        content.put_from(&mut file).map(|(id, _)| id)
    }
}
