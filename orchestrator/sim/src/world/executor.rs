//! Virtual time and a seeded order of everything: one thread, one stream of numbers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use cathedral_model::ids::Digest;
use cathedral_model::ports::env::Task;
use cathedral_model::time::Timestamp;

use crate::memory::lock;
use crate::rng::Rng;

type MakeHub = Box<dyn Fn() -> Task + Send>;

/// The owner of a task that is nobody's hub: a person.
pub const PERSON: usize = usize::MAX;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Running {
    owner: usize,
    task: Task,
    ready: Arc<Flag>,
}

struct Inner {
    now: Timestamp,
    rng: Rng,
    spawned: Vec<(usize, Task)>,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    timer_count: u64,
    makers: BTreeMap<usize, MakeHub>,
    crashed: Vec<usize>,
    crash_points: Vec<(usize, String)>,
    faults: bool,
    /// Somebody watches closely: no faults until they are done.
    calm: bool,
    trace: blake3::Hasher,
    tail: Vec<String>,
}

/// Runs tasks of hubs and people in an order drawn from the seed.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Mutex<Inner>>,
    tasks: Arc<Mutex<Vec<Running>>>,
}

impl Executor {
    /// Starts at a fixed time with nothing to do.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        let inner = Inner {
            now: Timestamp(1_800_000_000_000_000),
            rng,
            spawned: vec![],
            timers: BTreeMap::new(),
            timer_count: 0,
            makers: BTreeMap::new(),
            crashed: vec![],
            crash_points: vec![],
            faults: false,
            calm: false,
            trace: blake3::Hasher::new(),
            tail: vec![],
        };
        Self { inner: Arc::new(Mutex::new(inner)), tasks: Arc::new(Mutex::new(vec![])) }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        lock(&self.inner).now
    }

    /// Draws a number below `n`.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        lock(&self.inner).rng.below(n)
    }

    /// Draws a chance; always false when faults are off.
    #[must_use]
    pub fn fault(&self, per_thousand: u64) -> bool {
        let mut inner = lock(&self.inner);
        inner.faults && !inner.calm && inner.rng.below(1_000) < per_thousand
    }

    /// Switches faults on or off.
    pub fn faults(&self, on: bool) {
        lock(&self.inner).faults = on;
    }

    /// Holds faults back for a while.
    pub fn calm(&self, on: bool) {
        lock(&self.inner).calm = on;
    }

    /// Writes a line of the trace: the call and its arguments.
    pub fn note(&self, line: String) {
        let mut inner = lock(&self.inner);
        let line = format!("{} {line}", inner.now.0 - 1_800_000_000_000_000);
        inner.trace.update(line.as_bytes());
        inner.trace.update(b"\n");
        if inner.tail.len() >= 400 {
            inner.tail.drain(..200);
        }
        inner.tail.push(line);
    }

    /// Returns the digest over the whole trace.
    #[must_use]
    pub fn trace_digest(&self) -> String {
        Digest(*lock(&self.inner).trace.finalize().as_bytes()).to_string()
    }

    /// Returns the last lines of the trace.
    #[must_use]
    pub fn trace_tail(&self) -> Vec<String> {
        lock(&self.inner).tail.clone()
    }

    /// Says how a hub's process begins, now and after each crash.
    pub fn define_hub(&self, hub: usize, make: MakeHub) {
        let task = make();
        let mut inner = lock(&self.inner);
        inner.makers.insert(hub, make);
        inner.spawned.push((hub, task));
    }

    /// Starts a task that belongs to `owner` and dies with it.
    pub fn spawn(&self, owner: usize, task: Task) {
        lock(&self.inner).spawned.push((owner, task));
    }

    /// Stops a hub's process at once; it starts again later.
    pub fn crash(&self, hub: usize) {
        let mut inner = lock(&self.inner);
        if !inner.crashed.contains(&hub) {
            inner.crashed.push(hub);
        }
    }

    /// Stops a hub's process when it next reaches a point whose name ends so.
    pub fn crash_at(&self, hub: usize, point: &str) {
        lock(&self.inner).crash_points.push((hub, point.to_owned()));
    }

    /// Tells that a hub has reached a point.
    pub fn reached(&self, hub: usize, point: &str) {
        let hit = {
            let mut inner = lock(&self.inner);
            let found = inner.crash_points.iter().position(|(h, p)| *h == hub && point.ends_with(p.as_str()));
            found.map(|index| inner.crash_points.remove(index)).is_some()
        };
        if hit {
            self.crash(hub);
        }
    }

    /// Completes after virtual time.
    pub fn sleep(&self, ms: u64) -> Task {
        let until = self.now().plus_ms(ms);
        Box::pin(Sleep { inner: Arc::clone(&self.inner), until })
    }

    /// Lets others go first.
    #[must_use]
    pub fn pass(&self) -> Pass {
        Pass(false)
    }

    /// Runs until this much virtual time has gone by, or nothing is left to do.
    pub fn run_for(&self, ms: u64) {
        let end = self.now().plus_ms(ms);
        while self.now() < end && self.turn(end) {}
    }

    /// One step: a ready task, or else the next timer. False when there is nothing left.
    fn turn(&self, end: Timestamp) -> bool {
        self.bury();
        let spawned: Vec<(usize, Task)> = lock(&self.inner).spawned.drain(..).collect();
        let mut tasks = lock(&self.tasks);
        for (owner, task) in spawned {
            tasks.push(Running { owner, task, ready: Arc::new(Flag(AtomicBool::new(true))) });
        }
        let ready: Vec<usize> = (0..tasks.len()).filter(|i| tasks[*i].ready.0.load(Ordering::Relaxed)).collect();
        if ready.is_empty() {
            drop(tasks);
            let mut inner = lock(&self.inner);
            let Some(((at, _), waker)) = inner.timers.pop_first() else { return false };
            inner.now = inner.now.max(at.min(end));
            if at > end {
                let key = (at, inner.timer_count);
                inner.timer_count += 1;
                inner.timers.insert(key, waker);
                return true;
            }
            drop(inner);
            waker.wake();
            return true;
        }
        let index = ready[usize::try_from(self.below(ready.len() as u64)).unwrap_or(0)];
        let mut running = tasks.swap_remove(index);
        drop(tasks);
        running.ready.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&running.ready));
        let done = running.task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if !done {
            lock(&self.tasks).push(running);
        }
        true
    }

    /// Drops everything of crashed hubs and lets them start again after a while.
    fn bury(&self) {
        let crashed: Vec<usize> = lock(&self.inner).crashed.drain(..).collect();
        for hub in crashed {
            lock(&self.tasks).retain(|t| t.owner != hub);
            lock(&self.inner).spawned.retain(|(owner, _)| *owner != hub);
            self.note(format!("hub{hub} crashed"));
            let pause = 500 + self.below(50_000);
            let (exec, wait) = (self.clone(), self.sleep(pause));
            self.spawn(
                PERSON,
                Box::pin(async move {
                    wait.await;
                    let task = lock(&exec.inner).makers.get(&hub).map(|make| make());
                    if let Some(task) = task {
                        exec.note(format!("hub{hub} started"));
                        exec.spawn(hub, task);
                    }
                }),
            );
        }
    }
}

struct Sleep {
    inner: Arc<Mutex<Inner>>,
    until: Timestamp,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = lock(&self.inner);
        if inner.now >= self.until {
            return Poll::Ready(());
        }
        let key = (self.until, inner.timer_count);
        inner.timer_count += 1;
        inner.timers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

/// Pending once.
pub struct Pass(bool);

impl Future for Pass {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
