//! What a person meets when things are gone: keys, state, vault, log. Nothing may look better than it is,
//! and nothing may be made that gets in the way of the real thing.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::eyes::{self, sides};
use support::outputs::refused;
use support::world::{World, sql, write};
use support::{copy, scratch};

/// An ecosystem that was synced once.
fn ready(place: &tempfile::TempDir) -> World {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world
}

#[test]
fn keys_are_never_made_beside_what_older_ones_belong_to() {
    for gone in [&["hub.key"][..], &["signing.key"], &["hub-id"], &["hub.key", "signing.key", "vault-0001.0.age"]] {
        let place = scratch();
        let world = ready(&place);
        let keys = world.state().join("keys");
        for name in gone {
            fs::rename(keys.join(name), place.path().join(name)).unwrap();
        }
        for args in [&["sync"][..], &["plan"], &["doctor"], &["snapshot", "create"]] {
            let ran = refused(&world, args, 5);
            assert!(ran.err.contains(gone[0]), "{args:?} does not name {}: {}", gone[0], ran.err);
        }
        for name in gone {
            assert!(!keys.join(name).exists(), "a new {name} was made");
            fs::rename(place.path().join(name), keys.join(name)).unwrap();
        }
        world.cathedral(&["sync"]).expect(0);
    }
}

