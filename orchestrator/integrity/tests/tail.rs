//! A log whose end is damaged is refused as it is: what is appended never covers damage up.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cathedral_integrity::{LogError, LogReader, key};
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_sim::contracts::ledger::leaf;
use common::{Home, files};

fn contents(log: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(log).into_iter().map(|file| (file.clone(), fs::read(log.join(file)).unwrap())).collect()
}

/// Damages a file, expects that the log is refused by the file's name and left as it is, and heals the file.
#[track_caller]
fn refused(home: &Home, file: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let path = home.log().join(file);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    damage(&mut bytes);
    assert_ne!(bytes, whole);
    fs::write(&path, &bytes).unwrap();
    let before = contents(&home.log());
    let error = home.open().map(|log| log.append_blocking(&leaf("fresh")).unwrap()).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { file: named, .. } if named.contains(file)), "{file}: {error}");
    assert_eq!(contents(&home.log()), before, "{file}: something was written");
    fs::write(&path, whole).unwrap();
}

#[test]
fn a_damaged_newest_file_is_refused_at_any_place() {
    for (size, n, width) in [(5, "000", ".p/5"), (256, "000", ""), (300, "001", ".p/44")] {
        let home = Home::new();
        home.fill_fast(0, size);
        for file in [format!("statements/{n}"), format!("tile/entries/{n}{width}")] {
            let length = fs::metadata(home.log().join(&file)).unwrap().len() as usize;
            for at in (0..length).step_by(length / 40).chain([length - 1]) {
                refused(&home, &file, |bytes| bytes[at] ^= 1 << (at % 8));
            }
            for keep in [0, 1, length / 2, length - 1] {
                refused(&home, &file, |bytes| bytes.truncate(keep));
            }
        }
        let path = home.log().join(format!("statements/{n}"));
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(home.open(), Err(LogError::Corrupt { .. })), "{size} leaves");
        assert!(!path.exists(), "nothing is written in its place");
        fs::write(&path, whole).unwrap();
        home.fill(size, size + 1);
    }
}

#[test]
fn full_files_before_the_end_that_lost_bytes_are_refused() {
    let home = Home::new();
    home.fill_fast(0, 600);
    for file in ["statements/000", "tile/entries/000", "tile/0/000", "tile/entries/001", "tile/0/001"] {
        refused(&home, file, |bytes| bytes.truncate(100));
    }
    refused(&home, "tile/entries/000", |bytes| bytes.push(0));
}

#[test]
fn nothing_is_chained_to_a_leaf_that_is_not_the_signed_one() {
    let home = Home::new();
    let chained = |id: &str| NewLeaf { subject: "spoke a".into(), ..leaf(id) };
    home.open().unwrap().append_blocking(&chained("first")).unwrap();
    home.fill_fast(0, 600);
    for (file, at) in [("tile/0/000", 3), ("tile/0/000", 8000), ("statements/000", 50)] {
        let path = home.log().join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).unwrap();
        // Full files before the end are not read at each opening: what needs them finds the damage.
        let log = home.open().unwrap();
        let asked = if file == "statements/000" { chained("first") } else { chained("second") };
        let error = log.append_blocking(&asked).unwrap_err();
        assert!(matches!(&error, LogError::Corrupt { file: named, .. } if named.contains(file)), "{error}");
        assert_eq!(log.signed_head().size, 601);
        drop(log);
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(home.open().unwrap().append_blocking(&chained("second")).unwrap().0, 601);
    let key = key::verifier_key(&home.keys()).unwrap();
    assert_eq!(LogReader::audit(&home.log(), &key).unwrap().differences, []);
}

#[test]
fn a_damaged_index_never_gives_a_leaf_a_second_time() {
    let home = Home::new();
    home.fill_fast(0, 300);
    let path = home.log().join("index");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 301 * 32);
    let key = key::verifier_key(&home.keys()).unwrap();
    // Where each leaf is, by a log that nobody damaged.
    let reader = home.reader().unwrap();
    let ids: Vec<String> = (0..300).map(|i| reader.statement(i).unwrap().id).collect();
    for at in [0, 15, 33, 5_000, 299 * 32 + 3, 300 * 32 + 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = LogReader::audit(&home.log(), &key).unwrap().differences;
        assert!(!found.is_empty() && found.iter().all(|d| d.file == "index"), "byte {at}: {found:?}");
        let log = home.open().unwrap();
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(log.append_blocking(&leaf(id)).unwrap().0, index as i64, "byte {at}");
        }
        assert_eq!(log.signed_head().size, 300);
    }
    home.fill(300, 301);
    assert_eq!(LogReader::audit(&home.log(), &key).unwrap().differences, [], "the next publication heals it");
    assert_eq!(fs::read(&path).unwrap()[..300 * 32], whole[..300 * 32]);
}

#[test]
fn an_index_is_not_made_again_from_statements_that_were_not_signed() {
    let home = Home::new();
    home.fill_fast(0, 300);
    fs::remove_file(home.log().join("index")).unwrap();
    let path = home.log().join("statements/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[500] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { file, .. } if file.contains("statements/000")), "{error}");
}
