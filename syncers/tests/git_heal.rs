//! A store of the hub's own that is damaged is seen, and made anew from what is left of it, from the spoke and
//! from snapshots.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod git_support;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{PortError, Syncer};
use cathedral_syncers::git::{Depth, GitSyncer, Healed};
use git_support::part::{Kept, Part};
use git_support::{Repo, World, mirror, now};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A mirror whose store alone knows some values: one that a snapshot holds too, and one that is newer.
struct Scene {
    world: World,
    lib: Repo,
    spoke: Spoke,
    snapshot: Part,
    /// Only the store and the snapshot hold it.
    old: String,
    /// Only the store holds it.
    newer: String,
}

/// Something that no other object has parts of, and that takes room.
fn text(seed: u32) -> String {
    (0..400u32).map(|n| format!("{:08x}\n", n.wrapping_mul(2_654_435_761).wrapping_add(seed * 77_777))).collect()
}

fn scene() -> Scene {
    let mut world = World::new();
    let lib = Repo::bare(world.path("lib.git"));
    for n in 0..4 {
        lib.put("main", &format!("{n}.txt"), &text(n));
    }
    lib.put("side", "side.txt", &text(50));
    let spoke = mirror(&lib.0.display().to_string());
    world.sync(&spoke);
    let rewritten = |world: &mut World, seed: u32| {
        let old = lib.put("topic", "t.txt", &text(seed));
        world.sync(&spoke);
        lib.git(&["update-ref", "refs/heads/topic", "refs/heads/main"]);
        world.sync(&spoke);
        lib.git(&["reflog", "expire", "--expire=now", "--all"]);
        lib.git(&["gc", "--quiet", "--prune=now"]);
        assert!(!lib.has(&old));
        old
    };
    let old = rewritten(&mut world, 100);
    let mut snapshot = Part::default();
    now(world.syncer().export(&spoke, &Place::Live(Side::Hub), &mut snapshot)).unwrap();
    let newer = rewritten(&mut world, 200);
    Scene { world, lib, spoke, snapshot, old, newer }
}

fn heal(syncer: &GitSyncer, scene: &Scene) -> Result<Healed, PortError> {
    let mut healing = syncer.heal(&scene.spoke)?;
    if healing.lacks_something()? {
        healing.take(&mut Kept::new(&scene.snapshot))?;
    }
    healing.finish(scene.world.base.as_ref())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() { out.extend(files(&entry)) } else { out.push(entry) }
    }
    out.sort();
    out
}

fn overwrite(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn packs(store: &Path) -> Vec<PathBuf> {
    let all = files(&store.join("objects/pack")).into_iter();
    all.filter(|f| f.extension().is_some_and(|e| e == "pack")).collect()
}

fn loose(store: &Path, oid: &str) -> PathBuf {
    store.join("objects").join(&oid[..2]).join(&oid[2..])
}

/// Puts every object into a file of its own, or all into one pack.
fn laid_out(store: &Repo, in_packs: bool) {
    if in_packs {
        store.git(&["repack", "-a", "-d", "-q"]);
        return;
    }
    for pack in packs(&store.0) {
        let bytes = fs::read(&pack).unwrap();
        for kind in ["pack", "idx", "rev"] {
            let _ = fs::remove_file(pack.with_extension(kind));
        }
        store.git_with(&["unpack-objects", "-q"], &bytes);
    }
}

fn lasting(repo: &Repo) -> Vec<(String, String)> {
    let refs = repo.refs().into_iter();
    refs.filter(|(name, _)| !name.contains("/remote/")).collect()
}

/// Damages a store, and looks at how it is seen, made anew, and used.
fn trial(name: &str, in_packs: bool, loses: &[&str], damage: impl Fn(&Scene, &Repo)) {
    let mut scene = scene();
    let store = scene.world.store("lib");
    laid_out(&store, in_packs);
    let depth = |depth| scene.world.syncer().store_faults(&scene.spoke, depth).unwrap();
    assert_eq!(depth(Depth::Full), Vec::<String>::new(), "{name}");
    let (before, spoke_before) = (lasting(&store), scene.lib.heads());
    damage(&scene, &store);
    assert_ne!(depth(Depth::Full), Vec::<String>::new(), "{name} is not seen");
    let damaged = store.0.is_dir().then(|| files(&store.0).len());

    let healed = heal(&scene.world.syncer(), &scene).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(
        healed.lost.iter().map(|n| n.split('/').nth(2).unwrap()).collect::<Vec<_>>(),
        loses,
        "{name}: {healed:?}"
    );
    assert_eq!(healed.kept.as_ref().map(|k| files(k).len()), damaged, "{name}: the damaged one is kept as it is");
    assert_eq!(scene.world.syncer().store_faults(&scene.spoke, Depth::Full).unwrap(), Vec::<String>::new(), "{name}");
    store.git(&["fsck", "--strict"]);
    let after = lasting(&store);
    for (name_of, oid) in &before {
        let is_lost = healed.lost.contains(name_of) || healed.is_afresh && !after.iter().any(|(n, _)| n == name_of);
        assert!(is_lost || after.contains(&(name_of.clone(), oid.clone())), "{name}: {name_of} {after:#?}");
    }
    // The next syncs go on as if nothing had been, and delete nothing.
    scene.lib.put("main", "after.txt", "after\n");
    let spoke = scene.spoke.clone();
    scene.world.sync(&spoke);
    scene.world.is_quiet(&spoke);
    let spoke_after = scene.lib.heads();
    assert!(spoke_before.keys().all(|n| spoke_after.contains_key(n)), "{name}: {spoke_after:?}");
    assert_eq!(store.tip("main"), scene.lib.tip("main"), "{name}");
    assert_eq!(store.tip("side"), scene.lib.tip("side"), "{name}");
    store.git(&["fsck", "--strict"]);
}

#[test]
fn objects_that_are_gone_come_from_the_spoke() {
    trial("objects gone", false, &[], |scene, store| {
        fs::remove_file(loose(&store.0, &scene.lib.tip("main"))).unwrap();
        fs::remove_file(loose(&store.0, &scene.lib.git(&["rev-parse", "main:0.txt"]))).unwrap();
    });
}

#[test]
fn what_the_spoke_has_no_longer_comes_from_a_snapshot() {
    trial("a pinned object gone", false, &[], |scene, store| fs::remove_file(loose(&store.0, &scene.old)).unwrap());
}

#[test]
fn what_is_nowhere_is_named_and_kept() {
    trial("a newer object gone", false, &["conflicts", "seen"], |scene, store| {
        fs::remove_file(loose(&store.0, &scene.newer)).unwrap();
    });
}

#[test]
fn bytes_that_are_changed_in_loose_objects() {
    trial("a flipped blob", false, &[], |scene, store| {
        let blob = loose(&store.0, &scene.lib.git(&["rev-parse", "main:1.txt"]));
        overwrite(&blob, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        });
    });
}

