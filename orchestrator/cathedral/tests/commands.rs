//! Small things a person or script meets at the command line.

#![allow(clippy::unwrap_used)]

mod support;

use support::outputs::{assert_plain, check_failure, refused, troubled};
use support::world::World;
use support::{cathedral, scratch};

#[test]
fn what_explains_can_be_read_by_scripts() {
    let place = scratch();
    let json = |args: &[&str]| cathedral(place.path(), args).expect(0).json()["data"].clone();
    let codes = json(&["help", "codes", "--json"]);
    assert!(codes["codes"].as_array().unwrap().iter().any(|c| c["code"] == 11), "{codes:#}");
    assert!(codes["errors"].as_array().unwrap().iter().any(|c| c["code"] == "C1301"), "{codes:#}");
    assert_eq!(json(&["help", "c1301", "--json"])["topic"], "C1301");
    assert!(json(&["help", "conflicts", "resolve", "--json"])["text"].as_str().unwrap().contains("--take"));
    assert!(json(&["man", "--json"])["page"].as_str().unwrap().contains(".TH"));
    let pages = json(&["man", "pages", "--json"])["pages"].as_array().unwrap().clone();
    assert!(pages.iter().any(|p| p == "cathedral-conflicts-resolve.1"), "{pages:?}");
    assert!(json(&["schema", "--json"])["schemas"].as_array().unwrap().iter().any(|n| n == "status"));
    assert!(json(&["completion", "bash", "--json"])["script"].as_str().unwrap().contains("_cathedral"));
}

#[test]
fn a_wrong_command_line_says_what_why_and_what_next() {
    let place = scratch();
    let cases = [
        (&["frobnicate"][..], "has no command"),
        (&["syncc"], "did you mean"),
        (&["run"], "show, log"),
        (&["status", "--al"], "did you mean"),
        (&["conflicts", "show"], "is missing"),
        (&["conflicts", "show", "x"], "whole number"),
        (&["conflicts", "resolve", "1", "--take", "hubb"], "did you mean hub?"),
        (&["sync", "--only", "sinc"], "cathedral sync --help"),
        (&["runs", "--limit", "0"], "1..=1000"),
        (&["status", "--json", "--plain"], "together"),
    ];
    for (args, words) in cases {
        let with: Vec<&str> = args.iter().copied().chain((!args.contains(&"--json")).then_some("--json")).collect();
        let ran = check_failure(cathedral(place.path(), args), &cathedral(place.path(), &with), 2);
        assert!(ran.err.contains(words), "{args:?}: {words:?} is not in {}", ran.err);
    }
}

#[test]
fn conflicts_takes_the_options_of_its_list() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let list = |args: &[&str]| world.cathedral(args).expect(11).json()["data"].clone();
    assert_eq!(list(&["conflicts", "--all", "--json"]), list(&["conflicts", "list", "--all", "--json"]));
    let one = list(&["conflicts", "codex", "--json"]);
    assert_eq!(one, list(&["conflicts", "list", "codex", "--json"]));
    assert!(one["conflicts"].as_array().unwrap().iter().all(|c| c["spoke"] == "codex"), "{one:#}");
    let ran = refused(&world, &["conflicts", "codx"], 4);
    assert!(ran.err.contains("did you mean codex?"), "{}", ran.err);
    refused(&world, &["conflicts", "undo", "1"], 7);
}

#[test]
fn events_begin_with_the_newest_and_can_be_paged() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    let cursors = |args: &[&str]| -> Vec<i64> {
        let with: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let data = world.cathedral(&with).expect(0).json()["data"].clone();
        data["events"].as_array().unwrap().iter().map(|e| e["cursor"].as_i64().unwrap()).collect()
    };
    let all = cursors(&["events", "--from", "0"]);
    assert!(all.len() > 5 && all.is_sorted());
    assert_eq!(cursors(&["events"]), all);
    assert_eq!(cursors(&["events", "--limit", "3"]), all[all.len() - 3..]);
    assert_eq!(cursors(&["events", "--from", "2", "--limit", "2"]), all[2..4]);
    assert_eq!(cursors(&["events", "--type", "run.finished", "--limit", "1"]).len(), 1);
    let told = world.cathedral(&["events", "--limit", "3"]).expect(0);
    assert_plain(&told);
    let hint = format!("cathedral events --from {} --limit 3", all[all.len() - 3] - 4);
    assert!(told.out.contains(&hint), "{hint:?} is not in {}", told.out);
    assert!(world.cathedral(&["events", "--type", "nothing"]).expect(0).out.contains("no events of type nothing"));
    let first = world.cathedral(&["events", "--limit", "1", "--json"]).expect(0).json();
    assert!(first["data"]["events"][0]["at"].as_str().unwrap().ends_with('Z'), "{first:#}");
}

