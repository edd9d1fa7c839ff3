//! Compressing chunks and filling packs, in worker threads.

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Fault, FaultKind, PortError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::fanout::Fanout;
use super::{Inner, lock};
use crate::frame::Framer;
use crate::index::{Kind, Pack};
use crate::pack::{PackWriter, SealedPack};

struct Job {
    id: Digest,
    kind: Kind,
    plain: Vec<u8>,
}

/// What all workers share.
pub(crate) struct Packer {
    inner: Arc<Inner>,
    data: Mutex<Option<PackWriter>>,
    tree: Mutex<Option<PackWriter>>,
    pub(crate) done: Mutex<Vec<Pack>>,
    pub(crate) fanout: Fanout,
    failed: Mutex<Option<Fault>>,
    pub(crate) new_bytes: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
}

/// The way chunks go to the workers.
pub(crate) struct Line {
    pub(crate) packer: Arc<Packer>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Line {
    /// Starts the workers.
    pub(crate) fn start(inner: &Arc<Inner>, fanout: Fanout) -> Self {
        let packer = Arc::new(Packer {
            inner: Arc::clone(inner),
            data: Mutex::default(),
            tree: Mutex::default(),
            done: Mutex::default(),
            fanout,
            failed: Mutex::default(),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        });
        let workers = inner.tuning.workers.max(1);
        let (send, receive) = sync_channel(workers);
        let receive = Arc::new(Mutex::new(receive));
        let start = |_| {
            let (packer, receive) = (Arc::clone(&packer), Arc::clone(&receive));
            std::thread::spawn(move || packer.work(&receive))
        };
        let workers = Mutex::new((0..workers).map(start).collect());
        Self { packer, jobs: Mutex::new(Some(send)), workers }
    }

    /// Hands a chunk over; waits while the workers are behind.
    pub(crate) fn send(&self, id: Digest, kind: Kind, plain: Vec<u8>) -> Result<(), PortError> {
        self.packer.check()?;
        let jobs = lock(&self.jobs).clone();
        let jobs = jobs.ok_or_else(|| PortError::permanent("snapshot is committed already"))?;
        jobs.send(Job { id, kind, plain }).map_err(|_| PortError::permanent("snapshot's workers have stopped"))
    }

    /// Waits for all chunks and closes the open packs.
    pub(crate) fn finish(&self) -> Result<(), PortError> {
        self.stop();
        self.packer.check()?;
        for open in [&self.packer.data, &self.packer.tree] {
            if let Some(pack) = lock(open).take().filter(|p| !p.is_empty()) {
                self.packer.close(pack)?;
            }
        }
        Ok(())
    }

    fn stop(&self) {
        drop(lock(&self.jobs).take());
        for worker in lock(&self.workers).drain(..) {
            let _ = worker.join();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Packer {
    fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        let mut framer = match Framer::new(self.inner.tuning.level) {
            Ok(framer) => framer,
            Err(e) => return self.fail(&PortError::permanent(format!("zstd: {e}"))),
        };
        loop {
            let Ok(job) = lock(jobs).recv() else { return };
            if lock(&self.failed).is_some() {
                continue;
            }
            if let Err(e) = self.pack(&mut framer, &job) {
                self.fail(&e);
            }
        }
    }

    fn pack(&self, framer: &mut Framer, job: &Job) -> Result<(), PortError> {
        let (coding, frame) = framer.frame(&job.plain).map_err(|e| PortError::permanent(format!("zstd: {e}")))?;
        let tuning = &self.inner.tuning;
        let (open, target) =
            if job.kind.is_tree() { (&self.tree, tuning.tree_pack) } else { (&self.data, tuning.data_pack) };
        let plain = job.plain.len() as u64;
        self.new_bytes.fetch_add(plain, Ordering::Relaxed);
        let full = {
            let mut open = lock(open);
            let mut pack = match open.take() {
                Some(pack) => pack,
                None => PackWriter::new(&self.inner.recipients, target)?,
            };
            pack.push(job.id, job.kind, coding, plain, &frame)?;
            if pack.len() < target as u64 {
                *open = Some(pack);
                None
            } else {
                Some(pack)
            }
        };
        full.map_or(Ok(()), |pack| self.close(pack))
    }

    fn close(&self, pack: PackWriter) -> Result<(), PortError> {
        let SealedPack { pack, bytes } = pack.finish()?;
        let object = pack.object();
        self.stored_bytes.fetch_add(pack.len, Ordering::Relaxed);
        super::adopt::mark_open(&self.inner);
        lock(&self.done).push(pack);
        self.fanout.put(&object, bytes)
    }

    fn fail(&self, error: &PortError) {
        lock(&self.failed).get_or_insert_with(|| error.fault());
    }

    /// Returns the first failure of any worker.
    pub(crate) fn check(&self) -> Result<(), PortError> {
        lock(&self.failed).as_ref().map_or(Ok(()), |fault| Err(again(fault)))
    }
}

fn again(fault: &Fault) -> PortError {
    let message = fault.message.clone();
    match fault.kind {
        FaultKind::Transient => PortError::Transient { cause: fault.cause, message },
        FaultKind::Permanent => PortError::Permanent { cause: fault.cause, message },
        FaultKind::Fenced => PortError::Fenced(message),
        FaultKind::Corrupt => PortError::Corrupt(message),
    }
}
