//! Git parts of snapshots: out, in, and back in place.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{GitIntegration, SharedPath, Side, Spoke, SpokeKind};
use cathedral_model::ids::{Digest, Fence, RunId};
use cathedral_model::plan::PlanContext;
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::snapshot::part_digest;
use git_support::part::{Kept, Part};
use git_support::{Repo, World, mirror, now, submodule};
use std::collections::BTreeMap;
use std::path::Path;

fn export(world: &World, spoke: &Spoke, part: &mut Part) -> cathedral_model::observation::SideState {
    now(world.syncer().export(spoke, &Place::Live(Side::Hub), part)).unwrap()
}

fn import(world: &World, spoke: &Spoke, place: Place, part: &Part, run: i64) -> Imported {
    now(world.syncer().import(spoke, &place, &mut Kept::new(part), RunId(run), Fence(run))).unwrap()
}

fn proven(world: &World, spoke: &Spoke, dir: &Path, part: &Part) {
    let mut again = Part::default();
    now(world.syncer().export(spoke, &Place::Path(dir.to_owned()), &mut again)).unwrap();
    assert_eq!(again.refs, part.refs, "the prover sees the same refs");
}

#[test]
fn a_submodule_goes_out_and_comes_back_with_its_pin() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    lib.git(&["tag", "-a", "-m", "one", "v1", "main"]);
    lib.git(&["branch", "dev", "main"]);
    let spoke = submodule(&lib.0.display().to_string());
    world.sync(&spoke);
    lib.put("dev", "d.txt", "only on dev\n");
    let mut part = Part::default();
    let state = export(&world, &spoke, &mut part);
    let observed = world.observe(&spoke);
    assert_eq!(state.digest, part_digest(SpokeKind::Git, Side::Hub, &observed.digests()));
    let named = |name: &str| part.refs.refs.iter().find(|r| r.name == name).cloned().unwrap();
    assert_eq!(named("refs/cathedral/pin").oid, lib.tip("main"));
    assert_eq!(named("refs/tags/v1").peeled, Some(lib.tip("main")));
    assert_eq!(part.refs.head.as_deref(), Some("refs/heads/main"));

    let to = world.path("restored/lib.git");
    let imported = import(&world, &spoke, Place::Path(to.clone()), &part, 3);
    assert_eq!(imported.kept, None);
    let restored = Repo(to.clone());
    restored.git(&["fsck", "--strict"]);
    assert_eq!(restored.heads(), lib.heads());
    assert_eq!(restored.text("dev", "d.txt"), "only on dev");
    proven(&world, &spoke, &to, &part);
    // Again onto the same place: what stood there is kept.
    let again = import(&world, &spoke, Place::Path(to.clone()), &part, 4);
    assert!(Repo(again.kept.unwrap().into()).get("refs/heads/main").is_some());
    proven(&world, &spoke, &to, &part);
}

#[test]
fn the_next_snapshot_carries_only_what_is_new() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let bulk: String = (0..20_000).map(|i| format!("{i:x}\n")).collect();
    lib.put("main", "big.txt", &bulk);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    export(&world, &spoke, &mut part);
    assert_eq!(part.packs.len(), 1, "nothing new is no pack");
    lib.put("main", "big.txt", &format!("{bulk}one more line\n"));
    lib.git(&["tag", "later", "main"]);
    world.sync(&spoke);
    export(&world, &spoke, &mut part);
    assert_eq!(part.packs.len(), 2);
    assert!(part.packs[1].len() < part.packs[0].len() / 10, "the second pack is thin");
    let to = world.path("restored.git");
    import(&world, &spoke, Place::Path(to.clone()), &part, 9);
    assert_eq!(Repo(to.clone()).heads(), lib.heads());
    proven(&world, &spoke, &to, &part);
}

