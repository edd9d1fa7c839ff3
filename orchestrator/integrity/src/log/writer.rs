//! The sequencer: one thread that turns what waits into batches, makes them durable with one sync,
//! acknowledges, and publishes the tree at leisure.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::ledger::{Head, NewLeaf};

use super::Entropy;
use super::shelf::Shelf;
use super::tail;
use super::ticket::Promise;
use crate::error::LogError;
use crate::index::{Key, chain_key, id_key};
use crate::leaf::{self, Leaf, Origin, Statement};
use crate::signer::Signer;
use crate::statements;
use crate::tile::WIDTH;
use crate::tree::Hash;
use crate::wal::{Record, Wal};

/// Waiting leaves taken into one batch.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Acknowledged leaves kept in memory when the tree cannot be published.
const MAX_PENDING: usize = 1 << 16;
const PUBLISH_AT: usize = 4096;
/// The write-ahead log starts a new segment above this.
const SEGMENT_BYTES: u64 = 4 << 20;

pub(crate) type Appended = Result<LeafIndex, LogError>;

pub(crate) enum Request {
    Append(NewLeaf, Promise<Appended>),
    Find(String, Promise<Result<Option<LeafIndex>, LogError>>),
    Publish(Promise<Result<(), LogError>>),
}

pub(super) struct Writer {
    pub shelf: Shelf,
    pub origin: Origin,
    pub entropy: Entropy,
    pub signer: Signer,
    pub wal: Wal,
    pub every: Duration,
    pub head: Arc<Mutex<Head>>,
    pub stopped: Option<String>,
}

/// Leaves on their way into one record.
#[derive(Default)]
struct Batch {
    first: u64,
    leaves: Vec<Leaf>,
    hashes: Vec<Hash>,
    keys: Vec<(Key, Key)>,
    ids: HashMap<Key, u64>,
    last: HashMap<Key, u64>,
    bytes: usize,
    waiting: Vec<(u64, Promise<Appended>)>,
}

