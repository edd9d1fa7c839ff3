//! Killed after any put, with any destination dying: nothing half done is visible, nothing is lost.

use cathedral_backup::LocalVault;
use cathedral_model::ids::DestinationName;
use cathedral_model::ports::destination::Put;
use cathedral_model::ports::{Cause, Destination, PortError, Vault as _};
use cathedral_model::snapshot::CheckLevel;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::samples::everything;
use crate::support::{Content, Parts, World, as_read, dir, file, give_back, meta, noise, take, text, wait};

/// A destination that works for so many puts, then for nothing.
struct Dying {
    behind: Arc<dyn Destination>,
    left: Arc<AtomicI64>,
    puts: Arc<AtomicU64>,
    /// Whether the put at which it dies still takes place, its answer lost.
    is_last_done: bool,
}

impl Dying {
    fn dead() -> PortError {
        PortError::transient(Cause::Unreachable, "the line is dead")
    }

    fn alive(&self) -> Result<(), PortError> {
        if self.left.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err(Self::dead()) }
    }
}

impl Destination for Dying {
    fn name(&self) -> &DestinationName {
        self.behind.name()
    }

    fn location(&self) -> String {
        self.behind.location()
    }

    fn put(&self, object: &str, bytes: &[u8]) -> Result<Put, PortError> {
        self.alive()?;
        self.puts.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            if self.is_last_done {
                self.behind.put(object, bytes)?;
            }
            return Err(Self::dead());
        }
        self.behind.put(object, bytes)
    }

    fn get(&self, object: &str) -> Result<Vec<u8>, PortError> {
        self.alive()?;
        self.behind.get(object)
    }

    fn get_range(&self, object: &str, offset: u64, len: u64) -> Result<Vec<u8>, PortError> {
        self.alive()?;
        self.behind.get_range(object, offset, len)
    }

    fn size(&self, object: &str) -> Result<Option<u64>, PortError> {
        self.alive()?;
        self.behind.size(object)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, PortError> {
        self.alive()?;
        self.behind.list(prefix)
    }

    fn delete(&self, object: &str) -> Result<(), PortError> {
        self.alive()?;
        self.behind.delete(object)
    }
}

/// Destinations of which those in `mortal` die together after `puts` puts.
fn dying(world: &World, mortal: &[&str], puts: i64, is_last_done: bool) -> (Vec<Arc<dyn Destination>>, Arc<AtomicU64>) {
    let left = Arc::new(AtomicI64::new(puts));
    let count = Arc::new(AtomicU64::new(0));
    let wrap = |name: &&'static str| -> Arc<dyn Destination> {
        let behind = Arc::new(world.local(name));
        if !mortal.contains(name) {
            return behind;
        }
        Arc::new(Dying { behind, left: Arc::clone(&left), puts: Arc::clone(&count), is_last_done })
    };
    (world.names.iter().map(wrap).collect(), count)
}

fn little() -> Parts {
    let files =
        vec![file("a", noise(1, 500_000)), dir("d"), file("d/b", text(2, 40_000)), file("d/c", noise(3, 300_000))];
    Parts::from([(("media".into(), cathedral_model::ecosystem::Side::Hub), Content::Files(files))])
}

fn sound(vault: &LocalVault) {
    let report = wait(vault.check(CheckLevel::Full, &[], &cathedral_model::ports::env::Silent)).unwrap();
    assert_eq!(report.problems, vec![]);
}

