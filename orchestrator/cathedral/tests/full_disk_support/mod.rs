//! A disk that can be filled and emptied, and what a command that met it has said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::eyes::Lines;
use crate::support::world::World;
use crate::support::{Ran, command, plain};

const ROOM: u64 = 64 << 20;

#[track_caller]
fn resize(disk: &Path, bytes: u64) {
    let options = format!("remount,size={bytes}");
    let done = Command::new("mount").args(["-o", &options]).arg(disk).status().unwrap();
    assert!(done.success(), "{} cannot be resized to {bytes}", disk.display());
}

/// A folder on a disk of its own, or the limit that stands in for one.
pub enum Small {
    Mounted(PathBuf),
    /// KiB that a file may grow to.
    Limited(u64),
}

impl Small {
    /// Moves a folder to a small disk that is mounted in its place.
    pub fn at(place: &Path) -> Self {
        let aside = place.with_extension("aside");
        fs::rename(place, &aside).unwrap();
        fs::create_dir(place).unwrap();
        let options = format!("size={ROOM},mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).output();
        let is_mounted = mounted.as_ref().is_ok_and(|m| m.status.success());
        if !is_mounted {
            fs::remove_dir(place).unwrap();
            fs::rename(&aside, place).unwrap();
            eprintln!("not mounted, files are limited instead: {mounted:?}");
            return Self::Limited(u64::MAX);
        }
        let small = Self::Mounted(place.to_path_buf());
        let done = Command::new("cp").arg("-a").arg(aside.join(".")).arg(place).status().unwrap();
        assert!(done.success());
        fs::remove_dir_all(&aside).unwrap();
        small
    }

    /// Leaves so much room.
    pub fn fill(&mut self, free_kib: u64) {
        match self {
            Self::Mounted(at) => {
                let disk = rustix::fs::statvfs(&*at).unwrap();
                let used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
                resize(at, used + free_kib * 1024);
            }
            Self::Limited(limit) => *limit = free_kib.max(4),
        }
    }

    pub fn is_mounted(&self) -> bool {
        matches!(self, Self::Mounted(_))
    }

    /// Makes room again.
    pub fn free(&mut self) {
        match self {
            Self::Mounted(at) => resize(at, ROOM),
            Self::Limited(limit) => *limit = u64::MAX,
        }
    }

    pub fn run(&self, world: &World, args: &[&str]) -> Ran {
        match self {
            Self::Mounted(_) => world.cathedral(args),
            Self::Limited(kib) => {
                let mut command = Command::new("bash");
                plain(&mut command);
                let script = format!(r#"trap '' XFSZ; ulimit -f {kib}; exec "$@""#);
                let inner = crate::support::command(&world.hub(), args);
                command.args(["-c", &script, "bash"]).arg(inner.get_program()).args(inner.get_args());
                Ran::of(command.output().unwrap())
            }
        }
    }

    /// Where versions are looked for that are on no side: the newest snapshots, and what was put aside.
    pub fn kept(&self, world: &World) -> Vec<PathBuf> {
        let mut out = vec![world.state().join("content")];
        out.extend(fs::read_dir(world.state().join("kept")).into_iter().flatten().map(|e| e.unwrap().path()));
        let to = world.root.join("from-vault");
        let _ = fs::remove_dir_all(&to);
        let key = world.state().join("keys/hub.key").display().to_string();
        let to_text = to.display().to_string();
        for vault in ["file:hub/.cathedral/vault", "file:vault-copy"] {
            let args = ["restore", "latest", "--offline", "--from", vault, "--key-file", &key, "--to", &to_text];
            if command(&world.root, &args).output().unwrap().status.success() {
                out.push(to);
                break;
            }
        }
        out
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Self::Mounted(at) = self {
            let done = Command::new("umount").arg("-l").arg(&*at).status();
            assert!(std::thread::panicking() || done.is_ok_and(|d| d.success()), "{} stays mounted", at.display());
        }
    }
}

/// An ecosystem that has been synced, with changes on both sides of everything.
pub fn ready(root: &Path, settle: impl Fn(&World)) -> World {
    let world = World::build(root);
    settle(&world);
    world.cathedral(&["sync"]).expect(0);
    world.change();
    // Opens the log without adding to it: what its end has set aside is given back.
    world.cathedral(&["plan"]).expect(10);
    world
}

/// What belongs to a spoke among the lines of both sides.
fn of_spoke(name: &str, lines: &Lines) -> Lines {
    let prefixes: &[&str] = match name {
        "soul" => &["soul "],
        "mind" => &["mind ", "hub mind "],
        "ledger" => &["hub ledger ", "app ledger "],
        "codex" => &["hub codex ", "app codex "],
        _ => return Lines::new(),
    };
    lines.iter().filter(|l| prefixes.iter().any(|p| l.starts_with(p))).cloned().collect()
}

/// Checks what a failed run says of each spoke against what can be seen; gives how many it named.
#[track_caller]
pub fn told_states(world: &World, ran: &Ran, before: &Lines, after: &Lines, calm: &Lines) -> usize {
    let why = ran.err.lines().find(|l| l.starts_with("  why: ")).unwrap_or_default();
    let mut named = 0;
    for part in why.trim_start_matches("  why: ").split("; ") {
        let Some((state, names)) = part.split_once(": ") else { continue };
        let names = names.split(" (").next().unwrap_or_default();
        for name in names.split(", ") {
            let now = of_spoke(name, after);
            match state {
                "as it was" => {
                    assert_eq!(of_spoke(name, before), now, "{name} is not as it was, as is said: {ran:?}");
                }
                "new" => assert_eq!(of_spoke(name, calm), now, "{name} is not new, as is said: {ran:?}"),
                "unknown" => {}
                _ => continue,
            }
            named += 1;
        }
    }
    // Said to scripts as well.
    let document = ran.json();
    if let Some(spokes) = document["error"]["data"]["spokes"].as_array() {
        assert_eq!(spokes.len(), named, "{}: {document:#}", world.root.display());
        for spoke in spokes {
            assert!(matches!(spoke["state"].as_str(), Some("old" | "new" | "unknown")), "{spoke}");
        }
    }
    named
}
