//! Mirrors and submodule pins between repositories on this machine.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{DataSync, GitMerge, Side};
use cathedral_model::plan::{Answer, Choice};
use git_support::{Repo, World, git_of, mirror, run, submodule};
use std::process::Command;

/// A world with a submodule spoke whose pin stands at the tip.
fn pinned() -> (World, Repo, cathedral_model::ecosystem::Spoke) {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\ntwo\nthree\nfour\nfive\n");
    let spoke = submodule(&lib.0.display().to_string());
    (world, lib, spoke)
}

fn mirrored() -> (World, Repo, cathedral_model::ecosystem::Spoke) {
    let (mut world, lib, _) = pinned();
    let spoke = mirror(&lib.0.display().to_string());
    lib.git(&["tag", "v1", "main"]);
    lib.git(&["branch", "dev", "main"]);
    world.sync(&spoke);
    (world, lib, spoke)
}

#[test]
fn a_first_sync_creates_the_pin_and_declares_the_submodule() {
    let (mut world, lib, spoke) = pinned();
    let (plan, applied) = world.sync(&spoke);
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
    assert_eq!((applied.changes_in, applied.changes_out), (1, 0));
    assert_eq!(world.hub.link("main", "libs/lib"), Some(lib.tip("main")));
    assert!(world.hub.text("main", ".gitmodules").contains("path = libs/lib"));
    assert_eq!(world.hub.text("main", "README.md"), "hub");
    world.hub.git(&["fsck", "--strict"]);
    world.is_quiet(&spoke);
}

#[test]
fn a_new_tip_is_bumped_and_a_moved_pin_forwards_the_branch() {
    let (mut world, lib, spoke) = pinned();
    world.sync(&spoke);
    let new = lib.put("main", "b.txt", "new\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.actions[0].action, "bump");
    assert_eq!(world.hub.link("main", "libs/lib"), Some(new.clone()));
    assert!(world.hub.git(&["log", "-1", "--format=%B", "main"]).contains("(1 commits)"));
    world.is_quiet(&spoke);

    // A person commits in the spoke on a side branch and pins that commit in the hub.
    let ahead = lib.commit("next", Some("main"), &[("c.txt", Some("c\n"))]);
    world.hub.put_link("main", "libs/lib", &ahead);
    let (_, applied) = world.sync(&spoke);
    assert_eq!((applied.changes_in, applied.changes_out), (0, 1));
    assert_eq!(lib.tip("main"), ahead);
    world.is_quiet(&spoke);
}

#[test]
fn another_spokes_bump_in_the_hub_is_no_change_of_this_one() {
    let (mut world, _, spoke) = pinned();
    world.sync(&spoke);
    let before = world.observe(&spoke).digests();
    world.hub.put("main", "other/file", "x\n");
    assert_eq!(world.observe(&spoke).digests(), before);
}

#[test]
fn a_pin_of_a_commit_that_only_the_hubs_clone_has_is_taken_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let lib = Repo::bare(dir.path().join("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let hub = Repo::with_worktree(dir.path().join("hub"));
    std::fs::write(hub.0.join("README.md"), "hub\n").unwrap();
    hub.git(&["add", "."]);
    hub.git(&["commit", "-q", "-m", "start"]);
    hub.git(&["submodule", "--quiet", "add", &lib.0.display().to_string(), "libs/lib"]);
    hub.git(&["commit", "-q", "-m", "add lib"]);
    let url = hub.0.display().to_string();
    let mut world = World::around(dir, hub.clone(), url);
    let spoke = submodule(&lib.0.display().to_string());
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.actions, vec![]);
    let inner = Repo(hub.0.join("libs/lib"));
    std::fs::write(inner.0.join("b.txt"), "b\n").unwrap();
    inner.git(&["add", "."]);
    inner.git(&["commit", "-q", "-m", "in the hub's clone"]);
    hub.git(&["commit", "-q", "-am", "pin it"]);
    world.sync(&spoke);
    assert_eq!(lib.tip("main"), inner.tip("main"));
    world.is_quiet(&spoke);
}

#[test]
fn a_hub_with_unsaved_work_is_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let lib = Repo::bare(dir.path().join("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let hub = Repo::with_worktree(dir.path().join("hub"));
    std::fs::write(hub.0.join("README.md"), "hub\n").unwrap();
    hub.git(&["add", "."]);
    hub.git(&["commit", "-q", "-m", "start"]);
    let url = hub.0.display().to_string();
    let mut world = World::around(dir, hub.clone(), url);
    let spoke = submodule(&lib.0.display().to_string());
    std::fs::write(hub.0.join("README.md"), "not yet committed\n").unwrap();
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped.len(), 1);
    assert!(applied.skipped[0].why.contains("README.md"), "{:?}", applied.skipped);
    assert_eq!(std::fs::read_to_string(hub.0.join("README.md")).unwrap(), "not yet committed\n");
    hub.git(&["checkout", "-q", "README.md"]);
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(hub.link("main", "libs/lib"), Some(lib.tip("main")));
    assert_eq!(hub.git(&["status", "--porcelain", "--ignore-submodules=all"]), "", "the working tree followed");
    world.is_quiet(&spoke);
}

#[test]
fn a_mirror_takes_every_ref_and_passes_changes_both_ways() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    assert_eq!(store.heads(), lib.heads());
    world.is_quiet(&spoke);
    let there = lib.put("main", "b.txt", "b\n");
    let here = store.put("dev", "c.txt", "c\n");
    let (_, applied) = world.sync(&spoke);
    assert_eq!((applied.changes_in, applied.changes_out), (1, 1));
    assert_eq!((store.tip("main"), lib.tip("dev")), (there, here));
    assert_eq!(applied.hub.digest, world.observe(&spoke).hub.digest);
    world.is_quiet(&spoke);
}

