//! What a snapshot holds, and in which order snapshots stand: while a side is away, while somebody keeps
//! writing, while a clock is wrong.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use cathedral_backup::{LocalDestination, LocalVault};
use cathedral_model::ids::{DestinationName, SnapshotId};
use cathedral_model::ports::env::Task;
use cathedral_model::ports::{Destination, Env, Vault};
use cathedral_model::snapshot::SnapshotMeta;
use cathedral_model::time::Timestamp;

use support::eyes::{self, sides};
use support::outputs;
use support::scratch;
use support::world::{World, commit, git, sql, write};

fn ready(place: &tempfile::TempDir) -> World {
    let world = World::build(place.path());
    world.cathedral(&["sync"]).expect(0);
    world
}

/// The ids of all snapshots, in the order of the list.
fn ids(world: &World) -> Vec<String> {
    let list = outputs::json(world, "snapshots", &["snapshot", "list"], 0);
    list["data"]["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

/// Whether some snapshot gives back a text at a place.
fn is_held(world: &World, place: &str, text: &str) -> bool {
    ids(world).iter().any(|id| world.cathedral(&["snapshot", "cat", id, place]).out.contains(text))
}

/// A place that cannot be read: what stood there is aside, and something of another kind is in its place.
fn take_away(place: &Path) {
    fs::rename(place, place.with_extension("aside")).unwrap();
    fs::write(place, "this is neither a folder nor a database").unwrap();
}

fn bring_back(place: &Path) {
    fs::remove_file(place).unwrap();
    fs::rename(place.with_extension("aside"), place).unwrap();
}

fn part<'a>(snapshot: &'a serde_json::Value, spoke: &str, side: &str) -> &'a serde_json::Value {
    let parts = snapshot["data"]["snapshot"]["parts"].as_array().unwrap();
    parts.iter().find(|p| p["spoke"] == spoke && p["side"] == side).unwrap()
}

#[test]
fn a_side_that_can_be_read_is_kept_while_the_other_one_cannot() {
    let place = scratch();
    let world = ready(&place);
    let first = ids(&world).pop().unwrap();
    let note = |text: &str| format!("update entry set note = '{text}' where id = 7");
    for away in [world.app_files(), world.app_db()] {
        take_away(&away);
    }
    write(&world.hub_files().join("f.txt"), "the version between\n");
    sql(&world.hub_db(), &note("the row between"));
    world.cathedral(&["sync"]).expect(12);
    let before = ids(&world);
    assert_ne!(before.last(), Some(&first), "the sync took no snapshot");
    world.cathedral(&["sync"]).expect(12);
    assert_eq!(ids(&world), before, "nothing has changed since");

    let shown = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    for spoke in ["codex", "ledger"] {
        let carried = &part(&shown, spoke, "spoke")["carried"];
        assert_eq!(carried["snapshot"], *first, "{carried:#}");
        assert!(
            carried["read_at"].is_string() && carried["why"].as_str().is_some_and(|w| !w.is_empty()),
            "{carried:#}"
        );
        assert!(part(&shown, spoke, "hub")["carried"].is_null());
    }
    let text = world.cathedral(&["snapshot", "show", "latest"]).expect(0).out;
    assert!(text.contains("codex@spoke could not be read for this snapshot"), "{text}");
    // Before and after a restore.
    let to = place.path().join("back");
    let args = ["restore", "latest", "codex@spoke", "ledger@spoke", "--to", to.to_str().unwrap()];
    let told = world.cathedral(&args).expect(0);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [&told.err, &told.out] {
        assert_eq!(words(text).matches("codex@spoke could not be read for this snapshot").count(), 1, "{told:?}");
    }
    assert!(to.join("codex@spoke/motto.txt").exists());
    let args = ["restore", "latest", "ledger@spoke", "--to", to.to_str().unwrap(), "--dry-run"];
    let planned = outputs::json(&world, "restore", &args, 10);
    assert_eq!(planned["data"]["older"].as_array().map(Vec::len), Some(1), "{planned:#}");
    let unmarked = world.cathedral(&["restore", "latest", "codex", "--to", "../unmarked"]).expect(0);
    assert!(!unmarked.err.contains("could not be read"), "{}", unmarked.err);

    write(&world.hub_files().join("f.txt"), "the last version\n");
    sql(&world.hub_db(), &note("the last row"));
    for away in [world.app_files(), world.app_db()] {
        bring_back(&away);
    }
    world.cathedral(&["sync"]).expect(0);
    assert_eq!(fs::read_to_string(world.app_files().join("f.txt")).unwrap(), "the last version\n");
    assert!(is_held(&world, "codex/f.txt", "the version between"));
    assert!(is_held(&world, "ledger/entry", "the row between"));
    let shown = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    assert!(part(&shown, "codex", "spoke")["carried"].is_null(), "{shown:#}");
}

