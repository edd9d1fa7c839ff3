//! Rows that refer to nothing: the applications of real databases make them with foreign keys switched off.

use cathedral_model::ids::ConflictId;
use cathedral_model::plan::{Answer, Choice, Directive, SpokePlan};

use super::support::*;

const SHOP: &str = "create table parent (id integer primary key, name text);
    insert into parent values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
    create table child (id integer primary key, parent integer references parent (id), note text);
    insert into child values (1, 1, 'x'), (2, 2, 'x');
    create table toy (id integer primary key, child integer references child (id));
    create table free (id integer primary key, v integer); insert into free values (1, 1);";

/// What the application does on the hub with foreign keys off, while both sides change other rows.
fn broken(sql: &str) -> (Pair, SpokePlan) {
    let mut pair = Pair::agreed(SHOP);
    pair.hub()
        .execute_batch(&format!("pragma foreign_keys = off; {sql}; insert into child values (50, 2, 'hub')"))
        .unwrap();
    pair.far().execute_batch("insert into child values (60, 3, 'spoke'); update free set v = 2").unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!(applied.skipped, vec![], "{sql}");
    assert_eq!(pair.same("select id from child where id in (50, 60)").len(), 2, "the rest travels: {sql}");
    assert_eq!(pair.same("select v from free"), ["Integer(2)"]);
    let again = pair.plan();
    assert_eq!(again.conflicts, plan.conflicts, "and waits unchanged");
    pair.quiet();
    (pair, plan)
}

fn one(plan: &SpokePlan) -> (&str, &str, &str) {
    assert_eq!(plan.conflicts.len(), 1, "{:?}", plan.conflicts);
    let draft = &plan.conflicts[0];
    (&draft.item, &draft.conflict_kind, &draft.because)
}

#[test]
fn a_parent_deleted_under_its_children_waits_alone() {
    let (mut pair, plan) = broken("delete from parent where id = 1");
    let (item, kind, because) = one(&plan);
    assert_eq!((item, kind), ("parent[1]", "foreign_key"));
    assert!(because.contains("child[1]") && because.contains("delete"), "{because}");
    assert_eq!((plan.conflicts[0].hub.is_some(), plan.conflicts[0].spoke.is_some()), (false, true));
    // To delete it there as well would leave the child without it on that side, too.
    let (refused, _) = pair.answer(&plan, 0, Answer::Take(Choice::Hub));
    assert_eq!((refused.settles.len(), refused.actions.len()), (0, 0));
    assert_eq!(refused.conflicts, plan.conflicts);
    let (settled, _) = pair.answer(&plan, 0, Answer::Take(Choice::Spoke));
    assert_eq!((settled.settles.len(), kinds(&settled).len()), (1, 0));
    assert_eq!(pair.same("select * from parent").len(), 4);
    pair.quiet();
}

#[test]
fn once_the_children_are_gone_the_parent_goes_too() {
    let (mut pair, _) = broken("delete from parent where id = 1");
    pair.hub().execute("delete from child where id = 1", []).unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), Vec::<&str>::new());
    assert_eq!(pair.same("select id from parent").len(), 3);
    pair.quiet();
}

#[test]
fn a_row_that_refers_to_nothing_waits_with_what_hangs_on_it() {
    let (mut pair, plan) = broken("insert into child values (9, 77, 'lost'); insert into toy values (1, 9), (2, 2)");
    let (item, kind, because) = one(&plan);
    assert_eq!((item, kind), ("child[9]", "foreign_key"));
    assert!(because.contains("parent") && !because.contains("other side"), "{because}");
    assert_eq!(plan.conflicts[0].fields[1].hub, "77");
    assert_eq!(pair.rows("select id from toy").1, ["Integer(2)"], "the toy of the lost child waits");
    let (refused, _) = pair.answer(&plan, 0, Answer::Take(Choice::Hub));
    assert_eq!((refused.settles.len(), refused.actions.len()), (0, 0));
    let fields = [("parent".to_owned(), "3".to_owned())].into();
    let (settled, _) = pair.answer(&plan, 0, Answer::Fields(fields));
    assert_eq!(settled.settles.len(), 1);
    pair.sync();
    assert_eq!(pair.same("select parent from child where id = 9"), ["Integer(3)"]);
    assert_eq!(pair.same("select id from toy").len(), 2);
    pair.quiet();
}

#[test]
fn a_child_and_its_deleted_parent_on_one_side_wait_together() {
    let (mut pair, plan) = broken("insert into child values (9, 4, 'lost'); delete from parent where id = 4");
    let items: Vec<&str> = plan.conflicts.iter().map(|c| c.item.as_str()).collect();
    assert_eq!(items, ["child[9]"]);
    assert_eq!(pair.rows("select id from parent where id = 4").1.len(), 1);
    pair.answer(&plan, 0, Answer::Take(Choice::Spoke));
    assert_eq!(pair.same("select id from parent").len(), 4);
    assert_eq!(pair.same("select id from child where id = 9").len(), 0);
    pair.quiet();
}