#[test]
fn both_moved_and_the_merge_is_clean() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    let hub = store.put("main", "hub.txt", "h\n");
    let theirs = lib.put("main", "spoke.txt", "s\n");
    let (plan, applied) = world.sync(&spoke);
    assert!(plan.conflicts.is_empty() && plan.actions.len() == 2, "{plan:?}");
    assert_eq!((applied.changes_in, applied.changes_out), (1, 1));
    assert_eq!(store.tip("main"), lib.tip("main"));
    let parents = lib.git(&["log", "-1", "--format=%P", "main"]);
    assert_eq!(parents, format!("{hub} {theirs}"), "hub first, then spoke");
    assert!(lib.git(&["log", "-1", "--format=%B", "main"]).contains("Cathedral-Merge: lib"));
    world.is_quiet(&spoke);
}

#[test]
fn a_clean_merge_waits_when_the_owner_says_so() {
    let (mut world, lib, mut spoke) = mirrored();
    git_of(&mut spoke).merge = GitMerge::Queue;
    let store = world.store("lib");
    store.put("main", "hub.txt", "h\n");
    lib.put("main", "spoke.txt", "s\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts.len(), 1);
    assert!(plan.conflicts[0].suggested.is_some(), "a merge is offered");
    let suggested = plan.conflicts[0].suggested.clone().unwrap().shown;
    let (plan, _) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(Choice::Suggested));
    assert_eq!((plan.settles.len(), plan.conflicts.len()), (1, 0));
    assert_eq!((store.tip("main"), lib.tip("main")), (suggested.clone(), suggested));
    world.is_quiet(&spoke);
}

