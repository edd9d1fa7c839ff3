//! Time, randomness, tasks and progress, given from outside so that runs can be replayed.

use std::future::Future;
use std::pin::Pin;

use crate::time::Timestamp;

/// A task without borrowed data.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// The surroundings of an engine.
pub trait Env: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Fills a buffer with random bytes.
    fn entropy(&self, into: &mut [u8]);

    /// Starts a task beside the current one.
    fn spawn(&self, task: Task);

    /// Completes after this many milliseconds.
    fn sleep(&self, ms: u64) -> Task;

    /// Marks a place where tests may stop the process, named by what has just become durable.
    fn reached(&self, _point: &str) {}
}

/// One progress report.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// `validate`, `snapshot`, `sync`, `verify`, `notify`, `restore`, `check`.
    pub phase: &'a str,
    /// What is being worked on, for example a spoke or a path.
    pub item: &'a str,
    pub done: u64,
    /// Zero when it is not known.
    pub total: u64,
    /// `bytes`, `files`, `packs`, `spokes`.
    pub unit: &'static str,
}

/// Receives progress; must be quick and never fails.
pub trait Progress: Send + Sync {
    fn update(&self, update: &Update<'_>);
}

/// Reports to nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &Update<'_>) {}
}
