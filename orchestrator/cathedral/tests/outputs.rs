//! What scripts read: every published output against its schema, and nothing for terminals in a pipe.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::eyes;
use support::outputs::{assert_plain, json, ran_with, schema};
use support::world::World;
use support::{Ran, command, scratch};

/// Two syncs, with conflicts.
fn conflicted(place: &tempfile::TempDir) -> World {
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    world
}

#[test]
fn every_published_output_has_the_form_of_its_schema() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    json(&world, "status", &["status"], 0);
    json(&world, "conflicts", &["conflicts"], 0);
    json(&world, "error", &["log", "head"], 4);
    json(&world, "error", &["snapshot", "list"], 4);
    let plan = json(&world, "plan", &["plan"], 10);
    assert_eq!(plan["data"]["plan"].as_str().map(|p| p.len() >= 8), Some(true), "{plan:#}");
    let synced = json(&world, "sync", &["sync"], 0);
    assert_eq!(synced["data"]["result"], "succeeded");
    assert_eq!(json(&world, "sync", &["sync"], 0)["data"]["result"], "nothing_to_do");
    world.change();
    let plan = json(&world, "plan", &["plan"], 10);
    let actions: usize =
        plan["data"]["spokes"].as_array().unwrap().iter().map(|s| s["actions"].as_array().unwrap().len()).sum();
    assert!(actions > 5, "{plan:#}");
    json(&world, "plan", &["sync", "--dry-run"], 10);
    let synced = json(&world, "sync", &["sync"], 11);
    assert_eq!(synced["data"]["result"], "conflicts");
    assert_eq!(synced["data"]["phases"].as_array().unwrap().len(), 5);
    json(&world, "status", &["status"], 0);
    json(&world, "status", &["status", "codex"], 0);
    json(&world, "status", &["status", "--exit-code"], 11);
    let list = json(&world, "conflicts", &["conflicts", "list"], 11);
    let list = list["data"]["conflicts"].as_array().unwrap();
    let kinds: BTreeSet<&str> = list.iter().map(|c| c["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["database", "files", "git"]));
    for conflict in list {
        let shown = json(&world, "conflict", &["conflicts", "show", &conflict["id"].to_string()], 0);
        assert_eq!(&shown["data"]["conflict"], conflict);
    }
    json(&world, "snapshot", &["snapshot", "create", "--tag", "kept"], 0);
    let all = json(&world, "snapshots", &["snapshot", "list"], 0);
    assert!(all["data"]["snapshots"].as_array().unwrap().len() >= 3);
    let one = json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    assert_eq!(&one["data"]["snapshot"], all["data"]["snapshots"].as_array().unwrap().last().unwrap());
    json(&world, "restore", &["restore", "latest", "--to", "../back", "--dry-run"], 10);
    json(&world, "snapshot-forget", &["snapshot", "forget", "latest", "--yes", "small", "--dry-run"], 10);
    let restored = json(&world, "restore", &["restore", "latest", "--to", "../back"], 0);
    let restored = restored["data"]["restored"].as_array().unwrap();
    assert!(restored.iter().all(|r| r["verified"] == true) && restored.len() >= 6, "{restored:#?}");
    json(&world, "restore", &["restore", "latest", "--in-place", "--yes", "small"], 0);
    for level in ["quick", "metadata", "full"] {
        json(&world, "verify", &["verify", "--level", level], 0);
    }
    let head = json(&world, "log-head", &["log", "head"], 0);
    assert!(head["data"]["size"].as_u64().unwrap() >= 6);
    json(&world, "error", &["conflicts", "show", "999"], 4);
    json(&world, "conflict", &["conflicts", "resolve", &list[0]["id"].to_string(), "--take", "hub"], 0);
    json(&world, "schedules", &["schedule"], 0);
    json(&world, "token", &["token", "new", "--scope", "viewer"], 0);
    json(&world, "hook-sent", &["hook", "sent"], 0);
    json(&world, "hook-endpoints", &["hook", "list"], 0);
    json(&world, "doctor", &["doctor"], 0);
    // Each published schema was met above; "up" is met in serve.rs, "hook-delivery" in notifications.rs.
    let names = Ran::of(command(&world.hub(), &["schema"]).output().unwrap()).expect(0).out;
    let met = BTreeSet::from([
        "sync",
        "plan",
        "status",
        "conflicts",
        "conflict",
        "snapshot",
        "snapshots",
        "snapshot-forget",
        "restore",
        "verify",
        "log-head",
        "doctor",
        "schedules",
        "token",
        "hook-sent",
        "hook-endpoints",
        "hook-delivery",
        "up",
        "error",
    ]);
    assert_eq!(names.lines().collect::<BTreeSet<_>>(), met, "a schema without a test");
    met.iter().for_each(|name| drop(schema(name)));
}

/// Commands that a pipe may read, all of which end well here.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["status", "--all"],
    &["plan"],
    &["sync"],
    &["sync", "--dry-run"],
    &["runs"],
    &["run", "show", "last"],
    &["run", "log", "last"],
    &["conflicts"],
    &["conflicts", "list", "--all"],
    &["conflicts", "show", "1"],
    &["conflicts", "show", "3"],
    &["conflicts", "show", "5"],
    &["snapshot", "list"],
    &["snapshot", "show", "latest"],
    &["snapshot", "ls", "latest"],
    &["snapshot", "ls", "latest", "codex"],
    &["snapshot", "ls", "latest", "ledger"],
    &["snapshot", "ls", "latest", "mind"],
    &["snapshot", "create"],
    &["verify", "--level", "full"],
    &["restore", "latest", "--to", "../dry", "--dry-run"],
    &["log", "head"],
    &["log", "show"],
    &["log", "audit"],
    &["events"],
    &["config", "validate"],
    &["config", "show"],
    &["config", "explain"],
    &["config", "explain", "backup"],
    &["config", "schema"],
    &["doctor"],
    &["schema"],
    &["completion", "bash"],
    &["--help"],
    &["sync", "--help"],
    &["--version"],
];

