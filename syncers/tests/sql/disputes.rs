//! What disputes look like to people, and that a policy given for one run settles those that wait.

use std::collections::BTreeMap;

use cathedral_model::ecosystem::ConflictPolicy;
use cathedral_model::plan::{Answer, FieldDispute};

use super::support::*;

/// A pair in which every kind of dispute between rows waits.
fn parked() -> (Pair, cathedral_model::plan::SpokePlan) {
    let mut pair = Pair::agreed(
        "create table t (id integer primary key, name text, n integer check (n < 10));
         insert into t values (1, 'base', 1), (2, 'x', 1), (3, 'x', 1);
         create table u (id integer primary key, email text unique);
         create table parent (id integer primary key); insert into parent values (1), (2), (3);
         create table child (id integer primary key, parent integer references parent (id));
         insert into child values (1, 2), (2, 2), (3, 3);
         create table pairs (id integer primary key, a integer, b integer, check (a + b < 10));
         insert into pairs values (1, 1, 1);",
    );
    pair.hub()
        .execute_batch(
            "update t set name = 'hub' where id = 1; delete from t where id = 2; update t set n = 7 where id = 3;
             insert into t values (4, 'hub', 4); insert into u values (10, 'a@b');
             delete from parent where id = 1; update pairs set a = 8;",
        )
        .unwrap();
    pair.far()
        .execute_batch(
            "update t set name = 'spoke' where id = 1; update t set n = 9 where id = 2; delete from t where id = 3;
             insert into t values (4, 'spoke', 4); insert into u values (20, 'a@b');
             insert into child values (5, 1); update pairs set b = 8;",
        )
        .unwrap();
    let (plan, _) = pair.sync();
    let mut found = kinds(&plan);
    found.sort_unstable();
    let all = [
        "check",
        "delete/update",
        "foreign_key",
        "insert/insert",
        "unique",
        "unique",
        "update/delete",
        "update/update",
    ];
    assert_eq!(found, all);
    (pair, plan)
}

const ALL: &str = "select 't', * from t union all select 'u', id, email, 0 from u
    union all select 'p', id, 0, 0 from parent union all select 'c', id, parent, 0 from child
    union all select 'b', id, a, b from pairs order by 1, 2";

#[test]
fn a_policy_for_one_run_settles_every_dispute_that_waits() {
    for (policy, hub_wins) in [(ConflictPolicy::Hub, true), (ConflictPolicy::Spoke, false)] {
        let (mut pair, _) = parked();
        let (hub, far) = pair.rows(ALL);
        pair.run += 1;
        let mut context = pair.context(vec![]);
        context.policy = Some(policy);
        let plan = wait(cathedral_model::ports::Syncer::plan(&pair.syncer, &pair.spoke, &context)).unwrap();
        assert_eq!(kinds(&plan), Vec::<&str>::new(), "{policy:?}");
        assert!(plan.guards.is_empty() && !plan.actions.is_empty(), "{plan:?}");
        let applied = pair.apply(&plan).unwrap();
        assert_eq!(applied.skipped, vec![]);
        assert_eq!(pair.same(ALL), if hub_wins { hub } else { far }, "{policy:?}");
        assert_eq!(kinds(&pair.plan()), Vec::<&str>::new(), "nor is anything in dispute without it");
        pair.quiet();
    }
}

#[test]
fn a_policy_for_one_run_settles_a_table_that_is_one_thing() {
    let mut pair = Pair::agreed("create table t (id integer primary key, v); insert into t values (1, 1), (2, 1);");
    pair.detail().merge = cathedral_model::ecosystem::RowMerge::None;
    pair.hub().execute("update t set v = 2 where id = 1", []).unwrap();
    pair.far().execute("update t set v = 3 where id = 2", []).unwrap();
    pair.sync();
    let mut context = pair.context(vec![]);
    context.policy = Some(ConflictPolicy::Spoke);
    let plan = wait(cathedral_model::ports::Syncer::plan(&pair.syncer, &pair.spoke, &context)).unwrap();
    assert_eq!(kinds(&plan), Vec::<&str>::new());
    pair.apply(&plan).unwrap();
    assert_eq!(pair.same("select v from t order by id"), ["Integer(1)", "Integer(3)"]);
}

