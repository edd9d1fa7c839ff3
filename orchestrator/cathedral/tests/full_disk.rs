//! Disks that fill up in the middle of a run: the hub's, a destination's, a spoke's. Each time the command
//! says so in three parts and how each spoke stands, nothing is lost, and once there is room again the same
//! command ends where an undisturbed one ends.
//!
//! A small file system in memory is mounted where the test may mount; elsewhere no file may grow beyond a
//! limit, which is the same as a disk that is full in the middle of a file.

#![allow(clippy::unwrap_used)]

mod full_disk_support;
mod support;

use std::fs;

use full_disk_support::{Small, ready, told_states};
use support::eyes::{self, Versions, sides};
use support::outputs::{assert_plain, validate};
use support::scratch;

/// What holds after a run that met a full disk, and after the run that followed it.
struct Expect<'a> {
    calm: &'a eyes::Lines,
    before: &'a Versions,
}

/// Runs into the full disk and looks; gives back what the run said of each spoke, when it failed.
#[track_caller]
fn run_full(world: &support::world::World, small: &mut Small, free_kib: u64, expect: &Expect) -> Option<Told> {
    small.fill(free_kib);
    let before_sides = sides(world);
    let ran = small.run(world, &["sync", "--json"]);
    assert_plain(&ran);
    let after = sides(world);
    let lost = expect.before.lost(world, &small.kept(world));
    assert!(lost.is_empty(), "lost with {free_kib} KiB free: {lost:#?}\n{ran:?}");
    if matches!(ran.code, 0 | 11) {
        // There was room enough after all.
        return None;
    }
    assert!(matches!(ran.code, 1 | 12), "with {free_kib} KiB free: {ran:?}");
    for part in ["error: ", "\n  why: ", "\n  try: "] {
        assert!(ran.err.contains(part), "no {part:?} with {free_kib} KiB free: {ran:?}");
    }
    let document = ran.json();
    validate(if document["error"].is_object() { "error" } else { "sync" }, &document);
    let told = told_states(world, &ran, &before_sides, &after, expect.calm);
    small.free();
    let again = world.cathedral(&["sync"]);
    assert_eq!(again.code, 11, "once there was room again: {again:?}\nfirst: {ran:?}");
    assert_eq!(eyes::difference(expect.calm, &sides(world)), None, "another end with {free_kib} KiB free");
    world.cathedral(&["log", "audit"]).expect(0);
    world.cathedral(&["verify", "--level", "full"]).expect(0);
    Some(Told { text: format!("{}{}", ran.out, ran.err), named: told, of_this_disk: small.is_mounted() })
}

struct Told {
    text: String,
    /// How many spokes were named with a state.
    named: usize,
    /// Whether it was this disk that was full, and not whichever file met the limit first.
    of_this_disk: bool,
}

impl Told {
    fn says_full(&self) -> bool {
        !self.of_this_disk || self.text.contains("o space left on device")
    }
}

/// One disk, at several amounts of room; at least one of them must have been too little.
fn trial(place: &str, sizes: &[u64], settle: impl Fn(&support::world::World)) -> Vec<Told> {
    let folder = scratch();
    let base = ready(&folder.path().join("base"), &settle);
    let before = Versions::of(&base);
    let calm = base.copy(&folder.path().join("calm"));
    calm.cathedral(&["sync"]).expect(11);
    let calm = sides(&calm);
    let expect = Expect { calm: &calm, before: &before };
    let mut told = vec![];
    for free in sizes {
        let world = base.copy(&folder.path().join(format!("world-{free}")));
        let mut small = Small::at(&world.root.join(place));
        told.extend(run_full(&world, &mut small, *free, &expect));
        drop(small);
        fs::remove_dir_all(&world.root).unwrap();
    }
    assert!(!told.is_empty(), "{place} was never full");
    told
}

/// Puts the state database into a folder of its own.
fn state_aside(world: &support::world::World) {
    let text = fs::read_to_string(world.config()).unwrap();
    let there = "cathedral_ecosystem:\n  name: small\n";
    assert!(text.contains(there));
    let with = format!("{there}  state: {{ store: \"sqlite:../state/hub.db\" }}\n");
    fs::create_dir_all(world.root.join("state")).unwrap();
    fs::write(world.config(), text.replace(there, &with)).unwrap();
}

/// The database of the hub's state alone: from the first record on, and in the middle of the run.
#[test]
fn the_disk_of_the_state_database() {
    let told = trial("state", &[0, 8, 40, 80, 120, 160, 200, 260], state_aside);
    for told in told.iter().filter(|t| t.of_this_disk) {
        assert_eq!(told.named, 5, "not every spoke is named: {}", told.text);
        assert!(told.text.contains("C1801"), "{}", told.text);
        assert!(told.text.contains("make room"), "{}", told.text);
    }
}

