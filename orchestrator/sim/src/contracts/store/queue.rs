//! Filing, joining, claiming.

use std::collections::BTreeSet;

use cathedral_model::ids::RunId;
use cathedral_model::ports::store::{Enqueued, Record};
use cathedral_model::run::{Priority, Request, RunResult, RunSummary, SyncRequest, Work};
use futures_util::future::join_all;

use super::{Subject, TTL_MS, assert_fenced, at, claimed, node, promises, request, step};

promises! {
    a_new_request_waits_and_is_listed,
    equal_requests_that_wait_are_joined,
    joining_raises_the_priority_and_never_lowers_it,
    joining_keeps_a_demanded_snapshot,
    a_confirmed_request_runs_by_itself,
    a_running_request_takes_nobody_along,
    a_released_run_that_has_begun_takes_nobody_along,
    the_most_urgent_goes_first_and_then_the_oldest,
    unfinished_runs_go_before_waiting_ones,
    a_run_driven_elsewhere_is_left_alone,
    a_run_whose_lease_ended_is_claimed_with_a_larger_fence,
    a_node_gets_back_the_run_it_holds,
    a_renewed_claim_lasts,
    a_claim_that_was_taken_over_cannot_be_renewed,
    a_released_run_is_free_at_once,
    a_lost_claim_cannot_release_the_new_one,
    no_run_is_claimed_by_two,
    equal_requests_filed_at_once_are_one_run,
    a_finished_run_leaves_the_queue,
    runs_are_listed_newest_first_and_in_pages,
    what_is_not_there_is_none,
}

async fn a_new_request_waits_and_is_listed(store: Subject) {
    let asked = request(Priority::Webhook, "a");
    let filed = store.enqueue(&asked, at(1)).await.expect("the contract holds");
    assert_eq!(filed, Enqueued::New(RunId(1)), "runs are numbered from 1");
    let row = store.run(filed.run()).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((row.run, &row.request, row.state.as_str()), (RunId(1), &asked, "queued"));
    assert_eq!((row.queued_at, row.changed_at), (at(1), at(1)));
    assert_eq!(row.summary, RunSummary::default());
    assert_eq!(store.runs(None, 10).await.expect("the contract holds"), [row]);
    assert!(store.journal(filed.run()).await.expect("the contract holds").is_empty());
}

async fn equal_requests_that_wait_are_joined(store: Subject) {
    let first = store.enqueue(&request(Priority::Webhook, "a"), at(1)).await.expect("the contract holds");
    let other = store.enqueue(&request(Priority::Webhook, "b"), at(2)).await.expect("the contract holds");
    assert_eq!(other, Enqueued::New(RunId(2)), "another spoke is another run");
    let again = Request { cause: "another push".into(), ..request(Priority::Webhook, "a") };
    assert_eq!(store.enqueue(&again, at(3)).await.expect("the contract holds"), Enqueued::Coalesced(first.run()));
    assert_eq!(store.runs(None, 10).await.expect("the contract holds").len(), 2);
}