#[test]
fn a_vault_that_cannot_be_read_does_not_look_empty() {
    let place = scratch();
    let world = ready(&place);
    fs::rename(world.state().join("keys/hub.key"), place.path().join("hub.key")).unwrap();
    let told = world.cathedral(&["status", "--json"]).expect(0).json();
    let sentence = told["data"]["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("cannot be read"), "{sentence}");
    assert_eq!(told["data"]["code"], 5);
}

#[test]
fn a_restore_to_a_folder_needs_no_intact_state() {
    let place = scratch();
    let world = ready(&place);
    let database = world.state().join("hub.db");
    let bytes = fs::read(&database).unwrap();
    fs::write(&database, vec![0x55; bytes.len()]).unwrap();
    for extra in ["hub.db-wal", "hub.db-shm"] {
        let _ = fs::remove_file(world.state().join(extra));
    }
    let to = place.path().join("back");
    world.cathedral(&["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
    // The snapshots are not sealed with these keys.
    fs::write(&database, &bytes).unwrap();
    for key in ["hub-id", "log.key"] {
        let (key, away) = (world.state().join("keys").join(key), place.path().join("key"));
        fs::rename(&key, &away).unwrap();
        let beside = place.path().join("without").join(key.file_name().unwrap());
        let ran = world.cathedral(&["restore", "latest", "--to", beside.to_str().unwrap()]).expect(0);
        assert!(ran.err.contains("from the vault alone"), "{ran:?}");
        assert!(!key.exists(), "a new key was made");
        fs::rename(&away, &key).unwrap();
    }
    fs::write(&database, vec![0x55; bytes.len()]).unwrap();
    let ledger =
        fs::read_dir(&to).unwrap().filter_map(Result::ok).find(|e| e.path().extension().is_some_and(|x| x == "db"));
    assert_eq!(eyes::rows(&ledger.unwrap().path()), eyes::rows(&world.hub_db()));
    assert_eq!(fs::read(&database).unwrap(), vec![0x55; bytes.len()], "the damaged state was touched");
}

#[test]
fn a_lost_state_database_is_begun_anew_and_nothing_is_deleted() {
    let place = scratch();
    let world = ready(&place);
    write(&world.app_files().join("before.txt"), "written before the state was lost\n");
    world.cathedral(&["sync"]).expect(0);
    let newest = || {
        let runs = world.cathedral(&["runs", "--json"]).expect(0).json();
        runs["data"]["runs"][0]["run"].as_i64().unwrap()
    };
    let before = newest();
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let _ = fs::remove_file(world.state().join(name));
    }
    write(&world.app_files().join("after.txt"), "written after the state was lost\n");
    world.cathedral(&["sync"]).expect(0);
    assert!(world.hub_files().join("after.txt").exists());
    world.cathedral(&["log", "audit"]).expect(0);
    // The numbers go on where the old ones ended: no leaf and no kept folder is met twice.
    assert_eq!(newest(), before + 1);
    world.cathedral(&["sync"]).expect(0);
    // What is kept names runs as well, and a log that cannot be read may have named any.
    for (is_read, least) in [(true, 5_000), (false, 1_000_000)] {
        for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
            let _ = fs::remove_file(world.state().join(name));
        }
        fs::create_dir_all(world.state().join("kept/5000")).unwrap();
        if !is_read {
            fs::remove_file(world.state().join("keys/log.vkey")).unwrap();
        }
        write(&world.app_files().join("after.txt"), &format!("written later: {is_read}\n"));
        let ran = world.cathedral(&["sync"]);
        assert!(matches!(ran.code, 0 | 11), "{ran:?}");
        assert!(newest() > least, "{}", newest());
    }
}

#[test]
fn a_log_that_was_put_back_is_not_appended_to() {
    let place = scratch();
    let world = ready(&place);
    let log = world.state().join("log");
    let old = place.path().join("old-log");
    copy(&log, &old);
    sql(&world.app_db(), "create table fresh (id integer primary key); insert into fresh values (1)");
    world.cathedral(&["sync"]).expect(0);
    fs::remove_dir_all(&log).unwrap();
    copy(&old, &log);
    for name in ["log-head", "log-head.recent"] {
        let _ = fs::remove_file(world.state().join("keys").join(name));
    }
    let before = sides(&world);
    write(&world.app_files().join("later.txt"), "later\n");
    let ran = refused(&world, &["sync"], 20);
    assert!(ran.err.contains("put back"), "{}", ran.err);
    fs::remove_file(world.app_files().join("later.txt")).unwrap();
    assert_eq!(eyes::difference(&before, &sides(&world)), None);
}

#[test]
fn a_part_that_was_not_there_is_not_restored_as_nothing() {
    let place = scratch();
    let world = World::build(place.path());
    fs::remove_file(world.hub_db()).unwrap();
    world.cathedral(&["sync"]).expect(0);
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let first = list["data"]["snapshots"][0].clone();
    let id = first["id"].as_str().unwrap().to_owned();
    let missing = first["parts"].as_array().unwrap().iter().find(|p| p["position"] == "missing").unwrap().clone();
    let name = missing["spoke"].as_str().unwrap().to_owned();
    let to = place.path().join("back");
    let ran = refused(&world, &["restore", &id, &name, "--to", to.to_str().unwrap()], 21);
    assert!(ran.err.contains(&format!("{name}@spoke")), "{}", ran.err);
    assert!(!to.exists());
    world.cathedral(&["restore", &id, "--to", to.to_str().unwrap()]).expect(0);
    assert!(!to.join(format!("{name}.db")).exists());
    assert!(to.join(format!("{name}@spoke.db")).exists());
}

#[test]
fn places_where_files_would_be_run_or_feed_on_themselves_are_refused() {
    for bad in [".git", ".", "..", ".cathedral/x", "../apps"] {
        let place = scratch();
        let world = ready(&place);
        let good = fs::read_to_string(world.config()).unwrap();
        let trap = format!("  connected_files:\n    - name: trap\n      hub: {bad}\n      paths: [../apps/trap-src]\n");
        let text = good.replacen("  connected_files:\n", &trap, 1);
        assert_ne!(text, good, "the world has no file tree");
        fs::write(world.config(), text).unwrap();
        fs::create_dir_all(place.path().join("apps/trap-src")).unwrap();
        refused(&world, &["sync"], 3);
    }
}

#[test]
fn one_file_is_merged_three_ways() {
    let place = scratch();
    let at = |name: &str, text: &str| {
        let path = place.path().join(name);
        write(&path, text);
        path.display().to_string()
    };
    let base = at("base.json", "{\n  \"a\": 1,\n  \"b\": 1\n}\n");
    let hub = at("hub.json", "{\n  \"a\": 2,\n  \"b\": 1\n}\n");
    let spoke = at("spoke.json", "{\n  \"a\": 1,\n  \"b\": 3\n}\n");
    let clash = at("clash.json", "{\n  \"a\": 9,\n  \"b\": 1\n}\n");
    let merged = support::cathedral(place.path(), &["merge-file", &base, &hub, &spoke]).expect(0);
    assert_eq!(merged.out, "{\n  \"a\": 2,\n  \"b\": 3\n}\n");
    let left = support::cathedral(place.path(), &["merge-file", &base, &hub, &clash]).expect(11);
    assert_eq!(left.out, "");
}

#[test]
fn a_folder_is_described_from_outside_of_it() {
    let place = scratch();
    fs::create_dir_all(place.path().join("eco/hub")).unwrap();
    let ran = support::cathedral(place.path(), &["init", "eco/hub", "--stdout"]).expect(0);
    assert!(ran.out.contains("master_repository: hub"), "{}", ran.out);
    support::cathedral(&place.path().join("eco"), &["init", "hub"]).expect(0);
    assert!(place.path().join("eco/hub/.cathedral/integration-config.yaml").is_file());
    assert!(!place.path().join("eco/hub/hub").exists());
}