#[test]
fn a_textual_conflict_parks_one_ref_and_the_others_go_on() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    let hub = store.put("main", "a.txt", "one\nHUB\nthree\n");
    let theirs = lib.put("main", "a.txt", "one\nSPOKE\nthree\n");
    let other = lib.put("dev", "x", "x\n");
    let (plan, applied) = world.sync(&spoke);
    assert_eq!(plan.conflicts.len(), 1);
    let draft = &plan.conflicts[0];
    assert_eq!((draft.item.as_str(), draft.conflict_kind.as_str()), ("refs/heads/main", "diverged"));
    assert!(draft.because.contains("a.txt"));
    assert_eq!((store.tip("main"), lib.tip("main")), (hub.clone(), theirs.clone()), "neither side is written");
    assert_eq!(store.tip("dev"), other);
    assert_eq!(applied.skipped, vec![]);
    let run = world.run;
    for (side, oid) in [("hub", &hub), ("spoke", &theirs)] {
        let pin = format!("refs/cathedral/conflicts/{run}/lib/{side}/heads/main/%tip");
        assert_eq!(store.get(&pin).as_ref(), Some(oid), "{pin}");
    }
    // The same conflict again: no write, the same draft.
    let again = world.plan(&spoke, vec![]);
    assert_eq!(again.conflicts, plan.conflicts);
}

#[test]
fn every_answer_keeps_both_histories() {
    for choice in [Choice::Hub, Choice::Spoke, Choice::Base] {
        let (mut world, lib, spoke) = mirrored();
        let store = world.store("lib");
        let hub = store.put("main", "a.txt", "HUB\n");
        let theirs = lib.put("main", "a.txt", "SPOKE\n");
        let (plan, _) = world.sync(&spoke);
        let (answered, applied) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(choice));
        assert_eq!((answered.settles.len(), answered.conflicts.len()), (1, 0), "{choice:?}");
        assert_eq!(applied.skipped, vec![]);
        assert_eq!(store.tip("main"), lib.tip("main"));
        let expect = match choice {
            Choice::Hub => "HUB",
            Choice::Spoke => "SPOKE",
            _ => "one\ntwo\nthree\nfour\nfive",
        };
        assert_eq!(lib.text("main", "a.txt"), expect);
        for old in [&hub, &theirs] {
            lib.git(&["merge-base", "--is-ancestor", old, "main"]);
        }
        world.is_quiet(&spoke);
    }
}

#[test]
fn a_resolution_is_taken_back_and_the_conflict_is_open_again() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    let hub = store.put("main", "a.txt", "HUB\n");
    let theirs = lib.put("main", "a.txt", "SPOKE\n");
    let (plan, _) = world.sync(&spoke);
    let draft = plan.conflicts[0].clone();
    world.answer(&spoke, &draft, Answer::Take(Choice::Hub));
    let resolved = lib.tip("main");
    let (undone, applied) = world.answer(&spoke, &draft, Answer::Undo);
    assert_eq!((undone.settles.len(), undone.conflicts.len()), (1, 1));
    assert_eq!(applied.skipped, vec![]);
    assert_eq!((store.tip("main"), lib.tip("main")), (hub, theirs));
    assert!(store.reaches(&resolved), "what was taken back stays reachable");
    let again = world.plan(&spoke, vec![]);
    assert_eq!(again.conflicts.len(), 1);
    assert_eq!(again.actions, vec![]);
}

#[test]
fn an_undo_that_would_drop_newer_commits_is_refused() {
    // Whether the newer commit has reached the other side or not, and from whichever side it comes.
    for (at_hub, synced) in [(false, true), (false, false), (true, true), (true, false)] {
        let (mut world, lib, spoke) = mirrored();
        let store = world.store("lib");
        store.put("main", "a.txt", "HUB\n");
        lib.put("main", "a.txt", "SPOKE\n");
        let (plan, _) = world.sync(&spoke);
        let draft = plan.conflicts[0].clone();
        world.answer(&spoke, &draft, Answer::Take(Choice::Hub));
        let newer = if at_hub { &store } else { &lib }.put("main", "later.txt", "later\n");
        if synced {
            world.sync(&spoke);
        }
        let before = (store.tip("main"), lib.tip("main"));
        let (plan, applied) = world.answer(&spoke, &draft, Answer::Undo);
        assert_eq!((plan.conflicts.len(), plan.actions.len()), (0, 0), "{at_hub} {synced}: {plan:?}");
        assert_eq!((store.tip("main"), lib.tip("main")), before, "{at_hub} {synced}");
        assert_eq!((applied.skipped.len(), applied.skipped[0].target.as_str()), (1, "refs/heads/main"));
        let why = &applied.skipped[0].why;
        assert!(why.contains("main") && why.contains(&newer[..10]), "{why}");
        // The next run knows nothing of it, and loses nothing.
        world.sync(&spoke);
        assert_eq!((store.tip("main"), lib.tip("main")), (newer.clone(), newer));
        world.is_quiet(&spoke);
    }
}

