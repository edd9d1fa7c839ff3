//! A vault in memory: parts as the calls that made them.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{DestinationName, Digest, SnapshotId};
use cathedral_model::observation::SideState;
use cathedral_model::ports::vault::{DatabaseSchema, EntryKind, EntryVisitor, GitRefs, Stamp, TableInfo, TreeEntry};
use cathedral_model::ports::{Cause, PortError, Progress, Sink, SnapshotWriter, Source, Vault};
use cathedral_model::snapshot::{
    Carried, CheckLevel, CheckReport, Checked, Held, PartInfo, PartKey, SnapshotBytes, SnapshotInfo, SnapshotMeta,
};

use super::lock;

/// Rows by key.
type Rows = Vec<(Vec<u8>, Vec<Value>)>;

/// What a part consists of.
#[derive(Clone, Debug, Default)]
struct Part {
    entries: Vec<(TreeEntry, Option<Vec<u8>>)>,
    refs: GitRefs,
    packs: Vec<(Vec<String>, Vec<u8>)>,
    schema: Option<DatabaseSchema>,
    tables: Vec<(TableInfo, Rows)>,
    skipped: Vec<String>,
    carried: Option<Carried>,
}

impl Part {
    /// A root over content only: no times of reading, no order of packs.
    fn root(&self) -> Digest {
        let mut entries: Vec<String> = self.entries.iter().map(|e| format!("{e:?}")).collect();
        entries.sort();
        Digest::of(format!("{entries:?}{:?}{:?}{:?}", self.refs, self.schema, self.tables).as_bytes())
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().filter_map(|(_, c)| c.as_ref()).map(|c| c.len() as u64).sum()
    }
}

type Parts = BTreeMap<PartKey, (PartInfo, Part)>;

#[derive(Default)]
struct Inner {
    visible: BTreeMap<SnapshotId, (SnapshotInfo, Parts)>,
    open: BTreeMap<SnapshotId, Parts>,
}

/// Keeps snapshots in maps; nothing is visible before `commit`.
#[derive(Clone, Default)]
pub struct MemoryVault(Arc<Mutex<Inner>>);

impl MemoryVault {
    /// Loses a snapshot, as a planted bug.
    pub fn forget(&self, id: &SnapshotId) {
        lock(&self.0).visible.remove(id);
    }

    /// The newest snapshot with a part, and the part.
    fn newest_with(&self, key: &PartKey) -> Option<(SnapshotMeta, PartInfo)> {
        let inner = lock(&self.0);
        inner.visible.values().rev().find_map(|(of, parts)| Some((of.meta.clone(), parts.get(key)?.0.clone())))
    }

    /// Whether a visible snapshot holds an entry with this path and content.
    #[must_use]
    pub fn holds(&self, key: &PartKey, path: &[u8], content: &[u8]) -> bool {
        lock(&self.0).visible.values().any(|(_, parts)| {
            parts.get(key).is_some_and(|(_, part)| {
                part.entries.iter().any(|(e, c)| e.path == path && c.as_deref() == Some(content))
            })
        })
    }
}

struct Writer {
    vault: MemoryVault,
    meta: SnapshotMeta,
}

struct PartSink {
    vault: Option<(MemoryVault, SnapshotId)>,
    key: PartKey,
    kind: SpokeKind,
    part: Part,
    finished: bool,
}

impl PartSink {
    /// Only the methods of the part's kind may be called, and none after the end.
    fn only(&self, kind: SpokeKind) -> Result<(), PortError> {
        if self.kind != kind {
            let message = format!("{} is a {} part, not a {} part", self.key.spoke, self.kind.as_str(), kind.as_str());
            return Err(PortError::failed(Cause::Invalid, message));
        }
        if self.finished {
            return Err(PortError::failed(Cause::Invalid, format!("part {} is finished already", self.key.spoke)));
        }
        Ok(())
    }
}

impl Sink for PartSink {
    fn unchanged(&mut self, _: &TreeEntry, _: &Stamp) -> Result<bool, PortError> {
        self.only(SpokeKind::Files)?;
        Ok(false)
    }

    fn entry(&mut self, entry: &TreeEntry, _: Option<&Stamp>, content: Option<&mut dyn Read>) -> Result<(), PortError> {
        self.only(SpokeKind::Files)?;
        let refused = |why: &str| {
            let path = String::from_utf8_lossy(&entry.path);
            Err(PortError::failed(Cause::Invalid, format!("path {path:?}: {why}")))
        };
        if entry.path.split(|b| *b == b'/').any(|part| part.is_empty() || part == b"." || part == b"..") {
            return refused("it does not stay below the root");
        }
        let parent = entry.path.iter().rposition(|b| *b == b'/').map(|at| &entry.path[..at]);
        let is_known = |path: &[u8]| self.part.entries.iter().any(|(e, _)| e.path == path && e.kind == EntryKind::Dir);
        if parent.is_some_and(|parent| !is_known(parent)) {
            return refused("its folder did not come before it");
        }
        let content = match content {
            None => None,
            Some(reader) => {
                let mut bytes = vec![];
                reader.read_to_end(&mut bytes).map_err(|e| PortError::io("entry", &e))?;
                Some(bytes)
            }
        };
        self.part.entries.push((entry.clone(), content));
        Ok(())
    }

