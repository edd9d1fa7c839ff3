//! Schedules: declared, fired once for each due time, paused.

use cathedral_model::ids::RunId;
use cathedral_model::ports::Cause;
use cathedral_model::ports::schedules::Fired;
use cathedral_model::ports::store::Enqueued;
use cathedral_model::schedule::{Fire, Misfire, Overlap, Pause, Rule, Schedule, ScheduleState};
use cathedral_model::time::Timestamp;
use futures_util::future::{join, join_all};

use super::{Subject, all_events, assert_permanent, at, kinds, request};
use crate::contracts::store::promises;

promises! {
    declared_schedules_are_listed_by_name,
    declaring_again_keeps_what_was_counted,
    a_changed_rule_begins_anew_and_stays_paused,
    what_is_no_longer_declared_is_gone,
    a_schedule_declared_twice_changes_nothing,
    a_due_time_files_one_request,
    of_many_who_fire_one_files,
    a_fire_joins_an_equal_waiting_request,
    a_due_time_left_out_is_counted,
    only_the_due_time_that_stands_fires,
    a_due_time_that_comes_back_files_nothing,
    a_paused_schedule_rests_until_it_is_resumed,
    a_pause_that_ended_holds_nothing_up,
    what_is_unknown_neither_fires_nor_rests,
    many_fires_in_a_row_all_file,
}

fn schedule(name: &str, every_s: u64) -> Schedule {
    Schedule {
        name: name.to_owned(),
        title: format!("sync {name} ☃"),
        rule: Rule::Every { ms: every_s * 1_000 },
        jitter_ms: 7,
        overlap: Overlap::Queue,
        misfire: Misfire::Skip,
        request: request(name),
    }
}

/// A fire of the time `due` that files the schedule's request.
fn fire(name: &str, due: i64, next: i64) -> Fire {
    let request = Some(request(name));
    Fire { schedule: name.to_owned(), due: at(due), request, missed: 0, next_due: Some(at(next)) }
}

async fn declare(hub: &Subject, schedules: &[(Schedule, Option<Timestamp>)]) {
    hub.declare(schedules, at(0)).await.expect("the contract holds");
}

async fn state(hub: &Subject, name: &str) -> ScheduleState {
    hub.schedules()
        .await
        .expect("the contract holds")
        .into_iter()
        .find(|s| s.schedule.name == name)
        .expect("the contract holds")
}

fn pause(until: Option<Timestamp>) -> Pause {
    Pause { since: at(1), until, reason: "the disk is full".to_owned(), actor: "ada".to_owned() }
}

async fn declared_schedules_are_listed_by_name(hub: Subject) {
    assert!(hub.schedules().await.expect("the contract holds").is_empty());
    let cron = Rule::Cron { expression: "0 3 * * *".to_owned(), time_zone: "Europe/Berlin".to_owned() };
    let daily = Schedule { rule: cron, ..schedule("b-daily", 1) };
    let never = (schedule("a_never", 60), None);
    declare(&hub, &[(daily.clone(), Some(at(9))), never.clone(), (schedule("B", 1), None)]).await;
    let found = hub.schedules().await.expect("the contract holds");
    assert_eq!(found.iter().map(|s| s.schedule.name.as_str()).collect::<Vec<_>>(), ["B", "a_never", "b-daily"]);
    let expected = ScheduleState {
        schedule: daily,
        next_due: Some(at(9)),
        last_due: None,
        last_fired_at: None,
        last_run: None,
        missed: 0,
        pause: None,
    };
    assert_eq!(found[2], expected);
    assert_eq!((&found[1].schedule, found[1].next_due), (&never.0, None));
}

async fn declaring_again_keeps_what_was_counted(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    hub.fire(&Fire { missed: 3, ..fire("a", 60, 120) }, at(61)).await.expect("the contract holds");
    hub.pause("a", Some(&pause(None)), None, at(62)).await.expect("the contract holds");
    let before = state(&hub, "a").await;
    declare(&hub, &[(schedule("a", 60), Some(at(500)))]).await;
    assert_eq!(state(&hub, "a").await, before);
    let other = Schedule { title: "other".to_owned(), request: request("z"), ..schedule("a", 60) };
    declare(&hub, &[(other.clone(), Some(at(500)))]).await;
    assert_eq!(state(&hub, "a").await, ScheduleState { schedule: other, ..before }, "the rule is what counts");
}

async fn a_changed_rule_begins_anew_and_stays_paused(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    hub.fire(&Fire { missed: 3, ..fire("a", 60, 120) }, at(61)).await.expect("the contract holds");
    hub.pause("a", Some(&pause(None)), None, at(62)).await.expect("the contract holds");
    declare(&hub, &[(schedule("a", 90), Some(at(500)))]).await;
    let now = state(&hub, "a").await;
    assert_eq!((now.next_due, now.last_due, now.missed), (Some(at(500)), None, 0));
    assert_eq!(now.pause, Some(pause(None)));
    assert_eq!(now.last_run, Some(RunId(1)), "the last run may still be under way");
}

