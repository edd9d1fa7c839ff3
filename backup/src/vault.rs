//! The vault on its destinations.
//!
//! Visible means complete: at each destination packs are put before the index that names them, and
//! the index before the manifest; a destination that misses one object gets no later one.

mod adopt;
mod browse;
mod check;
mod check_content;
mod checked;
mod commit;
mod fanout;
mod file_cache;
mod forget;
mod found;
mod founding;
mod index_cache;
mod key_file;
mod look;
mod members;
mod mend;
mod packer;
mod presence;
mod read;
mod snapshots;
mod store;

use age::x25519;
use async_trait::async_trait;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::{DestinationName, Digest, SnapshotId};
use cathedral_model::ports::{Destination, Env, PortError, Progress, Sink, SnapshotWriter, Source, Vault};
use cathedral_model::snapshot::{CheckLevel, CheckReport, PartKey, Problem, SnapshotInfo, SnapshotMeta, VaultLook};
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use crate::hash::Hashes;
use crate::index::Index;
use crate::keys::VaultSecret;
use crate::sink::PartSink;
use crate::source::PartSource;
use crate::vault_file::VaultFile;

pub(crate) use file_cache::{Cached, FileCache};
pub(crate) use read::Reader;
pub(crate) use snapshots::find as load_manifest;
pub(crate) use store::Store;

/// Sizes and efforts that never change what a snapshot means.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Size aimed at for packs of data.
    pub data_pack: usize,
    /// Size aimed at for packs of directories and lists.
    pub tree_pack: usize,
    /// zstd level.
    pub level: i32,
    /// Threads that compress and encrypt.
    pub workers: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { data_pack: 16 << 20, tree_pack: 4 << 20, level: 3, workers: cores.clamp(1, 8) }
    }
}

/// A vault on one or more destinations.
#[derive(Clone)]
pub struct LocalVault {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub secret: VaultSecret,
    pub hashes: Hashes,
    pub file: VaultFile,
    pub recipients: Vec<x25519::Recipient>,
    pub identities: Vec<x25519::Identity>,
    pub signer: Option<SigningKey>,
    /// What opens the key files; empty when the vault's own key was given.
    pub openers: Vec<x25519::Identity>,
    /// The key file as it was written.
    pub sealed_key: Option<Vec<u8>>,
    pub trusted: Vec<VerifyingKey>,
    /// The hub's folder of keys; none where the vault was opened with a key alone.
    pub keys_dir: Option<PathBuf>,
    pub destinations: Vec<Arc<dyn Destination>>,
    /// Where reading is confined to.
    pub only: OnceLock<DestinationName>,
    pub quorum: usize,
    pub cache: Option<PathBuf>,
    pub env: Option<Arc<dyn Env>>,
    pub tuning: Tuning,
    pub index: RwLock<Index>,
    /// Names of the index objects that are in `index`.
    pub indexed: Mutex<BTreeSet<String>>,
    pub manifests: Mutex<BTreeMap<SnapshotId, Arc<snapshots::Loaded>>>,
    pub faults: Mutex<Vec<Problem>>,
}

impl LocalVault {
    /// Returns the vault's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.file.vault
    }

    /// Returns what is publicly known of the vault.
    #[must_use]
    pub fn file(&self) -> &VaultFile {
        &self.inner.file
    }

    /// Returns the faults of destinations that were met while something else worked, each object of a
    /// destination once, and forgets them. What was mended meanwhile is marked as restorable; packs that are
    /// damaged indeed are remembered as a check remembers them. Blocking.
    #[must_use]
    pub fn take_faults(&self) -> Vec<Problem> {
        let mut faults = std::mem::take(&mut *lock(&self.inner.faults));
        // Where it was met first and mended later, only the end of it is told.
        faults.sort_by_key(|fault| !fault.restorable);
        let mut told = BTreeSet::new();
        faults.retain(|fault| told.insert((fault.destination.clone(), fault.object.clone())));
        checked::note_met(&self.inner, &faults);
        faults
    }

    /// Reads from this destination only, from now on and in every clone; what is written still goes to all.
    /// The first name that is given stays.
    pub fn read_only_from(&self, name: DestinationName) {
        let _ = self.inner.only.set(name);
    }

    /// Returns the SHA-256 of a snapshot's manifest as each destination that answers gives it. Blocking.
    pub fn manifest_digests(&self, id: &SnapshotId) -> Result<Vec<(DestinationName, String)>, PortError> {
        snapshots::digests(&self.inner, id)
    }

    /// Returns the snapshots that were forgotten and can be taken back.
    pub fn forgotten(&self) -> Result<BTreeSet<SnapshotId>, PortError> {
        forget::forgotten(&self.inner)
    }

    /// Whether a snapshot is listed, forgotten, or was seen by this hub.
    pub fn is_known(&self, id: &SnapshotId) -> Result<bool, PortError> {
        forget::is_known(&self.inner, id)
    }

    /// Refuses when not every destination answers: one that is away would bring back what is forgotten.
    pub fn all_answer(&self, to: &str) -> Result<(), PortError> {
        forget::all(&self.inner, to).map(drop)
    }

    /// Forgets snapshots: their manifests go to the trash of every destination, all of which must answer.
    /// Doing it twice is doing it once.
    pub fn forget(&self, ids: &[SnapshotId]) -> Result<(), PortError> {
        forget::forget(&self.inner, ids)
    }

    /// Takes forgotten snapshots back. Doing it twice is doing it once.
    pub fn take_back(&self, ids: &[SnapshotId]) -> Result<(), PortError> {
        forget::take_back(&self.inner, ids)
    }

    /// Replaces sizes and efforts; for tests and small machines. Only before the first use.
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.tuning = tuning;
        }
        self
    }
}

