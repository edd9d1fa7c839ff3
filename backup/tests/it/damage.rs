//! Every change to what is stored is found, named, and read around where a copy is left.

use cathedral_backup::LocalVault;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::{Cause, Destination as _, PortError, Vault as _};
use cathedral_model::snapshot::{CheckLevel, CheckReport};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::samples::everything;
use crate::support::{Content, Parts, World, as_read, dir, file, give_back, meta, noise, take, text, wait};

fn check(vault: &LocalVault, level: CheckLevel) -> CheckReport {
    wait(vault.check(level, &[], &Silent)).unwrap()
}

fn tiny() -> Parts {
    let files = vec![file("a", "hello"), dir("d"), file("d/b", "world")];
    Parts::from([(("media".into(), cathedral_model::ecosystem::Side::Hub), Content::Files(files))])
}

fn path(world: &World, name: &str, object: &str) -> PathBuf {
    world.folder(name).join(object)
}

fn first(world: &World, prefix: &str) -> String {
    world.objects("one").into_iter().find(|o| o.starts_with(prefix)).unwrap()
}

#[test]
fn every_flipped_bit_is_found() {
    let world = World::new(&["one"], 1);
    take(&world.open(), &meta(1), &tiny()).unwrap();
    let objects: Vec<(String, Vec<u8>)> =
        world.objects("one").into_iter().map(|o| (o.clone(), fs::read(path(&world, "one", &o)).unwrap())).collect();
    assert_eq!(check(&world.open(), CheckLevel::Full).problems, vec![]);
    // The long texts of the stock recovery are only hashed: every 64th byte says enough.
    let step = |object: &str| if object.starts_with("rec") || object.starts_with("REC") { 64 } else { 1 };
    let steps = objects.iter().map(|(o, bytes)| bytes.len() / step(o)).max().unwrap();
    for at in 0..steps {
        let mut flipped = BTreeSet::new();
        for (object, bytes) in &objects {
            let mut bytes = bytes.clone();
            if let Some(byte) = bytes.get_mut(at * step(object)) {
                *byte ^= 1 << (at % 8);
                flipped.insert(object.clone());
            }
            fs::write(path(&world, "one", object), bytes).unwrap();
        }
        let report = check(&world.open(), CheckLevel::Full);
        let found: BTreeSet<String> = report.problems.iter().map(|p| p.object.clone()).collect();
        assert_eq!(flipped.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "at byte {at}");
        let is_kept = |object: &str| object == "cathedral-vault.json" || object.starts_with("keys/");
        let right = report.problems.iter().all(|p| p.restorable == is_kept(&p.object));
        assert!(right, "of marker and key the hub has a copy, of nothing else: {report:?}");
    }
}

#[test]
fn what_is_missing_short_or_swapped_is_named_with_what_needs_it() {
    for level in [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full] {
        let world = World::new(&["one", "two"], 1);
        let info = take(&world.open(), &meta(1), &everything()).unwrap();
        for object in world.objects("one") {
            let bytes = fs::read(path(&world, "one", &object)).unwrap();
            for (fault, cut) in [("missing", None), ("truncated", Some(bytes.len() - 1)), ("emptied", Some(0))] {
                match cut {
                    None => fs::remove_file(path(&world, "one", &object)).unwrap(),
                    Some(len) => fs::write(path(&world, "one", &object), &bytes[..len]).unwrap(),
                }
                // The marker's absence is the absence of the destination.
                let report = check(&world.open(), level);
                let problem = report.problems.iter().find(|p| p.object == object && p.destination.as_str() == "one");
                let problem = problem.unwrap_or_else(|| panic!("{object} {fault} at {level:?}: {:?}", report.problems));
                assert!(problem.restorable, "the other destination has it: {problem:?}");
                if object.starts_with("packs/") || object.starts_with("snapshots/") {
                    let named = problem.affects.iter().all(|a| a.contains(info.meta.id.as_str()));
                    assert!(named && !problem.affects.is_empty(), "{object} {fault} at {level:?}: {problem:?}");
                }
                assert!(report.problems.iter().all(|p| p.destination.as_str() == "one"), "{:?}", report.problems);
                fs::write(path(&world, "one", &object), &bytes).unwrap();
            }
        }
        assert_eq!(check(&world.open(), level).problems, vec![]);
    }
}

#[test]
fn swapped_packs_and_objects_of_another_vault_are_refused_by_name() {
    let (world, other) = (World::new(&["one"], 1), World::new(&["one"], 1));
    take(&world.open(), &meta(1), &everything()).unwrap();
    take(&other.open(), &meta(1), &everything()).unwrap();
    let packs: Vec<String> = world.objects("one").into_iter().filter(|o| o.starts_with("packs/")).collect();
    let (a, b) = (path(&world, "one", &packs[0]), path(&world, "one", &packs[1]));
    let bytes = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, &bytes.1).unwrap();
    fs::write(&b, &bytes.0).unwrap();
    let found: BTreeSet<String> =
        check(&world.open(), CheckLevel::Full).problems.into_iter().map(|p| p.object).collect();
    assert!(found.contains(&packs[0]) && found.contains(&packs[1]), "{found:?}");
    fs::write(&a, &bytes.0).unwrap();
    fs::write(&b, &bytes.1).unwrap();

    for prefix in ["index/", "snapshots/", "keys/"] {
        let object = first(&world, prefix);
        let own = fs::read(path(&world, "one", &object)).unwrap();
        fs::copy(path(&other, "one", &first(&other, prefix)), path(&world, "one", &object)).unwrap();
        let report = check(&world.open(), CheckLevel::Metadata);
        assert!(report.problems.iter().any(|p| p.object == object), "{object} of another vault: {report:?}");
        fs::write(path(&world, "one", &object), own).unwrap();
    }
    let marker = path(&world, "one", "cathedral-vault.json");
    fs::copy(path(&other, "one", "cathedral-vault.json"), &marker).unwrap();
    let error = wait(world.open().list()).expect_err("another vault under this name");
    assert_eq!(error.cause(), Cause::Refused, "{error}");
}

