//! Refs whose names git takes for one another when it pushes: `refs/heads/main` beside a branch that is named
//! `refs/heads/main` as well.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::{Imported, Place};
use git_support::part::{Kept, Part};
use git_support::{Repo, World, git_of, mirror, now, submodule};

/// Each of these may be meant by the name of another ref here.
const TWINS: [&str; 6] = [
    "refs/heads/refs/heads/main",
    "refs/tags/refs/heads/main",
    "refs/heads/refs/tags/v1",
    "refs/heads/heads/main",
    "refs/heads/r",
    "refs/heads/refs/heads/r",
];

fn world_with(twins: &[&str]) -> (World, Repo, Spoke) {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    lib.put("other", "a.txt", "other\n");
    lib.git(&["tag", "v1", "refs/heads/main"]);
    for name in twins {
        lib.git(&["update-ref", name, "refs/heads/main"]);
    }
    let spoke = mirror(&lib.0.display().to_string());
    (world, lib, spoke)
}

fn synced(world: &mut World, spoke: &Spoke, lib: &Repo) {
    let (_, applied) = world.sync(spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(world.store("lib").heads(), lib.heads());
    world.is_quiet(spoke);
}

fn import(world: &World, spoke: &Spoke, place: Place, part: &Part, run: i64) -> Imported {
    now(world.syncer().import(spoke, &place, &mut Kept::new(part), RunId(run), Fence(run))).unwrap()
}

#[test]
fn every_ref_travels_both_ways_and_moves_no_other() {
    let (mut world, lib, spoke) = world_with(&TWINS);
    synced(&mut world, &spoke, &lib);
    let store = world.store("lib");
    let old = lib.tip("main");
    for name in ["main", "other", "refs/heads/main", "refs/heads/r", "r", "heads/main"] {
        let new = store.put(name, "hub.txt", name);
        synced(&mut world, &spoke, &lib);
        assert_eq!(lib.tip(name), new);
        let new = lib.put(name, "spoke.txt", name);
        synced(&mut world, &spoke, &lib);
        assert_eq!(store.tip(name), new);
    }
    assert_eq!(lib.tip("refs/tags/v1"), old, "nobody moved it");
    // All of them in one run.
    for name in ["main", "other", "refs/heads/main", "r", "refs/heads/r"] {
        store.put(name, "again.txt", name);
    }
    synced(&mut world, &spoke, &lib);
}

#[test]
fn a_ref_is_made_beside_its_twin_and_not_in_its_place() {
    let (mut world, lib, spoke) = world_with(&["refs/heads/refs/heads/main", "refs/heads/refs/tags/v2"]);
    lib.git(&["update-ref", "-d", "refs/heads/main"]);
    let twin = lib.tip("refs/heads/main");
    synced(&mut world, &spoke, &lib);
    let store = world.store("lib");
    let new = store.commit("main", Some("other"), &[("hub.txt", Some("hub\n"))]);
    store.git(&["update-ref", "refs/tags/v2", &new]);
    synced(&mut world, &spoke, &lib);
    assert_eq!((lib.tip("main"), lib.get("refs/tags/v2")), (new.clone(), Some(new)));
    assert_eq!(lib.tip("refs/heads/main"), twin);
}

#[test]
fn a_deletion_takes_that_ref_alone() {
    let (mut world, lib, mut spoke) = world_with(&TWINS);
    git_of(&mut spoke).refs.prune = true;
    git_of(&mut spoke).refs.max_vanish_percent = 100;
    lib.git(&["update-ref", "refs/heads/right", "refs/heads/main"]);
    synced(&mut world, &spoke, &lib);
    let store = world.store("lib");
    for name in ["refs/heads/r", "refs/heads/main", "refs/tags/v1", "refs/heads/refs/heads/main"] {
        let mut expected = lib.heads();
        expected.remove(name);
        store.git(&["symbolic-ref", "HEAD", "refs/heads/other"]);
        lib.git(&["symbolic-ref", "HEAD", "refs/heads/other"]);
        store.git(&["update-ref", "-d", name]);
        synced(&mut world, &spoke, &lib);
        assert_eq!(lib.heads(), expected, "{name}");
    }
}

#[test]
fn they_come_back_in_place_and_elsewhere() {
    let (mut world, lib, spoke) = world_with(&TWINS);
    synced(&mut world, &spoke, &lib);
    let mut part = Part::default();
    now(world.syncer().export(&spoke, &Place::Live(Side::Hub), &mut part)).unwrap();
    let before = lib.heads();
    let newer = lib.put("main", "a.txt", "two\n");
    lib.put("refs/heads/main", "a.txt", "three\n");
    lib.git(&["update-ref", "-d", "refs/tags/v1"]);
    lib.git(&["update-ref", "-d", "refs/heads/heads/main"]);
    world.sync(&spoke);
    import(&world, &spoke, Place::Live(Side::Hub), &part, 40);
    assert_eq!(lib.heads(), before);
    assert_eq!(world.store("lib").get("refs/cathedral/kept/40/spoke/heads/main/%tip"), Some(newer));
    let to = world.path("restored.git");
    import(&world, &spoke, Place::Path(to.clone()), &part, 41);
    assert_eq!(Repo(to).heads(), before);
    (world.base, world.run) = (None, 50);
    synced(&mut world, &spoke, &lib);
    let left = world.store("lib").refs().into_keys().filter(|name| name.starts_with("refs/cathedral/push/"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_hub_with_such_a_branch_still_takes_its_pins() {
    let (mut world, lib, _) = world_with(&[]);
    world.hub.git(&["update-ref", "refs/heads/refs/heads/main", "refs/heads/main"]);
    let before = world.hub.tip("refs/heads/main");
    let spoke = submodule(&lib.0.display().to_string());
    let (_, applied) = world.sync(&spoke);
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(world.hub.link("main", "libs/lib"), Some(lib.tip("main")));
    assert_eq!(world.hub.tip("refs/heads/main"), before);
    world.is_quiet(&spoke);
}
