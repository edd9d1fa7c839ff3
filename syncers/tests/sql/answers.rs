//! What people say about conflicts.

use std::collections::BTreeMap;

use cathedral_model::plan::{Answer, Choice};

use super::support::*;

fn disputed() -> (Pair, cathedral_model::plan::SpokePlan) {
    let mut pair = Pair::agreed(
        "create table t (id integer primary key, name text, n integer, other text); insert into t values (1, 'base', 1, 'o'), (2, 'x', 1, 'o');",
    );
    pair.hub().execute_batch("update t set name = 'hub', n = 2 where id = 1; delete from t where id = 2").unwrap();
    pair.far()
        .execute_batch("update t set name = 'spoke', n = 3, other = 's' where id = 1; update t set n = 9 where id = 2")
        .unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["update/update", "delete/update"]);
    assert_eq!(plan.conflicts[0].fields.iter().map(|f| f.field.as_str()).collect::<Vec<_>>(), ["name", "n"]);
    (pair, plan)
}

#[test]
fn a_side_is_taken_for_the_disputed_cells_and_the_rest_merges() {
    for (choice, expected) in [
        (Choice::Hub, "Text([104, 117, 98])|Integer(2)|Text([115])"),
        (Choice::Spoke, "Text([115, 112, 111, 107, 101])|Integer(3)|Text([115])"),
        (Choice::Base, "Text([98, 97, 115, 101])|Integer(1)|Text([115])"),
    ] {
        let (mut pair, plan) = disputed();
        let (next, _) = pair.answer(&plan, 0, Answer::Take(choice));
        assert_eq!(next.settles.len(), 1);
        assert_eq!(kinds(&next), ["delete/update"]);
        assert_eq!(pair.same("select name, n, other from t where id = 1"), [expected]);
    }
    let (mut pair, plan) = disputed();
    pair.answer(&plan, 1, Answer::Take(Choice::Hub));
    assert_eq!(pair.same("select * from t where id = 2"), Vec::<String>::new());
    let (mut pair, plan) = disputed();
    pair.answer(&plan, 1, Answer::Take(Choice::Spoke));
    assert_eq!(pair.same("select n from t where id = 2"), ["Integer(9)"]);
    assert!(pair.try_plan(vec![]).unwrap().conflicts.len() == 1);
}

#[test]
fn fields_are_answered_one_by_one_in_the_columns_own_type() {
    let (mut pair, plan) = disputed();
    let fields = BTreeMap::from([("name".to_owned(), "@spoke".to_owned()), ("n".to_owned(), "42".to_owned())]);
    pair.answer(&plan, 0, Answer::Fields(fields));
    assert_eq!(
        pair.same("select name = 'spoke', typeof(n), n, other from t where id = 1"),
        ["Integer(1)|Text([105, 110, 116, 101, 103, 101, 114])|Integer(42)|Text([115])"]
    );
    let (pair, plan) = disputed();
    let fields = BTreeMap::from([("nope".to_owned(), "1".to_owned())]);
    let directive = cathedral_model::plan::Directive {
        conflict: cathedral_model::ids::ConflictId(1),
        draft: plan.conflicts[0].clone(),
        answer: Answer::Fields(fields),
        undoes: None,
    };
    let plan = pair.try_plan(vec![directive]).unwrap();
    assert_eq!((plan.settles.len(), plan.actions.len()), (0, 0), "the rest of the spoke goes on");
    assert!(plan.conflicts[0].because.contains("no column \"nope\""), "{plan:?}");
}

#[test]
fn an_answer_is_undone_on_both_sides_and_the_conflict_is_open_again() {
    let (mut pair, plan) = disputed();
    let before = pair.rows("select * from t order by id");
    pair.answer(&plan, 0, Answer::Take(Choice::Hub));
    assert_eq!(pair.same("select name from t where id = 1"), ["Text([104, 117, 98])"]);
    let (undone, _) = pair.answer(&plan, 0, Answer::Undo);
    assert!(kinds(&undone).contains(&"update/update"));
    assert_eq!(pair.rows("select * from t order by id"), before);
    assert_eq!(kinds(&pair.plan()), ["update/update", "delete/update"]);
    assert!(pair.plan().actions.is_empty());
    // Also for a row that was deleted by the answer.
    pair.answer(&plan, 1, Answer::Take(Choice::Hub));
    pair.answer(&plan, 1, Answer::Undo);
    assert_eq!(pair.rows("select * from t order by id"), before);
    assert_eq!(kinds(&pair.plan()).len(), 2);
}

#[test]
fn a_table_merged_as_one_thing_is_answered_as_one_thing() {
    let mut pair = Pair::agreed("create table t (id integer primary key, v); insert into t values (1, 1), (2, 1);");
    pair.detail().merge = cathedral_model::ecosystem::RowMerge::None;
    pair.hub().execute("update t set v = 2 where id = 1", []).unwrap();
    pair.far().execute("update t set v = 3 where id = 2", []).unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["table"]);
    pair.answer(&plan, 0, Answer::Take(Choice::Spoke));
    assert_eq!(pair.same("select v from t order by id"), ["Integer(1)", "Integer(3)"]);
}
