//! Crashes, races, declined pushes and hostile repositories.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{MirrorMode, SharedPath, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::plan::SpokePlan;
use cathedral_model::ports::{Cause, PortError, Syncer};
use cathedral_syncers::git::Moment;
use git_support::{Repo, World, git_of, mirror, mirrors_to, now, submodule};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Refs = BTreeMap<String, String>;

/// A spoke in which everything happens at once: a merge, a bump, shared paths both ways.
fn busy() -> (World, Repo, Spoke, SpokePlan) {
    let mut world = World::new();
    let modules = "[submodule \"lib\"]\n\tpath = libs/lib\n\turl = ../lib\n";
    world.hub.commit("main", Some("main"), &[("docs/a.md", Some("a\n")), (".gitmodules", Some(modules))]);
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let mut spoke = submodule(&lib.0.display().to_string());
    git_of(&mut spoke).shared_paths = vec![SharedPath { hub: "docs".into(), spoke: "docs".into() }];
    world.sync(&spoke);
    world.is_quiet(&spoke);
    let ahead = lib.commit("side", Some("main"), &[("hub.txt", Some("h\n"))]);
    world.hub.put_link("main", "libs/lib", &ahead);
    world.hub.put("main", "docs/a.md", "a of the hub\n");
    lib.commit("main", Some("main"), &[("spoke.txt", Some("s\n")), ("docs/b.md", Some("b\n"))]);
    let plan = world.plan(&spoke, vec![]);
    assert!(plan.conflicts.is_empty(), "{plan:?}");
    (world, lib, spoke, plan)
}

/// The same for a mirror with a further mirror.
fn busy_mirror() -> (World, Repo, Spoke, SpokePlan) {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let copy = Repo::bare(world.path("copy.git"));
    lib.put("main", "a.txt", "one\n");
    let url = copy.0.display().to_string();
    let spoke = mirrors_to(&lib.0.display().to_string(), &[("copy", &url, MirrorMode::Both)]);
    world.sync(&spoke);
    lib.put("main", "spoke.txt", "s\n");
    copy.put("main", "copy.txt", "c\n");
    world.store("lib").put("main", "hub.txt", "h\n");
    let plan = world.plan(&spoke, vec![]);
    assert!(plan.conflicts.is_empty(), "{plan:?}");
    (world, lib, spoke, plan)
}

fn outcome(world: &World, lib: &Repo) -> [Refs; 3] {
    [world.hub.heads(), lib.heads(), world.store("lib").heads()]
}

/// Stops the apply around every call of git in turn, and then goes on: by the same plan, or by a new
/// one. Both must come to the state of an undisturbed run, with the same commits.
fn survives(make: fn() -> (World, Repo, Spoke, SpokePlan), replan: bool) {
    let (mut world, lib, spoke, plan) = make();
    let applied = world.apply(&spoke, &plan);
    assert_eq!(applied.skipped, vec![]);
    world.is_quiet(&spoke);
    let expect = outcome(&world, &lib);
    let (mut world, lib, spoke, plan) = make();
    let saved = world.save();
    for stop_at in 0.. {
        world.put_back(&saved);
        let count = Arc::new(AtomicUsize::new(0));
        let calls = count.clone();
        world.options.interrupt = Some(Arc::new(move |moment: Moment, _: &[_]| {
            // After one call is before the next: nothing else is written between them.
            moment == Moment::After || calls.fetch_add(1, Ordering::SeqCst) != stop_at
        }));
        let syncer = world.syncer();
        let run = RunId(world.run);
        let stopped =
            now(syncer.pin(&spoke, &plan, run)).is_err() || now(syncer.apply(&spoke, &plan, run, Fence(1))).is_err();
        world.options.interrupt = None;
        if !stopped {
            assert!(stop_at > 5, "the sweep has seen the whole apply");
            break;
        }
        let plan = if replan { world.plan(&spoke, vec![]) } else { plan.clone() };
        let applied = world.apply(&spoke, &plan);
        assert_eq!(applied.skipped, vec![], "after a stop at {stop_at}, replan {replan}");
        assert_eq!(outcome(&world, &lib), expect, "after a stop at {stop_at}, replan {replan}");
        world.is_quiet(&spoke);
    }
}

