//! A log in a folder: the truth about every act, in files that programs of others can read.

mod recover;
mod shelf;
pub(crate) mod tail;
mod ticket;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::ledger::{Head, Ledger, NewLeaf};
use cathedral_model::ports::{PortError, ledger};

pub(crate) use recover::{CHECKPOINT, Recovered, recover};
use shelf::Shelf;
use ticket::{Ticket, ticket};
use writer::{Request, Writer};

use crate::disk;
use crate::error::LogError;
use crate::index::Index;
use crate::key::{LogKey, VerifierKey};
use crate::leaf::Origin;
use crate::memory::{self, Memory};
use crate::pack::ProofPack;
use crate::reader::LogReader;
use crate::signer::Signer;
use crate::statements;
use crate::wal::Wal;

/// How long an acknowledged leaf stays in the write-ahead log alone.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Fills a buffer with random bytes.
pub type Entropy = Box<dyn FnMut(&mut [u8]) -> io::Result<()> + Send>;

/// Returns the operating system's randomness.
#[must_use]
pub fn os_entropy() -> Entropy {
    Box::new(|into| getrandom::fill(into).map_err(io::Error::other))
}

/// The log of a hub, open for appending. One process at a time.
///
/// Appends from many tasks are gathered: while one batch is being synced the next one forms.
/// Dropping it publishes what is not yet published and releases the log.
#[derive(Debug)]
pub struct FileLog {
    dir: PathBuf,
    key: VerifierKey,
    head: Arc<Mutex<Head>>,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    _locks: [File; 2],
}

impl FileLog {
    /// Opens the log in `dir`, creating it and its key when neither was ever there.
    ///
    /// `origin` is `<hub-id>.cathedral/<ecosystem>`; `keys` is kept apart from the log, since what is
    /// remembered there finds a log that was put back. Refused with [`LogError::Corrupt`] when log,
    /// write-ahead log and memory do not fit together, or the end of the log is damaged; nothing is
    /// changed then. Damage before the end is found by an audit, or when a leaf there is built on.
    pub fn open(dir: &Path, keys: &Path, origin: &str, entropy: Entropy) -> Result<Self, LogError> {
        Self::open_with(dir, keys, origin, entropy, CHECKPOINT_EVERY)
    }

    /// Opens the log as [`Self::open`] does, to be published at most `every` so often while it grows.
    pub fn open_with(
        dir: &Path,
        keys: &Path,
        origin: &str,
        mut entropy: Entropy,
        every: Duration,
    ) -> Result<Self, LogError> {
        let parsed = Origin::parse(origin)?;
        disk::make_dirs(dir)?;
        disk::make_dirs(keys)?;
        let locks = [lock(dir, "lock")?, lock(keys, "log.lock")?];
        let key = open_key(dir, keys, origin, &mut entropy)?;
        let verifier = key.verifier();
        let tree = recover(dir, &verifier)?;
        let signer = Signer::resume(key, &tree.tiles, &memory::read(keys, &verifier)?)?;
        if let Some(torn) = &tree.torn {
            tracing::info!(end = %torn, "a record that was not acknowledged is dropped from the log");
        }
        tail::check(dir, &tree.tiles, tree.published)?;
        let mut index = Index::open(dir, &tree.tiles, tree.published)?;
        for leaf in &tree.pending {
            let (id, chain) = crate::index::keys_of(&leaf.statement).map_err(|why| LogError::corrupt_at(dir, why))?;
            index.insert(id, chain);
        }
        let statements = statements::Writer::open(dir, tree.published)?;
        let head = Arc::new(Mutex::new(tree.head.to_head(tree.note.as_ref())));
        let mut shelf = Shelf { dir: dir.to_owned(), memory: Memory::open(keys)?, index, statements, tree };
        shelf.publish()?;
        let wal = Wal::begin(dir, shelf.published())?;
        let writer = Writer { shelf, origin: parsed, entropy, signer, wal, every, head: head.clone(), stopped: None };
        let (requests, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || writer.serve(&inbox));
        let thread = thread.map_err(|source| LogError::Io { what: "thread of the log".into(), source })?;
        Ok(Self {
            dir: dir.to_owned(),
            key: verifier,
            head,
            requests: Some(requests),
            writer: Some(thread),
            _locks: locks,
        })
    }

    /// Returns the key that checks this log's checkpoints.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Appends a leaf and blocks this thread until it is durable; see [`Ledger::append`].
    pub fn append_blocking(&self, leaf: &NewLeaf) -> Result<LeafIndex, LogError> {
        self.ask(|promise| Request::Append(leaf.clone(), promise)).wait().unwrap_or_else(|| Err(gone()))
    }

    /// Writes tiles, entries, statements and the published checkpoint now instead of within a second.
    pub fn publish(&self) -> Result<(), LogError> {
        self.ask(Request::Publish).wait().unwrap_or_else(|| Err(gone()))
    }

    /// Returns the signed head over every acknowledged leaf.
    #[must_use]
    pub fn signed_head(&self) -> Head {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Proves a leaf to a stranger, under the newest checkpoint.
    pub fn prove(&self, index: u64) -> Result<ProofPack, LogError> {
        self.publish()?;
        LogReader::open(&self.dir, &self.key)?.prove(index)
    }

    fn ask<T>(&self, request: impl FnOnce(ticket::Promise<T>) -> Request) -> Ticket<T> {
        let (promise, ticket) = ticket();
        // A writer that is gone drops the promise, which ends the wait.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request(promise));
        }
        ticket
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Ledger for FileLog {
    async fn append(&self, leaf: &NewLeaf) -> Result<LeafIndex, PortError> {
        let ticket = self.ask(|promise| Request::Append(leaf.clone(), promise));
        Ok(ticket.await.unwrap_or_else(|| Err(gone()))?)
    }

    async fn find(&self, id: &str) -> Result<Option<LeafIndex>, PortError> {
        let ticket = self.ask(|promise| Request::Find(id.to_owned(), promise));
        Ok(ticket.await.unwrap_or_else(|| Err(gone()))?)
    }

    async fn head(&self) -> Result<ledger::Head, PortError> {
        Ok(self.signed_head())
    }
}

fn gone() -> LogError {
    LogError::Stopped("its writer has ended".into())
}

fn lock(dir: &Path, name: &str) -> Result<File, LogError> {
    let path = dir.join(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|e| LogError::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(LogError::io(&path, e)),
    }
}

/// Reads the key; makes one only where nothing was ever signed.
fn open_key(dir: &Path, keys: &Path, origin: &str, entropy: &mut Entropy) -> Result<LogKey, LogError> {
    if let Some(key) = LogKey::read(keys, origin)? {
        return Ok(key);
    }
    if memory::exists(keys) || dir.join(CHECKPOINT).exists() || dir.join("wal").exists() {
        let (keys, dir) = (keys.display(), dir.display());
        return Err(LogError::Key(format!("log {dir} was signed before, but its key is not in {keys}")));
    }
    let mut seed = [0; 32];
    entropy(&mut seed).map_err(|source| LogError::Io { what: "random bytes for the log key".into(), source })?;
    LogKey::create(keys, origin, &seed)
}