#[test]
fn a_file_that_cannot_be_merged_is_told_and_one_that_can_is_a_document() {
    let place = scratch();
    for (name, text) in [("base", "a\n\nz\n"), ("hub", "b\n\nz\n"), ("spoke", "c\n\nz\n"), ("other", "a\n\ny\n")] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let run = |args: &[&str]| cathedral(place.path(), args);
    let clash = ["merge-file", "base", "hub", "spoke"];
    let ran = check_failure(run(&clash), &run(&["merge-file", "base", "hub", "spoke", "--json"]), 11);
    assert!(ran.out.is_empty() && ran.err.contains("same lines"), "{ran:?}");
    let ran = run(&["merge-file", "base", "hub", "spoke", "--suggest", "9"]).expect(11);
    assert!(ran.err.contains("no suggestion 9"), "{ran:?}");
    let merged = run(&["merge-file", "base", "hub", "other", "--json"]).expect(0).json();
    assert_eq!(merged["data"]["merged"], "b\n\ny\n", "{merged:#}");
    check_failure(run(&["merge-file", "base", "hub", "no"]), &run(&["merge-file", "base", "hub", "no", "--json"]), 4);
}

#[test]
fn a_plan_counts_what_it_was_asked_about_and_says_why_it_failed() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    let waiting = |spoke: &str| {
        let found = world.cathedral(&["conflicts", spoke, "--json"]).json();
        found["data"]["conflicts"].as_array().unwrap().len()
    };
    for spoke in ["codex", "mind"] {
        let ran = world.cathedral(&["plan", spoke]).expect(0);
        let told = match waiting(spoke) {
            0 => "nothing to do".to_owned(),
            1 => "; 1 conflict waits for you".to_owned(),
            n => format!("; {n} conflicts wait for you"),
        };
        assert!(ran.out.contains(&told), "{spoke}: {told:?} is not in {}", ran.out);
    }
    std::fs::rename(world.mind(), world.root.join("away.git")).unwrap();
    let ran = troubled(world.cathedral(&["plan", "mind"]), 6);
    assert!(ran.err.contains("mind could not be looked at"), "{ran:?}");
}

#[test]
fn the_journal_of_a_restore_names_its_parts_and_times_are_readable() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world.change();
    world.cathedral(&["sync"]).expect(11);
    world.cathedral(&["snapshot", "create"]).expect(0);
    world.cathedral(&["restore", "latest", "--to", "../back"]).expect(0);
    // What was copied elsewhere is no change that a snapshot lacks.
    let status = world.cathedral(&["status", "--json"]).expect(0).json();
    assert_eq!(status["data"]["not_in_a_snapshot"], serde_json::Value::Null, "{status:#}");
    for what in ["show", "log"] {
        let ran = world.cathedral(&["run", what, "last"]).expect(0);
        let names = |name: &str| ran.out.lines().any(|line| line.split_whitespace().any(|word| word == name));
        assert!(names("codex") && names("codex@spoke"), "{}", ran.out);
        let json = world.cathedral(&["run", what, "last", "--json"]).expect(0).json()["data"].clone();
        let at = if what == "show" { &json["changed_at"] } else { &json["journal"][0]["at"] };
        assert!(at.as_str().unwrap().ends_with('Z'), "{json:#}");
    }
    let runs = world.cathedral(&["runs", "--json"]).expect(0).json();
    assert!(runs["data"]["runs"][0]["queued_at"].as_str().unwrap().ends_with('Z'), "{runs:#}");
}

#[test]
fn what_is_written_out_never_takes_the_place_of_a_file() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    let key = world.state().join("keys/hub.key");
    let before = std::fs::read(&key).unwrap();
    for args in [
        &["proof", "snapshot", "latest", "--out", ".cathedral/keys/hub.key"][..],
        &["proof", "leaf", "0", "--out", ".cathedral/keys/hub.key"],
        &["plan", "--out", ".cathedral/keys/hub.key"],
    ] {
        let ran = refused(&world, args, 7);
        assert!(ran.err.contains("is there already"), "{ran:?}");
        assert_eq!(std::fs::read(&key).unwrap(), before, "{args:?}");
    }
    world.cathedral(&["proof", "snapshot", "latest", "--out", "../proof.tar"]).expect(0);
    world.cathedral(&["proof", "--verify", "../proof.tar"]).expect(0);
}

