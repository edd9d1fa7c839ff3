//! What a check has found is remembered: a damaged copy is never counted as a copy again.

use cathedral_backup::LocalVault;
use cathedral_model::ports::Vault as _;
use cathedral_model::ports::env::Silent;
use cathedral_model::snapshot::{CheckLevel, CheckReport, SnapshotInfo, VaultLook};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::samples::everything;
use crate::support::{Parts, World, as_read, give_back, meta, state, take, wait};

fn check(vault: &LocalVault, level: CheckLevel) -> CheckReport {
    wait(vault.check(level, &[], &Silent)).unwrap()
}

fn look(world: &World) -> VaultLook {
    wait(world.open().look()).unwrap()
}

fn flip(world: &World, name: &str, object: &str) -> Vec<u8> {
    let path = world.folder(name).join(object);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, bytes).unwrap();
    whole
}

fn objects(world: &World, name: &str, prefix: &str) -> Vec<String> {
    world.objects(name).into_iter().filter(|o| o.starts_with(prefix)).collect()
}

fn restores(world: &World, info: &SnapshotInfo) {
    let mut found: Parts = give_back(&world.open(), info).unwrap();
    for content in found.values_mut() {
        if let crate::support::Content::Git { packs, .. } = content {
            packs.dedup();
        }
    }
    assert!(found == as_read(&everything()), "{}", info.meta.id);
}

#[test]
fn what_a_check_found_damaged_everywhere_is_stored_again_and_then_all_is_whole() {
    for forgets_cache in [false, true] {
        let world = World::new(&["one", "two"], 2);
        let first = take(&world.open(), &meta(1), &everything()).unwrap();
        for name in ["one", "two"] {
            objects(&world, name, "packs/").iter().for_each(|o| drop(flip(&world, name, o)));
        }
        let report = check(&world.open(), CheckLevel::Full);
        assert!(report.problems.iter().all(|p| !p.restorable) && !report.problems.is_empty(), "{report:?}");
        let seen = look(&world);
        assert!(seen.destinations.iter().all(|d| d.damaged > 0 && d.checks[0].problems > 0), "{seen:?}");
        assert!(seen.newest_lacks.is_some() && seen.lost_packs > 0, "{seen:?}");
        // A look at lengths does not forget what reading has found.
        assert!(!check(&world.open(), CheckLevel::Quick).problems.is_empty());

        if forgets_cache {
            fs::remove_dir_all(world.cache()).unwrap();
        }
        let vault = world.open();
        let writer = crate::support::begin(&vault, &meta(2)).unwrap();
        for ((spoke, side), content) in everything() {
            let key = crate::support::key(&spoke, side);
            let is_reused = wait(writer.reuse(&key, content.kind(), &state(&content).digest)).unwrap();
            assert!(!is_reused, "{spoke} is in damaged packs");
        }
        drop(writer);
        let second = take(&world.open(), &meta(2), &everything()).unwrap();
        restores(&world, &second);
        restores(&world, &first);
        for level in [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full] {
            let report = check(&world.open(), level);
            assert_eq!(report.problems, vec![], "{level:?}");
            assert!(report.superseded > 0, "{level:?}");
        }
        let seen = look(&world);
        assert_eq!((seen.newest_lacks, seen.lost_packs), (None, 0));
        assert!(seen.destinations.iter().all(|d| (d.damaged, d.missing) == (0, 0)), "{:?}", seen.destinations);
        // From now on nothing is stored twice.
        assert_eq!(take(&world.open(), &meta(3), &everything()).unwrap().bytes.new, 0);
    }
}

