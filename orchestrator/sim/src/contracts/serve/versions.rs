//! Accepted configurations.

use cathedral_model::ports::Cause;
use futures_util::future::join_all;

use super::{Subject, all_events, assert_permanent, at, digest, kinds};
use crate::contracts::store::promises;

promises! {
    a_text_is_filed_unless_it_is_the_newest,
    versions_are_listed_newest_first,
    equal_texts_at_once_are_one_version,
    a_text_that_cannot_be_kept_is_refused,
}

async fn a_text_is_filed_unless_it_is_the_newest(hub: Subject) {
    let text = "version: 1 # ☃\n";
    let first = hub.accept_config(text, "file", at(1)).await.expect("the contract holds");
    assert_eq!((first.text.as_str(), first.digest, first.accepted_at), (text, digest(text), at(1)));
    assert_eq!(first.cause, "file");
    assert_eq!(hub.accept_config(text, "reload", at(2)).await.expect("the contract holds"), first);
    let second = hub.accept_config("version: 1", "file", at(3)).await.expect("the contract holds");
    assert!(second.number > first.number);
    let third = hub.accept_config(text, "rollback by ada", at(4)).await.expect("the contract holds");
    assert!(third.number > second.number, "an older text that comes back is a new version");
    let told = all_events(&hub).await;
    assert_eq!(told.iter().map(|e| e.event.kind.as_str()).collect::<Vec<_>>(), ["config.accepted"; 3]);
    assert_eq!(told[2].event.data["version"], third.number);
    assert_eq!(told[2].event.data["cause"], "rollback by ada");
    assert!(!told[2].event.data.to_string().contains('☃'), "the text is not in the event");
}

async fn versions_are_listed_newest_first(hub: Subject) {
    assert!(hub.config_versions(10).await.expect("the contract holds").is_empty());
    for n in 0..4 {
        hub.accept_config(&format!("n: {n}"), "file", at(n)).await.expect("the contract holds");
    }
    let all = hub.config_versions(10).await.expect("the contract holds");
    assert_eq!(all.iter().map(|v| v.text.as_str()).collect::<Vec<_>>(), ["n: 3", "n: 2", "n: 1", "n: 0"]);
    assert_eq!(hub.config_versions(2).await.expect("the contract holds"), all[..2]);
}

async fn equal_texts_at_once_are_one_version(hub: Subject) {
    let found = join_all((0..10).map(|_| hub.accept_config("a: 1", "file", at(1)))).await;
    let numbers: Vec<i64> = found.into_iter().map(|v| v.expect("the contract holds").number).collect();
    assert!(numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
    assert_eq!(kinds(&hub).await.len(), 1);
}

async fn a_text_that_cannot_be_kept_is_refused(hub: Subject) {
    assert_permanent(hub.accept_config("a: \0", "file", at(1)).await, Cause::Invalid);
    assert!(hub.config_versions(10).await.expect("the contract holds").is_empty());
    assert!(kinds(&hub).await.is_empty());
}
