//! Tables that come, go and change.

use super::support::*;

#[test]
fn a_new_table_is_made_on_the_other_side_with_its_indexes_and_rows() {
    let mut pair = Pair::agreed("create table a (id integer primary key, v); insert into a values (1, 1);");
    pair.far()
        .execute_batch(
            "create table b (id integer primary key autoincrement, a integer references a(id), v text default 'x');
             create index b_a on b (a); create trigger b_t after insert on b begin update a set v = 99; end;
             insert into a values (2, 2); insert into b (a) values (2); update a set v = 3;",
        )
        .unwrap();
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty());
    pair.same("select * from b");
    pair.same("select * from a");
    pair.same("select type, name, sql from sqlite_schema where name <> 'cathedral_sync' order by 1, 2");
    pair.same("select * from sqlite_sequence");
    pair.quiet();
}

#[test]
fn a_table_that_drifted_is_paused_with_the_reason_and_the_others_go_on() {
    let cases = [
        ("alter table t add column extra text", "column \"extra\" is on the hub only"),
        ("drop table t", "the hub has dropped this table"),
        ("drop table t; create table t (id integer primary key, v text not null default '')", "column \"v\""),
        ("create unique index u on t (v)", "unique indexes differ"),
        ("drop table t; create table t (id integer primary key, v, check (v < 100))", "checks"),
        ("drop table t; create table t (id text primary key, v)", "column \"id\""),
    ];
    for (change, why) in cases {
        let mut pair = Pair::agreed(
            "create table t (id integer primary key, v); create table child (id integer primary key, t integer references t(id));
             create table free (id integer primary key, v); insert into t values (1, 1); insert into free values (1, 1);",
        );
        pair.hub().execute_batch(&format!("pragma foreign_keys = off; {change}; update free set v = 2")).unwrap();
        pair.far()
            .execute_batch(
                "insert into t values (5, 5); insert into child values (1, 5); insert into free values (3, 3)",
            )
            .unwrap();
        let (plan, _) = pair.sync();
        assert_eq!(kinds(&plan), ["schema"], "{change}");
        assert!(plan.conflicts[0].because.contains(why), "{change}: {}", plan.conflicts[0].because);
        assert_eq!(plan.actions.len(), 2, "{change}: {:?}", plan.actions);
        assert_eq!(pair.same("select count(*) from free"), ["Integer(2)"]);
        assert_eq!(pair.rows("select count(*) from child").0, ["Integer(0)"], "a child of a paused table waits");
        pair.quiet();
    }
}

#[test]
fn a_dropped_table_is_dropped_on_the_other_side_too_or_put_back() {
    let table = "create table t (id integer primary key, v); insert into t values (1, 1), (2, 2);";
    for put_back in [false, true] {
        let mut pair = Pair::agreed(&format!("{table} create table free (id integer primary key)"));
        pair.far().execute_batch("drop table t").unwrap();
        let (plan, _) = pair.sync();
        let draft = &plan.conflicts[0];
        assert!(draft.because.contains("drop it on the hub as well, or put it back on the spoke"), "{}", draft.because);
        let shown = draft.hub.as_ref().map(|side| side.shown.as_str());
        assert_eq!((shown, &draft.spoke), (Some("2 rows"), &None), "a side without the table has nothing");
        if put_back {
            pair.far().execute_batch(table).unwrap();
        } else {
            pair.hub().execute_batch("drop table t").unwrap();
        }
        let (after, _) = pair.sync();
        assert_eq!((kinds(&after).len(), after.actions.len()), (0, 0), "{after:?}");
        pair.quiet();
    }
}

#[test]
fn a_column_that_the_owner_added_on_both_sides_is_no_conflict() {
    let mut pair =
        Pair::agreed("create table t (id integer primary key, v); insert into t values (1, 1), (2, 2), (3, 3);");
    pair.hub()
        .execute_batch("alter table t add column extra text default 'x'; update t set extra = 'hub' where id = 1")
        .unwrap();
    pair.far().execute_batch("alter table t add column extra text default 'x'; update t set v = 9 where id = 2; delete from t where id = 3").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["update/update"], "only the cell that differs without a past");
    assert_eq!(pair.same("select v, extra from t where id = 2"), ["Integer(9)|Text([120])"]);
    assert_eq!(pair.same("select count(*) from t"), ["Integer(2)"]);
}