#[test]
fn a_copy_that_a_check_found_damaged_is_replaced_from_another_destination() {
    let world = World::new(&["one", "two"], 1);
    take(&world.open(), &meta(1), &everything()).unwrap();
    let packs = objects(&world, "one", "packs/");
    let whole: Vec<Vec<u8>> = packs.iter().map(|o| flip(&world, "one", o)).collect();
    let report = check(&world.open(), CheckLevel::Full);
    assert!(report.problems.iter().all(|p| p.restorable), "{report:?}");
    let seen = look(&world);
    assert_eq!((seen.destinations[0].damaged, seen.destinations[1].damaged), (packs.len() as u64, 0));
    assert_eq!((seen.newest_lacks, seen.lost_packs), (None, 0), "the other destination has it all");

    let vault = world.open();
    let second = take(&vault, &meta(2), &everything()).unwrap();
    assert_eq!(second.bytes.new, 0, "a copy is copied, not made anew");
    let met = vault.take_faults();
    assert!(met.len() == packs.len() && met.iter().all(|f| f.restorable), "{met:?}");
    for (object, whole) in packs.iter().zip(whole) {
        assert_eq!(fs::read(world.folder("one").join(object)).unwrap(), whole);
    }
    assert_eq!(look(&world).destinations[0].damaged, 0);
    assert_eq!(check(&world.open(), CheckLevel::Full).problems, vec![]);
}

#[test]
fn a_copy_that_was_put_right_by_hand_is_believed_when_a_check_has_read_it() {
    let world = World::new(&["one"], 1);
    take(&world.open(), &meta(1), &everything()).unwrap();
    let object = objects(&world, "one", "packs/").remove(0);
    let whole = flip(&world, "one", &object);
    assert!(!check(&world.open(), CheckLevel::Full).problems.is_empty());
    fs::write(world.folder("one").join(&object), whole).unwrap();
    assert_eq!(check(&world.open(), CheckLevel::Quick).problems, vec![], "what is suspected is read at each level");
    assert_eq!(look(&world).destinations[0].damaged, 0);
    assert_eq!(take(&world.open(), &meta(2), &everything()).unwrap().bytes.new, 0);
}

#[test]
fn small_objects_that_were_found_damaged_are_written_again() {
    let world = World::new(&["one", "two"], 1);
    take(&world.open(), &meta(1), &everything()).unwrap();
    let small = ["snapshots/", "keys/", "RECOVERY.md", "recover.sh"];
    for prefix in small {
        let object = objects(&world, "one", prefix).remove(0);
        flip(&world, "one", &object);
    }
    // The index is damaged in both places: the hub's cache still has it.
    for name in ["one", "two"] {
        flip(&world, name, &objects(&world, name, "index/")[0]);
    }
    assert_eq!(check(&world.open(), CheckLevel::Metadata).problems.len(), small.len() + 2);
    take(&world.open(), &meta(2), &everything()).unwrap();
    assert_eq!(check(&world.open(), CheckLevel::Full).problems, vec![]);
    // With the cache lost too, all is read from the destinations.
    fs::remove_dir_all(world.cache()).unwrap();
    assert_eq!(check(&world.open(), CheckLevel::Full).problems, vec![]);
}

#[test]
fn a_look_sees_what_is_missing_without_a_check() {
    let world = World::new(&["one", "two"], 1);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    assert_eq!(look(&world).destinations.iter().map(|d| (d.missing, d.damaged)).collect::<Vec<_>>(), [(0, 0); 2]);
    let packs = objects(&world, "one", "packs/");
    fs::remove_file(world.folder("one").join(&packs[0])).unwrap();
    let torn = world.folder("one").join(&packs[1]);
    fs::write(&torn, &fs::read(&torn).unwrap()[1..]).unwrap();
    fs::remove_file(world.folder("one").join(&objects(&world, "one", "index/")[0])).unwrap();
    let seen = look(&world);
    assert_eq!((seen.destinations[0].missing, seen.destinations[1].missing), (3, 0), "{seen:?}");
    assert_eq!((&seen.newest_lacks, seen.lost_packs), (&None, 0));
    fs::remove_dir_all(world.folder("two").join("packs")).unwrap();
    assert!(look(&world).newest_lacks.is_some());
    fs::remove_dir_all(world.folder("two")).unwrap();
    let seen = look(&world);
    assert!(seen.destinations[1].fault.is_some() && seen.newest_lacks.is_none(), "it may have everything: {seen:?}");
    fs::remove_file(world.folder("one").join(format!("snapshots/{}.age", first.meta.id))).unwrap();
    world.found();
    assert_eq!(look(&world).vanished, [first.meta.id]);
}

