//! Damaged ends are dropped; damage before an intact record, and lost signed leaves, are not.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use cathedral_integrity::{FileLog, LogError, log::os_entropy};
use cathedral_sim::contracts::ledger::leaf;
use common::{Home, ORIGIN, copy, files};

/// What a process leaves that is killed after `n` acknowledged leaves, nothing of them published.
fn killed_after(n: u64) -> (Home, PathBuf, PathBuf) {
    let home = Home::new();
    home.fill(0, 3);
    let log = home.open_quiet().unwrap();
    for i in 0..n {
        log.append_blocking(&leaf(&format!("leaf {}", 3 + i))).unwrap();
    }
    let (left_log, left_keys) = (home.root.path().join("left"), home.root.path().join("left-keys"));
    copy(&home.log(), &left_log);
    copy(&home.keys(), &left_keys);
    drop(log);
    (home, left_log, left_keys)
}

fn segment(log: &Path) -> PathBuf {
    let name = files(&log.join("wal")).pop().unwrap();
    log.join("wal").join(name)
}

fn open(log: &Path, keys: &Path) -> Result<FileLog, LogError> {
    FileLog::open(log, keys, ORIGIN, os_entropy())
}

/// Ends of the records in a segment.
fn record_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at += 44 + u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

#[test]
fn a_record_cut_at_any_byte_was_not_acknowledged_and_is_dropped() {
    let (_home, log, keys) = killed_after(2);
    let path = segment(&log);
    let whole = fs::read(&path).unwrap();
    let ends = record_ends(&whole);
    assert_eq!(ends.len(), 2);
    // Without the memory beside the key the last record may be one that was never finished.
    fs::remove_file(keys.join("log-head.recent")).unwrap();
    for cut in (ends[0]..ends[1]).step_by(37) {
        let (twin, twin_keys) = (log.with_extension("twin"), keys.with_extension("twin"));
        copy(&log, &twin);
        copy(&keys, &twin_keys);
        fs::write(segment(&twin), &whole[..cut]).unwrap();
        let open = open(&twin, &twin_keys).unwrap();
        assert_eq!(open.signed_head().size, 4, "cut at {cut}");
        assert_eq!(open.append_blocking(&leaf("leaf 4")).unwrap().0, 4);
        drop(open);
        fs::remove_dir_all(&twin).unwrap();
        fs::remove_dir_all(&twin_keys).unwrap();
    }
}

#[test]
fn an_acknowledged_record_that_is_damaged_is_never_trimmed() {
    let (_home, log, keys) = killed_after(2);
    let path = segment(&log);
    let whole = fs::read(&path).unwrap();
    for cut in [record_ends(&whole)[0], whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = open(&log, &keys).unwrap_err();
        assert!(matches!(&error, LogError::Corrupt { why, .. } if why.contains("5 leaves were signed")), "{error}");
        assert_eq!(fs::read(&path).unwrap().len(), cut, "the damaged log is left as it is");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(&log, &keys).unwrap().signed_head().size, 5, "what was there is enough to go on");
}

#[test]
fn damage_before_an_intact_record_is_corruption() {
    let (_home, log, keys) = killed_after(3);
    fs::remove_file(keys.join("log-head.recent")).unwrap();
    let path = segment(&log);
    let mut bytes = fs::read(&path).unwrap();
    let first = record_ends(&bytes)[0];
    bytes[first - 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = open(&log, &keys).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { why, .. } if why.contains("is intact")), "{error}");
}

#[test]
fn a_damaged_memory_of_the_last_moment_is_no_obstacle() {
    let (_home, log, keys) = killed_after(2);
    let path = keys.join("log-head.recent");
    let whole = fs::read(&path).unwrap();
    for bytes in [vec![], whole[..20].to_vec(), vec![0; 4096], vec![255; 64]] {
        let twin = log.with_extension("twin");
        copy(&log, &twin);
        fs::write(&path, bytes).unwrap();
        assert_eq!(open(&twin, &keys).unwrap().signed_head().size, 5);
        fs::remove_dir_all(&twin).unwrap();
        fs::write(keys.join("log-head"), fs::read(log.join("checkpoint")).unwrap()).unwrap();
    }
}

#[test]
fn left_overs_of_a_broken_publication_do_no_harm() {
    let (_home, log, keys) = killed_after(4);
    // Statements, index and tiles were written, the checkpoint was not.
    let mut statements = fs::read(log.join("statements/000")).unwrap();
    statements.extend_from_slice(&[9; 333]);
    fs::write(log.join("statements/000"), statements).unwrap();
    let mut index = fs::read(log.join("index")).unwrap();
    index.extend_from_slice(&[9; 50]);
    fs::write(log.join("index"), index).unwrap();
    fs::write(log.join("tile/0/000.p/7"), b"half").unwrap();
    fs::write(log.join("checkpoint.tmp"), b"half").unwrap();
    let open = open(&log, &keys).unwrap();
    let key = open.verifier_key().clone();
    assert_eq!(open.signed_head().size, 7);
    drop(open);
    let audit = cathedral_integrity::LogReader::audit(&log, &key).unwrap();
    assert_eq!(audit.differences, []);
}