#[test]
fn spelling_of_a_definition_does_not_matter() {
    let mut pair = Pair::new();
    pair.hub().execute_batch("create table T (Id integer primary key, v text, check (v <> ''))").unwrap();
    pair.far().execute_batch("CREATE TABLE  T(Id INTEGER PRIMARY KEY,\n v TEXT,\n CHECK (v <> ''))").unwrap();
    pair.hub().execute("insert into t values (1, 'a')", []).unwrap();
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(pair.same("select * from t").len(), 1);
}

#[test]
fn only_included_tables_take_part() {
    let mut pair = Pair::new();
    pair.hub()
        .execute_batch(
            "create table keep (id integer primary key); create table _local (id integer primary key); create table other (id integer primary key);
             insert into _local values (1); insert into other values (1); insert into keep values (1);",
        )
        .unwrap();
    pair.detail().include = vec!["k*".into(), "_local".into()];
    pair.sync();
    assert_eq!(rows(&pair.far(), "select name from sqlite_schema where name not like '%cathedral%'").len(), 1);
    pair.far().execute_batch("create table other (id integer primary key, more); insert into keep values (2)").unwrap();
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty());
    assert_eq!(plan.actions.len(), 1);
}

#[test]
fn a_table_altered_between_plan_and_apply_is_left_alone() {
    let mut pair = Pair::agreed(
        "create table t (id integer primary key, v); create table u (id integer primary key); insert into t values (1, 1);",
    );
    pair.hub().execute_batch("update t set v = 2; insert into u values (1)").unwrap();
    let plan = pair.plan();
    pair.far().execute_batch("alter table t add column w").unwrap();
    let applied = pair.apply(&plan).unwrap();
    assert_eq!(applied.skipped.len(), 1);
    assert_eq!(pair.rows("select v from t").1, ["Integer(1)"]);
    assert_eq!(pair.same("select count(*) from u"), ["Integer(1)"]);
}

#[test]
fn virtual_tables_are_named_and_left_alone() {
    let mut pair = Pair::new();
    pair.hub()
        .execute_batch("create table t (id integer primary key, v text); create virtual table f using fts5(v); insert into f values ('a'); insert into t values (1, 'x')")
        .unwrap();
    pair.sync();
    assert_eq!(pair.observe().warnings.len(), 1);
    assert_eq!(pair.same("select * from t").len(), 1);
    pair.quiet();
}

const PLAIN: &str = "create table t (id integer primary key, v); create table log (n integer primary key, what);
    insert into t values (1, 1);";

const ALL: &str = "select type, name, sql from sqlite_schema where name not like 'cathedral%' order by 1, 2";

#[test]
fn what_is_no_table_travels_too() {
    let mut pair = Pair::agreed(PLAIN);
    pair.far()
        .execute_batch(
            "create index t_v on t (v); create view sums as select sum(v) from t;
             create trigger told after insert on t begin insert into log (what) values (new.v); end;
             create trigger never instead of insert on sums begin select 1; end;
             pragma user_version = 7; pragma application_id = 99; insert into t values (2, 2);",
        )
        .unwrap();
    pair.hub().execute_batch("create index log_what on log (what); insert into t values (3, 3)").unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((kinds(&plan).len(), applied.skipped.len()), (0, 0), "{plan:?}");
    assert_eq!(pair.same(ALL).len(), 7);
    assert_eq!(pair.same("pragma user_version"), ["Integer(7)"]);
    assert_eq!(pair.same("pragma application_id"), ["Integer(99)"]);
    assert_eq!(pair.same("select what from log"), ["Integer(2)"], "no trigger has fired where the row was carried");
    pair.quiet();
    pair.hub().execute_batch("pragma user_version = 8").unwrap();
    pair.sync();
    assert_eq!(pair.same("pragma user_version"), ["Integer(8)"]);
    pair.quiet();
}

