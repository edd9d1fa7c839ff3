//! Writing: constraints, triggers, crashes, rows that move, fences.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cathedral_model::ports::PortError;
use cathedral_syncers::sql::SqliteSyncer;

use super::shop::shop;
use super::support::*;

fn crashing_at(pair: &Pair, point: &'static str) -> (SqliteSyncer, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(true));
    let flag = armed.clone();
    let syncer = SqliteSyncer::new(pair.dir.path().join("state"), pair.content.clone()).with_failpoint(Arc::new(
        move |at: &str| {
            if at == point && flag.load(Ordering::SeqCst) {
                return Err(PortError::permanent("crash"));
            }
            Ok(())
        },
    ));
    (syncer, armed)
}

#[test]
fn a_crash_between_the_two_sides_is_finished_by_applying_again() {
    for point in ["hub_applied", "spoke_applied"] {
        let mut pair = shop();
        pair.hub()
            .execute_batch("update track set name = 'h' where id = 1; delete from line where invoice = 3")
            .unwrap();
        pair.far()
            .execute_batch("update track set name = 's' where id = 2; insert into artist values (77, 'x')")
            .unwrap();
        let (crashing, armed) = crashing_at(&pair, point);
        let steady = std::mem::replace(&mut pair.syncer, crashing);
        pair.run += 1;
        let plan = pair.plan();
        assert!(pair.apply(&plan).is_err());
        assert_eq!(pair.rows("select name from track where id = 2").0, ["Text([115])"], "the hub is written already");
        armed.store(false, Ordering::SeqCst);
        let marker = |pair: &Pair| rows(&pair.hub(), "select * from cathedral_sync");
        let before = (marker(&pair), pair.observe());
        let applied = pair.apply(&plan).unwrap();
        assert_eq!(applied.skipped, vec![]);
        assert_eq!((applied.changes_in, applied.changes_out), (2, plan.changes().1));
        assert_eq!(before.0, marker(&pair), "the finished side is not written again");
        assert_eq!(before.1.hub, pair.observe().hub);
        pair.same("select * from track order by id");
        pair.same("select * from line order by 1, 2");
        assert!(pair.plan().actions.is_empty());
        // And a new plan instead of the old one comes to the same.
        pair.syncer = steady;
        pair.quiet();
    }
}

#[test]
fn a_new_plan_after_a_crash_comes_to_the_same_end() {
    let mut pair = shop();
    pair.hub().execute_batch("update track set name = 'h' where id = 1; insert into log values ('x', 'y')").unwrap();
    pair.far().execute_batch("update track set name = 's' where id = 2; delete from log where at = 'day 3'").unwrap();
    let (crashing, _) = crashing_at(&pair, "hub_applied");
    let steady = std::mem::replace(&mut pair.syncer, crashing);
    let plan = pair.plan();
    assert!(pair.apply(&plan).is_err());
    pair.syncer = steady;
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty());
    pair.same("select * from track order by id");
    assert_eq!(pair.rows("select count(*) from log where at in ('x', 'day 3')").1, ["Integer(1)"]);
}

#[test]
fn rows_that_moved_on_are_skipped_and_come_with_the_next_plan() {
    let mut pair = shop();
    pair.hub().execute_batch("update track set name = 'new' where id in (1, 2)").unwrap();
    pair.run += 1;
    let plan = pair.plan();
    pair.far().execute("update track set price = 9 where id = 1", []).unwrap();
    let applied = pair.apply(&plan).unwrap();
    assert_eq!(applied.skipped.len(), 1);
    assert_eq!(applied.changes_out, 1);
    assert_eq!(pair.rows("select name from track where id = 1").1, ["Text([116, 114, 97, 99, 107, 32, 49])"]);
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty());
    assert_eq!(pair.same("select name, price from track where id = 1"), ["Text([110, 101, 119])|Integer(9)"]);
}

