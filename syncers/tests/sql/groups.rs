//! Conflicts about rows that depend on each other, answered one after the other.

use std::collections::BTreeSet;

use cathedral_model::ecosystem::RowMerge;
use cathedral_model::ids::ConflictId;
use cathedral_model::plan::{Answer, Choice, ConflictDraft, Directive, SpokePlan};
use cathedral_model::ports::Syncer;

use super::support::*;

const ALL: &str = "select 'c', id, p, n from c union all select 'p', id, u, '' from p order by 1, 2";

/// A spoke has deleted one parent and renamed another, and left their children; the hub has changed these, and more.
fn torn(action: &str, merge: RowMerge) -> Pair {
    let mut pair = Pair::agreed(&format!(
        "create table p (id integer primary key, u text unique);
         create table c (id integer primary key, p integer references p (id) on delete {action} on update {action}, n text);
         insert into p values (1, 'a'), (2, 'b'), (3, 'c'); insert into c values (1, 1, 'x'), (2, 2, 'y'), (3, 3, 'z');"
    ));
    pair.detail().merge = merge;
    pair.far()
        .execute_batch("pragma foreign_keys = off; delete from p where id = 1; update p set id = 20 where id = 2")
        .unwrap();
    let hub = pair.hub();
    let changes = [
        "pragma foreign_keys = on",
        "update c set n = 'hub' where id = 1",
        "update c set n = 'h2' where id = 2",
        "insert into c values (4, 1, 'new')",
        "delete from p where id = 3",
        "insert into p values (30, 'c2')",
    ];
    for sql in changes {
        // A parent that is restricted stays.
        let done = hub.execute_batch(sql);
        assert!(done.is_ok() || action == "restrict", "{sql}: {done:?}");
    }
    pair
}

/// A spoke has deleted one parent with its child and renamed another; the hub has changed these, and more.
fn apart(action: &str) -> Pair {
    let pair = torn(action, RowMerge::Cell);
    pair.far().execute_batch("update c set p = 20 where p = 2; delete from c where p = 1").unwrap();
    pair
}

/// What the engine keeps of conflicts.
struct Inbox {
    pair: Pair,
    open: Vec<(ConflictId, ConflictDraft)>,
    seen: BTreeSet<String>,
    next: i64,
}

impl Inbox {
    fn new(pair: Pair) -> Self {
        let mut inbox = Self { pair, open: vec![], seen: BTreeSet::new(), next: 1 };
        inbox.sync(vec![]);
        inbox
    }

    fn plan(&self, directives: Vec<Directive>) -> SpokePlan {
        let mut context = self.pair.context(directives);
        context.waiting = self.open.iter().map(|(_, draft)| draft.clone()).collect();
        wait(self.pair.syncer.plan(&self.pair.spoke, &context)).unwrap()
    }

    /// Syncs; a conflict leaves the inbox only by an answer.
    fn sync(&mut self, directives: Vec<Directive>) {
        self.pair.run += 1;
        let plan = self.plan(directives);
        let applied = self.pair.apply(&plan).unwrap();
        assert_eq!(applied.skipped, vec![]);
        for (id, draft) in std::mem::take(&mut self.open) {
            let now = plan.conflicts.iter().find(|c| c.item == draft.item);
            assert_ne!(now.is_some(), plan.settles.contains(&id), "{}: {:?} {plan:?}", draft.item, self.pair.rows(ALL));
            self.open.extend(now.map(|now| (id, now.clone())));
        }
        for draft in &plan.conflicts {
            if self.open.iter().all(|(_, open)| open.item != draft.item) {
                assert!(self.seen.insert(draft.item.clone()), "{} has come back as another conflict", draft.item);
                self.open.push((ConflictId(self.next), draft.clone()));
                self.next += 1;
            }
        }
        let again = self.plan(vec![]);
        assert_eq!((again.actions, items(&again.conflicts)), (vec![], items(&plan.conflicts)));
    }

