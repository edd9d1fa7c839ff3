//! Deciding conflicts: both sides become equal, the other side stays recoverable, and it can be undone.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::eyes::{self, Lines};
use support::world::{World, git, sql, write};
use support::{Ran, cathedral, copy, plain, run, scratch};

/// The demo after its second sync: five conflicts wait, of every kind.
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
        run(command.arg("demo").arg(&root));
        Self { _place: place, root }
    }

    fn hub(&self) -> PathBuf {
        self.root.join("cathedral")
    }

    fn file(&self, side: &str, name: &str) -> PathBuf {
        let folder = if side == "hub" { self.hub().join("data/codex") } else { self.root.join("apps/codex") };
        folder.join(name)
    }

    fn ledger(&self, side: &str) -> PathBuf {
        let folder = if side == "hub" { self.hub().join("data") } else { self.root.join("apps") };
        folder.join("ledger.db")
    }

    fn cathedral(&self, args: &[&str]) -> Ran {
        cathedral(&self.hub(), args)
    }

    /// The id of the conflict at a place.
    #[track_caller]
    fn id(&self, place: &str) -> String {
        let list = self.cathedral(&["conflicts", "--json"]).json();
        let list = list["data"]["conflicts"].as_array().unwrap();
        let found = list.iter().find(|c| c["where"].as_str().unwrap().contains(place));
        found.unwrap_or_else(|| panic!("no conflict at {place}: {list:#?}"))["id"].to_string()
    }

    #[track_caller]
    fn state_of(&self, id: &str) -> Value {
        let shown = self.cathedral(&["conflicts", "show", id, "--json"]).expect(0).json();
        shown["data"]["conflict"]["state"].clone()
    }

    /// What one conflict is about, as both sides hold it.
    fn both(&self, place: &str) -> (String, String) {
        let one = |side: &str| match place {
            "motto.txt" | "obsolete.txt" => {
                fs::read_to_string(self.file(side, place)).unwrap_or_else(|_| "nothing".into())
            }
            "entry[2000]" | "entry[2500]" => {
                let rows = eyes::rows(&self.ledger(side));
                let start = format!("entry: Integer({})|", &place[6..10]);
                rows.into_iter().find(|r| r.starts_with(&start)).unwrap_or_else(|| "nothing".into())
            }
            "shared path" if side == "hub" => {
                fs::read_to_string(self.hub().join("shared/archetypes/archetypes.yaml")).unwrap()
            }
            "shared path" => {
                git(&self.root.join("spokes/stone-grimoire.git"), &["show", "main:shared/archetypes.yaml"]) + "\n"
            }
            other => panic!("{other}"),
        };
        (one("hub"), one("spoke"))
    }

    fn everything(&self) -> Lines {
        let mut out = Lines::new();
        for side in ["hub", "spoke"] {
            out.extend(eyes::rows(&self.ledger(side)).into_iter().map(|l| format!("{side} {l}")));
            let files = eyes::files(self.file(side, "x").parent().unwrap());
            out.extend(files.into_iter().map(|l| format!("{side} {l}")));
        }
        out
    }

    /// A side's version is still in some snapshot.
    #[track_caller]
    fn assert_recoverable(&self, name: &str, text: &str, to: &str) {
        let list = self.cathedral(&["snapshot", "list", "--json"]).expect(0).json();
        let mut found = false;
        for (n, snapshot) in list["data"]["snapshots"].as_array().unwrap().iter().enumerate() {
            for part in [name.to_owned(), format!("{name}@spoke")] {
                let folder = self.root.join(format!("{to}-{n}-{}", part.len()));
                let id = snapshot["id"].as_str().unwrap();
                let ran = self.cathedral(&["restore", id, &part, "--to", &folder.display().to_string()]);
                if ran.code == 0 {
                    let databases = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
                    let mut databases = databases.filter(|p| p.extension().is_some_and(|e| e == "db"));
                    found |= databases.any(|db| eyes::rows(&db).contains(text));
                    found |= eyes::contents(&folder).contains(text.as_bytes());
                    found |= fs::read_dir(&folder).unwrap().any(|e| {
                        let path = e.unwrap().path();
                        path.extension().is_some_and(|e| e == "git")
                            && git(&path, &["show", "main:shared/archetypes.yaml"]) == text.trim_end()
                    });
                }
                if found {
                    return;
                }
            }
        }
        panic!("{name}: nowhere {text:?}");
    }

    #[track_caller]
    fn assert_quiet(&self) {
        let document = self.cathedral(&["sync", "--json"]).json();
        let spokes = document["data"]["spokes"].as_array().unwrap();
        let changed = spokes.iter().map(|s| s["changes_in"].as_u64().unwrap() + s["changes_out"].as_u64().unwrap());
        assert_eq!(changed.sum::<u64>(), 0, "{document:#}");
        assert!(document["data"]["snapshot"].is_null(), "{document:#}");
    }
}

