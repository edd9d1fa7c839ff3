//! File trees: files to chunks, directories to tree nodes, both to the root.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{EntryKind, Stamp, TreeEntry};
use std::collections::BTreeMap;
use std::io::Read;

use super::{Context, Outcome};
use crate::cut;
use crate::index::Kind;
use crate::list::{ListWriter, Member};
use crate::merkle::Merkle;
use crate::root::{self, Leaf};
use crate::tree::{self, INLINE_CHUNKS, Line, Name, PART, Piece};
use crate::vault::{Cached, FileCache};

/// A tree that is being received.
///
/// Folders are closed as late as needed to accept both orders in which parents come before children
/// and siblings are sorted: a walk, and the order of whole paths.
pub(crate) struct Files {
    open: BTreeMap<Vec<u8>, Folder>,
    cache: Option<FileCache>,
    items: u64,
    bytes: u64,
}

#[derive(Default)]
struct Folder {
    bits: u32,
    mtime_ns: i64,
    /// The place in the parent that this folder fills when it is closed.
    place: usize,
    last: Vec<u8>,
    slots: Vec<Slot>,
    group: Vec<u8>,
    grouped: Vec<Grouped>,
}

#[derive(Default)]
struct Slot {
    line: Option<String>,
    leaf: Option<Leaf>,
}

/// A small file whose group has no id yet.
struct Grouped {
    place: usize,
    offset: u64,
    facts: Facts,
    stamp: Option<Stamp>,
}

#[derive(Clone)]
struct Facts {
    path: Vec<u8>,
    mode: u32,
    mtime_ns: i64,
    size: u64,
    b3: Digest,
}

impl Files {
    pub(crate) fn new(cache: Option<FileCache>) -> Self {
        Self { open: BTreeMap::from([(Vec::new(), Folder::default())]), cache, items: 0, bytes: 0 }
    }

    pub(crate) fn unchanged(&mut self, context: &Context, entry: &TreeEntry, stamp: &Stamp) -> Result<bool, PortError> {
        let (Some(cache), Some(store)) = (&self.cache, &context.store) else { return Ok(false) };
        let EntryKind::File { size } = entry.kind else { return Ok(false) };
        let Some(cached) = cache.find(&entry.path, stamp).filter(|c| c.stamp.size == size).cloned() else {
            return Ok(false);
        };
        if !cached.pieces.iter().all(|p| store.has(&p.0)) {
            return Ok(false);
        }
        let place = self.slot(context, entry)?;
        let facts = Facts::new(entry, size, cached.b3);
        self.count(size);
        self.fill(context, place, &facts, Some(stamp), cached.pieces)?;
        Ok(true)
    }

    pub(crate) fn entry(
        &mut self,
        context: &Context,
        entry: &TreeEntry,
        stamp: Option<&Stamp>,
        content: Option<&mut dyn Read>,
    ) -> Result<(), PortError> {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        match &entry.kind {
            EntryKind::File { .. } => {
                let content = content.ok_or_else(|| context.refuse(format!("file {} has no content", shown())))?;
                self.file(context, entry, stamp, content)
            }
            EntryKind::Symlink { target } => {
                let place = self.slot(context, entry)?;
                let leaf = root::link(&context.hashes, &entry.path, target)?;
                let name = Name::new(last(&entry.path));
                let line = Line::Link { name, mt: entry.mtime_ns.to_string(), to: STANDARD.encode(target) };
                self.set(&entry.path, place, Slot { line: Some(tree::to_line(&line)?), leaf: Some(leaf) });
                Ok(())
            }
            EntryKind::Dir => {
                let place = self.slot(context, entry)?;
                if entry.path.iter().filter(|b| **b == b'/').count() + 1 > tree::DEPTH {
                    return Err(context.refuse(format!("{} lies too deep", shown())));
                }
                let folder = Folder { bits: entry.mode, mtime_ns: entry.mtime_ns, place, ..Folder::default() };
                self.open.insert(entry.path.clone(), folder);
                Ok(())
            }
        }
    }