#[test]
fn empty_parts_and_failing_sinks() {
    let world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let spoke = mirror(&lib.0.display().to_string());
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    assert!(part.packs.is_empty());
    let to = world.path("restored.git");
    import(&world, &spoke, Place::Path(to.clone()), &part, 1);
    proven(&world, &spoke, &to, &part);

    lib.put("main", "big.txt", &"0123456789abcdef\n".repeat(100_000));
    let mut full = Part { full_after: Some(100), ..Part::default() };
    let error = now(world.syncer().export(&spoke, &Place::Live(Side::Hub), &mut full)).unwrap_err();
    assert_eq!(error.cause(), cathedral_model::ports::Cause::Full);
}

#[test]
fn a_broken_pack_leaves_what_stands_there() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    let to = world.path("place.git");
    import(&world, &spoke, Place::Path(to.clone()), &part, 1);
    let middle = part.packs[0].len() / 2;
    part.packs[0][middle] ^= 0x40;
    let place = Place::Path(to.clone());
    assert!(now(world.syncer().import(&spoke, &place, &mut Kept::new(&part), RunId(2), Fence(2))).is_err());
    assert_eq!(Repo(to).heads(), lib.heads());
    let left = std::fs::read_dir(world.dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".cathedral"))
        .count();
    assert_eq!(left, 0, "nothing half done stays");
}

#[test]
fn refs_go_back_in_place_and_what_stood_there_is_kept() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let old = lib.put("main", "a.txt", "one\n");
    lib.git(&["branch", "gone", "main"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    let newer = lib.put("main", "a.txt", "two\n");
    lib.git(&["branch", "-D", "-q", "gone"]);
    lib.git(&["branch", "extra", "main"]);
    world.sync(&spoke);
    let imported = import(&world, &spoke, Place::Live(Side::Hub), &part, 40);
    assert!(imported.kept.is_some());
    assert_eq!((lib.tip("main"), lib.tip("gone"), lib.tip("extra")), (old.clone(), old.clone(), newer.clone()));
    let store = world.store("lib");
    assert_eq!(store.tip("main"), old);
    assert_eq!(store.get("refs/cathedral/kept/40/spoke/heads/main/%tip"), Some(newer.clone()));
    assert_eq!(store.get("refs/cathedral/kept/40/hub/heads/main/%tip"), Some(newer));
    // Repeating it changes nothing.
    let refs = lib.refs();
    import(&world, &spoke, Place::Live(Side::Hub), &part, 41);
    assert_eq!(lib.refs(), refs);
}

#[test]
fn a_pin_goes_back_by_a_commit_on_top() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    let old = lib.put("main", "a.txt", "one\n");
    let spoke = submodule(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    lib.put("main", "a.txt", "two\n");
    world.sync(&spoke);
    let before = world.hub.tip("main");
    import(&world, &spoke, Place::Live(Side::Hub), &part, 50);
    assert_eq!(world.hub.link("main", "libs/lib"), Some(old.clone()));
    assert_eq!(lib.tip("main"), old);
    world.hub.git(&["merge-base", "--is-ancestor", &before, "main"]);
}

#[test]
fn after_a_restore_in_place_the_sides_are_compared_afresh() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let mut part = Part::default();
    export(&world, &spoke, &mut part);
    let newer = lib.put("main", "a.txt", "two\n");
    world.sync(&spoke);
    world.run = 50;
    import(&world, &spoke, Place::Live(Side::Hub), &part, 50);
    world.base = None;
    // Work goes on from what was restored: that is no rewound history.
    let on_top = lib.put("main", "b.txt", "on top of the restored\n");
    let (plan, applied) = world.sync(&spoke);
    assert_eq!((plan.conflicts, applied.skipped), (vec![], vec![]));
    assert_eq!(world.store("lib").tip("main"), on_top);
    assert!(world.store("lib").reaches(&newer), "nothing that was agreed on is lost");
}