#[test]
fn a_refused_sync_that_is_repeated_takes_no_further_snapshot() {
    let place = scratch();
    let world = ready(&place);
    fs::rename(world.app_db(), world.app_db().with_extension("aside")).unwrap();
    world.cathedral(&["sync"]).expect(7);
    let before = ids(&world);
    let again = outputs::json(&world, "sync", &["sync"], 7);
    assert_eq!(ids(&world), before, "nothing has changed since");
    assert_eq!(again["data"]["snapshot"], *before.last().unwrap(), "{again:#}");

    // Not even a leaf: the journal says that it was tried.
    let leaves = |world: &World| outputs::json(world, "log-head", &["log", "head"], 0)["data"]["size"].clone();
    let size = leaves(&world);
    world.cathedral(&["sync"]).expect(7);
    assert_eq!(leaves(&world), size);
    // While another one cannot be reached as well, its failure is told each time, and nothing else is kept.
    fs::rename(world.mind(), world.mind().with_extension("away")).unwrap();
    world.cathedral(&["sync"]).expect(12);
    world.cathedral(&["sync"]).expect(12);
    assert_eq!(ids(&world), before, "nothing has changed that could be read");
    fs::rename(world.mind().with_extension("away"), world.mind()).unwrap();

    write(&world.hub_files().join("f.txt"), "new meanwhile\n");
    world.cathedral(&["sync"]).expect(7);
    assert_eq!(ids(&world).len(), before.len() + 1, "what has changed is in a snapshot");
    world.cathedral(&["sync"]).expect(7);
    assert_eq!(ids(&world).len(), before.len() + 1, "what has changed is in a snapshot of its own");
    world.cathedral(&["snapshot", "create"]).expect(0);
    assert_eq!(ids(&world).len(), before.len() + 2, "who asks for a snapshot gets one");
}

#[test]
fn a_snapshot_command_keeps_what_can_be_read() {
    let place = scratch();
    let world = ready(&place);
    take_away(&world.hub_files());
    write(&world.app_files().join("f.txt"), "of the app\n");
    let taken = outputs::json(&world, "snapshot", &["snapshot", "create"], 12);
    assert!(taken["warnings"].to_string().contains("codex could not be read for this snapshot"), "{taken:#}");
    assert!(is_held(&world, "codex@spoke/f.txt", "of the app"));
    bring_back(&world.hub_files());
    world.cathedral(&["sync"]).expect(0);
}

#[test]
fn a_snapshot_that_is_well_taken_succeeds_whatever_conflicts_wait() {
    let place = scratch();
    let world = ready(&place);
    write(&world.hub_files().join("motto.txt"), "given away\n");
    write(&world.app_files().join("motto.txt"), "given again\n");
    world.cathedral(&["sync"]).expect(11);
    let taken = outputs::json(&world, "snapshot", &["snapshot", "create"], 0);
    assert_eq!(taken["data"]["result"], "succeeded");
    let run = taken["data"]["run"].to_string();
    let shown = world.cathedral(&["run", "show", &run, "--json"]).expect(0).json();
    assert!(shown.to_string().contains("\"result\":\"succeeded\""), "{shown:#}");
    world.cathedral(&["sync", "--only", "snapshot"]).expect(0);
    world.cathedral(&["sync"]).expect(11);
}