    fn skipped(&mut self, item: &str, why: &str) {
        self.part.skipped.push(format!("{item}: {why}"));
    }

    fn older(&mut self, side: Side, why: &str) {
        let newest = self.vault.as_ref().and_then(|(vault, _)| vault.newest_with(&self.key));
        let Some((of, info)) = newest else { return self.skipped(side.as_str(), why) };
        let (snapshot, at) = Carried::since((of.id, of.at), info.carried.as_ref(), Some(side));
        self.part.carried = Some(Carried { snapshot, at, why: why.to_owned(), side: Some(side) });
    }

    fn git_held(&mut self) -> Result<Vec<String>, PortError> {
        self.only(SpokeKind::Git)?;
        let Some((vault, _)) = &self.vault else { return Ok(vec![]) };
        let inner = lock(&vault.0);
        let newest = inner.visible.values().rev().find_map(|(_, parts)| parts.get(&self.key));
        let packs = newest.map(|(_, part)| part.packs.clone()).unwrap_or_default();
        self.part.packs.clone_from(&packs);
        Ok(packs.into_iter().flat_map(|(tips, _)| tips).collect())
    }

    fn git_pack(&mut self, tips: &[String], pack: &mut dyn Read) -> Result<(), PortError> {
        self.only(SpokeKind::Git)?;
        let mut bytes = vec![];
        pack.read_to_end(&mut bytes).map_err(|e| PortError::io("pack", &e))?;
        self.part.packs.push((tips.to_vec(), bytes));
        Ok(())
    }

    fn git_refs(&mut self, refs: &GitRefs) -> Result<(), PortError> {
        self.only(SpokeKind::Git)?;
        self.part.refs = refs.clone();
        Ok(())
    }

    fn schema(&mut self, schema: &DatabaseSchema) -> Result<(), PortError> {
        self.only(SpokeKind::Database)?;
        self.part.schema = Some(schema.clone());
        Ok(())
    }

    fn table(&mut self, table: &TableInfo) -> Result<(), PortError> {
        self.only(SpokeKind::Database)?;
        if self.part.schema.is_none() {
            return Err(PortError::failed(Cause::Invalid, "a table before the schema"));
        }
        self.part.tables.push((TableInfo { rows: 0, ..table.clone() }, vec![]));
        Ok(())
    }

    fn row(&mut self, key: &[u8], cells: &[Value]) -> Result<(), PortError> {
        self.only(SpokeKind::Database)?;
        let table = self.part.tables.last_mut().ok_or_else(|| PortError::permanent("a row before the first table"))?;
        if table.0.columns.len() != cells.len() {
            return Err(PortError::failed(Cause::Invalid, format!("{} cells in table {}", cells.len(), table.0.name)));
        }
        table.0.rows += 1;
        table.1.push((key.to_vec(), cells.to_vec()));
        Ok(())
    }

    fn finish(&mut self, state: &SideState, consistency: &str) -> Result<PartInfo, PortError> {
        self.only(self.kind)?;
        self.finished = true;
        let info = PartInfo {
            key: self.key.clone(),
            kind: self.kind,
            root: self.part.root(),
            observed: state.digest,
            position: state.position.clone(),
            items: state.items,
            bytes: self.part.bytes(),
            consistency: consistency.to_owned(),
            skipped: self.part.skipped.clone(),
            carried: self.part.carried.take(),
        };
        if let Some((vault, id)) = &self.vault {
            let mut inner = lock(&vault.0);
            inner.open.entry(id.clone()).or_default().insert(self.key.clone(), (info.clone(), self.part.clone()));
        }
        Ok(info)
    }
}

#[async_trait]
impl SnapshotWriter for Writer {
    async fn reuse(&self, key: &PartKey, kind: SpokeKind, observed: &Digest) -> Result<bool, PortError> {
        let mut inner = lock(&self.vault.0);
        let newest = inner.visible.values().next_back().and_then(|(_, parts)| parts.get(key));
        let found = newest.filter(|(info, _)| info.observed == *observed && info.kind == kind).cloned();
        let Some((info, part)) = found else { return Ok(false) };
        let found = (PartInfo { carried: None, ..info }, part);
        inner.open.entry(self.meta.id.clone()).or_default().insert(key.clone(), found);
        Ok(true)
    }

    async fn carry(&self, key: &PartKey, kind: SpokeKind, why: &str) -> Result<bool, PortError> {
        let mut inner = lock(&self.vault.0);
        let newest =
            inner.visible.values().rev().find_map(|(of, parts)| Some((of.meta.clone(), parts.get(key)?.clone())));
        let Some((of, (info, part))) = newest.filter(|(_, (info, _))| info.kind == kind) else { return Ok(false) };
        let (snapshot, at) = Carried::since((of.id, of.at), info.carried.as_ref(), None);
        let carried = Some(Carried { snapshot, at, why: why.to_owned(), side: None });
        let parts = inner.open.entry(self.meta.id.clone()).or_default();
        parts.insert(key.clone(), (PartInfo { carried, ..info }, part));
        Ok(true)
    }

