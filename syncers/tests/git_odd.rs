//! Odd repositories: each is synced, goes into a snapshot and comes back, or is refused in plain words.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::Place;
use git_support::part::{Kept, Part};
use git_support::{Repo, World, mirror, now, run};
use std::path::Path;
use std::process::Command;

fn file(repo: &Repo, name: &str, text: &str) {
    std::fs::write(repo.0.join(name), text).unwrap();
}

fn commit(repo: &Repo, name: &str, text: &str) -> String {
    file(repo, name, text);
    repo.git(&["add", "."]);
    repo.git(&["commit", "-q", "-m", name]);
    repo.git(&["rev-parse", "HEAD"])
}

/// A repository with a working tree, as the hub's mirror.
fn working() -> (World, Repo, Spoke) {
    let world = World::new();
    let lib = Repo::with_worktree(world.path("lib"));
    commit(&lib, "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    (world, lib, spoke)
}

/// Syncs, takes a snapshot, restores it beside, and compares branches and tags; then changes travel both ways.
fn goes_round(world: &mut World, lib: &Repo, spoke: &Spoke) {
    let (_, applied) = world.sync(spoke);
    assert_eq!(applied.skipped, vec![]);
    let part = whole(world, spoke);
    let to = world.path("restored.git");
    restored(world, spoke, &part, &to);
    assert_eq!(Repo(to).heads(), lib.heads());
    world.is_quiet(spoke);
    let store = world.store("lib");
    let new = store.put("main", "hub.txt", "from the hub\n");
    let (_, applied) = world.sync(spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(lib.tip("main"), new);
    world.is_quiet(spoke);
}

fn whole(world: &World, spoke: &Spoke) -> Part {
    let mut part = Part::default();
    now(world.syncer().export(spoke, &Place::Live(Side::Hub), &mut part)).unwrap();
    assert_eq!(part.skipped, Vec::<String>::new());
    part
}

fn restored(world: &World, spoke: &Spoke, part: &Part, to: &Path) {
    let place = Place::Path(to.to_owned());
    now(world.syncer().import(spoke, &place, &mut Kept::new(part), RunId(900), Fence(900))).unwrap();
    Repo(to.to_owned()).git(&["fsck", "--strict", "--no-dangling"]);
    let mut again = Part::default();
    now(world.syncer().export(spoke, &place, &mut again)).unwrap();
    assert_eq!(again.refs, part.refs);
}

#[test]
fn a_repository_that_borrows_its_objects() {
    let (mut world, origin, _) = working();
    let lib = Repo(world.path("shared.git"));
    run(Command::new("git").args(["clone", "-q", "--bare", "--shared"]).arg(&origin.0).arg(&lib.0));
    let spoke = mirror(&lib.0.display().to_string());
    goes_round(&mut world, &lib, &spoke);
}

#[test]
fn names_that_differ_in_case_only_and_packed_refs() {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    for (n, name) in ["main", "Main", "topic/A", "topic/a"].iter().enumerate() {
        lib.put(name, "a.txt", &format!("{n}\n"));
    }
    lib.git(&["pack-refs", "--all"]);
    let mut world = world;
    goes_round(&mut world, &lib, &mirror(&lib.0.display().to_string()));
}

/// Since git 2.45.
fn knows_reftable() -> bool {
    let out = Command::new("git").arg("version").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(45))
}

#[test]
fn reftable() {
    let mut world = World::new();
    if !knows_reftable() {
        // A git that cannot read it: refused, and left alone.
        let lib = Repo::bare(world.path("lib.git"));
        lib.put("main", "a.txt", "one\n");
        let config = format!("{}/config", lib.0.display());
        let text = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\trefStorage = reftable\n";
        std::fs::write(&config, text).unwrap();
        let spoke = mirror(&lib.0.display().to_string());
        let why = now(world.syncer().observe(&spoke)).unwrap_err().to_string();
        assert!(!why.is_empty());
        assert_eq!(std::fs::read_to_string(&config).unwrap(), text);
        return;
    }
    for kind in ["--bare", "--quiet"] {
        let lib = Repo(world.path(kind.trim_start_matches('-')));
        run(Command::new("git").args(["init", "-q", "-b", "main", "--ref-format=reftable", kind]).arg(&lib.0));
        lib.put("main", "a.txt", "one\n");
        lib.git(&["tag", "-a", "-m", "one", "v1", "main"]);
        lib.git(&["update-ref", "refs/notes/x", "main"]);
        if kind == "--quiet" {
            lib.git(&["reset", "-q", "--hard"]);
            file(&lib, "a.txt", "stashed\n");
            lib.git(&["stash", "push", "-q"]);
        }
        let spoke = mirror(&lib.0.display().to_string());
        goes_round(&mut world, &lib, &spoke);
        let part = whole(&world, &spoke);
        let has = |name: &str| part.refs.refs.iter().any(|r| r.name == name);
        assert!(has("refs/notes/x") && has("refs/cathedral/stash/000001") == (kind == "--quiet"));
        for folder in ["root/.cathedral/git", "root/.cathedral/git-stores", "restored.git"] {
            std::fs::remove_dir_all(world.path(folder)).unwrap();
        }
        world.base = None;
    }
}

#[test]
fn symbolic_refs_among_branches() {
    let (mut world, lib, spoke) = working();
    lib.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    lib.git(&["symbolic-ref", "refs/heads/nowhere", "refs/heads/none"]);
    world.sync(&spoke);
    let store = world.store("lib");
    assert_eq!(store.get("refs/heads/alias"), Some(lib.tip("main")));
    let new = store.put("main", "hub.txt", "from the hub\n");
    for _ in 0..2 {
        world.sync(&spoke);
    }
    assert_eq!((lib.tip("main"), lib.tip("alias")), (new.clone(), new.clone()));
    assert_eq!(store.tip("alias"), new);
    world.is_quiet(&spoke);
    assert_eq!(lib.git(&["symbolic-ref", "refs/heads/alias"]), "refs/heads/main");
    // Both move at once to the same commit.
    let newer = commit(&lib, "b.txt", "two\n");
    world.sync(&spoke);
    assert_eq!((store.tip("main"), store.tip("alias")), (newer.clone(), newer));
    restored(&world, &spoke, &whole(&world, &spoke), &world.path("restored.git"));
}

#[test]
fn tags_of_blobs_trees_and_tags() {
    let (mut world, lib, spoke) = working();
    lib.git(&["tag", "file", "main:a.txt"]);
    lib.git(&["tag", "-a", "-m", "a file", "told", "main:a.txt"]);
    lib.git(&["tag", "folder", "main^{tree}"]);
    lib.git(&["tag", "-a", "-m", "one", "v1", "main"]);
    lib.git(&["tag", "-a", "-m", "of a tag", "v1.again", "v1"]);
    lib.git(&["update-ref", "refs/keys/file", "main:a.txt"]);
    goes_round(&mut world, &lib, &spoke);
}

#[test]
fn submodules_in_submodules_are_carried_as_they_are() {
    let (mut world, inner, _) = working();
    let middle = Repo::bare(world.path("middle.git"));
    middle.put("main", "b.txt", "b\n");
    middle.put_link("main", "inner", &inner.tip("main"));
    let lib = Repo::bare(world.path("outer.git"));
    lib.put("main", "c.txt", "c\n");
    lib.put_link("main", "middle", &middle.tip("main"));
    let spoke = mirror(&lib.0.display().to_string());
    goes_round(&mut world, &lib, &spoke);
    assert_eq!(world.store("lib").link("main", "middle"), Some(middle.tip("main")));
}

#[test]
fn a_detached_and_an_unborn_head() {
    let (mut world, lib, spoke) = working();
    lib.git(&["checkout", "-q", "--detach"]);
    goes_round(&mut world, &lib, &spoke);
    assert!(!lib.try_git(&["symbolic-ref", "-q", "HEAD"]), "the checkout of a person stays");
    lib.git(&["symbolic-ref", "HEAD", "refs/heads/unborn"]);
    std::fs::remove_dir_all(world.path("restored.git")).unwrap();
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    restored(&world, &spoke, &whole(&world, &spoke), &world.path("restored.git"));
}

#[test]
fn staged_work_is_left_alone() {
    let (mut world, lib, spoke) = working();
    world.sync(&spoke);
    let store = world.store("lib");
    let (old, new) = (lib.tip("main"), store.put("main", "a.txt", "from the hub\n"));
    file(&lib, "new.txt", "not committed\n");
    lib.git(&["add", "new.txt"]);
    let (_, applied) = world.sync(&spoke);
    assert!(applied.skipped[0].why.contains("new.txt"), "{:?}", applied.skipped);
    assert_eq!((lib.tip("main"), lib.git(&["diff", "--cached", "--name-only"])), (old, "new.txt".to_owned()));
    lib.git(&["commit", "-q", "-m", "committed"]);
    world.sync(&spoke);
    assert_eq!(lib.tip("main"), store.tip("main"));
    assert!(lib.try_git(&["merge-base", "--is-ancestor", &new, "main"]));
}

#[test]
fn a_branch_that_a_linked_worktree_has_checked_out() {
    for is_bare in [false, true] {
        let (mut world, origin, _) = working();
        let lib = if is_bare {
            run(Command::new("git").args(["clone", "-q", "--bare"]).arg(&origin.0).arg(world.path("bare.git")));
            Repo(world.path("bare.git"))
        } else {
            origin
        };
        let linked = Repo(world.path("linked"));
        lib.git(&["worktree", "add", "-q", "-b", "topic", linked.0.to_str().unwrap(), "main"]);
        let spoke = mirror(&lib.0.display().to_string());
        world.sync(&spoke);
        let store = world.store("lib");
        let (old, new) = (lib.tip("topic"), store.put("topic", "a.txt", "from the hub\n"));
        file(&linked, "a.txt", "being edited\n");
        let (_, applied) = world.sync(&spoke);
        assert!(applied.skipped[0].why.contains("a.txt"), "bare {is_bare}: {:?}", applied.skipped);
        assert_eq!(
            (lib.tip("topic"), std::fs::read_to_string(linked.0.join("a.txt")).unwrap()),
            (old, "being edited\n".into())
        );
        linked.git(&["checkout", "-q", "--", "a.txt"]);
        let (_, applied) = world.sync(&spoke);
        assert_eq!(applied.skipped, vec![], "bare {is_bare}");
        assert_eq!(lib.tip("topic"), new);
        assert_eq!(std::fs::read_to_string(linked.0.join("a.txt")).unwrap(), "from the hub\n");
        assert_eq!(linked.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn a_shallow_clone_says_what_it_is_and_loses_nothing() {
    let (mut world, origin, _) = working();
    commit(&origin, "a.txt", "two\n");
    commit(&origin, "a.txt", "three\n");
    let lib = Repo(world.path("shallow"));
    run(Command::new("git")
        .args(["clone", "-q", "--depth=1"])
        .arg(format!("file://{}", origin.0.display()))
        .arg(&lib.0));
    let before = lib.refs();
    let spoke = mirror(&lib.0.display().to_string());
    let observed = now(world.syncer().observe(&spoke));
    let told = match &observed {
        Ok(observed) => observed.warnings.join("; "),
        Err(error) => error.to_string(),
    };
    assert!(told.contains("shallow") && told.contains("--unshallow"), "{told}");
    assert_eq!(lib.refs(), before);
    lib.git(&["fetch", "-q", "--unshallow"]);
    goes_round(&mut world, &lib, &spoke);
}

/// A push that is killed between the tree and the branch: git has written index and files, and HEAD is the old one.
#[test]
fn a_working_tree_that_a_killed_push_has_written_is_no_unsaved_work() {
    let mut world = World::new();
    let lib = Repo::with_worktree(world.path("lib"));
    for file in ["a.txt", "gone.txt"] {
        std::fs::write(lib.0.join(file), "one\n").unwrap();
    }
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "start"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let store = world.store("lib");
    let files = [("a.txt", Some("two\n")), ("b.txt", Some("b\n")), ("gone.txt", None)];
    let mine = store.commit("main", Some("main"), &files);
    let topic = store.commit("topic", Some("main"), &[("t.txt", Some("t\n"))]);
    lib.git(&["fetch", "-q", &store.0.display().to_string(), "main"]);
    lib.git(&["read-tree", "-u", "-m", "HEAD", &mine]);
    let saved = world.save();
    let damage: [(&str, &dyn Fn()); 4] = [
        ("a file changed", &|| std::fs::write(lib.0.join("a.txt"), "mine\n").unwrap()),
        ("a new file changed", &|| std::fs::write(lib.0.join("b.txt"), "c\n").unwrap()),
        ("a file gone", &|| std::fs::remove_file(lib.0.join("b.txt")).unwrap()),
        ("something staged", &|| {
            std::fs::write(lib.0.join("c.txt"), "c\n").unwrap();
            lib.git(&["add", "c.txt"]);
        }),
    ];
    for (what, damage) in damage {
        damage();
        let before = (lib.tip("main"), lib.git(&["status", "--porcelain"]));
        let (_, applied) = world.sync(&spoke);
        assert!(applied.skipped.len() == 1 && applied.skipped[0].why.contains("not committed"), "{what}: {applied:?}");
        assert_eq!((lib.tip("main"), lib.git(&["status", "--porcelain"])), before, "{what}");
        world.put_back(&saved);
    }
    std::fs::write(lib.0.join("untracked"), "mine\n").unwrap();
    let (_, applied) = world.sync(&spoke);
    assert_eq!((applied.skipped, lib.tip("main"), lib.tip("topic")), (vec![], mine, topic));
    assert_eq!(lib.git(&["status", "--porcelain"]), "?? untracked");
    world.is_quiet(&spoke);
}
