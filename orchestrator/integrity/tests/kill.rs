//! A process that appends is killed at any moment: nothing acknowledged is lost, nothing is there twice.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cathedral_integrity::log::{FileLog, os_entropy};
use cathedral_integrity::{LogReader, key};
use cathedral_sim::contracts::ledger::leaf;
use common::{Home, ORIGIN};

const ROUNDS: u64 = 20;
const CHILD: &str = "CATHEDRAL_INTEGRITY_TEST_APPENDS_IN";

/// Not a test of its own: the process that is killed. It appends from four threads and says what is acknowledged.
#[test]
fn child_that_appends() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let round = std::env::var("CATHEDRAL_INTEGRITY_TEST_ROUND").unwrap();
    let log = FileLog::open(&root.join("log"), &root.join("keys"), ORIGIN, os_entropy()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (log, round) = (&log, &round);
            scope.spawn(move || {
                for i in 0..100_000 {
                    let id = format!("{round}-{thread}-{i}");
                    let index = log.append_blocking(&leaf(&id)).unwrap().0;
                    let line = format!("\nack {index} {id}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn killed_at_any_moment_every_acknowledged_leaf_is_there_once() {
    let home = Home::new();
    let mut acknowledged: BTreeMap<i64, String> = BTreeMap::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..ROUNDS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let wanted = 1 + usize::try_from(state % 120).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends", "--nocapture", "--test-threads=1"])
            .env(CHILD, home.root.path())
            .env("CATHEDRAL_INTEGRITY_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        let mut take = |line: &str| {
            let mut words = line.trim_end().strip_prefix("ack ")?.splitn(2, ' ');
            let (index, id) = (words.next()?.parse().ok()?, words.next()?.to_owned());
            assert!(acknowledged.insert(index, id).is_none(), "index {index} was given twice");
            Some(())
        };
        while seen < wanted {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the child goes on");
            seen += usize::from(take(&line).is_some());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What reached the pipe before the end was acknowledged as well; the last line may be cut off.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
        for line in whole.lines() {
            take(line);
        }
        check(&home, &acknowledged);
    }
    let log = home.open().unwrap();
    for (index, id) in &acknowledged {
        assert_eq!(log.append_blocking(&leaf(id)).unwrap().0, *index, "a retry gives the same index");
    }
}

fn check(home: &Home, acknowledged: &BTreeMap<i64, String>) {
    // Read as the crash left it, then opened (which publishes), then read again.
    for opened in [false, true] {
        if opened {
            drop(home.open().unwrap());
        }
        let reader = home.reader().unwrap();
        let mut ids: Vec<String> = reader.statements(0, reader.size()).unwrap().into_iter().map(|s| s.id).collect();
        for (index, id) in acknowledged {
            assert_eq!(ids.get(usize::try_from(*index).unwrap()), Some(id), "leaf {index}");
        }
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "no leaf is there twice");
        if opened {
            let audit = LogReader::audit(&home.log(), &key::verifier_key(&home.keys()).unwrap()).unwrap();
            assert_eq!(audit.differences, []);
        }
    }
}
