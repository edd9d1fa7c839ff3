//! The journal's format, version 1: journals that a released version wrote are read by every later one.

#![allow(clippy::unwrap_used, reason = "tests")]

use cathedral_model::journal::{Journaled, Next, Saga};
use cathedral_model::restore::RestoreRun;
use cathedral_model::run::{RunSummary, SyncRun};
use cathedral_model::time::Timestamp;
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/journal-v1.json");

fn fold<S: Saga + Default>(journal: &[Journaled]) -> S {
    journal.iter().fold(S::default(), |state, record| {
        let event: S::Event = serde_json::from_value(record.event.clone()).unwrap();
        // Written again, nothing is lost or renamed.
        assert_eq!(serde_json::to_value(&event).unwrap(), record.event);
        state.apply(&event).unwrap()
    })
}

#[test]
fn recorded_journals_fold_to_their_summaries() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let journal: Vec<Journaled> = serde_json::from_value(vector["journal"].clone()).unwrap();
        let expected: RunSummary = serde_json::from_value(vector["summary"].clone()).unwrap();
        let (summary, next) = match vector["kind"].as_str().unwrap() {
            "sync" => {
                let run: SyncRun = fold(&journal);
                (run.summary(), run.next(Timestamp(0)) == Next::Done)
            }
            _ => {
                let run: RestoreRun = fold(&journal);
                (run.summary(), run.next(Timestamp(0)) == Next::Done)
            }
        };
        assert_eq!(summary, expected);
        assert!(next, "a finished journal leaves nothing to do");
    }
}

/// Cut anywhere, a journal is a legal state with something left to do.
#[test]
fn every_prefix_of_a_journal_goes_on() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let journal: Vec<Journaled> = serde_json::from_value(vectors[0]["journal"].clone()).unwrap();
    for cut in 0..journal.len() {
        let run: SyncRun = fold(&journal[..cut]);
        let Next::Do(steps) = run.next(Timestamp(0)) else { panic!("cut at {cut}: nothing to do") };
        assert!(!steps.is_empty(), "cut at {cut}");
    }
}

/// A record that is missing, doubled or out of order is seen.
#[test]
fn a_journal_that_was_tampered_with_is_illegal() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let journal: Vec<Journaled> = serde_json::from_value(vectors[0]["journal"].clone()).unwrap();
    let events: Vec<_> = journal.iter().map(|r| serde_json::from_value(r.event.clone()).unwrap()).collect();
    let legal = |events: &[cathedral_model::run::SyncEvent]| {
        events.iter().try_fold(SyncRun::default(), |state, event| state.apply(event)).is_ok()
    };
    assert!(legal(&events));
    let kind = |i: usize| journal[i].event["event"].as_str().unwrap().to_owned();
    for i in 0..events.len() {
        // Verified and sealed may be told twice without harm; the others order the writes.
        if matches!(
            kind(i).as_str(),
            "started" | "snapshot_begun" | "snapshot_taken" | "snapshot_sealed" | "planned" | "applied" | "announced"
        ) {
            let mut doubled = events.clone();
            doubled.insert(i, events[i].clone());
            assert!(!legal(&doubled), "{} twice", kind(i));
        }
        if matches!(
            kind(i).as_str(),
            "started" | "snapshot_begun" | "snapshot_taken" | "snapshot_sealed" | "planned" | "pinned"
        ) {
            let mut missing = events.clone();
            missing.remove(i);
            assert!(!legal(&missing), "without {}", kind(i));
        }
    }
}

/// A file that could not be read is neither synced nor in the snapshot: the run must not look whole.
#[test]
fn what_could_not_be_read_makes_a_run_partial() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let mut journal: Vec<Journaled> = serde_json::from_value(vectors[0]["journal"].clone()).unwrap();
    journal[0].event["seen"]["codex"]["observed"]["warnings"] = serde_json::json!(["a.txt: Permission denied"]);
    let run: SyncRun = fold(&journal);
    let summary = run.summary();
    let codex = summary.spokes.iter().find(|s| s.name.as_str() == "codex").unwrap();
    assert_eq!((codex.result.as_str(), summary.code), ("partial", 12));
    assert_eq!(codex.warnings, ["a.txt: Permission denied"]);
    let before: RunSummary = serde_json::from_value(vectors[0]["summary"].clone()).unwrap();
    assert_ne!(before.code, 12, "the same run without the unreadable file is not partial");
}

/// Verifications end one after the other: a second spoke may be found changed while the first one that was is
/// being snapshotted already.
#[test]
fn a_spoke_may_be_stirred_while_another_one_is_snapshotted_again() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let journal: Vec<Journaled> = serde_json::from_value(vectors[0]["journal"].clone()).unwrap();
    let is = |record: &&Journaled, name: &str| record.event["event"] == name;
    let applied: Vec<&Journaled> = journal.iter().filter(|r| is(r, "applied")).take(2).collect();
    let end = journal.iter().rposition(|r| is(&r, "applied")).unwrap();
    let begun = journal.iter().find(|r| is(r, "snapshot_begun")).unwrap().event.clone();
    let stirred = |record: &Journaled| {
        let observation = serde_json::json!({
            "hub": record.event["applied"]["hub"], "spoke": record.event["applied"]["spoke"],
        });
        let event = serde_json::json!({
            "at": record.event["at"], "event": "stirred", "spoke": record.event["spoke"], "observation": observation,
        });
        serde_json::from_value(event).unwrap()
    };
    let run: SyncRun = fold(&journal[..=end]);
    let run = run.apply(&stirred(applied[0])).unwrap();
    let run = run.apply(&serde_json::from_value(begun).unwrap()).unwrap();
    let run = run.apply(&stirred(applied[1])).unwrap();
    assert_eq!(run.spokes.values().filter(|s| s.moved).count(), 2);
}
