//! What is shown of a conflict and of a refusal, and that what is offered there can be done.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use support::eyes;
use support::scratch;
use support::world::{World, sql, write};

fn built() -> (tempfile::TempDir, World) {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    (place, world)
}

/// Of conflicts about one group of rows none is closed before its sides agree, and only sides that can be taken are
/// offered.
#[test]
fn conflicts_of_one_group_keep_their_numbers_until_their_sides_agree() {
    let tables = "create table p (id integer primary key, u text unique); insert into p values (1, 'a'), (2, 'b');
         create table c (id integer primary key, p integer references p(id), n text);
         insert into c values (1, 1, 'x'), (2, 2, 'y');";
    let (_place, world) = built();
    let call = |args: &[&str]| world.cathedral(args);
    sql(&world.hub_db(), tables);
    call(&["sync"]).expect(0);
    sql(&world.hub_db(), "update p set u = 'h' where id = 1; update c set n = 'h';");
    let torn = "delete from c where id = 1; delete from p where id = 1; update p set id = 20 where id = 2;";
    sql(&world.app_db(), &format!("pragma foreign_keys = off; {torn}"));
    call(&["sync"]).expect(11);
    let list = || {
        let all = call(&["conflicts", "--all", "--json"]).json()["data"]["conflicts"].as_array().unwrap().clone();
        let text = |c: &Value, name: &str| c[name].as_str().unwrap().to_owned();
        all.iter().map(|c| (text(c, "where"), (c["id"].to_string(), text(c, "state")))).collect::<BTreeMap<_, _>>()
    };
    let ids: BTreeMap<String, String> = list().into_iter().map(|(place, (id, _))| (place, id)).collect();
    assert_eq!(ids.keys().collect::<Vec<_>>(), ["c[1]", "c[2]", "p[1]"]);
    let shown = call(&["conflicts", "show", &ids["c[1]"]]);
    assert!(shown.out.contains("--take hub cannot be carried out") && shown.out.contains("p[1]"), "{shown:?}");
    assert!(shown.out.contains(&format!("resolve {} --take spoke\n", ids["c[1]"])), "{shown:?}");
    call(&["conflicts", "resolve", &ids["c[1]"], "--take", "hub"]).expect(7);
    for place in ["p[1]", "c[1]", "c[2]"] {
        let waits = list();
        assert_eq!((waits.len(), &waits[place]), (3, &(ids[place].clone(), "open".to_owned())), "{waits:?}");
        let shown = call(&["conflicts", "show", &ids[place]]);
        assert!(shown.out.contains("--take hub"), "{shown:?}");
        call(&["conflicts", "resolve", &ids[place], "--take", "hub"]).expect(0);
    }
    assert!(list().values().all(|(_, state)| state == "settled"), "{:?}", list());
    call(&["sync"]).expect(0);
    assert_eq!(eyes::rows(&world.hub_db()), eyes::rows(&world.app_db()));
    let refused = call(&["conflicts", "resolve", &ids["c[2]"], "--take", "spoke"]).expect(7);
    assert!(refused.err.contains(&format!("conflicts undo {}", ids["c[2]"])), "{refused:?}");
}

/// Of a text it is shown what each side has changed, and all of it on demand; the machine's form is as it was.
#[test]
fn of_a_text_it_is_shown_what_each_side_has_changed() {
    let (_place, world) = built();
    let text = |changed: &str| {
        let line = |n: u32| if n == 50 { format!("{changed}\n") } else { format!("line {n}\n") };
        (1..=100).map(line).collect::<String>()
    };
    write(&world.hub_files().join("a.txt"), &text("base"));
    world.cathedral(&["sync"]).expect(0);
    write(&world.hub_files().join("a.txt"), &text("hub"));
    write(&world.app_files().join("a.txt"), &text("spoke"));
    // Both sides add this one, and one side of it is no text.
    write(&world.hub_files().join("b.txt"), "one\ntwo\n");
    write(&world.app_files().join("b.txt"), "one\n2\n");
    fs::write(world.hub_files().join("c.bin"), b"\x00\x01").unwrap();
    write(&world.app_files().join("c.bin"), "text\n");
    world.cathedral(&["sync"]).expect(11);
    let list = world.cathedral(&["conflicts", "--json"]).json();
    let all = list["data"]["conflicts"].as_array().unwrap();
    let id = |name: &str| all.iter().find(|c| c["where"].as_str().unwrap().contains(name)).unwrap()["id"].to_string();
    let shown = world.cathedral(&["conflicts", "show", &id("a.txt")]).expect(0).out;
    for (side, changed) in [("hub", "+hub"), ("spoke", "+spoke")] {
        assert!(shown.contains(&format!("--- base\n    +++ {side}\n")) && shown.contains(changed), "{shown}");
    }
    assert!(shown.contains("-base") && shown.contains(" line 47\n"), "{shown}");
    assert!(!shown.contains("line 46\n") && !shown.contains('\u{1b}'), "three lines around, and no colours: {shown}");
    let full = world.cathedral(&["conflicts", "show", &id("a.txt"), "--full"]).expect(0).out;
    assert_eq!(full.matches("line 1\n").count(), 3, "{full}");
    assert!(!full.contains("+++"), "{full}");
    let added = world.cathedral(&["conflicts", "show", &id("b.txt")]).expect(0).out;
    assert!(added.contains("--- hub\n    +++ spoke\n") && added.contains("-two") && added.contains("+2"), "{added}");
    let mixed = world.cathedral(&["conflicts", "show", &id("c.bin")]).expect(0).out;
    assert!(!mixed.contains("---") && mixed.contains("text"), "{mixed}");
}

