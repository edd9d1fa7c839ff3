//! What people say about conflicts.

use std::collections::BTreeMap;

use cathedral_model::ids::ConflictId;
use cathedral_model::plan::{Answer, Choice, ConflictDraft, Directive, FieldDispute, SpokePlan};

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
fn a_field_is_made_null_and_a_word_that_is_none_is_no_value() {
    let field = |value: &str| Answer::Fields(BTreeMap::from([("name".to_owned(), value.to_owned())]));
    let (mut pair, plan) = disputed();
    let (refused, _) = pair.answer(&plan, 0, field("@spok"));
    assert_eq!(refused.settles, vec![]);
    assert!(refused.conflicts[0].because.contains("did you mean @spoke?"), "{}", refused.conflicts[0].because);
    for (typed, held) in [("@null", "Null"), ("@@spok", "Text([64, 115, 112, 111, 107])")] {
        let (mut pair, plan) = disputed();
        let fields = [("name".to_owned(), typed.to_owned()), ("n".to_owned(), "@hub".to_owned())];
        pair.answer(&plan, 0, Answer::Fields(BTreeMap::from(fields)));
        assert_eq!(pair.same("select name from t where id = 1"), [held]);
    }
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

/// Two rows that claim one value; a child whose parent the other side deleted.
fn tied() -> (Pair, SpokePlan) {
    let mut pair = Pair::agreed(
        "create table u (id integer primary key, email text unique, name text); insert into u values (1, 'a', 'old');
         create table parent (id integer primary key, name text); insert into parent values (1, 'p'), (2, 'q');
         create table child (id integer primary key, parent integer references parent (id), note text);",
    );
    pair.hub().execute_batch("insert into u values (10, 'x', 'hub'); delete from parent where id = 1").unwrap();
    pair.far().execute_batch("insert into u values (11, 'x', 'far'); insert into child values (5, 1, 'c')").unwrap();
    let (plan, _) = pair.sync();
    let items: Vec<&str> = plan.conflicts.iter().map(|c| c.item.as_str()).collect();
    assert_eq!(items, ["child[5]", "u[10]", "u[11]"]);
    (pair, plan)
}

const TIED: &str = "select 'u', id, email, name from u union all select 'p', id, name, '' from parent
    union all select 'c', id, parent, note from child order by 1, 2";

fn directive(n: i64, draft: &ConflictDraft, answer: Answer, undoes: Option<Answer>) -> Directive {
    Directive { conflict: ConflictId(n), draft: draft.clone(), answer, undoes }
}

#[test]
fn rows_that_are_decided_together_are_shown_whole() {
    let (_, plan) = tied();
    let names = |fields: &[FieldDispute]| fields.iter().map(|f| f.field.clone()).collect::<Vec<_>>();
    let [child, first, _] = plan.conflicts.as_slice() else { panic!("{plan:?}") };
    assert_eq!(names(&first.fields), ["id", "email", "name"]);
    assert_eq!((first.group.len(), first.group[0].item.as_str()), (1, "u[11]"));
    assert_eq!(first.group[0].fields[2].spoke, "far");
    assert_eq!(first.hub.as_ref().unwrap().shown, "x", "in brief it is the value they clash in");
    assert_eq!((child.group.len(), child.group[0].item.as_str()), (1, "parent[1]"));
    assert_eq!(names(&child.group[0].fields), ["id", "name"]);
}

#[test]
fn an_answer_about_a_group_is_taken_back_for_all_of_its_rows() {
    for at in [0, 1] {
        for choice in [Choice::Hub, Choice::Spoke] {
            let (mut pair, plan) = tied();
            let before = pair.rows(TIED);
            let draft = plan.conflicts[at].clone();
            let mut answers = vec![directive(7, &draft, Answer::Take(choice), None)];
            if at == 1 {
                answers.push(directive(8, &plan.conflicts[2], Answer::With(ConflictId(7)), None));
            }
            let (done, _) = pair.sync_with(answers.clone());
            assert_eq!(done.settles.len(), answers.len(), "both are settled by the one answer");
            let undo: Vec<Directive> = answers
                .iter()
                .map(|d| Directive { answer: Answer::Undo, undoes: Some(d.answer.clone()), ..d.clone() })
                .collect();
            let (undone, applied) = pair.sync_with(undo);
            assert_eq!((undone.settles.len(), applied.skipped.len()), (answers.len(), 0));
            assert_eq!(pair.rows(TIED), before, "{choice:?}");
            let mut again: Vec<String> = pair.plan().conflicts.into_iter().map(|c| c.item).collect();
            again.sort_unstable();
            assert_eq!(again, ["child[5]", "u[10]", "u[11]"]);
            pair.quiet();
        }
    }
}

#[test]
fn a_group_of_which_a_row_has_changed_since_is_not_taken_back() {
    for (at, change) in [
        (0, "update parent set name = 'later' where id = 1"),
        (0, "insert into child values (6, 1, 'later')"),
        (1, "update u set name = 'later' where id = 11"),
    ] {
        let (mut pair, plan) = tied();
        let draft = plan.conflicts[at].clone();
        pair.sync_with(vec![directive(7, &draft, Answer::Take(Choice::Spoke), None)]);
        for synced in [false, true] {
            if synced {
                pair.sync();
            } else {
                pair.hub().execute(change, []).unwrap();
            }
            let now = pair.rows(TIED);
            let undo = directive(7, &draft, Answer::Undo, Some(Answer::Take(Choice::Spoke)));
            let refused = pair.try_plan(vec![undo]).unwrap();
            assert!(refused.settles.is_empty(), "{change} {synced}: {refused:?}");
            assert!(refused.actions.iter().all(|a| a.reason != "answer undone"), "{change}: {refused:?}");
            assert_eq!(pair.rows(TIED), now);
        }
    }
}

#[test]
fn an_answer_waits_when_a_row_of_its_group_has_changed() {
    let (mut pair, plan) = tied();
    pair.far().execute("update u set name = 'other' where id = 11", []).unwrap();
    let (next, _) = pair.answer(&plan, 1, Answer::Take(Choice::Hub));
    assert_eq!(next.settles, vec![]);
    let one = next.conflicts.iter().find(|c| c.item == "u[10]").unwrap();
    assert!(one.because.contains("u[11] has changed since"), "{}", one.because);
}
