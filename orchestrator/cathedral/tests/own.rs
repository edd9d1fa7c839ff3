//! What the hub keeps for itself, lost or damaged: its stores of repositories, and its keys. And which snapshot a
//! word means, in every command.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::outputs;
use support::world::{World, commit, write};
use support::{run, scratch};

fn busy(place: &tempfile::TempDir) -> World {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    world
}

fn store(world: &World, name: &str) -> PathBuf {
    world.state().join(format!("git/{name}.git"))
}

fn fsck(store: &Path) {
    run(Command::new("git").arg("-C").arg(store).args(["fsck", "--strict"]));
}

fn found<'a>(document: &'a Value, place: &str) -> Vec<&'a Value> {
    let all = document["data"]["problems"].as_array().unwrap();
    all.iter().filter(|problem| problem["destination"] == place).collect()
}

fn refs(store: &Path) -> String {
    let args = ["for-each-ref", "--format=%(refname) %(objectname)"];
    let all = run(Command::new("git").arg("-C").arg(store).args(args));
    all.lines().filter(|line| !line.contains("/remote/")).collect::<Vec<_>>().join("\n")
}

/// Takes every object away that git has a file of its own for, and cuts every pack.
fn hurt(store: &Path) {
    for entry in fs::read_dir(store.join("objects")).unwrap().map(|e| e.unwrap().path()) {
        if entry.file_name().unwrap().len() == 2 {
            fs::remove_dir_all(entry).unwrap();
        }
    }
    for pack in fs::read_dir(store.join("objects/pack")).unwrap().map(|e| e.unwrap().path()) {
        if pack.extension().is_some_and(|e| e == "pack") {
            let bytes = fs::read(&pack).unwrap();
            fs::remove_file(&pack).unwrap();
            fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
}

#[test]
fn a_damaged_store_of_a_repository_is_told_and_made_anew() {
    let place = scratch();
    let world = busy(&place);
    let whole = outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
    assert!(whole["data"]["git_stores"]["stores"].as_u64().unwrap() >= 2, "{whole:#}");
    let mind = store(&world, "mind");
    for damage in ["objects", "HEAD", "folder"] {
        // What was taken into the store since the newest snapshot is at the spoke as well.
        let before = refs(&mind);
        match damage {
            "objects" => hurt(&mind),
            "HEAD" => fs::remove_file(mind.join("HEAD")).unwrap(),
            _ => fs::remove_dir_all(&mind).unwrap(),
        }
        for level in ["quick", "metadata", "full"] {
            let is_seen = level != "quick" || damage != "objects";
            let told = outputs::json(&world, "verify", &["verify", "--level", level], if is_seen { 20 } else { 0 });
            let problems = found(&told, "git store");
            assert_eq!(!problems.is_empty(), is_seen, "{damage}, {level}: {told:#}");
            assert!(problems.iter().all(|p| p["object"] == "git/mind.git"), "{damage}, {level}: {told:#}");
        }
        let told = world.cathedral(&["verify"]).expect(20);
        assert!(format!("{}{}", told.out, told.err).contains("cathedral doctor --fix"), "{told:?}");
        let status = outputs::json(&world, "status", &["status", "--exit-code"], 20);
        assert!(status["data"]["sentence"].as_str().unwrap().contains("store of mind"), "{status:#}");
        assert_eq!(status["data"]["needs"][0]["command"], "cathedral doctor --fix", "{status:#}");
        let doctor = world.cathedral(&["doctor"]).expect(20);
        assert!(format!("{}{}", doctor.out, doctor.err).contains("cathedral doctor --fix"), "{doctor:?}");

        write(&world.root.join("unrelated"), "");
        let mut healed = world.cathedral(&["doctor", "--fix"]);
        if healed.code == 20 {
            // Some values that stood nowhere else are named; nothing else is wrong any more.
            assert!(healed.out.contains("nowhere any more"), "{damage}: {healed:?}");
            healed = world.cathedral(&["doctor", "--fix"]);
        }
        assert_eq!(healed.code, 0, "{damage}: {healed:?}");
        fsck(&mind);
        let ran = world.cathedral(&["sync"]);
        assert!(matches!(ran.code, 0 | 11), "{damage}: {ran:?}");
        outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
        let status = world.cathedral(&["status"]).expect(0);
        assert!(!status.out.contains("store of mind"), "{damage}: {status:?}");
        if damage == "HEAD" {
            assert_eq!(refs(&mind), before, "{damage}");
        }
        let heads = |repository: &Path| {
            let args = ["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/main"];
            run(Command::new("git").arg("-C").arg(repository).args(args))
        };
        assert_eq!(heads(&mind), heads(&world.mind()), "{damage}");
    }
    let kept = fs::read_dir(world.state().join("kept")).unwrap();
    let kept: Vec<String> = kept.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(kept.iter().filter(|name| name.starts_with("git-mind-")).count(), 2, "{kept:?}");
}

#[test]
fn a_sync_that_meets_a_damaged_store_says_what_makes_it_anew() {
    let place = scratch();
    let world = busy(&place);
    hurt(&store(&world, "mind"));
    support::world::commit(&world.mind(), "main", "more", &[("more.txt", "more\n")]);
    world.cathedral(&["plan"]).expect(20);
    let ran = world.cathedral(&["sync"]).expect(20);
    assert!(format!("{}{}", ran.out, ran.err).contains("cathedral doctor --fix"), "{ran:?}");
}

#[test]
fn keys_of_the_log_that_are_missing_or_damaged_are_named_by_status_and_verify() {
    let place = scratch();
    let world = busy(&place);
    let away = place.path().join("away");
    for name in ["hub-id", "log.key", "log-head"] {
        let key = world.state().join("keys").join(name);
        for is_gone in [true, false] {
            fs::rename(&key, &away).unwrap();
            if !is_gone {
                fs::write(&key, "garbage\n").unwrap();
            }
            let told = outputs::json(&world, "verify", &["verify"], 20);
            let problems = found(&told, "keys of the hub");
            let object = format!("keys/{name}");
            assert!(problems.iter().any(|p| p["object"] == object.as_str()), "{name}, gone: {is_gone}: {told:#}");
            let text = world.cathedral(&["verify"]).expect(20);
            assert!(text.err.contains("put the folder .cathedral/keys back"), "{text:?}");
            let status = outputs::json(&world, "status", &["status"], 0);
            assert!(status["data"]["sentence"].as_str().unwrap().contains(name), "{name}: {status:#}");
            assert!(status["data"]["needs"].to_string().contains("keys back"), "{name}: {status:#}");
            let text = world.cathedral(&["status"]).expect(0);
            assert!(text.out.contains(&format!(".cathedral/keys/{name}")), "{text:?}");
            fs::rename(&away, &key).unwrap();
        }
    }
    outputs::json(&world, "verify", &["verify"], 0);
}

#[test]
fn an_empty_key_file_is_told_as_a_missing_one() {
    let place = scratch();
    let world = busy(&place);
    fs::write(world.state().join("keys/hub-id"), "").unwrap();
    let ran = world.cathedral(&["sync"]).expect(5);
    assert!(ran.err.contains("keys of this hub are missing: hub-id"), "{ran:?}");
    let told = outputs::json(&world, "verify", &["verify"], 20);
    assert_eq!(found(&told, "keys of the hub").len(), 1, "{told:#}");
}

#[test]
fn a_restore_that_finds_no_key_at_the_destination_does_not_advise_itself() {
    let place = scratch();
    let world = busy(&place);
    fs::remove_file(world.vault().join("keys/0001.0.age")).unwrap();
    let (from, key) = (format!("file:{}", world.vault().display()), world.state().join("keys/hub.key"));
    let to = place.path().join("to").display().to_string();
    let args = ["restore", "latest", "--offline", "--from", &from, "--key-file", key.to_str().unwrap(), "--to", &to];
    let ran = world.cathedral(&args).expect(5);
    assert!(ran.err.contains("snapshot create") && !ran.err.contains("cathedral restore"), "{ran:?}");
    assert!(matches!(world.cathedral(&["sync"]).code, 0 | 11));
    world.cathedral(&["snapshot", "create"]).expect(0);
    world.cathedral(&args).expect(0);
}

fn newest(world: &World) -> Vec<(String, String)> {
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let text = |s: &Value, key: &str| s[key].as_str().unwrap().to_owned();
    list["data"]["snapshots"].as_array().unwrap().iter().map(|s| (text(s, "id"), text(s, "cause"))).collect()
}

#[test]
fn latest_means_one_snapshot_in_every_command() {
    let place = scratch();
    let world = busy(&place);
    world.cathedral(&["snapshot", "create"]).expect(0);
    let wanted = newest(&world).pop().unwrap().0;
    write(&world.hub_files().join("later.txt"), "later\n");
    world.cathedral(&["restore", "latest", "codex", "--in-place", "--yes", "small"]).expect(0);
    let (before, cause) = newest(&world).pop().unwrap();
    assert!(before != wanted && cause.starts_with("before restore "), "{cause}");

    let shown = world.cathedral(&["snapshot", "show", "latest", "--json"]).expect(0);
    assert_eq!(shown.json()["data"]["snapshot"]["id"], wanted.as_str());
    assert!(shown.err.contains(&before[..16]), "{shown:?}");
    let verified = world.cathedral(&["verify", "latest", "--json"]).expect(0).json();
    assert_eq!(verified["data"]["snapshots"], serde_json::json!([wanted]));
    let listed = world.cathedral(&["snapshot", "ls", "latest", "codex"]).expect(0);
    assert!(!listed.out.contains("later.txt"), "{listed:?}");
    world.cathedral(&["snapshot", "cat", "latest", "codex/later.txt"]).expect(4);
    world.cathedral(&["snapshot", "cat", &before, "codex/later.txt"]).expect(0);
    let leaf = |word: &str, out: &str| {
        let out = place.path().join(out);
        let ran = world.cathedral(&["proof", "snapshot", word, "--out", out.to_str().unwrap(), "--json"]).expect(0);
        ran.json()["data"]["leaf"].clone()
    };
    assert_eq!(leaf("latest", "one"), leaf(&wanted, "two"));

    // Where the newest cannot be read any more, none of them takes an older one in silence.
    for vault in [world.vault(), world.vault_copy()] {
        for manifest in fs::read_dir(vault.join("snapshots")).unwrap().map(|e| e.unwrap().path()) {
            if manifest.to_string_lossy().contains(&before) {
                fs::remove_file(&manifest).unwrap();
            }
        }
    }
    let (to, out) = (place.path().join("to").display().to_string(), place.path().join("p").display().to_string());
    for args in [
        &["restore", "latest", "--to", &to][..],
        &["snapshot", "show", "latest"],
        &["snapshot", "ls", "latest"],
        &["snapshot", "cat", "latest", "codex/a"],
        &["verify", "latest"],
        &["proof", "snapshot", "latest", "--out", &out],
    ] {
        let ran = world.cathedral(args).expect(20);
        assert!(ran.err.contains(&before[..16]) && ran.err.contains(&wanted[..16]), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_tag_names_a_snapshot_where_an_id_does() {
    let place = scratch();
    let world = busy(&place);
    world.cathedral(&["snapshot", "create", "--tag", "before-move"]).expect(0);
    let one = newest(&world).pop().unwrap().0;
    let to = place.path().join("to");
    let shown = world.cathedral(&["snapshot", "show", "before-move", "--json"]).expect(0).json();
    assert_eq!(shown["data"]["snapshot"]["id"], one.as_str());
    world.cathedral(&["verify", "before-move"]).expect(0);
    world.cathedral(&["restore", "before-move", "codex", "--to", to.to_str().unwrap()]).expect(0);
    world.cathedral(&["snapshot", "create", "--tag", "before-move"]).expect(0);
    let two = newest(&world).pop().unwrap().0;
    let ran = world.cathedral(&["snapshot", "show", "before-move"]).expect(2);
    assert!(ran.err.contains(&one[..16]) && ran.err.contains(&two[..16]), "{ran:?}");
    let ran = world.cathedral(&["snapshot", "show", "before-mov"]).expect(4);
    assert!(ran.err.contains("before-move"), "{ran:?}");
}

/// The file of what both sides of a spoke last agreed on.
fn agreed(world: &World, spoke: &str) -> PathBuf {
    let state = rusqlite::Connection::open(world.state().join("hub.db")).unwrap();
    let of = "select lower(hex(base)) from memory where spoke = ?1";
    let id: String = state.query_row(of, [spoke], |row| row.get(0)).unwrap();
    world.state().join("content").join(&id[..2]).join(id)
}

#[test]
fn an_agreed_state_that_cannot_be_read_is_told_and_set_aside_and_nothing_is_deleted() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    support::world::sql(&world.app_db(), "delete from entry where id = 40; insert into entry values (901, 2, 6, null)");
    support::world::sql(&world.hub_db(), "insert into entry values (900, 1, 5, null)");
    support::world::commit(&world.mind(), "main", "more", &[("more.txt", "more\n")]);
    fs::remove_file(world.app_files().join("leaves/01.md")).unwrap();
    // Garbage, a cut, and a file that is gone.
    fs::write(agreed(&world, "ledger"), "garbage\n").unwrap();
    let cut = fs::read(agreed(&world, "mind")).unwrap();
    fs::write(agreed(&world, "mind"), &cut[..cut.len() / 2]).unwrap();
    fs::remove_file(agreed(&world, "codex")).unwrap();

    // One cause has one code, whether it is met by a plan or by a sync that does all the rest.
    fs::write(world.app_files().join("new.txt"), "new\n").unwrap();
    world.cathedral(&["plan"]).expect(20);
    let ran = world.cathedral(&["sync"]).expect(20);
    assert!(ran.err.contains("try: cathedral doctor --fix"), "{ran:?}");
    let told = world.cathedral(&["doctor"]).expect(20);
    for spoke in ["ledger", "mind", "codex"] {
        let line = format!("what both sides of {spoke} last agreed on cannot be read");
        assert!(told.out.contains(&line), "{spoke}: {told:?}");
    }
    assert!(told.out.contains("cathedral doctor --fix"), "{told:?}");
    assert!(agreed(&world, "ledger").exists(), "a look changes nothing");

    let fixed = world.cathedral(&["doctor", "--fix"]).expect(0);
    assert!(fixed.out.contains(".cathedral/kept/content-"), "{fixed:?}");
    let kept = fs::read_dir(world.state().join("kept")).unwrap().map(|e| e.unwrap().path());
    let kept: Vec<PathBuf> = kept.filter(|p| p.to_string_lossy().contains("/content-")).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().any(|path| fs::read(path).unwrap() == b"garbage\n"));

    world.cathedral(&["sync"]).expect(0);
    let rows = |path: PathBuf| support::eyes::rows(&path);
    assert_eq!(rows(world.hub_db()), rows(world.app_db()));
    for id in [40, 900, 901] {
        let has = format!("select count(*) from entry where id = {id}");
        let count = |path| rusqlite::Connection::open(path).unwrap().query_row(&has, [], |row| row.get::<_, i64>(0));
        assert_eq!(count(world.hub_db()).unwrap(), 1, "what was deleted meanwhile comes back: {id}");
    }
    assert!(world.app_files().join("leaves/01.md").exists());
    assert_eq!(support::world::git(&world.kept_mind(), &["show", "main:more.txt"]), "more");
    let again = outputs::json(&world, "sync", &["sync"], 0);
    assert_eq!(again["data"]["result"], "nothing_to_do", "{again:#}");
    world.cathedral(&["doctor"]).expect(0);
    // With an agreed state again, a deletion is one.
    support::world::sql(&world.app_db(), "delete from entry where id = 40");
    world.cathedral(&["sync"]).expect(0);
    assert_eq!(rows(world.hub_db()), rows(world.app_db()));
    outputs::json(&world, "verify", &["verify", "--level", "full"], 0);
}

#[test]
fn a_fence_that_is_damaged_is_told_and_written_anew_and_never_goes_backwards() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    let fence = world.state().join("fence/codex");
    for damage in ["", "garbage\n", "\u{fffd}", "9223372036854775807", "-1"] {
        let number = || fs::read_to_string(&fence).unwrap().trim().parse::<i64>().unwrap();
        let before = number();
        fs::write(&fence, damage).unwrap();
        write(&world.app_files().join("later.txt"), &format!("later {before}\n"));
        let ran = world.cathedral(&["sync"]).expect(20);
        assert!(ran.err.contains("fence/codex") && ran.err.contains("try: cathedral doctor --fix"), "{ran:?}");
        let told = world.cathedral(&["doctor"]).expect(20);
        assert!(told.out.contains(".cathedral/fence/codex") && told.out.contains("cathedral doctor --fix"), "{told:?}");
        assert_eq!(fs::read_to_string(&fence).unwrap(), damage, "a look changes nothing");
        world.cathedral(&["doctor", "--fix"]).expect(0);
        assert!(number() > before, "{before} became {}", number());
        world.cathedral(&["doctor"]).expect(0);
        world.cathedral(&["sync"]).expect(0);
        assert!(world.hub_files().join("later.txt").exists());
    }
}

#[test]
fn an_older_copy_of_the_state_or_a_clock_that_was_ahead_stops_no_sync() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    let (state, copy) = (world.state().join("hub.db"), place.path().join("copy.db"));
    fs::copy(&state, &copy).unwrap();
    let change = |n: u32| {
        write(&world.app_files().join(format!("later-{n}.txt")), "later\n");
        let row = format!("insert into entry select {n}, id, {n}, 'later' from account limit 1");
        support::world::sql(&world.app_db(), &row);
        commit(&world.mind(), "main", "later", &[(&format!("later-{n}.txt"), "later\n")]);
    };
    let is_synced = |n: u32| {
        world.cathedral(&["sync"]).expect(0);
        assert!(world.hub_files().join(format!("later-{n}.txt")).exists(), "{n}");
        assert_eq!(support::eyes::rows(&world.hub_db()), support::eyes::rows(&world.app_db()), "{n}");
        let kept = support::world::git(&world.kept_mind(), &["ls-tree", "--name-only", "main"]);
        assert!(kept.contains(&format!("later-{n}.txt")), "{kept}");
    };
    for n in 7000..7006 {
        change(n);
        is_synced(n);
    }
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(world.state().join(format!("hub.db{ending}")));
    }
    fs::copy(&copy, &state).unwrap();
    change(7006);
    is_synced(7006);

    // A fence of a clock that was ten years ahead, or one whose first digit was changed.
    let fence = world.state().join("fence/codex");
    let ahead = fs::read_to_string(&fence).unwrap().trim().parse::<i64>().unwrap() + 315_360_000_000;
    fs::write(&fence, ahead.to_string()).unwrap();
    for n in 7007..7009 {
        change(n);
        is_synced(n);
    }
    let after = fs::read_to_string(&fence).unwrap().trim().parse::<i64>().unwrap();
    assert!((ahead + 1..ahead + 2_000_000).contains(&after), "{ahead} went on as {after}");
}