#[test]
fn a_reference_moved_to_nothing_waits() {
    let (mut pair, plan) = broken("update child set parent = 88 where id = 1");
    assert_eq!(one(&plan).0, "child[1]");
    pair.answer(&plan, 0, Answer::Take(Choice::Spoke));
    assert_eq!(pair.same("select parent from child where id = 1"), ["Integer(1)"]);
    pair.quiet();
}

/// Putting it back breaks nothing that was not broken before: on its own side, and only there.
#[test]
fn an_answer_about_a_row_that_refers_to_nothing_is_taken_back() {
    const ALL: &str = "select id, parent, note from child order by id";
    let edited = Answer::Fields([("parent".to_owned(), "3".to_owned())].into());
    for sql in ["insert into child values (9, 77, 'lost')", "update child set parent = 88 where id = 1"] {
        for answer in [Answer::Take(Choice::Spoke), edited.clone()] {
            let (mut pair, plan) = broken(sql);
            let before = pair.rows(ALL);
            let (settled, _) = pair.answer(&plan, 0, answer.clone());
            assert_eq!(settled.settles.len(), 1);
            pair.same(ALL);
            let (undone, applied) = pair.sync_with(vec![undo(&plan, answer.clone())]);
            assert_eq!((undone.settles.len(), applied.skipped), (1, vec![]), "{sql}");
            assert_eq!(pair.rows(ALL), before, "{sql}");
            assert_eq!(pair.plan().conflicts, plan.conflicts, "it is open again");
            pair.quiet();
        }
    }
}

fn undo(plan: &SpokePlan, undoes: Answer) -> Directive {
    Directive { conflict: ConflictId(7), draft: plan.conflicts[0].clone(), answer: Answer::Undo, undoes: Some(undoes) }
}

#[test]
fn a_row_that_would_lose_another_parent_is_not_put_back() {
    let mut pair = Pair::agreed(
        "create table a (id integer primary key); create table b (id integer primary key);
         insert into a values (1); insert into b values (1), (2);
         create table c (id integer primary key, a integer references a (id), b integer references b (id));",
    );
    pair.hub().execute_batch("pragma foreign_keys = off; insert into c values (9, 77, 2)").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(one(&plan).0, "c[9]");
    let taken = Answer::Take(Choice::Spoke);
    pair.answer(&plan, 0, taken.clone());
    pair.hub().execute("delete from b where id = 2", []).unwrap();
    pair.sync();
    let refused = pair.try_plan(vec![undo(&plan, taken)]).unwrap();
    assert_eq!((refused.settles.len(), refused.actions.len()), (0, 0), "{refused:?}");
}

#[test]
fn a_first_sync_takes_everything_but_the_row_that_refers_to_nothing() {
    let mut pair = Pair::new();
    pair.hub().execute_batch(SHOP).unwrap();
    pair.hub().execute_batch("pragma foreign_keys = off; insert into child values (9, 77, 'lost')").unwrap();
    pair.far().execute_batch("create table other (id integer primary key)").unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((one(&plan).0, applied.skipped.len()), ("child[9]", 0));
    assert_eq!(pair.rows("select id from child").1.len(), 2);
    pair.quiet();
}

#[test]
fn rows_of_a_table_that_takes_no_part_keep_their_parent() {
    let mut pair = Pair::agreed(SHOP);
    pair.far()
        .execute_batch("create table _note (id integer primary key, of integer references parent (id)); insert into _note values (1, 3)")
        .unwrap();
    pair.hub().execute_batch("delete from parent where id = 3; update free set v = 2").unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!((one(&plan).0, applied.skipped.len()), ("parent[3]", 0));
    assert!(one(&plan).2.contains("_note[1]"), "{plan:?}");
    assert_eq!(pair.same("select v from free"), ["Integer(2)"]);
    pair.quiet();
    pair.far().execute("delete from _note", []).unwrap();
    pair.sync();
    assert_eq!(pair.same("select id from parent").len(), 3);
}

#[test]
fn a_parent_that_goes_between_plan_and_apply_keeps_its_child_back_by_name() {
    let mut pair = Pair::agreed(SHOP);
    pair.hub().execute_batch("insert into child values (9, 3, 'x'); update free set v = 2").unwrap();
    let plan = pair.plan();
    pair.far().execute("delete from parent where id = 3", []).unwrap();
    let applied = pair.apply(&plan).unwrap();
    assert_eq!(applied.skipped.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["child[9]"]);
    assert!(applied.skipped[0].why.contains("child[9]") && applied.skipped[0].why.contains("parent"), "{applied:?}");
    assert_eq!(pair.same("select v from free"), ["Integer(2)"]);
    let mut pair = Pair::agreed(SHOP);
    pair.hub()
        .execute_batch(
            "delete from parent where id in (2, 3) and id not in (select parent from child); update free set v = 2",
        )
        .unwrap();
    let plan = pair.plan();
    pair.far().execute("insert into child values (9, 3, 'x')", []).unwrap();
    let applied = pair.apply(&plan).unwrap();
    assert_eq!(applied.skipped.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["parent[3]"]);
    assert!(applied.skipped[0].why.contains("child[9]"), "{applied:?}");
    assert_eq!(pair.same("select v from free"), ["Integer(2)"]);
}
