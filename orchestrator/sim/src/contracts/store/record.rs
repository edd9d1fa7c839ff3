//! The journal: in order, all or nothing, only by the holder of the claim.

use std::collections::BTreeSet;

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::event::Message;
use cathedral_model::ids::{ConflictId, Digest, Seq};
use cathedral_model::observation::{Digests, SpokeMemory};
use cathedral_model::ports::Cause;
use cathedral_model::ports::store::{Claim, Effect, Record};
use cathedral_model::run::{Priority, Request, RunSummary};
use futures_util::future::join_all;
use serde_json::json;

use super::{
    Subject, TTL_MS, all_events, assert_fenced, assert_permanent, at, claimed, dispute, node, note, promises, request,
    spoke, step,
};

promises! {
    records_are_kept_in_order,
    a_wrong_position_changes_nothing,
    a_lost_claim_changes_nothing,
    a_claim_whose_lease_ended_may_write_until_it_is_taken_over,
    a_failing_effect_undoes_the_whole_record,
    a_record_is_complete_or_absent_among_failing_ones,
    one_of_two_records_for_one_position_wins,
    the_last_summary_is_shown,
    a_spoke_is_remembered,
    what_was_agreed_is_forgotten_if_it_still_is_that,
    every_text_comes_back_as_it_was,
    a_run_of_two_thousand_records_comes_back_whole,
    fifty_writers_at_once_lose_nothing,
}

fn memory(word: &str) -> SpokeMemory {
    SpokeMemory {
        base: Some(Digest::of(word.as_bytes())),
        settled: Some(Digests { hub: Digest::of(b"hub"), spoke: Digest::of(word.as_bytes()) }),
        complete: true,
        hub_position: format!("main {word}"),
        spoke_position: format!("{word} files"),
    }
}

/// A record with every kind of consequence.
fn full(seq: i64, word: &str) -> Record {
    let name = spoke("full");
    Record {
        summary: RunSummary { code: 42, error: Some(word.to_owned()), ..RunSummary::default() },
        effects: vec![
            Effect::Remember { spoke: name.clone(), memory: memory(word) },
            Effect::Conflicts {
                spoke: name,
                kind: SpokeKind::Files,
                drafts: vec![dispute(word, "h", "s")],
                settled: vec![],
            },
        ],
        events: vec![note(word)],
        messages: vec![Message { key: word.to_owned(), topic: "t".into(), payload: json!(word) }],
        ..step(seq)
    }
}

/// Everything a record can change, as text.
async fn picture(store: &Subject, claim: &Claim) -> String {
    let row = store.run(claim.run).await.expect("the contract holds");
    let journal = store.journal(claim.run).await.expect("the contract holds");
    let remembered = store.memory(&spoke("full")).await.expect("the contract holds");
    let conflicts = store.conflicts(None, &[]).await.expect("the contract holds");
    let messages = store.undelivered(1_000).await.expect("the contract holds");
    format!("{row:?}\n{journal:?}\n{remembered:?}\n{conflicts:?}\n{messages:?}\n{:?}", all_events(store).await)
}

async fn records_are_kept_in_order(store: Subject) {
    let claim = claimed(&store, "a").await;
    for seq in 0..10 {
        store.record(&claim, &step(seq), at(seq)).await.expect("the contract holds");
    }
    let journal = store.journal(claim.run).await.expect("the contract holds");
    assert_eq!(journal.len(), 10);
    for (seq, record) in (0..).zip(&journal) {
        assert_eq!((record.seq, record.at, &record.event), (Seq(seq), at(seq), &step(seq).event));
    }
}

async fn a_wrong_position_changes_nothing(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.record(&claim, &full(0, "zero"), at(1)).await.expect("the contract holds");
    let before = picture(&store, &claim).await;
    for seq in [0, 2, 7, -1, i64::MAX] {
        assert_fenced(store.record(&claim, &full(seq, "wrong"), at(2)).await);
    }
    assert_eq!(picture(&store, &claim).await, before);
    store.record(&claim, &full(1, "one"), at(3)).await.expect("the contract holds");
}

