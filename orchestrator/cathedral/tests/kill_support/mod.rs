//! Stops the binary at a place, kills it, looks, and runs it again.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, panic};

use crate::support::eyes::{self, Lines, Versions};
use crate::support::outputs::refused;
use crate::support::{Ran, command, scratch, world::World};

/// Which command is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The very first sync, which makes keys, state, log and vault.
    First,
    Sync,
    Snapshot,
    RestoreTo,
    RestoreInPlace,
}

impl Kind {
    fn is_sync(self) -> bool {
        matches!(self, Self::First | Self::Sync)
    }
}

/// Where it is killed.
#[derive(Clone, Copy, Debug)]
enum Killed {
    AtPoint(usize),
    /// After this many calls of reads and writes.
    AfterCalls {
        after: u64,
        with_children: bool,
    },
}

/// One life, or two lives with the second killed at the same place.
#[derive(Clone, Copy, Debug)]
struct Case {
    killed: Killed,
    twice: bool,
}

/// An ecosystem right before a command, and what the command leads to when nobody disturbs it.
pub struct Trial {
    kind: Kind,
    place: tempfile::TempDir,
    base: World,
    /// What every side held before.
    before: Versions,
    before_sides: Lines,
    /// What an undisturbed run leads to.
    after_sides: Lines,
    after_restored: Lines,
    conflicts: Lines,
    leaves_before: Vec<String>,
    leaves: Vec<String>,
    runs_before: usize,
    pub points: Vec<String>,
    code: i32,
}

impl Trial {
    /// Builds the ecosystem and runs the command once undisturbed on a copy.
    pub fn new(kind: Kind) -> Self {
        let place = scratch();
        let base = World::build(&place.path().join("base"));
        if kind != Kind::First {
            base.cathedral(&["sync"]).expect(0);
            base.change();
        }
        if matches!(kind, Kind::RestoreTo | Kind::RestoreInPlace) {
            base.cathedral(&["sync"]).expect(11);
            // What a restore in place must keep although no snapshot holds it.
            fs::write(base.app_files().join("unsaved.txt"), "only here\n").unwrap();
            fs::write(base.hub_files().join("leaves/05.md"), "rewritten, only here\n").unwrap();
            crate::support::world::sql(&base.app_db(), "insert into entry values (950, 3, 1, 'only here')");
        }
        let before = Versions::of(&base);
        let before_sides = eyes::sides(&base);
        let calm = base.copy(&place.path().join("calm"));
        let leaves_before = if kind == Kind::First { vec![] } else { leaf_kinds(&leaves(&base)) };
        let runs_before = runs(&base);
        let mut trial = Self {
            kind,
            place,
            base,
            before,
            before_sides,
            after_sides: Lines::new(),
            after_restored: Lines::new(),
            conflicts: Lines::new(),
            leaves_before,
            leaves: vec![],
            runs_before,
            points: vec![],
            code: 0,
        };
        let ran = Ran::of(trial.command(&calm).env("CATHEDRAL_STOP_AT", "list").output().unwrap());
        trial.code = if kind == Kind::Sync { 11 } else { 0 };
        let ran = ran.expect(trial.code);
        trial.points = ran.err.lines().filter(|l| l.starts_with("failpoint ")).map(str::to_owned).collect();
        trial.after_sides = eyes::sides(&calm);
        trial.after_restored = restored_files(&calm);
        trial.conflicts = eyes::open_conflicts(&calm);
        trial.leaves = leaf_kinds(&leaves(&calm)).split_off(trial.leaves_before.len());
        let changed = trial.before_sides != trial.after_sides;
        assert_eq!(changed, kind.is_sync() || kind == Kind::RestoreInPlace, "{kind:?}");
        let lost = trial.before.lost(&calm, &trial.kept(&calm));
        assert!(lost.is_empty(), "an undisturbed run lost {lost:#?}");
        if kind == Kind::RestoreInPlace {
            let older: Vec<PathBuf> = snapshots(&trial.base).iter().map(|id| trial.offline(&calm, id)).collect();
            is_displaced(&trial.before.lost(&calm, &older));
        }
        trial
    }

