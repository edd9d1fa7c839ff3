//! Answers to conflicts of git repositories: what came after an answer is never dropped, and nothing counts as
//! settled that one side does not have.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::world::{git, write};
use support::{Ran, cathedral, scratch};

/// A hub and one repository with a working tree; conflict 1 is open: both sides changed `a`.
struct Place {
    _dir: tempfile::TempDir,
    hub: PathBuf,
    lib: PathBuf,
}

#[track_caller]
fn commit(folder: &Path, file: &str, text: &str) -> String {
    write(&folder.join(file), text);
    git(folder, &["add", file]);
    git(folder, &["commit", "-qm", file]);
    git(folder, &["rev-parse", "HEAD"])
}

impl Place {
    fn build() -> Self {
        let dir = scratch();
        let (hub, lib, clone) = (dir.path().join("hub"), dir.path().join("lib"), dir.path().join("clone"));
        for folder in [&hub, &lib] {
            fs::create_dir(folder).unwrap();
            git(folder, &["init", "-q", "-b", "main"]);
        }
        git(&hub, &["commit", "-q", "--allow-empty", "-m", "hub"]);
        commit(&lib, "a", "a\n");
        commit(&lib, "b", "b\n");
        cathedral(&hub, &["init", "-q"]).expect(0);
        cathedral(&hub, &["sync", "-q"]).expect(0);
        git(dir.path(), &["clone", "-q", hub.join(".cathedral/git/lib.git").to_str().unwrap(), "clone"]);
        commit(&clone, "a", "HUB\n");
        git(&clone, &["push", "-q"]);
        commit(&lib, "a", "SPOKE\n");
        let place = Self { _dir: dir, hub, lib };
        place.cathedral(&["sync"]).expect(11);
        place
    }

    fn cathedral(&self, args: &[&str]) -> Ran {
        cathedral(&self.hub, args)
    }

    fn tips(&self) -> (String, String) {
        let store = self.hub.join(".cathedral/git/lib.git");
        (git(&store, &["rev-parse", "refs/heads/main"]), git(&self.lib, &["rev-parse", "main"]))
    }

