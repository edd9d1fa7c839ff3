//! A destination without its key or its vault file cannot be restored from without the hub: it is told, and mended.

use cathedral_backup::LocalVault;
use cathedral_model::ports::Vault as _;
use cathedral_model::ports::env::Silent;
use cathedral_model::snapshot::CheckLevel;
use std::fs;

use crate::samples::everything;
use crate::support::{World, meta, take, wait};

const MARKER: &str = "cathedral-vault.json";
const KEY: &str = "keys/0001.0.age";
const LEVELS: [CheckLevel; 3] = [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full];

#[test]
fn what_a_restore_without_the_hub_needs_is_looked_at_and_put_back() {
    let world = World::new(&["one", "two"], 2);
    take(&world.open(), &meta(1), &everything()).unwrap();
    let mut at = 1;
    for objects in [&[KEY][..], &[MARKER], &["recover.sh"], &[KEY, MARKER]] {
        for damage in ["missing", "garbage", "same size", "empty"] {
            let paths: Vec<_> = objects.iter().map(|object| world.folder("one").join(object)).collect();
            let right: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
            for (path, right) in paths.iter().zip(&right) {
                match damage {
                    "missing" => fs::remove_file(path).unwrap(),
                    "garbage" => fs::write(path, "garbage\n").unwrap(),
                    "same size" => fs::write(path, vec![b'x'; right.len()]).unwrap(),
                    _ => fs::write(path, "").unwrap(),
                }
            }
            for level in LEVELS {
                let found = wait(world.open().check(level, &[], &Silent)).unwrap().problems;
                let is_away = damage == "missing" && objects.contains(&MARKER);
                for object in objects.iter().filter(|object| !is_away || **object == MARKER) {
                    let named = found.iter().find(|p| p.object == *object && p.destination.as_str() == "one");
                    let named = named.unwrap_or_else(|| panic!("{object} {damage} {level:?}: {found:?}"));
                    assert!(named.restorable && (named.affects.is_empty() == (*object == "recover.sh")), "{named:?}");
                }
            }
            let look = wait(world.open().look()).unwrap().destinations.remove(0);
            assert!(look.missing + look.damaged > 0 || look.fault.is_some(), "{objects:?} {damage}: {look:?}");
            // Both destinations are needed: the snapshot comes about because the first is whole again.
            at += 1;
            take(&world.open(), &meta(at), &everything()).unwrap_or_else(|e| panic!("{objects:?} {damage}: {e}"));
            for (path, right) in paths.iter().zip(&right) {
                assert_eq!(fs::read(path).unwrap(), *right, "{damage}: {}", path.display());
            }
            assert_eq!(wait(world.open().check(CheckLevel::Metadata, &[], &Silent)).unwrap().problems, vec![]);
            let look = wait(world.open().look()).unwrap().destinations.remove(0);
            assert_eq!((look.missing, look.damaged, look.fault), (0, 0, None), "{objects:?} {damage}");
            let one = world.destinations().remove(0);
            LocalVault::open_with_key(vec![one], &world.keys().join("hub.key")).expect("a restore without the hub");
        }
    }
}

#[test]
fn nothing_is_put_where_nothing_says_that_the_vault_is_there() {
    let world = World::new(&["one", "two"], 1);
    take(&world.open(), &meta(1), &everything()).unwrap();
    fs::rename(world.folder("one"), world.dir.path().join("away")).unwrap();
    fs::create_dir(world.folder("one")).unwrap();
    fs::write(world.folder("one").join(MARKER), "somebody's\n").unwrap();
    let held = take(&world.open(), &meta(2), &everything()).unwrap().destinations;
    assert_eq!((held[0].state.as_str(), held[1].state.as_str()), ("lagging", "held"));
    fs::remove_file(world.folder("one").join(MARKER)).unwrap();
    take(&world.open(), &meta(3), &everything()).unwrap();
    assert_eq!(fs::read_dir(world.folder("one")).unwrap().count(), 0, "an empty folder is a disk that is not mounted");
    // Another vault is another's, whatever key lies beside its marker.
    let other = World::new(&["one"], 1);
    fs::copy(other.folder("one").join(MARKER), world.folder("one").join(MARKER)).unwrap();
    fs::create_dir(world.folder("one").join("keys")).unwrap();
    fs::copy(world.dir.path().join("away").join(KEY), world.folder("one").join(KEY)).unwrap();
    take(&world.open(), &meta(4), &everything()).unwrap();
    let theirs = other.destinations().remove(0).get(MARKER).unwrap();
    assert_eq!(fs::read(world.folder("one").join(MARKER)).unwrap(), theirs);
}
