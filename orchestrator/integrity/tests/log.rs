//! Appending, restarting, and what a log refuses.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cathedral_integrity::log::{FileLog, os_entropy};
use cathedral_integrity::{Checkpoint, LogError, VerifierKey};
use cathedral_model::ports::PortError;
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_sim::contracts::ledger::{check, leaf};
use common::{Home, ORIGIN, block_on, copy};

#[test]
fn the_contract_of_ledgers_is_kept() {
    let home = Home::new();
    block_on(check(&home.open().unwrap()));
}

#[test]
fn a_reopened_log_goes_on_where_it_was_and_knows_its_keys() {
    let home = Home::new();
    home.fill(0, 3);
    home.fill(0, 5);
    let log = home.open().unwrap();
    let head = log.signed_head();
    assert_eq!(head.size, 5);
    let key: VerifierKey = log.verifier_key().to_string().parse().unwrap();
    let (opened, _) = Checkpoint::open(head.note.as_bytes(), &key).unwrap();
    assert_eq!((opened.origin.as_str(), opened.size, hex::encode(opened.root)), (ORIGIN, 5, head.root));
    assert_eq!(log.append_blocking(&leaf("leaf 1")).unwrap().0, 1);
    drop(log);
    assert!(cathedral_integrity::audit::Audit::is_clean(
        &cathedral_integrity::LogReader::audit(&home.log(), &key).unwrap()
    ));
}

#[test]
fn leaves_of_one_subject_are_chained() {
    let home = Home::new();
    let log = home.open().unwrap();
    for i in 0..3 {
        let next = NewLeaf { subject: "spoke a".into(), ..leaf(&format!("chained {i}")) };
        log.append_blocking(&next).unwrap();
        log.append_blocking(&leaf(&format!("other {i}"))).unwrap();
    }
    log.publish().unwrap();
    let reader = home.reader().unwrap();
    let found = reader.find("spoke a").unwrap();
    assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 2, 4]);
    let prevs: Vec<_> = found.iter().map(|(_, s)| s.prev.map(|p| p.0)).collect();
    assert_eq!(prevs, [None, Some(0), Some(2)]);
    let entry = &reader.entries(2, 3).unwrap()[0];
    assert_eq!(found[2].1.prev.unwrap().1, cathedral_integrity::tree::leaf_hash(entry));
    assert_eq!(reader.find("chained 1").unwrap()[0].0, 2, "an id finds its leaf too");
    assert!(reader.find("nobody").unwrap().is_empty());
}

#[test]
fn a_reader_sees_acknowledged_leaves_while_the_hub_runs() {
    let home = Home::new();
    let log = home.open().unwrap();
    for i in 0..300 {
        let index = log.append_blocking(&leaf(&format!("leaf {i}"))).unwrap();
        if i % 50 == 0 {
            let reader = home.reader().unwrap();
            assert_eq!(reader.size(), i + 1);
            assert_eq!(reader.statement(u64::try_from(index.0).unwrap()).unwrap().id, format!("leaf {i}"));
            assert_eq!(reader.entries(0, 1000).unwrap().len() as u64, i + 1);
        }
    }
}

/// A reader in another process has no lock: files are replaced, dropped and begun under it.
#[test]
fn readers_are_not_disturbed_by_a_busy_writer() {
    let home = Home::new();
    let log = home.open().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..700 {
                log.append_blocking(&leaf(&format!("leaf {i}"))).unwrap();
                if i % 5 == 0 {
                    log.publish().unwrap();
                }
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut size = 0;
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let reader = home.reader().unwrap();
            assert!(reader.size() >= size, "a reader never goes back");
            size = reader.size();
            if size > 0 {
                let pack = reader.prove(size / 2).unwrap().to_bytes().unwrap();
                let check = cathedral_integrity::Check { trusted: Some(log.verifier_key()), object: None };
                assert!(cathedral_integrity::verify_pack(&pack, check).is_trusted());
            }
        }
    });
}

#[test]
fn a_second_process_is_refused_whichever_folder_it_shares() {
    let home = Home::new();
    let _log = home.open().unwrap();
    assert!(matches!(home.open(), Err(LogError::Locked(_))));
    let elsewhere = home.root.path().join("copy");
    let second = FileLog::open(&elsewhere, &home.keys(), ORIGIN, os_entropy());
    assert!(matches!(second, Err(LogError::Locked(_))), "one key signs one log");
}

