//! Names, types, rights and sizes that break syncers.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::Instant;

use cathedral_model::plan::{Answer, Choice};
use cathedral_model::ports::{Cause, PortError, Syncer};
use cathedral_syncers::files::Hook;

use crate::common::*;

fn warnings(pair: &Pair) -> Vec<String> {
    wait(pair.syncer.observe(&pair.declared)).unwrap().warnings
}

#[test]
fn hostile_names_are_carried_and_shown_safely() {
    let mut pair = Pair::new();
    let long = "x".repeat(255);
    let names: [&[u8]; 9] = [
        b"new\nline",
        b"\xff\xfe not utf-8",
        "right\u{202e}to left".as_bytes(),
        long.as_bytes(),
        b"back\\slash \\x41",
        b"-rf",
        b" lead and trail ",
        b"CON",
        b"a:b.",
    ];
    for (i, name) in names.iter().enumerate() {
        fs::write(pair.hub.join(OsStr::from_bytes(name)), format!("{i}\0")).unwrap();
    }
    for twin in ["Twin", "twin", "caf\u{e9}", "cafe\u{301}"] {
        write(&pair.spoke, twin, twin);
    }
    let plan = pair.agree();
    assert_eq!(plan.actions.len(), 13);
    for action in &plan.actions {
        assert!(action.target.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{:?}", action.target);
    }
    // They stay in dispute, are answered and removed under the same names.
    for name in names {
        fs::write(pair.hub.join(OsStr::from_bytes(name)), "hub\0").unwrap();
        fs::write(pair.spoke.join(OsStr::from_bytes(name)), "spoke\0").unwrap();
    }
    let (plan, _) = pair.sync();
    assert_eq!(plan.conflicts.len(), 9);
    for draft in plan.conflicts {
        pair.answer(&draft, Answer::Take(Choice::Spoke));
    }
    pair.agree();
    for name in &names[..2] {
        fs::remove_file(pair.spoke.join(OsStr::from_bytes(name))).unwrap();
    }
    pair.agree();
    assert!(!pair.hub.join("new\nline").exists());
}

#[test]
fn paths_deeper_than_the_system_takes_in_one_call_are_synced() {
    let mut pair = Pair::new();
    let name = "d".repeat(200);
    // 40 levels of 200 bytes: twice the limit. Made by moving into place, as no call takes the whole path.
    let mut inner = pair.dir.path().join("0");
    write(&inner, "file", "deep\n");
    for level in 1..40 {
        let outer = pair.dir.path().join(level.to_string());
        fs::create_dir(&outer).unwrap();
        fs::rename(&inner, outer.join(&name)).unwrap();
        inner = outer;
    }
    fs::rename(&inner, pair.hub.join("deep")).unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((plan.actions.len(), applied.skipped), (41, vec![]));
    assert_eq!((applied.hub.digest, applied.hub.items), (applied.spoke.digest, 41));
    let (plan, applied) = pair.sync();
    assert_eq!((plan.actions.len(), applied.skipped), (0, vec![]));
    // The deletion of it all, too.
    fs::rename(pair.hub.join("deep"), pair.dir.path().join("gone")).unwrap();
    write(&pair.hub, "not empty", "x");
    let (_, applied) = pair.sync();
    assert_eq!((applied.skipped, applied.spoke.items), (vec![], 1));
}

#[test]
fn links_out_of_the_tree_are_carried_and_never_followed() {
    let mut pair = Pair::new();
    let outside = pair.dir.path().join("outside");
    write(&outside, "secret", "secret");
    symlink(&outside, pair.hub.join("door")).unwrap();
    symlink("/etc/passwd", pair.hub.join("file")).unwrap();
    symlink(".", pair.hub.join("loop")).unwrap();
    symlink("nowhere", pair.hub.join("dangling")).unwrap();
    let plan = pair.agree();
    assert_eq!(plan.actions.len(), 4);
    fs::remove_file(pair.spoke.join("door")).unwrap();
    fs::create_dir(pair.spoke.join("door")).unwrap();
    write(&pair.spoke, "door/new", "new");
    pair.agree();
    assert_eq!(listing(&outside).len(), 1, "nothing was written through the link");
    pair.detail().preserve_symlinks = false;
    let (plan, _) = pair.sync();
    assert_eq!(plan.actions.len(), 0);
    assert!(warnings(&pair).iter().any(|w| w.contains("3 pipes")), "{:?}", warnings(&pair));
}

#[test]
fn foreign_formats_and_special_files_are_left_alone() {
    let mut pair = Pair::new();
    write(&pair.hub, "repo/.git/HEAD", "ref: refs/heads/main\n");
    write(&pair.hub, "repo/file", "f");
    write(&pair.hub, "db/live.db", "SQLite format 3\0 and more");
    write(&pair.hub, "db/live.db-wal", "wal");
    write(&pair.hub, "db/still.db", "SQLite format 3\0 at rest");
    write(&pair.hub, "db/notes-wal", "no database");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        pair.hub.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (_, applied) = pair.sync();
    assert_eq!(applied.skipped, []);
    let mut there: Vec<PathBuf> = listing(&pair.spoke).into_keys().collect();
    there.sort();
    assert_eq!(there, ["db", "db/notes-wal", "db/still.db", "repo", "repo/file"].map(PathBuf::from));
    let told = warnings(&pair).join("\n");
    for part in ["repo/.git", "connected_repositories", "db/live.db", "connected_databases", "1 pipes"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    // They do not go with their directory, and nothing of theirs is deleted elsewhere.
    write(&pair.spoke, "other", "o");
    fs::remove_dir_all(pair.spoke.join("db")).unwrap();
    fs::remove_dir_all(pair.spoke.join("repo")).unwrap();
    pair.sync();
    assert!(pair.hub.join("db/live.db").exists() && pair.hub.join("repo/.git/HEAD").exists());
    assert!(!pair.hub.join("repo/file").exists() && !pair.spoke.join("db").exists());
    // A synced file whose place a pipe takes is not deleted on the other side.
    write(&pair.spoke, "pipe", "a file here");
    let (plan, _) = pair.sync();
    assert_eq!(plan.actions.iter().filter(|action| action.target == "pipe").count(), 0);
}

#[test]
fn what_cannot_be_read_is_neither_deleted_nor_changed_anywhere() {
    let mut pair = Pair::new();
    for name in ["closed/a", "closed/b", "file", "rest"] {
        write(&pair.hub, name, name);
    }
    pair.agree();
    write(&pair.hub, "rest", "goes on");
    write(&pair.hub, "file", "edited, but not readable now");
    write(&pair.spoke, "closed/a", "edited on the other side");
    let denied = || {
        Hook::new(|call, path| match (call, path) {
            ("read", b"closed" | b"file") => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            _ => Ok(()),
        })
    };
    // Only the hub's side is denied: its digests are not known, the spoke's are.
    let syncer = pair.hooked(denied());
    let seen = wait(syncer.observe(&pair.declared)).unwrap();
    assert!(
        seen.warnings.iter().any(|w| w.starts_with("hub: closed: the directory cannot be read")),
        "{:?}",
        seen.warnings
    );
    let plan = wait(syncer.plan(&pair.declared, &pair.context())).unwrap();
    assert_eq!(plan.actions.iter().map(|a| a.target.as_str()).collect::<Vec<_>>(), ["rest"]);
    let applied = pair.apply_with(&syncer, &plan).unwrap();
    assert_eq!(applied.skipped, []);
    assert_eq!((read(&pair.spoke, "rest"), read(&pair.hub, "closed/a")), ("goes on".into(), "closed/a".into()));
    // Readable again, everything travels as it should have.
    pair.agree();
    assert_eq!((read(&pair.hub, "closed/a"), read(&pair.spoke, "file").len()), ("edited on the other side".into(), 28));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_left_for_later() {
    let mut pair = Pair::new();
    write(&pair.hub, "busy", "0");
    write(&pair.hub, "calm", "0");
    pair.agree();
    write(&pair.hub, "calm", "1");
    let busy = pair.hub.join("busy");
    write(&pair.hub, "busy", "1");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n: u64 = 2;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&busy, "x".repeat(1 + (n % 100_000) as usize)).unwrap();
                n += 7919;
            }
        });
        for _ in 0..3 {
            pair.run += 1;
            let plan = pair.plan();
            pair.apply(&plan);
            // Whatever arrived is one of the contents, whole.
            let there = read(&pair.spoke, "busy");
            assert!(["0", "1"].contains(&there.as_str()) || there.bytes().all(|b| b == b'x'), "{}", there.len());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(read(&pair.spoke, "calm"), "1");
    pair.agree();
}