#[test]
fn an_applied_plan_is_not_applied_over_a_row_that_was_changed_back() {
    let mut pair = shop();
    pair.hub().execute("update track set price = 9 where id = 1", []).unwrap();
    pair.run += 1;
    let (plan, base) = (pair.plan(), pair.base);
    pair.apply(&plan).unwrap();
    pair.far().execute("update track set price = 0.25 where id = 1", []).unwrap();
    pair.base = base;
    let applied = pair.apply(&plan).unwrap();
    assert_eq!(applied.skipped.len(), 1);
    assert_eq!(pair.rows("select price from track where id = 1").1, ["Real(0.25)"]);
}

#[test]
fn a_row_changed_after_the_apply_and_before_the_read_back_is_no_conflict() {
    let mut pair = shop();
    pair.hub().execute("update track set name = 'new' where id = 1", []).unwrap();
    let path = pair.path("hub");
    pair.syncer = SqliteSyncer::new(pair.dir.path().join("state"), pair.content.clone()).with_failpoint(Arc::new(
        move |at: &str| {
            if at == "spoke_applied" {
                application(&path).execute("update track set name = 'newer' where name = 'new'", []).unwrap();
            }
            Ok(())
        },
    ));
    pair.run += 1;
    let plan = pair.plan();
    pair.apply(&plan).unwrap();
    let plan = pair.plan();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(plan.actions.len(), 1);
}

#[test]
fn an_older_fence_is_refused_before_anything_is_written() {
    let mut pair = shop();
    pair.fence = 9;
    pair.hub().execute("update track set name = 'a' where id = 1", []).unwrap();
    pair.sync();
    pair.hub().execute("update track set name = 'b' where id = 1", []).unwrap();
    pair.fence = 8;
    let plan = pair.plan();
    assert!(matches!(pair.apply(&plan), Err(PortError::Fenced(_))));
    assert_eq!(pair.rows("select name from track where id = 1").1, ["Text([97])"]);
    pair.fence = 9;
    pair.apply(&plan).unwrap();
}

#[test]
fn unique_values_travel_round_in_cycles() {
    let mut pair = Pair::agreed(
        "create table u (id integer primary key, a text unique, b integer, unique (b));
         create table p (id integer primary key, a text, live integer);
         create unique index only_live on p (a) where live = 1;
         insert into u values (1, 'x', 1), (2, 'y', 2), (3, 'z', 3);
         insert into p values (1, 'x', 0), (2, 'x', 1);",
    );
    pair.hub()
        .execute_batch(
            "update u set a = null; update u set a = 'y' where id = 1; update u set a = 'z' where id = 2;
             update u set a = 'x' where id = 3; delete from u where id = 2; insert into u values (7, 'z', 2);
             update p set live = 0 where id = 2; update p set live = 1 where id = 1;",
        )
        .unwrap();
    pair.far().execute_batch("update u set b = 30 where id = 3").unwrap();
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty(), "{:?}", applied.skipped);
    assert_eq!(pair.same("select id, a, b from u order by id").len(), 3);
    assert_eq!(pair.same("select id from p where live = 1"), ["Integer(1)"]);
    pair.quiet();
}

#[test]
fn one_unique_value_for_two_rows_waits_with_what_depends_on_it() {
    let mut pair = shop();
    pair.hub()
        .execute_batch(
            "insert into customer (id, email) values (100, 'New@x'); insert into invoice values (900, 100, 1)",
        )
        .unwrap();
    pair.far().execute_batch("insert into customer (id, email) values (101, 'nEW@x')").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["unique", "unique"]);
    assert_eq!(pair.rows("select id from invoice where id = 900").1.len(), 0);
    pair.spoke.policy = cathedral_model::ecosystem::ConflictPolicy::Spoke;
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty());
    assert_eq!(pair.same("select id from customer where id > 99"), ["Integer(101)"]);
    assert_eq!(pair.same("select id from invoice where id = 900"), Vec::<String>::new());
}

#[test]
fn parents_deleted_here_and_children_added_there_wait() {
    let mut pair = shop();
    pair.hub().execute_batch("delete from customer where id = 3").unwrap();
    pair.far().execute_batch("insert into invoice values (901, 3, 1)").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["foreign_key"]);
    assert_eq!(pair.rows("select count(*) from customer where id = 3").1, ["Integer(1)"]);
    assert_eq!(pair.rows("select count(*) from invoice where id = 901").0, ["Integer(0)"]);
    assert_eq!(rows(&pair.far(), "pragma foreign_key_check"), Vec::<String>::new());
    pair.spoke.policy = cathedral_model::ecosystem::ConflictPolicy::Spoke;
    pair.sync();
    assert_eq!(pair.same("select count(*) from customer where id = 3"), ["Integer(1)"]);
    assert_eq!(pair.same("select count(*) from invoice where id = 901"), ["Integer(1)"]);
}

