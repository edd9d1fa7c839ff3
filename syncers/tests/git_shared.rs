//! Shared paths: contents kept equal, alone and together with a pin or a mirror.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{ConflictPolicy, DataSync, SharedPath};
use cathedral_model::plan::{Answer, Choice};
use cathedral_syncers::git::disputed_files;
use git_support::{Repo, World, git_of, mirror, sharing, submodule};

fn world_with(files: &[(&str, &str)]) -> (World, Repo) {
    let world = World::new();
    let files: Vec<_> = files.iter().map(|(f, t)| (*f, Some(*t))).collect();
    if !files.is_empty() {
        world.hub.commit("main", Some("main"), &files);
    }
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    (world, lib)
}

#[test]
fn a_file_and_a_folder_are_shared_and_an_echo_is_no_commit() {
    let (mut world, lib) = world_with(&[("LICENSE", "mit\n"), ("docs/x/y.md", "y\n")]);
    let spoke = sharing(&lib.0.display().to_string(), &[("LICENSE", "legal/LICENSE.txt"), ("docs", "docs")]);
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0));
    assert_eq!(lib.text("main", "legal/LICENSE.txt"), "mit");
    assert_eq!(lib.text("main", "docs/x/y.md"), "y");
    assert_eq!(lib.git(&["rev-list", "--count", "main"]), "2", "one commit for both");
    let message = lib.git(&["log", "-1", "--format=%B", "main"]);
    assert!(message.contains("Cathedral-Synced: docs ") && message.contains("Cathedral-Source: hub"), "{message}");
    world.is_quiet(&spoke);
    // The hub copies by hand what the spoke already has: nothing to do.
    world.hub.put("main", "other.txt", "o\n");
    lib.put("main", "a.txt", "two\n");
    world.is_quiet(&spoke);
    lib.git(&["fsck", "--strict"]);
}

#[test]
fn executable_files_and_links_are_copied_as_objects() {
    let (mut world, lib) = world_with(&[]);
    let blob = world.hub.git_with(&["hash-object", "-w", "--stdin"], b"#!/bin/sh\r\n");
    let target = world.hub.git_with(&["hash-object", "-w", "--stdin"], b"run.sh");
    let tools =
        world.hub.git_with(&["mktree"], format!("100755 blob {blob}\trun.sh\n120000 blob {target}\tlink\n").as_bytes());
    let root = world.hub.git_with(&["mktree"], format!("040000 tree {tools}\ttools\n").as_bytes());
    world.hub.commit_tree("main", None, &root);
    let spoke = sharing(&lib.0.display().to_string(), &[("tools", "deep/in/tools")]);
    world.sync(&spoke);
    assert_eq!(lib.git(&["rev-parse", "main:deep/in/tools"]), tools);
}

#[test]
fn both_sides_of_a_conflict_stay_until_a_person_decides() {
    for (choice, expect) in [(Choice::Hub, "HUB"), (Choice::Spoke, "SPOKE"), (Choice::Base, "one")] {
        let (mut world, lib) = world_with(&[("docs/a.md", "one\n")]);
        let spoke = sharing(&lib.0.display().to_string(), &[("docs", "docs")]);
        world.sync(&spoke);
        world.hub.put("main", "docs/a.md", "HUB\n");
        lib.put("main", "docs/a.md", "SPOKE\n");
        let (plan, _) = world.sync(&spoke);
        assert_eq!((plan.actions.len(), plan.conflicts.len()), (0, 1), "{plan:?}");
        assert_eq!(plan.conflicts[0].item, "path:docs");
        let store = world.store("lib");
        for (side, text) in [("hub", "HUB"), ("spoke", "SPOKE"), ("base", "one")] {
            let pin = format!("refs/cathedral/conflicts/{}/lib/{side}/path/docs/%tip", world.run);
            assert_eq!(store.text(&pin, "docs/a.md"), text);
        }
        let (plan, applied) = world.answer(&spoke, &plan.conflicts[0], Answer::Take(choice));
        assert_eq!((plan.settles.len(), plan.conflicts.len(), applied.skipped.len()), (1, 0, 0));
        assert_eq!(
            (world.hub.text("main", "docs/a.md"), lib.text("main", "docs/a.md")),
            (expect.into(), expect.into())
        );
        world.is_quiet(&spoke);
    }
}