impl Writer {
    /// Serves requests until every sender is gone, then publishes what is left.
    pub fn serve(mut self, requests: &Receiver<Request>) {
        let mut due: Option<Instant> = None;
        loop {
            let request = match due {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => requests.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            let ended = matches!(request, Err(RecvTimeoutError::Disconnected));
            if let Ok(request) = request {
                self.take(request, requests);
            }
            let late = due.is_some_and(|due| Instant::now() >= due);
            if (ended || late || self.shelf.tree.pending.len() >= PUBLISH_AT)
                && let Err(error) = self.publish()
            {
                tracing::warn!(%error, "log could not be published; its leaves are safe in the write-ahead log");
                due = None;
            }
            if ended {
                return;
            }
            due = match due {
                _ if self.shelf.tree.pending.is_empty() => None,
                Some(due) if !late => Some(due),
                _ => Some(Instant::now() + self.every),
            };
        }
    }

    fn take(&mut self, request: Request, requests: &Receiver<Request>) {
        let mut batch = Batch { first: self.shelf.tree.tiles.size(), ..Batch::default() };
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Append(leaf, promise) => self.admit(&leaf, promise, &mut batch),
                Request::Find(id, promise) => {
                    self.commit(std::mem::take(&mut batch));
                    batch.first = self.shelf.tree.tiles.size();
                    promise.answer(self.find(&id));
                }
                Request::Publish(promise) => {
                    self.commit(std::mem::take(&mut batch));
                    batch.first = self.shelf.tree.tiles.size();
                    promise.answer(self.publish());
                }
            }
            if batch.leaves.len() < MAX_BATCH && batch.bytes < MAX_BATCH_BYTES {
                next = requests.try_recv().ok();
            }
        }
        self.commit(batch);
    }

    /// Puts a leaf into the batch, or answers at once when there is nothing to write.
    fn admit(&mut self, new: &NewLeaf, promise: Promise<Appended>, batch: &mut Batch) {
        match self.place(new, batch) {
            Ok(index) if index < batch.first => promise.answer(Ok(leaf_index(index))),
            Ok(index) => batch.waiting.push((index, promise)),
            Err(error) => promise.answer(Err(error)),
        }
    }

    fn place(&mut self, new: &NewLeaf, batch: &mut Batch) -> Result<u64, LogError> {
        if let Some(why) = &self.stopped {
            return Err(LogError::Stopped(why.clone()));
        }
        let id = id_key(&new.id);
        if let Some(index) = batch.ids.get(&id).copied().or_else(|| self.shelf.index.by_id(&id)) {
            return self.check_repeats(new, index, batch).map(|()| index);
        }
        if self.shelf.tree.pending.len() + batch.leaves.len() >= MAX_PENDING {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(LogError::Io {
                what: format!("log {} cannot be published", self.shelf.dir.display()),
                source: full,
            });
        }
        let chain = chain_key(new.kind.as_str(), &new.subject);
        let prev = match batch.last.get(&chain) {
            Some(index) => Some((*index, batch.hashes[(index - batch.first) as usize])),
            None => self
                .shelf
                .index
                .last(&chain)
                .map(|i| self.shelf.tree.tiles.proven_leaf(i).map(|h| (i, h)))
                .transpose()?,
        };
        let statement = leaf::build(new, &self.origin, leaf::prev_value(prev))?;
        let mut salt = [0; 32];
        (self.entropy)(&mut salt).map_err(|source| LogError::Io { what: "random bytes for a leaf".into(), source })?;
        let leaf = Leaf::seal(salt, statement);
        let index = batch.first + batch.leaves.len() as u64;
        batch.ids.insert(id, index);
        batch.last.insert(chain, index);
        batch.keys.push((id, chain));
        batch.hashes.push(leaf.hash());
        batch.bytes += leaf.statement.len();
        batch.leaves.push(leaf);
        Ok(index)
    }

    fn find(&self, id: &str) -> Result<Option<LeafIndex>, LogError> {
        match &self.stopped {
            Some(why) => Err(LogError::Stopped(why.clone())),
            None => Ok(self.shelf.index.by_id(&id_key(id)).map(leaf_index)),
        }
    }

    /// A step must not have two outcomes: the same id with other content is refused.
    fn check_repeats(&self, new: &NewLeaf, index: u64, batch: &Batch) -> Result<(), LogError> {
        let published = self.shelf.tree.published;
        let stored = if index >= batch.first {
            batch.leaves[(index - batch.first) as usize].statement.clone()
        } else if index >= published {
            self.shelf.tree.pending[(index - published) as usize].statement.clone()
        } else {
            let mut records = tail::proven(&self.shelf.dir, &self.shelf.tree.tiles, index / WIDTH, published)?;
            records.swap_remove((index % WIDTH) as usize).1
        };
        let file = || self.shelf.dir.join(statements::path(index / WIDTH));
        let read = Statement::parse(&stored).map_err(|why| LogError::corrupt_at(&file(), why))?;
        if read.id != new.id {
            return Err(LogError::corrupt_at(&file(), format!("leaf {index} is not {}, as the index says", new.id)));
        }
        if !read.repeats(&stored, new, &self.origin) {
            return Err(LogError::Refused(format!("leaf {} is in the log at {index} with other content", new.id)));
        }
        Ok(())
    }

    /// Makes a batch durable and acknowledges it.
    fn commit(&mut self, batch: Batch) {
        if batch.leaves.is_empty() {
            return;
        }
        let waiting = batch.waiting;
        let written = self.write(batch.first, batch.leaves, &batch.hashes, &batch.keys);
        for (index, promise) in waiting {
            promise.answer(match &written {
                Ok(()) => Ok(leaf_index(index)),
                Err(error) => Err(again(error)),
            });
        }
    }

    fn write(&mut self, first: u64, leaves: Vec<Leaf>, hashes: &[Hash], keys: &[(Key, Key)]) -> Result<(), LogError> {
        let signed = self.signer.sign(first, hashes)?;
        let note = signed.note.to_string();
        let record = Record { first, leaves, note: note.clone().into_bytes() };
        if let Err(error) = self.wal.append(&record) {
            if !error.undone {
                self.stopped = Some(error.source.to_string());
            }
            return Err(LogError::io(self.wal.path(), error.source));
        }
        self.signer.commit(&signed);
        hashes.iter().for_each(|hash| self.shelf.tree.tiles.push(*hash));
        keys.iter().for_each(|(id, chain)| self.shelf.index.insert(*id, *chain));
        self.shelf.tree.pending.extend(record.leaves);
        if let Err(error) = self.shelf.memory.remember(&note) {
            tracing::warn!(%error, "the last checkpoint could not be remembered beside the key");
        }
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = signed.checkpoint.to_head(Some(&signed.note));
        self.shelf.tree.head = signed.checkpoint;
        self.shelf.tree.note = Some(signed.note);
        Ok(())
    }

    fn publish(&mut self) -> Result<(), LogError> {
        self.shelf.publish()?;
        if self.wal.len() > SEGMENT_BYTES {
            self.wal = Wal::begin(&self.shelf.dir, self.shelf.published())?;
        }
        Ok(())
    }
}

fn leaf_index(index: u64) -> LeafIndex {
    LeafIndex(i64::try_from(index).unwrap_or(i64::MAX))
}

/// The same failure for another waiter.
fn again(error: &LogError) -> LogError {
    match error {
        LogError::Io { what, source } => {
            LogError::Io { what: what.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }
        }
        LogError::Refused(why) => LogError::Refused(why.clone()),
        other => LogError::Stopped(other.to_string()),
    }
}