#[test]
fn a_submodule_apply_stopped_anywhere_is_finished_by_the_same_plan() {
    survives(busy, false);
}

#[test]
fn a_submodule_apply_stopped_anywhere_is_finished_by_a_new_plan() {
    survives(busy, true);
}

#[test]
fn a_mirror_apply_stopped_anywhere_is_finished_by_the_same_plan() {
    survives(busy_mirror, false);
}

#[test]
fn a_mirror_apply_stopped_anywhere_is_finished_by_a_new_plan() {
    survives(busy_mirror, true);
}

#[test]
fn a_person_who_is_faster_than_the_push_wins_and_nothing_is_lost() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let ours = world.store("lib").put("main", "hub.txt", "h\n");
    let plan = world.plan(&spoke, vec![]);
    let rival = lib.clone();
    let pushes = Arc::new(AtomicUsize::new(0));
    let seen = pushes.clone();
    world.options.interrupt = Some(Arc::new(move |moment, args| {
        if moment == Moment::Before
            && args.first().is_some_and(|a| a == "push")
            && seen.fetch_add(1, Ordering::SeqCst) == 0
        {
            rival.put("main", "rival.txt", "r\n");
        }
        true
    }));
    let applied = world.apply(&spoke, &plan);
    world.options.interrupt = None;
    assert_eq!(pushes.load(Ordering::SeqCst), 1);
    assert_eq!(applied.skipped.len(), 1, "{applied:?}");
    assert_eq!(lib.text("main", "rival.txt"), "r");
    // The next run merges both.
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts, vec![]);
    lib.git(&["merge-base", "--is-ancestor", &ours, "main"]);
    assert_eq!(lib.text("main", "rival.txt"), "r");
    world.is_quiet(&spoke);
}

#[test]
fn two_hubs_that_push_at_once_come_to_one_history() {
    let mut one = World::new();
    let lib = Repo::bare(one.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    let mut two = World::new();
    one.sync(&spoke);
    two.sync(&spoke);
    one.store("lib").put("main", "one.txt", "1\n");
    two.store("lib").put("main", "two.txt", "2\n");
    let plans = [one.plan(&spoke, vec![]), two.plan(&spoke, vec![])];
    one.apply(&spoke, &plans[0]);
    let late = two.apply(&spoke, &plans[1]);
    assert_eq!(late.skipped.len(), 1, "the late writer is refused: {late:?}");
    two.sync(&spoke);
    one.sync(&spoke);
    assert_eq!(one.store("lib").heads(), two.store("lib").heads());
    assert_eq!((lib.text("main", "one.txt"), lib.text("main", "two.txt")), ("1".into(), "2".into()));
    one.is_quiet(&spoke);
    two.is_quiet(&spoke);
}

#[test]
fn a_hub_that_moves_while_a_pin_is_written_gets_the_pin_on_top() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = submodule(&lib.0.display().to_string());
    world.sync(&spoke);
    lib.put("main", "b.txt", "b\n");
    let plan = world.plan(&spoke, vec![]);
    let (rival, hub) = (world.hub.clone(), world.hub.clone());
    let first = AtomicUsize::new(0);
    world.options.interrupt = Some(Arc::new(move |moment, args| {
        if moment == Moment::Before
            && args.first().is_some_and(|a| a == "push")
            && first.fetch_add(1, Ordering::SeqCst) == 0
        {
            rival.put("main", "notes.txt", "n\n");
        }
        true
    }));
    let applied = world.apply(&spoke, &plan);
    world.options.interrupt = None;
    assert_eq!(applied.skipped, vec![]);
    assert_eq!((hub.text("main", "notes.txt"), hub.link("main", "libs/lib")), ("n".into(), Some(lib.tip("main"))));
    world.is_quiet(&spoke);
}

