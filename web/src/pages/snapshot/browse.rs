//! Reads parts of a snapshot for people. Blocking.

use std::collections::BTreeMap;
use std::io::Read as _;

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ports::vault::EntryKind;
use cathedral_model::ports::{Cause, PortError, Source};

/// Rows of a table that are shown.
const ROWS: usize = 100;

pub enum Kind {
    Dir,
    File(u64),
    Table(u64),
    Other,
}

pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub more: String,
}

pub enum Found {
    Entries(Vec<Entry>),
    /// Columns and rows of a table.
    Rows(Vec<String>, Vec<Vec<String>>),
}

fn not_found() -> PortError {
    PortError::failed(Cause::NotFound, "the snapshot has nothing there")
}

/// The name of `path` directly below `under`; none when it is elsewhere or deeper.
fn child<'a>(path: &'a [u8], under: &[u8]) -> Option<&'a [u8]> {
    let rest = if under.is_empty() { path } else { path.strip_prefix(under)?.strip_prefix(b"/")? };
    (!rest.is_empty() && !rest.contains(&b'/')).then_some(rest)
}

/// What a part holds below a path.
pub fn list(mut source: Box<dyn Source>, under: &[u8]) -> Result<Found, PortError> {
    match source.kind() {
        SpokeKind::Files => {
            let mut out = vec![];
            let mut is_there = under.is_empty();
            source.entries(&mut |entry, _| {
                is_there |= entry.path == under && entry.kind == EntryKind::Dir;
                if child(&entry.path, under).is_some() {
                    let (kind, more) = match &entry.kind {
                        EntryKind::Dir => (Kind::Dir, String::new()),
                        EntryKind::File { size } => (Kind::File(*size), format!("{:04o}", entry.mode)),
                        EntryKind::Symlink { target } => {
                            (Kind::Other, format!("-> {}", String::from_utf8_lossy(target)))
                        }
                    };
                    out.push(Entry { path: entry.path.clone(), kind, more });
                }
                Ok(())
            })?;
            if !is_there {
                return Err(not_found());
            }
            // Folders first.
            out.sort_by_key(|e| !matches!(e.kind, Kind::Dir));
            Ok(Found::Entries(out))
        }
        SpokeKind::Git => {
            let refs = source.git_refs()?;
            let entry = |r: cathedral_model::ports::vault::GitRef| Entry {
                path: r.name.into_bytes(),
                kind: Kind::Other,
                more: r.oid,
            };
            Ok(Found::Entries(refs.refs.into_iter().map(entry).collect()))
        }
        SpokeKind::Database => {
            let (_, tables) = source.schema()?;
            if under.is_empty() {
                let entry = |t: &cathedral_model::ports::vault::TableInfo| Entry {
                    path: t.name.clone().into_bytes(),
                    kind: Kind::Table(t.rows),
                    more: t.columns.join(", "),
                };
                return Ok(Found::Entries(tables.iter().map(entry).collect()));
            }
            let table = tables.iter().find(|t| t.name.as_bytes() == under).ok_or_else(not_found)?;
            let mut rows = vec![];
            let name = table.name.clone();
            let read = source.rows(&name, &mut |row| {
                if rows.len() >= ROWS {
                    // Enough was seen: the reader is stopped by an error of our own.
                    return Err(PortError::permanent("enough"));
                }
                rows.push(row.iter().map(cell).collect());
                Ok(())
            });
            match read {
                Err(error) if rows.len() < ROWS => Err(error),
                _ => Ok(Found::Rows(table.columns.clone(), rows)),
            }
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(n) => n.to_string(),
        Value::Real(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("blob of {} bytes", bytes.len()),
        Value::RawText(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Int(n) => (*n).into(),
        Value::Real(n) => (*n).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) | Value::RawText(bytes) => serde_json::json!({ "hex": hex::encode(bytes) }),
    }
}

/// One file's bytes (one more than `most` when it is larger), or a table as JSON lines.
pub fn read(mut source: Box<dyn Source>, path: &[u8], most: usize) -> Result<Option<Vec<u8>>, PortError> {
    match source.kind() {
        SpokeKind::Git => Ok(None),
        SpokeKind::Files => {
            let mut found = None;
            source.entries(&mut |entry, content| {
                if entry.path == path
                    && let Some(content) = content
                {
                    let mut bytes = vec![];
                    content.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|e| PortError::io("the file", &e))?;
                    found = Some(bytes);
                }
                Ok(())
            })?;
            Ok(found)
        }
        SpokeKind::Database => {
            let (_, tables) = source.schema()?;
            let Some(table) = tables.iter().find(|t| t.name.as_bytes() == path) else { return Ok(None) };
            let name = table.name.clone();
            let mut out = vec![];
            let read = source.rows(&name, &mut |row| {
                let cells: Vec<_> = row.iter().map(json).collect();
                serde_json::to_writer(&mut out, &cells).map_err(|e| PortError::permanent(e.to_string()))?;
                out.push(b'\n');
                if out.len() > most { Err(PortError::permanent("enough")) } else { Ok(()) }
            });
            if out.len() <= most {
                read?;
            }
            Ok(Some(out))
        }
    }
}

/// What differs between two parts of one spoke: class, word, what, detail.
pub fn compare(
    from: Box<dyn Source>,
    to: Box<dyn Source>,
) -> Result<Vec<(&'static str, &'static str, String, String)>, PortError> {
    let (old, new) = (facts(from)?, facts(to)?);
    let mut out = vec![];
    for (name, was) in &old {
        match new.get(name) {
            None => out.push(("bad", "removed", name.clone(), was.0.clone())),
            Some(is) if is != was => out.push((
                "warn",
                "changed",
                name.clone(),
                if is.0 == was.0 { is.0.clone() } else { format!("{} → {}", was.0, is.0) },
            )),
            Some(_) => {}
        }
    }
    for (name, is) in &new {
        if !old.contains_key(name) {
            out.push(("ok", "added", name.clone(), is.0.clone()));
        }
    }
    out.sort_by(|a, b| a.2.cmp(&b.2));
    Ok(out)
}

/// By name: what is shown of a thing, and what else tells that it changed.
fn facts(mut source: Box<dyn Source>) -> Result<BTreeMap<String, (String, i64)>, PortError> {
    let mut out = BTreeMap::new();
    match source.kind() {
        SpokeKind::Git => {
            for r in source.git_refs()?.refs {
                out.insert(r.name, (r.oid.chars().take(12).collect(), 0));
            }
        }
        SpokeKind::Database => {
            for t in source.schema()?.1 {
                let mut sum = 0_i64;
                let name = t.name.clone();
                source.rows(&name, &mut |row| {
                    let text = serde_json::to_vec(&row.iter().map(json).collect::<Vec<_>>()).unwrap_or_default();
                    let digest = cathedral_model::ids::Digest::of(&text);
                    sum = sum.wrapping_add(i64::from_le_bytes(digest.0[..8].try_into().unwrap_or_default()));
                    Ok(())
                })?;
                out.insert(t.name, (format!("{} rows", t.rows), sum));
            }
        }
        SpokeKind::Files => source.entries(&mut |entry, _| {
            let (shown, stamp) = match &entry.kind {
                EntryKind::File { size } => (super::size(*size), entry.mtime_ns ^ i64::try_from(*size).unwrap_or(0)),
                EntryKind::Dir => return Ok(()),
                EntryKind::Symlink { target } => (format!("-> {}", String::from_utf8_lossy(target)), 0),
            };
            out.insert(String::from_utf8_lossy(&entry.path).into_owned(), (shown, stamp));
            Ok(())
        })?,
    }
    Ok(out)
}
