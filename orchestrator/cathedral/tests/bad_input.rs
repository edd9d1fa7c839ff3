//! Wrong words, wrong files, wrong surroundings: each ends with its documented code, says what, why and what
//! next, and nothing is lost.

#![allow(clippy::unwrap_used)]

mod bad_input_support;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bad_input_support::{http_that_denies, ready, unused_port, with_mind_at};
use support::eyes::{self, sides};
use support::outputs::{assert_plain, check_failure, ran_with, refused, troubled};
use support::world::{commit, git, sql, write};
use support::{Ran, scratch};

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let place = scratch();
    let world = ready(&place);
    let before = sides(&world);
    let good = fs::read_to_string(world.config()).unwrap();
    let bad = good
        .replace("integration_type: git_mirror", "integration_type: git_miror")
        .replace("quorum: 2", "quorum: 5")
        .replace("hub: sqlite:data/ledger.db", "hub: sqlite:data/ledger.db\n      colour: red");
    fs::write(world.config(), bad).unwrap();
    for args in [&["sync"][..], &["status"], &["plan"], &["config", "validate"], &["verify"], &["restore", "latest"]] {
        let ran = refused(&world, args, 3);
        for word in ["git_miror", "git_mirror", "quorum", "colour"] {
            assert!(ran.err.contains(word), "{args:?} does not name {word}: {}", ran.err);
        }
    }
    fs::write(world.config(), b"cathedral_ecosystem: \xff\xfe").unwrap();
    refused(&world, &["sync"], 3);
    fs::write(world.config(), "").unwrap();
    refused(&world, &["sync"], 3);
    fs::write(world.config(), good).unwrap();
    assert_eq!(eyes::difference(&before, &sides(&world)), None);
    world.cathedral(&["sync"]).expect(0);
}

#[test]
fn without_a_configuration_the_way_to_one_is_shown() {
    let place = scratch();
    let folder = place.path();
    for args in [&["sync"][..], &["status"], &["verify"], &["log", "head"], &["conflicts"], &["doctor"]] {
        let json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let told = support::cathedral(folder, args);
        let ran = check_failure(told, &support::cathedral(folder, &json), 3);
        assert!(ran.err.contains("cathedral init"), "{}", ran.err);
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "something was written");
}

#[test]
fn unknown_names_are_answered_with_the_nearest_one() {
    let place = scratch();
    let world = ready(&place);
    for args in [&["sync", "legder"][..], &["plan", "legder"], &["status", "legder"]] {
        let ran = refused(&world, args, 4);
        assert!(ran.err.contains("did you mean ledger?"), "{}", ran.err);
    }
    refused(&world, &["snapshot", "show", "ZZZZ"], 4);
    refused(&world, &["snapshot", "show", "@2001-01-01"], 4);
    refused(&world, &["snapshot", "ls", "latest", "codexx"], 4);
    refused(&world, &["restore", "ZZZZ", "--to", "../x"], 4);
    refused(&world, &["restore", "latest", "codexx", "--to", "../x"], 4);
    refused(&world, &["verify", "ZZZZ"], 4);
    refused(&world, &["run", "show", "999"], 4);
    refused(&world, &["conflicts", "show", "999"], 4);
    refused(&world, &["conflicts", "resolve", "999", "--take", "hub"], 4);
    refused(&world, &["conflicts", "undo", "999"], 4);
    refused(&world, &["sync", "--plan", "abcdef"], 4);
    refused(&world, &["schema", "sink"], 4);
    refused(&world, &["config", "explain", "quorun"], 4);
    assert!(!world.root.join("x").exists());
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = scratch();
    let world = ready(&place);
    for args in
        [&["frobnicate"][..], &["sync", "--frob"], &["restore"], &["restore", "latest", "--to", "a", "--in-place"]]
    {
        let ran = world.cathedral(args).expect(2);
        assert_plain(&ran);
        assert_eq!(ran.out, "");
        assert!(ran.err.contains("error: "), "{}", ran.err);
        let json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let document = world.cathedral(&json).expect(2).json();
        support::outputs::validate("error", &document);
    }
    refused(&world, &["conflicts", "resolve", "1"], 2);
    refused(&world, &["restore", "latest", "--offline", "--to", "x"], 2);
    refused(&world, &["snapshot", "cat", "latest", "codex"], 2);
}