#[test]
fn a_ring_of_three_mirrors_falls_silent() {
    let mut worlds = [World::new(), World::new(), World::new()];
    let repos: Vec<Repo> = worlds.iter().map(|w| Repo::bare(w.path("lib.git"))).collect();
    repos[0].put("main", "a.txt", "one\n");
    let urls: Vec<String> = repos.iter().map(|r| r.0.display().to_string()).collect();
    let spokes: Vec<Spoke> =
        (0..3).map(|i| mirrors_to(&urls[i], &[("next", &urls[(i + 1) % 3], MirrorMode::Both)])).collect();
    let round = |worlds: &mut [World; 3]| -> usize {
        worlds.iter_mut().zip(&spokes).map(|(w, s)| w.sync(s).0.actions.len()).sum()
    };
    // A world keeps one base; each hub has one spoke here.
    while round(&mut worlds) > 0 {}
    for (i, repo) in repos.iter().enumerate() {
        repo.put("main", &format!("from-{i}"), "x\n");
    }
    worlds[0].store("lib").put("main", "from-hub", "x\n");
    let mut rounds = 0;
    while round(&mut worlds) > 0 {
        rounds += 1;
        assert!(rounds < 8, "the ring does not come to rest");
    }
    let expect = repos[0].heads();
    for (world, repo) in worlds.iter().zip(&repos) {
        assert_eq!(repo.heads(), expect);
        assert_eq!(world.store("lib").heads(), expect);
    }
    for file in ["from-0", "from-1", "from-2", "from-hub"] {
        assert_eq!(repos[2].text("main", file), "x");
    }
}

fn hook(repo: &Repo, name: &str, text: &str) {
    let path = repo.0.join("hooks").join(name);
    std::fs::create_dir_all(repo.0.join("hooks")).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_declined_ref_keeps_the_remotes_words_and_the_others_go_on() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    hook(&lib, "update", "[ \"$1\" = refs/heads/main ] && { echo 'GH006: Protected branch' >&2; exit 1; }; exit 0");
    let store = world.store("lib");
    store.put("main", "b.txt", "b\n");
    store.git(&["branch", "free", "main"]);
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped.len(), 1, "{applied:?}");
    assert_eq!(applied.skipped[0].target, "refs/heads/main");
    assert!(applied.skipped[0].why.contains("GH006"), "{:?}", applied.skipped);
    assert_eq!(lib.tip("free"), store.tip("free"));
    assert_eq!(applied.changes_out, 1);
    hook(&lib, "update", "exit 0");
    world.sync(&spoke);
    assert_eq!(lib.heads(), store.heads());
}

#[test]
fn a_pin_is_not_bumped_to_what_the_spoke_declined() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = submodule(&lib.0.display().to_string());
    world.sync(&spoke);
    let ahead = lib.commit("side", Some("main"), &[("hub.txt", Some("h\n"))]);
    world.hub.put_link("main", "libs/lib", &ahead);
    lib.put("main", "spoke.txt", "s\n");
    hook(&lib, "pre-receive", "echo 'policy: frozen' >&2; exit 1");
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped.len(), 2, "{applied:?}");
    assert!(applied.skipped.iter().any(|s| s.why.contains("policy: frozen")), "{applied:?}");
    assert_eq!(world.hub.link("main", "libs/lib"), Some(ahead));
}

#[test]
fn a_push_whose_answer_is_lost_is_decided_by_reading_back() {
    // The remote takes the push and its answer is lost: the run counts it as done.
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    hook(&lib, "post-receive", "kill -9 $PPID");
    let mine = world.store("lib").put("main", "b.txt", "b\n");
    let (_, applied) = world.sync(&spoke);
    assert_eq!(lib.tip("main"), mine);
    assert_eq!((applied.skipped.len(), applied.changes_out), (0, 1), "{applied:?}");
}

