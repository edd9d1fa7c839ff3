//! What `verify` sees, and what other commands say of damage they met although they did what was asked.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::outputs::{self, refused};
use support::world::{World, sql, write};
use support::{Ran, command, scratch};

/// An ecosystem with agreed states and open conflicts.
fn busy(place: &tempfile::TempDir) -> World {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    world
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() { out.extend(below(&entry)) } else { out.push(entry) }
    }
    out.sort();
    out
}

fn contents(world: &World) -> Vec<PathBuf> {
    let all = below(&world.state().join("content")).into_iter();
    all.filter(|p| p.file_name().unwrap().len() == 64).collect()
}

fn problems(document: &Value) -> &Vec<Value> {
    document["data"]["problems"].as_array().unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_damaged_content_store_is_seen_at_each_level() {
    let place = scratch();
    let world = busy(&place);
    let whole = outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
    let all = contents(&world);
    assert_eq!(whole["data"]["content_store"]["contents"], all.len());
    assert!(all.len() > 10, "{all:?}");

    // Without any of them: what is needed is missed, and each says by whom.
    let (content, away) = (world.state().join("content"), place.path().join("away"));
    fs::rename(&content, &away).unwrap();
    let gone = outputs::json(&world, "verify", &["verify", "--level", "quick"], 20);
    let mut affected = BTreeSet::new();
    for problem in problems(&gone) {
        assert_eq!((&problem["destination"], &problem["fault"]), (&"content store".into(), &"missing".into()));
        let affects: Vec<&str> = problem["affects"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        assert!(!affects.is_empty(), "{problem}");
        affected.extend(affects.iter().map(|a| a.split([',', ':']).next().unwrap().to_owned()));
    }
    for needed in ["spoke soul", "spoke mind", "spoke ledger", "spoke codex"] {
        assert!(affected.contains(needed), "{needed} is not in {affected:?}");
    }
    assert!(affected.iter().any(|a| a.starts_with("conflict ")), "{affected:?}");
    let needed: BTreeSet<String> =
        problems(&gone).iter().map(|p| p["object"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    fs::remove_dir_all(&content).unwrap();
    fs::rename(&away, &content).unwrap();
    world.cathedral(&["verify", "--level", "quick"]).expect(0);

    for (at, path) in all.iter().enumerate().step_by(4) {
        let bytes = fs::read(path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1 << (at % 8);
        for (bad, level) in [(&flipped[..], "full"), (&bytes[..bytes.len() - 1], "metadata")] {
            fs::write(path, bad).unwrap();
            let told = outputs::json(&world, "verify", &["verify", "--level", level], 20);
            let [problem] = problems(&told).as_slice() else { panic!("{told:#}") };
            assert!(problem["object"].as_str().unwrap().ends_with(&name(path)), "{problem}");
            assert_eq!(problem["destination"], "content store");
            // An agreed state that could not be read above did not say what it needs besides.
            let is_needed = !problem["affects"].as_array().unwrap().is_empty();
            assert!(is_needed || !needed.contains(&name(path)), "{problem}");
        }
        fs::write(path, bytes).unwrap();
    }
    // A named snapshot is looked at alone.
    fs::write(&all[0], b"").unwrap();
    let named = outputs::json(&world, "verify", &["verify", "latest", "--level", "full"], 0);
    assert_eq!(named["data"]["content_store"], Value::Null);
    let text = world.cathedral(&["verify"]).expect(20);
    assert!(text.out.contains("content store"), "{}", text.out);
}

#[test]
fn a_damaged_state_database_is_told_by_verify() {
    let place = scratch();
    let world = busy(&place);
    let database = world.state().join("hub.db");
    fs::write(&database, vec![0x55; 9000]).unwrap();
    for extra in ["hub.db-wal", "hub.db-shm"] {
        let _ = fs::remove_file(world.state().join(extra));
    }
    let told = outputs::json(&world, "verify", &["verify"], 20);
    let [problem] = problems(&told).as_slice() else { panic!("{told:#}") };
    assert_eq!(problem["destination"], "state database");
}

/// Changes a byte in the middle of every pack of a destination.
fn flip_packs(vault: &Path) -> usize {
    let packs = below(&vault.join("packs"));
    for pack in &packs {
        let mut bytes = fs::read(pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut rights = fs::metadata(pack).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o644);
        fs::set_permissions(pack, rights).unwrap();
        fs::write(pack, bytes).unwrap();
    }
    packs.len()
}

#[test]
fn a_restore_says_which_copies_were_damaged() {
    let place = scratch();
    let world = busy(&place);
    assert!(flip_packs(&world.vault()) > 1);
    let to = place.path().join("back");
    let told = outputs::json(&world, "restore", &["restore", "latest", "--to", to.to_str().unwrap()], 0);
    let faults = told["data"]["faults"].as_array().unwrap();
    assert!(!faults.is_empty(), "{told:#}");
    let mut objects = BTreeSet::new();
    for fault in faults {
        assert_eq!(fault["destination"], "here");
        assert!(objects.insert(fault["object"].as_str().unwrap()), "told twice: {fault}");
    }
    assert_eq!(told["warnings"].as_array().unwrap().len(), faults.len());

    let again = place.path().join("again");
    let text = world.cathedral(&["restore", "latest", "--to", again.to_str().unwrap()]).expect(0);
    assert!(text.err.contains("at here") && text.err.contains("verify --level full"), "{}", text.err);

    let key = world.state().join("keys/hub.key");
    let from = format!("file:{}", world.vault_copy().display());
    let args = ["restore", "latest", "--offline", "--from", &from, "--key-file", key.to_str().unwrap(), "--to"];
    let third = place.path().join("third");
    let mut offline = command(&world.root, &args);
    let ran = Ran::of(offline.arg(&third).arg("--json").output().unwrap()).expect(0);
    assert_eq!(ran.json()["data"]["faults"], serde_json::json!([]), "the copy is whole");
}

#[test]
fn a_sync_and_a_snapshot_say_which_copies_were_damaged_and_mend_them() {
    for args in [&["sync"][..], &["snapshot", "create"]] {
        let place = scratch();
        let world = busy(&place);
        let pack = below(&world.vault().join("packs"))[0].clone();
        let bytes = fs::read(&pack).unwrap();
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        sql(&world.app_db(), "insert into entry values (990, 1, 1, 'later')");
        let (document, code) = if args.len() == 1 { ("sync", 11) } else { ("snapshot", 0) };
        let told = outputs::json(&world, document, args, code);
        let faults = told["data"]["faults"].as_array().unwrap();
        assert!(faults.iter().any(|f| f["object"].as_str().unwrap().contains(&name(&pack))), "{args:?}: {told:#}");
        assert_eq!(told["data"]["not_in_snapshot"], serde_json::json!([]));
        assert_eq!(fs::read(&pack).unwrap(), bytes, "{args:?}");
        world.cathedral(&["verify", "--level", "full"]).expect(0);
        let told = outputs::json(&world, document, args, code);
        assert_eq!(told["data"]["faults"], serde_json::json!([]));
    }
}

#[test]
fn a_spoke_that_cannot_be_read_is_not_taken_over_from_packs_that_are_gone() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    for vault in [world.vault(), world.vault_copy()] {
        fs::remove_dir_all(vault.join("packs")).unwrap();
    }
    let away = place.path().join("away");
    fs::rename(world.app_files(), &away).unwrap();
    write(&world.app_files(), "no folder\n");
    sql(&world.app_db(), "insert into entry values (990, 1, 1, 'later')");
    let told = outputs::json(&world, "sync", &["sync"], 12);
    assert_eq!(told["data"]["not_in_snapshot"], serde_json::json!(["codex@spoke"]), "{told:#}");
    let text = world.cathedral(&["snapshot", "show", "latest", "--json"]).expect(0).json();
    let parts = text["data"]["snapshot"]["parts"].as_array().unwrap();
    assert!(
        parts.iter().all(|p| (p["spoke"].as_str(), p["side"].as_str()) != (Some("codex"), Some("spoke"))),
        "{text:#}"
    );
    // What the new snapshot holds it holds whole.
    outputs::json(&world, "verify", &["verify", "latest", "--level", "full"], 0);
    let to = place.path().join("back");
    world.cathedral(&["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
    fs::remove_file(world.app_files()).unwrap();
    fs::rename(&away, world.app_files()).unwrap();
    write(&world.app_files().join("still-later.txt"), "still later\n");
    let told = outputs::json(&world, "sync", &["sync"], 0);
    assert_eq!(told["data"]["not_in_snapshot"], serde_json::json!([]));
    let all = outputs::json(&world, "verify", &["verify", "latest", "--level", "full"], 0);
    assert!(all["data"]["git"].as_array().unwrap().iter().any(|g| g["spoke"] == "mind" && g["result"] == "sound"));
}

#[test]
fn at_level_full_git_itself_looks_at_the_newest_repositories() {
    let place = scratch();
    let world = busy(&place);
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let newest = list["data"]["snapshots"].as_array().unwrap().last().unwrap()["id"].clone();
    let told = outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
    let looked = told["data"]["git"].as_array().unwrap();
    let sound: BTreeSet<&str> =
        looked.iter().filter(|g| g["result"] == "sound").map(|g| g["spoke"].as_str().unwrap()).collect();
    assert!(sound.is_superset(&["soul", "mind"].into()), "{told:#}");
    assert!(looked.iter().all(|g| g["snapshot"] == newest && g["result"] == "sound"), "{told:#}");
    let text = world.cathedral(&["verify", "--level", "full"]).expect(0);
    assert!(text.out.contains("git fsck"), "{}", text.out);
    for level in ["quick", "metadata"] {
        let told = outputs::json(&world, "verify", &["verify", "--level", level], 0);
        assert_eq!(told["data"]["git"], serde_json::json!([]));
    }
}

#[test]
fn a_damaged_log_is_refused_by_every_command_that_would_append() {
    let place = scratch();
    let world = busy(&place);
    let log = world.state().join("log");
    let bundle = below(&log.join("tile/entries")).pop().unwrap();
    for (path, named) in [(log.join("statements/000"), "statements/000"), (bundle, "entries")] {
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        fs::write(&path, &bytes).unwrap();
        write(&world.app_files().join("later.txt"), "later\n");
        for args in [&["sync"][..], &["snapshot", "create"]] {
            let ran = refused(&world, args, 20);
            assert!(ran.err.contains(named) && ran.err.contains("cathedral log audit"), "{}", ran.err);
        }
        assert!(!world.hub_files().join("later.txt").exists());
        let audit = world.cathedral(&["log", "audit"]).expect(20);
        assert!(audit.out.contains(named), "{}", audit.out);
        assert_eq!(fs::read(&path).unwrap(), bytes, "left as it is");
        let to = place.path().join(format!("back-{}", named.len()));
        world.cathedral(&["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
        fs::write(&path, whole).unwrap();
    }
    world.cathedral(&["sync"]).expect(11);
    world.cathedral(&["log", "audit"]).expect(0);
}

#[test]
fn what_a_check_found_damaged_is_stored_again_by_the_next_snapshot() {
    let place = scratch();
    let world = busy(&place);
    world.cathedral(&["snapshot", "create"]).expect(0);
    flip_packs(&world.vault());
    flip_packs(&world.vault_copy());
    world.cathedral(&["verify", "--level", "full"]).expect(20);
    let told = outputs::json(&world, "status", &["status", "--exit-code"], 21);
    assert!(told["data"]["sentence"].as_str().unwrap().starts_with("Not everything can be restored"), "{told:#}");
    world.cathedral(&["snapshot", "create"]).expect(0);
    outputs::json(&world, "verify", &["verify", "latest", "--level", "full"], 0);
    let to = place.path().join("back");
    world.cathedral(&["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
    let told = outputs::json(&world, "status", &["status", "--exit-code"], 20);
    assert!(told["data"]["sentence"].as_str().unwrap().starts_with("The newest snapshot can be restored"), "{told:#}");
}

#[test]
fn status_tells_what_is_gone_without_a_check() {
    let place = scratch();
    let world = busy(&place);
    let status = |code| outputs::json(&world, "status", &["status", "--exit-code"], code)["data"]["sentence"].clone();
    let told = status(11);
    assert!(told.as_str().unwrap().starts_with("Everything can be restored. "), "{told}");
    let pack = below(&world.vault().join("packs"))[0].clone();
    let aside = place.path().join("pack");
    fs::rename(&pack, &aside).unwrap();
    assert_eq!(status(12), "Everything can be restored, but 1 object is missing at here.");
    let told = world.cathedral(&["doctor"]).expect(20);
    assert!(told.out.contains("destination here: 1 missing"), "{}", told.out);
    fs::rename(&aside, &pack).unwrap();
    let log = world.state().join("log");
    let away = place.path().join("log");
    fs::rename(&log, &away).unwrap();
    let told = status(20);
    assert!(told.as_str().unwrap().contains("the log is not as it was signed"), "{told}");
    let told = outputs::json(&world, "verify", &["verify", "--level", "quick"], 20);
    assert_eq!(problems(&told)[0]["destination"], "transparency log", "{told:#}");
    fs::rename(&away, &log).unwrap();
    for vault in [world.vault(), world.vault_copy()] {
        fs::remove_dir_all(vault.join("snapshots")).unwrap();
    }
    let told = status(21);
    assert!(told.as_str().unwrap().contains("at no destination any more"), "{told}");
    let told = outputs::json(&world, "verify", &["verify"], 20);
    assert!(problems(&told).iter().all(|p| p["object"].as_str().unwrap().starts_with("snapshots/")), "{told:#}");
}

#[test]
fn at_level_full_the_log_is_computed_anew_and_its_leaves_are_compared_with_the_snapshots() {
    let place = scratch();
    let world = busy(&place);
    let whole = outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
    assert!(whole["data"]["log"]["leaves"].as_u64().unwrap() > 2, "{whole:#}");
    let statements = world.state().join("log/statements/000");
    let bytes = fs::read(&statements).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&statements, &flipped).unwrap();
    let told = outputs::json(&world, "verify", &["verify", "--level", "full"], 20);
    let found = problems(&told).iter().find(|p| p["object"] == "statements/000").unwrap();
    assert_eq!(found["destination"], "transparency log");
    assert!(found["affects"][0].as_str().unwrap().starts_with("leaf "), "{found}");
    let told = outputs::json(&world, "status", &["status", "--exit-code"], 20);
    assert!(told["data"]["sentence"].as_str().unwrap().contains("statements/000"), "{told:#}");
    let text = world.cathedral(&["status"]).expect(0);
    let line = text.out.lines().find(|l| l.contains("last check")).unwrap();
    assert!(line.contains("1 problem in what the hub keeps for itself"), "{text:?}");
    fs::write(&statements, &bytes).unwrap();
    world.cathedral(&["log", "audit"]).expect(0);
    world.cathedral(&["status", "--exit-code"]).expect(11);
    // Two manifests under each other's names, and one that the log names and nobody lists.
    let snapshots = below(&world.vault().join("snapshots"));
    let manifest = fs::read(&snapshots[0]).unwrap();
    for vault in [world.vault(), world.vault_copy()] {
        fs::remove_file(vault.join("snapshots").join(name(&snapshots[0]))).unwrap();
    }
    fs::remove_dir_all(world.state().join("cache")).unwrap();
    let told = outputs::json(&world, "verify", &["verify", "--level", "full"], 20);
    assert!(problems(&told).iter().any(|p| p["object"].as_str().unwrap().ends_with(&name(&snapshots[0]))), "{told:#}");
    for vault in [world.vault(), world.vault_copy()] {
        fs::write(vault.join("snapshots").join(name(&snapshots[0])), &manifest).unwrap();
    }
    world.cathedral(&["verify", "--level", "full"]).expect(0);
}

#[test]
fn keys_that_are_gone_are_not_taken_for_keys_that_were_never_made() {
    let place = scratch();
    let world = busy(&place);
    fs::rename(world.state().join("keys"), place.path().join("keys")).unwrap();
    for args in [&["verify", "--level", "full"][..], &["snapshot", "list"], &["snapshot", "show", "latest"]] {
        let ran = refused(&world, args, 5);
        assert!(ran.err.contains("hub.key") && ran.err.contains("C1502"), "{}", ran.err);
    }
    let told = outputs::json(&world, "status", &["status", "--exit-code"], 5);
    assert!(told["data"]["sentence"].as_str().unwrap().contains("cannot be read"), "{told:#}");
}

#[test]
fn a_restore_reads_from_the_destination_that_is_named() {
    let place = scratch();
    let world = busy(&place);
    let ran = refused(&world, &["restore", "latest", "--from", "her", "--to", "../back"], 4);
    assert!(ran.err.contains("here, other"), "{}", ran.err);
    fs::remove_dir_all(world.vault().join("packs")).unwrap();
    for (from, code) in [("here", 21), ("other", 0)] {
        let to = place.path().join(from);
        world.cathedral(&["restore", "latest", "codex", "--from", from, "--to", to.to_str().unwrap()]).expect(code);
    }
}

#[test]
fn nothing_is_written_into_what_a_hub_or_a_sync_works_with() {
    let place = scratch();
    let world = busy(&place);
    let link = place.path().join("link");
    std::os::unix::fs::symlink(world.hub().join(".git"), &link).unwrap();
    let linked = link.join("x");
    let places = [
        ".cathedral/x",
        ".git/x",
        "data/codex/x",
        "../apps/codex/x",
        "../spokes/mind.git/x",
        "modules/soul/x",
        "../vault-copy/x",
        "data/ledger.db",
        linked.to_str().unwrap(),
    ];
    for to in places {
        for args in [&["restore", "latest", "codex", "--to", to][..], &["man", to]] {
            let ran = refused(&world, args, 7);
            assert!(ran.err.contains("C1701") && ran.err.contains("nothing was changed"), "{args:?}: {}", ran.err);
        }
    }
    world.cathedral(&["verify", "--level", "full"]).expect(0);
    let beside = place.path().join("pages");
    world.cathedral(&["man", beside.to_str().unwrap()]).expect(0);
}

#[test]
fn a_snapshot_lists_what_lies_below_a_path_and_says_its_tags() {
    let place = scratch();
    let world = busy(&place);
    world.cathedral(&["snapshot", "create", "--tag", "release"]).expect(0);
    assert!(world.cathedral(&["snapshot", "list"]).expect(0).out.contains("release"));
    assert!(world.cathedral(&["snapshot", "show", "latest"]).expect(0).out.contains("release"));
    let ls = |path: &str, code| world.cathedral(&["snapshot", "ls", "latest", path]).expect(code);
    let refs = ls("mind", 0).out;
    assert!(refs.contains("refs/heads/main") && !refs.contains("refs/cathedral/"), "{refs}");
    assert_eq!(
        ls("mind/refs/heads", 0).out,
        ls("mind", 0).out.lines().filter(|l| l.contains("refs/heads/")).map(|l| format!("{l}\n")).collect::<String>()
    );
    assert!(ls("ledger/entry", 0).out.lines().count() == 1);
    for nothing in ["mind/refs/nothing", "ledger/nothing", "codex/nothing"] {
        ls(nothing, 4);
    }
    let parts = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    let roots: BTreeSet<String> = parts["data"]["snapshot"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["spoke"] == "ledger")
        .map(|p| p["root"].to_string())
        .collect();
    assert_eq!(roots.len(), 2, "the sides of the database differ, and so do their roots");
    let told = outputs::json(&world, "conflicts", &["conflicts", "list"], 11);
    let rows = told["data"]["conflicts"].as_array().unwrap().iter().filter(|c| c["kind"] == "database");
    for row in rows {
        assert!(row["row_versions"].is_string(), "{row:#}");
        for side in ["hub", "spoke_side"] {
            assert_eq!(
                row[side]["content"],
                Value::Null,
                "one id for both sides would say that they are equal: {row:#}"
            );
        }
    }
}

#[test]
fn latest_never_means_an_older_snapshot_in_silence() {
    let place = scratch();
    let world = busy(&place);
    world.cathedral(&["snapshot", "create"]).expect(0);
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let ids: Vec<String> =
        list["data"]["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    let [.., before, newest] = ids.as_slice() else { panic!("{ids:?}") };
    for vault in [world.vault(), world.vault_copy()] {
        let files = below(&vault.join("snapshots"));
        let manifest = files.iter().find(|file| name(file).contains(newest)).unwrap();
        fs::set_permissions(manifest, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(manifest, b"not a manifest any more").unwrap();
    }
    let to = place.path().join("back");
    let ran = world.cathedral(&["restore", "latest", "--to", to.to_str().unwrap()]).expect(20);
    assert!(ran.err.contains(&newest[..8]) && ran.err.contains(&before[..8]), "both are named: {ran:?}");
    assert!(!to.exists(), "nothing was written");
    let by_id = world.cathedral(&["restore", before, "--to", to.to_str().unwrap()]);
    assert_eq!(by_id.code, 0, "{by_id:?}");
    assert!(to.exists());
}

fn packs(vault: &Path) -> BTreeSet<PathBuf> {
    below(&vault.join("packs")).into_iter().collect()
}

#[test]
fn a_snapshot_that_nothing_mends_is_forgotten_and_can_be_taken_back() {
    let place = scratch();
    let world = busy(&place);
    let vaults = [world.state().join("vault"), world.vault_copy()];
    let before = vaults.clone().map(|v| packs(&v));
    let only = world.app_files().join("only-here.txt");
    write(&only, "in one snapshot only, and then no more\n");
    world.cathedral(&["sync", "codex"]).expect(11);
    for (vault, before) in vaults.iter().zip(&before) {
        let new = packs(vault);
        assert!(new.len() > before.len());
        new.difference(before).for_each(|pack| fs::remove_file(pack).unwrap());
    }
    fs::remove_file(&only).unwrap();
    world.cathedral(&["sync", "codex"]);
    world.cathedral(&["snapshot", "create"]).expect(0);
    let hurt = world.cathedral(&["verify"]).expect(20);
    assert!(hurt.err.contains("is lost for good") && hurt.err.contains("snapshot forget"), "{hurt:?}");
    assert!(!hurt.err.contains("try: cathedral snapshot create"), "what nothing mends is advised again: {hurt:?}");
    let line = hurt.err.lines().find(|l| l.contains("snapshot forget")).unwrap();
    let ids: Vec<&str> = line.split_whitespace().filter(|w| w.len() == 26).collect();
    assert!(!ids.is_empty(), "{hurt:?}");

    let snapshots = || {
        let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
        list["data"]["snapshots"].as_array().unwrap().len()
    };
    let (all, stored) = (snapshots(), vaults.clone().map(|v| packs(&v)));
    let args = |first: &[&'static str]| [first, &ids].concat();
    world.cathedral(&args(&["snapshot", "forget", "--dry-run"])).expect(10);
    assert_eq!(snapshots(), all);
    let forgotten = world.cathedral(&args(&["snapshot", "forget"])).expect(0);
    assert!(forgotten.out.contains("--undo") && forgotten.out.contains("no data was deleted"), "{forgotten:?}");
    assert_eq!(snapshots(), all - ids.len());
    assert_eq!(vaults.clone().map(|v| packs(&v)), stored, "no pack is touched");
    for level in ["quick", "metadata", "full"] {
        world.cathedral(&["verify", "--level", level]).expect(0);
    }
    let status = world.cathedral(&["status"]);
    assert!(!format!("{status:?}").contains("lost"), "{status:?}");
    // Asked for by its id, it is not merely unknown.
    for args in [&["snapshot", "show", ids[0]][..], &["verify", &ids[0][..20]], &["restore", ids[0], "--to", "x"]] {
        let ran = refused(&world, args, 4);
        assert!(ran.err.contains("was forgotten"), "{args:?}: {ran:?}");
        assert!(ran.err.contains(&format!("cathedral snapshot forget --undo {}", ids[0])), "{args:?}: {ran:?}");
    }
    let log = world.cathedral(&["log", "show"]).expect(0);
    assert!(log.out.contains("snapshot.forget") || log.out.contains(ids[0]), "{log:?}");
    world.cathedral(&["sync"]);
    assert_eq!(snapshots(), all - ids.len(), "a sync brings nothing back");
    // Forgotten twice is forgotten; what never was is not.
    world.cathedral(&args(&["snapshot", "forget"])).expect(0);
    world.cathedral(&["snapshot", "forget", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).expect(4);
    world.cathedral(&["snapshot", "forget", "--undo", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).expect(4);

    world.cathedral(&args(&["snapshot", "forget", "--undo"])).expect(0);
    assert_eq!(snapshots(), all);
    world.cathedral(&["verify"]).expect(20);
    let newest = refused(&world, &["snapshot", "forget", "latest"], 7);
    assert!(format!("{newest:?}").contains("newest"), "{newest:?}");
    // While a destination is away it would keep, and bring back, what is forgotten elsewhere.
    fs::rename(&vaults[1], place.path().join("away")).unwrap();
    let away = world.cathedral(&args(&["snapshot", "forget"]));
    assert_eq!(away.code, 6, "{away:?}");
    assert_eq!(snapshots(), all);
}

#[test]
fn what_a_pack_affects_is_cut_and_counted_and_every_element_is_real() {
    let place = scratch();
    let world = World::build(place.path());
    for n in 0..1_100 {
        write(&world.app_files().join(format!("many/{n:04}.txt")), &format!("{n}\n"));
    }
    world.cathedral(&["sync"]).expect(0);
    for pack in below(&world.vault().join("packs")) {
        fs::remove_file(pack).unwrap();
    }
    let told = outputs::json(&world, "verify", &["verify", "--level", "full"], 20);
    let affects = |p: &Value| p["affects"].as_array().unwrap().clone();
    let cut: Vec<&Value> = problems(&told).iter().filter(|p| affects(p).len() == 1_000).collect();
    assert!(!cut.is_empty(), "{:?}", problems(&told).iter().map(|p| affects(p).len()).collect::<Vec<_>>());
    for problem in problems(&told) {
        let more = problem["affects_more"].as_u64().unwrap();
        assert_eq!(more > 0, cut.contains(&problem), "{more}");
        assert!(affects(problem).iter().all(|a| a.as_str().unwrap().starts_with("snapshot ")), "{problem:#}");
        assert!(more == 0 || (100..5_000).contains(&more), "{more}");
    }
    let text = world.cathedral(&["verify", "--level", "full"]).expect(20);
    let wanted = format!("and {} more", 992 + cut[0]["affects_more"].as_u64().unwrap());
    assert!(text.out.contains(&wanted), "{wanted}: {}", text.out);
}