#[test]
fn a_chain_of_a_thousand_rows_that_refer_to_each_other_arrives() {
    let mut pair = Pair::agreed("create table tree (id integer primary key, up integer references tree(id));
        create table a (id integer primary key, b integer references b(id)); create table b (id integer primary key, a integer references a(id));");
    let hub = pair.hub();
    hub.execute_batch("insert into tree values (1000, null)").unwrap();
    for i in (0..1000).rev() {
        hub.execute("insert into tree values (?1, ?1 + 1)", [i]).unwrap();
    }
    hub.execute_batch("insert into a values (1, null); insert into b values (1, 1); update a set b = 1").unwrap();
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty());
    assert_eq!(pair.same("select count(*) from tree"), ["Integer(1001)"]);
    assert_eq!(rows(&pair.far(), "pragma foreign_key_check"), Vec::<String>::new());
}

#[test]
fn a_merged_row_that_a_check_forbids_waits_instead_of_failing() {
    let mut pair = Pair::agreed(
        "create table span (id integer primary key, low integer, high integer, check (low <= high)); insert into span values (1, 2, 5);",
    );
    pair.hub().execute("update span set low = 5", []).unwrap();
    pair.far().execute("update span set high = 3", []).unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((kinds(&plan), applied.skipped.len()), (vec!["check"], 0));
    assert_eq!(
        pair.rows("select low, high from span"),
        (vec!["Integer(5)|Integer(5)".into()], vec!["Integer(2)|Integer(3)".into()])
    );
}

#[test]
fn triggers_do_not_fire_twice_and_conflict_clauses_remove_nothing() {
    let mut pair = Pair::agreed(
        "create table t (id integer primary key, v text unique on conflict replace); create table audit (n integer primary key, what text);
         create trigger note after insert on t begin insert into audit (what) values (new.v); end;
         insert into t values (1, 'a');",
    );
    pair.hub().execute("insert into t values (2, 'b')", []).unwrap();
    pair.sync();
    assert_eq!(pair.same("select what from audit").len(), 2);
    assert_eq!(rows(&pair.far(), "select count(*) from sqlite_schema where type = 'trigger'"), ["Integer(1)"]);
    pair.far().execute("insert into t values (3, 'c')", []).unwrap();
    pair.sync();
    assert_eq!(pair.same("select what from audit").len(), 3);
    pair.quiet();
}

#[test]
fn counters_go_to_the_higher_side_and_never_back() {
    let mut pair =
        Pair::agreed("create table c (id integer primary key autoincrement, v); insert into c values (40, 1);");
    pair.far().execute_batch("insert into c values (55, 1); delete from c where id = 55;").unwrap();
    pair.sync();
    assert_eq!(pair.same("select seq from sqlite_sequence"), ["Integer(55)"]);
    pair.quiet();
}

#[test]
fn one_way_spokes_are_put_back_or_left_alone() {
    let mut pair = shop();
    pair.spoke.data_sync = cathedral_model::ecosystem::DataSync::HubDistribution;
    pair.hub().execute("update track set name = 'hub' where id = 1", []).unwrap();
    pair.far()
        .execute_batch("update track set name = 'drift' where id = 2; insert into artist values (88, 'own')")
        .unwrap();
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty() && plan.changes().0 == 0);
    assert_eq!(pair.same("select name from track where id in (1, 2)").len(), 2);
    assert_eq!(
        pair.rows("select count(*) from artist where id = 88"),
        (vec!["Integer(0)".into()], vec!["Integer(1)".into()])
    );
    pair.spoke.data_sync = cathedral_model::ecosystem::DataSync::SnapshotOnly;
    assert!(pair.plan().actions.is_empty());
}