const PLACES: [&str; 5] = ["motto.txt", "obsolete.txt", "entry[2000]", "entry[2500]", "shared path"];

/// Each conflict of the demo: take a side, look, undo, look, take the other side.
#[test]
fn a_side_is_taken_undone_and_the_other_taken() {
    let demo = Demo::build();
    for place in PLACES {
        let id = demo.id(place);
        let before = demo.both(place);
        let around = demo.everything();
        assert_ne!(before.0, before.1, "{place}");
        for take in ["hub", "spoke"] {
            let ran = demo.cathedral(&["conflicts", "resolve", &id, "--take", take]);
            assert_eq!(ran.code, 0, "{place} --take {take}: {ran:?}");
            let after = demo.both(place);
            let wanted = if take == "hub" { &before.0 } else { &before.1 };
            if place == "shared path" {
                // Beside the disputed value the folder had changes that merge.
                assert_eq!(after.0, after.1, "{place} --take {take}");
                assert!(after.0.contains(if take == "hub" { "rhombus" } else { "cube" }), "{after:?}");
            } else {
                assert_eq!(&after.0, wanted, "{place} --take {take}: the hub");
                assert_eq!(&after.1, wanted, "{place} --take {take}: the spoke");
            }
            assert_eq!(demo.state_of(&id), "settled");
            demo.assert_quiet();
            let ran = demo.cathedral(&["conflicts", "undo", &id]);
            assert_eq!(ran.code, 0, "{place} undo: {ran:?}");
            assert_eq!(demo.both(place), before, "{place} undone");
            assert_eq!(eyes::difference(&around, &demo.everything()), None, "{place} undone: something else moved");
            assert_eq!(demo.state_of(&id), "open");
            demo.assert_quiet();
        }
    }
    for place in PLACES {
        let id = demo.id(place);
        demo.cathedral(&["conflicts", "resolve", &id, "--take", "spoke"]).expect(0);
    }
    demo.cathedral(&["conflicts"]).expect(0);
    demo.cathedral(&["sync"]).expect(0);
    assert_eq!(eyes::files(&demo.hub().join("data/codex")), eyes::files(&demo.root.join("apps/codex")));
    assert_eq!(eyes::rows(&demo.ledger("hub")), eyes::rows(&demo.ledger("spoke")));
    demo.cathedral(&["log", "audit"]).expect(0);
    demo.cathedral(&["verify", "--level", "full"]).expect(0);
}

/// What was not taken can be had back from a snapshot.
#[test]
fn the_side_not_taken_stays_recoverable() {
    let demo = Demo::build();
    let spoke_of = BTreeMap::from([
        ("motto.txt", "codex"),
        ("obsolete.txt", "codex"),
        ("entry[2000]", "ledger"),
        ("entry[2500]", "ledger"),
        ("shared path", "stone-grimoire"),
    ]);
    let before: Vec<_> = PLACES.iter().map(|place| demo.both(place)).collect();
    for place in PLACES {
        demo.cathedral(&["conflicts", "resolve", &demo.id(place), "--take", "hub"]).expect(0);
    }
    for (n, place) in PLACES.iter().enumerate() {
        demo.assert_recoverable(spoke_of[place], &before[n].1, &format!("r{n}"));
    }
}

