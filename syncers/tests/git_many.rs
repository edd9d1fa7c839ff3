//! Many refs: few calls of git, no file for each of them, and the same result as for few.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::Spoke;
use cathedral_syncers::git::Moment;
use git_support::{Repo, World, mirror};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const BRANCHES: usize = 300;

/// Puts a commit on every branch and, the first time, an annotated tag on some.
fn work(lib: &Repo, round: usize) {
    let mut text = String::new();
    for n in 0..BRANCHES {
        let parent = if round == 0 { String::new() } else { format!("from refs/heads/team/b{n:03}^0\n") };
        let date = 1_700_000_000 + n;
        let head = format!("commit refs/heads/team/b{n:03}\ncommitter P <p@e> {date} +0000\ndata 1\nx\n{parent}");
        writeln!(text, "{head}M 100644 inline f{n}.txt\ndata 7\n{round:03}{n:03}\n").unwrap();
        if round == 0 && n % 10 == 0 {
            writeln!(text, "tag v{n}\nfrom refs/heads/team/b{n:03}\ntagger P <p@e> {date} +0000\ndata 1\nt").unwrap();
        }
    }
    lib.git_with(&["fast-import", "--quiet", "--force"], text.as_bytes());
}

fn world() -> (World, Repo, Spoke) {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    work(&lib, 0);
    let spoke = mirror(&lib.0.display().to_string());
    (world, lib, spoke)
}

/// Names and values, and what tags name, as git sees them.
fn seen(repo: &Repo) -> String {
    repo.git(&["for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags"])
}

fn files_below(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn a_first_sync_of_many_refs_takes_few_calls_and_makes_no_file_for_each() {
    let (mut world, lib, spoke) = world();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    world.options.interrupt = Some(Arc::new(move |moment, _| {
        count.fetch_add(usize::from(moment == Moment::Before), Ordering::SeqCst);
        true
    }));
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), applied.skipped.len(), applied.changes_in), (0, 0, BRANCHES as u64 + 31));
    let store = world.store("lib");
    assert_eq!(seen(&store), seen(&lib));
    assert!(calls.load(Ordering::SeqCst) < 15, "{} calls of git", calls.load(Ordering::SeqCst));
    assert!(files_below(&store.0.join("refs")) < 5, "{} refs have files", files_below(&store.0.join("refs")));
    store.git(&["fsck", "--strict", "--no-dangling"]);
    store.git(&["pack-refs", "--all"]);
    assert_eq!(seen(&store), seen(&lib), "git reads and writes what was written");
    world.is_quiet(&spoke);
}

#[test]
fn few_and_many_changes_follow() {
    let (mut world, lib, spoke) = world();
    world.sync(&spoke);
    let store = world.store("lib");
    lib.put("team/b007", "more.txt", "more\n");
    world.sync(&spoke);
    assert_eq!(seen(&store), seen(&lib));
    work(&lib, 1);
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0));
    assert_eq!(seen(&store), seen(&lib));
    world.is_quiet(&spoke);
    store.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_ref_that_moves_between_the_list_and_the_fetch_comes_as_it_was_and_then_as_it_is() {
    let (mut world, lib, spoke) = world();
    let (moving, new) = (lib.clone(), Arc::new(Mutex::new(None)));
    let moved = Arc::clone(&new);
    world.options.interrupt = Some(Arc::new(move |moment, args| {
        let mut moved = moved.lock().unwrap();
        if moment == Moment::Before && args.iter().any(|a| a == "fetch") && moved.is_none() {
            *moved = Some(moving.put("team/b007", "late.txt", "late\n"));
        }
        true
    }));
    let listed = lib.get("refs/heads/team/b007");
    world.sync(&spoke);
    assert_eq!(world.store("lib").get("refs/heads/team/b007"), listed, "what was observed is what comes");
    world.options.interrupt = None;
    world.sync(&spoke);
    assert_eq!(world.store("lib").get("refs/heads/team/b007"), *new.lock().unwrap());
    world.is_quiet(&spoke);
    assert_eq!(seen(&world.store("lib")), seen(&lib));
}

#[test]
fn a_lock_that_a_killed_git_left_is_not_gone_round() {
    let (mut world, lib, spoke) = world();
    let (lock, made) = (world.store("lib").0.join("packed-refs.lock"), AtomicUsize::new(0));
    let at = lock.clone();
    world.options.interrupt = Some(Arc::new(move |moment, args| {
        let comes = moment == Moment::After && args.iter().any(|a| a == "fetch");
        if comes && made.fetch_add(1, Ordering::SeqCst) == 0 {
            std::fs::write(&at, "").unwrap();
        }
        true
    }));
    world.sync(&spoke);
    assert!(!lock.exists());
    assert_eq!(seen(&world.store("lib")), seen(&lib));
}

/// A server that gives no object without a name: the refs come by their names.
#[test]
fn a_remote_that_is_asked_by_names_gives_them_all() {
    let (mut world, lib, spoke) = world();
    let (at, gone) = (lib.0.clone(), AtomicUsize::new(0));
    world.options.interrupt = Some(Arc::new(move |moment, args| {
        // The listed commit vanishes with its branch before the first fetch.
        if moment == Moment::Before && args.iter().any(|a| a == "fetch") && gone.fetch_add(1, Ordering::SeqCst) == 0 {
            let lib = Repo(at.clone());
            lib.git(&["update-ref", "-d", "refs/tags/v10"]);
            lib.git(&["update-ref", "-d", "refs/heads/team/b010"]);
            lib.git(&["repack", "-a", "-d", "-q"]);
            lib.git(&["prune", "--expire=now"]);
        }
        true
    }));
    world.sync(&spoke);
    world.options.interrupt = None;
    world.sync(&spoke);
    assert_eq!(seen(&world.store("lib")), seen(&lib));
    world.is_quiet(&spoke);
}
