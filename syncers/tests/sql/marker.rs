//! The user's own things that are called as ours is: they are the user's, and ours goes elsewhere.

use std::collections::BTreeSet;

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{PortError, Syncer};

use super::support::*;

const MINE: &str = "create table Cathedral_Sync (id integer primary key, v text);
    create index cathedral_sync_v on cathedral_sync (v);
    insert into cathedral_sync values (1, 'one'), (2, 'two');";

fn export(pair: &Pair, place: &Place) -> Part {
    let mut part = Part::default();
    part.state = Some(wait(pair.syncer.export(&pair.spoke, place, &mut part)).unwrap());
    part
}

fn import(pair: &Pair, place: &Place, part: &Part) -> cathedral_model::ports::syncer::Imported {
    wait(pair.syncer.import(&pair.spoke, place, &mut part.clone(), RunId(3), Fence(1))).unwrap()
}

/// Tables that look like ours, told by one column.
fn markers(conn: &rusqlite::Connection) -> Vec<String> {
    let all =
        rows(conn, "select s.name from sqlite_schema s join pragma_table_info(s.name) c where c.name = 'sync_id'");
    all.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn text(name: &str) -> String {
    format!("Text({:?})", name.as_bytes())
}

#[test]
fn a_table_of_the_users_with_our_name_is_synced_both_ways() {
    let mut pair = Pair::agreed(&format!("{MINE} create table t (id integer primary key); insert into t values (1);"));
    assert_eq!(pair.same("select * from cathedral_sync order by id").len(), 2);
    pair.far().execute_batch("update cathedral_sync set v = 'far' where id = 1; insert into t values (2)").unwrap();
    pair.hub()
        .execute_batch("insert into cathedral_sync values (3, 'hub'); delete from cathedral_sync where id = 2")
        .unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0));
    assert_eq!(pair.same("select v from cathedral_sync order by id"), [text("far"), text("hub")]);
    for conn in [pair.hub(), pair.far()] {
        assert_eq!(markers(&conn), [text("cathedral_sync_marker")]);
    }
    pair.quiet();
    pair.hub().execute("delete from t", []).unwrap();
    pair.fence = 0;
    pair.run += 1;
    let plan = pair.plan();
    let error = pair.apply(&plan).unwrap_err();
    assert!(matches!(error, PortError::Fenced(_)), "{error:?}");
    assert!(error.to_string().contains("from table cathedral_sync_marker"), "{error}");
}

#[test]
fn a_snapshot_holds_it_and_every_restore_gives_it_back() {
    let pair = Pair::agreed(MINE);
    let live = Place::Live(Side::Spoke);
    let part = export(&pair, &live);
    assert_eq!(part.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["Cathedral_Sync"]);
    assert_eq!(part.rows["Cathedral_Sync"].len(), 2);
    let path = pair.dir.path().join("new.db");
    import(&pair, &Place::Path(path.clone()), &part);
    assert_eq!(rows(&application(&path), "select * from cathedral_sync").len(), 2);
    assert_eq!(export(&pair, &Place::Path(path)).state, part.state);

    pair.far().execute_batch("delete from cathedral_sync; insert into cathedral_sync values (9, 'kept')").unwrap();
    let imported = import(&pair, &live, &part);
    assert_eq!(export(&pair, &live), part);
    assert_eq!(rows(&pair.far(), "select * from cathedral_sync").len(), 2);
    let kept = application(std::path::Path::new(&imported.kept.unwrap()));
    assert_eq!(rows(&kept, "select v from cathedral_sync"), [text("kept")]);
}

#[test]
fn one_that_comes_later_on_one_side_goes_over_and_ours_makes_room() {
    for (late, early) in [("spoke", "hub"), ("hub", "spoke")] {
        let mut pair = Pair::agreed("create table t (id integer primary key, v); insert into t values (1, 1);");
        // Ours stands on the side that was written last, and in its place only there.
        application(&pair.path(late)).execute_batch("update t set v = 2").unwrap();
        pair.sync();
        assert_eq!(markers(&application(&pair.path(early))), [text("cathedral_sync")]);
        let conn = application(&pair.path(late));
        conn.execute_batch("drop table if exists cathedral_sync").unwrap();
        conn.execute_batch(MINE).unwrap();
        let (plan, applied) = pair.sync();
        assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0), "{late}");
        assert_eq!(pair.same("select * from cathedral_sync order by id").len(), 2);
        pair.same("select type, name, sql from sqlite_schema where name like 'cathedral_sync_v' order by 1, 2");
        assert_eq!(markers(&application(&pair.path(early))), [text("cathedral_sync_marker")]);
        pair.quiet();
        // What it knew, it still knows.
        application(&pair.path(late)).execute("delete from t", []).unwrap();
        pair.fence = 0;
        pair.run += 1;
        let plan = pair.plan();
        assert!(matches!(pair.apply(&plan).unwrap_err(), PortError::Fenced(_)), "{late}");
    }
}