/// Answers in other forms: a suggestion, single fields, a file.
#[test]
fn suggestions_fields_and_files_are_taken() {
    let demo = Demo::build();
    let taken = |id: &str, args: &[&str]| {
        let args: Vec<&str> = ["conflicts", "resolve", id].iter().copied().chain(args.iter().copied()).collect();
        let ran = demo.cathedral(&args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert_eq!(demo.state_of(id), "settled");
    };
    let row = demo.id("entry[2000]");
    taken(&row, &["--field", "amount=77"]);
    let (hub, spoke) = demo.both("entry[2000]");
    assert!(hub == spoke && hub.contains("|Integer(77)|"), "{hub}");
    demo.cathedral(&["conflicts", "undo", &row]).expect(0);
    taken(&row, &["--field", "amount=@spoke"]);
    let (hub, spoke) = demo.both("entry[2000]");
    assert!(hub == spoke && hub.contains("|Integer(1717)|"), "{hub}");
    let ran = demo.cathedral(&["conflicts", "resolve", &row, "--field", "amont=1"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    demo.cathedral(&["conflicts", "undo", &row]).expect(0);
    let before = demo.both("entry[2000]");
    let slip = demo.cathedral(&["conflicts", "resolve", &row, "--field", "amount=@spok"]).expect(2);
    for told in ["@hub, @spoke, @base, @null", "amount=@spoke", "amount=@@spok"] {
        assert!(slip.err.contains(told), "{told}: {slip:?}");
    }
    assert_eq!((demo.both("entry[2000]"), demo.state_of(&row)), (before, "open".into()), "nothing was recorded");
    taken(&row, &["--field", "amount=@@spok"]);
    let (hub, spoke) = demo.both("entry[2000]");
    assert!(hub == spoke && hub.contains(&format!("{:?}", "@spok".as_bytes())), "{hub}");
    let motto = demo.id("motto.txt");
    let mine = demo.root.join("mine.txt");
    fs::write(&mine, "what is kept is given\n").unwrap();
    taken(&motto, &["--file", &mine.display().to_string()]);
    assert_eq!(demo.both("motto.txt"), ("what is kept is given\n".into(), "what is kept is given\n".into()));
    demo.cathedral(&["conflicts", "undo", &motto]).expect(0);
    let (hub, spoke) = demo.both("motto.txt");
    assert!(hub.contains("away") && spoke.contains("again"), "{hub}{spoke}");
    // Whatever has a suggestion takes it; what has none says so.
    for place in PLACES.iter().filter(|p| **p != "entry[2000]") {
        let id = demo.id(place);
        let shown = demo.cathedral(&["conflicts", "show", &id, "--json"]).expect(0).json();
        if shown["data"]["conflict"]["suggested"].is_null() {
            demo.cathedral(&["conflicts", "resolve", &id, "--take", "suggested"]).expect(2);
        } else {
            taken(&id, &["--take", "suggested"]);
            let (hub, spoke) = demo.both(place);
            assert_eq!(hub, spoke, "{place}");
        }
    }
    demo.assert_quiet();
}

/// An answer that comes after a side has moved on is not carried out on what it was not given for.
#[test]
fn an_answer_to_an_old_question_changes_nothing_new() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let list = world.cathedral(&["conflicts", "--json"]).json();
    let motto = list["data"]["conflicts"].as_array().unwrap().iter().find(|c| c["where"] == "motto.txt").unwrap();
    let id = motto["id"].to_string();
    let aside = place.path().join("aside");
    copy(&world.root, &aside);
    world.cathedral(&["conflicts", "resolve", &id, "--take", "hub", "--no-sync"]).expect(0);
    fs::write(world.app_files().join("motto.txt"), "given for ever\n").unwrap();
    let ran = world.cathedral(&["sync"]);
    assert!(matches!(ran.code, 11 | 12), "{ran:?}");
    assert_eq!(fs::read_to_string(world.app_files().join("motto.txt")).unwrap(), "given for ever\n");
    assert_eq!(fs::read_to_string(world.hub_files().join("motto.txt")).unwrap(), "given away\n");
}

/// The answer removed the file and, with it, the folder that held nothing else.
#[test]
fn a_removal_with_its_folder_is_undone() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let (hub, app) = (world.hub_files().join("deep/only.txt"), world.app_files().join("deep/only.txt"));
    write(&hub, "one\n");
    world.cathedral(&["sync"]).expect(0);
    fs::remove_dir_all(hub.parent().unwrap()).unwrap();
    fs::write(&app, "two\n").unwrap();
    world.cathedral(&["sync"]).expect(11);
    let list = world.cathedral(&["conflicts", "--json"]).json();
    let id = list["data"]["conflicts"][0]["id"].to_string();
    for round in 0..2 {
        world.cathedral(&["conflicts", "resolve", &id, "--take", "hub"]).expect(0);
        // What was taken back has brought the folder to both sides, where it then stays.
        let gone = if round == 0 { app.parent().unwrap() } else { app.as_path() };
        assert!(!hub.exists() && !gone.exists());
        world.cathedral(&["conflicts", "undo", &id]).expect(0);
        assert!(!hub.exists());
        assert_eq!(fs::read_to_string(&app).unwrap(), "two\n");
        let ran = world.cathedral(&["sync", "--json"]).expect(11).json();
        assert!(ran["data"]["snapshot"].is_null(), "{ran:#}");
    }
    world.cathedral(&["conflicts", "resolve", &id, "--take", "spoke"]).expect(0);
    assert_eq!(fs::read_to_string(&hub).unwrap(), "two\n");
}

/// A link in place of a file is put back; a folder cannot be, and nothing is recorded of the wish.
#[test]
fn an_answer_about_things_of_different_kinds_is_undone_or_refused_at_once() {
    for is_folder in [false, true] {
        let place = scratch();
        let world = World::build(&place.path().join("world"));
        let (hub, app) = (world.hub_files().join("thing"), world.app_files().join("thing"));
        write(&hub, "a file\n");
        world.cathedral(&["sync"]).expect(0);
        fs::remove_file(&hub).unwrap();
        if is_folder {
            write(&hub.join("inside.txt"), "inside\n");
        } else {
            std::os::unix::fs::symlink("elsewhere", &hub).unwrap();
        }
        write(&app, "another file\n");
        world.cathedral(&["sync"]).expect(11);
        let list = world.cathedral(&["conflicts", "--json"]).json();
        assert_eq!(list["data"]["conflicts"][0]["conflict_kind"], "type_change");
        let id = list["data"]["conflicts"][0]["id"].to_string();
        world.cathedral(&["conflicts", "resolve", &id, "--take", "spoke"]).expect(0);
        assert_eq!(fs::read_to_string(&hub).unwrap(), "another file\n");
        let shown = world.cathedral(&["conflicts", "show", &id]).expect(0);
        assert!(shown.out.contains("settled 2") && shown.out.contains(", opened 2"), "{shown:?}");
        let ran = world.cathedral(&["conflicts", "undo", &id]);
        if is_folder {
            let ran = ran.expect(7);
            assert!(ran.err.contains("the hub had a folder there"), "{ran:?}");
            assert_eq!(fs::read_to_string(&hub).unwrap(), "another file\n");
            let shown = world.cathedral(&["conflicts", "show", &id, "--json"]).json();
            assert_eq!(shown["data"]["conflict"]["state"], "settled");
            world.cathedral(&["sync"]).expect(0);
        } else {
            ran.expect(0);
            assert_eq!(fs::read_link(&hub).unwrap(), Path::new("elsewhere"));
            assert_eq!(fs::read_to_string(&app).unwrap(), "another file\n");
        }
    }
}

/// A world in which a file or a row is in dispute, and the looks at it that the tests below share.
struct Dispute {
    _place: tempfile::TempDir,
    world: World,
    id: String,
}

impl Dispute {
    fn of(prepare: impl Fn(&World), change: impl Fn(&World)) -> Self {
        let place = scratch();
        let world = World::build(&place.path().join("world"));
        prepare(&world);
        world.cathedral(&["sync"]).expect(0);
        change(&world);
        world.cathedral(&["sync"]).expect(11);
        let list = world.cathedral(&["conflicts", "--json"]).json();
        let id = list["data"]["conflicts"][0]["id"].to_string();
        Self { _place: place, world, id }
    }

    /// A file that both sides changed.
    fn file(name: &'static str, texts: [&'static str; 3]) -> Self {
        Self::of(
            |world| write(&world.hub_files().join(name), texts[0]),
            |world| {
                write(&world.hub_files().join(name), texts[1]);
                write(&world.app_files().join(name), texts[2]);
            },
        )
    }

    /// A row that both sides added.
    fn row() -> Self {
        Self::of(
            |world| {
                sql(
                    &world.hub_db(),
                    "create table note (id integer primary key, v text, w text); insert into note values (9, 'k', 'k');",
                )
            },
            |world| {
                sql(&world.hub_db(), "insert into note values (1, 'h', 'x');");
                sql(&world.app_db(), "insert into note values (1, 's', 'x');");
            },
        )
    }

    fn resolve(&self, args: &[&str]) -> Ran {
        self.world.cathedral(&[&["conflicts", "resolve", &self.id][..], args].concat())
    }

    fn undo(&self) -> Ran {
        self.world.cathedral(&["conflicts", "undo", &self.id])
    }

    fn is(&self) -> String {
        let shown = self.world.cathedral(&["conflicts", "show", &self.id, "--json"]).expect(0).json();
        shown["data"]["conflict"]["state"].as_str().unwrap().to_owned()
    }

    fn rows(&self) -> [Vec<String>; 2] {
        [self.world.hub_db(), self.world.app_db()].map(|db| {
            let rows = eyes::rows(&db).into_iter();
            rows.filter(|row| row.starts_with("note: ")).collect()
        })
    }

    fn texts(&self, name: &str) -> [String; 2] {
        [self.world.hub_files(), self.world.app_files()]
            .map(|folder| fs::read_to_string(folder.join(name)).unwrap_or_else(|_| "nothing".into()))
    }

    /// The next sync asks the person again, and does nothing else.
    #[track_caller]
    fn assert_waits(&self) {
        assert_eq!(self.is(), "open");
        let document = self.world.cathedral(&["sync", "--json"]).expect(11).json();
        assert!(document["data"]["snapshot"].is_null(), "{document:#}");
        self.world.cathedral(&["conflicts"]).expect(11);
    }
}