#[async_trait]
impl Vault for LocalVault {
    async fn begin(&self, meta: &SnapshotMeta) -> Result<Result<Box<dyn SnapshotWriter>, SnapshotInfo>, PortError> {
        let (inner, meta) = (Arc::clone(&self.inner), meta.clone());
        let begun = blocking(move || store::begin(&inner, &meta)).await?;
        Ok(begun.map(|store| Box::new(Writer { store }) as Box<dyn SnapshotWriter>).map_err(|info| *info))
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>, PortError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || snapshots::list(&inner)).await
    }

    async fn newest(&self) -> Result<Option<SnapshotId>, PortError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || snapshots::newest(&inner)).await
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<SnapshotInfo, PortError> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking(move || snapshots::one(&inner, &id)).await
    }

    async fn open(&self, id: &SnapshotId, key: &PartKey) -> Result<Box<dyn Source>, PortError> {
        let (inner, id, key) = (Arc::clone(&self.inner), id.clone(), key.clone());
        blocking(move || Ok(Box::new(PartSource::open(&inner, &id, &key)?) as Box<dyn Source>)).await
    }

    fn prover(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        Ok(Box::new(PartSink::prover(self.inner.hashes.clone(), key.clone(), kind)))
    }

    async fn check(
        &self,
        level: CheckLevel,
        only: &[SnapshotId],
        progress: &dyn Progress,
    ) -> Result<CheckReport, PortError> {
        use tokio::runtime::{Handle, RuntimeFlavor};
        let run = || check::run(&self.inner, level, only, progress);
        // Progress is borrowed, so the work cannot move to another thread.
        match Handle::try_current().map(|h| h.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
            _ => run(),
        }
    }

    async fn look(&self) -> Result<VaultLook, PortError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || look::look(&inner)).await
    }
}

struct Writer {
    store: Arc<Store>,
}

#[async_trait]
impl SnapshotWriter for Writer {
    async fn reuse(&self, key: &PartKey, kind: SpokeKind, observed: &Digest) -> Result<bool, PortError> {
        Ok(self.store.reuse(key, kind, observed))
    }

    async fn carry(&self, key: &PartKey, kind: SpokeKind, why: &str) -> Result<bool, PortError> {
        Ok(self.store.carry(key, kind, why))
    }

    fn part(&self, key: &PartKey, kind: SpokeKind) -> Result<Box<dyn Sink>, PortError> {
        Ok(Box::new(PartSink::storing(&self.store, key.clone(), kind)?))
    }

    async fn commit(&self) -> Result<SnapshotInfo, PortError> {
        let store = Arc::clone(&self.store);
        blocking(move || commit::commit(&store)).await
    }
}

/// Runs blocking work beside an async runtime when there is one, else here.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(PortError::permanent(format!("the vault's work was stopped: {e}"))),
    }
}

/// Locks; a thread that panicked while holding it left nothing half done that matters here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn read_index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_index(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a destination is read from.
    pub(crate) fn reads(&self, destination: &dyn Destination) -> bool {
        self.only.get().is_none_or(|only| only == destination.name())
    }

    /// Remembers that a destination gave back something wrong.
    pub(crate) fn note_fault(&self, destination: &dyn Destination, object: &str, fault: &str) {
        tracing::warn!(destination = %destination.name(), object, fault, "object is not usable at this destination");
        self.note(destination, object, fault, false);
    }

    /// Remembers that something wrong at a destination was replaced by what was written.
    pub(crate) fn note_mended(&self, destination: &dyn Destination, object: &str, fault: &str) {
        tracing::info!(destination = %destination.name(), object, fault, "object was mended at this destination");
        self.note(destination, object, fault, true);
    }

    fn note(&self, destination: &dyn Destination, object: &str, fault: &str, restorable: bool) {
        let mut faults = lock(&self.faults);
        if faults.len() < 10_000 {
            faults.push(Problem {
                destination: destination.name().clone(),
                object: object.to_owned(),
                fault: fault.to_owned(),
                affects: vec![],
                affects_more: 0,
                restorable,
            });
        }
    }
}