#[test]
fn restores_are_refused_where_they_could_destroy() {
    let place = scratch();
    let world = ready(&place);
    let before = sides(&world);
    write(&world.root.join("full/mine.txt"), "mine\n");
    refused(&world, &["restore", "latest", "--to", "../full"], 7);
    std::os::unix::fs::symlink(world.root.join("full"), world.root.join("link")).unwrap();
    refused(&world, &["restore", "latest", "--to", "../link"], 7);
    refused(&world, &["restore", "latest"], 7);
    refused(&world, &["restore", "latest", "--in-place"], 7);
    refused(&world, &["restore", "latest", "--in-place", "--yes", "other"], 7);
    assert_eq!(eyes::contents(&world.root.join("full")).len(), 1);
    assert_eq!(eyes::difference(&before, &sides(&world)), None);
}

#[test]
fn an_unreachable_remote_does_not_stop_the_others() {
    let place = scratch();
    let world = ready(&place);
    with_mind_at(&world, &format!("http://127.0.0.1:{}/mind.git", unused_port()));
    fs::write(world.app_files().join("new.txt"), "new\n").unwrap();
    troubled(world.cathedral(&["sync"]), 12);
    assert_eq!(fs::read_to_string(world.hub_files().join("new.txt")).unwrap(), "new\n");
    let document = support::outputs::json(&world, "sync", &["sync"], 12);
    let spokes = document["data"]["spokes"].as_array().unwrap();
    let mind = spokes.iter().find(|s| s["name"] == "mind").unwrap();
    assert_eq!(mind["result"], "unreachable", "{mind:#}");
    let ran = troubled(world.cathedral(&["sync", "mind"]), 6);
    assert!(ran.err.contains("mind is unreachable"), "{ran:?}");
}

#[test]
fn a_spoke_whose_place_is_gone_is_unreachable() {
    let place = scratch();
    let world = ready(&place);
    fs::rename(world.mind(), world.root.join("away.git")).unwrap();
    fs::write(world.app_files().join("new.txt"), "new\n").unwrap();
    let ran = troubled(world.cathedral(&["sync"]), 12);
    assert!(ran.err.contains("mind is unreachable") && ran.err.contains("as it was: "), "{ran:?}");
    assert_eq!(fs::read_to_string(world.hub_files().join("new.txt")).unwrap(), "new\n");
    let ran = troubled(world.cathedral(&["sync", "mind"]), 6);
    assert!(ran.err.contains("mind is unreachable"), "{ran:?}");
    fs::rename(world.root.join("away.git"), world.mind()).unwrap();
    world.cathedral(&["sync"]).expect(0);
}

#[test]
fn wrong_credentials_are_told_apart_from_an_outage() {
    let place = scratch();
    let world = ready(&place);
    let port = http_that_denies();
    with_mind_at(&world, &format!("http://127.0.0.1:{port}/mind.git"));
    fs::write(world.app_files().join("new.txt"), "new\n").unwrap();
    troubled(world.cathedral(&["sync"]), 12);
    assert_eq!(fs::read_to_string(world.hub_files().join("new.txt")).unwrap(), "new\n");
    troubled(world.cathedral(&["sync", "mind"]), 5);
}

#[test]
fn a_missing_key_is_never_replaced_silently() {
    let place = scratch();
    let world = ready(&place);
    world.change();
    let before = sides(&world);
    let key = world.state().join("keys/hub.key");
    let aside = world.root.join("hub.key");
    fs::rename(&key, &aside).unwrap();
    for args in [
        &["sync"][..],
        &["snapshot", "create"],
        &["snapshot", "list"],
        &["verify"],
        &["restore", "latest", "--to", "../x"],
    ] {
        refused(&world, args, 5);
    }
    assert!(!key.exists(), "a new key was made although a vault is sealed to the old one");
    assert_eq!(eyes::difference(&before, &sides(&world)), None);
    fs::rename(&aside, &key).unwrap();
    world.cathedral(&["sync"]).expect(11);
    world.cathedral(&["verify", "--level", "full"]).expect(0);
}