#[test]
fn a_base_that_was_not_kept_is_refused_before_it_is_recorded() {
    let dispute = Dispute::file("b.bin", ["base\0", "hub\0", "spoke\0"]);
    for more in [&["--no-sync"][..], &[]] {
        let ran = dispute.resolve(&[&["--take", "base"][..], more].concat()).expect(7);
        assert!(ran.err.contains("was not kept"), "{ran:?}");
        dispute.assert_waits();
    }
    assert_eq!(dispute.texts("b.bin"), ["hub\0", "spoke\0"]);
    dispute.world.cathedral(&["restore", "latest", "codex", "--in-place", "--yes"]);
    dispute.world.cathedral(&["sync"]);
    assert_eq!(dispute.texts("b.bin"), ["hub\0", "spoke\0"]);
}

#[test]
fn a_new_row_that_is_none_is_refused_before_it_is_recorded() {
    let dispute = Dispute::row();
    let before = dispute.rows();
    let file = dispute.world.root.join("row.json");
    for text in ["not JSON", "{\"nope\": 1}", "[]"] {
        fs::write(&file, text).unwrap();
        dispute.resolve(&["--file", &file.display().to_string()]).expect(2);
        dispute.assert_waits();
    }
    assert_eq!(dispute.rows(), before);
}

