//! Refs that take no part in the sync are held in snapshots all the same, and come back.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::{Imported, Place};
use git_support::part::{Kept, Part};
use git_support::{Repo, World, mirror, mirrors_to, now, submodule};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

const RAW: &[u8] = b"refs/heads/caf\xe9";

fn export(world: &World, spoke: &Spoke) -> Part {
    let mut part = Part::default();
    now(world.syncer().export(spoke, &Place::Live(Side::Hub), &mut part)).unwrap();
    part
}

fn import(world: &World, spoke: &Spoke, place: Place, part: &Part, run: i64) -> Imported {
    now(world.syncer().import(spoke, &place, &mut Kept::new(part), RunId(run), Fence(run))).unwrap()
}

/// What the part holds under a name.
fn held(part: &Part, name: &str) -> Option<String> {
    part.refs.refs.iter().find(|r| r.name == name).map(|r| r.oid.clone())
}

fn with_raw_name(repo: &Repo, command: &[&str], oid: &str) {
    let mut git = Command::new("git");
    git.arg("-C").arg(&repo.0).args(command).arg(OsStr::from_bytes(RAW));
    git_support::run(if oid.is_empty() { &mut git } else { git.arg(oid) });
}

/// A commit on top of main that only the given ref names.
fn only_at(repo: &Repo, name: &str, text: &str) -> String {
    let oid = repo.commit("aside", Some("main"), &[("aside.txt", Some(text))]);
    repo.git(&["update-ref", name, &oid]);
    repo.git(&["update-ref", "-d", "refs/heads/aside"]);
    oid
}

/// A repository with refs of every kind besides branches and tags.
fn odd() -> (World, Repo, Vec<(&'static str, String)>) {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let mut odd = Vec::new();
    for name in ["refs/notes/commits", "refs/changes/01/1/1", "refs/meta/config", "refs/pull/7/head", "refs/custom"] {
        odd.push((name, only_at(&lib, name, name)));
    }
    lib.git(&["update-ref", "refs/remotes/origin/main", "refs/heads/main"]);
    (world, lib, odd)
}

fn proven(world: &World, spoke: &Spoke, dir: &Path, part: &Part) {
    let mut again = Part::default();
    now(world.syncer().export(spoke, &Place::Path(dir.to_owned()), &mut again)).unwrap();
    assert_eq!(again.refs, part.refs, "the prover sees the same refs");
}

#[test]
fn every_ref_is_held_and_comes_back_whatever_the_sync_is_about() {
    for is_mirror in [true, false] {
        let (mut world, lib, odd) = odd();
        let url = lib.0.display().to_string();
        let spoke = if is_mirror { mirror(&url) } else { submodule(&url) };
        world.sync(&spoke);
        let part = export(&world, &spoke);
        assert_eq!(part.skipped, Vec::<String>::new());
        let to = world.path("restored.git");
        import(&world, &spoke, Place::Path(to.clone()), &part, 3);
        for (name, oid) in &odd {
            assert_eq!(held(&part, name).as_ref(), Some(oid), "{name}");
            assert_eq!(Repo(to.clone()).get(name).as_ref(), Some(oid), "{name}");
        }
        assert_eq!(held(&part, "refs/remotes/origin/main"), None, "that is of one clone");
        proven(&world, &spoke, &to, &part);
        // The sync is of branches and tags as before.
        assert!(world.store("lib").get("refs/notes/commits").is_none());
        world.is_quiet(&spoke);
    }
}

#[test]
fn a_change_of_such_a_ref_alone_is_a_change() {
    let (mut world, lib, _) = odd();
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let before = world.observe(&spoke).digests();
    let newer = only_at(&lib, "refs/notes/commits", "another note");
    assert_ne!(world.observe(&spoke).digests(), before);
    assert_eq!(world.plan(&spoke, vec![]).actions, vec![]);
    assert_eq!(held(&export(&world, &spoke), "refs/notes/commits"), Some(newer));
    lib.git(&["update-ref", "-d", "refs/notes/commits"]);
    assert_eq!(held(&export(&world, &spoke), "refs/notes/commits"), None);
}

#[test]
fn refs_of_a_mirror_are_held_too() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let other = Repo::bare(world.path("other.git"));
    let spoke = mirrors_to(
        &lib.0.display().to_string(),
        &[("other", &other.0.display().to_string(), cathedral_model::ecosystem::MirrorMode::Push)],
    );
    world.sync(&spoke);
    let before = world.observe(&spoke).digests();
    let note = only_at(&other, "refs/notes/commits", "a note at the mirror");
    assert_ne!(world.observe(&spoke).digests(), before);
    assert_eq!(held(&export(&world, &spoke), "refs/cathedral/remote/other/notes/commits"), Some(note));
}