#[test]
fn only_what_an_answer_made_is_taken_back() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    store.put("main", "a.txt", "HUB\n");
    lib.put("main", "a.txt", "SPOKE\n");
    let (plan, _) = world.sync(&spoke);
    let draft = plan.conflicts[0].clone();
    // People merge by themselves: nothing of it is an answer's.
    lib.git(&["fetch", "-q", &store.0.display().to_string(), "main:hub"]);
    let tree = lib.git(&["rev-parse", "main^{tree}"]);
    let merged = lib.git(&["commit-tree", &tree, "-p", "main", "-p", "hub", "-m", "by hand"]);
    lib.git(&["update-ref", "refs/heads/main", &merged]);
    let (plan, _) = world.answer(&spoke, &draft, Answer::Take(Choice::Hub));
    assert_eq!(plan.settles.len(), 1);
    let (_, applied) = world.answer(&spoke, &draft, Answer::Undo);
    assert_eq!((store.tip("main"), lib.tip("main")), (merged.clone(), merged));
    assert_eq!(applied.skipped.len(), 1);
}

#[test]
fn rewinds_rewrites_and_unrelated_histories_wait_for_a_person() {
    let (mut world, lib, spoke) = mirrored();
    let first = lib.tip("main");
    lib.put("main", "b.txt", "b\n");
    world.sync(&spoke);
    let store = world.store("lib");
    let agreed = store.tip("main");
    lib.git(&["update-ref", "refs/heads/main", &first]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "rewound");
    lib.commit("main", Some("main"), &[("z.txt", Some("z\n"))]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "rewritten");
    let stranger = lib.commit("main", None, &[("z.txt", Some("z\n"))]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "unrelated");
    assert_eq!(store.tip("main"), agreed);
    let (plan, _) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(Choice::Spoke));
    assert_eq!(plan.conflicts, vec![]);
    lib.git(&["merge-base", "--is-ancestor", &agreed, "main"]);
    lib.git(&["merge-base", "--is-ancestor", &stranger, "main"]);
    world.is_quiet(&spoke);
}

#[test]
fn tags_never_move_by_themselves() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    let before = store.get("refs/tags/v1").unwrap();
    lib.put("main", "b.txt", "b\n");
    lib.git(&["tag", "-f", "-a", "-m", "now annotated", "v1", "main"]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts.len(), 1);
    let draft = plan.conflicts[0].clone();
    assert_eq!(draft.conflict_kind, "tag_moved");
    assert!(draft.because.contains("annotated") && draft.because.contains("lightweight"), "{}", draft.because);
    assert_eq!(store.get("refs/tags/v1"), Some(before.clone()));
    let (_, applied) = world.answer(&spoke, &draft, Answer::Take(Choice::Spoke));
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(store.get("refs/tags/v1"), lib.get("refs/tags/v1"));
    let pin = format!("refs/cathedral/conflicts/{}/lib/hub/tags/v1/%tip", world.run);
    assert_eq!(store.get(&pin), Some(before));
    world.is_quiet(&spoke);
}

