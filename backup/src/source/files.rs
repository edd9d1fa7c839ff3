//! Walking the tree of a part and reading its files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use std::io::{self, Read};
use std::sync::Arc;

use crate::list;
use crate::tree::{self, DEPTH, Line, Piece};
use crate::vault::Reader;

/// Sees a tree as it is walked.
pub(crate) trait Walker {
    /// Sees an entry; a file comes with its content, which need not be read.
    fn entry(&mut self, entry: &TreeEntry, line: &Line, content: Option<FileReader<'_>>) -> Result<(), PortError>;

    /// Says whether the walk goes into a folder.
    fn enter(&mut self, _path: &[u8]) -> bool {
        true
    }

    /// Sees the chunk of a folder or of a part of one.
    fn node(&mut self, _id: &Digest, _path: &[u8]) {}

    /// Sees that a folder has ended, all its entries visited.
    fn leave(&mut self, _path: &[u8]) -> Result<(), PortError> {
        Ok(())
    }
}

struct Level {
    path: Vec<u8>,
    lines: std::vec::IntoIter<Line>,
    last: Option<Vec<u8>>,
    /// Parts of a split folder continue the folder above.
    is_part: bool,
}

/// Walks a tree in the order in which it was written: parents first, siblings by name.
pub(crate) fn walk(reader: &mut Reader, root: Digest, walker: &mut dyn Walker) -> Result<(), PortError> {
    let mut levels = vec![level(reader, root, Vec::new(), false, walker)?];
    while let Some(top) = levels.last_mut() {
        let Some(line) = top.lines.next() else {
            let done = levels.pop();
            match (done, levels.last_mut()) {
                (Some(done), Some(above)) if done.is_part => above.last = done.last,
                (Some(done), _) => walker.leave(&done.path)?,
                (None, _) => {}
            }
            continue;
        };
        let corrupt =
            |why: &str| PortError::Corrupt(format!("tree at {:?}: {why}", String::from_utf8_lossy(&top.path)));
        if let Line::Part { tree } = line {
            if top.is_part {
                return Err(corrupt("a part of a folder is split again"));
            }
            let (path, last) = (top.path.clone(), top.last.clone());
            let mut part = level(reader, tree, path, true, walker)?;
            part.last = last;
            levels.push(part);
            continue;
        }
        let (name, mode, mtime) = facts(&line).ok_or_else(|| corrupt("an entry has no safe name or no valid mode"))?;
        if top.last.as_ref().is_some_and(|last| *last >= name) {
            return Err(corrupt("entries are not sorted"));
        }
        let path = if top.path.is_empty() { name.clone() } else { [&top.path, b"/".as_slice(), &name].concat() };
        let kind = kind(&line).ok_or_else(|| corrupt("a link has no valid target"))?;
        top.last = Some(name);
        let entry = TreeEntry { path, kind, mode, mtime_ns: mtime };
        match &line {
            Line::File { s, b3, c, cl, .. } => {
                let content = FileReader::new(reader, &entry.path, *s, *b3, c.as_deref(), *cl);
                walker.entry(&entry, &line, Some(content))?;
            }
            Line::Dir { tree, .. } => {
                walker.entry(&entry, &line, None)?;
                if walker.enter(&entry.path) {
                    if levels.len() > DEPTH {
                        return Err(PortError::Corrupt("tree is deeper than any tree may be".into()));
                    }
                    levels.push(level(reader, *tree, entry.path, false, walker)?);
                }
            }
            Line::Link { .. } | Line::Part { .. } => walker.entry(&entry, &line, None)?,
        }
    }
    Ok(())
}

fn level(
    reader: &mut Reader,
    id: Digest,
    path: Vec<u8>,
    is_part: bool,
    walker: &mut dyn Walker,
) -> Result<Level, PortError> {
    walker.node(&id, &path);
    let at = || format!("path {:?}", String::from_utf8_lossy(&path));
    let frame = reader.chunk(&id).map_err(|e| named(e, &at()))?;
    let lines = tree::from_frame(&frame).map_err(|why| PortError::Corrupt(format!("tree {id}: {why}; {}", at())))?;
    Ok(Level { path, lines: lines.into_iter(), last: None, is_part })
}

fn facts(line: &Line) -> Option<(Vec<u8>, u32, i64)> {
    let (name, mode, mtime) = match line {
        Line::File { name, m, mt, .. } | Line::Dir { name, m, mt, .. } => (name, tree::parse_mode(m)?, mt),
        Line::Link { name, mt, .. } => (name, 0o777, mt),
        Line::Part { .. } => return None,
    };
    Some((name.raw()?, mode, mtime.parse().ok()?))
}

fn kind(line: &Line) -> Option<EntryKind> {
    Some(match line {
        Line::File { s, .. } => EntryKind::File { size: *s },
        Line::Dir { .. } | Line::Part { .. } => EntryKind::Dir,
        Line::Link { to, .. } => EntryKind::Symlink { target: STANDARD.decode(to).ok()? },
    })
}

/// Adds to a finding of damage what needs the damaged thing.
pub(crate) fn named(error: PortError, what: &str) -> PortError {
    match error {
        PortError::Corrupt(message) => PortError::Corrupt(format!("{message}; {what}")),
        other => other,
    }
}

/// The content of a file: fails at its end when size or hash differ.
pub(crate) struct FileReader<'a> {
    reader: &'a mut Reader,
    path: String,
    size: u64,
    b3: Digest,
    pieces: Vec<Piece>,
    list: Option<Digest>,
    next: usize,
    chunk: Option<(Arc<Vec<u8>>, usize, usize)>,
    hasher: blake3::Hasher,
    seen: u64,
    is_done: bool,
}

