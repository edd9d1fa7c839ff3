//! The vault gives back the same bytes without us: `recover.sh` under a plain POSIX shell.

use cathedral_backup::LocalVault;
use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::Side;
use cathedral_model::ports::vault::{EntryKind, GitRef, GitRefs, TreeEntry};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::samples::{database, tree};
use crate::support::{Content, Parts, World, meta, take, text};

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main"]);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    command
}

fn commit(repo: &Path, number: u64) -> String {
    fs::write(repo.join(format!("f{number}")), text(number, 50_000)).unwrap();
    run(git(repo).args(["add", "."]));
    run(git(repo).args(["commit", "-q", "-m", &format!("commit {number}")]));
    String::from_utf8(run(git(repo).args(["rev-parse", "HEAD"]))).unwrap().trim().to_owned()
}

fn pack(repo: &Path, revs: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = git(repo)
        .args(["pack-objects", "-q", "--revs", "--thin", "--stdout"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(revs.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn refs(oid: &str) -> GitRefs {
    let one = |name: &str| GitRef { name: name.into(), oid: oid.into(), peeled: None };
    GitRefs { head: Some("refs/heads/main".into()), refs: NAMES.map(one).to_vec() }
}

/// Refs of every kind that a snapshot holds.
const NAMES: [&str; 8] = [
    "refs/heads/main",
    "refs/heads/tops/x",
    "refs/notes/commits",
    "refs/changes/01/1/1",
    "refs/stash",
    "refs/cathedral/stash/000001",
    "refs/cathedral/detached/HEAD",
    "refs/cathedral/bytes/heads/caf%e9",
];

fn recover(world: &World, shell: &str, key: &Path, args: &[&Path]) -> Vec<u8> {
    run(Command::new(shell).arg(world.folder("one").join("recover.sh")).arg(key).args(args))
}

#[test]
fn a_plain_shell_gives_back_every_kind() {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let repo = world.dir.path().join("repo");
    fs::create_dir(&repo).unwrap();
    run(git(&repo).args(["init", "-q"]));
    let first = commit(&repo, 1);
    let base =
        Content::Git { refs: refs(&first), tips: vec![first.clone()], packs: vec![pack(&repo, &format!("{first}\n"))] };
    let mut parts = Parts::from([
        (("media".into(), Side::Hub), tree()),
        (("billing".into(), Side::Spoke), database()),
        (("grimoire".into(), Side::Hub), base),
    ]);
    take(&vault, &meta(1), &parts).unwrap();
    let second = commit(&repo, 2);
    let thin = pack(&repo, &format!("{second}\n^{first}\n"));
    let git_part = Content::Git { refs: refs(&second), tips: vec![second.clone()], packs: vec![thin] };
    parts.insert(("grimoire".into(), Side::Hub), git_part);
    let info = take(&vault, &meta(2), &parts).unwrap();

    let hub_key = world.keys().join("hub.key");
    let listed = String::from_utf8(recover(&world, "dash", &hub_key, &[])).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(info.meta.id.as_str()) && listed.contains("media/hub"), "{listed}");

    let vault_key = world.dir.path().join("vault.key");
    let opened =
        run(Command::new("age").arg("-d").arg("-i").arg(&hub_key).arg(world.folder("one").join("keys/0001.0.age")));
    fs::write(&vault_key, opened).unwrap();
    LocalVault::open_with_key(world.destinations(), &vault_key).expect("the opened vault key opens the vault");
    for (shell, key) in [("dash", &hub_key), ("bash", &vault_key)] {
        let target = world.dir.path().join(format!("out-{shell}"));
        recover(&world, shell, key, &[Path::new(info.meta.id.as_str()), &target]);
        compare_tree(&target.join("media/hub"), &tree());
        let head = run(git(&target.join("grimoire/hub.git")).args(["rev-parse", "HEAD", "refs/heads/tops/x"]));
        assert_eq!(String::from_utf8(head).unwrap(), format!("{second}\n{second}\n"));
        run(git(&target.join("grimoire/hub.git")).args(["fsck", "--full", "--strict"]));
        let found = run(git(&target.join("grimoire/hub.git")).args(["for-each-ref", "--format=%(refname)"]));
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(String::from_utf8(found).unwrap().lines().collect::<Vec<_>>(), names);
        compare_database(&target.join("billing/spoke.sqlite"), &database());
    }
}

#[test]
fn what_was_stored_again_is_found_beside_damaged_packs() {
    use cathedral_model::ports::Vault as _;
    let world = World::new(&["one"], 1);
    let parts = Parts::from([(("media".into(), Side::Hub), tree()), (("billing".into(), Side::Spoke), database())]);
    take(&world.open(), &meta(1), &parts).unwrap();
    for object in world.objects("one").iter().filter(|o| o.starts_with("packs/")) {
        let path = world.folder("one").join(object);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let level = cathedral_model::snapshot::CheckLevel::Full;
    let report = crate::support::wait(world.open().check(level, &[], &cathedral_model::ports::env::Silent)).unwrap();
    assert!(!report.problems.is_empty());
    take(&world.open(), &meta(2), &parts).unwrap();
    let target = world.dir.path().join("out");
    recover(&world, "dash", &world.keys().join("hub.key"), &[Path::new("latest"), &target]);
    compare_tree(&target.join("media/hub"), &tree());
    compare_database(&target.join("billing/spoke.sqlite"), &database());
}

fn compare_tree(dir: &Path, content: &Content) {
    let Content::Files(entries) = content else { panic!("files are compared") };
    let mut found = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in folder.read_dir().unwrap() {
            found += 1;
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    assert_eq!(found, entries.len(), "nothing is missing and nothing is there besides");
    for (TreeEntry { path, kind, mode, mtime_ns }, bytes) in entries {
        let at = dir.join(std::ffi::OsStr::from_bytes(path));
        let meta = at.symlink_metadata().unwrap();
        match kind {
            EntryKind::Symlink { target } => {
                assert_eq!(fs::read_link(&at).unwrap().as_os_str().as_bytes(), target);
                continue;
            }
            EntryKind::File { .. } => assert!(fs::read(&at).unwrap() == *bytes, "{}", at.display()),
            EntryKind::Dir => assert!(meta.is_dir()),
        }
        assert_eq!(meta.permissions().mode() & 0o7777, *mode, "{}", at.display());
        assert_eq!(meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), *mtime_ns, "{}", at.display());
    }
}

/// Compares what sqlite3 itself says of each cell with what was put in.
fn compare_database(file: &Path, content: &Content) {
    let Content::Database { tables, .. } = content else { panic!("a database is compared") };
    for (table, rows) in tables {
        let columns: Vec<String> = table.columns.iter().map(|c| {
            let c = format!("\"{c}\"");
            format!("typeof({c}) || ':' || case typeof({c}) when 'real' then hex(ieee754_to_blob({c})) when 'integer' then {c} else hex(cast({c} as blob)) end")
        }).collect();
        let query = format!("select {} from \"{}\" order by rowid", columns.join(", "), table.name);
        let output = run(Command::new("sqlite3").args(["-batch", "-noheader", "-separator", "|"]).arg(file).arg(query));
        let expect: Vec<String> =
            rows.iter().map(|row| row.iter().map(as_sqlite_says).collect::<Vec<_>>().join("|")).collect();
        assert_eq!(String::from_utf8(output).unwrap().lines().collect::<Vec<_>>(), expect, "table {}", table.name);
    }
    let version = run(Command::new("sqlite3").arg(file).arg("pragma user_version; pragma integrity_check"));
    assert_eq!(String::from_utf8(version).unwrap(), "7\nok\n");
}

fn as_sqlite_says(value: &Value) -> String {
    let bytes = |tag: &str, b: &[u8]| format!("{tag}:{}", hex::encode_upper(b));
    match value {
        Value::Null => "null:".into(),
        Value::Int(n) => format!("integer:{n}"),
        Value::Real(x) => bytes("real", &x.to_be_bytes()),
        Value::Text(text) => bytes("text", text.as_bytes()),
        Value::Blob(blob) => bytes("blob", blob),
        Value::RawText(raw) => bytes("text", raw),
    }
}

#[test]
fn a_name_that_leads_out_is_refused() {
    // A vault encrypts to a public key, so anybody may forge what recover.sh reads.
    let world = World::new(&["one"], 1);
    let script = fs::read_to_string(world.folder("one").join("recover.sh")).unwrap();
    let names = script.split("\nnames='").nth(1).unwrap().split("'\n").next().unwrap();
    let check = |entry: serde_json::Value| {
        let program = format!("{names} name");
        let json = entry.to_string();
        let output = Command::new("jq").args(["-rn", "--argjson", "e", &json, &format!("$e | {program}")]).output();
        let output = output.unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    };
    assert_eq!(check(serde_json::json!({ "n": "a.txt" })).unwrap(), "a.txt");
    assert_eq!(check(serde_json::json!({ "n": "a b" })).unwrap(), r"\141\040\142");
    assert_eq!(check(serde_json::json!({ "n64": "//4K" })).unwrap(), r"\377\376\012");
    for hostile in ["Li4=", "Lg==", "", "YS9i", "L2V0Yw==", "YQBi", "!!!"] {
        assert_eq!(check(serde_json::json!({ "n64": hostile })), None, "{hostile} must be refused");
    }
    for hostile in ["..", ".", "", "a/b", "/etc", "a\0b"] {
        assert_eq!(check(serde_json::json!({ "n": hostile })), None, "{hostile:?} must be refused");
    }
}

/// A folder with programs that note each call and pass it on.
fn counting(world: &World) -> (std::ffi::OsString, impl Fn(&str) -> usize) {
    let (shims, log) = (world.dir.path().join("shims"), world.dir.path().join("calls"));
    fs::create_dir(&shims).unwrap();
    fs::write(&log, "").unwrap();
    for tool in ["age", "zstd", "jq", "base64", "awk"] {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
        let real = String::from_utf8(found).unwrap();
        let script = format!("#!/bin/sh\necho {tool} >>'{}'\nexec {} \"$@\"\n", log.display(), real.trim());
        fs::write(shims.join(tool), script).unwrap();
        fs::set_permissions(shims.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut path = shims.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let count = move |tool: &str| fs::read_to_string(&log).unwrap().lines().filter(|l| *l == tool).count();
    (path, count)
}

/// Files whose names shells, terminals and encodings like to trip over, among many small ones.
fn many(files: usize) -> Content {
    let names: [&[u8]; 9] = [
        b"-rf",
        b" lead",
        b"trail ",
        b"a\nb",
        b"\n",
        b"\xc3\xa4 % \\041 $(x) `x` '\"*?",
        b"\x81\x82\xff",
        b"a=b",
        b"~",
    ];
    let mut entries: Vec<(TreeEntry, Vec<u8>)> = Vec::new();
    let odd = |path: Vec<u8>, bytes: &[u8]| {
        let kind = EntryKind::File { size: bytes.len() as u64 };
        (TreeEntry { path, kind, mode: 0o640, mtime_ns: -1_500_000_000 }, bytes.to_vec())
    };
    for name in names {
        let folder = crate::support::dir("x").0;
        entries.push((TreeEntry { path: [b"d".as_slice(), name].concat(), ..folder }, vec![]));
        entries.push(odd([b"d", name, b"/", name].concat(), name));
        entries.push(odd(name.to_vec(), b"at the top"));
    }
    for folder in 0..files / 50 {
        entries.push(crate::support::dir(&format!("f{folder}")));
        for number in 0..50 {
            let content = format!("file {number} of folder {folder}, {}", "x".repeat(number * 7));
            entries.push(crate::support::file(&format!("f{folder}/{number}.txt"), content));
        }
    }
    // As the sinks want them: by path, each folder before what is in it.
    entries.sort_by(|a, b| a.0.path.split(|c| *c == b'/').cmp(b.0.path.split(|c| *c == b'/')));
    Content::Files(entries)
}

#[test]
fn a_pack_is_decrypted_once_however_many_files_it_holds() {
    let world = World::new(&["one"], 1);
    let content = many(1_000);
    let parts = Parts::from([
        (("media".into(), Side::Hub), content.clone()),
        (("media".into(), Side::Spoke), content.clone()),
        (("billing".into(), Side::Spoke), database()),
    ]);
    take(&world.open(), &meta(1), &parts).unwrap();
    let packs = world.objects("one").iter().filter(|o| o.starts_with("packs/")).count();
    let (path, count) = counting(&world);
    let target = world.dir.path().join("out");
    let mut command = Command::new("dash");
    command.arg(world.folder("one").join("recover.sh")).arg(world.keys().join("hub.key")).arg("latest").arg(&target);
    let output = command.env("PATH", path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    compare_tree(&target.join("media/hub"), &content);
    compare_tree(&target.join("media/spoke"), &content);
    compare_database(&target.join("billing/spoke.sqlite"), &database());
    // The key, the manifest twice, the index; then each pack.
    assert!(count("age") <= packs + 6, "{} calls of age for {packs} packs", count("age"));
    assert!(count("zstd") <= packs + 6, "{} calls of zstd for {packs} packs", count("zstd"));
    for tool in ["jq", "base64", "awk"] {
        assert!(count(tool) <= packs * 2 + 150, "{} calls of {tool} for {packs} packs", count(tool));
    }
    for told in ["MiB out of", "beside them", "pieces", "files checked by size"] {
        assert!(said.contains(told), "{told:?} is not said: {said}");
    }
    assert!(!target.join(".recover").exists());
}

#[test]
fn what_was_stopped_goes_on_where_it_stopped() {
    let world = World::new(&["one"], 1);
    let content = many(300);
    let mut parts = Parts::from([(("media".into(), Side::Hub), content.clone()), (("big".into(), Side::Hub), tree())]);
    take(&world.open(), &meta(1), &parts).unwrap();
    parts.insert(("billing".into(), Side::Spoke), database());
    take(&world.open(), &meta(2), &parts).unwrap();
    let (path, count) = counting(&world);
    let shim = world.dir.path().join("shims/age");
    let counter = fs::read_to_string(&shim).unwrap();
    let target = world.dir.path().join("out");
    let go = || {
        let mut command = Command::new("dash");
        command
            .arg(world.folder("one").join("recover.sh"))
            .arg(world.keys().join("hub.key"))
            .arg("latest")
            .arg(&target);
        command.env("PATH", &path).output().unwrap()
    };
    // The whole shell is killed at the first, the third, the fifth … call of age.
    let mut stops = 0;
    for limit in (1..).step_by(2) {
        let calls = world.dir.path().join("calls");
        let stop = format!(
            "[ $(grep -c '^age$' '{}') -lt {limit} ] || kill -9 $(cat '{}')\nexec",
            calls.display(),
            world.dir.path().join("pid").display()
        );
        fs::write(&shim, counter.replace("exec", &stop)).unwrap();
        fs::write(&calls, "").unwrap();
        let script = format!("echo $$ >'{}'; exec dash \"$@\"", world.dir.path().join("pid").display());
        let mut command = Command::new("sh");
        command.args(["-c", &script, "x"]).arg(world.folder("one").join("recover.sh"));
        let output =
            command.arg(world.keys().join("hub.key")).arg("latest").arg(&target).env("PATH", &path).output().unwrap();
        if output.status.success() {
            break;
        }
        stops += 1;
        assert!(limit < 200, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(stops > 3, "{stops}");
    compare_tree(&target.join("media/hub"), &content);
    compare_tree(&target.join("big/hub"), &tree());
    compare_database(&target.join("billing/spoke.sqlite"), &database());
    assert!(count("age") > 0);
    let again = go();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
}

#[test]
fn what_is_lost_is_named_and_the_rest_is_there() {
    let world = World::new(&["one"], 1);
    let parts = Parts::from([(("media".into(), Side::Hub), tree()), (("billing".into(), Side::Spoke), database())]);
    take(&world.open(), &meta(1), &parts).unwrap();
    let objects = world.objects("one");
    let size = |o: &&String| fs::metadata(world.folder("one").join(o)).unwrap().len();
    let largest = objects.iter().filter(|o| o.starts_with("packs/")).max_by_key(size).unwrap();
    fs::remove_file(world.folder("one").join(largest)).unwrap();
    let target = world.dir.path().join("out");
    let mut command = Command::new("dash");
    command.arg(world.folder("one").join("recover.sh")).arg(world.keys().join("hub.key")).arg("latest").arg(&target);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let told = fs::read_to_string(target.join("NOT-RESTORED.txt")).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert!(told.contains("big.bin"), "{told}");
    assert!(!target.join("media/hub/big.bin").exists(), "half a file must not stand there");
    assert_eq!(fs::read(target.join("media/hub/src/deep/one")).unwrap(), b"x");
}