/// Writes any tree at all.
fn raw_tree(repo: &Repo, entries: &[(&str, &[u8], &str)]) -> String {
    let mut data = Vec::new();
    for (mode, name, oid) in entries {
        data.extend_from_slice(format!("{mode} ").as_bytes());
        data.extend_from_slice(name);
        data.push(0);
        data.extend((0..20).map(|i| u8::from_str_radix(&oid[2 * i..2 * i + 2], 16).unwrap()));
    }
    repo.git_with(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &data)
}

#[test]
fn hostile_trees_are_refused_and_the_other_refs_go_on() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let blob = lib.git_with(&["hash-object", "-w", "--stdin"], b"#!/bin/sh\n");
    let inner = raw_tree(&lib, &[("100755", b"post-checkout", &blob)]);
    let escape = lib.git_with(&["hash-object", "-w", "--stdin"], b"../../etc/passwd");
    let modules =
        lib.git_with(&["hash-object", "-w", "--stdin"], b"[submodule \"x\"]\n\tpath = \"x\\r\"\n\turl = https://h/x\n");
    for (branch, entry) in [
        ("dotgit", ("40000", &b".git"[..], &inner)),
        ("upper", ("40000", b".GIT", &inner)),
        ("short", ("40000", b"git~1", &inner)),
        ("hfs", ("40000", ".g\u{200c}it".as_bytes(), &inner)),
        ("up", ("100644", b"..", &blob)),
        ("stream", ("100644", b".git::$INDEX_ALLOCATION", &blob)),
        ("link", ("120000", b".gitmodules", &escape)),
        ("modules", ("100644", b".gitmodules", &modules)),
    ] {
        let tree = raw_tree(&lib, &[entry_of(entry)]);
        lib.commit_tree(branch, None, &tree);
    }
    let good = lib.put("main", "b.txt", "b\n");
    let observed = world.observe(&spoke);
    for branch in ["dotgit", "upper", "short", "hfs", "up", "stream", "link", "modules"] {
        assert!(
            observed.warnings.iter().any(|w| w.contains(&format!("refs/heads/{branch} "))),
            "{branch}: {:?}",
            observed.warnings
        );
    }
    world.sync(&spoke);
    let store = world.store("lib");
    assert_eq!(store.tip("main"), good);
    assert_eq!(store.heads().len(), 1, "{:?}", store.heads());
    world.is_quiet(&spoke);
}

fn entry_of<'a>((mode, name, oid): (&'a str, &'a [u8], &'a String)) -> (&'a str, &'a [u8], &'a str) {
    (mode, name, oid)
}

#[test]
fn old_flaws_are_tolerated_by_name() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let blob = lib.git_with(&["hash-object", "-w", "--stdin"], b"x\n");
    let tree = raw_tree(&lib, &[("100644", b".git", &blob)]);
    lib.commit_tree("main", None, &tree);
    let mut spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    assert!(world.store("lib").heads().is_empty());
    git_of(&mut spoke).fsck_allow = vec!["hasDotgit".into()];
    world.sync(&spoke);
    assert_eq!(world.store("lib").heads(), lib.heads());
}

#[test]
fn hostile_ref_names_are_left_alone_and_odd_ones_travel() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let tip = lib.put("main", "a.txt", "one\n");
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for name in ["refs/heads/a..b", "refs/heads/x.lock", "refs/heads/@{u}", "refs/heads/.hidden", "refs/heads/sp ace"] {
        packed.push_str(&format!("{tip} {name}\n"));
    }
    packed.push_str(&format!("{tip} refs/heads/{}\n", "l".repeat(250)));
    std::fs::write(lib.0.join("packed-refs"), packed).unwrap();
    for name in
        ["refs/heads/-o", "refs/heads/HEAD", "refs/heads/refs/heads/main", "refs/heads/é", &format!("refs/heads/{tip}")]
    {
        lib.git(&["update-ref", name, &tip]);
    }
    let spoke = mirror(&lib.0.display().to_string());
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    let store = world.store("lib");
    let names: Vec<String> = store.heads().into_keys().collect();
    assert_eq!(names.len(), 6, "{names:?}");
    // And back out again, to a repository that is not broken itself.
    std::fs::remove_file(lib.0.join("packed-refs")).unwrap();
    let mine = store.commit("-o", Some("-o"), &[("b", Some("b\n"))]);
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(lib.get("refs/heads/-o"), Some(mine));
}

