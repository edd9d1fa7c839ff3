//! Pushes into a person's working tree that were killed while git wrote the files.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::Spoke;
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::Syncer;
use cathedral_syncers::git::Moment;
use git_support::{Repo, World, mirror, now, run};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::sync::Arc;

const NEW: &str = "new, and longer than what stood there before\n";

struct Killed {
    world: World,
    lib: Repo,
    spoke: Spoke,
    new: String,
}

/// A working tree to which a push was begun; nothing of it is written yet.
fn killed() -> Killed {
    let mut world = World::new();
    let lib = Repo::with_worktree(world.path("lib"));
    let put = |name: &str, text: &str| std::fs::write(lib.0.join(name), text).unwrap();
    for name in ["a.txt", "b.txt", "run.sh", "gone.txt", "other.txt"] {
        put(name, "old\n");
    }
    std::fs::create_dir(lib.0.join("d")).unwrap();
    put("d/x", "old\n");
    put("f", "old\n");
    std::fs::set_permissions(lib.0.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a.txt", lib.0.join("link")).unwrap();
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "old"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    // The hub's next commit, made in a clone.
    let clone = Repo::clone_of(&world.store("lib").0, world.path("clone"));
    let put = |name: &str, text: &str| std::fs::write(clone.0.join(name), text).unwrap();
    for name in ["a.txt", "b.txt", "run.sh", "added.txt", "added-too.txt"] {
        put(name, NEW);
    }
    for name in ["gone.txt", "link", "f", "d/x"] {
        std::fs::remove_file(clone.0.join(name)).unwrap();
    }
    symlink("b.txt", clone.0.join("link")).unwrap();
    // A file becomes a folder, and a folder a file.
    std::fs::create_dir(clone.0.join("f")).unwrap();
    put("f/y", NEW);
    let _ = std::fs::remove_dir(clone.0.join("d"));
    put("d", NEW);
    clone.git(&["add", "-A", "."]);
    clone.git(&["commit", "-q", "-m", "new"]);
    clone.git(&["push", "-q"]);
    let new = clone.tip("main");
    world.options.interrupt =
        Some(Arc::new(|moment, args| !(moment == Moment::Before && args.first().is_some_and(|a| a == "push"))));
    let plan = world.plan(&spoke, vec![]);
    let syncer = world.syncer();
    assert!(now(syncer.apply(&spoke, &plan, RunId(world.run), Fence(world.run))).is_err(), "it was killed");
    world.options.interrupt = None;
    Killed { world, lib, spoke, new }
}

impl Killed {
    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.lib.0.join(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.lib.0.join(name)).unwrap()
    }

    fn lock(&self) {
        self.file(".git/index.lock", "");
    }

    /// As far as git comes in some moment.
    fn half_written(&self) {
        let remove = |name: &str| std::fs::remove_file(self.lib.0.join(name)).unwrap();
        self.file("a.txt", NEW);
        self.file("b.txt", &NEW[..7]);
        remove("gone.txt");
        remove("run.sh");
        remove("link");
        symlink("b.txt", self.lib.0.join("link")).unwrap();
        self.file("added.txt", NEW);
        self.file("added-too.txt", "");
        remove("f");
        std::fs::create_dir(self.lib.0.join("f")).unwrap();
        self.file("f/y", &NEW[..3]);
        remove("d/x");
        std::fs::remove_dir(self.lib.0.join("d")).unwrap();
        self.file("d", NEW);
        self.lock();
    }

    fn is_finished(&mut self) {
        let (_, applied) = self.world.sync(&self.spoke);
        assert_eq!(applied.skipped, vec![]);
        assert_eq!(self.lib.tip("main"), self.new);
        assert_eq!(self.lib.git(&["status", "--porcelain"]), "");
        assert_eq!(self.text("a.txt"), NEW);
        self.world.is_quiet(&self.spoke);
        let notes = std::fs::read_dir(self.world.store("lib").0.join("deploying")).unwrap();
        assert_eq!(notes.count(), 0);
    }

    /// Nothing is done, for a reason that holds these words.
    fn is_refused(&mut self, words: &[&str]) {
        let (_, applied) = self.world.sync(&self.spoke);
        let why = applied.skipped.iter().map(|s| s.why.clone()).collect::<Vec<_>>().join("\n");
        assert!(!why.is_empty() && words.iter().all(|word| why.contains(word)), "{words:?}: {why:?}");
        assert_ne!(self.lib.tip("main"), self.new);
    }
}