#[test]
fn deletions_travel_only_when_asked_and_never_over_new_work() {
    let (mut world, lib, mut spoke) = mirrored();
    let store = world.store("lib");
    let dev = lib.tip("dev");
    lib.git(&["branch", "-D", "-q", "dev"]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.conflicts.len(), plan.guards.len()), (0, 0, 0));
    assert_eq!(store.tip("dev"), dev);
    world.is_quiet(&spoke);
    // It is told each time, with what ends it.
    let told = world.observe(&spoke).warnings.join("\n");
    let command = format!("git -C {} update-ref -d refs/heads/dev", store.0.display());
    assert!(told.contains(&command) && told.contains("refs: { prune: true }"), "{told}");
    store.git(&["branch", "odd/$(x)'y", "main"]);
    world.sync(&spoke);
    store.git(&["update-ref", "-d", "refs/heads/odd/$(x)'y"]);
    let told = world.observe(&spoke).warnings.join("\n");
    let command = format!("git -C {} update-ref -d 'refs/heads/odd/$(x)'\\''y'", lib.0.display());
    assert!(told.contains(&command), "{told}");
    let words = told[told.find("git -C").unwrap()..].lines().next_back().unwrap();
    let typed = &words[words.find("git -C").unwrap()..words.find("    deletes").unwrap()];
    run(Command::new("sh").args(["-ec", typed]));
    assert_eq!(lib.get("refs/heads/odd/$(x)'y"), None, "{typed}");
    assert!(!world.observe(&spoke).warnings.join("\n").contains("odd/"), "what was ended is not told any more");
    world.sync(&spoke);
    // The other side goes on: now it is a question.
    store.put("dev", "more", "m\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "update/delete");
    let (plan, _) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(Choice::Hub));
    assert_eq!((plan.conflicts.len(), lib.tip("dev")), (0, store.tip("dev")));

    git_of(&mut spoke).refs.prune = true;
    let dev = lib.tip("dev");
    lib.git(&["branch", "-D", "-q", "dev"]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.actions[0].action, "delete");
    assert_eq!(store.get("refs/heads/dev"), None);
    assert!(store.reaches(&dev), "a deleted branch stays reachable");
    world.is_quiet(&spoke);
}

#[test]
fn a_branch_only_at_the_destination_is_never_deleted() {
    let (mut world, lib, mut spoke) = mirrored();
    spoke.data_sync = DataSync::HubDistribution;
    git_of(&mut spoke).refs.prune = true;
    lib.git(&["branch", "theirs", "main"]);
    world.sync(&spoke);
    assert!(lib.get("refs/heads/theirs").is_some());
    assert_eq!(world.store("lib").get("refs/heads/theirs"), None);
}

#[test]
fn an_emptied_side_is_guarded() {
    let (mut world, lib, spoke) = mirrored();
    for name in lib.refs().keys() {
        lib.git(&["update-ref", "-d", name]);
    }
    let plan = world.plan(&spoke, vec![]);
    assert_eq!(plan.guards.len(), 1);
    assert_eq!(plan.guards[0].name, "mass_deletion");
    assert!(plan.actions.is_empty(), "without prune nothing is deleted");
}

#[test]
fn files_and_folders_among_refs() {
    let (mut world, lib, mut spoke) = mirrored();
    let store = world.store("lib");
    // Across sides: neither is written.
    store.git(&["branch", "a", "main"]);
    lib.git(&["branch", "a/b", "main"]);
    let (plan, _) = world.sync(&spoke);
    assert!(plan.conflicts.iter().any(|c| c.conflict_kind == "directory_file"), "{:?}", plan.conflicts);
    assert_eq!((lib.get("refs/heads/a"), store.get("refs/heads/a/b")), (None, None));
    assert!(store.get("refs/cathedral/remote/lib/heads/a/b").is_some());
    store.git(&["branch", "-D", "-q", "a"]);
    world.sync(&spoke);
    // In one run: deletions first.
    git_of(&mut spoke).refs.prune = true;
    lib.git(&["branch", "-D", "-q", "dev"]);
    lib.git(&["branch", "dev/x", "main"]);
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0), "{plan:?}");
    assert_eq!(store.heads(), lib.heads());
    world.is_quiet(&spoke);
}