/// The log's disk.
#[test]
fn the_disk_of_the_log() {
    let told = trial("hub/.cathedral/log", &[0, 4, 8, 12], |_| {});
    assert!(told.iter().all(Told::says_full), "{}", told[0].text);
}

/// The very first leaf does not fit.
#[test]
fn the_disk_of_a_log_that_is_still_empty() {
    let folder = scratch();
    let world = support::world::World::build(&folder.path().join("world"));
    let log = world.state().join("log");
    fs::create_dir_all(&log).unwrap();
    let mut small = Small::at(&log);
    let before = sides(&world);
    fs::write(log.join("filler"), vec![0; 4096]).unwrap();
    small.fill(0);
    let ran = small.run(&world, &["sync", "--json"]);
    assert_plain(&ran);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(eyes::difference(&before, &sides(&world)), None, "changed without a snapshot in the log");
    small.free();
    fs::remove_file(log.join("filler")).unwrap();
    if small.is_mounted() {
        assert!(ran.err.contains("o space left on device"), "{ran:?}");
        world.cathedral(&["log", "audit"]).expect(0);
    }
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["log", "audit"]).expect(0);
}

/// Everything the hub keeps: state, log, vault, contents, its copies of repositories.
#[test]
fn the_disk_of_the_whole_state_folder() {
    trial("hub/.cathedral", &[0, 60, 200, 400, 700], |_| {});
}

#[test]
fn the_disk_of_a_destination() {
    let told = trial("vault-copy", &[0, 4, 12, 32], |_| {});
    assert!(told.iter().all(Told::says_full), "{}", told[0].text);
}

/// A file tree: half of what a run brings it fits.
#[test]
fn the_disk_of_a_file_tree() {
    let told = trial("apps/codex", &[0, 16, 48, 120], |world| {
        for n in 0..12 {
            fs::write(world.hub_files().join(format!("large-{n:02}.bin")), vec![b'a' + n; 20_000]).unwrap();
        }
    });
    assert!(told.iter().all(|t| !t.of_this_disk || t.text.contains("codex")), "{}", told[0].text);
}

/// A run that a full disk has stopped goes on although a spoke has gone meanwhile: partly done among others,
/// unreachable alone.
#[test]
fn a_stopped_run_goes_on_without_a_spoke_that_is_gone() {
    for (args, code) in [(&["sync"][..], 12), (&["sync", "mind"], 6)] {
        let folder = scratch();
        let world = ready(&folder.path().join("world"), state_aside);
        let mut small = Small::at(&world.root.join("state"));
        small.fill(80);
        let ran = small.run(&world, args);
        assert_eq!(ran.code, 1, "{ran:?}");
        small.free();
        let away = world.root.join("away.git");
        fs::rename(world.mind(), &away).unwrap();
        let ran = world.cathedral(args);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.contains("mind is unreachable"), "{ran:?}");
        fs::rename(&away, world.mind()).unwrap();
        world.cathedral(&["sync"]).expect(11);
    }
}

/// Who only looks needs no room: nothing is called damaged because it cannot be written to.
#[test]
fn commands_that_only_read_work_on_a_full_disk() {
    let folder = scratch();
    let world = ready(&folder.path().join("world"), |_| {});
    let calm = world.cathedral(&["status", "--json"]).expect(0).json();
    let mut small = Small::at(&world.state());
    // The room that is left is too little for anything.
    fs::write(world.state().join("filler"), vec![0; 4096]).unwrap();
    small.fill(0);
    let status = small.run(&world, &["status", "--json"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert_eq!(status.json()["data"]["sentence"], calm["data"]["sentence"], "{status:?}");
    for level in ["quick", "metadata", "full"] {
        let told = small.run(&world, &["verify", "--level", level, "--json"]);
        assert_eq!(told.code, 0, "{level}: {told:?}");
        validate("verify", &told.json());
    }
    for args in [&["runs"][..], &["conflicts"], &["snapshot", "list"], &["log", "audit"], &["events"]] {
        let ran = small.run(&world, args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    // Not even a byte: what is counted as used may be less than what is.
    if small.is_mounted() {
        let mut more = fs::OpenOptions::new().append(true).open(world.state().join("filler")).unwrap();
        while std::io::Write::write(&mut more, &[0; 4096]).is_ok_and(|n| n > 0) {}
        let copies = folder.path().join("copies");
        fs::create_dir(&copies).unwrap();
        let mut command = support::command(&world.hub(), &["status", "--json"]);
        let status = support::Ran::of(command.env("TMPDIR", &copies).output().unwrap());
        assert_eq!(status.code, 0, "{status:?}");
        assert_eq!(status.json()["data"]["sentence"], calm["data"]["sentence"], "{status:?}");
        assert_eq!(fs::read_dir(&copies).unwrap().count(), 0, "a copy of the state stays behind");
    }
}