#[test]
fn a_row_that_was_not_shown_is_not_overwritten() {
    let dispute = Dispute::row();
    for (fresh, no_sync) in [("FRESH", false), ("FRESHER", true)] {
        let more: &[&str] = if no_sync { &["--no-sync"] } else { &[] };
        sql(&dispute.world.app_db(), &format!("update note set v = '{fresh}' where id = 1;"));
        let before = dispute.rows();
        dispute.resolve(&[&["--take", "hub"][..], more].concat()).expect(if no_sync { 0 } else { 12 });
        dispute.world.cathedral(&["sync"]).expect(11);
        assert_eq!(dispute.rows(), before);
        dispute.assert_waits();
    }
    dispute.resolve(&["--take", "hub"]).expect(0);
    let [hub, spoke] = dispute.rows();
    assert_eq!((&hub, hub.len()), (&spoke, 2));
}

/// What both sides had of a row that both added is nothing.
#[test]
fn the_base_of_an_added_row_is_nothing() {
    let dispute = Dispute::row();
    let before = dispute.rows();
    dispute.resolve(&["--take", "base"]).expect(0);
    let [hub, spoke] = dispute.rows();
    assert!(hub == spoke && hub.len() == 1 && hub[0].contains("Integer(9)"), "{hub:?} {spoke:?}");
    dispute.world.cathedral(&["sync"]).expect(0);
    dispute.undo().expect(0);
    assert_eq!(dispute.rows(), before);
    dispute.assert_waits();
}

