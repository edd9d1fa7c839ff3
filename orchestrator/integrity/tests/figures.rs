//! Prints how fast leaves become durable; asserts only that group commit gathers.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use cathedral_sim::contracts::ledger::leaf;
use common::Home;

fn per_second(n: usize, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// The same number of syncs of about the same bytes, without a log.
fn raw_syncs(home: &Home, n: usize, bytes: usize) -> Duration {
    let mut file = std::fs::File::create(home.root.path().join("raw")).unwrap();
    let block = vec![7_u8; bytes];
    let start = Instant::now();
    for _ in 0..n {
        file.write_all(&block).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

#[test]
fn many_writers_share_syncs() {
    const SINGLE: usize = 200;
    const WRITERS: usize = 64;
    const EACH: usize = 40;
    let home = Home::new();
    let log = home.open().unwrap();
    let start = Instant::now();
    for i in 0..SINGLE {
        log.append_blocking(&leaf(&format!("single {i}"))).unwrap();
    }
    let single = start.elapsed();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let log = &log;
            scope.spawn(move || {
                for i in 0..EACH {
                    log.append_blocking(&leaf(&format!("writer {writer} {i}"))).unwrap();
                }
            });
        }
    });
    let many = start.elapsed();
    let raw = raw_syncs(&home, SINGLE, 1100);
    let rates = [per_second(SINGLE, raw), per_second(SINGLE, single), per_second(WRITERS * EACH, many)];
    println!("raw syncs {:.0}/s, single {:.0}/s, {WRITERS} writers {:.0}/s", rates[0], rates[1], rates[2]);
    assert_eq!(log.signed_head().size, (SINGLE + WRITERS * EACH) as u64);
}