#[test]
fn directions_protect_the_other_side() {
    let (mut world, lib, mut spoke) = mirrored();
    let store = world.store("lib");
    spoke.data_sync = DataSync::HubDistribution;
    let drifted = lib.put("main", "drift", "d\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts[0].conflict_kind, "drift");
    assert_eq!(lib.tip("main"), drifted);
    spoke.data_sync = DataSync::Collect;
    let (plan, _) = world.sync(&spoke);
    assert!(plan.actions.iter().all(|a| a.side == Side::Hub));
    assert_eq!(store.tip("main"), drifted);
    spoke.data_sync = DataSync::SnapshotOnly;
    lib.put("main", "more", "d\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.conflicts.len()), (0, 0));
}

#[test]
fn resolvers_decide_files_that_git_does_not() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    lib.put("main", "config.json", "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    world.sync(&spoke);
    store.put("main", "config.json", "{\n  \"a\": 10,\n  \"b\": 2\n}\n");
    lib.put("main", "config.json", "{\n  \"a\": 1,\n  \"b\": 20\n}\n");
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts, vec![]);
    assert_eq!(lib.text("main", "config.json"), "{\n  \"a\": 10,\n  \"b\": 20\n}");
    world.is_quiet(&spoke);
}

#[test]
fn empty_and_unborn_repositories_are_in_sync() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let spoke = mirror(&lib.0.display().to_string());
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.guards.len()), (0, 0));
    assert_eq!(world.store("lib").git(&["symbolic-ref", "HEAD"]), "refs/heads/trunk");
    world.is_quiet(&spoke);
}

#[test]
fn an_answer_to_an_older_question_changes_nothing() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    store.put("main", "a.txt", "HUB\n");
    lib.put("main", "a.txt", "SPOKE\n");
    let (plan, _) = world.sync(&spoke);
    let newer = lib.put("main", "a.txt", "SPOKE AGAIN\n");
    let (answered, applied) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(Choice::Hub));
    assert_eq!((answered.settles.len(), answered.conflicts.len(), applied.changes_out), (0, 1, 0));
    assert_eq!(lib.tip("main"), newer);
    // People settle it by themselves: the answer has nothing left to do.
    lib.git(&["fetch", "-q", &store.0.display().to_string(), "main:hub"]);
    let tree = lib.git(&["rev-parse", "main^{tree}"]);
    let merged = lib.git(&["commit-tree", &tree, "-p", "main", "-p", "hub", "-m", "by hand"]);
    lib.git(&["update-ref", "refs/heads/main", &merged]);
    let (answered, _) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(Choice::Hub));
    assert_eq!((answered.settles.len(), answered.conflicts.len()), (1, 0));
    assert_eq!(store.tip("main"), merged);
}

#[test]
fn a_policy_of_the_command_line_answers_what_git_cannot_merge() {
    let (mut world, lib, spoke) = mirrored();
    let store = world.store("lib");
    let hub = store.put("main", "a.txt", "HUB\n");
    lib.commit("main", Some("main"), &[("a.txt", None), ("keep", Some("k\n"))]);
    let theirs = lib.tip("main");
    let plan = world.plan(&spoke, vec![]);
    assert_eq!(plan.conflicts.len(), 1, "deleted against edited");
    let asked = cathedral_model::plan::PlanContext {
        run: cathedral_model::ids::RunId(9),
        base: world.base,
        directives: vec![],
        waiting: vec![],
        policy: Some(cathedral_model::ecosystem::ConflictPolicy::Hub),
        held: Default::default(),
    };
    let plan = git_support::now(cathedral_model::ports::Syncer::plan(&world.syncer(), &spoke, &asked)).unwrap();
    assert_eq!(plan.conflicts, vec![]);
    world.apply(&spoke, &plan);
    assert_eq!(lib.text("main", "a.txt"), "HUB");
    lib.git(&["merge-base", "--is-ancestor", &hub, "main"]);
    lib.git(&["merge-base", "--is-ancestor", &theirs, "main"]);
    world.is_quiet(&spoke);
}