/// What both sides agreed on decides who deleted and who edited: it holds where a restore changes nothing.
#[test]
fn a_restore_of_what_is_there_leaves_conflicts_open() {
    let place = scratch();
    let world = ready(&place);
    fs::remove_file(world.hub_files().join("obsolete.txt")).unwrap();
    write(&world.app_files().join("obsolete.txt"), "edited there\n");
    sql(&world.hub_db(), "delete from entry where id = 7");
    sql(&world.app_db(), "update entry set note = 'edited there' where id = 7");
    world.cathedral(&["sync"]).expect(11);
    let (open, before) = (eyes::open_conflicts(&world), sides(&world));
    assert_eq!(open.len(), 2, "{open:?}");
    for parts in [&["codex"][..], &["codex", "codex@spoke", "ledger", "ledger@spoke"]] {
        let args = [&["restore", "latest", "--in-place", "--yes", "small"][..], parts].concat();
        world.cathedral(&args).expect(0);
        world.cathedral(&["sync"]).expect(11);
        assert_eq!(eyes::difference(&before, &sides(&world)), None, "somebody has decided");
        assert_eq!(eyes::open_conflicts(&world), open);
    }
    // What is brought back from before the dispute is compared afresh.
    let first = ids(&world).remove(0);
    let args = ["restore", &first, "codex", "codex@spoke", "--in-place", "--yes", "small"];
    world.cathedral(&args).expect(0);
    world.cathedral(&["sync"]).expect(11);
    assert_eq!(eyes::open_conflicts(&world).len(), 1);
}

/// Somebody who writes all the time, until told to stop; gives how often.
fn busy(stop: &AtomicBool, mut write: impl FnMut(u64)) -> u64 {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) && n < 20_000 {
        write(n);
        n += 1;
        // The pace of the writer; nothing waits for it.
        std::thread::park_timeout(Duration::from_millis(10));
    }
    n
}

#[test]
fn what_is_quiet_goes_through_beside_what_keeps_changing() {
    let place = scratch();
    let world = ready(&place);
    let (stop, begun) = (AtomicBool::new(false), Barrier::new(4));
    let (codex, ledger, mind) = (world.app_files().join("busy.log"), world.app_db(), world.mind());
    write(&codex, "begin\n");
    write(&world.app_files().join("quiet.txt"), "a quiet file\n");
    write(&world.hub_files().join("other.txt"), "another one\n");
    sql(&world.hub_db(), "insert into entry values (901, 1, 5, 'a quiet row')");
    let quiet = commit(&mind, "main", "a quiet branch", &[("quiet.md", "quiet\n")]);
    let told = std::thread::scope(|scope| {
        let files = scope.spawn(|| {
            begun.wait();
            busy(&stop, |n| {
                use std::io::Write as _;
                writeln!(fs::OpenOptions::new().append(true).open(&codex).unwrap(), "line {n}").unwrap();
            })
        });
        let rows = scope.spawn(|| {
            let db = rusqlite::Connection::open(&ledger).unwrap();
            db.busy_timeout(Duration::from_secs(60)).unwrap();
            begun.wait();
            busy(&stop, |n| {
                db.execute("update entry set note = ?1 where id = 33", [n.to_string()]).unwrap();
            })
        });
        let tips = scope.spawn(|| {
            begun.wait();
            busy(&stop, |n| drop(commit(&mind, "both", &format!("commit {n}"), &[("busy.md", &n.to_string())])))
        });
        begun.wait();
        let told = world.cathedral(&["sync", "--json"]);
        stop.store(true, Ordering::Relaxed);
        for writer in [files, rows, tips] {
            assert!(writer.join().unwrap() > 0);
        }
        told
    });
    assert!(matches!(told.code, 0 | 12), "{told:?}");
    for spoke in told.json()["data"]["spokes"].as_array().unwrap() {
        assert!(!spoke["note"].to_string().contains("while it was snapshotted"), "{spoke:#}");
    }
    assert_eq!(fs::read_to_string(world.hub_files().join("quiet.txt")).unwrap(), "a quiet file\n");
    assert_eq!(fs::read_to_string(world.app_files().join("other.txt")).unwrap(), "another one\n");
    let row = "select count(*) from entry where id = 901";
    let found: i64 = rusqlite::Connection::open(world.app_db()).unwrap().query_row(row, [], |r| r.get(0)).unwrap();
    assert_eq!(found, 1, "the quiet row did not arrive");
    assert_eq!(git(&world.kept_mind(), &["rev-parse", "refs/heads/main"]), quiet);
    assert!(is_held(&world, "codex@spoke/busy.log", "begin"));
    // What was busy arrives once it is quiet.
    world.cathedral(&["sync"]).expect(0);
    assert_eq!(fs::read(world.hub_files().join("busy.log")).unwrap(), fs::read(&codex).unwrap());
    assert_eq!(eyes::rows(&world.hub_db()), eyes::rows(&world.app_db()));
    assert_eq!(git(&world.kept_mind(), &["rev-parse", "both"]), git(&mind, &["rev-parse", "both"]));
}