fn field(field: &str, base: &str, hub: &str, spoke: &str) -> FieldDispute {
    FieldDispute { field: field.into(), base: base.into(), hub: hub.into(), spoke: spoke.into() }
}

#[test]
fn a_deleted_row_is_shown_column_by_column_and_named_briefly() {
    let (_, plan) = parked();
    let draft = |kind: &str| plan.conflicts.iter().find(|c| c.conflict_kind == kind).unwrap();
    assert_eq!(
        draft("delete/update").fields,
        [field("id", "2", "(deleted)", "2"), field("name", "x", "(deleted)", "x"), field("n", "1", "(deleted)", "9")]
    );
    assert_eq!(
        draft("update/delete").fields,
        [field("id", "3", "3", "(deleted)"), field("name", "x", "x", "(deleted)"), field("n", "1", "7", "(deleted)")]
    );
    let shown = |side: &Option<cathedral_model::plan::SideValue>| side.as_ref().map(|v| v.shown.clone());
    let one = draft("delete/update");
    assert_eq!((shown(&one.hub), shown(&one.spoke)), (None, Some("9".into())));
    assert_eq!(shown(&one.base), Some("1".into()), "what differs is told, the rest stands in the fields");
    for draft in &plan.conflicts {
        for value in [&draft.base, &draft.hub, &draft.spoke] {
            let text = shown(value).unwrap_or_default();
            assert!(text.chars().count() <= 130 && !text.contains('{'), "{text}");
        }
    }
}

#[test]
fn rows_that_claim_one_value_name_each_other() {
    let (_, plan) = parked();
    let unique: Vec<_> = plan.conflicts.iter().filter(|c| c.conflict_kind == "unique").collect();
    assert!(unique[0].because.contains("u[20]") && !unique[0].because.contains("u[10]"), "{}", unique[0].because);
    assert!(unique[1].because.contains("u[10]") && !unique[1].because.contains("u[20]"), "{}", unique[1].because);
}

#[test]
fn a_deletion_can_be_answered_field_by_field_only_as_a_whole() {
    let at = |plan: &cathedral_model::plan::SpokePlan| {
        plan.conflicts.iter().position(|c| c.conflict_kind == "delete/update").unwrap()
    };
    let fields = |pairs: &[(&str, &str)]| {
        Answer::Fields(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
    };
    let (mut pair, plan) = parked();
    pair.answer(&plan, at(&plan), fields(&[("id", "@hub"), ("name", "@hub"), ("n", "@hub")]));
    assert_eq!(pair.same("select * from t where id = 2"), Vec::<String>::new());
    let (mut pair, plan) = parked();
    pair.answer(&plan, at(&plan), fields(&[("name", "kept"), ("n", "@spoke")]));
    assert_eq!(pair.same("select name = 'kept', n from t where id = 2"), ["Integer(1)|Integer(9)"]);
    let (pair, plan) = parked();
    let directive = cathedral_model::plan::Directive {
        conflict: cathedral_model::ids::ConflictId(1),
        draft: plan.conflicts[at(&plan)].clone(),
        answer: fields(&[("name", "@hub"), ("n", "@spoke")]),
        undoes: None,
    };
    let next = pair.try_plan(vec![directive]).unwrap();
    assert!(next.settles.is_empty(), "{next:?}");
    assert!(next.conflicts[at(&next)].because.contains("the hub deleted the row"), "{next:?}");
}

#[test]
fn a_key_that_is_no_plain_number_or_text_is_named_readably() {
    let mut pair =
        Pair::agreed("create table t (k primary key, v) without rowid; insert into t values (1.5, 1), (x'01ff', 1);");
    pair.hub().execute("update t set v = 2", []).unwrap();
    pair.far().execute("update t set v = 3", []).unwrap();
    let (plan, _) = pair.sync();
    let places: Vec<_> = plan.conflicts.iter().map(|c| c.place.as_str()).collect();
    assert_eq!(places, ["t[1.5]", "t[x'01ff']"]);
}