#[test]
fn every_file_in_dispute_is_told_with_what_each_side_did_to_it() {
    let many: Vec<String> = (0..120).map(|n| format!("docs/many/{n:03}.txt")).collect();
    let mut all = vec![("docs/both.md", "one\n"), ("docs/gone.md", "one\n"), ("docs/fine.md", "one\n")];
    all.extend(many.iter().map(|f| (f.as_str(), "one\n")));
    let (mut world, lib) = world_with(&all);
    let spoke = sharing(&lib.0.display().to_string(), &[("docs", "docs")]);
    world.sync(&spoke);
    let change = |text: &'static str| vec![("docs/both.md", Some(text)), ("docs/new.md", Some(text))];
    let (mut hub, mut theirs) = (change("HUB\n"), change("SPOKE\n"));
    hub.extend([("docs/gone.md", None), ("docs/fine.md", Some("two\n"))]);
    theirs.push(("docs/gone.md", Some("edited\n")));
    world.hub.commit("main", Some("main"), &hub);
    lib.commit("main", Some("main"), &theirs);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts.len(), 1);
    let (files, more) = disputed_files(&plan.conflicts[0]);
    let id = |repo: &Repo, file: &str| repo.git(&["rev-parse", &format!("main:{file}")])[..10].to_owned();
    let (hub_both, spoke_both) = (id(&world.hub, "docs/both.md"), id(&lib, "docs/both.md"));
    let (hub_new, spoke_new) = (id(&world.hub, "docs/new.md"), id(&lib, "docs/new.md"));
    let told: Vec<[&str; 3]> = files.iter().map(|f| [f.field.as_str(), f.hub.as_str(), f.spoke.as_str()]).collect();
    assert_eq!(more, 0);
    assert_eq!(
        told,
        [
            ["docs/both.md", &format!("edited ({hub_both})"), &format!("edited ({spoke_both})")],
            ["docs/gone.md", "deleted", &format!("edited ({})", id(&lib, "docs/gone.md"))],
            ["docs/new.md", &format!("added ({hub_new})"), &format!("added ({spoke_new})")],
        ]
    );
    assert_eq!(files[2].base, "not there");

    let edit = |text: &'static str| many.iter().map(|f| (f.as_str(), Some(text))).collect::<Vec<_>>();
    world.hub.commit("main", Some("main"), &edit("HUB\n"));
    lib.commit("main", Some("main"), &edit("SPOKE\n"));
    let (plan, _) = world.sync(&spoke);
    let (files, more) = disputed_files(&plan.conflicts[0]);
    assert_eq!((files.len(), more), (100, 23));
}

#[test]
fn a_policy_decides_the_file_and_keeps_the_rest_of_both() {
    let (mut world, lib) = world_with(&[("docs/a.md", "one\n")]);
    let mut spoke = sharing(&lib.0.display().to_string(), &[("docs", "docs")]);
    spoke.policy = ConflictPolicy::Hub;
    world.sync(&spoke);
    world.hub.commit("main", Some("main"), &[("docs/a.md", Some("HUB\n")), ("docs/h.md", Some("h\n"))]);
    lib.commit("main", Some("main"), &[("docs/a.md", Some("SPOKE\n")), ("docs/s.md", Some("s\n"))]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts, vec![]);
    assert_eq!(lib.text("main", "docs/a.md"), "HUB");
    assert_eq!((lib.text("main", "docs/h.md"), world.hub.text("main", "docs/s.md")), ("h".into(), "s".into()));
    world.is_quiet(&spoke);
}

#[test]
fn a_removed_path_is_removed_only_when_asked() {
    let (mut world, lib) = world_with(&[("docs/a.md", "one\n"), ("docs/b.md", "b\n"), ("LICENSE", "mit\n")]);
    let mut spoke = sharing(&lib.0.display().to_string(), &[("docs", "docs"), ("LICENSE", "LICENSE")]);
    world.sync(&spoke);
    // A file inside travels as content; the path as a whole does not.
    world.hub.commit("main", Some("main"), &[("docs/b.md", None)]);
    lib.commit("main", Some("main"), &[("LICENSE", None)]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.guards.len()), (1, 0), "{plan:?}");
    assert!(!lib.try_git(&["cat-file", "-e", "main:docs/b.md"]));
    assert_eq!(world.hub.text("main", "LICENSE"), "mit");
    world.is_quiet(&spoke);
    git_of(&mut spoke).refs.prune = true;
    world.sync(&spoke);
    assert!(!world.hub.try_git(&["cat-file", "-e", "main:LICENSE"]));
    world.is_quiet(&spoke);
}