#[test]
fn a_mark_that_is_damaged_is_told_and_set_aside_and_nothing_is_deleted() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    let mark = world.state().join("marks/codex.spoke");
    fs::write(&mark, "garbage\n").unwrap();
    fs::remove_file(world.app_files().join("leaves/01.md")).unwrap();
    let ran = world.cathedral(&["sync"]).expect(7);
    assert!(ran.err.contains("marks/codex.spoke") && ran.err.contains("try: cathedral doctor --fix"), "{ran:?}");
    let told = world.cathedral(&["doctor"]).expect(20);
    assert!(told.out.contains(".cathedral/marks/codex.spoke"), "{told:?}");
    let fixed = world.cathedral(&["doctor", "--fix"]).expect(0);
    assert!(fixed.out.contains(".cathedral/kept/mark-codex.spoke-0"), "{fixed:?}");
    assert_eq!(fs::read(world.state().join("kept/mark-codex.spoke-0")).unwrap(), b"garbage\n");
    world.cathedral(&["doctor"]).expect(0);
    world.cathedral(&["sync"]).expect(0);
    assert!(world.app_files().join("leaves/01.md").exists(), "what was deleted meanwhile comes back");
    fs::remove_file(world.app_files().join("leaves/01.md")).unwrap();
    world.cathedral(&["sync"]).expect(0);
    assert!(!world.hub_files().join("leaves/01.md").exists(), "the new mark is trusted again");
}