#[test]
fn packs_that_are_changed_and_cut() {
    for (name, cut) in [("a flipped pack", false), ("a cut pack", true)] {
        let mut scene = scene();
        let store = scene.world.store("lib");
        laid_out(&store, true);
        let [pack] = packs(&store.0).try_into().unwrap();
        overwrite(&pack, |bytes| {
            let at = bytes.len() * 2 / 3;
            if cut { bytes.truncate(at) } else { bytes[at] ^= 0x55 }
        });
        let syncer = scene.world.syncer();
        assert_ne!(syncer.store_faults(&scene.spoke, Depth::Full).unwrap(), Vec::<String>::new(), "{name}");
        let healed = heal(&syncer, &scene).unwrap_or_else(|e| panic!("{name}: {e}"));
        // What stood in the damaged part and nowhere else may be lost, and nothing else.
        assert!(healed.lost.iter().all(|n| n.ends_with(&scene.newer) || n.contains("/conflicts/")), "{healed:?}");
        store.git(&["fsck", "--strict"]);
        assert!(store.has(&scene.old), "{name}: the snapshot holds it");
        let spoke = scene.spoke.clone();
        scene.world.sync(&spoke);
        assert_eq!(store.tip("main"), scene.lib.tip("main"), "{name}");
    }
}

#[test]
fn files_of_the_repository_that_are_gone_or_garbage() {
    trial("HEAD gone", false, &[], |_, store| fs::remove_file(store.0.join("HEAD")).unwrap());
    trial("config changed", true, &[], |_, store| {
        overwrite(&store.0.join("config"), |bytes| bytes.extend_from_slice(b"[core]\n\tsshCommand = touch /tmp/x\n"));
    });
    trial("config gone", true, &[], |_, store| fs::remove_file(store.0.join("config")).unwrap());
}

#[test]
fn refs_that_are_garbage_come_from_the_snapshot_and_nothing_is_deleted() {
    trial("a loose ref", false, &[], |_, store| fs::write(store.0.join("refs/heads/side"), b"\0\0\0\0").unwrap());
    trial("packed refs", true, &[], |_, store| {
        store.git(&["pack-refs", "--all"]);
        overwrite(&store.0.join("packed-refs"), |bytes| bytes.truncate(bytes.len() / 2));
    });
    trial("the whole folder", true, &[], |_, store| fs::remove_dir_all(&store.0).unwrap());
}

#[test]
fn a_store_that_is_gone_is_missed_and_an_error_says_what_makes_it_anew() {
    let scene = scene();
    let store = scene.world.store("lib");
    fs::remove_dir_all(&store.0).unwrap();
    for _ in 0..2 {
        let error = now(scene.world.syncer().observe(&scene.spoke)).unwrap_err();
        assert!(matches!(&error, PortError::Corrupt(why) if why.contains("doctor --fix")), "{error}");
        assert!(!store.0.exists(), "an empty one would look emptied");
    }
}

#[test]
fn stopped_anywhere_the_store_is_the_old_one_or_the_new_one() {
    let scene = scene();
    let store = scene.world.store("lib");
    laid_out(&store, true);
    let [pack] = packs(&store.0).try_into().unwrap();
    overwrite(&pack, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 0x55;
    });
    fs::remove_file(store.0.join("HEAD")).unwrap();
    let damaged = files(&store.0);
    for calls in 0.. {
        let left = Arc::new(AtomicI64::new(calls));
        let mut options = scene.world.options.clone();
        options.interrupt = Some(Arc::new(move |_, _| left.fetch_sub(1, Ordering::SeqCst) > 0));
        let hub = cathedral_model::ecosystem::Hub {
            name: cathedral_model::ids::SpokeName::new("hub").unwrap(),
            url: scene.world.hub_url.clone(),
            branch: "main".into(),
        };
        let syncer = GitSyncer::new(scene.world.state_dir(), hub, scene.world.content.clone(), options);
        if let Ok(healed) = heal(&syncer, &scene) {
            assert!(calls > 10, "{calls}");
            assert!(healed.kept.is_some_and(|kept| files(&kept).len() == damaged.len()));
            break;
        }
        assert_eq!(files(&store.0), damaged, "stopped at call {calls}");
    }
    store.git(&["fsck", "--strict"]);
    let left = fs::read_dir(scene.world.state_dir().join("git")).unwrap().count();
    assert_eq!(left, 1, "nothing that was begun is left");
}
