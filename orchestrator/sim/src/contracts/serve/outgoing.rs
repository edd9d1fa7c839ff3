//! Deliveries to endpoints: handed out once, tried until they arrive or are given up.

use cathedral_model::event::Message;
use cathedral_model::ids::{NodeId, Seq};
use cathedral_model::ports::Cause;
use cathedral_model::ports::outgoing::{Attempted, Outgoing, OutgoingStore};
use cathedral_model::ports::store::Record;
use cathedral_model::run::RunSummary;
use futures_util::future::join_all;
use serde_json::json;

use super::{Subject, assert_permanent, at, request};
use crate::contracts::store::promises;

promises! {
    a_message_goes_to_every_endpoint,
    a_message_is_handed_out_once,
    a_message_without_endpoints_leaves_the_outbox,
    what_is_due_is_found_oldest_first,
    what_is_taken_is_nobody_elses_until_its_time_is_over,
    endpoints_are_taken_from_one_by_one,
    an_endpoint_fails_from_the_first_that_was_not_delivered_to_the_next_that_is,
    a_message_can_be_filed_for_one_endpoint,
    a_try_that_fails_is_due_again,
    what_is_given_up_waits_for_a_person,
    what_has_arrived_stays_arrived,
    whatever_a_receiver_answers_is_kept,
    outgoing_deliveries_are_listed_newest_first_and_in_pages,
}

fn message(key: &str) -> Message {
    Message { key: key.to_owned(), topic: "run.finished".to_owned(), payload: json!({ "key": key }) }
}

/// Puts messages into the outbox.
async fn file(hub: &Subject, keys: &[&str]) {
    hub.enqueue(&request("a"), at(0)).await.expect("the contract holds");
    let claim =
        hub.claim(&NodeId::new("n"), at(0), 60_000).await.expect("the contract holds").expect("the contract holds");
    let record = Record {
        seq: Seq(0),
        event: json!({}),
        summary: RunSummary::default(),
        effects: vec![],
        events: vec![],
        messages: keys.iter().map(|key| message(key)).collect(),
        finished: true,
    };
    hub.record(&claim, &record, at(0)).await.expect("the contract holds");
}

async fn hand_out(hub: &Subject, key: &str, endpoints: &[&str], second: i64) {
    let endpoints: Vec<String> = endpoints.iter().map(|e| (*e).to_owned()).collect();
    hub.hand_out(key, &endpoints, at(second)).await.expect("the contract holds");
}

async fn only(hub: &Subject) -> Outgoing {
    hub.outgoing(None, 2).await.expect("the contract holds").pop().expect("the contract holds")
}

async fn a_message_goes_to_every_endpoint(hub: Subject) {
    file(&hub, &["1", "2"]).await;
    hand_out(&hub, "1", &["chat", "pager", "chat"], 5).await;
    assert_eq!(hub.undelivered(10).await.expect("the contract holds"), [message("2")]);
    let due = hub.due(at(5), 10).await.expect("the contract holds");
    assert_eq!(due.iter().map(|o| o.endpoint.as_str()).collect::<Vec<_>>(), ["chat", "pager"]);
    let expected = Outgoing {
        number: due[0].number,
        message: message("1"),
        endpoint: "chat".to_owned(),
        state: Attempted::Waiting,
        attempts: 0,
        filed_at: at(5),
        due_at: at(5),
        last: String::new(),
    };
    assert_eq!(due[0], expected);
    assert_permanent(hub.hand_out("unknown", &[], at(6)).await, Cause::NotFound);
}

async fn a_message_is_handed_out_once(hub: Subject) {
    file(&hub, &["1", "2"]).await;
    let endpoints = ["chat".to_owned(), "pager".to_owned()];
    for result in join_all((0..5).map(|_| hub.hand_out("1", &endpoints, at(1)))).await {
        result.expect("the contract holds");
    }
    hand_out(&hub, "1", &["other"], 2).await;
    assert_eq!(hub.outgoing(None, 10).await.expect("the contract holds").len(), 2);
    hub.delivered("2", at(2)).await.expect("the contract holds");
    hand_out(&hub, "2", &["chat"], 3).await;
    assert_eq!(hub.outgoing(None, 10).await.expect("the contract holds").len(), 2, "taken before is left alone");
}

async fn a_message_without_endpoints_leaves_the_outbox(hub: Subject) {
    file(&hub, &["1"]).await;
    hand_out(&hub, "1", &[], 1).await;
    assert!(hub.undelivered(10).await.expect("the contract holds").is_empty());
    assert!(hub.outgoing(None, 10).await.expect("the contract holds").is_empty());
}

