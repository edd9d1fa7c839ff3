//! Deliveries: accepted once, waiting in order, handled once.

use cathedral_model::ids::RunId;
use cathedral_model::intake::{Accepted, Delivery, Hint, Outcome};
use cathedral_model::ports::Cause;
use futures_util::future::join_all;

use super::{Subject, all_events, assert_permanent, at, digest, kinds};
use crate::contracts::store::promises;

promises! {
    a_delivery_waits_as_it_came,
    a_delivery_is_accepted_once,
    of_equal_deliveries_at_once_one_is_new,
    deliveries_wait_oldest_first,
    an_outcome_is_recorded_and_told_once,
    deliveries_are_listed_newest_first_and_in_pages,
    only_old_handled_deliveries_are_forgotten,
    a_delivery_that_is_unknown_is_none,
}

fn delivery(source: &str, id: &str) -> Delivery {
    Delivery {
        source: source.to_owned(),
        id: id.to_owned(),
        event: "push".to_owned(),
        hint: Hint::default(),
        body_digest: digest(id),
        body_bytes: 12,
    }
}

async fn accept(hub: &Subject, id: &str, second: i64) {
    assert_eq!(hub.accept(&delivery("github", id), at(second)).await.expect("the contract holds"), Accepted::New);
}

async fn a_delivery_waits_as_it_came(hub: Subject) {
    let hint = Hint {
        repository_id: Some(-1),
        repository: Some("ada/☃ \0'\"".to_owned()),
        urls: vec!["https://x/1".to_owned(), String::new()],
        reference: Some("refs/heads/main".to_owned()),
        before: None,
        after: Some("91be003".to_owned()),
        action: Some("opened".to_owned()),
        sender: Some("x".repeat(1_024)),
    };
    let long = Delivery { hint, body_bytes: u64::from(u32::MAX) * 9, ..delivery("gitea", &"i".repeat(5_000)) };
    assert_eq!(hub.accept(&long, at(3)).await.expect("the contract holds"), Accepted::New);
    let waiting = hub.waiting(10).await.expect("the contract holds");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].delivery, long);
    assert_eq!((waiting[0].received_at, waiting[0].handled_at, waiting[0].outcome.clone()), (at(3), None, None));
    assert_eq!(hub.delivery(waiting[0].number).await.expect("the contract holds").as_ref(), Some(&waiting[0]));
}

async fn a_delivery_is_accepted_once(hub: Subject) {
    accept(&hub, "1", 0).await;
    let other = Delivery { event: "ping".to_owned(), ..delivery("github", "1") };
    assert_eq!(hub.accept(&other, at(1)).await.expect("the contract holds"), Accepted::Duplicate);
    assert_eq!(
        hub.accept(&delivery("gitlab", "1"), at(2)).await.expect("the contract holds"),
        Accepted::New,
        "another source"
    );
    accept(&hub, "2", 3).await;
    let waiting = hub.waiting(10).await.expect("the contract holds");
    assert_eq!(waiting.len(), 3);
    assert_eq!(waiting[0].delivery, delivery("github", "1"), "the first stays");
    hub.handled(waiting[0].number, &Outcome::Echo, at(4)).await.expect("the contract holds");
    assert_eq!(
        hub.accept(&delivery("github", "1"), at(5)).await.expect("the contract holds"),
        Accepted::Duplicate,
        "handled too"
    );
}

async fn of_equal_deliveries_at_once_one_is_new(hub: Subject) {
    let same = delivery("github", "1");
    let found = join_all((0..20).map(|_| hub.accept(&same, at(0)))).await;
    assert_eq!(found.into_iter().filter(|f| *f.as_ref().expect("the contract holds") == Accepted::New).count(), 1);
    assert_eq!(hub.waiting(100).await.expect("the contract holds").len(), 1);
}