async fn what_is_no_longer_declared_is_gone(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60))), (schedule("b", 60), Some(at(60)))]).await;
    hub.fire(&fire("a", 60, 120), at(60)).await.expect("the contract holds");
    declare(&hub, &[(schedule("b", 60), Some(at(99)))]).await;
    let found = hub.schedules().await.expect("the contract holds");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].schedule.name.as_str(), found[0].next_due), ("b", Some(at(60))));
    assert_eq!(hub.fire(&fire("a", 120, 180), at(120)).await.expect("the contract holds"), Fired::NotDue);
    declare(&hub, &[]).await;
    assert!(hub.schedules().await.expect("the contract holds").is_empty());
}

async fn a_schedule_declared_twice_changes_nothing(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    let twice = [(schedule("b", 60), None), (schedule("b", 61), None)];
    assert_permanent(hub.declare(&twice, at(1)).await, Cause::Invalid);
    let found = hub.schedules().await.expect("the contract holds");
    assert_eq!(found.iter().map(|s| s.schedule.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

async fn a_due_time_files_one_request(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    let fired = hub.fire(&Fire { missed: 2, ..fire("a", 60, 120) }, at(63)).await.expect("the contract holds");
    assert_eq!(fired, Fired::Filed(Enqueued::New(RunId(1))));
    let row = hub.run(RunId(1)).await.expect("the contract holds").expect("the contract holds");
    assert_eq!((row.request, row.state.as_str(), row.queued_at), (request("a"), "queued", at(63)));
    let now = state(&hub, "a").await;
    assert_eq!((now.next_due, now.last_due, now.last_fired_at), (Some(at(120)), Some(at(60)), Some(at(63))));
    assert_eq!((now.last_run, now.missed), (Some(RunId(1)), 2));
    let told = all_events(&hub).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].event.kind.as_str(), told[0].event.run, told[0].at),
        ("schedule.fired", Some(RunId(1)), at(63))
    );
    assert_eq!(told[0].event.data["schedule"], "a");
    assert_eq!(hub.fire(&fire("a", 60, 120), at(64)).await.expect("the contract holds"), Fired::NotDue);
    assert_eq!((hub.runs(None, 10).await.expect("the contract holds").len(), kinds(&hub).await.len()), (1, 1));
}

async fn of_many_who_fire_one_files(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    // What each would file is its own run, so that joining cannot hide a second one.
    let alone = |n: i64| Fire { request: Some(request(&format!("s{n}"))), ..fire("a", 60, 120) };
    let (one, two) = (alone(1), alone(2));
    let (one, two) = join(hub.fire(&one, at(60)), hub.fire(&two, at(60))).await;
    let filed = |fired: &Fired| matches!(fired, Fired::Filed(Enqueued::New(_)));
    let fired = [one.expect("the contract holds"), two.expect("the contract holds")];
    assert_eq!(fired.iter().filter(|f| filed(f)).count(), 1, "{fired:?}");
    assert_eq!(fired.iter().filter(|f| **f == Fired::NotDue).count(), 1, "{fired:?}");
    let many: Vec<Fire> = (3..30).map(|n| Fire { due: at(120), next_due: Some(at(180)), ..alone(n) }).collect();
    let fired = join_all(many.iter().map(|f| hub.fire(f, at(120)))).await;
    assert_eq!(fired.into_iter().filter(|f| filed(f.as_ref().expect("the contract holds"))).count(), 1);
    assert_eq!(hub.runs(None, 100).await.expect("the contract holds").len(), 2);
    assert_eq!(kinds(&hub).await, ["schedule.fired", "schedule.fired"]);
}

async fn a_fire_joins_an_equal_waiting_request(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    let waiting = hub.enqueue(&request("a"), at(1)).await.expect("the contract holds").run();
    let fired = hub.fire(&fire("a", 60, 120), at(60)).await.expect("the contract holds");
    assert_eq!(fired, Fired::Filed(Enqueued::Coalesced(waiting)));
    assert_eq!(state(&hub, "a").await.last_run, Some(waiting));
    assert_eq!(hub.runs(None, 10).await.expect("the contract holds").len(), 1);
}

async fn a_due_time_left_out_is_counted(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    let left_out = Fire { request: None, missed: 5, ..fire("a", 60, 360) };
    assert_eq!(hub.fire(&left_out, at(350)).await.expect("the contract holds"), Fired::LeftOut);
    assert_eq!(hub.fire(&left_out, at(351)).await.expect("the contract holds"), Fired::NotDue);
    let now = state(&hub, "a").await;
    assert_eq!((now.next_due, now.last_due, now.missed), (Some(at(360)), Some(at(60)), 5));
    assert_eq!((now.last_run, now.last_fired_at), (None, None));
    assert!(hub.runs(None, 10).await.expect("the contract holds").is_empty());
    assert_eq!(kinds(&hub).await, ["schedule.missed"]);
    assert_eq!(all_events(&hub).await[0].event.data["missed"], 5);
    let told = hub.undelivered(10).await.expect("the contract holds");
    assert_eq!(told.len(), 1, "told once");
    assert_eq!((told[0].topic.as_str(), &told[0].payload["schedule"]), ("schedule.missed", &"a".into()));
}

