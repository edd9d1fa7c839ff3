//! Looking into a snapshot without restoring it.

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::vault::{EntryKind, Source as _, TreeEntry};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::PartKey;
use std::io::{self, Write};

use super::LocalVault;
use crate::cell;
use crate::source::PartSource;
use crate::source::files::{self, FileReader, Walker};
use crate::tree::Line;

/// Where the hub keeps what no side shows any more.
const OWN_REFS: &str = "refs/cathedral/";

impl LocalVault {
    /// Lists what lies directly below a folder of a file tree (the empty path is the top), the refs of
    /// a repository at or below a name, or the tables of a database at or below a name, the latter two as
    /// files. Refs that the hub keeps for itself are not listed; `cat` gives them. Blocking.
    pub fn ls(&self, id: &SnapshotId, key: &PartKey, path: &[u8]) -> Result<Vec<TreeEntry>, PortError> {
        let mut source = PartSource::open(&self.inner, id, key)?;
        let item = |name: &str, size| TreeEntry {
            path: name.into(),
            kind: EntryKind::File { size },
            mode: 0o444,
            mtime_ns: 0,
        };
        let (part, reader) = source.parts();
        if let Some(tree) = part.tree {
            let mut look = Look { path, found: Vec::new(), exact: None };
            files::walk(reader, tree, &mut look)?;
            return match look.exact {
                _ if path.is_empty() => Ok(look.found),
                None => Err(not_found(id, key, path)),
                Some(exact) if exact.kind == EntryKind::Dir => Ok(look.found),
                Some(exact) => Ok(vec![exact]),
            };
        }
        let found: Vec<TreeEntry> = if part.git.is_some() {
            let refs = source.git_refs()?.refs;
            let shown = refs.iter().filter(|r| !path.is_empty() || !r.name.starts_with(OWN_REFS));
            shown.map(|r| item(&r.name, 0)).collect()
        } else {
            source.schema()?.1.iter().map(|t| item(&t.name, t.rows)).collect()
        };
        if path.is_empty() {
            return Ok(found);
        }
        let below: Vec<TreeEntry> = found.into_iter().filter(|entry| leads_to(path, &entry.path)).collect();
        if below.is_empty() { Err(not_found(id, key, path)) } else { Ok(below) }
    }

    /// Writes a file's content; of a repository, the object id of a ref; of a database, the rows of a
    /// table as JSON arrays, one a line. Blocking. What was written is whole only when this succeeds; a
    /// reader that closed its pipe has had enough, which is no failure.
    pub fn cat(&self, id: &SnapshotId, key: &PartKey, path: &[u8], out: &mut dyn Write) -> Result<(), PortError> {
        let mut out = Pipe { out, is_closed: false };
        let copied = self.copy(id, key, path, &mut out);
        if out.is_closed { Ok(()) } else { copied }
    }

    fn copy(&self, id: &SnapshotId, key: &PartKey, path: &[u8], out: &mut dyn Write) -> Result<(), PortError> {
        let mut source = PartSource::open(&self.inner, id, key)?;
        let writing = |e: io::Error| match e.downcast::<PortError>() {
            Ok(port) => port,
            Err(e) => PortError::io("output", &e),
        };
        let (part, reader) = source.parts();
        if let Some(tree) = part.tree {
            let mut copy = Copy { path, out, result: None };
            files::walk(reader, tree, &mut copy)?;
            return copy.result.ok_or_else(|| not_found(id, key, path))?.map_err(writing);
        }
        let name = String::from_utf8_lossy(path).into_owned();
        if part.git.is_some() {
            let refs = source.git_refs()?;
            let one = refs.refs.iter().find(|r| r.name == name).ok_or_else(|| not_found(id, key, path))?;
            return writeln!(out, "{}", one.oid).map_err(writing);
        }
        source.rows(&name, &mut |row| {
            let mut line = String::from("[");
            for value in &row {
                cell::write(value, &mut line);
                line.push(',');
            }
            line.pop();
            line.push_str("]\n");
            out.write_all(line.as_bytes()).map_err(writing)
        })
    }
}

/// Remembers that nobody reads any more.
struct Pipe<'a> {
    out: &'a mut dyn Write,
    is_closed: bool,
}

impl Pipe<'_> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.is_closed |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }
}

fn not_found(id: &SnapshotId, key: &PartKey, path: &[u8]) -> PortError {
    let path = String::from_utf8_lossy(path);
    PortError::failed(
        Cause::NotFound,
        format!("snapshot {id}, spoke {} ({}): no {path:?}", key.spoke, key.side.as_str()),
    )
}

fn leads_to(folder: &[u8], path: &[u8]) -> bool {
    path == folder || (path.starts_with(folder) && path.get(folder.len()) == Some(&b'/'))
}

struct Look<'a> {
    path: &'a [u8],
    found: Vec<TreeEntry>,
    exact: Option<TreeEntry>,
}

impl Walker for Look<'_> {
    fn entry(&mut self, entry: &TreeEntry, _: &Line, _: Option<FileReader<'_>>) -> Result<(), PortError> {
        let parent = entry.path.iter().rposition(|b| *b == b'/').map_or(&[][..], |at| &entry.path[..at]);
        if entry.path == self.path {
            self.exact = Some(entry.clone());
        } else if parent == self.path {
            self.found.push(entry.clone());
        }
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> bool {
        leads_to(path, self.path)
    }
}

struct Copy<'a> {
    path: &'a [u8],
    out: &'a mut dyn Write,
    result: Option<io::Result<()>>,
}

impl Walker for Copy<'_> {
    fn entry(&mut self, entry: &TreeEntry, _: &Line, content: Option<FileReader<'_>>) -> Result<(), PortError> {
        if entry.path == self.path {
            self.result = Some(match (content, &entry.kind) {
                (Some(mut content), _) => io::copy(&mut content, self.out).map(|_| ()),
                (None, EntryKind::Symlink { target }) => self.out.write_all(target),
                (None, _) => Err(io::Error::other(PortError::failed(
                    Cause::Invalid,
                    format!("{:?} is a folder, which has no content of its own", String::from_utf8_lossy(self.path)),
                ))),
            });
        }
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> bool {
        leads_to(path, self.path) && self.result.is_none()
    }
}
