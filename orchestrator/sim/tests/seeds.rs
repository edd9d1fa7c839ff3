//! Five hundred lives of the world. `CATHEDRAL_SEED=n` replays one with its trace.

use cathedral_sim::{Bug, World};

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("CATHEDRAL_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(500);
    0..count
}

fn live(seed: u64) {
    let world = World::new(seed);
    if let Err(violations) = world.live() {
        panic!("{}\ntrace (end):\n{}", violations.join("\n"), world.trace().join("\n"));
    }
}

fn quarter(part: u64) {
    if let Some(seed) = std::env::var("CATHEDRAL_SEED").ok().and_then(|v| v.parse().ok()) {
        return live(seed);
    }
    for seed in seeds().filter(|seed| seed % 4 == part) {
        live(seed);
    }
}

// In quarters, so that a test runner can use its cores.
#[test]
fn every_invariant_holds_in_every_life_1() {
    quarter(0);
}

#[test]
fn every_invariant_holds_in_every_life_2() {
    quarter(1);
}

#[test]
fn every_invariant_holds_in_every_life_3() {
    quarter(2);
}

#[test]
fn every_invariant_holds_in_every_life_4() {
    quarter(3);
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [1, 7, 42, 99] {
        let (first, second) = (World::new(seed).live(), World::new(seed).live());
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(first, second, "seed {seed} must replay");
    }
}

#[test]
fn a_crash_after_any_record_loses_nothing() {
    let points = [
        "started",
        "snapshot_begun",
        "snapshot_taken",
        "snapshot_sealed",
        "planned",
        "pinned",
        "applied",
        "verified",
        "sealed",
        "announced",
        "intended",
        "restored",
        "proven",
        "snapshot:visible",
    ];
    for point in points {
        for seed in 1_000..1_008 {
            let world = World::new(seed);
            world.crash_after(0, point);
            world.crash_after(1, point);
            if let Err(violations) = world.live() {
                panic!("crash after {point}: {}", violations.join("\n"));
            }
        }
    }
}

/// A planted bug must be seen within these seeds by an invariant whose name holds one of these.
fn caught(bug: Bug, names: &[&str]) {
    let mut seen = vec![];
    for seed in 0..1_000 {
        if let Err(violations) = World::with_bug(seed, bug).live() {
            if violations.iter().any(|v| names.iter().any(|n| v.contains(n))) {
                println!("{bug:?}: seed {seed}");
                return;
            }
            seen.extend(violations);
        }
    }
    panic!("{bug:?} was not caught as {names:?}; other violations: {seen:?}");
}

#[test]
fn planted_bugs_are_caught() {
    caught(Bug::SkipPin, &["no pin"]);
    caught(Bug::SkipSnapshot, &["is in no snapshot"]);
    caught(Bug::SkipRestoreSnapshot, &["displaced"]);
    caught(Bug::StaleLook, &["displaced"]);
    caught(Bug::BothOrNone, &["while the other side was away"]);
    caught(Bug::DropRecord, &["acknowledged means recorded"]);
    caught(Bug::BlindPush, &["no pin", "is in no snapshot"]);
    caught(Bug::AnnounceEarly, &["announced before commit"]);
    caught(Bug::ForgetBase, &["a second sync writes nothing", "sides agree or wait"]);
}