#[test]
fn in_place_every_ref_goes_back_and_forge_refs_may_be_declined() {
    let (mut world, lib, odd) = odd();
    lib.git(&["config", "transfer.hideRefs", "refs/never"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let part = export(&world, &spoke);
    let newer = only_at(&lib, "refs/meta/config", "newer");
    lib.git(&["update-ref", "-d", "refs/notes/commits"]);
    lib.git(&["update-ref", "-d", "refs/pull/7/head"]);
    lib.git(&["config", "receive.hideRefs", "refs/pull"]);
    let imported = import(&world, &spoke, Place::Live(Side::Hub), &part, 40);
    let kept = imported.kept.unwrap();
    assert!(kept.contains("refs/pull/7/head") && kept.contains("hidden"), "{kept}");
    for (name, oid) in odd.iter().filter(|(n, _)| *n != "refs/pull/7/head") {
        assert_eq!(lib.get(name).as_ref(), Some(oid), "{name}");
    }
    let store = world.store("lib");
    assert_eq!(store.get("refs/cathedral/kept/40/spoke/meta/config/%tip"), Some(newer));
    let pull = odd.iter().find(|(n, _)| *n == "refs/pull/7/head").unwrap();
    assert!(store.reaches(&pull.1));
    assert!(store.get("refs/notes/commits").is_none(), "what only the spoke had goes back to the spoke alone");
}

#[test]
fn a_name_that_is_not_utf8_is_held_and_given_back() {
    for is_mirror in [true, false] {
        let mut world = World::new();
        let lib = Repo::bare(world.path("lib.git"));
        lib.put("main", "a.txt", "one\n");
        let oid = only_at(&lib, "refs/heads/tmp", "behind an odd name");
        lib.git(&["update-ref", "-d", "refs/heads/tmp"]);
        with_raw_name(&lib, &["update-ref"], &oid);
        let url = lib.0.display().to_string();
        let spoke = if is_mirror { mirror(&url) } else { submodule(&url) };
        let warnings = world.observe(&spoke).warnings;
        assert!(warnings.iter().any(|w| w.contains("not UTF-8") && w.contains("snapshots hold it")), "{warnings:?}");
        world.sync(&spoke);
        let part = export(&world, &spoke);
        assert_eq!(held(&part, "refs/cathedral/bytes/heads/caf%e9"), Some(oid.clone()));
        let to = world.path("restored.git");
        import(&world, &spoke, Place::Path(to.clone()), &part, 3);
        with_raw_name(&Repo(to.clone()), &["rev-parse", "--verify"], "");
        proven(&world, &spoke, &to, &part);
        // And in place.
        with_raw_name(&lib, &["update-ref", "-d"], "");
        import(&world, &spoke, Place::Live(Side::Hub), &part, 4);
        with_raw_name(&lib, &["rev-parse", "--verify"], "");
    }
}

#[test]
fn a_stash_and_a_detached_head_are_versions_that_somebody_holds() {
    let mut world = World::new();
    let lib = Repo::with_worktree(world.path("lib"));
    let file = |text: &str| std::fs::write(lib.0.join("a.txt"), text).unwrap();
    file("one\n");
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "one"]);
    for text in ["first", "second"] {
        file(text);
        lib.git(&["stash", "push", "-q", "-m", text]);
    }
    let stashed: Vec<String> = ["stash@{1}", "stash@{0}"].iter().map(|n| lib.git(&["rev-parse", n])).collect();
    lib.git(&["checkout", "-q", "--detach"]);
    lib.git(&["commit", "-q", "--allow-empty", "-m", "on no branch"]);
    let alone = lib.git(&["rev-parse", "HEAD"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let part = export(&world, &spoke);
    assert_eq!(held(&part, "refs/cathedral/detached/HEAD"), Some(alone.clone()));
    assert_eq!(held(&part, "refs/stash").as_ref(), Some(&stashed[1]));
    assert_eq!(held(&part, "refs/cathedral/stash/000001").as_ref(), Some(&stashed[0]));
    let to = world.path("restored.git");
    import(&world, &spoke, Place::Path(to.clone()), &part, 3);
    let restored = Repo(to.clone());
    assert!(restored.reaches(&alone));
    assert_eq!(
        restored.git(&["log", "-g", "--format=%H %gs", "refs/stash"]),
        lib.git(&["log", "-g", "--format=%H %gs", "refs/stash"])
    );
    proven(&world, &spoke, &to, &part);
    // In place: what was dropped comes back, what came since stays.
    lib.git(&["stash", "drop", "-q", "stash@{0}"]);
    file("third");
    lib.git(&["stash", "push", "-q", "-m", "third"]);
    let third = lib.git(&["rev-parse", "refs/stash"]);
    import(&world, &spoke, Place::Live(Side::Hub), &part, 4);
    let now = lib.git(&["log", "-g", "--format=%H", "refs/stash"]);
    for oid in stashed.iter().chain([&third]) {
        assert!(now.contains(oid), "{oid} in {now}");
    }
}

#[test]
fn a_broken_ref_that_is_only_held_stops_nothing() {
    let (mut world, lib, _) = odd();
    let broken = only_at(&lib, "refs/pull/9/head", "to be damaged");
    let blob = lib.git(&["rev-parse", &format!("{broken}:aside.txt")]);
    std::fs::remove_file(lib.0.join("objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let spoke = mirror(&lib.0.display().to_string());
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(world.store("lib").heads(), lib.heads());
    let part = export(&world, &spoke);
    assert!(part.skipped.iter().any(|s| s.contains("refs/pull/9/head")), "{:?}", part.skipped);
    assert!(held(&part, "refs/notes/commits").is_some(), "the others are held");
}

#[test]
fn restores_in_place_do_not_keep_what_is_kept() {
    let (mut world, lib, _) = odd();
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = export(&world, &spoke);
    let mut counts = Vec::new();
    for round in 0..6 {
        lib.put("main", "a.txt", &format!("round {round}\n"));
        only_at(&lib, "refs/notes/commits", &format!("round {round}"));
        world.sync(&spoke);
        // As the program does: a snapshot of what stands there, then the restore.
        let before = export(&world, &spoke);
        world.run = 100 + round;
        import(&world, &spoke, Place::Live(Side::Hub), &part, world.run);
        world.base = None;
        counts.push(world.store("lib").refs().len());
        part = before;
    }
    let refs = world.store("lib").refs();
    let twice: Vec<&String> = refs.keys().filter(|n| n.contains("/restored/cathedral/")).collect();
    assert_eq!(twice, Vec::<&String>::new());
    let steps: Vec<usize> = counts.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(steps.iter().all(|s| *s <= steps[0]), "each round keeps what it replaces, no more: {counts:?}");
    // A store that was lost gets the pins of the snapshot back, at their own names.
    std::fs::remove_dir_all(world.state_dir().join("git/lib.git")).unwrap();
    import(&world, &spoke, Place::Live(Side::Hub), &part, 200);
    let again = world.store("lib").refs();
    assert!(again.contains_key("refs/cathedral/kept/100/spoke/heads/main/%tip"), "{again:?}");
}
