//! The test vectors of `docs/formats/log-v1.md`: the document and the code say the same.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::path::Path;

use cathedral_integrity::FileLog;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::time::Timestamp;
use common::{Home, ORIGIN, counting_entropy};

/// Three leaves of the specification's example.
fn leaves() -> [NewLeaf; 3] {
    let sync = |n: u32| NewLeaf {
        kind: LeafKind::Sync,
        id: format!("run-{n}"),
        subject: "run 7".into(),
        sha256: None,
        blake3: None,
        at: Timestamp(1_767_225_600_000_000 + i64::from(n)),
        predicate: serde_json::json!({"outcome": "succeeded", "changes": n}),
    };
    let snapshot = NewLeaf {
        kind: LeafKind::Snapshot,
        id: "snapshot-1".into(),
        subject: "01KDVWNK00000000000000000A".into(),
        sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
        blake3: Some("6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85".into()),
        at: Timestamp(1_767_225_600_000_000),
        predicate: serde_json::Value::Null,
    };
    [sync(1), snapshot, sync(2)]
}

#[test]
fn the_specification_has_the_vectors_of_the_code() {
    let home = Home::new();
    let log = FileLog::open(&home.log(), &home.keys(), ORIGIN, counting_entropy()).unwrap();
    for leaf in leaves() {
        log.append_blocking(&leaf).unwrap();
    }
    let pack = log.prove(1).unwrap();
    let key = log.verifier_key().to_string();
    drop(log);

    let read = |file: &str| fs::read(home.log().join(file)).unwrap();
    let mut vectors = vec![
        ("seed of the key", hex::encode(blake3::hash(&0_u64.to_be_bytes()).as_bytes())),
        ("verifier key", key),
        ("salt of leaf 0", hex::encode(blake3::hash(&1_u64.to_be_bytes()).as_bytes())),
        ("salt of leaf 1", hex::encode(pack.salt)),
        ("statement of leaf 1", String::from_utf8(pack.statement.clone()).unwrap()),
        ("tile/entries/000.p/3", hex::encode(read("tile/entries/000.p/3"))),
        ("tile/0/000.p/3", hex::encode(read("tile/0/000.p/3"))),
        ("checkpoint", String::from_utf8(read("checkpoint")).unwrap().trim_end().to_owned()),
        ("leaf.tlog-proof of leaf 1", pack.proof.to_text().trim_end().to_owned()),
    ];
    let statements = home.reader().unwrap().statements(0, 3).unwrap();
    for (i, statement) in statements.iter().enumerate().step_by(2) {
        let name = ["statement of leaf 0", "", "statement of leaf 2"][i];
        vectors.push((name, cathedral_model::canonical::to_string(&statement.value).unwrap()));
    }
    vectors.push(("SHA-256 of the pack of leaf 1", {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(pack.to_bytes().unwrap()))
    }));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/log-v1.md");
    let document = fs::read_to_string(&path).unwrap();
    let missing: Vec<String> = vectors
        .iter()
        .filter(|(_, value)| !document.contains(value.as_str()))
        .map(|(name, value)| format!("{name}:\n\n```text\n{value}\n```\n"))
        .collect();
    assert!(missing.is_empty(), "{} lacks:\n\n{}", path.display(), missing.join("\n"));
}
