//! A small world for the tests: real folders, contents of all kinds, and their way in and out.

use cathedral_backup::{LocalDestination, LocalVault, Tuning};
use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{DestinationName, Digest, SnapshotId, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::ports::env::Task;
use cathedral_model::ports::vault::{
    DatabaseSchema, EntryKind, GitRefs, Sink, SnapshotWriter, Source, TableInfo, TreeEntry, Vault,
};
use cathedral_model::ports::{Destination, Env, PortError};
use cathedral_model::snapshot::{PartInfo, PartKey, SnapshotInfo, SnapshotMeta};
use cathedral_model::time::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Real time and randomness.
pub struct RealEnv;

impl Env for RealEnv {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Timestamp(i64::try_from(since.as_micros()).expect("before the year 294246"))
    }

    fn entropy(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("the system has randomness");
    }

    fn spawn(&self, _: Task) {}

    fn sleep(&self, _: u64) -> Task {
        Box::pin(async {})
    }
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("runtime").block_on(future)
}

/// Small packs, so that small contents fill several.
pub fn small_packs() -> Tuning {
    Tuning { data_pack: 256 << 10, tree_pack: 16 << 10, level: 3, workers: 2 }
}

/// A vault in scratch folders.
pub struct World {
    pub dir: TempDir,
    pub names: Vec<&'static str>,
    pub quorum: usize,
}

impl World {
    pub fn new(names: &[&'static str], quorum: usize) -> Self {
        let world = Self { dir: tempfile::tempdir().expect("scratch"), names: names.to_vec(), quorum };
        world.found();
        world
    }

    pub fn found(&self) {
        for name in &self.names {
            self.local(name).create().expect("create folder");
        }
        LocalVault::init(&self.keys(), &self.destinations(), &[], &RealEnv).expect("init");
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn local(&self, name: &str) -> LocalDestination {
        LocalDestination::new(DestinationName::new(name).expect("name"), self.folder(name))
    }

    pub fn destinations(&self) -> Vec<Arc<dyn Destination>> {
        self.names.iter().map(|n| Arc::new(self.local(n)) as Arc<dyn Destination>).collect()
    }

    pub fn open(&self) -> LocalVault {
        self.open_with(self.destinations())
    }

    pub fn open_with(&self, destinations: Vec<Arc<dyn Destination>>) -> LocalVault {
        LocalVault::open(&self.keys(), destinations, self.quorum, &self.cache(), Arc::new(RealEnv))
            .expect("open")
            .with_tuning(small_packs())
    }

    /// All objects at a destination.
    pub fn objects(&self, name: &str) -> Vec<String> {
        self.local(name).list("").expect("list").into_iter().map(|(object, _)| object).collect()
    }
}

/// What one part holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Files(Vec<(TreeEntry, Vec<u8>)>),
    Git { refs: GitRefs, tips: Vec<String>, packs: Vec<Vec<u8>> },
    Database { schema: DatabaseSchema, tables: Vec<(TableInfo, Vec<Vec<Value>>)> },
}

impl Content {
    pub fn kind(&self) -> SpokeKind {
        match self {
            Self::Files(_) => SpokeKind::Files,
            Self::Git { .. } => SpokeKind::Git,
            Self::Database { .. } => SpokeKind::Database,
        }
    }
}

pub fn file(path: &str, content: impl Into<Vec<u8>>) -> (TreeEntry, Vec<u8>) {
    let content = content.into();
    let kind = EntryKind::File { size: content.len() as u64 };
    (TreeEntry { path: path.into(), kind, mode: 0o644, mtime_ns: 1_700_000_000_123_456_789 }, content)
}

pub fn dir(path: &str) -> (TreeEntry, Vec<u8>) {
    (TreeEntry { path: path.into(), kind: EntryKind::Dir, mode: 0o755, mtime_ns: 1_600_000_000_000_000_000 }, vec![])
}

pub fn link(path: &str, target: &[u8]) -> (TreeEntry, Vec<u8>) {
    let kind = EntryKind::Symlink { target: target.to_vec() };
    (TreeEntry { path: path.into(), kind, mode: 0o777, mtime_ns: -1 }, vec![])
}

/// Bytes that look random and are always the same.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Text that compresses.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = noise(seed, len / 4 + 8);
    words.iter().flat_map(|b| format!("{} ", b % 23).into_bytes()).take(len).collect()
}

pub fn key(spoke: &str, side: Side) -> PartKey {
    PartKey { spoke: SpokeName::new(spoke).expect("name"), side }
}