    /// Answers a conflict as the engine does: what does not come out as settled is refused.
    fn answer(&mut self, id: ConflictId, choice: Choice) -> Result<Vec<Directive>, String> {
        let draft = self.open.iter().find(|(open, _)| *open == id).unwrap().1.clone();
        let mut all =
            vec![Directive { conflict: id, draft: draft.clone(), answer: Answer::Take(choice), undoes: None }];
        let plan = self.plan(all.clone());
        if !plan.settles.contains(&id) {
            let why = plan.conflicts.into_iter().find(|c| c.item == draft.item);
            return Err(why.expect("what is not settled stays in dispute").because);
        }
        for (other, draft) in &self.open {
            if *other != id && plan.conflicts.iter().all(|c| c.item != draft.item) {
                let answer = Answer::With(id);
                all.push(Directive { conflict: *other, draft: draft.clone(), answer, undoes: None });
            }
        }
        self.sync(all.clone());
        Ok(all)
    }
}

fn items(drafts: &[ConflictDraft]) -> BTreeSet<String> {
    drafts.iter().map(|draft| draft.item.clone()).collect()
}

fn items_of(open: &[(ConflictId, ConflictDraft)]) -> BTreeSet<String> {
    open.iter().map(|(_, draft)| draft.item.clone()).collect()
}

const ACTIONS: [&str; 3] = ["cascade", "set null", "restrict"];
const MODES: [RowMerge; 3] = [RowMerge::Cell, RowMerge::Row, RowMerge::None];

#[test]
fn answers_to_rows_that_depend_on_each_other_come_to_an_end() {
    for action in ACTIONS {
        for mode in MODES {
            for wishes in [[Choice::Hub; 2], [Choice::Spoke; 2], [Choice::Hub, Choice::Spoke]] {
                let mut inbox = Inbox::new(torn(action, mode));
                assert!(!inbox.open.is_empty());
                let mut refused = vec![];
                for turn in 0..12 {
                    let ids: Vec<ConflictId> = inbox.open.iter().map(|(id, _)| *id).collect();
                    for id in ids {
                        let wish = wishes[turn % 2];
                        let other = if wish == Choice::Hub { Choice::Spoke } else { Choice::Hub };
                        for choice in [wish, other] {
                            if inbox.open.iter().any(|(open, _)| *open == id)
                                && let Err(why) = inbox.answer(id, choice)
                            {
                                refused.push(format!("{turn} {id} {choice:?}: {why}"));
                            }
                        }
                    }
                }
                assert_eq!(inbox.open, vec![], "{action} {mode:?} {wishes:?}: {refused:#?}");
                inbox.pair.same(ALL);
                inbox.pair.quiet();
            }
        }
    }
}

#[test]
fn an_answer_that_takes_other_rows_along_shows_them_and_takes_them_back() {
    for action in ACTIONS {
        for choice in [Choice::Hub, Choice::Spoke] {
            let mut inbox = Inbox::new(apart(action));
            assert!(!inbox.open.is_empty());
            let before = (inbox.pair.rows(ALL), items(&inbox.plan(vec![]).conflicts));
            let all: Vec<(ConflictId, ConflictDraft)> = inbox.open.clone();
            for (id, _) in all {
                let Ok(answered) = inbox.answer(id, choice) else { continue };
                let undo: Vec<Directive> = answered
                    .into_iter()
                    .map(|d| Directive { undoes: Some(d.answer), answer: Answer::Undo, ..d })
                    .collect();
                let plan = inbox.plan(undo.clone());
                assert_eq!(plan.settles.len(), undo.len(), "{action} {choice:?}: {plan:?}");
                inbox.pair.run += 1;
                inbox.pair.apply(&plan).unwrap();
                inbox.open.extend(undo.into_iter().map(|d| (d.conflict, d.draft)));
                let now = items(&inbox.plan(vec![]).conflicts);
                assert_eq!(inbox.pair.rows(ALL), before.0, "{action} {choice:?}");
                // What the answer has left in dispute goes on beside it.
                assert!(before.1.is_subset(&now) && now == items_of(&inbox.open), "{action} {choice:?}: {now:?}");
            }
        }
    }
}

#[test]
fn a_conflict_whose_table_is_paused_stays_open() {
    let inbox = Inbox::new(torn("cascade", RowMerge::Cell));
    let open = inbox.open.clone();
    inbox.pair.far().execute_batch("alter table c add column more text").unwrap();
    let plan = inbox.plan(vec![]);
    for (_, draft) in open.iter().filter(|(_, d)| d.table.as_deref() == Some("c")) {
        assert!(plan.conflicts.contains(draft), "{}: {plan:?}", draft.item);
    }
}