/// What is said of a database that is gone brings it back.
#[test]
fn of_a_side_that_is_gone_it_is_said_what_brings_it_back() {
    let (_place, world) = built();
    sql(&world.hub_db(), "create table k (id integer primary key, v text); insert into k values (1, 'kept');");
    world.cathedral(&["sync"]).expect(0);
    sql(&world.hub_db(), "insert into k values (2, 'kept');");
    world.cathedral(&["sync"]).expect(0);
    let rows = eyes::rows(&world.app_db());
    fs::remove_file(world.app_db()).unwrap();
    for _ in 0..2 {
        let refused = world.cathedral(&["sync"]).expect(7);
        let line =
            refused.err.lines().find(|line| line.contains("--in-place")).unwrap_or_else(|| panic!("{refused:?}"));
        let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != "cathedral").skip(1).collect();
        let command = [&words[..4], &["--yes", "small"][..]].concat();
        assert_eq!((command[0], command[3]), ("restore", "--in-place"), "{refused:?}");
        world.cathedral(&command).expect(0);
        let back = eyes::rows(&world.app_db());
        assert!(back.iter().all(|row| rows.contains(row)) && !back.is_empty(), "{back:?}");
        world.cathedral(&["sync"]).expect(0);
        assert_eq!((eyes::rows(&world.app_db()), eyes::rows(&world.hub_db())), (rows.clone(), rows.clone()));
        fs::remove_file(world.app_db()).unwrap();
    }
    // Somebody who wants it made anew says so.
    world.cathedral(&["sync", "--yes", "small"]).expect(0);
    assert_eq!(eyes::rows(&world.app_db()), rows);
}

/// The same of a file tree, and what a sync will ask about is what the plan shows.
#[test]
fn a_file_tree_that_is_gone_comes_back_as_it_is_said_and_a_missing_marker_is_shown_and_confirmed() {
    let (_place, world) = built();
    for name in ["a", "b", "c", "d"] {
        write(&world.hub_files().join(name), name);
    }
    world.cathedral(&["sync"]).expect(0);
    for root in [world.app_files(), world.hub_files()] {
        let before = eyes::files(&root);
        fs::remove_dir_all(&root).unwrap();
        let refused = world.cathedral(&["sync"]).expect(7);
        let command = offered(&refused);
        world.cathedral(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
        world.cathedral(&["sync"]).expect(0);
        assert_eq!((eyes::files(&root), root.join(".cathedral-root").exists()), (before, true));
        world.cathedral(&["plan"]).expect(0);
    }
    // Nothing is to be copied, and still somebody has to say that this is the tree.
    fs::remove_file(world.app_files().join(".cathedral-root")).unwrap();
    for root in [world.app_files(), world.hub_files()] {
        write(&root.join("same"), "same");
    }
    let plan = world.cathedral(&["plan"]).expect(10);
    assert!(plan.out.contains("marker_missing"), "{plan:?}");
    let refused = world.cathedral(&["sync"]).expect(7);
    assert!(refused.err.contains("marker_missing"), "{refused:?}");
    world.cathedral(&["sync", "--yes", "small"]).expect(0);
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["plan"]).expect(0);
}

/// What was taken of a database after it was emptied brings nothing back.
#[test]
fn of_an_emptied_database_a_snapshot_is_offered_that_holds_something() {
    let (_place, world) = built();
    sql(&world.hub_db(), "create table k (id integer primary key, v text); insert into k values (1, 'kept');");
    world.cathedral(&["sync"]).expect(0);
    sql(&world.hub_db(), "insert into k values (2, 'kept');");
    world.cathedral(&["sync"]).expect(0);
    let rows = eyes::rows(&world.app_db());
    fs::write(world.app_db(), "").unwrap();
    world.cathedral(&["sync"]).expect(7);
    let command = offered(&world.cathedral(&["sync"]).expect(7));
    world.cathedral(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    assert!(!eyes::rows(&world.app_db()).is_empty());
    world.cathedral(&["sync"]).expect(0);
    assert_eq!((eyes::rows(&world.app_db()), eyes::rows(&world.hub_db())), (rows.clone(), rows));
}

/// The command that is offered to bring a lost side back, confirmed.
fn offered(refused: &support::Ran) -> Vec<String> {
    let line = refused.err.lines().find(|line| line.contains("--in-place")).unwrap_or_else(|| panic!("{refused:?}"));
    let words = line.split_whitespace().skip_while(|word| *word != "cathedral").skip(1).take(4);
    let command: Vec<String> = words.chain(["--yes", "small"]).map(str::to_owned).collect();
    assert_eq!((command[0].as_str(), command[3].as_str()), ("restore", "--in-place"), "{refused:?}");
    command
}
