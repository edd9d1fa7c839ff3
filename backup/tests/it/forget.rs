//! Snapshots that are forgotten, and taken back.

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::{Cause, Vault as _};
use cathedral_model::snapshot::CheckLevel;
use std::fs;

use crate::samples::everything;
use crate::support::{World, give_back, meta, take, wait};

fn ids(world: &World) -> Vec<SnapshotId> {
    wait(world.open().list()).unwrap().into_iter().map(|info| info.meta.id).collect()
}

#[test]
fn a_forgotten_snapshot_is_in_no_list_and_comes_back_whole() {
    let world = World::new(&["one", "two"], 2);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    let second = take(&world.open(), &meta(2), &everything()).unwrap();
    let id = [first.meta.id.clone()];
    let before = world.objects("one").len();
    for _twice in 0..2 {
        world.open().forget(&id).unwrap();
        assert_eq!(ids(&world), std::slice::from_ref(&second.meta.id));
        assert_eq!(world.open().forgotten().unwrap().into_iter().collect::<Vec<_>>(), id);
        assert_eq!(world.objects("one").len(), before, "the manifest moves, nothing goes");
    }
    // It is the parent of the other one, and missed by no check; and a new snapshot is taken beside it.
    for level in [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full] {
        assert_eq!(wait(world.open().check(level, &[], &Silent)).unwrap().problems, vec![], "{level:?}");
    }
    assert!(wait(world.open().look()).unwrap().vanished.is_empty());
    take(&world.open(), &meta(3), &everything()).unwrap();
    assert_eq!(ids(&world).len(), 2);
    for _twice in 0..2 {
        world.open().take_back(&id).unwrap();
        assert_eq!(ids(&world).len(), 3);
        assert!(world.open().forgotten().unwrap().is_empty());
    }
    give_back(&world.open(), &first).unwrap();
    assert_eq!(wait(world.open().check(CheckLevel::Full, &[], &Silent)).unwrap().problems, vec![]);
}

#[test]
fn what_was_stopped_half_way_is_still_a_snapshot_and_is_ended_by_the_same_call() {
    let world = World::new(&["one", "two"], 2);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    take(&world.open(), &meta(2), &everything()).unwrap();
    let id = [first.meta.id.clone()];
    let (name, trash) = (format!("snapshots/{}.age", first.meta.id), format!("trash/{}.age", first.meta.id));
    // Stopped between the copy and the end of the original, at the first of two destinations.
    fs::create_dir_all(world.folder("one").join("trash")).unwrap();
    fs::copy(world.folder("one").join(&name), world.folder("one").join(&trash)).unwrap();
    assert_eq!(ids(&world).len(), 2);
    assert!(world.open().forgotten().unwrap().is_empty());
    world.open().forget(&id).unwrap();
    assert_eq!(ids(&world).len(), 1);
    // Stopped on the way back: one destination has it again.
    fs::copy(world.folder("one").join(&trash), world.folder("one").join(&name)).unwrap();
    assert_eq!(ids(&world).len(), 2);
    assert!(world.open().forgotten().unwrap().is_empty());
    world.open().take_back(&id).unwrap();
    for name in ["one", "two"] {
        assert!(world.objects(name).iter().all(|o| !o.starts_with("trash/")), "{name}");
    }
    give_back(&world.open(), &first).unwrap();
}

#[test]
fn nothing_is_forgotten_while_a_destination_is_away() {
    let world = World::new(&["one", "two"], 1);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    fs::rename(world.folder("two"), world.folder("away")).unwrap();
    let id = [first.meta.id.clone()];
    assert_eq!(world.open().forget(&id).unwrap_err().cause(), Cause::Unreachable);
    assert_eq!(ids(&world).len(), 1);
    fs::rename(world.folder("away"), world.folder("two")).unwrap();
    assert_eq!(world.open().take_back(&[meta(9).id]).unwrap_err().cause(), Cause::NotFound);
}