#[test]
fn a_verifier_key_that_is_damaged_or_gone_is_told_and_written_anew() {
    let place = scratch();
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    let key = world.state().join("keys/log.vkey");
    let before = fs::read(&key).unwrap();
    let foreign = World::build(&place.path().join("foreign"));
    foreign.cathedral(&["sync"]).expect(0);
    let other = fs::read(foreign.state().join("keys/log.vkey")).unwrap();
    for damage in [None, Some(b"garbage\n".to_vec()), Some(other)] {
        match &damage {
            None => fs::remove_file(&key).unwrap(),
            Some(bytes) => fs::write(&key, bytes).unwrap(),
        }
        for command in ["doctor", "verify"] {
            let told = world.cathedral(&[command]).expect(20);
            let text = format!("{}{}", told.out, told.err);
            assert!(text.contains("keys/log.vkey") && text.contains("cathedral doctor --fix"), "{told:?}");
        }
        let status = world.cathedral(&["status"]).expect(0);
        assert!(status.out.contains("cathedral doctor --fix"), "{status:?}");
        for args in [&["log", "head"][..], &["log", "audit"]] {
            let ran = outputs::refused(&world, args, 5);
            assert!(ran.err.contains("log.vkey") || ran.err.contains("log.key"), "{ran:?}");
            assert!(ran.err.contains("try: cathedral doctor --fix"), "{ran:?}");
        }
        world.cathedral(&["doctor", "--fix"]).expect(0);
        assert_eq!(fs::read(&key).unwrap(), before);
        world.cathedral(&["verify"]).expect(0);
    }
    // Nothing is derived from a secret key that has not signed this log.
    fs::write(&key, "garbage\n").unwrap();
    fs::copy(foreign.state().join("keys/log.key"), world.state().join("keys/log.key")).unwrap();
    assert_ne!(world.cathedral(&["doctor", "--fix"]).code, 0);
    assert_eq!(fs::read(&key).unwrap(), b"garbage\n");
}