    pub(crate) fn finish(&mut self, context: &Context) -> Result<Outcome, PortError> {
        while self.open.len() > 1 {
            let path = self.open.keys().next_back().cloned().unwrap_or_default();
            self.close(context, &path)?;
        }
        self.close_group(context, b"")?;
        let folder = self.open.remove(&Vec::new()).unwrap_or_default();
        let (tree, root) = self.seal(context, folder)?;
        if let (Some(cache), Some(store)) = (self.cache.take(), &context.store) {
            crate::vault::lock(&store.caches).push(cache.into_file());
        }
        Ok(Outcome { root: Some(root), tree: Some(tree), items: self.items, bytes: self.bytes, ..Outcome::default() })
    }

    fn file(
        &mut self,
        context: &Context,
        entry: &TreeEntry,
        stamp: Option<&Stamp>,
        content: &mut dyn Read,
    ) -> Result<(), PortError> {
        let failed = |e: std::io::Error| PortError::io(String::from_utf8_lossy(&entry.path), &e);
        let head = cut::read_up_to(content, cut::SMALL).map_err(failed)?;
        if head.len() < cut::SMALL {
            let place = self.slot(context, entry)?;
            let facts = Facts::new(entry, head.len() as u64, Digest::of(&head));
            self.count(facts.size);
            return self.small(context, place, facts, stamp, &head);
        }
        let mut hasher = blake3::Hasher::new();
        let (mut size, mut pieces) = (0u64, Vec::new());
        let content = head.as_slice().chain(content);
        if context.store.is_some() {
            cut::chunks(content, context.hashes.gear_seed(), |chunk| {
                hasher.update(&chunk);
                let len = chunk.len() as u64;
                size += len;
                pieces.push(Piece(context.put(Kind::Data, chunk).map_err(std::io::Error::other)?, 0, len));
                Ok::<(), std::io::Error>(())
            })
            .map_err(|e| match e.downcast::<PortError>() {
                Ok(port) => port,
                Err(e) => failed(e),
            })?;
        } else {
            size = std::io::copy(&mut { content }, &mut hasher).map_err(failed)?;
        }
        let place = self.slot(context, entry)?;
        let facts = Facts::new(entry, size, Digest(*hasher.finalize().as_bytes()));
        self.count(size);
        self.fill(context, place, &facts, stamp, pieces)
    }

    fn small(
        &mut self,
        context: &Context,
        place: usize,
        facts: Facts,
        stamp: Option<&Stamp>,
        content: &[u8],
    ) -> Result<(), PortError> {
        let Some(store) = &context.store else { return self.fill(context, place, &facts, None, vec![]) };
        if content.is_empty() {
            return self.fill(context, place, &facts, stamp, vec![]);
        }
        if let Some(piece) = store.small(&facts.b3) {
            return self.fill(context, place, &facts, stamp, vec![piece]);
        }
        let leaf = root::file(&context.hashes, &facts.path, facts.mode, facts.size, &facts.b3)?;
        let above = parent(&facts.path).to_vec();
        let Some(folder) = self.open.get_mut(&above) else { return Ok(()) };
        folder.slots[place].leaf = Some(leaf);
        folder.grouped.push(Grouped { place, offset: folder.group.len() as u64, facts, stamp: stamp.copied() });
        folder.group.extend_from_slice(content);
        if folder.group.len() >= cut::GROUP { self.close_group(context, &above) } else { Ok(()) }
    }

    fn close_group(&mut self, context: &Context, path: &[u8]) -> Result<(), PortError> {
        let Some(folder) = self.open.get_mut(path) else { return Ok(()) };
        let (group, grouped) = (std::mem::take(&mut folder.group), std::mem::take(&mut folder.grouped));
        if grouped.is_empty() {
            return Ok(());
        }
        let id = context.put(Kind::Group, group)?;
        for Grouped { place, offset, facts, stamp } in grouped {
            let piece = Piece(id, offset, facts.size);
            if let Some(store) = &context.store {
                store.note_small(facts.b3, piece);
            }
            self.fill(context, place, &facts, stamp.as_ref(), vec![piece])?;
        }
        Ok(())
    }