#[test]
fn times_decide_nothing() {
    let mut pair = Pair::new();
    write(&pair.hub, "same size", "aaaa\0");
    write(&pair.hub, "future", "aaaa\0");
    pair.agree();
    let at = |name: &str, seconds: i64| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, pair.spoke.join(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    };
    // Other content of the same size and time is found; a time alone is no change.
    let before = fs::metadata(pair.spoke.join("same size")).unwrap().mtime();
    write(&pair.spoke, "same size", "bbbb\0");
    at("same size", before);
    at("future", 9_000_000_000);
    let plan = pair.agree();
    assert_eq!(plan.actions.iter().map(|a| a.target.as_str()).collect::<Vec<_>>(), ["same size"]);
    assert_eq!(read(&pair.hub, "same size"), "bbbb\0");
    // An older edit wins over nothing, a newer one neither: they are asked about.
    write(&pair.hub, "future", "hub\0");
    write(&pair.spoke, "future", "spoke\0");
    let at = |seconds| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, pair.hub.join("future"), &times, rustix::fs::AtFlags::empty()).unwrap();
    };
    at(-5);
    assert_eq!(pair.sync().0.conflicts.len(), 1);
}

#[test]
fn rights_are_merged_and_special_bits_do_not_travel() {
    let mut pair = Pair::new();
    write(&pair.hub, "script", "#!/bin/sh\n");
    write(&pair.hub, "root", "x\0");
    write(&pair.hub, "closed/in", "x\0");
    pair.agree();
    chmod(&pair.hub, "script", 0o755);
    chmod(&pair.spoke, "script", 0o600);
    chmod(&pair.hub, "root", 0o4755);
    chmod(&pair.hub, "closed", 0o500);
    pair.sync();
    let mode = |root: &std::path::Path, name: &str| fs::metadata(root.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode(&pair.hub, "script"), mode(&pair.spoke, "script")), (0o711, 0o711));
    assert_eq!((mode(&pair.hub, "root"), mode(&pair.spoke, "root")), (0o4755, 0o755));
    assert_eq!(mode(&pair.spoke, "closed"), 0o500);
    pair.detail().preserve_mode = false;
    chmod(&pair.spoke, "script", 0o644);
    write(&pair.hub, "script", "#!/bin/sh\necho\n");
    pair.sync();
    assert_eq!((mode(&pair.spoke, "script"), mode(&pair.hub, "script")), (0o644, 0o711));
    let before = (traces(&pair.hub), traces(&pair.spoke));
    pair.sync();
    assert_eq!((traces(&pair.hub), traces(&pair.spoke)), before);
}