/// Names that try to act on the terminal come out as text.
#[test]
fn a_pipe_gets_no_escape_sequences_from_any_command() {
    let place = scratch();
    let world = conflicted(&place);
    let wild = "bell\u{7}\u{1b}[31mred\u{1b}]0;title\u{7}\u{202e}.txt";
    fs::write(world.app_files().join(wild), "x\n").unwrap();
    fs::write(world.hub_files().join(wild), "y\n").unwrap();
    for args in COMMANDS {
        for machine in [None, Some("--json")] {
            let args: Vec<&str> = args.iter().copied().chain(machine).collect();
            let ran = ran_with(&world, &args, |c| {
                c.env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
            });
            assert!(matches!(ran.code, 0 | 2 | 10 | 11), "{args:?}: {ran:?}");
            let text = format!("{}{}", ran.out, ran.err);
            assert!(!text.contains('\u{202e}') || machine.is_some(), "{args:?}: {text:?}");
            assert_plain(&ran);
            if machine.is_some()
                && !matches!(args[0], "schema" | "completion" | "--help" | "--version")
                && args[1] != "--help"
                && args[1] != "schema"
            {
                ran.json();
            }
        }
    }
    let ran = ran_with(&world, &["sync", "--color", "always"], |_| {});
    assert!(ran.out.contains('\u{1b}'), "a person who asks for colour gets none");
}

/// `--jsonl` gives one line a document.
#[test]
fn lines_of_json_are_lines() {
    let place = scratch();
    let world = conflicted(&place);
    for args in [&["events", "--jsonl"][..], &["status", "--jsonl"], &["conflicts", "--jsonl"], &["runs", "--jsonl"]] {
        let ran = world.cathedral(args);
        assert!(!ran.out.is_empty(), "{args:?}");
        for line in ran.out.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

/// Size and both times of everything on every side: a sync without changes touches nothing.
#[test]
fn a_sync_without_changes_writes_nothing_anywhere() {
    let place = scratch();
    let world = conflicted(&place);
    // What the sync before left to be cleaned up, or cached, is so after one more.
    world.cathedral(&["sync"]).expect(11);
    let before = listing(&world);
    assert!(before.len() > 200, "{}", before.len());
    for _ in 0..2 {
        world.cathedral(&["sync"]).expect(11);
        assert_eq!(eyes::difference(&before, &listing(&world)), None);
    }
    // Looking does not write either.
    let writes = ["snapshot", "plan", "sync", "verify"];
    for args in COMMANDS.iter().filter(|args| !args.first().is_some_and(|first| writes.contains(first))) {
        world.cathedral(args);
    }
    world.cathedral(&["snapshot", "list"]).expect(0);
    assert_eq!(eyes::difference(&before, &listing(&world)), None);
    // A check remembers when it was and what it found, and that is all.
    world.cathedral(&["verify"]).expect(0);
    let told = eyes::difference(&before, &listing(&world)).unwrap_or_default();
    assert!(told.lines().all(|line| line.contains("hub/.cathedral/keys")), "{told}");
}

/// Path, size, mtime and ctime of everything. The state database takes note of the run, the notices tell it, and
/// the lock says who has it.
fn listing(world: &World) -> eyes::Lines {
    use std::os::unix::fs::MetadataExt as _;
    let mut out = eyes::Lines::new();
    let mut left = vec![world.root.clone()];
    let state = world.state();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // The database and its companions come and go in the state folder, and change only its own times.
            if path == state
                || (folder == state && (name.starts_with("hub.db") || name == "notices.jsonl" || name == "hub.lock"))
            {
                if path == state {
                    left.push(path);
                }
                continue;
            }
            let about = fs::symlink_metadata(&path).unwrap();
            let times = (about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec());
            out.insert(format!("{} {} {times:?}", support::below(&world.root, &path).display(), about.len()));
            if about.is_dir() {
                left.push(path);
            }
        }
    }
    out
}
