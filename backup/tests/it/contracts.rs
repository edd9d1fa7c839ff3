//! The suites that every destination and every vault must pass.

use cathedral_backup::{LocalDestination, LocalVault};
use cathedral_model::ids::DestinationName;
use cathedral_model::ports::{Cause, Destination, PortError};
use cathedral_sim::contracts;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use crate::support::{World, wait};

#[test]
fn a_local_folder_is_a_destination() {
    let worlds = Mutex::new(Vec::new());
    contracts::destination::check(&|| {
        let world = World::new(&["one"], 1);
        let place = Arc::new(world.local("one"));
        worlds.lock().unwrap().push(world);
        place
    });
}

#[test]
fn a_local_vault_is_a_vault() {
    let worlds = Mutex::new(Vec::new());
    let make = |names: &[&'static str], quorum: usize| -> LocalVault {
        let world = World::new(names, quorum);
        let vault = world.open();
        worlds.lock().unwrap().push(world);
        vault
    };
    wait(contracts::vault::check(|| make(&["one"], 1)));
    wait(contracts::vault::check(|| make(&["one", "two", "three"], 2)));
}

#[test]
fn a_folder_without_its_marker_is_unreachable_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let bare = LocalDestination::new(DestinationName::new("bare").unwrap(), dir.path());
    let gone = LocalDestination::new(DestinationName::new("gone").unwrap(), dir.path().join("no"));
    for place in [&bare, &gone] {
        let errors = [
            place.list("").err(),
            place.get("index/a.age").err(),
            place.size("index/a.age").err(),
            place.put("index/a.age", b"x").err(),
        ];
        for error in errors {
            let error = error.expect("no marker, no answer");
            assert_eq!(error.cause(), Cause::Unreachable, "{error}");
            assert!(matches!(error, PortError::Transient { .. }), "{error}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn only_the_owner_may_read_what_is_stored_and_nothing_lies_about() {
    let world = World::new(&["one"], 1);
    crate::support::take(&world.open(), &crate::support::meta(1), &crate::samples::everything()).unwrap();
    let mut open = vec![world.folder("one"), world.keys()];
    while let Some(path) = open.pop() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        assert!(!path.file_name().unwrap().to_string_lossy().contains("tmp"), "{}", path.display());
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|e| e.unwrap().path()));
        }
    }
}
