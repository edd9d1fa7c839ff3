//! Getting everything back without the hub: with stock tools as the vault's own guide says, and with the
//! binary, a vault and a key.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::world::{World, git};
use support::{cathedral, copy, eyes, plain, run, scratch};

/// The demo's ecosystem: every kind of spoke, with real histories.
struct Demo {
    _place: tempfile::TempDir,
    root: PathBuf,
}

impl Demo {
    fn build() -> Self {
        let place = scratch();
        let root = place.path().join("demo");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cathedral"));
        plain(&mut command);
        run(command.arg("demo").arg(&root).arg("--no-serve"));
        Self { _place: place, root }
    }

    fn hub(&self) -> PathBuf {
        self.root.join("cathedral")
    }

    fn snapshot(&self) -> String {
        let list = cathedral(&self.hub(), &["snapshot", "list", "--json"]).expect(0).json();
        list["data"]["snapshots"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Each repository and where its history really is.
    fn repositories(&self) -> Vec<(&'static str, PathBuf)> {
        let spoke = |name: &str| self.root.join("spokes").join(format!("{name}.git"));
        vec![
            ("cathedral", self.hub()),
            ("circuitum99", spoke("circuitum99")),
            ("tesseract-bridge", spoke("tesseract-bridge")),
            ("stone-grimoire", spoke("stone-grimoire")),
            ("cosmogenesis-learning-engine", self.hub().join(".cathedral/git/cosmogenesis-learning-engine.git")),
        ]
    }
}

/// Branches and tags agree, and every commit is there.
#[track_caller]
fn assert_repository(name: &str, original: &Path, restored: &Path) {
    let difference = eyes::difference(&eyes::refs(original), &eyes::refs(restored));
    assert_eq!(difference, None, "{name}");
    assert_eq!(eyes::commits(original), eyes::commits(restored), "{name}");
    git(restored, &["fsck", "--full", "--strict", "--no-progress"]);
}

#[test]
fn stock_tools_get_everything_back_as_the_guide_says() {
    for (tool, ask) in
        [("dash", "-c"), ("age", "--version"), ("jq", "--version"), ("zstd", "--version"), ("sqlite3", "--version")]
    {
        let found = Command::new(tool).arg(ask).arg("true").output();
        assert!(found.is_ok(), "{tool} is missing: apt-get install dash age jq zstd sqlite3");
    }
    let demo = Demo::build();
    let snapshot = demo.snapshot();
    // A stranger has a copy of the vault and the key, and nothing else.
    let elsewhere = demo.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    copy(&demo.root.join("vault-copy"), &elsewhere.join("vault"));
    fs::copy(demo.hub().join(".cathedral/keys/hub.key"), elsewhere.join("hub.key")).unwrap();
    let guide = fs::read_to_string(elsewhere.join("vault/RECOVERY.md")).unwrap();
    for line in ["sh recover.sh KEYFILE ", "sh recover.sh KEYFILE SNAPSHOT TARGET", "age -d -i KEYFILE keys/"] {
        assert!(guide.contains(line), "the guide does not say {line:?}");
    }
    let dash = |args: &[&str]| {
        let mut command = Command::new("dash");
        plain(&mut command);
        // Only what the guide names is on the way, and no program of ours.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(elsewhere.join("vault"));
        run(command.arg("recover.sh").args(args))
    };
    let listed = dash(&["../hub.key"]);
    assert!(listed.contains(&snapshot), "{listed}");
    dash(&["../hub.key", &snapshot, "../target"]);
    let target = elsewhere.join("target");
    for (name, original) in demo.repositories() {
        assert_repository(name, &original, &target.join(name).join("hub.git"));
    }
    let live = [("hub", demo.hub().join("data")), ("spoke", demo.root.join("apps"))];
    for (side, folder) in live {
        let rows = eyes::rows(&target.join("ledger").join(format!("{side}.sqlite")));
        assert!(rows.len() > 3_000);
        assert_eq!(eyes::difference(&eyes::rows(&folder.join("ledger.db")), &rows), None, "ledger {side}");
        let sql = fs::read_to_string(target.join("ledger").join(format!("{side}.sql"))).unwrap();
        assert!(sql.contains("create table account") || sql.contains("CREATE TABLE account"), "{side}.sql");
        let files = eyes::files(&target.join("codex").join(side));
        assert!(files.len() > 60);
        assert_eq!(eyes::difference(&eyes::files(&folder.join("codex")), &files), None, "codex {side}");
    }
    by_hand(&elsewhere.join("vault"), &snapshot);
}

/// The guide's chapter for those who trust no script.
fn by_hand(vault: &Path, snapshot: &str) {
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        plain(&mut command);
        run(command.args(["-ec", script]).current_dir(vault))
    };
    sh("age -d -i ../hub.key keys/0001.0.age > ../vault.key");
    let manifest = sh(&format!("age -d -i ../vault.key snapshots/{snapshot}.age | head -n 1 | jq ."));
    assert!(manifest.contains(snapshot), "{manifest}");
    let index = sh("for i in index/*.age; do age -d -i ../vault.key $i | zstd -dc; done");
    let lines = index.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let chunks: Vec<_> = lines.filter(|v| v["t"] == "chunk").step_by(9).take(6).collect();
    assert!(chunks.len() > 3, "{index}");
    for chunk in chunks {
        let number = |key: &str| chunk[key].as_u64().unwrap();
        let (pack, o, l) = (chunk["p"].as_str().unwrap(), number("o"), number("l"));
        let file = format!("packs/{}/{pack}.age", &pack[..2]);
        let script = format!("age -d -i ../vault.key {file} | tail -c +$(({o}+1)) | head -c {l} | zstd -dc | wc -c");
        assert_eq!(sh(&script).trim().parse::<u64>().unwrap(), number("u"), "{chunk:#}");
    }
    let damaged = sh("if command -v b3sum > /dev/null; then b3sum packs/*/*.age; fi");
    for line in damaged.lines() {
        let (hash, path) = line.split_once("  ").unwrap();
        assert!(path.contains(hash), "{line}");
    }
}

#[test]
fn a_vault_and_a_key_are_enough_for_the_binary() {
    let demo = Demo::build();
    let key = demo.root.join("hub.key");
    fs::copy(demo.hub().join(".cathedral/keys/hub.key"), &key).unwrap();
    // What is compared below that lies in the state folder is moved along; then the hub is lost.
    let state = demo.root.join("lost");
    fs::rename(demo.hub().join(".cathedral"), &state).unwrap();
    let from = format!("file:{}", demo.root.join("vault-copy").display());
    let to = demo.root.join("back");
    let args = |dry: bool| {
        let mut args = vec!["restore".to_owned(), "latest".into(), "--offline".into(), "--from".into(), from.clone()];
        args.extend(["--key-file".into(), key.display().to_string(), "--to".into(), to.display().to_string()]);
        args.extend(dry.then(|| "--dry-run".into()));
        args
    };
    let run = |dry| {
        let args = args(dry);
        cathedral(&demo.root, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(true).expect(10);
    assert!(!to.exists());
    run(false).expect(0);
    for (name, original) in demo.repositories() {
        let moved = original.strip_prefix(demo.hub().join(".cathedral")).map(|rest| state.join(rest));
        assert_repository(name, &moved.unwrap_or(original), &to.join(format!("{name}.git")));
    }
    for (end, folder) in [("", demo.hub().join("data")), ("@spoke", demo.root.join("apps"))] {
        let rows = eyes::rows(&to.join(format!("ledger{end}.db")));
        assert_eq!(eyes::difference(&eyes::rows(&folder.join("ledger.db")), &rows), None);
        let files = eyes::files(&to.join(format!("codex{end}")));
        assert_eq!(eyes::difference(&eyes::files(&folder.join("codex")), &files), None);
    }
    assert!(!demo.hub().join(".cathedral").exists(), "a restore without the hub made one");
    // Another identity opens nothing.
    let mut other = Command::new("age-keygen");
    plain(&mut other);
    support::run(other.arg("-o").arg(demo.root.join("other.key")));
    let other = demo.root.join("other.key").display().to_string();
    let ran =
        cathedral(&demo.root, &["restore", "latest", "--offline", "--from", &from, "--key-file", &other, "--to", "x"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(!demo.root.join("x").exists());
}

/// An ecosystem whose sides have met twice, and the snapshot before its changes.
fn changed(root: &Path) -> (World, String) {
    let world = World::build(root);
    world.cathedral(&["sync"]).expect(0);
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let oldest = list["data"]["snapshots"][0]["id"].as_str().unwrap().to_owned();
    world.change();
    world.cathedral(&["sync"]).expect(11);
    (world, oldest)
}

/// Every snapshot, restored to a folder.
fn all_snapshots(world: &World) -> Vec<PathBuf> {
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let ids = list["data"]["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned());
    ids.map(|id| {
        let to = world.root.join("snapshots").join(&id);
        world.cathedral(&["restore", &id, "--to", to.to_str().unwrap()]).expect(0);
        to
    })
    .collect()
}

/// What people did, that must be on a side or in a snapshot: kept copies alone do not count.
struct Late {
    commit: String,
    row: String,
    text: Vec<u8>,
}

impl Late {
    fn write(world: &World) -> Self {
        let commit = support::world::commit(&world.mind(), "main", "late", &[("late.md", "pushed late\n")]);
        support::world::sql(&world.app_db(), "insert into entry values (970, 3, 1, 'late')");
        let text = "written late\n";
        fs::write(world.app_files().join("leaves/03.md"), text).unwrap();
        let rows = eyes::rows(&world.app_db());
        let row = rows.iter().find(|r| r.starts_with("entry: Integer(970)")).unwrap().clone();
        Self { commit, row, text: text.into() }
    }

    #[track_caller]
    fn assert_held(&self, world: &World) {
        let snapshots = all_snapshots(world);
        // A live repository also has what was kept, so only its branches and tags count; what a snapshot
        // gives back is in the snapshot, under whatever name.
        let is_live = [world.mind(), world.kept_mind()].iter().any(|r| eyes::commits(r).contains(&self.commit));
        let gives = |snapshot: &PathBuf| {
            let mut command = Command::new("git");
            plain(&mut command);
            command.arg("-C").arg(snapshot.join("mind.git")).args(["rev-list", "--all"]);
            command.output().is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(&self.commit))
        };
        let is_held = is_live || snapshots.iter().any(gives);
        assert!(is_held, "the pushed commit is on no side and in no snapshot");
        let mut databases = vec![world.app_db(), world.hub_db()];
        databases.extend(snapshots.iter().flat_map(|s| [s.join("ledger.db"), s.join("ledger@spoke.db")]));
        let has_row = |db: &PathBuf| db.exists() && eyes::rows(db).contains(&self.row);
        assert!(databases.iter().any(has_row), "the row is on no side and in no snapshot");
        let mut trees = vec![world.app_files(), world.hub_files()];
        trees.extend(snapshots.iter().flat_map(|s| [s.join("codex"), s.join("codex@spoke")]));
        let has_text = |tree: &PathBuf| eyes::contents(tree).contains(&self.text);
        assert!(trees.iter().any(has_text), "the file is on no side and in no snapshot");
    }
}

#[test]
fn what_a_restore_in_place_writes_over_is_in_a_snapshot() {
    let place = scratch();
    let (world, oldest) = changed(&place.path().join("world"));
    let late = Late::write(&world);
    let ran = world.cathedral(&["restore", &oldest, "--in-place", "--yes", "small"]).expect(0);
    assert!(ran.out.contains("what stood there before is in snapshot"), "{ran:?}");
    assert!(!eyes::commits(&world.mind()).contains(&late.commit), "the restore changed nothing");
    late.assert_held(&world);
    // Asked for again, the latest is not what the restore has written over.
    let list = world.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
    let all = list["data"]["snapshots"].as_array().unwrap();
    let before = all.last().unwrap()["id"].as_str().unwrap();
    let plan = world.cathedral(&["restore", "latest", "--in-place", "--dry-run", "--json"]).expect(10);
    assert_ne!(plan.json()["data"]["snapshot"], before, "{plan:?}");
    assert!(plan.err.contains("before a restore"), "{plan:?}");
    world.cathedral(&["log", "audit"]).expect(0);
    world.cathedral(&["verify", "--level", "full"]).expect(0);
}

#[test]
fn a_restore_in_place_goes_on_where_no_snapshot_can_be_taken_and_says_so() {
    let place = scratch();
    let (world, oldest) = changed(&place.path().join("world"));
    // One of two destinations that a snapshot needs is gone; the other one can still be read.
    fs::rename(world.vault_copy(), world.root.join("unplugged")).unwrap();
    fs::write(world.app_files().join("leaves/05.md"), "only here\n").unwrap();
    let ran = world.cathedral(&["restore", &oldest, "codex@spoke", "ledger", "--in-place", "--yes", "small"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for spoke in ["codex", "ledger"] {
        let told = ran.err.lines().find(|l| l.contains(spoke) && l.contains("in no snapshot"));
        assert!(told.is_some_and(|l| l.contains("kept")), "{spoke}: {ran:?}");
    }
    let kept = eyes::contents(&world.state().join("kept"));
    let beside = fs::read_dir(world.app_files().parent().unwrap()).unwrap().map(|e| e.unwrap().path());
    let is_kept = kept.contains(b"only here\n".as_slice())
        || beside
            .filter(|p| p.to_string_lossy().contains(".cathedral"))
            .any(|p| eyes::contents(&p).contains(b"only here\n".as_slice()))
        || eyes::contents(&world.app_files()).contains(b"only here\n".as_slice());
    assert!(is_kept, "what stood there is gone");
    let document =
        world.cathedral(&["restore", &oldest, "codex@spoke", "--in-place", "--yes", "small", "--json"]).expect(0);
    let warnings = document.json()["warnings"].to_string();
    assert!(warnings.contains("in no snapshot"), "{document:?}");
}

/// Killed after each place at which something was put back; people go on writing; the next command ends it.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_written_between_a_kill_and_the_end_of_a_restore_is_in_a_snapshot() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let place = scratch();
    let (base, oldest) = changed(&place.path().join("base"));
    let args = ["restore", &oldest, "--in-place", "--yes", "small"];
    let calm = base.copy(&place.path().join("calm"));
    let mut command = support::command(&calm.hub(), &args);
    let listed = support::Ran::of(command.env("CATHEDRAL_STOP_AT", "list").output().unwrap()).expect(0);
    let points: Vec<&str> = listed.err.lines().filter(|l| l.starts_with("failpoint ")).collect();
    let wanted: Vec<usize> = (0..points.len())
        .filter(|i| points[*i].contains("restored:mind") || points[*i].ends_with(":restored"))
        .collect();
    assert!(wanted.len() > 2, "{points:#?}");
    for index in wanted {
        let world = base.copy(&place.path().join(format!("killed-{index}")));
        let mut command = support::command(&world.hub(), &args);
        command.env("CATHEDRAL_STOP_AT", (index + 1).to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stopped = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(stopped.into_iter().any(|l| l.ends_with(" stop")), "{} was not reached", points[index]);
        child.kill().unwrap();
        child.wait().unwrap();
        let late = Late::write(&world);
        let ran = world.cathedral(&args);
        // What was put back and written to before it was proven cannot be proven, and that is said.
        let unproven = ran.code == 21 && points[index].ends_with(":restored") && ran.err.contains("codex");
        assert!(ran.code == 0 || unproven, "{}: {ran:?}", points[index]);
        late.assert_held(&world);
        fs::remove_dir_all(&world.root).unwrap();
    }
}