#[test]
fn a_full_disk_changes_no_side_and_the_command_goes_on_later() {
    let place = scratch();
    let world = ready(&place);
    world.change();
    fs::write(world.app_files().join("large.bin"), noise(3 << 20)).unwrap();
    let before = sides(&world);
    // No file may grow beyond 1 MiB: the same as a disk that is full in the middle of a file.
    let mut command = std::process::Command::new("bash");
    support::plain(&mut command);
    let script = r#"trap '' XFSZ; ulimit -f 1024; exec "$0" -C "$1" sync"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_cathedral")]).arg(world.hub());
    let ran = Ran::of(command.output().unwrap());
    assert_plain(&ran);
    assert!(matches!(ran.code, 1 | 12), "{ran:?}");
    assert!(ran.err.contains("error: ") || ran.code == 12, "{ran:?}");
    assert_eq!(eyes::difference(&before, &sides(&world)), None, "{ran:?}");
    world.cathedral(&["sync"]).expect(11);
    world.cathedral(&["verify", "--level", "full"]).expect(0);
    world.cathedral(&["log", "audit"]).expect(0);
    assert_eq!(fs::read(world.hub_files().join("large.bin")).unwrap().len(), 3 << 20);
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

#[test]
fn a_damaged_state_database_is_told_and_the_vault_still_restores() {
    let place = scratch();
    let world = ready(&place);
    world.change();
    let before = sides(&world);
    let db = world.state().join("hub.db");
    let good = fs::read(&db).unwrap();
    let mut flipped = good.clone();
    flipped[..4096].iter_mut().for_each(|b| *b ^= 0x5a);
    let mut inside = good.clone();
    let half = inside.len() / 2;
    inside[4096..half].iter_mut().for_each(|b| *b ^= 0xff);
    for damaged in [flipped, inside, good[..good.len() / 2].to_vec()] {
        fs::write(&db, damaged).unwrap();
        refused(&world, &["sync"], 20);
        refused(&world, &["status"], 20);
        world.cathedral(&["snapshot", "list"]).expect(0);
        assert_eq!(eyes::difference(&before, &sides(&world)), None);
    }
    let key = world.state().join("keys/hub.key").display().to_string();
    let args =
        ["restore", "latest", "--offline", "--from", "file:.cathedral/vault", "--key-file", &key, "--to", "../back"];
    world.cathedral(&args).expect(0);
    // Cut off to nothing, a database is a new one: what is known of the sides is gone, so nothing may be deleted.
    fs::write(&db, good).unwrap();
    world.cathedral(&["sync"]).expect(11);
}

#[test]
fn damaged_packs_are_named_and_the_rest_restores() {
    let place = scratch();
    let world = ready(&place);
    let damage = |vault: &Path| {
        let mut packs = vec![];
        for folder in fs::read_dir(vault.join("packs")).unwrap() {
            packs.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|e| e.unwrap().path()));
        }
        packs.sort_by_key(|p| fs::metadata(p).unwrap().len());
        let pack = packs.last().unwrap().clone();
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut rights = fs::metadata(&pack).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o600);
        fs::set_permissions(&pack, rights).unwrap();
        fs::write(&pack, bytes).unwrap();
        pack.file_stem().unwrap().to_string_lossy().into_owned()
    };
    let name = damage(&world.vault());
    let document = support::outputs::json(&world, "verify", &["verify", "--level", "full"], 20);
    let problems = document["data"]["problems"].as_array().unwrap();
    assert!(problems.iter().any(|p| p["object"].as_str().unwrap().contains(&name)), "{problems:#?}");
    assert!(problems.iter().all(|p| p["destination"] == "here"), "{problems:#?}");
    let told = world.cathedral(&["verify", "--level", "full"]).expect(20);
    assert_plain(&told);
    assert!(told.out.contains(&name) && told.out.contains("here"), "{}", told.out);
    // The other destination has an intact copy, and is asked without being told to.
    world.cathedral(&["restore", "latest", "--to", "../whole"]).expect(0);
    world.cathedral(&["restore", "latest", "--from", "other", "--to", "../whole-too"]).expect(0);
    assert_eq!(damage(&world.vault_copy()), name);
    // Everything lies in that one pack: nothing comes back, and that is said.
    let args = |to| ["restore", "latest", "--to", to, "--json"];
    let told = world.cathedral(&args("../nothing")[..4]);
    check_failure(told, &world.cathedral(&args("../nothing-too")), 21);
}