#[test]
fn a_spoke_with_unsaved_work_is_left_alone_and_named() {
    let mut world = World::new();
    let lib = Repo::with_worktree(world.path("lib"));
    std::fs::write(lib.0.join("a.txt"), "one\n").unwrap();
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "start"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mine = world.store("lib").put("main", "b.txt", "b\n");
    std::fs::write(lib.0.join("a.txt"), "not saved\n").unwrap();
    let (_, applied) = world.sync(&spoke);
    assert!(applied.skipped.len() == 1 && applied.skipped[0].why.contains("a.txt"), "{applied:?}");
    lib.git(&["checkout", "-q", "a.txt"]);
    let (_, applied) = world.sync(&spoke);
    assert_eq!((applied.skipped.len(), lib.tip("main")), (0, mine));
    assert_eq!(std::fs::read_to_string(lib.0.join("b.txt")).unwrap(), "b\n", "the working tree followed");
    world.is_quiet(&spoke);
}

#[test]
fn a_lock_left_by_a_killed_process_does_not_stop_the_store_for_ever() {
    let (mut world, lib, spoke) = mirrored();
    let new = lib.put("main", "b.txt", "b\n");
    let lock = world.store("lib").0.join("refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&lock).unwrap().set_modified(hour_ago).unwrap();
    world.sync(&spoke);
    assert_eq!(world.store("lib").tip("main"), new);
    assert!(!lock.exists());
}

#[test]
fn a_thousand_refs_without_a_change_are_read_without_children() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let tip = lib.put("main", "a.txt", "one\n");
    let lines: String = (0..1_000).map(|i| format!("create refs/heads/b/{i:05} {tip}\n")).collect();
    lib.git_with(&["update-ref", "--stdin"], lines.as_bytes());
    lib.git(&["pack-refs", "--all"]);
    let spoke = mirror(&lib.0.display().to_string());
    let start = std::time::Instant::now();
    let (_, applied) = world.sync(&spoke);
    println!("first sync of 1,001 refs: {:?}", start.elapsed());
    assert_eq!((applied.changes_in, applied.skipped.len()), (1_001, 0));
    world.options.interrupt = Some(std::sync::Arc::new(|_, _| panic!("a child process")));
    let start = std::time::Instant::now();
    world.observe(&spoke);
    println!("no change in 1,001 refs: {:?}", start.elapsed());
    world.options.interrupt = None;
    world.is_quiet(&spoke);
}

#[test]
fn a_lock_left_a_moment_ago_by_a_killed_process_does_not_stop_the_next_sync() {
    let locks = [
        "refs/heads/main.lock",
        "refs/cathedral/remote/spoke/heads/main.lock",
        "refs/cathedral/quarantine/spoke/heads/main.lock",
        "packed-refs.lock",
        "HEAD.lock",
        "shallow.lock",
        "index.lock",
    ];
    for name in locks {
        let mut world = World::new();
        let lib = Repo::bare(world.path("lib.git"));
        lib.put("main", "a.txt", "one\n");
        let spoke = mirror(&lib.0.display().to_string());
        world.sync(&spoke);
        let lock = world.store("lib").0.join(name);
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::write(&lock, "").unwrap();
        let in_the_users = lib.0.join("index.lock");
        std::fs::write(&in_the_users, "").unwrap();
        lib.put("main", "a.txt", "two\n");
        world.store("lib").try_git(&["pack-refs", "--all"]);
        world.sync(&spoke);
        world.is_quiet(&spoke);
        assert_eq!(world.store("lib").text("main", "a.txt"), "two", "{name}");
        assert!(in_the_users.exists());
    }
}