async fn a_lost_claim_changes_nothing(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.record(&claim, &full(0, "zero"), at(1)).await.expect("the contract holds");
    let taken =
        store.claim(&node("other"), at(60), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    let before = picture(&store, &claim).await;
    assert_fenced(store.record(&claim, &full(1, "late"), at(61)).await);
    assert_fenced(store.record(&claim, &Record { finished: true, ..full(1, "late") }, at(61)).await);
    assert_eq!(picture(&store, &claim).await, before);
    store.record(&taken, &full(1, "one"), at(62)).await.expect("the contract holds");
}

async fn a_claim_whose_lease_ended_may_write_until_it_is_taken_over(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.record(&claim, &step(0), at(120)).await.expect("the contract holds");
    store.renew(&claim, at(121), TTL_MS).await.expect("the contract holds");
    assert_eq!(store.claim(&node("other"), at(122), TTL_MS).await.expect("the contract holds"), None);
}

async fn a_failing_effect_undoes_the_whole_record(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.record(&claim, &full(0, "zero"), at(1)).await.expect("the contract holds");
    let before = picture(&store, &claim).await;
    let mut failing = full(1, "one");
    failing.effects.push(Effect::Reopen { conflict: ConflictId(4_711) });
    assert_permanent(store.record(&claim, &failing, at(2)).await, Some(Cause::NotFound));
    assert_eq!(picture(&store, &claim).await, before);
    store.record(&claim, &full(1, "one"), at(3)).await.expect("the contract holds");
}

async fn a_record_is_complete_or_absent_among_failing_ones(store: Subject) {
    let mut claims = vec![];
    for number in 0..12 {
        claims.push(claimed(&store, &format!("s{number}")).await);
    }
    // All at once, so that a store that commits several together meets failures in the middle.
    let records: Vec<Record> = (0..12)
        .map(|number| {
            let mut record = Record { events: vec![note(&format!("n{number}"))], ..step(0) };
            if number % 3 == 1 {
                record.effects.push(Effect::Reopen { conflict: ConflictId(1_000 + number) });
            }
            record
        })
        .collect();
    let results = join_all(claims.iter().zip(&records).map(|(c, r)| store.record(c, r, at(1)))).await;
    let told = super::kinds(&store).await;
    for (number, (claim, result)) in claims.iter().zip(results).enumerate() {
        let there = store.journal(claim.run).await.expect("the contract holds").len();
        assert_eq!(result.is_ok(), number % 3 != 1, "record {number}: {result:?}");
        assert_eq!(there, usize::from(result.is_ok()), "record {number}");
        assert_eq!(told.contains(&format!("n{number}")), result.is_ok(), "event of record {number}");
    }
}

async fn one_of_two_records_for_one_position_wins(store: Subject) {
    let claim = claimed(&store, "a").await;
    let records: Vec<Record> = (0..8).map(|n| full(0, &format!("w{n}"))).collect();
    let results = join_all(records.iter().map(|r| store.record(&claim, r, at(1)))).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    for result in results.into_iter().filter(Result::is_err) {
        assert_fenced(result);
    }
    assert_eq!(store.journal(claim.run).await.expect("the contract holds").len(), 1);
    let told = store.undelivered(100).await.expect("the contract holds");
    assert_eq!(told.iter().filter(|m| m.topic == "t").count(), 1);
    assert_eq!(store.conflicts(None, &[]).await.expect("the contract holds").len(), 1);
}

async fn the_last_summary_is_shown(store: Subject) {
    let claim = claimed(&store, "a").await;
    for (seq, code) in [(0, 11), (1, 12)] {
        let summary = RunSummary { code, ..RunSummary::default() };
        store.record(&claim, &Record { summary, ..step(seq) }, at(seq)).await.expect("the contract holds");
        let row = store.run(claim.run).await.expect("the contract holds").expect("the contract holds");
        assert_eq!((row.summary.code, row.state.as_str(), row.changed_at), (code, "running", at(seq)));
    }
}

async fn a_spoke_is_remembered(store: Subject) {
    let name = spoke("full");
    assert_eq!(store.memory(&name).await.expect("the contract holds"), SpokeMemory::default());
    let claim = claimed(&store, "a").await;
    for (seq, memory) in (0..).zip([memory("one"), memory("two"), SpokeMemory::default()]) {
        let effects = vec![Effect::Remember { spoke: name.clone(), memory: memory.clone() }];
        store.record(&claim, &super::effects(seq, effects), at(seq)).await.expect("the contract holds");
        assert_eq!(store.memory(&name).await.expect("the contract holds"), memory);
        assert_eq!(store.memories().await.expect("the contract holds").get(&name), Some(&memory));
    }
    assert_eq!(store.memory(&spoke("other")).await.expect("the contract holds"), SpokeMemory::default());
}

async fn what_was_agreed_is_forgotten_if_it_still_is_that(store: Subject) {
    let name = spoke("full");
    let claim = claimed(&store, "a").await;
    let known = memory("one");
    let base = known.base.expect("the contract holds");
    let effects = vec![Effect::Remember { spoke: name.clone(), memory: known.clone() }];
    store.record(&claim, &super::effects(0, effects), at(0)).await.expect("the contract holds");
    assert!(!store.forget_base(&name, &Digest::of(b"another"), at(1)).await.expect("the contract holds"));
    assert!(!store.forget_base(&spoke("other"), &base, at(1)).await.expect("the contract holds"));
    assert_eq!(store.memory(&name).await.expect("the contract holds"), known);
    assert!(store.forget_base(&name, &base, at(1)).await.expect("the contract holds"));
    assert_eq!(store.memory(&name).await.expect("the contract holds"), SpokeMemory::default());
    assert!(!store.forget_base(&name, &base, at(2)).await.expect("the contract holds"));
}

async fn every_text_comes_back_as_it_was(store: Subject) {
    let long = "länger ".repeat(43);
    let texts = [
        "",
        " ",
        "naïve café",
        "🕍 emoji 👩‍👩‍👧",
        "עברית العربية",
        "'; drop table run; --",
        "%s $1 ? \\ \"",
        "line\nbreak\ttab",
        "\u{feff}\u{202e}hidden",
        &long,
    ];
    for (number, text) in texts.iter().enumerate() {
        let asked = Request { cause: (*text).to_owned(), ..request(Priority::Incident, &format!("s{number}")) };
        store.enqueue(&asked, at(0)).await.expect("the contract holds");
        let claim = store
            .claim(&node(&format!("{number} {text}")), at(0), TTL_MS)
            .await
            .expect("the contract holds")
            .expect("the contract holds");
        assert_eq!(claim.request, asked);
        let mut record = full(0, &format!("{number} {text}"));
        // JSON may hold what a plain text column cannot.
        record.event = json!({ *text: [text, "zero \u{0} byte", 1.5, -7, u64::MAX, null, true] });
        record.events[0].data = json!({ "text": text, "zero": "\u{0}" });
        store.record(&claim, &record, at(1)).await.expect("the contract holds");
        assert_eq!(store.journal(claim.run).await.expect("the contract holds")[0].event, record.event);
        assert!(store.undelivered(100).await.expect("the contract holds").contains(&record.messages[0]));
        let memory = store.memory(&spoke("full")).await.expect("the contract holds");
        assert_eq!(memory.hub_position, format!("main {number} {text}"));
        let told = all_events(&store).await;
        let last = told.iter().rfind(|e| e.event.data == record.events[0].data);
        assert_eq!(last.map(|e| &e.event.kind), Some(&record.events[0].kind));
        let open =
            store.conflicts(None, &[cathedral_model::inbox::ConflictState::Open]).await.expect("the contract holds");
        assert_eq!(open[0].draft, dispute(&format!("{number} {text}"), "h", "s"));
        store.record(&claim, &Record { finished: true, ..step(1) }, at(2)).await.expect("the contract holds");
    }
}

async fn a_run_of_two_thousand_records_comes_back_whole(store: Subject) {
    let claim = claimed(&store, "a").await;
    for seq in 0..2_000 {
        store.record(&claim, &step(seq), at(seq)).await.expect("the contract holds");
    }
    let journal = store.journal(claim.run).await.expect("the contract holds");
    assert_eq!(journal.len(), 2_000);
    assert!((0..).zip(&journal).all(|(seq, j)| j.seq == Seq(seq) && j.event == step(seq).event));
}

async fn fifty_writers_at_once_lose_nothing(store: Subject) {
    const STEPS: i64 = 6;
    let mut claims = vec![];
    for number in 0..50 {
        claims.push(claimed(&store, &format!("s{number}")).await);
    }
    join_all(claims.iter().map(|claim| {
        let store = &store;
        async move {
            for seq in 0..STEPS {
                let events = vec![note(&format!("{}/{seq}", claim.run))];
                store.record(claim, &Record { events, ..step(seq) }, at(seq)).await.expect("the contract holds");
            }
        }
    }))
    .await;
    for claim in &claims {
        let journal = store.journal(claim.run).await.expect("the contract holds");
        assert_eq!(journal.iter().map(|j| j.seq.0).collect::<Vec<_>>(), (0..STEPS).collect::<Vec<_>>());
    }
    let told = all_events(&store).await;
    assert_eq!(told.iter().map(|e| &e.event.kind).collect::<BTreeSet<_>>().len(), 300);
    assert!(told.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
}