impl<'a> FileReader<'a> {
    fn new(
        reader: &'a mut Reader,
        path: &[u8],
        size: u64,
        b3: Digest,
        pieces: Option<&[Piece]>,
        list: Option<Digest>,
    ) -> Self {
        Self {
            reader,
            path: String::from_utf8_lossy(path).into_owned(),
            size,
            b3,
            pieces: pieces.unwrap_or_default().to_vec(),
            list,
            next: 0,
            chunk: None,
            hasher: blake3::Hasher::new(),
            seen: 0,
            is_done: false,
        }
    }

    /// Returns the pieces of the content, read from their list if they stand in one.
    pub(crate) fn pieces(&mut self, node: &mut dyn FnMut(&Digest)) -> Result<&[Piece], PortError> {
        if let Some(root) = self.list.take() {
            let pieces = &mut self.pieces;
            list::visit(self.reader, &root, node, &mut |_, m| {
                pieces.push(Piece(m.id, 0, m.n));
                Ok(())
            })?;
        }
        Ok(&self.pieces)
    }

    /// Returns size and hash that the content must have.
    pub(crate) fn expected(&self) -> (u64, Digest) {
        (self.size, self.b3)
    }

    fn more(&mut self) -> Result<bool, PortError> {
        self.pieces(&mut |_| {})?;
        let Some(Piece(id, offset, len)) = self.pieces.get(self.next).copied() else {
            if self.seen != self.size || self.hasher.finalize().as_bytes() != &self.b3.0 {
                return Err(PortError::Corrupt("content does not match its hash".into()));
            }
            return Ok(false);
        };
        self.next += 1;
        let bytes = self.reader.chunk(&id)?;
        let end = offset.checked_add(len).filter(|end| *end <= bytes.len() as u64);
        let end = end.ok_or_else(|| PortError::Corrupt(format!("piece lies outside chunk {id}")))?;
        let (start, end) = (offset as usize, end as usize);
        self.hasher.update(&bytes[start..end]);
        self.seen += len;
        self.chunk = Some((bytes, start, end));
        Ok(true)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((bytes, start, end)) = &mut self.chunk
                && start < end
            {
                let n = (*end - *start).min(buf.len());
                buf[..n].copy_from_slice(&bytes[*start..*start + n]);
                *start += n;
                return Ok(n);
            }
            if self.is_done || buf.is_empty() {
                return Ok(0);
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) => self.is_done = true,
                Err(e) => return Err(io::Error::other(named(e, &format!("path {:?}", self.path)))),
            }
        }
    }
}

/// Gives a port's visitor what the walk sees.
pub(crate) struct Visitor<'a, 'b>(pub &'a mut cathedral_model::ports::vault::EntryVisitor<'b>);

impl Walker for Visitor<'_, '_> {
    fn entry(&mut self, entry: &TreeEntry, _: &Line, content: Option<FileReader<'_>>) -> Result<(), PortError> {
        match content {
            Some(mut content) => (self.0)(entry, Some(&mut content)),
            None => (self.0)(entry, None),
        }
    }
}