#[test]
fn a_doctor_whose_state_is_damaged_looks_at_all_that_needs_none() {
    let place = scratch();
    let world = busy(&place);
    let good = fs::read(world.state().join("hub.db")).unwrap();
    let mut inside = good.clone();
    let half = inside.len() / 2;
    inside[4096..half].iter_mut().for_each(|b| *b ^= 0xff);
    fs::write(world.state().join("fence/codex"), "garbage\n").unwrap();
    fs::remove_file(world.state().join("keys/log.vkey")).unwrap();
    hurt(&store(&world, "mind"));
    let away = place.path().join("away");
    fs::rename(world.app_db(), &away).unwrap();
    for damaged in [vec![0x55; 9000], inside] {
        fs::write(world.state().join("hub.db"), damaged).unwrap();
        let told = outputs::json(&world, "doctor", &["doctor"], 20);
        let checks = told["data"]["checks"].as_array().unwrap();
        let bad: Vec<String> = checks.iter().filter(|c| c["ok"] == false).map(Value::to_string).collect();
        for wanted in ["hub.db", "store of mind", "fence/codex", "log.vkey", "ledger:"] {
            assert!(bad.iter().any(|line| line.contains(wanted)), "{wanted}: {told:#}");
        }
        assert!(bad.iter().any(|line| line.contains("hub.db") && line.contains("cathedral sync")), "{told:#}");
        for wanted in ["git version", "destination here", "soul:"] {
            let is_good = |c: &&Value| c["ok"] == true && c["what"].as_str().unwrap().contains(wanted);
            assert!(checks.iter().any(|c| is_good(&c)), "{wanted}: {told:#}");
        }
    }
    // As it says: away with it, and the next sync makes it anew.
    fs::rename(&away, world.app_db()).unwrap();
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let _ = fs::remove_file(world.state().join(name));
    }
    world.cathedral(&["doctor", "--fix"]);
    assert!(matches!(world.cathedral(&["sync"]).code, 0 | 11));
    assert!(matches!(world.cathedral(&["doctor"]).code, 0));
}