#[test]
fn what_no_destination_has_whole_is_named_and_the_rest_restores() {
    let place = scratch();
    let world = ready(&place);
    let packs = |vault: &Path| {
        let folders = fs::read_dir(vault.join("packs")).unwrap().map(|e| e.unwrap().path());
        folders.flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path())).collect::<BTreeSet<_>>()
    };
    // What the first sync itself has changed is held by one more pack.
    world.cathedral(&["snapshot", "create"]).expect(0);
    let before = packs(&world.vault());
    fs::write(world.app_files().join("new.bin"), noise(100_000)).unwrap();
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["snapshot", "create"]).expect(0);
    for pack in packs(&world.vault()).difference(&before) {
        let name = pack.strip_prefix(world.vault()).unwrap();
        for vault in [world.vault(), world.vault_copy()] {
            fs::remove_file(vault.join(name)).unwrap();
        }
    }
    let ran = world.cathedral(&["restore", "latest", "--to", "../rest"]);
    assert_plain(&ran);
    assert_eq!(ran.code, 21, "{ran:?}");
    assert!(ran.err.contains("codex"), "{ran:?}");
    let document = support::outputs::json(&world, "restore", &["restore", "latest", "--to", "../rest-too"], 21);
    let failed = document["data"]["failed"].as_array().unwrap();
    assert!(failed.iter().all(|f| f["spoke"] == "codex") && !failed.is_empty(), "{document:#}");
    assert_eq!(eyes::refs(&world.root.join("rest/mind.git")), eyes::refs(&world.mind()));
    assert_eq!(eyes::rows(&world.root.join("rest/ledger.db")), eyes::rows(&world.hub_db()));
    world.cathedral(&["verify"]).expect(20);
    // An older snapshot does not need it.
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let oldest = list["data"]["snapshots"][0]["id"].as_str().unwrap();
    world.cathedral(&["restore", oldest, "--to", "../old"]).expect(0);
}

#[test]
fn hostile_names_of_refs_do_nothing() {
    let place = scratch();
    let world = ready(&place);
    let mind = world.mind();
    let tip = git(&mind, &["rev-parse", "refs/heads/main"]);
    let names = [
        "refs/heads/--upload-pack=touch-pwned",
        "refs/heads/$(touch${IFS}pwned)",
        "refs/heads/`id`;ls|cat",
        "refs/heads/e\u{301}\u{202e}gnp.exe",
        "refs/heads/-x",
        "refs/heads/%2e%2e/%tip",
        "refs/tags/a'b\"c",
    ];
    for name in names {
        git(&mind, &["update-ref", name, &tip]);
    }
    let ran = world.cathedral(&["sync"]).expect(0);
    assert_plain(&ran);
    assert!(!ran.out.contains('\u{202e}') && !ran.err.contains('\u{202e}'));
    assert_eq!(eyes::refs(&mind), eyes::refs(&world.kept_mind()));
    world.cathedral(&["restore", "latest", "--to", "../back"]).expect(0);
    for folder in [world.root.clone(), world.hub(), mind.clone(), world.kept_mind()] {
        assert!(!folder.join("pwned").exists() && !folder.join("touch-pwned").exists());
    }
    // Names that git itself would never make, written by hand.
    let packed = fs::read_to_string(mind.join("packed-refs")).unwrap_or_default();
    let wild = "refs/heads/../../../../escaped\n";
    fs::write(mind.join("packed-refs"), format!("{packed}{tip} {wild}")).unwrap();
    let ran = world.cathedral(&["sync"]);
    assert_plain(&ran);
    assert!(matches!(ran.code, 0 | 12), "{ran:?}");
    assert!(!world.root.join("escaped").exists() && !world.hub().join("escaped").exists());
    assert!(!world.state().join("escaped").exists());
}