async fn only_the_due_time_that_stands_fires(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60))), (schedule("never", 60), None)]).await;
    for due in [0, 59, 61, 120] {
        assert_eq!(hub.fire(&fire("a", due, 180), at(200)).await.expect("the contract holds"), Fired::NotDue, "{due}");
    }
    assert_eq!(hub.fire(&fire("never", 60, 180), at(200)).await.expect("the contract holds"), Fired::NotDue);
    let last = Fire { next_due: None, ..fire("a", 60, 0) };
    assert!(matches!(hub.fire(&last, at(60)).await.expect("the contract holds"), Fired::Filed(_)));
    assert_eq!(state(&hub, "a").await.next_due, None, "it never comes again");
    assert_eq!(hub.fire(&last, at(61)).await.expect("the contract holds"), Fired::NotDue);
    assert_eq!(hub.runs(None, 10).await.expect("the contract holds").len(), 1);
}

async fn a_due_time_that_comes_back_files_nothing(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    hub.fire(&fire("a", 60, 120), at(60)).await.expect("the contract holds");
    declare(&hub, &[(schedule("a", 30), Some(at(60)))]).await;
    let again = Fire { request: Some(request("other")), ..fire("a", 60, 90) };
    assert_eq!(hub.fire(&again, at(61)).await.expect("the contract holds"), Fired::NotDue);
    assert_eq!(state(&hub, "a").await.next_due, Some(at(90)), "the schedule is not stuck behind it");
    assert!(matches!(hub.fire(&fire("a", 90, 120), at(90)).await.expect("the contract holds"), Fired::Filed(_)));
    assert_eq!(kinds(&hub).await, ["schedule.fired", "schedule.fired"]);
}

async fn a_paused_schedule_rests_until_it_is_resumed(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    let paused = hub.pause("a", Some(&pause(None)), Some(at(999)), at(1)).await.expect("the contract holds");
    assert_eq!((paused.pause.as_ref(), paused.next_due), (Some(&pause(None)), Some(at(60))));
    assert_eq!(state(&hub, "a").await, paused);
    assert_eq!(hub.fire(&fire("a", 60, 120), at(60)).await.expect("the contract holds"), Fired::NotDue);
    let resumed = hub.pause("a", None, Some(at(300)), at(250)).await.expect("the contract holds");
    assert_eq!((resumed.pause.as_ref(), resumed.next_due), (None, Some(at(300))));
    assert_eq!(hub.fire(&fire("a", 60, 120), at(250)).await.expect("the contract holds"), Fired::NotDue);
    assert!(matches!(hub.fire(&fire("a", 300, 360), at(300)).await.expect("the contract holds"), Fired::Filed(_)));
    assert_eq!(kinds(&hub).await, ["schedule.paused", "schedule.resumed", "schedule.fired"]);
    assert_eq!(all_events(&hub).await[0].event.data["reason"], "the disk is full");
}

async fn a_pause_that_ended_holds_nothing_up(hub: Subject) {
    declare(&hub, &[(schedule("a", 60), Some(at(60)))]).await;
    hub.pause("a", Some(&pause(Some(at(100)))), None, at(1)).await.expect("the contract holds");
    assert_eq!(hub.fire(&fire("a", 60, 120), at(99)).await.expect("the contract holds"), Fired::NotDue);
    assert!(matches!(hub.fire(&fire("a", 60, 120), at(100)).await.expect("the contract holds"), Fired::Filed(_)));
    assert_eq!(state(&hub, "a").await.pause, None);
}

async fn what_is_unknown_neither_fires_nor_rests(hub: Subject) {
    assert_eq!(hub.fire(&fire("a", 60, 120), at(60)).await.expect("the contract holds"), Fired::NotDue);
    assert_permanent(hub.pause("a", Some(&pause(None)), None, at(1)).await, Cause::NotFound);
    assert_permanent(hub.pause("a", None, Some(at(1)), at(1)).await, Cause::NotFound);
    assert!(kinds(&hub).await.is_empty());
}

async fn many_fires_in_a_row_all_file(hub: Subject) {
    declare(&hub, &[(schedule("a", 1), Some(at(0)))]).await;
    // More than are kept of one schedule.
    for second in 0..130 {
        let fired = hub.fire(&fire("a", second, second + 1), at(second)).await.expect("the contract holds");
        assert!(matches!(fired, Fired::Filed(_)), "{second}: {fired:?}");
    }
    assert_eq!(kinds(&hub).await.len(), 130);
}
