//! Git under the binary. It ends with the hub: whatever it was doing for a hub that is killed, nothing of it
//! goes on, and what it was to change stays as it was until a hub comes back.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::world::{World, commit, git, write};
use support::{command, scratch};

/// Longer than anything here takes, even where the machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Process {
    id: u32,
    group: u32,
    /// The command line, for messages.
    line: String,
}

/// The processes that work below a folder or name it or one of the `others`, and all of these groups.
fn working_at(root: &Path, others: &[&str], groups: &BTreeSet<u32>) -> Vec<Process> {
    let root = root.to_str().unwrap();
    let mut out = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut rest = rest.split(' ');
        let (state, group) = (rest.next().unwrap(), rest.nth(1).unwrap().parse().unwrap());
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let is_there = folder.starts_with(root)
            || line.contains(root)
            || others.iter().any(|o| line.contains(o))
            || groups.contains(&group);
        if state != "Z" && is_there && id != std::process::id() {
            out.push(Process { id, group, line });
        }
    }
    out
}

#[track_caller]
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills a hub with `kill -9` while git works for it, and sees that within seconds nothing of git is left.
/// A git that only looks at a remote works in no folder of the world: it names one of the `remotes`.
#[track_caller]
fn kill(world: &World, mut hub: Child, remotes: &[&str]) {
    let working = working_at(&world.root, remotes, &BTreeSet::new());
    let of_git: Vec<&Process> = working.iter().filter(|p| p.id != hub.id()).collect();
    assert!(of_git.iter().any(|p| p.line.starts_with("git ")), "git is not at work: {working:#?}");
    // A child that has not become git yet is still in the hub's group, in which the tests are, too.
    let own: BTreeSet<u32> = working.iter().filter(|p| p.id == hub.id()).map(|p| p.group).collect();
    let groups: BTreeSet<u32> = of_git.iter().map(|p| p.group).filter(|group| !own.contains(group)).collect();
    hub.kill().unwrap();
    hub.wait().unwrap();
    let begun = Instant::now();
    loop {
        let left = working_at(&world.root, remotes, &groups);
        if left.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "these outlive the hub: {left:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{} processes were gone {:?} after the hub", of_git.len(), begun.elapsed());
}

/// A world that was synced, in which a push to the mirrored spoke is due.
fn due(place: &tempfile::TempDir) -> (World, String, String) {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    let old = git(&world.mind(), &["rev-parse", "refs/heads/main"]);
    let new = commit(&world.kept_mind(), "main", "reviewed", &[("reviewed.md", "reviewed\n")]);
    (world, old, new)
}

/// Installs a hook at the spoke that says it has begun, and goes on only when it is let.
fn hook(world: &World, name: &str, before: &str) -> (PathBuf, PathBuf) {
    let (begun, go) = (world.root.join("begun"), world.root.join("go"));
    let path = world.mind().join("hooks").join(name);
    let wait = format!(
        "touch '{0}'; while [ -e '{0}' ] && ! [ -e '{1}' ]; do sleep 0.05; done",
        begun.display(),
        go.display()
    );
    write(&path, &format!("#!/bin/sh\n{before}\n{wait}\nexit 0\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (begun, go)
}

fn begin(world: &World) -> Child {
    command(&world.hub(), &["sync"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn killed_in_a_push(name: &str, before: &str) {
    let place = scratch();
    let (world, old, new) = due(&place);
    let (begun, go) = hook(&world, name, before);
    let hub = begin(&world);
    wait_until("the push reaches the hook", || begun.exists());
    kill(&world, hub, &[]);
    // Whoever still waited would go on now.
    fs::write(&go, "").unwrap();
    let refs = git(&world.mind(), &["for-each-ref"]);
    assert_eq!(git(&world.mind(), &["rev-parse", "refs/heads/main"]), old, "the spoke was changed");
    let locks = std::process::Command::new("find").arg(world.mind()).args(["-name", "*.lock"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&locks.stdout), "", "locks stay in the spoke");
    assert_eq!(git(&world.mind(), &["for-each-ref"]), refs);
    world.cathedral(&["sync"]).expect(0);
    assert_eq!(git(&world.mind(), &["rev-parse", "refs/heads/main"]), new);
}

#[test]
fn a_push_that_waits_for_a_hook_ends_with_the_hub() {
    killed_in_a_push("pre-receive", "");
}

#[test]
fn a_hook_that_does_not_want_to_end_is_ended() {
    killed_in_a_push("pre-receive", "trap '' TERM HUP INT");
}

#[test]
fn a_push_that_holds_the_spokes_locks_lets_go_of_them() {
    killed_in_a_push("reference-transaction", "[ \"$1\" = prepared ] || exit 0");
}

#[test]
fn a_read_from_a_server_that_does_not_answer_ends_with_the_hub() {
    let place = scratch();
    let world = World::build(place.path());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mind.git", server.local_addr().unwrap());
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("../spokes/mind.git", &url)).unwrap();
    let hub = begin(&world);
    let (mut connection, _) = server.accept().unwrap();
    // It has asked, and is told to wait.
    assert_ne!(connection.read(&mut [0; 1000]).unwrap(), 0);
    connection.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
    kill(&world, hub, &[&url]);
}

#[test]
fn nothing_of_git_is_left_when_a_command_has_ended() {
    let place = scratch();
    let world = World::build(place.path());
    let mut hub = begin(&world);
    let mut groups = BTreeSet::new();
    while hub.try_wait().unwrap().is_none() {
        let working = working_at(&world.root, &[], &BTreeSet::new());
        groups.extend(working.iter().filter(|p| p.line.starts_with("git ")).map(|p| p.group));
    }
    assert!(!groups.is_empty(), "git was never seen");
    wait_until("all groups are gone", || working_at(&world.root, &[], &groups).is_empty());
}