/// A branch that gets commits all the time waits; the others are planned by what the snapshot holds.
#[test]
fn a_branch_that_moves_after_the_snapshot_waits() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "a.txt", "one\n");
    lib.git(&["branch", "busy", "main"]);
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let quiet = lib.put("main", "a.txt", "two\n");
    let old = world.store("lib").tip("busy");
    lib.put("busy", "b.txt", "1\n");
    let syncer = world.syncer();
    syncer.remember(&spoke.name);
    let state = now(syncer.export(&spoke, &Place::Live(Side::Hub), &mut Part::default())).unwrap();
    lib.put("busy", "b.txt", "2\n");
    let held = BTreeMap::from([(Side::Hub, state.digest)]);
    world.run += 1;
    let context = PlanContext {
        run: RunId(world.run),
        base: world.base,
        directives: vec![],
        waiting: vec![],
        policy: None,
        held,
    };
    let plan = now(syncer.plan(&spoke, &context)).unwrap();
    assert_eq!(part_digest(SpokeKind::Git, Side::Hub, &plan.expected), state.digest);
    let targets: Vec<&str> = plan.actions.iter().map(|a| a.target.as_str()).collect();
    assert_eq!(targets, ["refs/heads/main"]);
    world.apply(&spoke, &plan);
    assert_eq!((world.store("lib").tip("main"), world.store("lib").tip("busy")), (quiet, old));
    world.sync(&spoke);
    assert_eq!(world.store("lib").tip("busy"), lib.tip("busy"));
    world.is_quiet(&spoke);
}

/// What can be read of a spoke, as the engine asks while one side is away.
fn export_partly(world: &World, spoke: &Spoke) -> (Part, Digest) {
    let syncer = world.syncer();
    let seen = now(syncer.observe_partly(spoke)).unwrap();
    let mut part = Part::default();
    let state = now(syncer.export_partly(spoke, &mut part)).unwrap();
    assert_eq!(state.digest, part_digest(SpokeKind::Git, Side::Hub, &seen.digests()));
    (part, state.digest)
}

fn take_away(repo: &Repo) {
    std::fs::rename(&repo.0, repo.0.with_extension("aside")).unwrap();
}

fn bring_back(repo: &Repo) {
    std::fs::rename(repo.0.with_extension("aside"), &repo.0).unwrap();
}

fn named(part: &Part, name: &str) -> Option<String> {
    part.refs.refs.iter().find(|r| r.name == name).map(|r| r.oid.clone())
}

