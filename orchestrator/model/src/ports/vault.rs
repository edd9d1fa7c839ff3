//! Encrypted snapshots on several destinations.

use async_trait::async_trait;
use std::io::Read;

use super::{PortError, Progress};
use crate::conflict::value::Value;
use crate::ecosystem::{Side, SpokeKind};
use crate::ids::SnapshotId;
use crate::observation::SideState;
use crate::snapshot::{CheckLevel, CheckReport, PartInfo, PartKey, SnapshotInfo, SnapshotMeta, VaultLook};

/// What kind of thing a tree entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File { size: u64 },
    Dir,
    Symlink { target: Vec<u8> },
}

/// One entry of a file tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path below the root of the tree: raw bytes, parts separated by `/`, no leading one.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Permission bits only.
    pub mode: u32,
    pub mtime_ns: i64,
}

/// Facts by which an unchanged file is known without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// One ref of a git part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRef {
    pub name: String,
    /// Hex object id.
    pub oid: String,
    /// The commit an annotated tag points to.
    pub peeled: Option<String>,
}

/// The refs of a git part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRefs {
    /// Full name of the branch that HEAD names, also when it is unborn.
    pub head: Option<String>,
    /// Sorted by name.
    pub refs: Vec<GitRef>,
}

/// One table of a database part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    pub name: String,
    pub columns: Vec<String>,
    /// How many of the columns, from the first in this order, make the key; none: no usable key.
    pub key: Vec<String>,
    pub rows: u64,
}

/// The schema of a database part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSchema {
    /// For example `sqlite 3.46`.
    pub engine: String,
    /// The engine's own statements, in an order that recreates the schema.
    pub statements: Vec<String>,
    /// Facts beside the schema, for example `user_version`, `application_id`, `sqlite_sequence`.
    pub settings: serde_json::Value,
}

/// Receives one part of a snapshot, streamed. Blocking. Only the methods of the part's kind are called;
/// others are refused.
pub trait Sink: Send {
    /// Files: takes the entry from the cache of the last snapshot when the stamp proves it unchanged.
    fn unchanged(&mut self, entry: &TreeEntry, stamp: &Stamp) -> Result<bool, PortError>;

    /// Files: adds an entry. Parents come before children, siblings sorted by raw name bytes. `content`
    /// is given for files and read to its end.
    fn entry(
        &mut self,
        entry: &TreeEntry,
        stamp: Option<&Stamp>,
        content: Option<&mut dyn Read>,
    ) -> Result<(), PortError>;

    /// Any kind: notes an item that could not be read.
    fn skipped(&mut self, item: &str, why: &str);

    /// Git: says that one of the two sides could not be read and goes into the part as it was read last. The
    /// part is marked ([`PartInfo::carried`]); where no snapshot has it yet, the side is among what is skipped.
    fn older(&mut self, side: Side, why: &str) {
        self.skipped(side.as_str(), why);
    }

    /// Git: the object ids whose whole history the vault already holds for this spoke.
    fn git_held(&mut self) -> Result<Vec<String>, PortError>;

    /// Git: adds a pack (thin against what [`Self::git_held`] said when that was not empty) that holds
    /// the history of `tips`.
    fn git_pack(&mut self, tips: &[String], pack: &mut dyn Read) -> Result<(), PortError>;

    /// Git: sets the refs.
    fn git_refs(&mut self, refs: &GitRefs) -> Result<(), PortError>;

    /// Database: sets the schema, before the first table.
    fn schema(&mut self, schema: &DatabaseSchema) -> Result<(), PortError>;

    /// Database: begins a table (`rows` is not looked at). Tables come sorted by name.
    fn table(&mut self, table: &TableInfo) -> Result<(), PortError>;

    /// Database: adds a row of the current table: its key in `kval` encoding (order of rows) and all cells.
    fn row(&mut self, key: &[u8], cells: &[Value]) -> Result<(), PortError>;

    /// Ends the part. `state` is what the part was read at.
    fn finish(&mut self, state: &SideState, consistency: &str) -> Result<PartInfo, PortError>;
}

/// Gives back one part of a snapshot, streamed and verified. Blocking.
pub trait Source: Send {
    fn kind(&self) -> SpokeKind;

    fn info(&self) -> &PartInfo;

    /// Files: visits all entries, parents before children. The reader fails if the content does not
    /// match; only a file that was read to its end without an error may be put in place.
    fn entries(&mut self, visit: &mut EntryVisitor<'_>) -> Result<(), PortError>;

    fn git_refs(&mut self) -> Result<GitRefs, PortError>;

    /// Git: visits the packs in the order in which they must be indexed.
    fn git_packs(&mut self, visit: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError>;

    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError>;

    /// Database: visits the rows of a table in key order.
    fn rows(
        &mut self,
        table: &str,
        visit: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>,
    ) -> Result<(), PortError>;
}

/// Visits tree entries; files come with their content.
pub type EntryVisitor<'a> = dyn FnMut(&TreeEntry, Option<&mut dyn Read>) -> Result<(), PortError> + 'a;

/// Collects the parts of one snapshot. Parts may be written side by side.
#[async_trait]
pub trait SnapshotWriter: Send + Sync {
    /// Takes a part over from the newest snapshot when it was read at the same digest there; says
    /// whether it did.
    async fn reuse(&self, key: &PartKey, kind: SpokeKind, observed: &crate::ids::Digest) -> Result<bool, PortError>;

    /// Takes a part over from the newest snapshot that has it, whatever it was read at, because the side
    /// cannot be read now; the part is marked with `why` ([`PartInfo::carried`]). Says whether there was one.
    async fn carry(&self, key: &PartKey, kind: SpokeKind, why: &str) -> Result<bool, PortError>;

    /// Opens a part.
    fn part(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError>;

    /// Writes index and manifest; returns when the quorum of destinations holds everything. Before that
    /// nothing is visible.
    async fn commit(&self) -> Result<SnapshotInfo, PortError>;
}

/// Takes, gives back and checks snapshots.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Begins a snapshot, or continues the one of the same id after a crash. When that id is already
    /// visible, `Ok(Err(info))` returns it.
    async fn begin(&self, meta: &SnapshotMeta) -> Result<Result<Box<dyn SnapshotWriter>, SnapshotInfo>, PortError>;

    /// Lists the snapshots of all destinations in the order of taking, which is that of their ids.
    async fn list(&self) -> Result<Vec<SnapshotInfo>, PortError>;

    /// Returns the id of the snapshot that was taken last, of those whose manifest is good.
    async fn newest(&self) -> Result<Option<SnapshotId>, PortError> {
        Ok(self.list().await?.pop().map(|info| info.meta.id))
    }

    /// Returns one snapshot, its manifest verified.
    async fn snapshot(&self, id: &SnapshotId) -> Result<SnapshotInfo, PortError>;

    /// Opens a part for reading.
    async fn open(&self, id: &SnapshotId, key: &PartKey) -> Result<Box<dyn Source>, PortError>;

    /// Returns a sink that stores nothing and computes the root a part would have in this vault: how a
    /// restore is proven.
    fn prover(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError>;

    /// Checks the given snapshots (all when empty) at all destinations.
    async fn check(
        &self,
        level: CheckLevel,
        only: &[SnapshotId],
        progress: &dyn Progress,
    ) -> Result<CheckReport, PortError>;

    /// Says how the destinations stand without reading what they hold. What a check has found is part of
    /// it until it is mended. A vault that keeps no such memory says nothing of any destination.
    async fn look(&self) -> Result<VaultLook, PortError> {
        Ok(VaultLook::default())
    }
}