    fn command(&self, world: &World) -> Command {
        let oldest = || {
            let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
            list["data"]["snapshots"][0]["id"].as_str().unwrap().to_owned()
        };
        match self.kind {
            Kind::First | Kind::Sync => command(&world.hub(), &["sync"]),
            Kind::Snapshot => command(&world.hub(), &["snapshot", "create"]),
            Kind::RestoreTo => command(&world.hub(), &["restore", &oldest(), "--to", "../restored"]),
            Kind::RestoreInPlace => command(&world.hub(), &["restore", &oldest(), "--in-place", "--yes", "small"]),
        }
    }

    /// Kills at each place the undisturbed run passed; there must be at least so many.
    pub fn every_point(&self, at_least: usize) {
        assert!(self.points.len() >= at_least, "only {} points: {:#?}", self.points.len(), self.points);
        let cases = (1..=self.points.len()).map(|n| Case { killed: Killed::AtPoint(n), twice: n % 7 == 3 });
        self.all(cases.collect());
    }

    /// Kills after shares of an undisturbed run's calls, the same shares in every run of the test.
    pub fn between_points(&self, rounds: u64) {
        let total = self.effort();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let cases = (0..rounds).map(|round| {
            // xorshift
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // Every other time git's own processes outlive the hub for a moment, as they do in life.
            let killed = Killed::AfterCalls { after: total * (seed % 1_000) / 1_000, with_children: round % 2 == 0 };
            Case { killed, twice: round % 5 == 0 }
        });
        self.all(cases.collect());
    }

    /// How many calls of reads and writes an undisturbed run makes, as far as they can be counted.
    fn effort(&self) -> u64 {
        let world = self.base.copy(&self.place.path().join("effort"));
        let mut child = self.command(&world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            most = calls(&child).unwrap_or(0).max(most);
        }
        assert!(most > 100, "the run was over before it could be counted");
        most
    }

    /// Runs cases two at a time and reports all that went wrong.
    fn all(&self, cases: Vec<Case>) {
        let next = AtomicUsize::new(0);
        let wrong = Mutex::new(vec![]);
        let work = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                if let Err(cause) = panic::catch_unwind(panic::AssertUnwindSafe(|| self.one(*case))) {
                    let said = cause.downcast_ref::<String>().cloned();
                    let said = said.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                    wrong.lock().unwrap().push(format!("{}: {}", self.name(*case), said.unwrap_or_default()));
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} of {} lives ended wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
        println!("{:?}: killed at {} places, each ended as if undisturbed", self.kind, cases.len());
    }

    fn name(&self, case: Case) -> String {
        match case.killed {
            Killed::AtPoint(n) => format!("{:?} at {}", self.kind, self.points[n - 1]),
            Killed::AfterCalls { .. } => format!("{:?} {case:?}", self.kind),
        }
    }