async fn joining_raises_the_priority_and_never_lowers_it(store: Subject) {
    store.enqueue(&request(Priority::Webhook, "a"), at(1)).await.expect("the contract holds");
    store.enqueue(&request(Priority::Webhook, "b"), at(2)).await.expect("the contract holds");
    store.enqueue(&request(Priority::Manual, "b"), at(3)).await.expect("the contract holds");
    store.enqueue(&request(Priority::Upkeep, "b"), at(4)).await.expect("the contract holds");
    let row = store.run(RunId(2)).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(row.request.priority, Priority::Manual);
    let claim = store.claim(&node("n"), at(5), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((claim.run, claim.request.priority), (RunId(2), Priority::Manual));
}

async fn joining_keeps_a_demanded_snapshot(store: Subject) {
    let run = store.enqueue(&request(Priority::Webhook, "a"), at(1)).await.expect("the contract holds").run();
    let mut forced = request(Priority::Webhook, "a");
    if let Work::Sync(sync) = &mut forced.work {
        sync.force_snapshot = true;
    }
    let filed = store.enqueue(&forced, at(2)).await.expect("the contract holds");
    let row = store.run(filed.run()).await.expect("the contract holds").expect("the contract holds");
    let kept = matches!(&row.request.work, Work::Sync(SyncRequest { force_snapshot: true, .. }));
    assert!(kept, "joined to run {run}, the demand for a snapshot is lost");
}

async fn a_confirmed_request_runs_by_itself(store: Subject) {
    let mut confirmed = request(Priority::Manual, "a");
    if let Work::Sync(sync) = &mut confirmed.work {
        sync.confirmed = true;
    }
    for number in 1..=2 {
        assert_eq!(store.enqueue(&confirmed, at(1)).await.expect("the contract holds"), Enqueued::New(RunId(number)));
    }
}

async fn a_running_request_takes_nobody_along(store: Subject) {
    let claim = claimed(&store, "a").await;
    let filed = store.enqueue(&request(Priority::Incident, "a"), at(2)).await.expect("the contract holds");
    assert_eq!(filed, Enqueued::New(RunId(claim.run.0 + 1)), "the run may have looked at the spoke already");
    // The same holds once its lease has ended: it goes on where it stopped.
    let later = store.enqueue(&request(Priority::Incident, "a"), at(3_600)).await.expect("the contract holds");
    assert_eq!(later, Enqueued::Coalesced(filed.run()));
}

async fn a_released_run_that_has_begun_takes_nobody_along(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.record(&claim, &step(0), at(1)).await.expect("the contract holds");
    store.release(&claim, at(2)).await.expect("the contract holds");
    let filed = store.enqueue(&request(Priority::Incident, "a"), at(3)).await.expect("the contract holds");
    assert!(matches!(filed, Enqueued::New(_)), "the run has looked at the spoke already");
}

async fn the_most_urgent_goes_first_and_then_the_oldest(store: Subject) {
    let asked = [
        (Priority::Schedule, "a"),
        (Priority::Upkeep, "b"),
        (Priority::Incident, "c"),
        (Priority::Manual, "d"),
        (Priority::Webhook, "e"),
        (Priority::Incident, "f"),
        (Priority::Manual, "g"),
    ];
    for (priority, name) in asked {
        store.enqueue(&request(priority, name), at(1)).await.expect("the contract holds");
    }
    let mut order = vec![];
    for number in 0..asked.len() {
        let claim = store
            .claim(&node(&number.to_string()), at(2), TTL_MS)
            .await
            .expect("the contract holds")
            .expect("the contract holds");
        order.push(claim.request.cause.replace("sync of ", ""));
    }
    assert_eq!(order.concat(), "cfdgeab");
    assert_eq!(store.claim(&node("idle"), at(2), TTL_MS).await.expect("the contract holds"), None);
}

async fn unfinished_runs_go_before_waiting_ones(store: Subject) {
    let old = store.enqueue(&request(Priority::Upkeep, "a"), at(0)).await.expect("the contract holds").run();
    let claim =
        store.claim(&node("lost"), at(0), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    store.record(&claim, &step(0), at(0)).await.expect("the contract holds");
    store.enqueue(&request(Priority::Incident, "b"), at(1)).await.expect("the contract holds");
    let next = store.claim(&node("n"), at(61), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(next.run, old, "its lease has ended and it has begun");
    store.release(&next, at(62)).await.expect("the contract holds");
    let next = store.claim(&node("m"), at(63), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(next.run, old, "it was given back and has begun");
}

async fn a_run_driven_elsewhere_is_left_alone(store: Subject) {
    let claim = claimed(&store, "a").await;
    assert_eq!(claim.expires, at(60));
    assert_eq!(store.claim(&node("other"), at(59), TTL_MS).await.expect("the contract holds"), None);
    let row = store.run(claim.run).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(row.state, "running");
}

async fn a_run_whose_lease_ended_is_claimed_with_a_larger_fence(store: Subject) {
    let first = claimed(&store, "a").await;
    let other = claimed(&store, "b").await;
    assert!(other.fence > first.fence, "fences grow over all runs");
    store.renew(&other, at(59), 10 * TTL_MS).await.expect("the contract holds");
    let second =
        store.claim(&node("c"), at(60), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((second.run, &second.request), (first.run, &first.request));
    assert!(second.fence > other.fence);
    assert_eq!(store.claim(&node("d"), at(61), TTL_MS).await.expect("the contract holds"), None);
}

async fn a_node_gets_back_the_run_it_holds(store: Subject) {
    let first = claimed(&store, "a").await;
    store.enqueue(&request(Priority::Incident, "b"), at(1)).await.expect("the contract holds");
    let again = store.claim(&first.node, at(2), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(again.run, first.run, "a restarted node goes on with its run");
    assert!(again.fence > first.fence);
    assert_fenced(store.record(&first, &step(0), at(3)).await);
    store.record(&again, &step(0), at(3)).await.expect("the contract holds");
}

async fn a_renewed_claim_lasts(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.renew(&claim, at(50), TTL_MS).await.expect("the contract holds");
    assert_eq!(store.claim(&node("other"), at(109), TTL_MS).await.expect("the contract holds"), None);
    assert!(store.claim(&node("other"), at(110), TTL_MS).await.expect("the contract holds").is_some());
}

async fn a_claim_that_was_taken_over_cannot_be_renewed(store: Subject) {
    let claim = claimed(&store, "a").await;
    let taken =
        store.claim(&node("other"), at(60), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_fenced(store.renew(&claim, at(61), TTL_MS).await);
    store.renew(&taken, at(61), TTL_MS).await.expect("the contract holds");
    store.record(&taken, &Record { finished: true, ..step(0) }, at(62)).await.expect("the contract holds");
    assert_fenced(store.renew(&taken, at(63), TTL_MS).await);
}

async fn a_released_run_is_free_at_once(store: Subject) {
    let claim = claimed(&store, "a").await;
    store.release(&claim, at(1)).await.expect("the contract holds");
    assert_fenced(store.record(&claim, &step(0), at(1)).await);
    let next =
        store.claim(&node("other"), at(1), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    assert_eq!(next.run, claim.run);
    assert!(next.fence > claim.fence);
}

async fn a_lost_claim_cannot_release_the_new_one(store: Subject) {
    let claim = claimed(&store, "a").await;
    let taken =
        store.claim(&node("other"), at(60), TTL_MS).await.expect("the contract holds").expect("the contract holds");
    let _ = store.release(&claim, at(61)).await;
    assert_eq!(store.claim(&node("third"), at(62), TTL_MS).await.expect("the contract holds"), None);
    store.record(&taken, &step(0), at(62)).await.expect("the contract holds");
}

async fn no_run_is_claimed_by_two(store: Subject) {
    for number in 0..10 {
        store.enqueue(&request(Priority::Webhook, &format!("s{number}")), at(0)).await.expect("the contract holds");
    }
    let nodes: Vec<_> = (0..25).map(|n| node(&format!("node {n}"))).collect();
    let claims = join_all(nodes.iter().map(|n| store.claim(n, at(1), TTL_MS))).await;
    let claims: Vec<_> = claims.into_iter().filter_map(|c| c.expect("the contract holds")).collect();
    assert_eq!(claims.len(), 10);
    assert_eq!(claims.iter().map(|c| c.run).collect::<BTreeSet<_>>().len(), 10, "each run once");
    assert_eq!(claims.iter().map(|c| c.fence).collect::<BTreeSet<_>>().len(), 10, "each fence once");
}

async fn equal_requests_filed_at_once_are_one_run(store: Subject) {
    let asked = request(Priority::Webhook, "a");
    let filed = join_all((0..20).map(|_| store.enqueue(&asked, at(0)))).await;
    let new = filed.into_iter().filter(|f| matches!(f.as_ref().expect("the contract holds"), Enqueued::New(_))).count();
    assert_eq!(new, 1);
    assert_eq!(store.runs(None, 100).await.expect("the contract holds").len(), 1);
}

async fn a_finished_run_leaves_the_queue(store: Subject) {
    let claim = claimed(&store, "a").await;
    let summary = RunSummary { result: Some(RunResult::NothingToDo), ..RunSummary::default() };
    let last = Record { finished: true, summary: summary.clone(), ..step(0) };
    store.record(&claim, &last, at(9)).await.expect("the contract holds");
    let row = store.run(claim.run).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((row.state.as_str(), row.changed_at, row.summary), ("finished", at(9), summary));
    assert_fenced(store.record(&claim, &step(1), at(10)).await);
    for name in ["a", "other"] {
        assert_eq!(store.claim(&node(name), at(3_600), TTL_MS).await.expect("the contract holds"), None);
    }
    let next = store.enqueue(&request(Priority::Incident, "a"), at(11)).await.expect("the contract holds");
    assert!(matches!(next, Enqueued::New(_)), "a finished run takes nobody along");
}

async fn runs_are_listed_newest_first_and_in_pages(store: Subject) {
    for number in 1..=7 {
        store
            .enqueue(&request(Priority::Webhook, &format!("s{number}")), at(number))
            .await
            .expect("the contract holds");
    }
    let ids = |rows: Vec<cathedral_model::ports::store::RunRow>| rows.iter().map(|r| r.run.0).collect::<Vec<_>>();
    assert_eq!(ids(store.runs(None, 3).await.expect("the contract holds")), [7, 6, 5]);
    assert_eq!(ids(store.runs(Some(RunId(5)), 3).await.expect("the contract holds")), [4, 3, 2]);
    assert_eq!(ids(store.runs(Some(RunId(2)), 3).await.expect("the contract holds")), [1]);
    assert_eq!(ids(store.runs(Some(RunId(1)), 3).await.expect("the contract holds")), [0; 0]);
    assert_eq!(ids(store.runs(None, 0).await.expect("the contract holds")), [0; 0]);
}

async fn what_is_not_there_is_none(store: Subject) {
    assert_eq!(store.run(RunId(99)).await.expect("the contract holds"), None);
    assert!(store.journal(RunId(99)).await.expect("the contract holds").is_empty());
    assert_eq!(store.claim(&node("n"), at(0), TTL_MS).await.expect("the contract holds"), None);
    let mut claim = claimed(&store, "a").await;
    claim.run = RunId(99);
    assert_fenced(store.record(&claim, &step(0), at(1)).await);
    assert_fenced(store.renew(&claim, at(1), TTL_MS).await);
}