#[test]
fn every_configuration_in_force_is_kept_and_comes_back() {
    let place = scratch();
    let world = World::build(&place.path().join("world"));
    let file = world.hub().join(".cathedral/integration-config.yaml");
    let first = std::fs::read_to_string(&file).unwrap();
    refused(&world, &["config", "diff"], 4);
    world.cathedral(&["sync"]).expect(0);
    world.cathedral(&["config", "diff"]).expect(0);
    let second = format!("{first}# a remark\n");
    std::fs::write(&file, &second).unwrap();
    let diff = world.cathedral(&["config", "diff", "--json"]).expect(10).json()["data"].clone();
    assert!(diff["patch"].as_str().unwrap().contains("+# a remark"), "{diff:#}");
    world.cathedral(&["sync"]).expect(0);

    // A file that does not load any more is exactly when an earlier one is needed.
    let broken = "cathedral_ecosystem: [";
    std::fs::write(&file, broken).unwrap();
    world.cathedral(&["config", "rollback", "1"]).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    let versions = world.cathedral(&["config", "versions", "--json"]).expect(0).json()["data"]["versions"].clone();
    let numbers: Vec<i64> = versions.as_array().unwrap().iter().map(|v| v["number"].as_i64().unwrap()).collect();
    assert!(numbers.len() >= 4 && numbers.is_sorted_by(|a, b| a > b), "{versions:#}");
    assert_eq!(versions[0]["is_the_file"], true, "{versions:#}");
    // What stood in the file is kept, also when it was not fit for use; it is not put in force again.
    let kept = numbers.iter().find(|n| {
        let diff = world.cathedral(&["config", "diff", &n.to_string(), "1", "--json"]);
        diff.code == 10 && diff.json()["data"]["patch"].as_str().unwrap().contains(&format!("-{broken}"))
    });
    refused(&world, &["config", "rollback", &kept.expect("the broken text is kept").to_string()], 3);
    refused(&world, &["config", "rollback", "99"], 4);
}

#[test]
fn init_makes_the_first_secret_for_webhooks() {
    let place = scratch();
    let hub = place.path().join("hub");
    std::fs::create_dir(&hub).unwrap();
    cathedral(&hub, &["init"]).expect(0);
    let secret = std::fs::read_to_string(hub.join(".cathedral/keys/webhook-github")).unwrap();
    assert_eq!(secret.trim().len(), 64);
    let told = cathedral(&hub, &["hook", "receive-url"]).expect(0);
    assert!(told.out.ends_with("/hooks/github\n"), "{told:?}");
    assert!(told.err.contains("webhook-github") && !told.err.contains(secret.trim()), "{told:?}");
    assert_eq!(cathedral(&hub, &["hook", "receive-url", "--json"]).expect(0).json()["data"]["has_secret"], true);
}

#[test]
fn a_folder_in_place_of_the_configuration_is_called_one() {
    let place = scratch();
    std::fs::create_dir_all(place.path().join(".cathedral/integration-config.yaml")).unwrap();
    let ran = cathedral(place.path(), &["status"]).expect(3);
    assert!(ran.err.contains("is a folder"), "{ran:?}");
}

#[test]
fn init_looks_into_a_plain_folder_and_beside_a_repository() {
    let place = scratch();
    let at = |path: &str| place.path().join(path);
    let repository = |path: &str| {
        support::run(std::process::Command::new("git").args(["init", "-q", "-b", "main"]).arg(at(path)));
    };
    for path in ["work", "work/notes", "work/data", "elsewhere", "beside"] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    for path in ["work/one", "projects/theirs", "hub"] {
        repository(path);
    }
    support::world::sql(&at("work/shop.db"), "create table t (id integer primary key)");
    let text = |folder: &str| cathedral(&at(folder), &["init", "--stdout"]).expect(0).out;
    // A plain folder: what lies in it, and nothing of its neighbours.
    let inside = text("work");
    for wanted in ["name: one", "name: notes", "sqlite:shop.db"] {
        assert!(inside.contains(wanted), "{wanted}: {inside}");
    }
    assert!(!inside.contains("elsewhere") && !inside.contains("../"), "{inside}");
    // A repository: what lies beside it, but not where others keep their repositories.
    let beside = text("hub");
    assert!(beside.contains("../beside") && beside.contains("../elsewhere"), "{beside}");
    assert!(!beside.contains("projects") && !beside.contains("name: work"), "{beside}");
    let told = cathedral(&at("hub"), &["init"]).expect(0);
    assert!(told.out.contains("passed over") && told.out.contains("projects"), "{told:?}");
}