#[test]
fn a_deleted_manifest_is_missed_by_the_hub_and_by_its_successor() {
    let world = World::new(&["one"], 1);
    let first = take(&world.open(), &meta(1), &tiny()).unwrap();
    fs::remove_file(path(&world, "one", &format!("snapshots/{}.age", first.meta.id))).unwrap();
    let report = check(&world.open(), CheckLevel::Quick);
    assert_eq!(report.problems.len(), 1, "the hub remembers what it committed: {report:?}");
    assert!(report.problems[0].object.contains(first.meta.id.as_str()), "{report:?}");

    let world = World::new(&["one"], 1);
    let first = take(&world.open(), &meta(1), &tiny()).unwrap();
    take(&world.open(), &meta(2), &tiny()).unwrap();
    fs::remove_file(path(&world, "one", &format!("snapshots/{}.age", first.meta.id))).unwrap();
    fs::remove_dir_all(world.cache()).unwrap();
    let report = check(&world.open(), CheckLevel::Quick);
    assert!(
        report.problems.iter().any(|p| p.object.contains(first.meta.id.as_str())),
        "its child names it: {report:?}"
    );
}

#[test]
fn reading_goes_around_every_damage_that_a_copy_covers() {
    let world = World::new(&["one", "two"], 2);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    // Every second object of each destination is damaged, so neither alone is enough.
    for (at, object) in world.objects("one").into_iter().enumerate() {
        let name = if at % 2 == 0 { "one" } else { "two" };
        if object.starts_with("packs/") || object.starts_with("index/") || object.starts_with("snapshots/") {
            let mut bytes = fs::read(path(&world, name, &object)).unwrap();
            let len = bytes.len();
            bytes[len / 2..].iter_mut().for_each(|b| *b ^= 0x55);
            fs::write(path(&world, name, &object), bytes).unwrap();
        }
    }
    fs::remove_dir_all(world.cache()).unwrap();
    let vault = world.open();
    assert_eq!(give_back(&vault, &wait(vault.snapshot(&info.meta.id)).unwrap()).unwrap(), as_read(&everything()));
    assert!(!vault.take_faults().is_empty(), "what was met is remembered");
}

#[test]
fn what_no_copy_covers_is_corrupt_and_says_whom_it_hits() {
    let world = World::new(&["one"], 1);
    let parts = Parts::from([(
        ("media".into(), cathedral_model::ecosystem::Side::Hub),
        Content::Files(vec![file("big", noise(5, 900_000)), file("small", text(6, 100))]),
    )]);
    let info = take(&world.open(), &meta(1), &parts).unwrap();
    for object in world.objects("one").into_iter().filter(|o| o.starts_with("packs/")) {
        let size = fs::metadata(path(&world, "one", &object)).unwrap().len();
        if size > 100_000 {
            fs::remove_file(path(&world, "one", &object)).unwrap();
        }
    }
    let error = give_back(&world.open(), &info).expect_err("the content is gone");
    assert!(matches!(error, PortError::Corrupt(_)), "{error:?}");
    for named in ["one", "packs/", "big", "media", info.meta.id.as_str()] {
        assert!(error.to_string().contains(named), "{error} must name {named}");
    }
}

#[test]
fn a_lost_index_is_rebuilt_from_the_packs() {
    let world = World::new(&["one"], 1);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    fs::remove_dir_all(world.cache()).unwrap();
    fs::remove_file(path(&world, "one", &first(&world, "index/"))).unwrap();
    assert_eq!(give_back(&world.open(), &info).unwrap(), as_read(&everything()));
}

#[test]
fn a_damaged_cache_is_a_miss() {
    let world = World::new(&["one"], 1);
    let first = take(&world.open(), &meta(1), &everything()).unwrap();
    for dir in ["index", "files"] {
        for entry in fs::read_dir(world.cache().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let second = take(&world.open(), &meta(2), &tiny()).unwrap();
    assert_eq!(give_back(&world.open(), &first).unwrap(), as_read(&everything()));
    assert_eq!(give_back(&world.open(), &second).unwrap(), as_read(&tiny()));
}

#[test]
fn a_key_that_does_not_fit_says_key() {
    let (world, other) = (World::new(&["one"], 1), World::new(&["one"], 1));
    let cause = |file: PathBuf| LocalVault::open_with_key(world.destinations(), &file).err().expect("no key").cause();
    assert_eq!(cause(other.keys().join("hub.key")), Cause::Key);
    assert_eq!(cause(world.keys().join("nothing")), Cause::Key);
    assert_eq!(cause(world.folder("one").join("keys/0001.0.age")), Cause::Key);
    assert_eq!(cause(world.folder("one").join("RECOVERY.md")), Cause::Key);
    fs::copy(other.keys().join("hub.key"), world.keys().join("hub.key")).unwrap();
    let env = std::sync::Arc::new(crate::support::RealEnv);
    let opened = LocalVault::open(&world.keys(), world.destinations(), 1, &world.cache(), env);
    assert_eq!(opened.err().expect("no key").cause(), Cause::Key);
    assert!(world.local("one").list("").is_ok());
}