    #[track_caller]
    fn state(&self) -> String {
        let shown = self.cathedral(&["conflicts", "show", "1", "--json"]).expect(0).json();
        shown["data"]["conflict"]["state"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_undo_never_drops_what_came_after_the_answer() {
    for synced in [true, false] {
        let place = Place::build();
        let was = place.tips();
        place.cathedral(&["conflicts", "resolve", "1", "--take", "hub"]).expect(0);
        let left = place.tips().0;
        let after = commit(&place.lib, "n", "n\n");
        if synced {
            place.cathedral(&["sync"]).expect(0);
        }
        let before = place.tips();
        let ran = place.cathedral(&["conflicts", "undo", "1"]).expect(12);
        for part in ["branch main", &after[..10], &left[..10]] {
            assert!(ran.err.contains(part), "{synced}: {part}: {ran:?}");
        }
        assert_eq!((place.tips(), place.state().as_str()), (before, "settled"), "{synced}");
        place.cathedral(&["sync"]).expect(0);
        assert_eq!(place.tips(), (after.clone(), after), "{synced}: no undo waits for a later run");
        // People go back to what the answer left: now it can be taken back.
        let store = place.hub.join(".cathedral/git/lib.git");
        git(&store, &["update-ref", "refs/heads/main", &left]);
        git(&place.lib, &["reset", "-q", "--hard", &left]);
        place.cathedral(&["conflicts", "undo", "1"]).expect(0);
        assert_eq!((place.tips(), place.state().as_str()), (was, "open"), "{synced}");
    }
}

#[test]
fn nothing_is_settled_or_undone_that_one_side_does_not_have() {
    let place = Place::build();
    let was = place.tips();
    write(&place.lib.join("b"), "mine\n");
    let ran = place.cathedral(&["conflicts", "resolve", "1", "--take", "hub"]).expect(12);
    assert!(ran.err.contains("not committed: b"), "{ran:?}");
    assert_eq!((place.tips().1, place.state().as_str()), (was.1.clone(), "answered"));
    // And again, as long as the file stands there.
    let ran = place.cathedral(&["sync"]).expect(12);
    assert!(!ran.err.contains("being changed"), "nothing of it was begun: {ran:?}");
    assert_eq!(place.state(), "answered");
    git(&place.lib, &["checkout", "-q", "b"]);
    place.cathedral(&["sync"]).expect(0);
    let (hub, spoke) = place.tips();
    assert_eq!((hub.as_str(), place.state().as_str()), (spoke.as_str(), "settled"));
    assert_eq!(fs::read_to_string(place.lib.join("a")).unwrap(), "HUB\n");

    write(&place.lib.join("b"), "mine\n");
    let ran = place.cathedral(&["conflicts", "undo", "1"]).expect(12);
    assert!(ran.err.contains("not committed: b"), "{ran:?}");
    assert_eq!((place.tips(), place.state().as_str()), ((hub.clone(), spoke.clone()), "settled"));
    git(&place.lib, &["checkout", "-q", "b"]);
    place.cathedral(&["sync"]).expect(0);
    assert_eq!(place.tips(), (hub, spoke), "no undo waits for a later run");
    place.cathedral(&["conflicts", "undo", "1"]).expect(0);
    assert_eq!((place.tips(), place.state().as_str()), (was, "open"));
}

/// An answer that a limit stops says so, waits for the confirmation, and may be given again.
#[test]
fn an_answer_that_a_limit_stops_says_so_and_is_open_to_another() {
    let place = Place::build();
    let branches: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
    for branch in &branches {
        git(&place.lib, &["branch", branch]);
    }
    place.cathedral(&["sync"]).expect(11);
    for branch in &branches {
        git(&place.lib, &["branch", "-q", "-D", branch]);
    }
    let before = place.tips();
    for take in ["hub", "spoke"] {
        let ran = place.cathedral(&["conflicts", "resolve", "1", "--take", take]).expect(7);
        assert!(ran.err.contains("is recorded and not carried out: a limit stopped the run"), "{ran:?}");
        assert!(ran.err.contains("agreed refs are gone") && ran.err.contains("sync lib --yes hub"), "{ran:?}");
        assert_eq!((place.tips(), place.state()), (before.clone(), "answered".to_owned()));
        let shown = place.cathedral(&["conflicts", "show", "1"]).expect(0);
        assert!(shown.out.contains("which no run has carried out yet"), "{shown:?}");
    }
    place.cathedral(&["sync", "lib", "--yes", "hub"]).expect(0);
    assert_eq!(place.state(), "settled");
    assert_eq!(fs::read_to_string(place.lib.join("a")).unwrap(), "SPOKE\n");
    let (hub, spoke) = place.tips();
    assert_eq!(hub, spoke);
}

/// What no run could ever carry out is refused before anything is recorded, with what to take instead.
#[test]
fn an_answer_that_no_run_can_carry_out_is_not_recorded() {
    let place = Place::build();
    // Made on both sides before they first met: there is no base.
    git(&place.hub.join(".cathedral/git/lib.git"), &["branch", "x", "main"]);
    git(&place.lib, &["branch", "x", "main"]);
    place.cathedral(&["sync"]).expect(11);
    let text = place.hub.join("text");
    write(&text, "text\n");
    let by_file = ["conflicts", "resolve", "2", "--file", text.to_str().unwrap()];
    for (asked, code) in [(["conflicts", "resolve", "2", "--take", "base"], 7), (by_file, 2)] {
        for no_sync in [true, false] {
            let args: Vec<&str> = asked.into_iter().chain(no_sync.then_some("--no-sync")).collect();
            let ran = place.cathedral(&args).expect(code);
            assert!(ran.err.contains("take hub or spoke; nothing was recorded"), "{ran:?}");
            let shown = place.cathedral(&["conflicts", "show", "2", "--json"]).expect(0).json();
            assert_eq!(shown["data"]["conflict"]["state"], "open");
        }
    }
    place.cathedral(&["conflicts", "resolve", "1", "--take", "base", "--no-sync"]).expect(0);
    place.cathedral(&["conflicts", "resolve", "2", "--take", "hub"]).expect(0);
    place.cathedral(&["sync"]).expect(0);
}
