//! What every [`Ledger`] keeps, whatever it writes to.
//!
//! The suite needs an empty ledger and no runtime: `check` is a plain future for any executor.

use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::Ledger;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::time::Timestamp;
use futures_util::future::join_all;

/// Makes a leaf for tests, different for each `id`.
#[must_use]
pub fn leaf(id: &str) -> NewLeaf {
    NewLeaf {
        kind: LeafKind::Sync,
        id: id.to_owned(),
        subject: format!("run of {id}"),
        sha256: None,
        blake3: None,
        at: Timestamp(1_700_000_000_000_000),
        predicate: serde_json::json!({"outcome": "succeeded", "of": id}),
    }
}

/// Runs the whole suite against an empty ledger.
///
/// # Panics
/// When the ledger breaks the contract.
pub async fn check(ledger: &dyn Ledger) {
    an_empty_log_has_a_head_of_size_zero(ledger).await;
    appends_are_in_order_and_covered_by_the_head(ledger).await;
    the_same_key_is_appended_once(ledger).await;
    a_leaf_is_found_by_its_key(ledger).await;
    concurrent_appends_are_each_there_once(ledger).await;
    a_leaf_that_cannot_be_written_leaves_no_trace(ledger).await;
}

async fn append(ledger: &dyn Ledger, leaf: &NewLeaf) -> LeafIndex {
    ledger.append(leaf).await.expect("append succeeds")
}

async fn size(ledger: &dyn Ledger) -> u64 {
    ledger.head().await.expect("head is readable").size
}

fn number(index: LeafIndex) -> u64 {
    u64::try_from(index.0).expect("an index is not negative")
}

async fn an_empty_log_has_a_head_of_size_zero(ledger: &dyn Ledger) {
    let head = ledger.head().await.expect("head is readable");
    assert_eq!(head.size, 0, "the suite begins with an empty ledger");
    assert!(!head.origin.is_empty(), "a head names its log");
    assert_eq!(head.root, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

async fn a_leaf_is_found_by_its_key(ledger: &dyn Ledger) {
    assert_eq!(ledger.find("found").await.expect("looked for"), None, "it was never appended");
    let index = append(ledger, &leaf("found")).await;
    assert_eq!(ledger.find("found").await.expect("looked for"), Some(index));
    assert_eq!(ledger.find("foun").await.expect("looked for"), None, "a part of a key is no key");
}

async fn appends_are_in_order_and_covered_by_the_head(ledger: &dyn Ledger) {
    let before = size(ledger).await;
    let mut roots = vec![ledger.head().await.expect("head is readable").root];
    for i in 0..5 {
        let index = append(ledger, &leaf(&format!("ordered {i}"))).await;
        assert_eq!(number(index), before + i, "leaves are numbered in the order of their appends");
        let head = ledger.head().await.expect("head is readable");
        assert_eq!(head.size, before + i + 1, "the head covers an acknowledged leaf");
        assert!(!roots.contains(&head.root), "another tree has another root");
        assert!(!head.signatures.is_empty() && !head.note.is_empty(), "a head is signed");
        roots.push(head.root);
    }
}

async fn the_same_key_is_appended_once(ledger: &dyn Ledger) {
    let first = append(ledger, &leaf("once")).await;
    append(ledger, &leaf("between")).await;
    let before = ledger.head().await.expect("head is readable");
    assert_eq!(append(ledger, &leaf("once")).await, first, "a repeated append returns the first index");
    let later = NewLeaf { at: Timestamp(1_800_000_000_000_000), ..leaf("once") };
    assert_eq!(append(ledger, &later).await, first, "a later attempt of the same act is the same leaf");
    let other = NewLeaf { subject: "something else".to_owned(), ..leaf("once") };
    assert!(ledger.append(&other).await.is_err(), "an act cannot have two outcomes");
    assert_eq!(ledger.head().await.expect("head is readable").root, before.root, "nothing was added");
}

async fn concurrent_appends_are_each_there_once(ledger: &dyn Ledger) {
    let before = size(ledger).await;
    let leaves: Vec<NewLeaf> = (0..40).map(|i| leaf(&format!("at once {}", i % 20))).collect();
    let indices: Vec<LeafIndex> = join_all(leaves.iter().map(|l| append(ledger, l))).await;
    for i in 0..20 {
        assert_eq!(indices[i], indices[i + 20], "two appends of one key at the same time are one");
    }
    let mut distinct: Vec<u64> = indices.iter().map(|i| number(*i)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, (before..before + 20).collect::<Vec<_>>(), "no index is used twice or left out");
    assert_eq!(size(ledger).await, before + 20);
}

async fn a_leaf_that_cannot_be_written_leaves_no_trace(ledger: &dyn Ledger) {
    let before = ledger.head().await.expect("head is readable");
    let huge = NewLeaf { predicate: serde_json::json!({"list": "x".repeat(70_000)}), ..leaf("huge") };
    assert!(ledger.append(&huge).await.is_err(), "a statement is at most 64 KiB");
    let float = NewLeaf { predicate: serde_json::json!({"ratio": 0.5}), ..leaf("float") };
    assert!(ledger.append(&float).await.is_err(), "what has no canonical form is refused");
    assert_eq!(ledger.head().await.expect("head is readable").root, before.root);
    let small = append(ledger, &leaf("huge")).await;
    assert_eq!(number(small), before.size, "a refused key is free for a leaf that fits");
}