/// A clock that was ahead, once.
struct Ahead;

const AHEAD: Timestamp = Timestamp(4_000_000_000_000_000);

impl Env for Ahead {
    fn now(&self) -> Timestamp {
        AHEAD
    }

    fn entropy(&self, into: &mut [u8]) {
        into.fill(7);
    }

    fn spawn(&self, _: Task) {}

    fn sleep(&self, _: u64) -> Task {
        Box::pin(std::future::ready(()))
    }
}

fn take_with_the_clock_ahead(world: &World) -> SnapshotId {
    let at = |name: &str, place: PathBuf| -> Arc<dyn Destination> {
        Arc::new(LocalDestination::new(DestinationName::new(name).unwrap(), place))
    };
    let destinations = vec![at("here", world.vault()), at("other", world.vault_copy())];
    let (keys, cache) = (world.state().join("keys"), world.state().join("cache"));
    let vault = LocalVault::open(&keys, destinations, 2, &cache, Arc::new(Ahead)).unwrap();
    let id = SnapshotId::generate(AHEAD, [7; 10]);
    let meta = SnapshotMeta { id, ecosystem: "small".into(), at: AHEAD, cause: "a wrong clock".into(), tags: vec![] };
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let writer = runtime.block_on(vault.begin(&meta)).unwrap().ok().unwrap();
    runtime.block_on(writer.commit()).unwrap();
    meta.id
}

#[test]
fn the_latest_snapshot_is_the_one_that_was_taken_last() {
    let place = scratch();
    let world = ready(&place);
    let wrong = take_with_the_clock_ahead(&world);
    assert_eq!(ids(&world).last().unwrap(), wrong.as_str());
    let told = world.cathedral(&["status"]).expect(0);
    assert!(told.err.contains("carries a time in the future"), "{told:?}");
    let checked = world.cathedral(&["doctor", "--json"]).expect(0).json();
    assert!(checked.to_string().contains("carries a time in the future"), "{checked:#}");

    write(&world.hub_files().join("after.txt"), "after\n");
    let taken = outputs::json(&world, "snapshot", &["snapshot", "create"], 0);
    let id = taken["data"]["snapshot"]["id"].as_str().unwrap();
    assert_eq!(ids(&world).last().unwrap(), id);
    assert!(taken["data"]["snapshot"]["created_at"].as_str().unwrap() < "2090", "{taken:#}");
    world.cathedral(&["restore", "latest", "codex", "--to", "../back"]).expect(0);
    assert!(world.root.join("back/codex/after.txt").exists());
    // So it is for whoever has the vault and nothing else, and for the snapshots of syncs and restores.
    let (from, key) = (format!("file:{}", world.vault_copy().display()), world.state().join("keys/hub.key"));
    let key = key.to_str().unwrap();
    let args = ["restore", "latest", "codex", "--offline", "--from", &from, "--key-file", key, "--to", "../alone"];
    world.cathedral(&args).expect(0);
    assert!(world.root.join("alone/codex/after.txt").exists());
    write(&world.hub_files().join("later.txt"), "later\n");
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["restore", id, "codex", "--in-place", "--yes", "small"]).expect(0);
    let all = ids(&world);
    let (before, after) = all.split_at(all.iter().position(|i| i == id).unwrap());
    assert_eq!(before.last().unwrap(), wrong.as_str());
    assert_eq!(after.len(), 3, "{all:?}");
}

/// Whether some snapshot gives back a commit, from one of these git parts.
fn has_commit(world: &World, parts: &[&str], commit: &str) -> bool {
    ids(world).iter().any(|id| {
        let to = world.root.join("back").join(id);
        if !to.exists() {
            let args = [&["restore", id.as_str()][..], parts, &["--to", to.to_str().unwrap()]].concat();
            world.cathedral(&args).expect(0);
        }
        fs::read_dir(&to).unwrap().flatten().any(|repository| {
            let all = git(&repository.path(), &["rev-list", "--all"]);
            all.lines().any(|line| line == commit)
        })
    })
}

/// The tip of a branch is replaced by another commit with the same parent.
fn amend(repository: &Path, text: &str) -> String {
    git(repository, &["update-ref", "refs/heads/main", "refs/heads/main^"]);
    commit(repository, "main", text, &[("amended.md", text)])
}