#[test]
fn what_both_sides_define_waits_by_name_and_the_rest_goes_on() {
    for (hub, far, item, why) in [
        ("create view w as select 1", "create view w as select 2", "view w (schema)", "differently"),
        ("create index w on t (v)", "create view w as select 2", "w (schema)", "differently"),
        ("create view w as select 1", "create table w (id integer primary key)", "view w (schema)", "a table named"),
        (
            "pragma user_version = 3",
            "pragma user_version = 4",
            "pragma user_version (schema)",
            "pragma user_version = N",
        ),
    ] {
        let mut pair = Pair::agreed(PLAIN);
        pair.hub().execute_batch(hub).unwrap();
        pair.far().execute_batch(&format!("{far}; update t set v = 2")).unwrap();
        let (plan, applied) = pair.sync();
        let found = plan.conflicts.iter().find(|c| c.item.ends_with(item)).unwrap_or_else(|| panic!("{hub}: {plan:?}"));
        assert_eq!((found.conflict_kind.as_str(), applied.skipped.len()), ("schema", 0));
        assert!(found.because.contains(why), "{}", found.because);
        assert_eq!(pair.same("select v from t"), ["Integer(2)"]);
        pair.quiet();
    }
}

#[test]
fn what_one_side_drops_is_not_dropped_but_named() {
    let mut pair = Pair::agreed(&format!("{PLAIN} create index t_v on t (v); create view w as select 1;"));
    pair.far().execute_batch("drop index t_v; drop view w").unwrap();
    let (plan, _) = pair.sync();
    let items: Vec<&str> = plan.conflicts.iter().map(|c| c.item.as_str()).collect();
    assert_eq!(items, ["index t_v (schema)", "view w (schema)"]);
    assert!(plan.conflicts[0].because.contains("the spoke has dropped it"), "{plan:?}");
    pair.quiet();
    pair.hub().execute_batch("drop index t_v").unwrap();
    pair.far().execute_batch("create view w as select 1").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan).len(), 0);
    pair.quiet();
}

#[test]
fn numbers_wait_for_the_tables_and_what_is_left_out_stays() {
    let mut pair = Pair::agreed(PLAIN);
    pair.far()
        .execute_batch(
            "alter table t add column w; pragma user_version = 5; create index t_w on t (w);
             create table _own (id integer primary key, v); create index own_v on _own (v); create view _mine as select 1",
        )
        .unwrap();
    let (plan, _) = pair.sync();
    assert_eq!((kinds(&plan), plan.actions.len()), (vec!["schema"], 0), "{plan:?}");
    assert_eq!(rows(&pair.hub(), "pragma user_version"), ["Integer(0)"]);
    pair.hub().execute_batch("alter table t add column w").unwrap();
    pair.sync();
    assert_eq!(pair.same("pragma user_version"), ["Integer(5)"]);
    assert_eq!(pair.rows("select name from sqlite_schema where type in ('index', 'view') order by 1").0.len(), 1);
    pair.quiet();
}

#[test]
fn an_agreed_state_from_before_is_read_and_what_one_side_has_travels() {
    let mut pair = Pair::agreed(PLAIN);
    pair.far().execute_batch("create index t_v on t (v); update t set v = 2").unwrap();
    let old = "{\"format\":\"cathedral sqlite base v1\"}\n{\"table\":\"log\",\"columns\":[\"n\",\"what\"]}\n\
         {\"table\":\"t\",\"columns\":[\"id\",\"v\"]}\n[1,1]\n{\"end\":4}\n";
    pair.base = Some(cathedral_model::ports::Content::put(pair.content.as_ref(), old.as_bytes()).unwrap());
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), Vec::<&str>::new());
    assert_eq!(pair.same("select v from t"), ["Integer(2)"]);
    pair.same(ALL);
    pair.quiet();
}
