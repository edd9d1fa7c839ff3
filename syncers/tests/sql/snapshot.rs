//! Out into a snapshot and back in.

use std::collections::BTreeMap;
use std::sync::Arc;

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::observation::Digests;
use cathedral_model::plan::PlanContext;
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{PortError, Syncer};
use cathedral_syncers::sql::SqliteSyncer;

use super::shop::shop;
use super::support::*;

fn export(pair: &Pair, place: &Place) -> Part {
    let mut part = Part::default();
    let state = wait(pair.syncer.export(&pair.spoke, place, &mut part)).unwrap();
    assert_eq!(part.state, None, "the caller ends the part");
    part.state = Some(state);
    part
}

fn import(pair: &Pair, place: &Place, part: &Part) -> Result<cathedral_model::ports::syncer::Imported, PortError> {
    wait(pair.syncer.import(&pair.spoke, place, &mut part.clone(), RunId(3), Fence(1)))
}

#[test]
fn a_database_comes_back_equal_at_a_new_place() {
    let mut pair = shop();
    pair.hub()
        .execute_batch(
            "pragma user_version = 7; pragma application_id = 99; insert into log values (null, cast(x'ff' as text)), (1.5, x'00');
             create table bad (id integer primary key, p integer references gone(id)); create table \"we\"\"ird\" (a, b default (1+1));",
        )
        .unwrap();
    pair.sync();
    let live = Place::Live(Side::Hub);
    let part = export(&pair, &live);
    assert_eq!(part.state.as_ref().unwrap().digest, pair.observe().hub.digest, "it is the observed state");
    assert!(part.tables.iter().all(|t| !t.name.contains("cathedral")));
    let path = pair.dir.path().join("restored/new.db");
    let imported = import(&pair, &Place::Path(path.clone()), &part).unwrap();
    assert_eq!((imported.files, imported.kept), (1, None));
    let back = export(&pair, &Place::Path(path.clone()));
    assert_eq!((&back.rows, &back.tables, &back.schema), (&part.rows, &part.tables, &part.schema));
    assert_eq!(back.state, part.state);
    let conn = application(&path);
    assert_eq!(rows(&conn, "pragma user_version"), ["Integer(7)"]);
    assert_eq!(rows(&conn, "select count(*) from totals"), ["Integer(60)"]);
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["new.db"], "nothing is left beside it");
}

#[test]
fn a_living_database_is_replaced_under_the_programs_that_use_it() {
    for wal in [false, true] {
        let pair = shop();
        let part = export(&pair, &Place::Live(Side::Spoke));
        let app = pair.far();
        if wal {
            app.execute_batch("pragma journal_mode = wal").unwrap();
        }
        app.execute_batch("pragma foreign_keys = off; delete from track; update artist set name = 'lost ' || id; create table extra (x)").unwrap();
        let imported = import(&pair, &Place::Live(Side::Spoke), &part).unwrap();
        assert_eq!(rows(&app, "select count(*) from track"), ["Integer(2000)"], "an open connection sees it");
        app.execute("update track set name = 'after' where id = 1", []).unwrap();
        assert_eq!(rows(&pair.far(), "select count(*) from track where name = 'after'"), ["Integer(1)"]);
        app.execute("update track set name = 'track 1' where id = 1", []).unwrap();
        let back = export(&pair, &Place::Live(Side::Spoke));
        assert_eq!(back.rows, part.rows);
        let kept = imported.kept.unwrap();
        assert!(kept.contains("state/kept/3/shop/spoke/"), "{kept}");
        let kept = application(std::path::Path::new(&kept));
        assert_eq!(rows(&kept, "select count(*) from artist where name like 'lost%'"), ["Integer(25)"]);
        // Once more is the same, and does not lose what was kept first.
        import(&pair, &Place::Live(Side::Spoke), &part).unwrap();
        assert_eq!(rows(&kept, "select count(*) from track"), ["Integer(0)"]);
    }
}