#[test]
fn a_lost_base_or_state_is_careful() {
    let mut pair = Pair::new();
    for i in 0..10 {
        write(&pair.hub, &format!("{i}"), &format!("{i}\0"));
    }
    pair.agree();
    fs::remove_file(pair.hub.join("0")).unwrap();
    write(&pair.spoke, "1", "edited\0");
    pair.base = Some(cathedral_model::ids::Digest([7; 32]));
    let plan = pair.plan();
    assert_eq!(plan.guards.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["base_lost"]);
    assert!(plan.actions.iter().all(|a| a.action == "create"), "{:?}", plan.actions);
    pair.base = None;
    fs::remove_dir_all(&pair.state).unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(plan.conflicts.iter().map(|c| c.conflict_kind.as_str()).collect::<Vec<_>>(), ["insert/insert"]);
    assert_eq!(
        (read(&pair.hub, "0"), read(&pair.hub, "1"), read(&pair.spoke, "1")),
        ("0\0".into(), "1\0".into(), "edited\0".into())
    );
}

#[test]
fn wrong_roots_are_told() {
    let mut pair = Pair::new();
    let cause = |pair: &Pair| wait(pair.syncer.observe(&pair.declared)).map_err(|e: PortError| e.cause());
    let inside = pair.hub.join("inside");
    fs::create_dir(&inside).unwrap();
    pair.detail().spoke = inside;
    assert_eq!(cause(&pair).unwrap_err(), Cause::Invalid);
    let file = pair.dir.path().join("file");
    fs::write(&file, "x").unwrap();
    pair.detail().spoke = file;
    assert!(cause(&pair).is_err());
    // The first sync makes a missing side.
    let fresh = pair.dir.path().join("fresh/place");
    pair.detail().spoke = fresh.clone();
    assert_eq!(warnings(&pair), Vec::<String>::new(), "nothing is left out by that");
    pair.sync();
    assert!(fresh.join("inside").is_dir());
    // A full or read-only side is told step by step and loses nothing.
    write(&pair.hub, "new", "new");
    let hook = Hook::new(|call, _| match call {
        "stage" => Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)),
        _ => Ok(()),
    });
    pair.run += 1;
    let plan = pair.plan();
    let applied = pair.apply_with(&pair.hooked(hook), &plan).unwrap();
    assert_eq!(applied.skipped.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["new"]);
    pair.sync();
    assert_eq!(fs::read_to_string(fresh.join("new")).unwrap(), "new");
}

