//! Checking what snapshots hold: every chunk found, every root recomputed, at the deep level every
//! file and row read.

use cathedral_model::conflict::value::Value;
use cathedral_model::ids::{Digest, SnapshotId};
use cathedral_model::observation::SideState;
use cathedral_model::ports::env::Update;
use cathedral_model::ports::vault::{EntryKind, Sink, TreeEntry};
use cathedral_model::ports::{PortError, Progress};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use super::members::Member;
use super::{Inner, Reader, snapshots};
use crate::index;
use crate::list;
use crate::manifest::Part;
use crate::merkle::Merkle;
use crate::root;
use crate::sink::PartSink;
use crate::source::files::{self, FileReader, Walker};
use crate::source::{database, git};
use crate::tree::{Line, Piece};

/// What a check of contents looks for.
pub(crate) struct Scope {
    pub bad_packs: BTreeSet<Digest>,
    pub is_deep: bool,
}

/// Returns the packs that snapshots need, as far as their trees can be read.
pub(crate) fn packs_of(inner: &Arc<Inner>, members: &[Member], ids: &BTreeSet<SnapshotId>) -> BTreeSet<Digest> {
    let mut examiner = Examiner::new(inner, Scope { bad_packs: BTreeSet::new(), is_deep: false });
    for id in ids {
        let Ok(loaded) = snapshots::load(inner, members, id) else { continue };
        loaded.manifest.spokes.iter().for_each(|part| examiner.part(id, part));
    }
    examiner.used
}

/// Examines snapshots; returns pairs of an object, or of `chunk ID` or `root PART`, and what needs it.
pub(crate) fn examine(
    inner: &Arc<Inner>,
    members: &[Member],
    ids: &BTreeSet<SnapshotId>,
    scope: Scope,
    progress: &dyn Progress,
) -> Vec<(String, String)> {
    let mut examiner = Examiner::new(inner, scope);
    for (done, id) in ids.iter().enumerate() {
        let (done, total) = (done as u64, ids.len() as u64);
        progress.update(&Update { phase: "check", item: id.as_str(), done, total, unit: "snapshots" });
        let Ok(loaded) = snapshots::load(inner, members, id) else { continue };
        loaded.manifest.spokes.iter().for_each(|part| examiner.part(id, part));
    }
    examiner.affects
}

/// Says whether everything a part needs is in other packs than `gone`; reads directories and lists only.
pub(crate) fn is_whole(inner: &Arc<Inner>, id: &SnapshotId, part: &Part, gone: &BTreeSet<Digest>) -> bool {
    let mut examiner = Examiner::new(inner, Scope { bad_packs: gone.clone(), is_deep: false });
    examiner.part(id, part);
    examiner.failures == 0 && examiner.affects.is_empty()
}

struct Examiner {
    inner: Arc<Inner>,
    reader: Option<Reader>,
    scope: Scope,
    used: BTreeSet<Digest>,
    affects: Vec<(String, String)>,
    /// Part roots and file contents that were found good; equal ones need no second look.
    good: HashSet<Digest>,
    prefix: String,
    path: String,
    failures: usize,
    folders: Vec<(Digest, Merkle)>,
}

impl Examiner {
    fn new(inner: &Arc<Inner>, scope: Scope) -> Self {
        Self {
            inner: Arc::clone(inner),
            reader: Some(Reader::new(Arc::clone(inner))),
            scope,
            used: BTreeSet::new(),
            affects: Vec::new(),
            good: HashSet::new(),
            prefix: String::new(),
            path: String::new(),
            failures: 0,
            folders: Vec::new(),
        }
    }

    fn part(&mut self, id: &SnapshotId, part: &Part) {
        self.prefix = format!("snapshot {id}, spoke {} ({})", part.name, part.side.as_str());
        self.path.clear();
        let facts = format!("{:?} {:?} {:?} {}", part.tree, part.git, part.database, part.root);
        let facts = Digest::of(facts.as_bytes());
        if self.good.contains(&facts) {
            return;
        }
        self.failures = 0;
        let Some(mut reader) = self.reader.take() else { return };
        let result = match (&part.tree, &part.git, &part.database) {
            (Some(tree), None, None) => self.tree(&mut reader, *tree, part.root),
            (None, Some(git), None) => self.git(&mut reader, git, part),
            (None, None, Some(db)) => self.database(&mut reader, db, part),
            _ => Err(PortError::Corrupt("the part has no content, or several".into())),
        };
        self.reader = Some(reader);
        match result {
            Ok(()) if self.failures == 0 => {
                self.good.insert(facts);
            }
            // Damaged objects are findings already; what none of them explains is one of its own.
            Ok(()) | Err(_) if self.failures > 0 => {}
            Ok(()) => {}
            Err(error) => self.tell(&format!("root {}", part.root), &error.to_string()),
        }
    }

    fn tree(&mut self, reader: &mut Reader, tree: Digest, root: Digest) -> Result<(), PortError> {
        self.folders = vec![(root, Merkle::new())];
        files::walk(reader, tree, self)
    }

    fn git(&mut self, reader: &mut Reader, part: &crate::manifest::GitPart, info: &Part) -> Result<(), PortError> {
        "refs".clone_into(&mut self.path);
        self.see(&part.refs);
        let refs = git::refs(reader, part)?;
        let mut merkle = Merkle::new();
        merkle.push(root::head(&self.inner.hashes, refs.head.as_deref())?);
        for one in &refs.refs {
            merkle.push(root::git_ref(&self.inner.hashes, one)?);
        }
        self.compare(info.root, merkle.root());
        for (at, id) in part.base.iter().chain(&part.segments).enumerate() {
            self.path = format!("git segment {at}");
            self.see(id);
            let Ok(pieces) = git::segment(reader, id) else {
                self.failures += 1;
                continue;
            };
            for piece in pieces {
                self.see(&piece.id);
            }
        }
        Ok(())
    }

