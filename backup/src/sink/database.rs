//! Databases: rows to leaves cut by their keys, tables to lists of leaves, all to the root.

use cathedral_model::canonical;
use cathedral_model::conflict::value::Value;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{DatabaseSchema, TableInfo};
use serde::{Deserialize, Serialize};

use super::{Context, Outcome};
use crate::cell;
use crate::index::Kind;
use crate::list::{ListWriter, Member};
use crate::manifest::{DatabasePart, Table};
use crate::merkle::Merkle;
use crate::root::{self, Leaf};

/// One row in so many ends a leaf.
const ONE_IN: u32 = 256;
/// A leaf ends at this many rows, or this many bytes, at the latest.
const ROWS_MAX: u64 = 4_096;
const BYTES_MAX: usize = 1 << 20;

/// The chunk of a schema, one line.
#[derive(Serialize, Deserialize)]
pub(crate) struct SchemaLine {
    pub engine: String,
    pub statements: Vec<String>,
    pub settings: serde_json::Value,
}

/// A database part that is being received.
#[derive(Default)]
pub(crate) struct Database {
    schema: Option<(DatabaseSchema, Digest, Leaf)>,
    open: Option<Open>,
    tables: Vec<Table>,
    leaves: Vec<Leaf>,
    rows: u64,
    bytes: u64,
}

struct Open {
    info: TableInfo,
    merkle: Merkle,
    list: ListWriter,
    columns: Vec<String>,
    rows: u64,
    size: usize,
}

impl Database {
    pub(crate) fn schema(&mut self, context: &Context, schema: &DatabaseSchema) -> Result<(), PortError> {
        let line = SchemaLine {
            engine: schema.engine.clone(),
            statements: schema.statements.clone(),
            settings: schema.settings.clone(),
        };
        let text = canonical::to_string(&line).map_err(|e| context.refuse(format!("schema: {e}")))? + "\n";
        let leaf = root::schema(&context.hashes, schema, text.as_bytes())?;
        let id = context.put(Kind::Schema, text.into_bytes())?;
        self.schema = Some((schema.clone(), id, leaf));
        Ok(())
    }

    pub(crate) fn table(&mut self, context: &Context, table: &TableInfo) -> Result<(), PortError> {
        self.close_table(context)?;
        if self.schema.is_none() {
            return Err(context.refuse("the schema must come before the first table"));
        }
        if table.columns.is_empty() {
            return Err(context.refuse(format!("table {} has no columns", table.name)));
        }
        if self.tables.last().is_some_and(|last| last.n >= table.name) {
            return Err(context.refuse(format!("table {} is not sorted behind the one before", table.name)));
        }
        self.open = Some(Open {
            columns: vec![String::new(); table.columns.len()],
            info: table.clone(),
            merkle: Merkle::new(),
            list: ListWriter::default(),
            rows: 0,
            size: 0,
        });
        Ok(())
    }

    pub(crate) fn row(&mut self, context: &Context, key: &[u8], cells: &[Value]) -> Result<(), PortError> {
        let open = self.open.as_mut().ok_or_else(|| context.refuse("a row came before its table"))?;
        if cells.len() != open.columns.len() {
            let table = &open.info.name;
            return Err(context.refuse(format!("a row of {table} has {} cells", cells.len())));
        }
        let mut text = String::from("[");
        for (column, value) in open.columns.iter_mut().zip(cells) {
            let start = text.len();
            cell::write(value, &mut text);
            if !column.is_empty() {
                column.push(',');
            }
            column.push_str(&text[start..]);
            text.push(',');
        }
        text.pop();
        text.push(']');
        open.merkle.push(root::row(&context.hashes, &open.info.name, &text));
        open.rows += 1;
        open.size += text.len();
        self.rows += 1;
        self.bytes += text.len() as u64;
        if open.rows >= ROWS_MAX || open.size >= BYTES_MAX || context.hashes.cuts_after(key, ONE_IN) {
            open.close_leaf(context)?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, context: &Context) -> Result<Outcome, PortError> {
        self.close_table(context)?;
        let (schema, id, leaf) = self.schema.take().ok_or_else(|| context.refuse("no schema was given"))?;
        let mut merkle = Merkle::new();
        merkle.push(leaf);
        self.leaves.drain(..).for_each(|leaf| merkle.push(leaf));
        let database = DatabasePart { engine: schema.engine, schema: id, tables: std::mem::take(&mut self.tables) };
        Ok(Outcome {
            root: Some(merkle.root()),
            database: Some(database),
            items: self.rows,
            bytes: self.bytes,
            ..Outcome::default()
        })
    }

    fn close_table(&mut self, context: &Context) -> Result<(), PortError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.close_leaf(context)?;
        let (rows, root) = (open.merkle.count(), open.merkle.root());
        let TableInfo { name, columns, key, .. } = open.info;
        self.leaves.push(root::table(&context.hashes, &name, &columns, &key, rows, &root)?);
        let leaves = open.list.finish(context)?;
        self.tables.push(Table { n: name, columns, key, root, rows: rows.to_string(), leaves });
        Ok(())
    }
}

impl Open {
    /// Stores the rows since the last leaf: one JSON line for each column.
    fn close_leaf(&mut self, context: &Context) -> Result<(), PortError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut frame = String::with_capacity(self.size + 64 * self.columns.len());
        for (name, cells) in self.info.columns.iter().zip(&mut self.columns) {
            frame.push_str("{\"c\":");
            cell::string(name, &mut frame);
            frame.push_str(",\"v\":[");
            frame.push_str(cells);
            frame.push_str("]}\n");
            cells.clear();
        }
        let n = std::mem::take(&mut self.rows);
        self.size = 0;
        let id = context.put(Kind::Leaf, frame.into_bytes())?;
        self.list.push(context, Member { id, n })
    }
}