#[test]
fn a_damaged_or_missing_file_is_moved_away_with_its_companions() {
    let pair = shop();
    let part = export(&pair, &Place::Live(Side::Hub));
    std::fs::write(
        pair.path("hub"),
        "not a database at all, but long enough to look like a file with a header in it, or so it seems",
    )
    .unwrap();
    std::fs::write(pair.dir.path().join("hub.db-wal"), "old log").unwrap();
    let imported = import(&pair, &Place::Live(Side::Hub), &part).unwrap();
    assert!(std::fs::read_to_string(imported.kept.unwrap()).unwrap().starts_with("not a database"));
    assert!(!pair.dir.path().join("hub.db-wal").exists());
    assert_eq!(export(&pair, &Place::Live(Side::Hub)).rows, part.rows);
    std::fs::remove_file(pair.path("hub")).unwrap();
    import(&pair, &Place::Live(Side::Hub), &part).unwrap();
    assert_eq!(export(&pair, &Place::Live(Side::Hub)).rows, part.rows);
}

#[test]
fn a_crash_in_an_import_leaves_the_old_content_and_repeating_finishes() {
    for point in ["import_built", "import_kept"] {
        let mut pair = shop();
        let part = export(&pair, &Place::Live(Side::Hub));
        pair.hub().execute("delete from line", []).unwrap();
        let old = export(&pair, &Place::Live(Side::Hub));
        let steady = std::mem::replace(
            &mut pair.syncer,
            SqliteSyncer::new(pair.dir.path().join("state"), pair.content.clone()).with_failpoint(Arc::new(
                move |at: &str| if at == point { Err(PortError::permanent("crash")) } else { Ok(()) },
            )),
        );
        assert!(import(&pair, &Place::Live(Side::Hub), &part).is_err());
        assert_eq!(export(&pair, &Place::Live(Side::Hub)).rows, old.rows);
        pair.syncer = steady;
        import(&pair, &Place::Live(Side::Hub), &part).unwrap();
        assert_eq!(export(&pair, &Place::Live(Side::Hub)).rows, part.rows);
        let kept = pair.dir.path().join("state/kept/3/shop/hub/hub.db");
        assert_eq!(rows(&application(&kept), "select count(*) from line"), ["Integer(0)"]);
        let left: Vec<_> = std::fs::read_dir(pair.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .filter(|n| n.to_string_lossy().starts_with(".cathedral"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_sync_after_a_restore_goes_on_from_the_agreed_state() {
    let mut pair = shop();
    let part = export(&pair, &Place::Live(Side::Spoke));
    pair.hub().execute("update track set name = 'newer' where id = 1", []).unwrap();
    pair.sync();
    import(&pair, &Place::Live(Side::Spoke), &part).unwrap();
    let (plan, _) = pair.sync();
    // The restored side says the old name on purpose: it is the side that changed.
    assert_eq!(plan.changes(), (1, 0));
    pair.same("select * from track order by id");
}

#[test]
fn a_side_that_was_not_there_yet_comes_back_as_not_there() {
    let pair = Pair::new();
    pair.hub().execute_batch("create table t (id integer primary key)").unwrap();
    let place = Place::Live(Side::Spoke);
    let part = export(&pair, &place);
    assert_eq!(part.state.as_ref().unwrap().digest, pair.observe().spoke.digest);
    pair.far().execute_batch("create table later (id integer primary key); insert into later values (1)").unwrap();
    let imported = import(&pair, &place, &part).unwrap();
    assert_eq!(rows(&application(std::path::Path::new(&imported.kept.unwrap())), "select * from later").len(), 1);
    assert_eq!(export(&pair, &place), part);
    let path = pair.dir.path().join("new.db");
    import(&pair, &Place::Path(path.clone()), &part).unwrap();
    assert!(!path.exists());
}

/// A syncer that calls `act` whenever it comes to the named moment.
fn at_moment(
    pair: &Pair,
    point: &'static str,
    act: impl Fn() -> Result<(), PortError> + Send + Sync + 'static,
) -> SqliteSyncer {
    SqliteSyncer::new(pair.dir.path().join("state"), pair.content.clone())
        .with_failpoint(Arc::new(move |at: &str| if at == point { act() } else { Ok(()) }))
}

#[test]
fn what_was_written_between_a_restore_and_its_repetition_is_kept_too() {
    for wal in [false, true] {
        let pair = shop();
        let place = Place::Live(Side::Hub);
        let part = export(&pair, &place);
        let app = pair.hub();
        if wal {
            app.execute_batch("pragma journal_mode = wal").unwrap();
        }
        app.execute("update artist set name = 'old' where id = 1", []).unwrap();
        import(&pair, &place, &part).unwrap();
        let kept = |name: &str| pair.dir.path().join("state/kept/3/shop/hub").join(name);
        let count = |name: &str, sql: &str| rows(&application(&kept(name)), sql);
        for n in 1..3 {
            app.execute("insert into artist (id, name) values (?1, 'new')", [1000 + n]).unwrap();
            let imported = import(&pair, &place, &part).unwrap();
            let name = format!("hub.db.{n}");
            assert_eq!(imported.kept.unwrap(), kept(&name).display().to_string());
            let sql = format!("select count(*) from artist where id = {}", 1000 + n);
            assert_eq!(count(&name, &sql), ["Integer(1)"]);
            assert_eq!(rows(&app, &sql), ["Integer(0)"]);
        }
        assert_eq!(count("hub.db", "select count(*) from artist where name = 'old'"), ["Integer(1)"]);
        // The same content again needs no third copy.
        app.execute("insert into artist (id, name) values (1002, 'new')", []).unwrap();
        import(&pair, &place, &part).unwrap();
        assert!(!kept("hub.db.3").exists());
        assert_eq!(export(&pair, &place).rows, part.rows);
    }
}

#[test]
fn a_restore_of_what_is_there_already_writes_nothing() {
    let pair = shop();
    let place = Place::Live(Side::Hub);
    let part = export(&pair, &place);
    let stamp =
        || (std::fs::read(pair.path("hub")).unwrap(), std::fs::metadata(pair.path("hub")).unwrap().modified().unwrap());
    let before = stamp();
    let imported = import(&pair, &place, &part).unwrap();
    assert_eq!((imported.files, imported.kept), (1, None));
    assert!(before == stamp());
    assert!(!pair.dir.path().join("state/kept/3/shop/hub/hub.db").exists());
}

#[test]
fn what_a_program_writes_while_the_old_content_is_kept_is_kept_as_well() {
    for wal in [false, true] {
        let mut pair = shop();
        let place = Place::Live(Side::Hub);
        let part = export(&pair, &place);
        let app = pair.hub();
        if wal {
            app.execute_batch("pragma journal_mode = wal").unwrap();
        }
        app.execute("update artist set name = 'old' where id = 1", []).unwrap();
        let (path, first) = (pair.path("hub"), std::sync::atomic::AtomicBool::new(true));
        pair.syncer = at_moment(&pair, "import_kept", move || {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                application(&path).execute("insert into artist (id, name) values (1000, 'late')", []).unwrap();
            }
            Ok(())
        });
        import(&pair, &place, &part).unwrap();
        assert_eq!(export(&pair, &place).rows, part.rows);
        let kept = pair.dir.path().join("state/kept/3/shop/hub/hub.db.1");
        assert_eq!(rows(&application(&kept), "select count(*) from artist where id = 1000"), ["Integer(1)"]);
    }
}

#[test]
fn what_is_moved_away_never_takes_the_place_of_what_was_kept() {
    let pair = shop();
    let place = Place::Live(Side::Hub);
    let part = export(&pair, &place);
    for (n, text) in ["first", "second"].into_iter().enumerate() {
        std::fs::write(pair.path("hub"), format!("{text}, which is not a database {}", "x".repeat(600))).unwrap();
        std::fs::write(pair.dir.path().join("hub.db-wal"), text).unwrap();
        import(&pair, &place, &part).unwrap();
        let kept = pair.dir.path().join("state/kept/3/shop/hub").join(["hub.db", "hub.db.1"][n]);
        assert!(std::fs::read_to_string(&kept).unwrap().starts_with(text));
        assert_eq!(std::fs::read_to_string(format!("{}-wal", kept.display())).unwrap(), text);
        assert_eq!(export(&pair, &place).rows, part.rows);
    }
    let kept = pair.dir.path().join("state/kept/3/shop/hub/hub.db");
    assert!(std::fs::read_to_string(kept).unwrap().starts_with("first"));
}

/// A database that is written all the time is planned as the snapshot has read it, and nobody waits for that.
#[test]
fn a_plan_is_made_from_what_the_snapshot_has_read() {
    for mode in ["wal", "delete"] {
        let mut pair =
            Pair::agreed("create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b');");
        for side in ["hub", "spoke"] {
            application(&pair.path(side)).execute_batch(&format!("pragma journal_mode = {mode};")).unwrap();
        }
        pair.hub().execute_batch("insert into t values (3, 'quiet');").unwrap();
        pair.far().execute_batch("update t set v = 'busy 1' where id = 1;").unwrap();
        pair.run += 1;
        let name = pair.spoke.name.clone();
        pair.syncer.remember(&name);
        let digest = |side| export(&pair, &Place::Live(side)).state.unwrap().digest;
        let (hub, spoke) = (digest(Side::Hub), digest(Side::Spoke));
        assert_eq!(pair.observe().digests(), Digests { hub, spoke });
        // Nobody has to wait while it is remembered.
        pair.far().busy_timeout(std::time::Duration::ZERO).unwrap();
        pair.far().execute_batch("update t set v = 'busy 2' where id = 1; insert into t values (4, 'later');").unwrap();
        let held = BTreeMap::from([(Side::Hub, hub), (Side::Spoke, spoke)]);
        let context = PlanContext { held, ..pair.context(vec![]) };
        let plan = wait(pair.syncer.plan(&pair.spoke, &context)).unwrap();
        assert_eq!(plan.expected, Digests { hub, spoke }, "{mode}");
        let applied = pair.apply(&plan).unwrap();
        assert_eq!((applied.changes_out, pair.rows("select v from t where id = 3").1.len()), (1, 1), "{mode}");
        // The row that has changed since is as it was left, on the side where it was.
        assert_eq!(rows(&pair.far(), "select v from t where id = 1"), rows(&pair.far(), "select 'busy 2'"));
        pair.sync();
        assert_eq!(pair.same("select * from t order by id").len(), 4, "{mode}");
        let left = std::fs::read_dir(pair.dir.path().join("state/scratch")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "a copy was left");
    }
}

#[test]
fn a_database_is_read_alone_while_the_other_one_cannot_be() {
    let pair = Pair::agreed("create table t (id integer primary key); insert into t values (1);");
    let whole = pair.observe();
    std::fs::remove_file(pair.path("spoke")).unwrap();
    std::fs::write(pair.path("spoke"), "not a database, but longer than its header would be: ".repeat(40)).unwrap();
    let observe = |side| wait(pair.syncer.observe_side(&pair.spoke, side));
    assert!(wait(pair.syncer.observe(&pair.spoke)).is_err());
    assert_eq!(observe(Side::Hub).unwrap(), whole.hub);
    assert!(observe(Side::Spoke).is_err());
    std::fs::remove_file(pair.path("spoke")).unwrap();
    assert!(observe(Side::Spoke).is_err(), "missing is not empty");
}