#[test]
fn a_log_that_was_put_back_is_refused_and_left_alone() {
    let home = Home::new();
    home.fill(0, 4);
    let old = home.root.path().join("old");
    copy(&home.log(), &old);
    home.fill(4, 5);
    fs::remove_dir_all(home.log()).unwrap();
    copy(&old, &home.log());
    let error = home.open().unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { why, .. } if why.contains("5 leaves were signed")), "{error}");
    assert!(matches!(PortError::from(error), PortError::Corrupt(_)));
    assert_eq!(home.reader().unwrap().size(), 4, "nothing was appended");

    fs::remove_dir_all(home.log()).unwrap();
    assert!(matches!(home.open(), Err(LogError::Corrupt { .. })), "a log that is gone is not begun again");
}

#[test]
fn a_log_that_went_another_way_is_refused() {
    let home = Home::new();
    home.fill(0, 4);
    let old = home.root.path().join("old");
    copy(&home.root.path().join("log"), &old.join("log"));
    copy(&home.root.path().join("keys"), &old.join("keys"));
    home.fill(4, 6);
    // The twin signs other leaves with the same key.
    let twin = FileLog::open(&old.join("log"), &old.join("keys"), ORIGIN, os_entropy()).unwrap();
    for i in 0..5 {
        twin.append_blocking(&leaf(&format!("twin {i}"))).unwrap();
    }
    drop(twin);
    fs::remove_dir_all(home.log()).unwrap();
    copy(&old.join("log"), &home.log());
    let error = home.open().unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { why, .. } if why.contains("contradicts")), "{error}");
}

#[test]
fn the_key_is_secret_never_replaced_and_of_one_log() {
    let home = Home::new();
    home.fill(0, 1);
    let key = home.keys().join("log.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let other = FileLog::open(&home.log(), &home.keys(), "hub-2.cathedral/demo", os_entropy());
    assert!(matches!(other, Err(LogError::Key(_))));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(home.open(), Err(LogError::Key(why)) if why.contains("read by others")));
    fs::remove_file(&key).unwrap();
    assert!(matches!(home.open(), Err(LogError::Key(why)) if why.contains("signed before")));
}

#[test]
fn origins_that_could_not_stand_in_a_note_are_refused() {
    let home = Home::new();
    for origin in
        ["", "hub", "hub .cathedral/x", "hub+1.cathedral/x", ".cathedral/x", "h.cathedral/", "h.cathedral/a\nb"]
    {
        let opened = FileLog::open(&home.log(), &home.keys(), origin, os_entropy());
        assert!(matches!(opened, Err(LogError::Invalid(_))), "{origin:?}");
    }
}

#[test]
fn reserved_predicate_fields_and_bad_digests_are_refused() {
    let home = Home::new();
    let log = home.open().unwrap();
    for field in ["prev", "id", "time", "hub", "ecosystem"] {
        let bad = NewLeaf { predicate: serde_json::json!({ field: 1 }), ..leaf("x") };
        assert!(matches!(log.append_blocking(&bad), Err(LogError::Invalid(_))), "{field}");
    }
    for digest in ["", "ab", &"G".repeat(64), &"A".repeat(64)] {
        let bad = NewLeaf { sha256: Some(digest.to_owned()), ..leaf("x") };
        assert!(matches!(log.append_blocking(&bad), Err(LogError::Invalid(_))), "{digest}");
    }
    assert_eq!(log.signed_head().size, 0);
}

#[test]
fn a_lost_index_is_made_again() {
    let home = Home::new();
    home.fill_fast(0, 300);
    let path = home.log().join("index");
    let whole = fs::read(&path).unwrap();
    for damage in [None, Some(vec![0; whole.len()]), Some(vec![1; 100])] {
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let found = home.reader().unwrap().find("leaf 77");
        let log = home.open().unwrap();
        let again = log.append_blocking(&leaf("leaf 77")).unwrap();
        assert_eq!(home.reader().unwrap().statement(u64::try_from(again.0).unwrap()).unwrap().id, "leaf 77");
        assert_eq!(log.signed_head().size, 300, "nothing was appended twice");
        drop((log, found));
    }
    home.fill(300, 301);
    let records = whole.len() - 32;
    assert_eq!(fs::read(&path).unwrap()[..records], whole[..records], "the index is the same as before");
}