async fn deliveries_wait_oldest_first(hub: Subject) {
    let many: Vec<Delivery> = (0..50).map(|n| delivery("github", &format!("{n}"))).collect();
    for result in join_all(many.iter().map(|d| hub.accept(d, at(0)))).await {
        assert_eq!(result.expect("the contract holds"), Accepted::New);
    }
    let waiting = hub.waiting(100).await.expect("the contract holds");
    assert_eq!(waiting.len(), 50);
    assert!(waiting.windows(2).all(|pair| pair[0].number < pair[1].number));
    assert_eq!(hub.waiting(3).await.expect("the contract holds"), waiting[..3]);
    hub.handled(waiting[0].number, &Outcome::NothingToDo, at(1)).await.expect("the contract holds");
    assert_eq!(hub.waiting(3).await.expect("the contract holds"), waiting[1..4]);
}

async fn an_outcome_is_recorded_and_told_once(hub: Subject) {
    accept(&hub, "1", 0).await;
    let number = hub.waiting(1).await.expect("the contract holds")[0].number;
    let outcome = Outcome::Runs { runs: vec![RunId(7)] };
    hub.handled(number, &outcome, at(1)).await.expect("the contract holds");
    hub.handled(number, &Outcome::NoSpoke, at(2)).await.expect("the contract holds");
    let row = hub.delivery(number).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((row.outcome, row.handled_at), (Some(outcome), Some(at(1))));
    let told = all_events(&hub).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].event.kind.as_str(), told[0].event.run), ("delivery.handled", Some(RunId(7))));
    assert_eq!(told[0].event.data["delivery"], number);
    assert_permanent(hub.handled(number + 1, &Outcome::Echo, at(3)).await, Cause::NotFound);
    assert_eq!(kinds(&hub).await.len(), 1);
}

async fn deliveries_are_listed_newest_first_and_in_pages(hub: Subject) {
    for n in 0..5 {
        accept(&hub, &n.to_string(), n).await;
    }
    let number = hub.waiting(1).await.expect("the contract holds")[0].number;
    hub.handled(number, &Outcome::Echo, at(9)).await.expect("the contract holds");
    let all = hub.deliveries(None, 10).await.expect("the contract holds");
    assert_eq!(all.iter().map(|d| d.delivery.id.as_str()).collect::<Vec<_>>(), ["4", "3", "2", "1", "0"]);
    assert_eq!(all[4].outcome, Some(Outcome::Echo));
    assert_eq!(hub.deliveries(None, 2).await.expect("the contract holds"), all[..2]);
    assert_eq!(hub.deliveries(Some(all[1].number), 2).await.expect("the contract holds"), all[2..4]);
}

async fn only_old_handled_deliveries_are_forgotten(hub: Subject) {
    for n in 0..4 {
        accept(&hub, &n.to_string(), n * 10).await;
    }
    let all = hub.waiting(10).await.expect("the contract holds");
    for row in [&all[0], &all[2], &all[3]] {
        hub.handled(row.number, &Outcome::Echo, at(50)).await.expect("the contract holds");
    }
    assert_eq!(hub.forget_deliveries(at(30)).await.expect("the contract holds"), 2);
    assert_eq!(hub.forget_deliveries(at(30)).await.expect("the contract holds"), 0);
    let left = hub.deliveries(None, 10).await.expect("the contract holds");
    assert_eq!(left.iter().map(|d| d.delivery.id.as_str()).collect::<Vec<_>>(), ["3", "1"]);
    hub.handled(all[1].number, &Outcome::Echo, at(51)).await.expect("the contract holds");
    assert_eq!(hub.forget_deliveries(at(1_000)).await.expect("the contract holds"), 2);
    accept(&hub, "0", 60).await;
    let again = hub.waiting(10).await.expect("the contract holds");
    assert!(again[0].number > all[3].number, "a number is never given twice");
}

async fn a_delivery_that_is_unknown_is_none(hub: Subject) {
    assert_eq!(hub.delivery(1).await.expect("the contract holds"), None);
    assert!(hub.deliveries(None, 10).await.expect("the contract holds").is_empty());
    assert!(hub.waiting(10).await.expect("the contract holds").is_empty());
    assert_eq!(hub.forget_deliveries(at(0)).await.expect("the contract holds"), 0);
}