#[test]
fn later_edits_are_not_undone() {
    let row = Dispute::row();
    row.resolve(&["--take", "spoke"]).expect(0);
    sql(&row.world.hub_db(), "update note set w = 'later' where id = 1;");
    let later = row.rows();
    row.undo().expect(7);
    assert_eq!((row.rows(), row.is().as_str()), (later.clone(), "settled"));
    row.world.cathedral(&["sync"]).expect(0);
    row.undo().expect(7);
    assert_eq!((row.rows(), row.is().as_str()), ([later[0].clone(), later[0].clone()], "settled"));
    let file = Dispute::file("b.txt", ["base\n", "hub\n", "spoke\n"]);
    file.resolve(&["--take", "hub"]).expect(0);
    write(&file.world.app_files().join("b.txt"), "later\n");
    file.undo().expect(7);
    assert_eq!((file.texts("b.txt"), file.is().as_str()), (["hub\n".into(), "later\n".into()], "settled"));
    file.world.cathedral(&["sync"]).expect(0);
    file.undo().expect(7);
    assert_eq!((file.texts("b.txt"), file.is().as_str()), (["later\n".into(), "later\n".into()], "settled"));
}

/// An answer about rows that depend on each other moves all of them, and is taken back for all of them.
#[test]
fn an_answer_about_a_group_of_rows_is_undone_as_a_whole() {
    let tables = "create table c (id integer primary key, email text unique); insert into c values (1, 'a'), (2, 'b');
         create table o (id integer primary key, c integer references c(id)); insert into o values (1, 2), (2, 2);";
    let unique = ["insert into c values (10, 'u');", "insert into c values (11, 'u');", "c[11]"];
    let parent = ["delete from c where id = 1;", "insert into o values (5, 1);", "c[1]"];
    for [hub, app, other] in [unique, parent] {
        let dispute = Dispute::of(
            |world| sql(&world.hub_db(), tables),
            |world| {
                sql(&world.hub_db(), hub);
                sql(&world.app_db(), app);
            },
        );
        let look = || [dispute.world.hub_db(), dispute.world.app_db()].map(|db| eyes::rows(&db));
        let shown = dispute.world.cathedral(&["conflicts", "show", &dispute.id]).expect(0);
        assert!(shown.out.contains(other) && shown.out.contains("email"), "{shown:?}");
        let before = look();
        let states = || {
            let list = dispute.world.cathedral(&["conflicts", "--all", "--json"]).json();
            let all = list["data"]["conflicts"].as_array().unwrap().clone();
            all.iter().map(|c| c["state"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let resolved = dispute.resolve(&["--take", "hub"]).expect(0);
        assert_eq!(states(), BTreeSet::from(["settled".to_owned()]), "{app}");
        if other == "c[11]" {
            assert!(resolved.out.contains("and with it conflict"), "{resolved:?}");
            let list = dispute.world.cathedral(&["conflicts", "--all"]);
            assert!(list.out.contains(&format!("settled with {}", dispute.id)), "{list:?}");
        }
        assert_eq!(look()[0], look()[1]);
        dispute.undo().expect(0);
        assert_eq!((look(), states()), (before, BTreeSet::from(["open".to_owned()])), "{app}");
        dispute.assert_waits();
        dispute.resolve(&["--take", "spoke"]).expect(0);
        sql(&dispute.world.app_db(), "delete from o where id = 5; update c set email = 'later' where id = 11;");
        let now = look();
        dispute.undo().expect(7);
        assert_eq!((look(), dispute.is().as_str()), (now, "settled"), "{app}");
    }
}

/// A row that refers to nothing stops nothing but itself.
#[test]
fn a_row_that_refers_to_nothing_waits_alone() {
    let tables = "create table c (id integer primary key, email text); insert into c values (1, 'a'), (2, 'b');
         create table o (id integer primary key, c integer references c(id)); insert into o values (1, 2);";
    for (broken, place, keeps) in
        [("delete from c where id = 2;", "c[2]", "spoke"), ("insert into o values (7, 77);", "o[7]", "spoke")]
    {
        let dispute = Dispute::of(
            |world| sql(&world.hub_db(), tables),
            |world| {
                sql(&world.hub_db(), &format!("pragma foreign_keys = off; {broken} insert into c values (3, 'x');"));
                sql(&world.app_db(), "insert into c values (4, 'y');");
            },
        );
        let list = dispute.world.cathedral(&["conflicts", "--json"]).json();
        let list = list["data"]["conflicts"].as_array().unwrap().clone();
        assert_eq!(
            (list.len(), list[0]["where"].as_str(), list[0]["conflict_kind"].as_str()),
            (1, Some(place), Some("foreign_key"))
        );
        let look = || [dispute.world.hub_db(), dispute.world.app_db()].map(|db| eyes::rows(&db));
        for rows in look() {
            assert!(rows.iter().any(|r| r.starts_with("c: Integer(3)")), "{rows:?}");
            assert!(rows.iter().any(|r| r.starts_with("c: Integer(4)")), "{rows:?}");
        }
        dispute.assert_waits();
        let before = look();
        let refused = dispute.resolve(&["--take", "hub"]).expect(7);
        assert!(refused.err.contains("refer") && refused.err.contains("change or delete"), "{refused:?}");
        assert_eq!((look(), dispute.is().as_str()), (before.clone(), "open"));
        dispute.resolve(&["--take", keeps]).expect(0);
        assert_eq!(look()[0], look()[1]);
        if place == "o[7]" {
            dispute.undo().expect(0);
            assert_eq!((look(), dispute.is().as_str()), (before, "open"), "as its side had it");
        }
    }
}