#[test]
fn a_file_against_a_folder_waits() {
    let (mut world, lib) = world_with(&[("x", "file\n")]);
    let spoke = sharing(&lib.0.display().to_string(), &[("x", "x")]);
    world.sync(&spoke);
    world.hub.put("main", "x", "file of the hub\n");
    lib.commit("main", Some("main"), &[("x", None), ("x/y", Some("folder\n"))]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.conflicts.len()), (0, 1), "{plan:?}");
}

#[test]
fn a_first_meeting_unites_what_does_not_contradict() {
    let (mut world, lib) = world_with(&[("docs/a.md", "same\n"), ("docs/h.md", "h\n")]);
    lib.commit("main", Some("main"), &[("docs/a.md", Some("same\n")), ("docs/s.md", Some("s\n"))]);
    let spoke = sharing(&lib.0.display().to_string(), &[("docs", "docs")]);
    let (plan, _) = world.sync(&spoke);
    assert_eq!(plan.conflicts, vec![]);
    assert_eq!((lib.text("main", "docs/h.md"), world.hub.text("main", "docs/s.md")), ("h".into(), "s".into()));
    world.is_quiet(&spoke);
}

#[test]
fn shared_paths_and_a_pin_come_to_rest_in_one_run() {
    for direction in [DataSync::Bidirectional, DataSync::HubDistribution] {
        let (mut world, lib) = world_with(&[("docs/a.md", "one\n")]);
        let mut spoke = submodule(&lib.0.display().to_string());
        git_of(&mut spoke).shared_paths = vec![SharedPath { hub: "docs".into(), spoke: "docs".into() }];
        world.sync(&spoke);
        spoke.data_sync = direction;
        world.is_quiet(&spoke);
        let before = world.hub.git(&["rev-list", "--count", "main"]).parse::<u32>().unwrap();
        world.hub.put("main", "docs/a.md", "two\n");
        let (plan, applied) = world.sync(&spoke);
        assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0), "{plan:?} {applied:?}");
        assert_eq!(lib.text("main", "docs/a.md"), "two");
        assert_eq!(world.hub.link("main", "libs/lib"), Some(lib.tip("main")), "the pin follows in the same run");
        let after = world.hub.git(&["rev-list", "--count", "main"]).parse::<u32>().unwrap();
        assert_eq!(after, before + 2, "one commit by the person, one by us");
        world.is_quiet(&spoke);
    }
}

#[test]
fn shared_paths_and_a_mirror_come_to_rest_in_one_run() {
    let (mut world, lib) = world_with(&[("docs/a.md", "one\n")]);
    let mut spoke = mirror(&lib.0.display().to_string());
    git_of(&mut spoke).shared_paths = vec![SharedPath { hub: "docs".into(), spoke: "docs".into() }];
    world.sync(&spoke);
    assert_eq!(world.store("lib").heads(), lib.heads());
    assert_eq!(lib.text("main", "docs/a.md"), "one");
    world.is_quiet(&spoke);
    lib.put("main", "docs/a.md", "two\n");
    world.sync(&spoke);
    assert_eq!(world.hub.text("main", "docs/a.md"), "two");
    assert_eq!(world.store("lib").heads(), lib.heads());
    world.is_quiet(&spoke);
}

#[test]
fn the_hub_itself_is_kept_and_never_written() {
    let (mut world, _) = world_with(&[("docs/a.md", "one\n")]);
    let mut spoke =
        git_support::spoke("hub", &world.hub_url.clone(), cathedral_model::ecosystem::GitIntegration::Master);
    spoke.data_sync = DataSync::SnapshotOnly;
    let observed = world.observe(&spoke);
    assert_eq!(observed.hub, observed.spoke);
    let refs = world.hub.refs();
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.actions.len(), plan.conflicts.len(), applied.changes_in), (0, 0, 0));
    assert_eq!(world.hub.refs(), refs);
    assert_eq!(world.store("hub").get("refs/cathedral/remote/hub/heads/main"), Some(world.hub.tip("main")));
}
