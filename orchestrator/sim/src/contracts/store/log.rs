//! Events, outbox, leases, plans.

use cathedral_model::event::{EventFilter, Message, NewEvent};
use cathedral_model::ids::{Cursor, Digest, Fence};
use cathedral_model::ports::Cause;
use cathedral_model::ports::store::Record;
use cathedral_model::time::Timestamp;
use futures_util::future::join_all;
use serde_json::json;

use super::{Subject, TTL_MS, all_events, assert_permanent, at, claimed, node, note, promises, spoke, step};

promises! {
    events_come_back_as_they_were_told,
    events_are_read_in_pages_without_gaps,
    events_of_writers_at_once_stay_together,
    the_newest_event_is_known,
    events_are_read_backwards_in_pages,
    events_are_found_by_type_spoke_and_run,
    messages_wait_in_order_until_delivered,
    a_message_is_filed_once,
    a_lease_has_one_holder,
    a_lease_that_ended_is_taken_with_a_larger_fence,
    a_lease_given_back_is_free_and_its_fence_goes_on,
    fences_of_spokes_keep_up_with_the_clock,
    of_many_who_want_a_lease_one_gets_it,
    a_plan_is_found_by_the_beginning_of_its_id,
}

async fn events_come_back_as_they_were_told(store: Subject) {
    let claim = claimed(&store, "a").await;
    let told = [
        NewEvent { kind: "x.y".into(), run: Some(claim.run), spoke: Some(spoke("a")), data: json!({"b": 1, "a": [2]}) },
        NewEvent { kind: "admin".into(), run: None, spoke: None, data: json!(null) },
    ];
    store.publish(&told, at(3)).await.expect("the contract holds");
    store.publish(&[], at(4)).await.expect("the contract holds");
    let found = all_events(&store).await;
    assert_eq!(found.iter().map(|e| e.event.clone()).collect::<Vec<_>>(), told);
    assert!(found.iter().all(|e| e.at == at(3)));
    assert!(Cursor(0) < found[0].cursor && found[0].cursor < found[1].cursor);
}

async fn events_are_read_in_pages_without_gaps(store: Subject) {
    let claim = claimed(&store, "a").await;
    for seq in 0..7 {
        let events = vec![note(&format!("{seq} first")), note(&format!("{seq} second"))];
        store.record(&claim, &Record { events, ..step(seq) }, at(seq)).await.expect("the contract holds");
    }
    let all = all_events(&store).await;
    let expected: Vec<String> = (0..7).flat_map(|n| [format!("{n} first"), format!("{n} second")]).collect();
    assert_eq!(all.iter().map(|e| e.event.kind.clone()).collect::<Vec<_>>(), expected);
    let (mut paged, mut after) = (vec![], Cursor(0));
    loop {
        let page = store.events(after, 3).await.expect("the contract holds");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = last.cursor;
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert!(store.events(Cursor(i64::MAX), 10).await.expect("the contract holds").is_empty());
    assert!(store.events(Cursor(0), 0).await.expect("the contract holds").is_empty());
}

async fn events_of_writers_at_once_stay_together(store: Subject) {
    let lists: Vec<Vec<NewEvent>> =
        (0..30).map(|n| (0..3).map(|part| note(&format!("{n}/{part}"))).collect()).collect();
    for result in join_all(lists.iter().map(|list| store.publish(list, at(1)))).await {
        result.expect("the contract holds");
    }
    let all = all_events(&store).await;
    assert_eq!(all.len(), 90);
    for three in all.chunks(3) {
        let kinds: Vec<_> = three.iter().map(|e| e.event.kind.as_str()).collect();
        let number = kinds[0].split('/').next().expect("the contract holds");
        assert_eq!(kinds, [format!("{number}/0"), format!("{number}/1"), format!("{number}/2")]);
    }
}

async fn the_newest_event_is_known(store: Subject) {
    assert_eq!(store.newest_event().await.expect("the contract holds"), Cursor(0));
    store.publish(&[note("a"), note("b")], at(1)).await.expect("the contract holds");
    let newest = store.newest_event().await.expect("the contract holds");
    assert_eq!(newest, all_events(&store).await[1].cursor);
    assert!(store.events(newest, 10).await.expect("the contract holds").is_empty());
}

async fn events_are_read_backwards_in_pages(store: Subject) {
    let notes: Vec<NewEvent> = (0..7).map(|n| note(&format!("n{n}"))).collect();
    store.publish(&notes, at(1)).await.expect("the contract holds");
    let any = EventFilter::default();
    let (mut paged, mut before) = (vec![], None);
    loop {
        let page = store.events_before(before, &any, 3).await.expect("the contract holds");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        before = Some(last.cursor);
        paged.extend(page);
    }
    paged.reverse();
    assert_eq!(paged, all_events(&store).await);
    assert!(store.events_before(None, &any, 0).await.expect("the contract holds").is_empty());
    assert!(store.events_before(Some(Cursor(0)), &any, 10).await.expect("the contract holds").is_empty());
}

/// Types, spoke, whether of the run, and the places of the events that are expected.
type Case = (&'static [&'static str], Option<&'static str>, bool, &'static [usize]);