#[test]
fn links_out_of_a_tree_are_kept_as_links_and_never_followed() {
    let place = scratch();
    let world = ready(&place);
    let outside = world.root.join("outside");
    write(&outside.join("secret.txt"), "secret\n");
    std::os::unix::fs::symlink("../../outside/secret.txt", world.app_files().join("leak.txt")).unwrap();
    std::os::unix::fs::symlink(&outside, world.app_files().join("door")).unwrap();
    // At the hub the same name is a folder: writing into it must not go through the app's link.
    write(&world.hub_files().join("door/planted.txt"), "planted\n");
    let ran = world.cathedral(&["sync"]);
    assert_plain(&ran);
    assert!(matches!(ran.code, 0 | 11 | 12), "{ran:?}");
    assert_eq!(eyes::files(&outside).len(), 1, "something was written outside");
    let leak = world.hub_files().join("leak.txt");
    assert!(fs::symlink_metadata(&leak).unwrap().is_symlink(), "the link was followed");
    assert!(fs::symlink_metadata(world.app_files().join("door")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(world.hub_files().join("door/planted.txt")).unwrap(), "planted\n");
    world.cathedral(&["restore", "latest", "--to", "../back"]).expect(0);
    assert!(!eyes::contents(&world.root.join("back/codex")).contains(b"secret\n".as_slice()));
}

#[test]
fn what_cannot_be_read_is_not_taken_for_deleted() {
    let place = scratch();
    let world = ready(&place);
    let closed = world.app_files().join("leaves/07.md");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    support::run(std::process::Command::new("mkfifo").arg(world.app_files().join("pipe")));
    fs::write(world.app_files().join("new.txt"), "new\n").unwrap();
    // Root may read everything: another user runs the command.
    let root = rustix::process::geteuid().is_root();
    let ran = if root {
        support::run(std::process::Command::new("chown").arg("-R").arg("65534:65534").arg(place.path()));
        let mut command = std::process::Command::new("setpriv");
        support::plain(&mut command);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_cathedral"), "-C"]);
        Ran::of(command.arg(world.hub()).arg("sync").output().unwrap())
    } else {
        world.cathedral(&["sync"])
    };
    assert_plain(&ran);
    assert!(matches!(ran.code, 0 | 12), "{ran:?}");
    assert!(world.hub_files().join("leaves/07.md").exists(), "taken for deleted");
    assert!(closed.exists());
    assert!(!world.hub_files().join("pipe").exists());
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("07.md") || ran.code == 0, "{said}");
}

#[test]
fn a_tree_that_vanished_is_not_a_tree_that_was_emptied() {
    let place = scratch();
    let world = ready(&place);
    let away = world.root.join("away");
    fs::rename(world.app_files(), &away).unwrap();
    let before = eyes::files(&world.hub_files());
    for _ in 0..2 {
        troubled(world.cathedral(&["sync"]), 7);
        assert_eq!(eyes::difference(&before, &eyes::files(&world.hub_files())), None);
    }
    fs::create_dir(world.app_files()).unwrap();
    // An empty folder in its place, as an unmounted disk leaves it.
    troubled(world.cathedral(&["sync"]), 7);
    assert_eq!(eyes::difference(&before, &eyes::files(&world.hub_files())), None);
    fs::remove_dir_all(world.app_files()).unwrap();
    fs::rename(&away, world.app_files()).unwrap();
    world.cathedral(&["sync"]).expect(0);
}

#[test]
fn a_mass_deletion_waits_for_the_name_of_the_ecosystem() {
    let place = scratch();
    let world = ready(&place);
    for n in 1..=12 {
        fs::remove_file(world.app_files().join(format!("leaves/{n:02}.md"))).unwrap();
    }
    sql(&world.app_db(), "delete from entry where id > 3");
    let before = sides(&world);
    troubled(world.cathedral(&["sync"]), 7);
    assert_eq!(eyes::difference(&before, &sides(&world)), None, "something was deleted");
    refused(&world, &["sync", "--yes", "smal"], 7);
    world.cathedral(&["sync", "--yes", "small"]).expect(0);
    assert_eq!(eyes::files(&world.app_files()), eyes::files(&world.hub_files()));
    assert_eq!(eyes::rows(&world.app_db()), eyes::rows(&world.hub_db()));
    assert!(!world.hub_files().join("leaves/03.md").exists());
    // The snapshot before it still has everything.
    world.cathedral(&["restore", "latest", "--to", "../back"]).expect(0);
    assert!(world.root.join("back/codex/leaves/03.md").exists());
    assert_eq!(eyes::rows(&world.root.join("back/ledger.db")).len(), 63);
}

#[test]
fn unusual_surroundings_change_no_output() {
    let place = scratch();
    let world = ready(&place);
    commit(&world.mind(), "main", "more", &[("more.md", "more\n")]);
    let ran = ran_with(&world, &["sync"], |c| {
        c.env("CLICOLOR_FORCE", "")
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C")
            .env("COLUMNS", "3")
            .env_remove("HOME");
    });
    assert_plain(&ran.expect(0));
    let ran = ran_with(&world, &["status", "--hub", "http://127.0.0.1:1"], |_| {});
    assert_eq!(ran.code, 2, "{ran:?}");
}
