#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use cathedral_model::schedule::{Pause, Rule};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Africa/Casablanca",
    "America/Havana",
];

fn zones(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn cron(expression: &str, time_zone: &str) -> Rule {
    Rule::Cron { expression: expression.into(), time_zone: time_zone.into() }
}

fn schedule(rule: Rule) -> Schedule {
    Schedule {
        name: "sync:billing".into(),
        title: "sync billing".into(),
        rule,
        jitter_ms: 0,
        overlap: Overlap::Skip,
        misfire: Misfire::RunOnce,
        request: Request {
            priority: Priority::Schedule,
            cause: "schedule".into(),
            work: Work::Sync(SyncRequest::default()),
        },
    }
}

fn state(rule: Rule, next_due: &str) -> ScheduleState {
    ScheduleState {
        schedule: schedule(rule),
        next_due: Some(at(next_due)),
        last_due: None,
        last_fired_at: None,
        last_run: None,
        missed: 0,
        pause: None,
    }
}

#[track_caller]
fn check(expression: &str, zone: &str, after: &str, expect: &[&str]) {
    let mut from = at(after);
    for expected in expect {
        let next = next_due(&cron(expression, zone), from, &zones).unwrap().unwrap();
        assert_eq!(next, at(expected), "{expression} in {zone} after {from}: {next}");
        from = next;
    }
}

#[test]
fn the_changes_of_the_clocks() {
    // 02:30 does not exist on 29 March 2026 in Berlin: once, right after the gap.
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    // It exists twice on 25 October 2026: once, the first time.
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Each quarter of an hour is each quarter of an hour that passes.
    check("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:45:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z"]);
    check(
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
    );
    // Half an hour only, on Lord Howe.
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00Z"]);
    check("@daily", "UTC", "2026-11-21T13:00:00Z", &["2026-11-22T00:00:00Z"]);
    check("0 0 29 2 *", "UTC", "2026-11-21T13:00:00Z", &["2028-02-29T00:00:00Z"]);
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    assert_eq!(
        next_due(&cron("0 3 * * *", "Mars/Olympus"), at("2026-01-01T00:00:00Z"), &zones).unwrap_err().to_string(),
        "the time zone \"Mars/Olympus\" is not known"
    );
    assert!(matches!(next_due(&cron("x", "UTC"), Timestamp(0), &zones), Err(RuleError::Cron { .. })));
    assert_eq!(next_due(&Rule::Every { ms: 0 }, Timestamp(0), &zones), Err(RuleError::NoInterval));
}

#[test]
fn words() {
    assert_eq!(in_words(&Rule::Every { ms: 900_000 }), "every 15 min");
    assert_eq!(in_words(&Rule::Every { ms: 90_000 }), "every 90 s");
    assert_eq!(in_words(&cron("0 3 * * *", "Europe/Berlin")), "at 03:00 (Europe/Berlin)");
}

#[test]
fn a_long_absence_is_one_run_and_a_count() {
    let state = state(Rule::Every { ms: 60_000 }, "2026-11-21T10:00:00Z");
    let Decision::Act(fire) = decide(&state, false, at("2026-11-21T12:00:30Z"), &zones).unwrap() else { panic!() };
    assert!(fire.request.is_some());
    assert_eq!(fire.missed, 120);
    assert_eq!(fire.next_due, Some(at("2026-11-21T12:01:00Z")));
    let mut skips = state;
    skips.schedule.misfire = Misfire::Skip;
    let Decision::Act(fire) = decide(&skips, false, at("2026-11-21T12:00:30Z"), &zones).unwrap() else { panic!() };
    assert_eq!((fire.request.is_none(), fire.missed), (true, 121));
}

#[test]
fn while_the_last_run_goes_on() {
    let state = state(Rule::Every { ms: 60_000 }, "2026-11-21T10:00:00Z");
    let Decision::Act(fire) = decide(&state, true, at("2026-11-21T10:00:01Z"), &zones).unwrap() else { panic!() };
    assert_eq!((fire.request.is_none(), fire.missed), (true, 1));
    let mut queues = state;
    queues.schedule.overlap = Overlap::Queue;
    let Decision::Act(fire) = decide(&queues, true, at("2026-11-21T10:00:01Z"), &zones).unwrap() else { panic!() };
    assert!(fire.request.is_some());
}

#[test]
fn a_pause_ends_by_itself_when_it_says_so() {
    let mut paused = state(Rule::Every { ms: 60_000 }, "2026-11-21T10:00:00Z");
    let until = at("2026-11-21T11:00:00Z");
    let pause = |until| Some(Pause { since: Timestamp(0), until, reason: String::new(), actor: String::new() });
    paused.pause = pause(Some(until));
    assert_eq!(decide(&paused, false, at("2026-11-21T10:30:00Z"), &zones).unwrap(), Decision::Wait(until));
    assert!(matches!(decide(&paused, false, until, &zones).unwrap(), Decision::Act(_)));
    paused.pause = pause(None);
    assert_eq!(decide(&paused, false, until, &zones).unwrap(), Decision::Rest);
}