/// A sync that takes a snapshot because of what can be read, and one more that finds nothing new.
#[track_caller]
fn sync_keeps_once(world: &World) -> serde_json::Value {
    let before = ids(world);
    world.cathedral(&["sync"]).expect(12);
    let after = ids(world);
    assert_eq!(after.len(), before.len() + 1, "the sync took no snapshot, or more than one");
    world.cathedral(&["sync"]).expect(12);
    assert_eq!(ids(world), after, "nothing has changed since");
    outputs::json(world, "snapshot", &["snapshot", "show", "latest"], 0)
}

/// The sides of a git spoke share one part. What one of them holds at a sync while the other cannot be read
/// is in a snapshot, although it is never there again.
#[test]
fn a_commit_that_is_amended_while_the_other_side_is_away_is_kept() {
    let place = scratch();
    let world = ready(&place);
    let (mind, soul, hub) = (world.mind(), world.soul(), world.hub());
    let spokes = ["mind", "soul"];
    git(&hub, &["clone", "-q", soul.to_str().unwrap(), "modules/soul"]);
    let module = hub.join("modules/soul");
    let pin = |oid: &str, amend: bool| {
        git(&hub, &["update-index", "--add", "--cacheinfo", &format!("160000,{oid},modules/soul")]);
        let args: &[&str] = if amend { &["--amend"] } else { &[] };
        git(&hub, &[&["commit", "-q", "-m", "pin"][..], args].concat());
    };
    git(&hub, &["reset", "-q", "--hard"]);
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["snapshot", "create"]).expect(0);
    let whole = ids(&world);

    // The remotes are away.
    for remote in [&mind, &soul] {
        fs::rename(remote, remote.with_extension("aside")).unwrap();
    }
    world.cathedral(&["sync"]).expect(12);
    assert_eq!(ids(&world), whole, "nothing that can be read has changed");
    let kept = [
        commit(&world.kept_mind(), "main", "between", &[("amended.md", "between\n")]),
        commit(&module, "main", "between", &[("amended.md", "between\n")]),
    ];
    pin(&kept[1], false);
    let shown = sync_keeps_once(&world);
    for spoke in spokes {
        let carried = &part(&shown, spoke, "hub")["carried"];
        assert_eq!((&carried["side"], &carried["snapshot"]), (&"spoke".into(), &whole.last().unwrap().as_str().into()));
    }
    let text = world.cathedral(&["snapshot", "show", "latest"]).expect(0).out;
    assert!(text.contains("the spoke side of mind could not be read for this snapshot"), "{text}");
    amend(&world.kept_mind(), "the last words\n");
    pin(&amend(&module, "the last words\n"), true);
    for remote in [&mind, &soul] {
        fs::rename(remote.with_extension("aside"), remote).unwrap();
    }
    world.cathedral(&["sync"]).expect(0);
    for (at, oid) in [&mind, &soul].iter().zip(&kept) {
        assert_eq!(git(at, &["show", "main:amended.md"]), "the last words");
        assert!(has_commit(&world, &spokes, oid), "{} is in no snapshot", at.display());
    }
    let shown = outputs::json(&world, "snapshot", &["snapshot", "show", "latest"], 0);
    assert!(spokes.iter().all(|s| part(&shown, s, "hub")["carried"].is_null()), "{shown:#}");

    // The hub's own repository is away.
    world.cathedral(&["snapshot", "create"]).expect(0);
    fs::rename(hub.join(".git"), hub.join(".git-aside")).unwrap();
    let there = commit(&soul, "main", "between", &[("there.md", "between\n")]);
    let shown = sync_keeps_once(&world);
    assert_eq!(part(&shown, "soul", "hub")["carried"]["side"], "hub");
    let hub_part = &part(&shown, "hub", "hub")["carried"];
    assert!(hub_part["why"].is_string() && hub_part["side"].is_null(), "it is carried over as a whole: {hub_part:#}");
    amend(&soul, "other words\n");
    git(&module, &["reset", "-q", "--hard"]);
    fs::rename(hub.join(".git-aside"), hub.join(".git")).unwrap();
    world.cathedral(&["sync"]).expect(0);
    assert!(has_commit(&world, &["soul"], &there), "the spoke's commit is in no snapshot");
}
