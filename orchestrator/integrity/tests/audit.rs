//! Flipped bytes in every file of a log are found, and named with their file.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::path::Path;

use cathedral_integrity::{Audit, LogReader, VerifierKey, key};
use cathedral_sim::contracts::ledger::leaf;
use common::{Home, copy, files};

fn audit(log: &Path, key: &VerifierKey) -> Audit {
    LogReader::audit(log, key).unwrap()
}

/// A log with full and partial tiles on two levels, and records in the write-ahead log.
fn filled() -> (Home, std::path::PathBuf, VerifierKey) {
    let home = Home::new();
    home.fill_fast(0, 530);
    let log = home.open_quiet().unwrap();
    for i in 0..3 {
        log.append_blocking(&leaf(&format!("late {i}"))).unwrap();
        log.publish().unwrap();
    }
    for i in 0..3 {
        log.append_blocking(&leaf(&format!("later {i}"))).unwrap();
    }
    // The segment is kept while the log is open: the copy is what a killed process leaves.
    let left = home.root.path().join("left");
    copy(&home.log(), &left);
    drop(log);
    let key = key::verifier_key(&home.keys()).unwrap();
    (home, left, key)
}

#[test]
fn an_untouched_log_has_no_differences() {
    let (home, left, key) = filled();
    for log in [home.log(), left] {
        let found = audit(&log, &key);
        assert_eq!(found.differences, []);
        assert_eq!(found.leaves, 536);
    }
}

#[test]
fn a_flipped_byte_in_any_file_is_found_there() {
    let (_home, log, key) = filled();
    let mut layers = std::collections::BTreeSet::new();
    for file in files(&log) {
        let path = log.join(&file);
        let name = file.display().to_string();
        let whole = fs::read(&path).unwrap();
        if whole.is_empty() {
            continue;
        }
        layers.insert(name.split('/').take(2).collect::<Vec<_>>().join("/"));
        let step = (whole.len() / 5).max(1);
        let mut places: Vec<usize> = (0..whole.len()).step_by(step).collect();
        places.push(whole.len() - 1);
        for at in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let found = audit(&log, &key);
            let blamed: std::collections::BTreeSet<_> = found.differences.iter().map(|d| d.file.as_str()).collect();
            assert_eq!(blamed, [name.as_str()].into(), "byte {at} of {name}: {:?}", found.differences);
        }
        fs::write(&path, &whole).unwrap();
    }
    for layer in ["checkpoint", "index", "statements/000", "tile/0", "tile/1", "tile/entries"] {
        assert!(layers.contains(layer), "{layer} is not in {layers:?}");
    }
    assert!(layers.iter().any(|l| l.starts_with("wal/")));
    assert_eq!(audit(&log, &key).differences, [], "all flips were taken back");
}

#[test]
fn a_removed_file_is_missed() {
    let (home, _, key) = filled();
    let log = home.log();
    for file in files(&log) {
        let name = file.display().to_string();
        let needed = name.starts_with("statements") || name.starts_with("tile") && !name.contains(".p/");
        if needed || name == "index" {
            let bytes = fs::read(log.join(&file)).unwrap();
            fs::remove_file(log.join(&file)).unwrap();
            let found = audit(&log, &key);
            assert!(found.differences.iter().any(|d| d.file == name), "{name}: {:?}", found.differences);
            fs::write(log.join(&file), bytes).unwrap();
        }
    }
}

#[test]
fn an_invented_size_does_not_keep_the_audit_busy() {
    let (home, _, key) = filled();
    let path = home.log().join("checkpoint");
    let text = fs::read_to_string(&path).unwrap().replace("\n536\n", "\n5360000000000000000\n");
    fs::write(&path, text).unwrap();
    assert!(audit(&home.log(), &key).differences.iter().any(|d| d.file == "checkpoint"));
}

#[test]
fn swapped_statements_are_found() {
    let home = Home::new();
    home.fill(0, 4);
    let key = key::verifier_key(&home.keys()).unwrap();
    let path = home.log().join("statements/000");
    let bytes = fs::read(&path).unwrap();
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let len = 36 + u32::from_be_bytes(rest[32..36].try_into().unwrap()) as usize;
        records.push(&rest[..len]);
        rest = &rest[len..];
    }
    records.swap(1, 2);
    fs::write(&path, records.concat()).unwrap();
    let found = audit(&home.log(), &key).differences;
    assert!(found.iter().filter(|d| d.file == "statements/000").count() >= 2, "{found:?}");
    assert!(home.reader().unwrap().prove(1).is_err(), "no proof is made of what is not in the tree");
}