    fn part(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        let vault = Some((self.vault.clone(), self.meta.id.clone()));
        Ok(Box::new(PartSink { vault, key: key.clone(), kind, part: Part::default(), finished: false }))
    }

    async fn commit(&self) -> Result<SnapshotInfo, PortError> {
        let mut inner = lock(&self.vault.0);
        if let Some((info, _)) = inner.visible.get(&self.meta.id) {
            return Ok(info.clone());
        }
        let parts = inner.open.remove(&self.meta.id).unwrap_or_default();
        let infos: Vec<PartInfo> = parts.values().map(|(info, _)| info.clone()).collect();
        let roots: Vec<String> = infos.iter().map(|p| format!("{:?}{}", p.key, p.root)).collect();
        let logical = infos.iter().map(|p| p.bytes).sum();
        let root = Digest::of(roots.join(",").as_bytes());
        let info = SnapshotInfo {
            meta: self.meta.clone(),
            parent: inner.visible.keys().next_back().cloned(),
            root,
            parts: infos,
            bytes: SnapshotBytes { logical, new: logical, stored: logical },
            destinations: vec![Held {
                name: DestinationName::new("memory").map_err(|e| PortError::permanent(e.to_string()))?,
                state: "held".into(),
            }],
            manifest_sha256: root.to_string(),
            manifest_blake3: root.to_string(),
        };
        inner.visible.insert(self.meta.id.clone(), (info.clone(), parts));
        Ok(info)
    }
}

struct PartSource {
    info: PartInfo,
    part: Part,
}

impl Source for PartSource {
    fn kind(&self) -> SpokeKind {
        self.info.kind
    }

    fn info(&self) -> &PartInfo {
        &self.info
    }

    fn entries(&mut self, visit: &mut EntryVisitor<'_>) -> Result<(), PortError> {
        for (entry, content) in &self.part.entries {
            match content {
                None => visit(entry, None)?,
                Some(bytes) => visit(entry, Some(&mut Cursor::new(bytes)))?,
            }
        }
        Ok(())
    }

    fn git_refs(&mut self) -> Result<GitRefs, PortError> {
        if self.info.kind != SpokeKind::Git {
            return Err(PortError::failed(Cause::Invalid, "this part has no refs"));
        }
        Ok(self.part.refs.clone())
    }

    fn git_packs(&mut self, visit: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError> {
        self.part.packs.iter().try_for_each(|(_, pack)| visit(&mut Cursor::new(pack)))
    }

    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
        let schema = self.part.schema.clone().ok_or_else(|| PortError::permanent("this part has no schema"))?;
        Ok((schema, self.part.tables.iter().map(|(t, _)| t.clone()).collect()))
    }

    fn rows(
        &mut self,
        table: &str,
        visit: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let found = self.part.tables.iter().find(|(t, _)| t.name == table);
        let found = found.ok_or_else(|| PortError::failed(Cause::NotFound, format!("no table {table}")))?;
        found.1.iter().try_for_each(|(_, row)| visit(row.clone()))
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn begin(&self, meta: &SnapshotMeta) -> Result<Result<Box<dyn SnapshotWriter>, SnapshotInfo>, PortError> {
        if let Some((info, _)) = lock(&self.0).visible.get(&meta.id) {
            return Ok(Err(info.clone()));
        }
        Ok(Ok(Box::new(Writer { vault: self.clone(), meta: meta.clone() })))
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>, PortError> {
        Ok(lock(&self.0).visible.values().map(|(info, _)| info.clone()).collect())
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<SnapshotInfo, PortError> {
        let found = lock(&self.0).visible.get(id).map(|(info, _)| info.clone());
        found.ok_or_else(|| PortError::failed(Cause::NotFound, format!("there is no snapshot {id}")))
    }

    async fn open(&self, id: &SnapshotId, key: &PartKey) -> Result<Box<dyn Source>, PortError> {
        let inner = lock(&self.0);
        let found = inner.visible.get(id).and_then(|(_, parts)| parts.get(key)).cloned();
        let missing = || PortError::failed(Cause::NotFound, format!("snapshot {id} has no part {}", key.spoke));
        let (info, part) = found.ok_or_else(missing)?;
        Ok(Box::new(PartSource { info, part }))
    }

    fn prover(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        Ok(Box::new(PartSink { vault: None, key: key.clone(), kind, part: Part::default(), finished: false }))
    }

    async fn check(&self, _: CheckLevel, only: &[SnapshotId], _: &dyn Progress) -> Result<CheckReport, PortError> {
        let inner = lock(&self.0);
        let unknown = only.iter().find(|id| !inner.visible.contains_key(id));
        if let Some(id) = unknown {
            return Err(PortError::failed(Cause::NotFound, format!("there is no snapshot {id}")));
        }
        let snapshots = inner.visible.keys().filter(|id| only.is_empty() || only.contains(id));
        Ok(CheckReport {
            checked: Checked::default(),
            problems: vec![],
            snapshots: snapshots.map(ToString::to_string).collect(),
            superseded: 0,
        })
    }
}