#[test]
fn what_is_remembered_and_cannot_be_read_is_found_again() {
    let world = World::new(&["one"], 1);
    take(&world.open(), &meta(1), &everything()).unwrap();
    flip(&world, "one", &objects(&world, "one", "packs/")[0]);
    let file = world.keys().join("vault-checks.json");
    for garbage in [&b""[..], b"{}", b"[1", &[0xff; 4096]] {
        fs::write(&file, garbage).unwrap();
        assert_eq!(look(&world).destinations[0].damaged, 0);
        assert!(!check(&world.open(), CheckLevel::Full).problems.is_empty());
        assert_eq!(look(&world).destinations[0].damaged, 1);
    }
}

#[test]
fn an_index_that_is_lost_everywhere_is_made_again_from_the_packs() {
    for level in [CheckLevel::Quick, CheckLevel::Full] {
        let world = World::new(&["one", "two"], 1);
        let first = take(&world.open(), &meta(1), &everything()).unwrap();
        let index = objects(&world, "one", "index/").remove(0);
        for name in ["one", "two"] {
            fs::remove_file(world.folder(name).join(&index)).unwrap();
            fs::write(world.folder(name).join(&index), b"").unwrap();
        }
        fs::remove_dir_all(world.cache()).unwrap();
        let report = check(&world.open(), level);
        assert!(report.problems.iter().all(|p| p.object == index) && report.problems.len() == 2, "{report:?}");
        let second = take(&world.open(), &meta(2), &everything()).unwrap();
        assert_eq!(second.bytes.new, 0);
        fs::remove_dir_all(world.cache()).unwrap();
        assert_eq!(check(&world.open(), CheckLevel::Full).problems, vec![]);
        restores(&world, &first);
        restores(&world, &second);
    }
}

#[test]
fn a_manifest_that_no_destination_gives_is_told_by_a_look() {
    let world = World::new(&["one", "two"], 1);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    take(&world.open(), &meta(2), &everything()).unwrap();
    let object = format!("snapshots/{}.age", first.meta.id);
    flip(&world, "one", &object);
    assert_eq!(look(&world).vanished, []);
    flip(&world, "two", &object);
    let seen = look(&world);
    assert_eq!((seen.vanished, seen.newest_lacks), (vec![first.meta.id], None));
}

#[test]
fn reading_can_be_confined_to_one_destination() {
    let world = World::new(&["one", "two"], 1);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    fs::remove_dir_all(world.folder("one").join("packs")).unwrap();
    for (name, works) in [("one", false), ("two", true)] {
        let vault = world.open();
        vault.read_only_from(cathedral_model::ids::DestinationName::new(name).unwrap());
        assert_eq!(give_back(&vault, &info).is_ok(), works, "{name}");
    }
}

#[test]
fn what_a_reader_found_damaged_is_remembered_like_what_a_check_found() {
    let world = World::new(&["one"], 1);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    objects(&world, "one", "packs/").iter().for_each(|o| drop(flip(&world, "one", o)));
    let vault = world.open();
    assert!(give_back(&vault, &info).is_err());
    assert!(!vault.take_faults().is_empty());
    let known = look(&world).destinations[0].damaged;
    assert_eq!(known, objects(&world, "one", "packs/").len() as u64, "no check was needed");
    // A place that cannot be read says nothing about what it holds.
    fs::remove_dir_all(world.folder("one").join("packs")).unwrap();
    let vault = world.open();
    assert!(give_back(&vault, &info).is_err());
    let _ = vault.take_faults();
    assert_eq!(look(&world).destinations[0].damaged, known);
}
