//! Proof packs: what they prove, and that no byte of one can change.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use cathedral_integrity::tar::{self, Member};
use cathedral_integrity::{Check, ProofPack, Trust, VerifierKey, verify_pack};
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_sim::contracts::ledger::leaf;
use common::Home;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const MANIFEST: &[u8] = b"age-encryption.org/v1 and so on";

fn snapshot() -> NewLeaf {
    NewLeaf {
        kind: LeafKind::Snapshot,
        subject: "01JD0000000000000000000000".into(),
        sha256: Some(hex::encode(Sha256::digest(MANIFEST))),
        blake3: Some(blake3::hash(MANIFEST).to_hex().to_string()),
        ..leaf("snapshot")
    }
}

/// A log of 300 leaves whose 100th is a snapshot, and the proof of it.
fn proven() -> (ProofPack, VerifierKey) {
    let home = Home::new();
    home.fill_fast(0, 100);
    let log = home.open().unwrap();
    let index = log.append_blocking(&snapshot()).unwrap();
    drop(log);
    home.fill_fast(101, 300);
    let log = home.open().unwrap();
    let key = log.verifier_key().clone();
    (log.prove(u64::try_from(index.0).unwrap()).unwrap(), key)
}

#[test]
fn a_pack_proves_its_leaf_and_says_what_had_to_be_believed() {
    let (pack, key) = proven();
    let bytes = pack.to_bytes().unwrap();
    let verdict = verify_pack(&bytes, Check { trusted: Some(&key), object: Some(MANIFEST) });
    let proven = verdict.result.clone().unwrap();
    assert!(verdict.is_trusted());
    assert_eq!((proven.index, proven.checkpoint.size), (100, 300));
    assert_eq!(proven.statement.subject, "01JD0000000000000000000000");
    assert_eq!(proven.trust, Trust::Key(key));
    let steps: Vec<_> = verdict.steps.iter().map(|s| s.name).collect();
    assert_eq!(steps, ["archive", "statement", "leaf", "tree", "signature", "object"]);

    let verdict = verify_pack(&bytes, Check::default());
    assert!(verdict.result.is_ok() && !verdict.is_trusted());
    assert!(verdict.result.unwrap().trust.to_string().contains("trust not decided"));
}

#[test]
fn another_object_or_another_key_fails_at_its_step() {
    let (pack, _) = proven();
    let bytes = pack.to_bytes().unwrap();
    let failed = verify_pack(&bytes, Check { trusted: None, object: Some(b"other") }).result.unwrap_err();
    assert_eq!((failed.step, failed.file.as_str()), ("object", "the object"));
    let other = proven().1;
    let failed = verify_pack(&bytes, Check { trusted: Some(&other), object: None }).result.unwrap_err();
    assert_eq!((failed.step, failed.file.as_str()), ("signature", "keys/log.vkey"));
}

#[test]
fn every_changed_byte_of_a_pack_is_found() {
    let (pack, key) = proven();
    let whole = pack.to_bytes().unwrap();
    let mut bytes = whole.clone();
    for at in 0..bytes.len() {
        for (bits, trusted) in [(1 << (at % 8), None), (0x80 >> (at % 8), Some(&key))] {
            bytes[at] ^= bits;
            let verdict = verify_pack(&bytes, Check { trusted, object: None });
            assert!(verdict.result.is_err(), "bits {bits:#x} of byte {at} are free to change");
            bytes[at] = whole[at];
        }
    }
    for cut in (0..whole.len()).step_by(101) {
        assert!(verify_pack(&whole[..cut], Check::default()).result.is_err());
    }
    assert!(verify_pack(&[whole.as_slice(), &[0; 512]].concat(), Check::default()).result.is_err());
}

/// Each part changed by somebody who writes a proper archive again; only the key is out of reach.
#[test]
fn every_changed_part_fails_and_is_named() {
    let (pack, key) = proven();
    let members = tar::read(&pack.to_bytes().unwrap()).unwrap();
    let mut named = std::collections::BTreeSet::new();
    for (i, member) in members.iter().enumerate() {
        for at in 0..member.bytes.len() {
            let mut changed: Vec<Member> = members.clone();
            changed[i].bytes[at] ^= 1 << (at % 7);
            // The checkpoint stands in the pack twice: a clever hand changes both.
            if member.name == "checkpoint" {
                let proof = String::from_utf8_lossy(&members[3].bytes);
                let start = proof.find("\n\n").unwrap() + 2;
                changed[3].bytes[start + at] ^= 1 << (at % 7);
            }
            let bytes = tar::write(&changed).unwrap();
            let failed = verify_pack(&bytes, Check { trusted: Some(&key), object: None }).result.unwrap_err();
            named.insert(failed.file);
        }
    }
    for name in ["VERIFY.md", "statement.json", "salt", "leaf.tlog-proof", "checkpoint", "keys/log.vkey"] {
        // A changed salt shows only where the leaf does not lead to the root.
        assert!(named.contains(name) || name == "salt", "{name} is never named: {named:?}");
    }
}

#[test]
fn signatures_by_unknown_keys_are_kept_and_skipped() {
    let (mut pack, key) = proven();
    let line = "\u{2014} witness.example AAAAAQECAwQFBgcICQoLDA0ODw==\n";
    pack.proof.checkpoint.push_str(line);
    let bytes = pack.to_bytes().unwrap();
    let check = Check { trusted: Some(&key), object: None };
    assert!(verify_pack(&bytes, check).is_trusted());
    // The same line twice is no note.
    pack.proof.checkpoint.push_str(line);
    assert!(verify_pack(&pack.to_bytes().unwrap(), check).result.is_err());
}

#[test]
fn a_forger_without_the_key_has_no_way() {
    let (pack, key) = proven();
    let home = Home::new();
    home.fill(0, 2);
    let forged = home.open().unwrap().prove(1).unwrap();
    // A log of one's own, shown under the right key's name.
    let shown = ProofPack { vkey: key.to_string(), ..forged };
    let check = Check { trusted: Some(&key), object: None };
    let failed = verify_pack(&shown.to_bytes().unwrap(), check).result.unwrap_err();
    assert_eq!((failed.step, failed.file.as_str()), ("signature", "checkpoint"));
    // The statement of one leaf with the proof of another.
    let mixed = ProofPack { statement: shown.statement, salt: shown.salt, ..pack };
    let failed = verify_pack(&mixed.to_bytes().unwrap(), check).result.unwrap_err();
    assert_eq!((failed.step, failed.file.as_str()), ("tree", "leaf.tlog-proof"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_check_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(verify_pack(&bytes, Check::default()).result.is_err());
    }

    #[test]
    fn archives_read_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..6)) {
        let members: Vec<Member> = parts
            .into_iter()
            .enumerate()
            .map(|(i, bytes)| Member { name: format!("dir/file-{i}"), bytes })
            .collect();
        prop_assert_eq!(tar::read(&tar::write(&members).unwrap()).unwrap(), members);
    }
}

#[test]
fn archive_names_that_reach_elsewhere_are_refused() {
    for name in ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a b", "a\\b", &"n".repeat(100)] {
        let member = Member { name: name.to_owned(), bytes: Vec::new() };
        assert!(tar::write(&[member]).is_err(), "{name:?}");
    }
}