#[test]
fn options_and_commands_in_a_url_are_never_run() {
    let world = World::new();
    let trap = world.path("trap");
    for url in [
        format!("--upload-pack=touch {}", trap.display()),
        format!("ext::sh -c 'touch {}'", trap.display()),
        format!("ssh://-oProxyCommand=touch%20{}/x", trap.display()),
        format!("-oProxyCommand=touch {}:x", trap.display()),
    ] {
        let error = now(world.syncer().observe(&mirror(&url))).unwrap_err();
        assert_eq!(error.cause(), Cause::Invalid, "{url}: {error}");
    }
    assert!(!trap.exists());
}

#[test]
fn a_source_with_missing_objects_keeps_the_last_good_state() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let good = lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    lib.put("main", "b.txt", "lost\n");
    lib.git(&["branch", "fine", &good]);
    let blob = lib.git(&["rev-parse", "main:b.txt"]);
    std::fs::remove_file(lib.0.join("objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let observed = world.observe(&spoke);
    assert!(observed.warnings.iter().any(|w| w.contains("refs/heads/main")), "{:?}", observed.warnings);
    world.sync(&spoke);
    let store = world.store("lib");
    assert_eq!((store.tip("main"), store.tip("fine")), (good.clone(), good));
}

#[test]
fn a_pin_to_a_commit_that_is_nowhere_waits() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = submodule(&lib.0.display().to_string());
    world.sync(&spoke);
    world.hub.put_link("main", "libs/lib", &"1".repeat(40));
    lib.put("main", "b.txt", "b\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "missing_commit");
    assert_eq!(plan.actions, vec![]);
    assert_eq!(world.hub.link("main", "libs/lib"), Some("1".repeat(40)));
}

#[test]
fn sha_256_and_missing_repositories_say_what_they_are() {
    let world = World::new();
    let path = world.path("sha256");
    git_support::run(
        std::process::Command::new("git").args(["init", "-q", "--object-format=sha256", "-b", "main"]).arg(&path),
    );
    let repo = Repo(path.clone());
    repo.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let error = now(world.syncer().observe(&mirror(&path.display().to_string()))).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert_eq!(error.cause(), Cause::Invalid);
    let error = now(world.syncer().observe(&mirror(&world.path("none").display().to_string()))).unwrap_err();
    assert_eq!(error.cause(), Cause::NotFound);
    std::fs::create_dir(world.path("folder")).unwrap();
    let error = now(world.syncer().observe(&mirror(&world.path("folder").display().to_string()))).unwrap_err();
    assert_eq!(error.cause(), Cause::NotFound, "{error}");
}

#[test]
fn a_plan_of_another_configuration_is_refused() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let mut spoke = mirror(&lib.0.display().to_string());
    let plan = world.plan(&spoke, vec![]);
    git_of(&mut spoke).refs.prune = true;
    let error = now(world.syncer().apply(&spoke, &plan, RunId(1), Fence(1))).unwrap_err();
    assert!(matches!(error, PortError::Permanent { cause: Cause::Refused, .. }), "{error}");
}

#[test]
fn the_agreed_state_survives_the_loss_of_the_database() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let store = world.store("lib");
    store.put("main", "h.txt", "h\n");
    lib.put("main", "s.txt", "s\n");
    world.base = None;
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts, vec![], "without a base this would be a conflict");
    assert_eq!(store.heads(), lib.heads());
}