async fn what_is_due_is_found_oldest_first(hub: Subject) {
    file(&hub, &["1", "2"]).await;
    hand_out(&hub, "1", &["a", "b"], 10).await;
    hand_out(&hub, "2", &["a"], 20).await;
    assert!(hub.due(at(9), 10).await.expect("the contract holds").is_empty());
    assert_eq!(hub.due(at(10), 10).await.expect("the contract holds").len(), 2);
    let due = hub.due(at(20), 10).await.expect("the contract holds");
    assert_eq!(due.iter().map(|o| o.due_at).collect::<Vec<_>>(), [at(10), at(10), at(20)]);
    assert_eq!(hub.due(at(20), 2).await.expect("the contract holds"), due[..2]);
    hub.tried(due[0].number, false, "busy", Some(at(15)), at(11)).await.expect("the contract holds");
    let now: Vec<i64> = hub.due(at(20), 10).await.expect("the contract holds").iter().map(|o| o.number).collect();
    assert_eq!(now, [due[1].number, due[0].number, due[2].number]);
}

async fn what_is_taken_is_nobody_elses_until_its_time_is_over(hub: Subject) {
    let keys: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    file(&hub, &names).await;
    for key in &names {
        hand_out(&hub, key, &["a"], 0).await;
    }
    let taken = join_all((0..8).map(|_| hub.take("a", at(1), at(31), 10))).await;
    let mut numbers: Vec<i64> =
        taken.into_iter().flat_map(|t| t.expect("the contract holds")).map(|o| o.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers.len(), 40, "each by one taker");
    numbers.dedup();
    assert_eq!(numbers.len(), 40, "none by two");
    assert!(hub.take("a", at(30), at(60), 100).await.expect("the contract holds").is_empty());
    hub.tried(numbers[0], true, "204", None, at(2)).await.expect("the contract holds");
    let again = hub.take("a", at(31), at(61), 100).await.expect("the contract holds");
    assert_eq!(again.len(), 39, "whoever took them has died");
    assert_eq!((again[0].attempts, again[0].due_at, again[0].state), (0, at(61), Attempted::Waiting));
}