async fn events_are_found_by_type_spoke_and_run(store: Subject) {
    let run = claimed(&store, "a").await.run;
    let told = |kind: &str, run, name: Option<&str>| NewEvent { run, spoke: name.map(spoke), ..note(kind) };
    let events = [
        told("run.started", Some(run), None),
        told("run.finished", Some(run), Some("a")),
        told("conflict.opened", Some(run), Some("b")),
        told("conflict.answered", None, Some("a")),
        told("%", None, None),
        told("ünïcode.told", None, None),
    ];
    store.publish(&events, at(1)).await.expect("the contract holds");
    let cases: &[Case] = &[
        (&[], None, false, &[5, 4, 3, 2, 1, 0]),
        (&["run."], None, false, &[1, 0]),
        (&["run.finished", "conflict."], None, false, &[3, 2, 1]),
        (&["Run."], None, false, &[]),
        (&["run.started.and.more"], None, false, &[]),
        (&["%"], None, false, &[4]),
        (&["r_n"], None, false, &[]),
        (&["ünï"], None, false, &[5]),
        (&["\"'}]"], None, false, &[]),
        (&[], Some("a"), false, &[3, 1]),
        (&["conflict."], Some("a"), false, &[3]),
        (&[], None, true, &[2, 1, 0]),
        (&[], Some("a"), true, &[1]),
        (&["conflict."], Some("a"), true, &[]),
        (&[], Some("nobody"), false, &[]),
    ];
    for (types, name, of_run, expected) in cases {
        let filter = EventFilter {
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            spoke: name.map(spoke),
            run: of_run.then_some(run),
        };
        let found = store.events_before(None, &filter, 100).await.expect("the contract holds");
        let expected: Vec<_> = expected.iter().map(|n| events[*n].clone()).collect();
        assert_eq!(found.iter().map(|e| e.event.clone()).collect::<Vec<_>>(), expected, "{filter:?}");
        if let [first, rest @ ..] = found.as_slice() {
            assert_eq!(
                store.events_before(Some(first.cursor), &filter, 100).await.expect("the contract holds"),
                rest,
                "{filter:?}"
            );
            let newest = store.events_before(None, &filter, 1).await.expect("the contract holds");
            assert_eq!(newest, std::slice::from_ref(first), "{filter:?}");
        }
    }
}

fn message(key: &str) -> Message {
    Message { key: key.to_owned(), topic: "run.finished".into(), payload: json!({ "key": key }) }
}

async fn messages_wait_in_order_until_delivered(store: Subject) {
    let claim = claimed(&store, "a").await;
    let messages: Vec<Message> = ["c", "a", "b", "d"].into_iter().map(message).collect();
    store.record(&claim, &Record { messages: messages.clone(), ..step(0) }, at(0)).await.expect("the contract holds");
    assert_eq!(store.undelivered(10).await.expect("the contract holds"), messages, "oldest first, not by key");
    assert_eq!(store.undelivered(2).await.expect("the contract holds"), messages[..2]);
    store.delivered("a", at(1)).await.expect("the contract holds");
    store.delivered("a", at(2)).await.expect("the contract holds");
    let left = store.undelivered(10).await.expect("the contract holds");
    assert_eq!(left.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(), ["c", "b", "d"]);
}

async fn a_message_is_filed_once(store: Subject) {
    let claim = claimed(&store, "a").await;
    let long = "k".repeat(5_000);
    let messages = vec![message("one"), message("one"), message(&long)];
    store.record(&claim, &Record { messages, ..step(0) }, at(0)).await.expect("the contract holds");
    assert_eq!(store.undelivered(10).await.expect("the contract holds"), [message("one"), message(&long)]);
    store.delivered("one", at(1)).await.expect("the contract holds");
    let again = Message { payload: json!("again"), ..message("one") };
    store
        .record(&claim, &Record { messages: vec![again, message(&long)], ..step(1) }, at(2))
        .await
        .expect("the contract holds");
    assert_eq!(
        store.undelivered(10).await.expect("the contract holds"),
        [message(&long)],
        "delivered once is delivered"
    );
}