    fn one(&self, case: Case) {
        let folder = self.place.path().join(format!("{case:?}").replace(|c: char| !c.is_alphanumeric(), "-"));
        let world = self.base.copy(&folder);
        self.life(&world, case.killed);
        self.look_after_kill(&world);
        let between = self.write_between(&world, case.killed);
        if case.twice {
            self.life(&world, case.killed);
            self.look_after_kill(&world);
        }
        let again = Ran::of(self.command(&world).output().unwrap());
        // A restore that had ended has filled its folder, and is refused to do it twice.
        let done = self.kind == Kind::RestoreTo && again.code == 7 && runs(&world) > self.runs_before;
        assert!(again.code == self.code || done, "the command again: {}\n{}", again.out, again.err);
        self.look_at_end(&world);
        if let Some((between, older)) = between {
            let kept = self.in_snapshots(&world);
            let lost = between.lost(&world, &kept);
            assert!(lost.is_empty(), "written between the lives, displaced, and in no snapshot: {lost:#?}");
            let held = |path: &PathBuf| older.iter().any(|id| path.ends_with(id));
            is_displaced(&between.lost(&world, &kept.into_iter().filter(held).collect::<Vec<_>>()));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Somebody writes between a kill and the command that goes on: returns what stands there then, and the
    /// snapshots that cannot hold it. None where a part is recorded as restored: what is written to that part
    /// stays, which is another end.
    fn write_between(&self, world: &World, killed: Killed) -> Option<(Versions, Vec<String>)> {
        let Killed::AtPoint(n) = killed else { return None };
        let is_begun = self.points[..n].iter().any(|p| p.ends_with(":restored"));
        if self.kind != Kind::RestoreInPlace || is_begun {
            return None;
        }
        for (tree, db) in [(world.app_files(), world.app_db()), (world.hub_files(), world.hub_db())] {
            fs::write(tree.join("between.txt"), format!("between, only in {}\n", tree.display())).unwrap();
            let note = format!("between, only in {}", db.display());
            crate::support::world::sql(&db, &format!("insert into entry values (951, 3, 1, '{note}')"));
        }
        Some((Versions::of(world), snapshots(world)))
    }

    /// Runs another command while the first one stands right before it changes a side.
    pub fn meanwhile(&self, args: &[&str], code: i32) {
        let world = self.base.copy(&self.place.path().join(format!("meanwhile-{}", args.join("-").replace('/', "-"))));
        let sealed = self.points.iter().position(|p| p.ends_with(":snapshot_sealed")).unwrap() + 1;
        let mut child = self.command(&world);
        let child = child.env("CATHEDRAL_STOP_AT", sealed.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !said.ends_with(" stop\n") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        if code == 0 {
            world.cathedral(args).expect(0);
        } else {
            refused(&world, args, code);
        }
        assert_eq!(eyes::difference(&self.before_sides, &eyes::sides(&world)), None);
        kill(&mut child, false, &said);
        let again = self.command(&world).output().unwrap();
        assert_eq!(again.status.code(), Some(self.code));
    }

    /// Returns a world in which the command was killed at the first point that begins so.
    pub fn killed_at(&self, point: &str) -> World {
        let world = self.base.copy(&self.place.path().join("killed"));
        // `failpoint N POINT`
        let is_it = |line: &String| line.split(' ').nth(2).is_some_and(|p| p.starts_with(point));
        let n = self.points.iter().position(is_it).unwrap_or_else(|| panic!("no {point}: {:#?}", self.points)) + 1;
        self.life(&world, Killed::AtPoint(n));
        world
    }

    /// Runs the command until it is killed (or, in a second life, has ended before).
    fn life(&self, world: &World, killed: Killed) {
        let mut command = self.command(world);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        if let Killed::AtPoint(n) = killed {
            command.env("CATHEDRAL_STOP_AT", n.to_string());
        }
        let mut child = command.spawn().unwrap();
        match killed {
            Killed::AtPoint(_) => {
                let mut said = String::new();
                let stderr = BufReader::new(child.stderr.take().unwrap());
                for line in stderr.lines() {
                    let line = line.unwrap();
                    said.push_str(&line);
                    said.push('\n');
                    if line.starts_with("failpoint ") && line.ends_with(" stop") {
                        break;
                    }
                }
                kill(&mut child, false, &said);
            }
            Killed::AfterCalls { after, with_children } => {
                while child.try_wait().unwrap().is_none() && calls(&child).is_some_and(|n| n < after) {}
                kill(&mut child, with_children, "");
            }
        }
    }

    /// What must hold at any instant: every side is sound, what has been changed is in a snapshot that can
    /// be restored without the hub, and nothing is lost.
    fn look_after_kill(&self, world: &World) {
        let now = eyes::sides(world);
        if self.kind == Kind::Snapshot || self.kind == Kind::RestoreTo {
            assert_eq!(eyes::difference(&self.before_sides, &now), None, "a side was changed");
        }
        let mut kept = self.kept_by_state(world);
        if self.kind.is_sync() && now != self.before_sides {
            kept.push(self.offline(world, "latest"));
        }
        if self.kind == Kind::RestoreInPlace && now != self.before_sides {
            // What is kept aside does not count: a snapshot comes before the first write.
            kept = self.own_snapshots(world).iter().map(|id| self.offline(world, id)).collect();
        }
        let lost = self.before.lost(world, &kept);
        assert!(lost.is_empty(), "lost after the kill: {lost:#?}");
    }

    /// A snapshot, restored with the vault's copy and the key only.
    fn offline(&self, world: &World, snapshot: &str) -> PathBuf {
        let to = world.root.join("offline").join(snapshot);
        let _ = fs::remove_dir_all(&to);
        let (key, to_text) = (world.state().join("keys/hub.key"), to.display().to_string());
        let ran = Ran::of(
            command(
                &world.root,
                &[
                    "restore",
                    snapshot,
                    "--offline",
                    "--from",
                    "file:vault-copy",
                    "--key-file",
                    &key.display().to_string(),
                    "--to",
                    &to_text,
                ],
            )
            .output()
            .unwrap(),
        );
        assert_eq!(ran.code, 0, "the snapshot before the changes cannot be restored: {}\n{}", ran.out, ran.err);
        to
    }

    fn look_at_end(&self, world: &World) {
        assert_eq!(eyes::difference(&self.after_sides, &eyes::sides(world)), None, "another end");
        assert_eq!(eyes::difference(&self.after_restored, &restored_files(world)), None, "restored");
        assert_eq!(eyes::difference(&self.conflicts, &eyes::open_conflicts(world)), None, "conflicts");
        world.cathedral(&["log", "audit"]).expect(0);
        let verified = world.cathedral(&["verify", "--level", "full"]).expect(0);
        let leaves = leaves(world);
        let ids: BTreeSet<&str> = leaves.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(ids.len(), leaves.len(), "a leaf twice: {leaves:#?}");
        let snapshots: BTreeSet<String> = snapshots(world).iter().map(|id| format!("snapshot:{id}")).collect();
        let sealed: BTreeSet<String> =
            leaves.iter().filter(|(kind, _)| kind == "snapshot").map(|(_, id)| id.clone()).collect();
        assert_eq!(snapshots, sealed, "snapshots and their leaves; {}", verified.out);
        // What a run leaves in the log it leaves there once, however often it was killed. A command that was
        // killed after its run had ended makes a run more.
        let more = runs(world) - self.runs_before;
        let mut expected = self.leaves_before.clone();
        let times = if self.kind.is_sync() { 1 } else { more };
        (0..times).for_each(|_| expected.extend_from_slice(&self.leaves));
        let mut found = leaf_kinds(&leaves);
        if self.kind == Kind::RestoreInPlace {
            // How many snapshots there are depends on how often something had changed. What must hold is
            // that what was displaced is in one of them: see `kept`.
            found.retain(|kind| kind != "snapshot");
            expected.retain(|kind| kind != "snapshot");
        }
        assert_eq!(found, expected, "leaves after {more} runs");
        let lost = self.before.lost(world, &self.kept(world));
        assert!(lost.is_empty(), "lost at the end: {lost:#?}");
    }

    /// Folders in which earlier versions are looked for after the command has ended: for a sync all
    /// snapshots, restored, beside what is put aside. What a restore in place displaced must be in a snapshot.
    fn kept(&self, world: &World) -> Vec<PathBuf> {
        if self.kind == Kind::RestoreInPlace {
            return self.in_snapshots(world);
        }
        let mut kept = self.kept_by_state(world);
        if self.kind.is_sync() {
            kept.extend(self.in_snapshots(world));
        }
        kept
    }

    /// The snapshots that were taken since the command was run first.
    fn own_snapshots(&self, world: &World) -> Vec<String> {
        let older = self.leaves_before.iter().filter(|kind| *kind == "snapshot").count();
        snapshots(world).split_off(older)
    }

    /// These, restored.
    fn in_snapshots(&self, world: &World) -> Vec<PathBuf> {
        let restored = self.own_snapshots(world).into_iter().map(|id| {
            let to = world.root.join("kept").join(&id);
            if !to.exists() {
                world.cathedral(&["restore", &id, "--to", &to.display().to_string()]).expect(0);
            }
            to
        });
        restored.collect()
    }

    /// What a restore in place has put aside.
    fn kept_by_state(&self, world: &World) -> Vec<PathBuf> {
        let versions = fs::read_dir(world.root.join("hub/.cathedral/kept")).into_iter().flatten();
        let mut out: Vec<PathBuf> = versions.map(|e| e.unwrap().path()).collect();
        out.push(world.state().join("content"));
        out.extend([world.hub_files(), world.app_files()].iter().flat_map(|tree| aside(tree)));
        out
    }
}

/// Rows and files are nowhere but in the snapshots that were left out: else their loss would not be seen.
#[track_caller]
fn is_displaced(lost: &[String]) {
    let is_in = |kind: &str| lost.iter().any(|line| line.starts_with(kind));
    assert!(is_in("row ") && is_in("file "), "the restore displaces nothing that only its own snapshots hold");
}

/// The ids of all snapshots, oldest first.
fn snapshots(world: &World) -> Vec<String> {
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let list = list["data"]["snapshots"].as_array().unwrap();
    list.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

/// What the file syncer keeps beside a tree.
fn aside(tree: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(tree.parent().unwrap()).into_iter().flatten().chain(fs::read_dir(tree).into_iter().flatten());
    entries
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".cathedral")))
        .collect()
}

/// How many runs there are; each must have ended.
fn runs(world: &World) -> usize {
    let document = world.cathedral(&["runs", "--json", "--limit", "1000"]).expect(0).json();
    let runs = document["data"]["runs"].as_array().unwrap();
    runs.iter().for_each(|run| assert_eq!(run["state"], "finished", "{run:#}"));
    runs.len()
}

/// What a restore to a folder has made. A database that was written twice, because the kill came before the
/// record, leaves a copy of its first form beside it: superfluous, but nothing that anybody had.
fn restored_files(world: &World) -> Lines {
    let files = eyes::files(&world.root.join("restored"));
    files.into_iter().filter(|line| !line.starts_with("ledger.db.before: ")).collect()
}

/// Kind and id of every leaf.
fn leaves(world: &World) -> Vec<(String, String)> {
    let document = world.cathedral(&["log", "show", "--json", "--since", "0", "--limit", "1000"]).expect(0).json();
    let entries = document["data"]["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let statement = &entry["statement"];
            let kind = statement["predicateType"].as_str().unwrap().split(':').nth(3).unwrap().to_owned();
            (kind, statement["predicate"]["id"].as_str().unwrap().to_owned())
        })
        .collect()
}

fn leaf_kinds(leaves: &[(String, String)]) -> Vec<String> {
    leaves.iter().map(|(kind, _)| kind.clone()).collect()
}

/// How many calls of reads and writes a process has made; none when it is gone.
fn calls(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/io", child.id())).ok()?;
    let number = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name))?;
        line.split(' ').nth(1)?.parse::<u64>().ok()
    };
    Some(number("syscr:")? + number("syscw:")?)
}

/// Kills, and makes sure that it was this that ended the process (or that it had ended by itself).
fn kill(child: &mut Child, with_children: bool, said: &str) {
    if with_children {
        let group = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let ended = child.wait().unwrap();
    let mut rest = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut rest);
    }
    let allowed = ended.signal() == Some(9) || matches!(ended.code(), Some(0 | 11));
    assert!(allowed, "ended with {ended} before it was killed: {said}{rest}");
}
