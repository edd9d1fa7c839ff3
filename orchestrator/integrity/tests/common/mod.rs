//! What the tests of the log share.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; tests may panic")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use cathedral_integrity::log::{Entropy, FileLog, os_entropy};
use cathedral_integrity::{LogError, LogReader};
use cathedral_sim::contracts::ledger::leaf;

pub const ORIGIN: &str = "hub-1.cathedral/demo";

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A log in a folder of its own, its keys beside it.
pub struct Home {
    pub root: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub fn keys(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    pub fn open(&self) -> Result<FileLog, LogError> {
        FileLog::open(&self.log(), &self.keys(), ORIGIN, os_entropy())
    }

    /// Opens a log that is published only when it is told to.
    pub fn open_quiet(&self) -> Result<FileLog, LogError> {
        let hour = std::time::Duration::from_secs(3600);
        FileLog::open_with(&self.log(), &self.keys(), ORIGIN, os_entropy(), hour)
    }

    pub fn reader(&self) -> Result<LogReader, LogError> {
        LogReader::open(&self.log(), &cathedral_integrity::key::verifier_key(&self.keys())?)
    }

    /// Opens, appends leaves `from..to` from several threads, publishes and closes.
    pub fn fill(&self, from: u64, to: u64) {
        let log = self.open().unwrap();
        for i in from..to {
            log.append_blocking(&leaf(&format!("leaf {i}"))).unwrap();
        }
    }

    /// Appends many leaves in few batches.
    pub fn fill_fast(&self, from: u64, to: u64) {
        let log = self.open().unwrap();
        let ids: Vec<_> = (from..to).map(|i| leaf(&format!("leaf {i}"))).collect();
        for chunk in ids.chunks(200) {
            std::thread::scope(|scope| {
                for part in chunk.chunks(8) {
                    let log = &log;
                    scope.spawn(move || {
                        for l in part {
                            log.append_blocking(l).unwrap();
                        }
                    });
                }
            });
        }
    }
}

/// Gives the same bytes on every run: SHA-256 of a counter.
pub fn counting_entropy() -> Entropy {
    let mut counter = 0_u64;
    Box::new(move |into| {
        for part in into.chunks_mut(32) {
            let hash = blake3::hash(&counter.to_be_bytes());
            part.copy_from_slice(&hash.as_bytes()[..part.len()]);
            counter += 1;
        }
        Ok(())
    })
}

/// Every file below a folder, sorted, relative.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}