    /// Completes a file's slot.
    fn fill(
        &mut self,
        context: &Context,
        place: usize,
        facts: &Facts,
        stamp: Option<&Stamp>,
        pieces: Vec<Piece>,
    ) -> Result<(), PortError> {
        let leaf = root::file(&context.hashes, &facts.path, facts.mode, facts.size, &facts.b3)?;
        let (mut c, mut cl) = (Some(pieces.clone()), None);
        if pieces.len() > INLINE_CHUNKS {
            let mut list = ListWriter::default();
            for Piece(id, _, n) in &pieces {
                list.push(context, Member { id: *id, n: *n })?;
            }
            (c, cl) = (None, list.finish(context)?);
        }
        let line = Line::File {
            name: Name::new(last(&facts.path)),
            s: facts.size,
            m: tree::mode(facts.mode),
            mt: facts.mtime_ns.to_string(),
            b3: facts.b3,
            c,
            cl,
        };
        let line = if context.store.is_some() { Some(tree::to_line(&line)?) } else { None };
        self.set(&facts.path, place, Slot { line, leaf: Some(leaf) });
        if let (Some(cache), Some(stamp)) = (&mut self.cache, stamp) {
            cache.note(&facts.path, Cached { stamp: *stamp, b3: facts.b3, pieces });
        }
        Ok(())
    }

    fn set(&mut self, path: &[u8], place: usize, slot: Slot) {
        if let Some(folder) = self.open.get_mut(parent(path)) {
            folder.slots[place] = slot;
        }
    }

    /// Checks an entry's place in the order and reserves it.
    fn slot(&mut self, context: &Context, entry: &TreeEntry) -> Result<usize, PortError> {
        let path = &entry.path;
        let shown = || String::from_utf8_lossy(path).into_owned();
        if !path.split(|b| *b == b'/').all(tree::is_safe) {
            return Err(context.refuse(format!("path {:?} is not safe", shown())));
        }
        while let Some(done) = self.open.keys().rev().find(|folder| is_past(folder, path)).cloned() {
            self.close(context, &done)?;
        }
        let Some(folder) = self.open.get_mut(parent(path)) else {
            return Err(context.refuse(format!("{} comes before its folder, or after the folder's end", shown())));
        };
        let name = last(path);
        if !folder.slots.is_empty() && folder.last.as_slice() >= name {
            return Err(context.refuse(format!("{} is not sorted behind its sibling", shown())));
        }
        folder.last = name.to_vec();
        folder.slots.push(Slot::default());
        Ok(folder.slots.len() - 1)
    }

    fn close(&mut self, context: &Context, path: &[u8]) -> Result<(), PortError> {
        self.close_group(context, path)?;
        let Some(folder) = self.open.remove(path) else { return Ok(()) };
        let (bits, mtime_ns, place) = (folder.bits, folder.mtime_ns, folder.place);
        let (id, root) = self.seal(context, folder)?;
        let leaf = root::dir(&context.hashes, path, bits, &root)?;
        let name = Name::new(last(path));
        let line = Line::Dir { name, m: tree::mode(bits), mt: mtime_ns.to_string(), tree: id, root };
        self.set(path, place, Slot { line: Some(tree::to_line(&line)?), leaf: Some(leaf) });
        Ok(())
    }

    /// Stores a folder's node; returns its id and its root.
    fn seal(&self, context: &Context, folder: Folder) -> Result<(Digest, Digest), PortError> {
        let mut merkle = Merkle::new();
        let mut lines = Vec::with_capacity(folder.slots.len());
        for slot in folder.slots {
            merkle.push(slot.leaf.ok_or_else(|| context.refuse("an entry has no leaf"))?);
            lines.extend(slot.line);
        }
        if context.store.is_none() {
            return Ok((Digest([0; 32]), merkle.root()));
        }
        if lines.len() > PART {
            let mut parts = Vec::new();
            for part in lines.chunks(PART) {
                parts.push(tree::to_line(&Line::Part { tree: context.put(Kind::Tree, tree::to_frame(part))? })?);
            }
            lines = parts;
        }
        Ok((context.put(Kind::Tree, tree::to_frame(&lines))?, merkle.root()))
    }

    fn count(&mut self, size: u64) {
        self.items += 1;
        self.bytes += size;
    }
}

impl Facts {
    fn new(entry: &TreeEntry, size: u64, b3: Digest) -> Self {
        Self { path: entry.path.clone(), mode: entry.mode, mtime_ns: entry.mtime_ns, size, b3 }
    }
}

/// Says whether no child of `folder` can follow once `path` has come, in either order.
fn is_past(folder: &[u8], path: &[u8]) -> bool {
    // '0' follows '/': all paths below the folder are smaller.
    !folder.is_empty() && path >= [folder, b"0"].concat().as_slice()
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(&[], |at| &path[..at])
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
