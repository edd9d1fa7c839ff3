//! What of the log is on disk in its public form, and what still waits to be written there.

use std::path::{Path, PathBuf};

use super::recover::{CHECKPOINT, Recovered};
use crate::disk::{self, Staged};
use crate::error::LogError;
use crate::index::Index;
use crate::memory::Memory;
use crate::note::Note;
use crate::statements;
use crate::tile::{self, WIDTH, bundle_path, read_bundle};

pub(super) struct Shelf {
    pub dir: PathBuf,
    pub memory: Memory,
    pub index: Index,
    pub statements: statements::Writer,
    pub tree: Recovered,
}

impl Shelf {
    /// Returns the number of leaves on disk.
    pub fn published(&self) -> u64 {
        self.tree.published
    }

    /// Writes statements, entries, tiles and index, then the checkpoint over them.
    ///
    /// Everything before the checkpoint may be repeated after a failure or a crash.
    pub fn publish(&mut self) -> Result<(), LogError> {
        let Some(note) = self.tree.note.clone().filter(|_| !self.tree.pending.is_empty()) else { return Ok(()) };
        let mark = self.statements.mark();
        let written = self.publish_tree(&note);
        if written.is_err() {
            self.statements.reset(mark);
            return written;
        }
        self.tree.tiles.flushed();
        for n in self.tree.published / WIDTH..self.tree.tiles.size() / WIDTH {
            tile::drop_partials(&self.dir.join(bundle_path(n, WIDTH)));
        }
        self.tree.published = self.tree.tiles.size();
        self.tree.pending.clear();
        self.memory.published(&note.to_string())
    }

    fn publish_tree(&mut self, note: &Note) -> Result<(), LogError> {
        let mut staged = Staged::default();
        self.statements.append(&self.tree.pending, &mut staged)?;
        write_bundles(&self.dir, &self.tree, &mut staged)?;
        self.tree.tiles.flush(&mut staged)?;
        self.index.flush(&mut staged)?;
        staged.finish()?;
        disk::replace(&self.dir.join(CHECKPOINT), note.to_string().as_bytes(), 0o644)
    }
}

fn write_bundles(dir: &Path, tree: &Recovered, staged: &mut Staged) -> Result<(), LogError> {
    let mut index = tree.published;
    let mut leaves = tree.pending.as_slice();
    while !leaves.is_empty() {
        let n = index / WIDTH;
        let mut bundle = if index.is_multiple_of(WIDTH) { Vec::new() } else { read_bundle(dir, n, tree.published)? };
        let (now, later) = leaves.split_at(leaves.len().min((WIDTH - index % WIDTH) as usize));
        now.iter().try_for_each(|leaf| tile::write_entry(&mut bundle, &leaf.entry))?;
        index += now.len() as u64;
        let width = if index.is_multiple_of(WIDTH) { WIDTH } else { index % WIDTH };
        staged.put(&dir.join(bundle_path(n, width)), &bundle, 0o644)?;
        leaves = later;
    }
    Ok(())
}
