//! No room left while appending: nothing is acknowledged that is not there, and later it goes on.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use cathedral_integrity::log::{CHECKPOINT_EVERY, FileLog, os_entropy};
use cathedral_integrity::{LogReader, key};
use cathedral_model::ports::{Cause, PortError};
use cathedral_sim::contracts::ledger::leaf;
use common::{Home, ORIGIN};

const CHILD: &str = "CATHEDRAL_INTEGRITY_TEST_FILLS";

/// Not a test of its own: the process whose files cannot grow beyond 64 KiB.
#[test]
fn child_that_runs_out_of_room() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let log =
        FileLog::open_with(&root.join("log"), &root.join("keys"), ORIGIN, os_entropy(), CHECKPOINT_EVERY).unwrap();
    for i in 0..1000 {
        match log.append_blocking(&leaf(&format!("leaf {i}"))) {
            Ok(index) => println!("\nack {}", index.0),
            Err(error) => {
                assert_eq!(PortError::from(error).cause(), Cause::Full);
                assert_eq!(log.signed_head().size, i, "the head is that of the acknowledged leaves");
                // Still no room, still the same answer; the log itself goes on.
                assert!(log.append_blocking(&leaf(&format!("leaf {i}"))).is_err());
                assert_eq!(log.append_blocking(&leaf("leaf 0")).unwrap().0, 0);
                println!("\nfull");
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_appends_once_when_there_is_room() {
    let home = Home::new();
    let child = std::env::current_exe().unwrap();
    // An ignored signal stays ignored in the child, so that it sees an error instead of ending.
    let output = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact child_that_runs_out_of_room --nocapture"])
        .arg(&child)
        .env(CHILD, home.root.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("\nfull"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged = said.matches("\nack ").count() as u64;
    assert!(acknowledged > 10, "{acknowledged}");
    let log = home.open().unwrap();
    assert_eq!(log.signed_head().size, acknowledged);
    for i in 0..acknowledged + 5 {
        assert_eq!(log.append_blocking(&leaf(&format!("leaf {i}"))).unwrap().0 as u64, i);
    }
    drop(log);
    let audit = LogReader::audit(&home.log(), &key::verifier_key(&home.keys()).unwrap()).unwrap();
    assert_eq!((audit.differences, audit.leaves), (vec![], acknowledged + 5));
}
