//! What a snapshot holds, and in which order snapshots stand: while a side is away, while somebody keeps
//! writing, while a clock is wrong.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::outputs;
use support::scratch;
use support::world::{World, sql, write};

fn ready(place: &tempfile::TempDir) -> World {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world
}

/// The ids of all snapshots, in the order of the list.
fn ids(world: &World) -> Vec<String> {
    let list = outputs::json(world, "snapshots", &["snapshot", "list"], 0);
    list["data"]["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

/// Whether some snapshot gives back a text at a place.
fn is_held(world: &World, place: &str, text: &str) -> bool {
    ids(world).iter().any(|id| world.cathedral(&["snapshot", "cat", id, place]).out.contains(text))
}

/// A place that cannot be read: what stood there is aside, and something of another kind is in its place.
fn take_away(place: &Path) {
    fs::rename(place, place.with_extension("aside")).unwrap();
    fs::write(place, "this is neither a folder nor a database").unwrap();
}

fn bring_back(place: &Path) {
    fs::remove_file(place).unwrap();
    fs::rename(place.with_extension("aside"), place).unwrap();
}

fn part<'a>(snapshot: &'a serde_json::Value, spoke: &str, side: &str) -> &'a serde_json::Value {
    let parts = snapshot["data"]["snapshot"]["parts"].as_array().unwrap();
    parts.iter().find(|p| p["spoke"] == spoke && p["side"] == side).unwrap()
}

#[test]
fn a_side_that_can_be_read_is_kept_while_the_other_one_cannot() {
    let place = scratch();
    let world = ready(&place);
    let first = ids(&world).pop().unwrap();
    let note = |text: &str| format!("update entry set note = '{text}' where id = 7");
    for away in [world.app_files(), world.app_db()] {
        take_away(&away);
    }
    write(&world.hub_files().join("f.txt"), "the version between\n");
    sql(&world.hub_db(), &note("the row between"));
    world.cathedral(&["sync"]).expect(12);
    let before = ids(&world);
    assert_ne!(before.last(), Some(&first), "the sync took no snapshot");
    world.cathedral(&["sync"]).expect(12);
    assert_eq!(ids(&world), before, "nothing has changed since");

    let shown = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    for spoke in ["codex", "ledger"] {
        let carried = &part(&shown, spoke, "spoke")["carried"];
        assert_eq!(carried["snapshot"], *first, "{carried:#}");
        assert!(carried["read_at"].is_string() && carried["why"].as_str().is_some_and(|w| !w.is_empty()), "{carried:#}");
        assert!(part(&shown, spoke, "hub")["carried"].is_null());
    }
    let text = world.cathedral(&["snapshot", "show", "latest"]).expect(0).out;
    assert!(text.contains("codex@spoke could not be read for this snapshot"), "{text}");
    // Before and after a restore.
    let to = place.path().join("back");
    let args = ["restore", "latest", "codex@spoke", "ledger@spoke", "--to", to.to_str().unwrap()];
    let told = world.cathedral(&args).expect(0);
    assert_eq!(told.err.matches("codex@spoke could not be read for this snapshot").count(), 2, "{}", told.err);
    assert!(to.join("codex@spoke/motto.txt").exists());
    let args = ["restore", "latest", "ledger@spoke", "--to", to.to_str().unwrap(), "--dry-run"];
    let planned = outputs::json(&world, "restore", &args, 10);
    assert_eq!(planned["data"]["older"].as_array().map(Vec::len), Some(1), "{planned:#}");
    let unmarked = world.cathedral(&["restore", "latest", "codex", "--to", "../unmarked"]).expect(0);
    assert!(!unmarked.err.contains("could not be read"), "{}", unmarked.err);

    write(&world.hub_files().join("f.txt"), "the last version\n");
    sql(&world.hub_db(), &note("the last row"));
    for away in [world.app_files(), world.app_db()] {
        bring_back(&away);
    }
    world.cathedral(&["sync"]).expect(0);
    assert_eq!(fs::read_to_string(world.app_files().join("f.txt")).unwrap(), "the last version\n");
    assert!(is_held(&world, "codex/f.txt", "the version between"));
    assert!(is_held(&world, "ledger/entry", "the row between"));
    let shown = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    assert!(part(&shown, "codex", "spoke")["carried"].is_null(), "{shown:#}");
}

#[test]
fn a_snapshot_command_keeps_what_can_be_read() {
    let place = scratch();
    let world = ready(&place);
    take_away(&world.hub_files());
    write(&world.app_files().join("f.txt"), "of the app\n");
    let taken = outputs::json(&world, "snapshot", &["snapshot", "create"], 12);
    assert!(taken["warnings"].to_string().contains("codex could not be read for this snapshot"), "{taken:#}");
    assert!(is_held(&world, "codex@spoke/f.txt", "of the app"));
    bring_back(&world.hub_files());
    world.cathedral(&["sync"]).expect(0);
}

#[test]
fn a_snapshot_that_is_well_taken_succeeds_whatever_conflicts_wait() {
    let place = scratch();
    let world = ready(&place);
    write(&world.hub_files().join("motto.txt"), "given away\n");
    write(&world.app_files().join("motto.txt"), "given again\n");
    world.cathedral(&["sync"]).expect(11);
    let taken = outputs::json(&world, "snapshot", &["snapshot", "create"], 0);
    assert_eq!(taken["data"]["result"], "succeeded");
    let run = taken["data"]["run"].to_string();
    let shown = world.cathedral(&["run", "show", &run, "--json"]).expect(0).json();
    assert!(shown.to_string().contains("\"result\":\"succeeded\""), "{shown:#}");
    world.cathedral(&["sync", "--only", "snapshot"]).expect(0);
    world.cathedral(&["sync"]).expect(11);
}