pub fn meta(number: u8) -> SnapshotMeta {
    let at = Timestamp(1_700_000_000_000_000 + i64::from(number) * 1_000_000);
    SnapshotMeta {
        id: SnapshotId::generate(at, [number; 10]),
        ecosystem: "testland".into(),
        at,
        cause: format!("test {number}"),
        tags: vec!["t".into()],
    }
}

pub fn state(content: &Content) -> SideState {
    let digest = Digest::of(format!("{content:?}").as_bytes());
    SideState { digest, position: "here".into(), items: 0 }
}

/// Writes a content into a sink.
pub fn pour(sink: &mut dyn Sink, content: &Content) -> Result<PartInfo, PortError> {
    match content {
        Content::Files(entries) => {
            for (entry, bytes) in entries {
                match entry.kind {
                    EntryKind::File { .. } => sink.entry(entry, None, Some(&mut bytes.as_slice()))?,
                    _ => sink.entry(entry, None, None)?,
                }
            }
        }
        Content::Git { refs, tips, packs } => {
            sink.git_held()?;
            for pack in packs {
                sink.git_pack(tips, &mut pack.as_slice())?;
            }
            sink.git_refs(refs)?;
        }
        Content::Database { schema, tables } => {
            sink.schema(schema)?;
            for (table, rows) in tables {
                sink.table(table)?;
                for row in rows {
                    sink.row(format!("{:?}", row[0]).as_bytes(), row)?;
                }
            }
        }
    }
    sink.finish(&state(content), "exact")
}

/// Reads a content back from a source.
pub fn draw(source: &mut dyn Source) -> Result<Content, PortError> {
    Ok(match source.kind() {
        SpokeKind::Files => {
            let mut entries = Vec::new();
            source.entries(&mut |entry, content| {
                let mut bytes = Vec::new();
                if let Some(content) = content {
                    content.read_to_end(&mut bytes).map_err(|e| match e.downcast::<PortError>() {
                        Ok(port) => port,
                        Err(e) => PortError::permanent(e.to_string()),
                    })?;
                }
                entries.push((entry.clone(), bytes));
                Ok(())
            })?;
            Content::Files(entries)
        }
        SpokeKind::Git => {
            let refs = source.git_refs()?;
            let mut packs = Vec::new();
            source.git_packs(&mut |pack| {
                let mut bytes = Vec::new();
                pack.read_to_end(&mut bytes).map_err(|e| PortError::permanent(e.to_string()))?;
                packs.push(bytes);
                Ok(())
            })?;
            Content::Git { refs, tips: vec![], packs }
        }
        SpokeKind::Database => {
            let (schema, infos) = source.schema()?;
            let mut tables = Vec::new();
            for info in infos {
                let mut rows = Vec::new();
                source.rows(&info.name, &mut |row| {
                    rows.push(row);
                    Ok(())
                })?;
                tables.push((info, rows));
            }
            Content::Database { schema, tables }
        }
    })
}

pub type Parts = BTreeMap<(String, Side), Content>;

/// Begins a snapshot that is not visible yet.
pub fn begin(vault: &LocalVault, meta: &SnapshotMeta) -> Result<Box<dyn SnapshotWriter>, PortError> {
    wait(vault.begin(meta)).map(|begun| begun.unwrap_or_else(|info| panic!("{} is visible already", info.meta.id)))
}

/// Takes a snapshot of these parts.
pub fn take(vault: &LocalVault, meta: &SnapshotMeta, parts: &Parts) -> Result<SnapshotInfo, PortError> {
    let writer = match wait(vault.begin(meta))? {
        Ok(writer) => writer,
        Err(info) => return Ok(info),
    };
    for ((spoke, side), content) in parts {
        let mut sink = writer.part(&key(spoke, *side), content.kind())?;
        pour(sink.as_mut(), content)?;
    }
    wait(writer.commit())
}

/// Reads all parts of a snapshot back and proves each against its root.
pub fn give_back(vault: &LocalVault, info: &SnapshotInfo) -> Result<Parts, PortError> {
    let mut out = Parts::new();
    for part in &info.parts {
        let mut source = wait(vault.open(&info.meta.id, &part.key))?;
        let content = draw(source.as_mut())?;
        let mut prover = vault.prover(&part.key, part.kind)?;
        let proven = pour(prover.as_mut(), &content)?;
        assert_eq!(proven.root, part.root, "root of {:?}", part.key);
        out.insert((part.key.spoke.to_string(), part.key.side), content);
    }
    Ok(out)
}

/// Contents without what is only said on the way in.
pub fn as_read(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    for content in parts.values_mut() {
        match content {
            Content::Git { tips, .. } => tips.clear(),
            Content::Database { tables, .. } => tables.iter_mut().for_each(|(t, rows)| t.rows = rows.len() as u64),
            Content::Files(_) => {}
        }
    }
    parts
}