async fn a_lease_has_one_holder(store: Subject) {
    let (a, b) = (node("a"), node("b"));
    let fence =
        store.lease("spoke:x", &a, at(0), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(store.lease("spoke:x", &b, at(59), TTL_MS).await.expect("the contract holds"), None);
    assert!(
        store.lease("spoke:y", &b, at(59), TTL_MS).await.expect("the contract holds").is_some(),
        "another resource is free"
    );
    assert_eq!(store.lease("spoke:x", &a, at(59), TTL_MS).await.expect("the contract holds"), Some(fence), "prolonged");
    assert_eq!(store.lease("spoke:x", &b, at(118), TTL_MS).await.expect("the contract holds"), None);
}

async fn a_lease_that_ended_is_taken_with_a_larger_fence(store: Subject) {
    let (a, b) = (node("a"), node("b"));
    let mut last = store.lease("r", &a, at(0), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    for (round, holder) in (1..).zip([&b, &a, &b]) {
        let fence = store
            .lease("r", holder, at(round * 60), TTL_MS)
            .await
            .expect("the contract holds")
            .expect("the contract holds");
        assert!(fence > last, "round {round}");
        last = fence;
    }
    assert_eq!(store.lease("r", &a, at(181), TTL_MS).await.expect("the contract holds"), None);
}

async fn fences_of_spokes_keep_up_with_the_clock(store: Subject) {
    // So a store that was put back from an older copy is never behind what spokes have seen.
    let mut last = Fence(0);
    for minute in [1, 1, 2, 1, 90] {
        let now = Timestamp(minute * 60_000_000);
        let a = node(&format!("a{minute}"));
        let fence = store.lease(&format!("spoke:{minute}"), &a, now, TTL_MS).await.expect("the contract holds");
        let fence = fence.expect("it is free");
        assert!(fence.0 > minute * 60_000 && fence > last, "{fence} at minute {minute} after {last}");
        store.unlease(&format!("spoke:{minute}"), &a).await.expect("the contract holds");
        last = fence;
    }
}

async fn a_lease_given_back_is_free_and_its_fence_goes_on(store: Subject) {
    let (a, b) = (node("a"), node("b"));
    let first = store.lease("r", &a, at(0), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    store.unlease("r", &b).await.expect("the contract holds");
    assert_eq!(
        store.lease("r", &b, at(1), TTL_MS).await.expect("the contract holds"),
        None,
        "only the holder gives it back"
    );
    store.unlease("r", &a).await.expect("the contract holds");
    store.unlease("r", &a).await.expect("the contract holds");
    store.unlease("unknown", &a).await.expect("the contract holds");
    let second = store.lease("r", &b, at(1), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert!(second > first);
    store.unlease("r", &b).await.expect("the contract holds");
    assert!(
        store.lease("r", &a, at(2), TTL_MS).await.expect("the contract holds").expect("the contract holds") > second
    );
}

async fn of_many_who_want_a_lease_one_gets_it(store: Subject) {
    let nodes: Vec<_> = (0..20).map(|n| node(&format!("n{n}"))).collect();
    let found = join_all(nodes.iter().map(|n| store.lease("r", n, at(0), TTL_MS))).await;
    assert_eq!(found.into_iter().filter(|f| f.as_ref().expect("the contract holds").is_some()).count(), 1);
}

async fn a_plan_is_found_by_the_beginning_of_its_id(store: Subject) {
    let mut near = [0xab; 32];
    let first = Digest(near);
    near[31] = 0xac;
    let second = Digest(near);
    let third = Digest([0x07; 32]);
    for (id, text) in [(first, "eins ☃"), (second, "zwei"), (third, "")] {
        store.save_plan(&id, text, at(0)).await.expect("the contract holds");
        store.save_plan(&id, text, at(1)).await.expect("the contract holds");
    }
    let whole = first.to_string();
    assert_eq!(store.plan(&whole).await.expect("the contract holds"), Some((first, "eins ☃".to_owned())));
    assert_eq!(store.plan("07").await.expect("the contract holds"), Some((third, String::new())));
    assert_eq!(
        store.plan("0").await.expect("the contract holds"),
        Some((third, String::new())),
        "an odd number of digits"
    );
    for prefix in ["ab", &whole[..63], ""] {
        assert_permanent(store.plan(prefix).await, Some(Cause::Invalid));
    }
    for prefix in ["ff", "xyz", "é", &format!("{whole}0")] {
        assert_eq!(store.plan(prefix).await.expect("the contract holds"), None, "{prefix}");
    }
}