    fn database(
        &mut self,
        reader: &mut Reader,
        part: &crate::manifest::DatabasePart,
        info: &Part,
    ) -> Result<(), PortError> {
        "schema".clone_into(&mut self.path);
        self.see(&part.schema);
        let (schema, tables) = database::schema(reader, part)?;
        let mut prover = PartSink::prover(self.inner.hashes.clone(), info.key(), info.kind);
        prover.schema(&schema)?;
        for (table, facts) in part.tables.iter().zip(&tables) {
            self.path = format!("table {}", table.n);
            if let Some(list) = &table.leaves {
                let mut ids = Vec::new();
                let mut nodes = Vec::new();
                let listed = list::visit(reader, list, &mut |id| nodes.push(*id), &mut |_, m| {
                    ids.push(m.id);
                    Ok(())
                });
                nodes.iter().chain(&ids).for_each(|id| self.see(id));
                if listed.is_err() {
                    self.failures += 1;
                    continue;
                }
            }
            if self.scope.is_deep {
                prover.table(facts)?;
                let rows = database::rows(reader, table, &mut |row: Vec<Value>| prover.row(&[], &row));
                self.failures += usize::from(rows.is_err());
            }
        }
        if self.scope.is_deep && self.failures == 0 {
            let state = SideState { digest: info.observed, position: String::new(), items: 0 };
            self.compare(info.root, prover.finish(&state, "")?.root);
        }
        Ok(())
    }

    /// Notes a chunk that the current path needs.
    fn see(&mut self, id: &Digest) {
        let packs: Vec<Digest> = self.inner.read_index().places(id).into_iter().map(|(pack, _)| pack.id).collect();
        self.used.extend(packs.first());
        if packs.is_empty() {
            self.failures += 1;
            self.tell(&format!("chunk {id}"), "in no pack");
        } else if packs.iter().all(|pack| self.scope.bad_packs.contains(pack)) {
            // A chunk that was stored again is lost only with its last pack.
            self.failures += 1;
            packs.iter().for_each(|pack| self.tell(&index::object(pack), ""));
        }
    }

    fn compare(&mut self, expected: Digest, computed: Digest) {
        if expected != computed {
            self.failures += 1;
            self.tell(&format!("root {expected}"), &format!("{computed} follows"));
        }
    }

    fn tell(&mut self, object: &str, why: &str) {
        let mut what = self.prefix.clone();
        for more in [self.path.as_str(), why] {
            if !more.is_empty() {
                what.push_str(", ");
                what.push_str(more);
            }
        }
        self.affects.push((object.to_owned(), what));
    }
}

impl Walker for Examiner {
    fn entry(&mut self, entry: &TreeEntry, line: &Line, content: Option<FileReader<'_>>) -> Result<(), PortError> {
        self.path = String::from_utf8_lossy(&entry.path).into_owned();
        let hashes = &self.inner.hashes;
        let leaf = match (line, &entry.kind) {
            (Line::File { s, b3, .. }, _) => root::file(hashes, &entry.path, entry.mode, *s, b3)?,
            (Line::Dir { root, .. }, _) => root::dir(hashes, &entry.path, entry.mode, root)?,
            (_, EntryKind::Symlink { target }) => root::link(hashes, &entry.path, target)?,
            _ => return Err(PortError::Corrupt(format!("{}: an entry of no kind", self.path))),
        };
        if let Some((_, merkle)) = self.folders.last_mut() {
            merkle.push(leaf);
        }
        if let Line::Dir { root, .. } = line {
            self.folders.push((*root, Merkle::new()));
        }
        let Some(mut content) = content else { return Ok(()) };
        let (size, b3) = content.expected();
        let mut nodes = Vec::new();
        let pieces = content.pieces(&mut |id| nodes.push(*id)).map(<[Piece]>::to_vec);
        nodes.iter().for_each(|id| self.see(id));
        let Ok(pieces) = pieces else {
            self.failures += 1;
            return Ok(());
        };
        pieces.iter().for_each(|p| self.see(&p.0));
        if self.scope.is_deep {
            let facts = Digest::of(format!("{size} {b3} {pieces:?}").as_bytes());
            if !self.good.contains(&facts) {
                match io::copy(&mut content, &mut io::sink()) {
                    Ok(_) => drop(self.good.insert(facts)),
                    Err(error) => {
                        self.failures += 1;
                        let is_explained = pieces.iter().any(|p| {
                            let places = self.inner.read_index().places(&p.0);
                            places.iter().all(|(pack, _)| self.scope.bad_packs.contains(&pack.id))
                        });
                        if !is_explained {
                            self.tell(&format!("root {b3}"), &error.to_string());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, id: &Digest, path: &[u8]) {
        self.path = String::from_utf8_lossy(path).into_owned();
        self.see(id);
    }

    fn leave(&mut self, path: &[u8]) -> Result<(), PortError> {
        self.path = String::from_utf8_lossy(path).into_owned();
        if let Some((expected, merkle)) = self.folders.pop() {
            self.compare(expected, merkle.root());
        }
        Ok(())
    }
}