#[test]
fn killed_after_any_put_the_next_run_gives_the_same_snapshot() {
    let whole = {
        let world = World::new(&["one"], 1);
        take(&world.open(), &meta(1), &little()).unwrap().parts
    };
    for (names, quorum) in [(vec!["one"], 1), (vec!["one", "two"], 2)] {
        for is_last_done in [false, true] {
            let mut puts = 1;
            loop {
                let world = World::new(&names, quorum);
                let (destinations, _) = dying(&world, &names, puts, is_last_done);
                let interrupted = take(&world.open_with(destinations), &meta(1), &little());
                let vault = world.open();
                let visible = wait(vault.list()).unwrap();
                if let Ok(info) = interrupted {
                    assert_eq!(visible, vec![info]);
                    break;
                }
                for info in &visible {
                    assert_eq!(give_back(&vault, info).unwrap(), as_read(&little()), "visible means complete");
                }
                let info = take(&vault, &meta(1), &little()).unwrap();
                // Roots are salted by each vault's own key, so parts are compared by what they hold.
                assert_eq!(info.parts.len(), whole.len());
                assert_eq!(give_back(&vault, &info).unwrap(), as_read(&little()), "after put {puts}");
                assert!(info.destinations.iter().all(|d| d.state == "held"), "{:?}", info.destinations);
                let packs = |name: &str| world.objects(name).iter().filter(|o| o.starts_with("packs/")).count();
                assert!(packs("one") <= 6, "finished packs are adopted, not stored again: {}", packs("one"));
                sound(&vault);
                puts += 1;
            }
            assert!(puts > 3, "several puts were interrupted");
        }
    }
}

#[test]
fn one_destination_of_three_may_die_and_is_caught_up_by_copying() {
    for puts in [1, 2, 3, 5] {
        let world = World::new(&["one", "two", "three"], 2);
        let (destinations, _) = dying(&world, &["two"], puts, false);
        let info = take(&world.open_with(destinations), &meta(1), &everything()).unwrap();
        let lagging: Vec<_> = info.destinations.iter().filter(|d| d.state != "held").collect();
        assert_eq!(lagging.len(), 1, "{:?}", info.destinations);
        assert_eq!((lagging[0].name.as_str(), lagging[0].state.as_str()), ("two", "lagging"));
        assert!(!world.objects("two").iter().any(|o| o.starts_with("snapshots/")), "visible means complete");

        let mut parts = everything();
        parts.remove(&("grimoire".into(), cathedral_model::ecosystem::Side::Hub));
        let second = take(&world.open(), &meta(2), &parts).unwrap();
        assert!(second.destinations.iter().all(|d| d.state == "held"), "{:?}", second.destinations);
        assert_eq!(second.bytes.new, 0, "nothing was read, cut or sealed again");
        assert_eq!(world.objects("two"), world.objects("one"));
        for object in world.objects("two") {
            assert_eq!(world.local("two").get(&object).unwrap(), world.local("one").get(&object).unwrap(), "{object}");
        }
        sound(&world.open());
    }
}

#[test]
fn below_the_quorum_nothing_becomes_visible_and_a_later_run_goes_on() {
    let world = World::new(&["one", "two", "three"], 2);
    let (destinations, _) = dying(&world, &["two", "three"], 4, false);
    let error = take(&world.open_with(destinations), &meta(1), &everything()).expect_err("one of three is below two");
    assert_eq!(error.cause(), Cause::Unreachable, "{error}");
    assert!(matches!(error, PortError::Transient { .. }), "{error}");
    assert_eq!(wait(world.open().list()).unwrap(), vec![]);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    assert_eq!(give_back(&world.open(), &info).unwrap(), as_read(&everything()));

    let (destinations, puts) = dying(&world, &["two", "three"], 0, false);
    let error = take(&world.open_with(destinations), &meta(2), &everything()).expect_err("two are gone");
    assert_eq!(error.cause(), Cause::Unreachable, "{error}");
    assert_eq!(puts.load(Ordering::SeqCst), 0);
    let (destinations, _) = dying(&world, &["two", "three"], 0, false);
    assert_eq!(wait(world.open_with(destinations).list()).unwrap().len(), 1, "reading needs one destination");
}

#[test]
fn a_destination_that_joins_later_gets_everything() {
    let mut world = World::new(&["one"], 1);
    let info = take(&world.open(), &meta(1), &everything()).unwrap();
    world.names.push("two");
    let error = wait(world.open().list()).expect("one answers");
    assert_eq!(error[0].destinations[1].state, "unreachable", "a folder without marker is never filled by itself");
    world.found();
    take(&world.open(), &meta(2), &Parts::new()).unwrap();
    std::fs::remove_dir_all(world.folder("one")).unwrap();
    let parts = give_back(&world.open(), &info).unwrap();
    assert_eq!(parts, as_read(&everything()));
}