#[test]
fn files_that_are_written_halfway_are_written_again() {
    let mut killed = killed();
    killed.half_written();
    killed.is_finished();
}

#[test]
fn a_lock_alone_and_files_without_one_are_no_hindrance_either() {
    let mut locked = killed();
    locked.lock();
    locked.is_finished();
    let mut unlocked = killed();
    unlocked.half_written();
    std::fs::remove_file(unlocked.lib.0.join(".git/index.lock")).unwrap();
    unlocked.is_finished();
}

#[test]
fn what_a_person_wrote_since_is_kept_and_named() {
    // In a file that git wrote, in one that it wrote not yet, in one that it never would, and at the place of one.
    for (name, text) in
        [("a.txt", "mine\n"), ("run.sh", "mine\n"), ("other.txt", "ol"), ("added.txt", "mine\n"), ("f/y", "mine\n")]
    {
        let mut killed = killed();
        killed.half_written();
        killed.file(name, text);
        killed.is_refused(&[name, "a sync was killed", "git status", "index.lock"]);
        assert_eq!(killed.text(name), text);
        assert_eq!(killed.text("b.txt"), &NEW[..7], "nothing is touched");
        assert!(killed.lib.0.join(".git/index.lock").exists());
    }
}

#[test]
fn a_person_who_does_as_told_gets_the_rest() {
    let mut killed = killed();
    killed.half_written();
    killed.file("a.txt", "mine\n");
    killed.is_refused(&["a.txt"]);
    std::fs::remove_file(killed.lib.0.join(".git/index.lock")).unwrap();
    killed.lib.git(&["stash", "-q", "--include-untracked"]);
    let (_, applied) = killed.world.sync(&killed.spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(killed.lib.tip("main"), killed.new);
    assert_eq!(killed.lib.text("stash@{0}", "a.txt"), "mine");
}

#[test]
fn a_lock_that_somebody_holds_is_left() {
    let mut killed = killed();
    killed.half_written();
    let mut git = Command::new("git")
        .current_dir(&killed.lib.0)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    killed.is_refused(&["index.lock is held"]);
    assert!(killed.lib.0.join(".git/index.lock").exists());
    drop(git.stdin.take());
    git.wait().unwrap();
    killed.is_finished();
}

/// Not the hub is killed, but the git that wrote the files, and with it the push.
#[test]
fn a_git_that_dies_alone_leaves_nothing_either() {
    let mut killed = killed();
    let lib = killed.lib.0.clone();
    killed.world.options.interrupt = Some(Arc::new(move |moment, args| {
        if moment == Moment::Before && args.first().is_some_and(|a| a == "push") {
            std::fs::write(lib.join("b.txt"), &NEW[..7]).unwrap();
            std::fs::write(lib.join(".git/index.lock"), "").unwrap();
        }
        true
    }));
    let (_, applied) = killed.world.sync(&killed.spoke);
    assert_eq!(applied.skipped.len(), 1, "{applied:?}");
    killed.world.options.interrupt = None;
    assert_eq!(killed.lib.git(&["status", "--porcelain"]), "");
    assert!(!killed.lib.0.join(".git/index.lock").exists());
    killed.is_finished();
}

#[test]
fn a_lock_that_was_there_before_is_not_ours() {
    let mut killed = killed();
    killed.lock();
    run(Command::new("touch").args(["-d", "1 hour ago"]).arg(killed.lib.0.join(".git/index.lock")));
    killed.is_refused(&["index.lock is held"]);
}