#[test]
fn views_indexes_and_triggers_of_that_name_are_the_users_too() {
    for (thing, kind) in [
        ("create view cathedral_sync as select id from t", "view"),
        ("create index Cathedral_Sync on t (v)", "index"),
        ("create trigger cathedral_sync after insert on t begin update t set v = 0; end", "trigger"),
    ] {
        let mut pair = Pair::new();
        let sql = format!("create table t (id integer primary key, v); insert into t values (1, 1); {thing};");
        pair.hub().execute_batch(&sql).unwrap();
        pair.far().execute_batch(&sql).unwrap();
        pair.sync();
        pair.far().execute_batch("update t set v = 5").unwrap();
        pair.hub().execute_batch("pragma recursive_triggers = off; insert into t values (2, 0)").unwrap();
        let (_, applied) = pair.sync();
        assert_eq!(applied.skipped.len(), 0, "{kind}");
        assert_eq!(pair.same("select count(*) from t"), ["Integer(2)"], "{kind}");
        pair.quiet();
        let part = export(&pair, &Place::Live(Side::Hub));
        assert_eq!(part.schema.as_ref().unwrap().statements.len(), 2, "{kind}");
        import(&pair, &Place::Live(Side::Hub), &part);
        let found =
            format!("select count(*) from sqlite_schema where type = '{kind}' and lower(name) = 'cathedral_sync'");
        assert_eq!(rows(&pair.hub(), &found), ["Integer(1)"]);
        assert_eq!(export(&pair, &Place::Live(Side::Hub)), part);
    }
}

#[test]
fn tables_that_only_look_like_ours_are_not_ours() {
    // All names that ours would take, one with the very columns of ours, and a prefix that was once reserved.
    let sql = "create table cathedral_sync (pair text primary key not null, sync_id text not null, \
         fence integer not null, applied_at text not null) without rowid;
         insert into cathedral_sync values ('shop', 'by hand', 99, 'never');
         create table cathedral_sync_marker (id integer primary key, v);
         insert into cathedral_sync_marker values (1, 1);
         create view cathedral_sync_marker_2 as select 1;
         create table _cathedral_notes (id integer primary key, v);
         insert into _cathedral_notes values (1, 'n');";
    let mut pair = Pair::new();
    pair.detail().exclude.clear();
    pair.hub().execute_batch(sql).unwrap();
    pair.far().execute_batch(sql).unwrap();
    pair.sync();
    pair.far()
        .execute_batch("update cathedral_sync set fence = 7; update cathedral_sync_marker set v = 2; update _cathedral_notes set v = 'm'")
        .unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((plan.changes().0, applied.skipped.len()), (3, 0));
    assert_eq!(pair.same("select sync_id, fence from cathedral_sync"), [text("by hand") + "|Integer(7)"]);
    pair.same("select * from cathedral_sync_marker");
    pair.same("select * from _cathedral_notes");
    assert_eq!(markers(&pair.hub()), [text("cathedral_sync_marker_3"), text("cathedral_sync")]);
    pair.quiet();
    let part = export(&pair, &Place::Live(Side::Hub));
    assert_eq!(part.tables.len(), 3);
    import(&pair, &Place::Live(Side::Hub), &part);
    assert_eq!(export(&pair, &Place::Live(Side::Hub)), part);
}

#[test]
fn ours_stays_out_of_snapshots_and_off_the_other_side() {
    let mut pair = Pair::agreed("create table t (id integer primary key)");
    pair.far().execute_batch("insert into t values (1)").unwrap();
    pair.hub().execute_batch("insert into t values (2)").unwrap();
    pair.sync();
    assert_eq!(markers(&pair.hub()), [text("cathedral_sync")]);
    assert_eq!(export(&pair, &Place::Live(Side::Hub)).tables.len(), 1);
}