async fn endpoints_are_taken_from_one_by_one(hub: Subject) {
    file(&hub, &["1", "2"]).await;
    hand_out(&hub, "1", &["a", "b"], 10).await;
    hand_out(&hub, "2", &["b"], 20).await;
    let queues = hub.queues().await.expect("the contract holds");
    let shown: Vec<_> = queues.iter().map(|q| (q.endpoint.as_str(), q.waiting, q.next_due)).collect();
    assert_eq!(shown, [("a", 1, at(10)), ("b", 2, at(10))]);
    assert!(hub.take("b", at(9), at(39), 9).await.expect("the contract holds").is_empty());
    let taken = hub.take("b", at(30), at(60), 9).await.expect("the contract holds");
    assert_eq!(taken.iter().map(|o| o.message.key.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(hub.take("a", at(30), at(60), 9).await.expect("the contract holds").len(), 1);
    for one in hub.outgoing(None, 9).await.expect("the contract holds") {
        hub.tried(one.number, true, "204", None, at(31)).await.expect("the contract holds");
    }
    assert!(hub.queues().await.expect("the contract holds").is_empty());
}

async fn an_endpoint_fails_from_the_first_that_was_not_delivered_to_the_next_that_is(hub: Subject) {
    file(&hub, &["1", "2", "3", "4"]).await;
    for (key, second) in [("1", 0), ("2", 10), ("3", 20), ("4", 30)] {
        hand_out(&hub, key, &["a"], second).await;
    }
    assert!(hub.standings().await.expect("the contract holds").is_empty(), "nothing was tried");
    let mut numbers: Vec<i64> =
        hub.outgoing(None, 9).await.expect("the contract holds").iter().map(|o| o.number).collect();
    numbers.reverse();
    let standing = async |hub: &Subject| {
        let all = hub.standings().await.expect("the contract holds");
        assert_eq!(all.len(), 1);
        (all[0].failing_since, all[0].last.clone())
    };
    hub.tried(numbers[0], true, "204", None, at(40)).await.expect("the contract holds");
    assert_eq!(standing(&hub).await, (None, "204".to_owned()));
    hub.tried(numbers[2], false, "500", Some(at(90)), at(41)).await.expect("the contract holds");
    hub.tried(numbers[1], false, "410 Gone", None, at(42)).await.expect("the contract holds");
    assert_eq!(standing(&hub).await, (Some(at(10)), "410 Gone".to_owned()));
    hub.tried(numbers[3], true, "200", None, at(43)).await.expect("the contract holds");
    assert_eq!(standing(&hub).await, (None, "200".to_owned()));
}

async fn a_message_can_be_filed_for_one_endpoint(hub: Subject) {
    let filed =
        OutgoingStore::file(hub.as_ref(), &message("ping:1"), "a", at(35), at(5)).await.expect("the contract holds");
    assert_eq!((filed.endpoint.as_str(), filed.state), ("a", Attempted::Waiting));
    assert_eq!((filed.filed_at, filed.due_at), (at(5), at(35)));
    assert_eq!(filed.message, message("ping:1"));
    assert!(hub.undelivered(9).await.expect("the contract holds").is_empty());
    assert!(hub.due(at(34), 9).await.expect("the contract holds").is_empty());
    assert_eq!(hub.due(at(35), 9).await.expect("the contract holds"), [filed]);
}

async fn a_try_that_fails_is_due_again(hub: Subject) {
    file(&hub, &["1"]).await;
    hand_out(&hub, "1", &["a"], 0).await;
    let first = only(&hub).await;
    hub.tried(first.number, false, "connection refused", Some(at(30)), at(1)).await.expect("the contract holds");
    assert!(hub.due(at(29), 10).await.expect("the contract holds").is_empty());
    let again = hub.due(at(30), 10).await.expect("the contract holds");
    let expected = Outgoing { attempts: 1, due_at: at(30), last: "connection refused".to_owned(), ..first };
    assert_eq!(again, std::slice::from_ref(&expected));
    hub.tried(expected.number, true, "204", None, at(31)).await.expect("the contract holds");
    assert!(hub.due(at(1_000), 10).await.expect("the contract holds").is_empty());
    let arrived = only(&hub).await;
    assert_eq!((arrived.state, arrived.attempts, arrived.last.as_str()), (Attempted::Delivered, 2, "204"));
    assert_permanent(hub.tried(expected.number + 1, true, "", None, at(1)).await, Cause::NotFound);
}

async fn what_is_given_up_waits_for_a_person(hub: Subject) {
    file(&hub, &["1"]).await;
    hand_out(&hub, "1", &["a"], 0).await;
    let number = only(&hub).await.number;
    hub.tried(number, false, "404", None, at(1)).await.expect("the contract holds");
    assert_eq!(only(&hub).await.state, Attempted::GivenUp);
    assert!(hub.due(at(1_000), 10).await.expect("the contract holds").is_empty());
    let again = hub.retry(number, at(50)).await.expect("the contract holds");
    assert_eq!((again.state, again.due_at, again.attempts), (Attempted::Waiting, at(50), 1));
    assert_eq!(hub.due(at(50), 10).await.expect("the contract holds"), [again]);
    hub.tried(number, true, "200", None, at(51)).await.expect("the contract holds");
    assert_eq!(
        hub.retry(number, at(60)).await.expect("the contract holds").state,
        Attempted::Waiting,
        "a delivered one too"
    );
    assert_permanent(hub.retry(number + 1, at(50)).await, Cause::NotFound);
}

async fn what_has_arrived_stays_arrived(hub: Subject) {
    file(&hub, &["1"]).await;
    hand_out(&hub, "1", &["a"], 0).await;
    let number = only(&hub).await.number;
    hub.tried(number, true, "204", None, at(1)).await.expect("the contract holds");
    let arrived = only(&hub).await;
    hub.tried(number, false, "timeout", Some(at(9)), at(2)).await.expect("the contract holds");
    hub.tried(number, false, "timeout", None, at(3)).await.expect("the contract holds");
    assert_eq!(only(&hub).await, arrived, "a slower try of somebody else changes nothing");
}

async fn whatever_a_receiver_answers_is_kept(hub: Subject) {
    file(&hub, &["1"]).await;
    hand_out(&hub, "1", &["a"], 0).await;
    let answer = format!("a\0b ☃{}", "x".repeat(100_000));
    hub.tried(only(&hub).await.number, false, &answer, Some(at(9)), at(1)).await.expect("the contract holds");
    let kept = only(&hub).await;
    assert!(kept.last.starts_with("a\u{fffd}b ☃x") && kept.last.len() < 5_000, "{}", kept.last.len());
    assert_eq!(kept.attempts, 1);
}

async fn outgoing_deliveries_are_listed_newest_first_and_in_pages(hub: Subject) {
    file(&hub, &["1", "2", "3"]).await;
    for key in ["1", "2", "3"] {
        hand_out(&hub, key, &["a"], 0).await;
    }
    let all = hub.outgoing(None, 10).await.expect("the contract holds");
    assert_eq!(all.iter().map(|o| o.message.key.as_str()).collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(hub.outgoing(None, 1).await.expect("the contract holds"), all[..1]);
    assert_eq!(hub.outgoing(Some(all[0].number), 1).await.expect("the contract holds"), all[1..2]);
}