#[test]
fn the_state_folder_inside_a_tree_is_no_part_of_it() {
    let mut pair = Pair::new();
    pair.state = pair.hub.join(".cathedral");
    pair.syncer = pair.hooked(Hook::default());
    pair.syncer = cathedral_syncers::files::FilesSyncer::new(pair.hub.join(".cathedral"), pair.content.clone());
    write(&pair.hub, "a", "a");
    fs::create_dir(pair.hub.join(".cathedral")).unwrap();
    pair.sync();
    pair.sync();
    assert_eq!(listing(&pair.spoke).into_keys().collect::<Vec<_>>(), [PathBuf::from("a")]);
}

#[test]
fn ten_thousand_files_are_synced_and_then_left_alone() {
    let mut pair = Pair::new();
    for i in 0..10_000 {
        let path = format!("{:02}/{:02}/file {i}.txt", i % 50, i % 7);
        write(&pair.hub, &path, &format!("content of file {i}\n").repeat(1 + i % 40));
    }
    let start = Instant::now();
    let (plan, applied) = pair.sync();
    let first = start.elapsed();
    assert_eq!((plan.actions.len(), applied.changes_out, applied.skipped.len()), (10_400, 10_400, 0));
    assert_eq!(applied.hub.digest, applied.spoke.digest);
    pair.sync();
    let start = Instant::now();
    let seen = wait(pair.syncer.observe(&pair.declared)).unwrap();
    let observe = start.elapsed();
    assert_eq!(seen.hub, applied.hub);
    let start = Instant::now();
    let (plan, _) = pair.sync();
    assert_eq!(plan.actions.len(), 0);
    println!("first sync {first:?}, observe both sides {observe:?}, sync without changes {:?}", start.elapsed());
    for i in 0..100 {
        write(&pair.spoke, &format!("{:02}/{:02}/file {i}.txt", i % 50, i % 7), "edited\n");
    }
    let (plan, applied) = pair.sync();
    assert_eq!((plan.actions.len(), applied.changes_in, applied.skipped.len()), (100, 100, 0));
    assert_eq!(pair.versions().len(), 100);
}
