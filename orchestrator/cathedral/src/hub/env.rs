//! The real clock, randomness and runtime.

use cathedral_model::ports::Env;
use cathedral_model::ports::env::Task;
use cathedral_model::time::Timestamp;

/// The surroundings of a hub that runs for real.
#[derive(Debug, Default, Clone, Copy)]
pub struct HubEnv;

impl HubEnv {
    /// The time now, for code that has no engine. A clock outside of the years that dates can name counts
    /// as the nearest moment in them: a wrong clock must not keep anybody from a restore.
    pub fn clock() -> Timestamp {
        nearest(std::time::SystemTime::now())
    }

    /// Says what is the matter with a clock that no date can name.
    pub fn clock_trouble() -> Option<String> {
        let now = std::time::SystemTime::now();
        let before = now < std::time::UNIX_EPOCH;
        let place = if before { "before 1970" } else { "after the year 9999" };
        (before || nearest(now) == LAST).then(|| {
            format!("this machine's clock stands {place}: what is written now carries {} instead", nearest(now))
        })
    }
}

/// The end of 9999-12-30: the last day that every time zone can name.
const LAST: Timestamp = Timestamp(253_402_207_199_999_999);

fn nearest(at: std::time::SystemTime) -> Timestamp {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)).min(LAST)
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{LAST, nearest};
    use cathedral_model::time::Timestamp;

    #[test]
    fn every_clock_gives_a_time_that_can_be_written() {
        let day = Duration::from_secs(86_400);
        assert_eq!(nearest(UNIX_EPOCH + day), Timestamp(86_400_000_000));
        assert_eq!(nearest(UNIX_EPOCH - day), Timestamp(0), "before 1970");
        for years in [8_100, 20_000, 1_000_000, 100_000_000] {
            let at = UNIX_EPOCH.checked_add(day * 366 * years).expect("the system can name it");
            assert_eq!(nearest(at), LAST);
        }
        assert!(LAST.to_rfc3339().starts_with("9999-12-30T"), "{LAST}");
        assert!(crate::cli::local(LAST).starts_with("9999-12-"));
    }
}
