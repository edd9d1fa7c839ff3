//! Putting each object at every destination, each with its own thread and bounded queue.
//!
//! A destination that fails once gets nothing more in this snapshot: it must never hold an index or a
//! manifest without what they name. The next snapshot brings it up to date.

use cathedral_model::ports::{Cause, Destination, Fault, PortError};
use cathedral_model::snapshot::Held;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::lock;

const ATTEMPTS: usize = 3;

enum Message {
    Put(Arc<str>, Arc<Vec<u8>>),
    Flush(SyncSender<()>),
}

struct Lane {
    destination: Arc<dyn Destination>,
    queue: SyncSender<Message>,
    fault: Arc<Mutex<Option<Fault>>>,
    thread: Option<JoinHandle<()>>,
}

/// All destinations of one snapshot.
pub(crate) struct Fanout {
    lanes: Vec<Lane>,
    quorum: usize,
}

impl Fanout {
    /// Starts a thread for each destination; those with a fault already are lagging from the start.
    pub(crate) fn start(destinations: Vec<(Arc<dyn Destination>, Option<Fault>)>, quorum: usize) -> Self {
        let lanes = destinations.into_iter().map(|(destination, fault)| {
            let (queue, messages) = sync_channel(1);
            let fault = Arc::new(Mutex::new(fault));
            let (to, noted) = (Arc::clone(&destination), Arc::clone(&fault));
            let thread = Some(std::thread::spawn(move || drain(to.as_ref(), &messages, &noted)));
            Lane { destination, queue, fault, thread }
        });
        Self { lanes: lanes.collect(), quorum }
    }

    /// Queues an object for every destination that is not lagging; fails below the quorum.
    pub(crate) fn put(&self, object: &str, bytes: Vec<u8>) -> Result<(), PortError> {
        let (object, bytes): (Arc<str>, _) = (object.into(), Arc::new(bytes));
        for lane in self.lanes.iter().filter(|l| lock(&l.fault).is_none()) {
            let _ = lane.queue.send(Message::Put(Arc::clone(&object), Arc::clone(&bytes)));
        }
        self.require_quorum()
    }

    /// Waits until everything queued is confirmed; fails below the quorum.
    pub(crate) fn flush(&self) -> Result<(), PortError> {
        let (done, waiting) = sync_channel(self.lanes.len());
        for lane in &self.lanes {
            let _ = lane.queue.send(Message::Flush(done.clone()));
        }
        drop(done);
        while waiting.recv().is_ok() {}
        self.require_quorum()
    }

    /// Says how each destination stands.
    pub(crate) fn held(&self) -> Vec<Held> {
        let state = |l: &Lane| if lock(&l.fault).is_none() { "held" } else { "lagging" };
        self.lanes.iter().map(|l| Held { name: l.destination.name().clone(), state: state(l).into() }).collect()
    }

    fn require_quorum(&self) -> Result<(), PortError> {
        let faults: Vec<Fault> = self.lanes.iter().filter_map(|l| lock(&l.fault).clone()).collect();
        if self.lanes.len() - faults.len() >= self.quorum {
            return Ok(());
        }
        let texts: Vec<&str> = faults.iter().map(|f| f.message.as_str()).collect();
        let good = self.lanes.len() - faults.len();
        let message =
            format!("{good} of the {} destinations needed take the snapshot: {}", self.quorum, texts.join("; "));
        let same = faults.iter().all(|f| f.cause == faults[0].cause);
        let cause = if same && faults[0].cause != Cause::Other { faults[0].cause } else { Cause::Unreachable };
        Err(PortError::transient(cause, message))
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        for lane in self.lanes.drain(..) {
            let Lane { queue, thread, .. } = lane;
            drop(queue);
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
    }
}

fn drain(destination: &dyn Destination, messages: &Receiver<Message>, fault: &Mutex<Option<Fault>>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Flush(done) => drop(done),
            Message::Put(object, bytes) => {
                if lock(fault).is_some() {
                    continue;
                }
                if let Err(error) = put(destination, &object, &bytes) {
                    tracing::warn!(destination = %destination.name(), object = &*object, %error, "destination is lagging");
                    *lock(fault) = Some(error.fault());
                }
            }
        }
    }
}

/// Puts and confirms: a destination that takes an object and does not have it counts as not held.
pub(crate) fn put(destination: &dyn Destination, object: &str, bytes: &[u8]) -> Result<(), PortError> {
    let mut attempt = 1;
    loop {
        match destination.put(object, bytes) {
            Ok(_) => break,
            Err(PortError::Transient { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(e) => return Err(e),
        }
    }
    match destination.size(object)? {
        Some(size) if size == bytes.len() as u64 => Ok(()),
        found => {
            let message = format!(
                "destination {}: {object} was taken with {} bytes and is there with {found:?}",
                destination.name(),
                bytes.len()
            );
            Err(PortError::Corrupt(message))
        }
    }
}
