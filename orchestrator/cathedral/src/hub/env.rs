//! The real clock, randomness and runtime.

use cathedral_model::ports::Env;
use cathedral_model::ports::env::Task;
use cathedral_model::time::Timestamp;

/// The surroundings of a hub that runs for real.
#[derive(Debug, Default, Clone, Copy)]
pub struct HubEnv;

impl HubEnv {
    /// The time now, for code that has no engine.
    pub fn clock() -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

impl Env for HubEnv {
    fn now(&self) -> Timestamp {
        Self::clock()
    }

    fn entropy(&self, into: &mut [u8]) {
        getrandom::fill(into).expect("the operating system gives random bytes");
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, ms: u64) -> Task {
        Box::pin(tokio::time::sleep(std::time::Duration::from_millis(ms)))
    }

    #[cfg(feature = "failpoints")]
    fn reached(&self, point: &str) {
        failpoint::reached(point);
    }
}

/// Lets a test stop the process at an exact place and kill it there. Only in builds for tests.
#[cfg(feature = "failpoints")]
mod failpoint {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);

    /// With `CATHEDRAL_STOP_AT=n`, announces the nth point on stderr and waits there to be killed.
    /// With `CATHEDRAL_STOP_AT=list`, only announces each.
    pub fn reached(point: &str) {
        let Some(wanted) = std::env::var_os("CATHEDRAL_STOP_AT") else { return };
        let n = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
        let stop = wanted.to_str().and_then(|w| w.parse::<u64>().ok()) == Some(n);
        let _ = writeln!(std::io::stderr(), "failpoint {n} {point}{}", if stop { " stop" } else { "" });
        if stop {
            loop {
                std::thread::park();
            }
        }
    }
}
