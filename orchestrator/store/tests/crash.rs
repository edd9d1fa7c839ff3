//! `kill -9` in the middle of a stream of records: what was acknowledged is there, and nothing is half.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{Cursor, NodeId, RunId, Seq, SpokeName};
use cathedral_model::observation::SpokeMemory;
use cathedral_model::ports::store::{Effect, Record, Store};
use cathedral_model::run::{Priority, Request, RunSummary, SyncRequest, Work};
use cathedral_model::time::Timestamp;
use cathedral_store::SqliteStore;
use futures_util::future::join_all;

const STORE: &str = "CATHEDRAL_TEST_CRASH_STORE";
const WRITERS: usize = 6;

fn spoke(writer: usize) -> SpokeName {
    SpokeName::new(&format!("s{writer}")).unwrap()
}

fn mark(run: RunId, seq: i64) -> String {
    format!("{run}/{seq}")
}

/// The process that is killed: goes on with its runs and prints what has been acknowledged.
#[tokio::main]
async fn write_until_killed(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let store = &store;
    join_all((0..WRITERS).map(|writer| async move {
        let sync = SyncRequest { spokes: vec![spoke(writer)], ..SyncRequest::default() };
        let request = Request { priority: Priority::Manual, cause: "crash".into(), work: Work::Sync(sync) };
        let node = NodeId::new(&format!("n{writer}"));
        store.enqueue(&request, Timestamp(0)).await.unwrap();
        let claim = store.claim(&node, Timestamp(0), 3_600_000).await.unwrap().unwrap();
        let done = store.journal(claim.run).await.unwrap().len();
        for seq in i64::try_from(done).unwrap().. {
            let mark = mark(claim.run, seq);
            let event = |kind: &str| NewEvent {
                kind: format!("{mark} {kind}"),
                run: Some(claim.run),
                spoke: None,
                data: serde_json::json!("x".repeat(200)),
            };
            let memory = SpokeMemory { hub_position: mark.clone(), ..SpokeMemory::default() };
            let name = SpokeName::new(&format!("run-{}", claim.run)).unwrap();
            let record = Record {
                seq: Seq(seq),
                event: serde_json::json!({ "mark": mark, "filler": "y".repeat(300) }),
                summary: RunSummary { error: Some(mark.clone()), ..RunSummary::default() },
                effects: vec![Effect::Remember { spoke: name, memory }],
                events: vec![event("first"), event("second")],
                messages: vec![Message { key: mark.clone(), topic: "t".into(), payload: serde_json::json!(0) }],
                finished: false,
            };
            store.record(&claim, &record, Timestamp(seq)).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "acknowledged {mark}").unwrap();
            out.flush().unwrap();
        }
    }))
    .await;
}

#[test]
fn every_acknowledged_record_outlives_kill_9() {
    if let Some(path) = std::env::var_os(STORE) {
        return write_until_killed(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut acknowledged: BTreeMap<i64, i64> = BTreeMap::new();
    for killed_after in [1, 3, 10, 25, 60, 120, 200, 333] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_acknowledged_record_outlives_kill_9", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut count = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            // The last line may be cut off by the kill: then it is not an acknowledgement.
            let Some((run, seq)) = line.as_deref().ok().and_then(acknowledgement) else { continue };
            let last = acknowledged.entry(run).or_insert(seq);
            *last = seq.max(*last);
            count += 1;
            if count == killed_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= killed_after, "the writer ended by itself after {count} records");
        check(&path, &acknowledged);
    }
    assert!(acknowledged.len() >= WRITERS);
}

fn acknowledgement(line: &str) -> Option<(i64, i64)> {
    // The test harness may have printed before the first one on the same line.
    let (run, seq) = line.split_once("acknowledged ")?.1.split_once('/')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

#[tokio::main]
async fn check(path: &Path, acknowledged: &BTreeMap<i64, i64>) {
    let store = SqliteStore::open(path).await.unwrap();
    let mut told: Vec<String> =
        store.events(Cursor(0), 1_000_000).await.unwrap().into_iter().map(|e| e.event.kind).collect();
    let mut sent: Vec<String> = store.undelivered(1_000_000).await.unwrap().into_iter().map(|m| m.key).collect();
    let mut expected_told = vec![];
    let mut expected_sent = vec![];
    for row in store.runs(None, 1_000).await.unwrap() {
        let journal = store.journal(row.run).await.unwrap();
        let last = acknowledged.get(&row.run.0);
        assert!(
            last.is_none_or(|last| i64::try_from(journal.len()).unwrap() > *last),
            "run {}: {last:?} was acknowledged, {} records are there",
            row.run,
            journal.len(),
        );
        for (seq, record) in (0..).zip(&journal) {
            let mark = mark(row.run, seq);
            assert_eq!((record.seq, &record.event["mark"]), (Seq(seq), &serde_json::json!(mark)));
            expected_told.extend([format!("{mark} first"), format!("{mark} second")]);
            expected_sent.push(mark);
        }
        let last = journal.last().map(|record| mark(row.run, record.seq.0));
        let memory = store.memory(&SpokeName::new(&format!("run-{}", row.run)).unwrap()).await.unwrap();
        assert_eq!((&row.summary.error, memory.hub_position), (&last, last.clone().unwrap_or_default()));
    }
    for list in [&mut told, &mut sent, &mut expected_told, &mut expected_sent] {
        list.sort();
    }
    assert_eq!(told, expected_told, "events and journal belong together");
    assert_eq!(sent, expected_sent, "messages and journal belong together");
    store.close().await;
}