/// The two sides of a spoke are one part: while the remote is away, it has the hub's side as it is.
#[test]
fn while_the_remote_is_away_the_hub_side_is_exported_as_it_is() {
    for is_mirror in [true, false] {
        let mut world = World::new();
        let lib = Repo::bare(world.path("lib.git"));
        lib.put("main", "a.txt", "one\n");
        lib.git(&["branch", "only-there", "main"]);
        lib.git(&["update-ref", "refs/notes/x", "main"]);
        lib.git(&["symbolic-ref", "HEAD", "refs/heads/only-there"]);
        let url = lib.0.display().to_string();
        let mut spoke = if is_mirror { mirror(&url) } else { submodule(&url) };
        git_support::git_of(&mut spoke).shared_paths =
            vec![SharedPath { hub: "shared/one".into(), spoke: "one".into() }];
        world.hub.put("main", "shared/one/f.txt", "both\n");
        world.sync(&spoke);
        world.sync(&spoke);
        let old = lib.tip("main"); // With what the hub shares.
        let mut whole = Part::default();
        let before = export(&world, &spoke, &mut whole).digest;
        assert_eq!(export_partly(&world, &spoke).0.older, None, "both can be read");

        let shared = "refs/cathedral/paths/shared/one/%tip";
        let path_before = named(&whole, shared);
        assert!(path_before.is_some());
        take_away(&lib);
        let (part, digest) = export_partly(&world, &spoke);
        assert_eq!((digest, &part.refs), (before, &whole.refs), "nothing has changed");
        let (side, why) = part.older.unwrap();
        assert!(side == Side::Spoke && why.contains("there is no repository"), "{why}");
        world.hub.put("main", "shared/one/f.txt", "of the hub\n");
        let (between, at) = if is_mirror {
            (world.store("lib").put("main", "b.txt", "between\n"), "refs/heads/main")
        } else {
            let clone = Repo::clone_of(&lib.0.with_extension("aside"), world.path("hub.git/modules/libs/lib"));
            let between =
                clone.commit_tree("between", Some(&old), &clone.git(&["rev-parse", &format!("{old}^{{tree}}")]));
            world.hub.put_link("main", "libs/lib", &between);
            (between, "refs/cathedral/pin")
        };
        let (part, changed) = export_partly(&world, &spoke);
        assert_ne!(changed, before);
        assert_eq!(named(&part, at), Some(between.clone()));
        let at = if is_mirror { "refs/cathedral/remote/lib/heads/main" } else { "refs/heads/main" };
        assert_eq!(named(&part, at), Some(old), "the remote as it was read last");
        assert_eq!(part.refs.head, whole.refs.head);
        assert_eq!(export_partly(&world, &spoke).1, changed, "nothing has changed since");
        assert_ne!(named(&part, shared), path_before, "what the hub has at the shared path");
        let to = world.path("restored.git");
        import(&world, &spoke, Place::Path(to.clone()), &part, 3);
        assert!(Repo(to.clone()).reaches(&between));
        proven(&world, &spoke, &to, &part);
        bring_back(&lib);
        assert_eq!(export_partly(&world, &spoke).0.older, None);
    }
}

/// And while the hub's repository is away, the spoke's side is exported as it is.
#[test]
fn while_the_hub_is_away_the_spoke_side_is_exported_as_it_is() {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    lib.put("main", "one/f.txt", "both\n");
    let url = lib.0.display().to_string();
    world.hub.put("main", "shared/one/f.txt", "both\n");
    let (mut pinned, mut mirrored) = (submodule(&url), mirror(&url));
    let paths = || vec![SharedPath { hub: "shared/one".into(), spoke: "one".into() }];
    git_support::git_of(&mut pinned).shared_paths = paths();
    git_support::git_of(&mut mirrored).shared_paths = paths();
    let only_paths = git_support::sharing(&url, &[("shared/one", "one")]);
    for spoke in [pinned, mirrored, only_paths] {
        world.base = None;
        world.sync(&spoke);
        world.sync(&spoke);
        let mut whole = Part::default();
        let before = export(&world, &spoke, &mut whole).digest;
        take_away(&world.hub);
        let (part, digest) = export_partly(&world, &spoke);
        assert_eq!((digest, part.refs), (before, whole.refs), "nothing has changed");
        assert_eq!(part.older.unwrap().0, Side::Hub);
        let between = lib.put("main", "a.txt", &format!("between {}\n", world.run));
        let (part, changed) = export_partly(&world, &spoke);
        assert_ne!(changed, before);
        let to = world.path(&format!("restored-{}.git", world.run));
        import(&world, &spoke, Place::Path(to.clone()), &part, world.run);
        assert!(Repo(to).reaches(&between));
        // Neither can be read: there is nothing new, but for a mirror, which the hub has itself.
        take_away(&lib);
        let both = now(world.syncer().export_partly(&spoke, &mut Part::default()));
        let is_mirror = matches!(git_support::git_of(&mut spoke.clone()).integration, GitIntegration::Mirror { .. });
        assert_eq!(both.is_ok(), is_mirror, "{both:?}");
        bring_back(&lib);
        bring_back(&world.hub);
    }
    // The hub's own repository is both sides of itself.
    let master = git_support::spoke("hub", &world.hub_url, GitIntegration::Master);
    now(world.syncer().observe(&master)).unwrap();
    take_away(&world.hub);
    assert!(now(world.syncer().observe_partly(&master)).is_err());
}
