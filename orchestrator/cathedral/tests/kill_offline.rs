//! A restore with nothing but a destination and a key, killed at every place it passes: the same command goes
//! on in the same folder and ends where one that nobody disturbed ends.
//!
//! Needs the feature `failpoints`.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::eyes::{self, Lines};
use support::world::{World, write};
use support::{Ran, command, copy, scratch};

/// A vault, its key, and nothing else of the hub.
struct Rest {
    place: tempfile::TempDir,
}

impl Rest {
    fn new() -> Self {
        let place = scratch();
        let world = World::build(&place.path().join("world"));
        world.cathedral(&["sync"]).expect(0);
        world.change();
        world.cathedral(&["sync"]).expect(11);
        copy(&world.vault_copy(), &place.path().join("vault"));
        copy(&world.state().join("keys/hub.key"), &place.path().join("hub.key"));
        fs::remove_dir_all(&world.root).unwrap();
        Self { place }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn command(&self, to: &Path) -> Command {
        let mut command = command(self.place.path(), &["restore", "latest", "--offline", "--from", "file:vault"]);
        command.args(["--key-file", "hub.key", "--to"]).arg(to);
        command.current_dir(self.place.path());
        command
    }

    fn restore(&self, to: &Path) -> Ran {
        Ran::of(self.command(to).output().unwrap())
    }

    /// The places an undisturbed restore passes, and what it leaves.
    fn calm(&self) -> (usize, Lines) {
        let to = self.at("calm");
        let ran = Ran::of(self.command(&to).env("CATHEDRAL_STOP_AT", "list").output().unwrap()).expect(0);
        (ran.err.lines().filter(|l| l.starts_with("failpoint ")).count(), everything(&to))
    }

    /// Runs until the nth place and kills there.
    fn killed_at(&self, to: &Path, n: usize) {
        let mut command = self.command(to);
        command.env("CATHEDRAL_STOP_AT", n.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let stopped = lines.map(Result::unwrap).any(|l| l.starts_with("failpoint ") && l.ends_with(" stop"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stopped, "it ended before place {n}");
    }
}

/// Content of files and trees, what git holds, and every name in the folder.
fn everything(to: &Path) -> Lines {
    let mut out = eyes::files(to);
    out.retain(|line| !line.contains(".git/"));
    for entry in fs::read_dir(to).unwrap().map(|e| e.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".git") {
            support::world::git(&entry, &["fsck", "--strict", "--no-dangling"]);
            let refs = support::world::git(&entry, &["for-each-ref", "--format=%(refname) %(objectname)"]);
            out.extend(refs.lines().map(|line| format!("{name} {line}")));
        }
        out.insert(format!("name {name}"));
    }
    out
}

#[test]
fn an_offline_restore_killed_at_every_point_goes_on() {
    let rest = Rest::new();
    let (points, expected) = rest.calm();
    assert!(points >= 10, "only {points} points");
    assert!(!expected.iter().any(|line| line.contains(".cathedral-")), "{expected:#?}");
    for n in 1..=points {
        let to = rest.at(&format!("at-{n}"));
        rest.killed_at(&to, n);
        // A second life may be cut off as well.
        if n % 3 == 0 && n < points / 2 {
            rest.killed_at(&to, 1);
        }
        let again = rest.restore(&to);
        assert_eq!(again.code, 0, "killed at {n}: {}\n{}", again.out, again.err);
        assert_eq!(eyes::difference(&expected, &everything(&to)), None, "killed at {n}");
        // Now the folder is full, and is not written to again.
        assert_eq!(rest.restore(&to).code, 7);
    }
}

/// Kills when so many entries stand in the folder, in the middle of whatever is being written then.
#[test]
fn an_offline_restore_killed_between_the_points_goes_on() {
    let rest = Rest::new();
    let (_, expected) = rest.calm();
    for entries in 0..8 {
        let to = rest.at(&format!("with-{entries}"));
        let mut command = rest.command(&to);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let there = || fs::read_dir(&to).map_or(0, Iterator::count);
        while child.try_wait().unwrap().is_none() && there() < entries {}
        let _ = child.kill();
        child.wait().unwrap();
        let again = rest.restore(&to);
        // It may have ended before the kill.
        assert!(matches!(again.code, 0 | 7), "{entries}: {}\n{}", again.out, again.err);
        assert_eq!(eyes::difference(&expected, &everything(&to)), None, "{entries} entries");
    }
}

#[test]
fn what_somebody_wrote_into_a_half_filled_folder_is_left_alone() {
    let rest = Rest::new();
    let (points, expected) = rest.calm();
    let to = rest.at("half");
    rest.killed_at(&to, points - 1);
    let edited = to.join("codex/edited.txt");
    assert!(edited.parent().unwrap().is_dir());
    write(&edited, "written after the crash\n");
    let refused = rest.restore(&to);
    assert_eq!(refused.code, 7, "{}", refused.err);
    assert!(refused.err.contains("codex"), "{}", refused.err);
    assert_eq!(fs::read_to_string(&edited).unwrap(), "written after the crash\n");
    fs::rename(to.join("codex"), rest.at("codex-edited")).unwrap();
    assert_eq!(rest.restore(&to).code, 0);
    assert_eq!(eyes::difference(&expected, &everything(&to)), None);

    // Another restore does not mix in, and a folder with anything else in it is refused as ever.
    let other = rest.at("other");
    rest.killed_at(&other, points - 1);
    let mut one = rest.command(&other);
    let ran = Ran::of(one.arg("codex").output().unwrap());
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.err.contains("is not finished"), "{}", ran.err);
}