/// A clock that jumps back must not act twice: the due time has moved on.
#[test]
fn a_clock_that_jumps_back_waits() {
    let state = state(Rule::Every { ms: 60_000 }, "2026-11-21T10:00:00Z");
    let Decision::Wait(at_least) = decide(&state, false, at("2026-11-21T08:00:00Z"), &zones).unwrap() else { panic!() };
    assert_eq!(at_least, at("2026-11-21T10:00:00Z"));
}

/// What a job at one fixed wall time a day must do, computed day by day without croner.
fn daily_by_hand(hour: i8, minute: i8, zone: &TimeZone, from: Timestamp, days: i64) -> BTreeSet<Timestamp> {
    let start = jiff::Timestamp::from_microsecond(from.0).unwrap().to_zoned(zone.clone()).date();
    let mut found = BTreeSet::new();
    for day in -1..days {
        let date = start.saturating_add(jiff::Span::new().days(day));
        let wall = DateTime::from_parts(date, jiff::civil::Time::new(hour, minute, 0, 0).unwrap());
        let ambiguous = zone.to_ambiguous_timestamp(wall);
        let instant = match ambiguous.offset() {
            jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).unwrap(),
            jiff::tz::AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).unwrap(),
            jiff::tz::AmbiguousOffset::Gap { .. } => {
                // The transition itself: the first instant whose wall time is past the one left out.
                let later = ambiguous.later().unwrap();
                let transitions = zone.preceding(later).take(1).map(|t| t.timestamp()).collect::<Vec<_>>();
                transitions[0]
            }
        };
        let instant = Timestamp(instant.as_microsecond());
        if instant > from {
            found.insert(instant);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Over zones and years: what a scheduler steps through is what a calendar gives.
    #[test]
    fn daily_jobs_are_exact(
        zone in 0..ZONES.len(), hour in 0_i8..24, minute in 0_i8..60, day in 0_i64..(40 * 365), second in 0_i64..86_400,
    ) {
        // From 2012 on: before, Apia left a whole day out.
        let from = Timestamp((1_325_376_000 + day * 86_400 + second) * 1_000_000);
        let zone_name = ZONES[zone];
        let expected = daily_by_hand(hour, minute, &zones(zone_name).unwrap(), from, 12);
        let rule = cron(&format!("{minute} {hour} * * *"), zone_name);
        let last = *expected.iter().nth(9).unwrap();
        let found: BTreeSet<_> = upcoming(&rule, from, last, 100, &zones).unwrap().into_iter().collect();
        let expected: BTreeSet<_> = expected.into_iter().take_while(|t| *t <= last).collect();
        prop_assert_eq!(found, expected, "{} {} in {} from {}", minute, hour, zone_name, from);
    }

    /// Whatever the rule, due times grow strictly, and every one's wall time in UTC zones fits a step job.
    #[test]
    fn due_times_grow(zone in 0..ZONES.len(), step in 1_u8..59, day in 0_i64..(40 * 365)) {
        let from = Timestamp((1_325_376_000 + day * 86_400) * 1_000_000);
        let rule = cron(&format!("*/{step} * * * *"), ZONES[zone]);
        let found = upcoming(&rule, from, from.plus_ms(3 * 3_600_000), 1_000, &zones).unwrap();
        prop_assert!(!found.is_empty());
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
        prop_assert!(found.windows(2).all(|pair| pair[1].ms_since(pair[0]) <= 90 * 60_000), "{found:?}");
    }

    /// However the ticks fall, each due time is dealt with exactly once, as a run or as a count.
    #[test]
    fn every_due_time_is_dealt_with_once(
        period in 1_u64..600, gaps in proptest::collection::vec(1_u64..5_000, 1..40), queue in any::<bool>(), busy in any::<u64>(),
    ) {
        let begin = Timestamp(1_763_700_000_000_000);
        let mut state = state(Rule::Every { ms: period * 1_000 }, "2026-01-01T00:00:00Z");
        state.next_due = Some(begin.plus_ms(period * 1_000));
        state.schedule.overlap = if queue { Overlap::Queue } else { Overlap::Skip };
        let (mut now, mut dealt) = (begin, 0);
        for (index, gap) in gaps.iter().enumerate() {
            now = now.plus_ms(gap * 1_000);
            let is_running = busy >> (index % 64) & 1 == 1;
            match decide(&state, is_running, now, &zones).unwrap() {
                Decision::Act(fire) => {
                    dealt += fire.missed + u64::from(fire.request.is_some());
                    prop_assert!(fire.next_due.unwrap() > now);
                    state.next_due = fire.next_due;
                }
                Decision::Wait(at) => prop_assert!(at > now),
                Decision::Rest => prop_assert!(false, "nothing rests here"),
            }
        }
        prop_assert_eq!(dealt, now.ms_since(begin) / (period * 1_000));
    }

    #[test]
    fn jitter_moves_the_start_and_never_the_due_time(jitter_ms in 0_u64..1_000_000, due in 0_i64..4_000_000_000) {
        let mut schedule = schedule(Rule::Every { ms: 1 });
        schedule.jitter_ms = jitter_ms;
        let due = Timestamp(due * 1_000_000);
        let by = jitter(&schedule, due);
        prop_assert!(by == 0 || by < jitter_ms);
        prop_assert_eq!(by, jitter(&schedule, due));
    }
}
