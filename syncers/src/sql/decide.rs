//! What people said, brought into the merge: answers that still fit, and answers taken back.
//!
//! An answer about rows that depend on each other moves all of them, so it is taken back for all of them or for
//! none: each must still be what the answer left.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::rows::{
    self, Answers, Change, NothingBroken, RowId, RowPlan, Shape, TableDiff, TableRows,
};
use cathedral_model::conflict::value::Row;
use cathedral_model::ecosystem::Side;
use cathedral_model::ids::ConflictId;
use cathedral_model::plan::{Answer, ConflictDraft, Directive, Guard};
use cathedral_model::ports::{Cause, PortError};

use super::answers;
use super::beside::Sides;
use super::check::Checker;
use super::form::Cells;
use super::payload::{Step, port_side};
use super::plan::{Open, Planner};

const MOVED_ON: &str = "it is no longer what the answer left";

/// An answer that the merge is asked to carry out.
struct Asked<'a> {
    directive: &'a Directive,
    /// Of an answer that is taken back: all rows that it was about, as they were agreed on before.
    past: BTreeMap<RowId, Option<Row>>,
}

impl Planner<'_> {
    /// Plans the rows, with what people said. Returns the conflicts that this settles, and the limits it exceeds.
    pub(super) fn decide(
        &mut self,
        directives: &[Directive],
        waiting: &[ConflictDraft],
        hub: &Open,
        far: &Open,
    ) -> Result<(Vec<ConflictId>, Vec<Guard>), PortError> {
        let mut answers = Answers::new();
        let mut asked: BTreeMap<RowId, Asked<'_>> = BTreeMap::new();
        let mut with: Vec<(RowId, ConflictId)> = Vec::new();
        let mut unfit: BTreeMap<&str, String> = BTreeMap::new();
        let checker = Checker::new(&self.tables);
        for directive in directives {
            let draft = &directive.draft;
            let table = draft.table.as_deref().unwrap_or_default();
            let Some(diff) = self.diff(table) else { continue };
            let mut refuse = |why: String| drop(unfit.insert(draft.item.as_str(), why));
            if let Some(why) = &diff.paused {
                refuse(format!("the table is paused and cannot be decided here: {why}"));
                continue;
            }
            let Some(id) = answers::row_of(draft, &diff.shape) else { continue };
            if matches!(directive.answer, Answer::With(_)) {
                with.push((id, directive.conflict));
                continue;
            }
            let now = diff.changes.get(&id.1);
            let is_undo = directive.answer == Answer::Undo;
            let rows = if is_undo { self.rows_of(directive, &id) } else { BTreeMap::new() };
            let moved = match now {
                None => None,
                Some(_) if is_undo => self.moved_on(directive, &id, &rows, &checker),
                Some(now) => {
                    answers::moved(draft, &diff.shape, now, self.content).or_else(|| self.group_moved(directive))
                }
            };
            if let Some(why) = moved {
                refuse(why);
                continue;
            }
            match answers::add(&mut answers, directive, &id, &diff.shape, self.content) {
                Ok(past) => {
                    let mut all: BTreeMap<RowId, Option<Row>> = BTreeMap::new();
                    if let Some(past) = past {
                        for (other, was) in rows {
                            all.insert(other.clone(), was.base);
                            let apart = rows::Answer::Apart { hub: was.hub, spoke: was.spoke, dangles: vec![] };
                            answers.insert(other, apart);
                        }
                        all.insert(id.clone(), past);
                    }
                    asked.insert(id, Asked { directive, past: all });
                }
                Err(error) if error.fault().cause == Cause::Invalid => refuse(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let check = |table: &str, row: &Row| checker.check(table, row);
        let sides = Sides::new(hub, far, &self.diffs);
        let mut plan = rows::plan(&self.diffs, self.policy, &answers, &check, &sides);
        // Half of what an answer moved is not put back.
        while let Some(half) = half_undone(&asked, &plan) {
            let gone: BTreeSet<RowId> = asked.remove(&half).map(|a| a.past.into_keys().collect()).unwrap_or_default();
            asked.retain(|_, other| other.past.keys().all(|id| !gone.contains(id)));
            answers.retain(|id, _| !gone.contains(id));
            plan = rows::plan(&self.diffs, self.policy, &answers, &check, &sides);
        }
        let mut settles = Vec::new();
        let mut put_back: BTreeSet<RowId> = BTreeSet::new();
        for (id, asked) in asked {
            if !plan.settled.contains(&id) {
                continue;
            }
            settles.push(asked.directive.conflict);
            if asked.past.is_empty() {
                continue;
            }
            self.conflicts.push(asked.directive.draft.clone());
            for (id, row) in asked.past {
                plan.conflicts.retain(|c| (&c.table, &c.key) != (&id.0, &id.1));
                if put_back.insert(id.clone()) {
                    self.steps.push(Step::Base { table: id.0, key: hex::encode(id.1), row: row.map(Cells) });
                }
            }
        }
        self.go_on(&mut plan, waiting, &put_back);
        let waits = |id: &RowId| {
            id.1.is_empty() && plan.is_waiting(&id.0)
                || plan.conflicts.iter().any(|c| (&c.table, &c.key) == (&id.0, &id.1))
                || plan.held.iter().any(|h| h.0 == *id)
        };
        settles.extend(with.iter().filter(|(id, _)| !waits(id)).map(|(_, conflict)| *conflict));
        let guards = plan.guards.iter().map(|g| Guard { name: g.name.into(), why: g.why.clone() }).collect();
        self.write_down(plan)?;
        for conflict in &mut self.conflicts {
            if let Some(why) = unfit.remove(conflict.item.as_str()) {
                conflict.because = why;
            }
        }
        Ok((settles, guards))
    }

    pub(super) fn diff(&self, table: &str) -> Option<&TableDiff> {
        self.diffs.iter().find(|d| d.shape.name.eq_ignore_ascii_case(table))
    }

    /// The rows that an answer was about beside the conflict's own, as they were.
    fn rows_of(&self, directive: &Directive, own: &RowId) -> BTreeMap<RowId, Change> {
        let was = directive.draft.group.iter().filter_map(|row| {
            let diff = self.diff(&row.table)?;
            let id = answers::key_of(&row.pk, &diff.shape).filter(|id| id != own)?;
            Some((id, answers::group_was(row, &diff.shape, self.content).ok()?))
        });
        was.collect()
    }

    /// Says whether a row is in dispute as it was when an answer was given.
    fn is_as_it_was(&self, (table, key): &RowId, was: &Change) -> bool {
        self.diff(table).and_then(|diff| diff.changes.get(key)) == Some(was)
    }

    /// Returns which row that is decided together with the answered one is not as the person was shown it.
    fn group_moved(&self, directive: &Directive) -> Option<String> {
        let moved = directive.draft.group.iter().find(|row| {
            let Some(diff) = self.diff(&row.table) else { return true };
            let Some(id) = answers::key_of(&row.pk, &diff.shape) else { return true };
            let was = answers::group_was(row, &diff.shape, self.content);
            !was.is_ok_and(|was| diff.changes.get(&id.1) == Some(&was))
        });
        moved.map(|row| {
            format!("{} has changed since, and is decided together with it: sync, and answer again", row.place)
        })
    }

    /// Returns why an answer cannot be undone: a row is no longer what the answer made of it.
    fn moved_on(
        &self,
        directive: &Directive,
        id: &RowId,
        others: &BTreeMap<RowId, Change>,
        checker: &Checker<'_>,
    ) -> Option<String> {
        let why = || Some(MOVED_ON.to_owned());
        let draft = &directive.draft;
        if others.len() < draft.group.len() {
            return Some("what it was about beside this row is not known any more".to_owned());
        }
        // What the answer left waiting still waits.
        let others: BTreeMap<&RowId, &Change> = others.iter().filter(|(id, was)| !self.is_as_it_was(id, was)).collect();
        let now = |id: &RowId| self.diff(&id.0).and_then(|d| d.changes.get(&id.1));
        let agreed = |id: &RowId| now(id).is_some_and(|now| now.hub == now.base && now.spoke == now.base);
        if !agreed(id) || !others.keys().all(|id| agreed(id)) {
            return why();
        }
        let kinds = ["update/update", "insert/insert", "update/delete", "delete/update", "unique", "foreign_key"];
        if !kinds.contains(&draft.conflict_kind.as_str()) {
            return None;
        }
        // What the answer made of them, planned once more for these rows alone. Where another conflict was
        // answered, that one's undo looks at the same rows.
        let undoes = directive.undoes.clone().filter(|a| !matches!(a, Answer::With(_)))?;
        let shape = &self.diff(&id.0)?.shape;
        let past = answers::was(draft, shape, self.content).ok()?;
        let again = Directive { answer: undoes, undoes: None, ..directive.clone() };
        let mut answers = Answers::new();
        answers::add(&mut answers, &again, id, shape, self.content).ok()?;
        // Nothing is missing in the plan for these rows alone: there such a row would not be in dispute.
        if let (Some(rows::Answer::Take(side)), true) = (answers.get(id), draft.refers_to_nothing()) {
            let taken = rows::Answer::Whole(past.side(*side).cloned());
            answers.insert(id.clone(), taken);
        }
        let mut alone: BTreeMap<&str, TableDiff> = BTreeMap::new();
        let all: BTreeMap<&RowId, &Change> = others.into_iter().chain([(id, &past)]).collect();
        for (id, was) in &all {
            let shape = &self.diff(&id.0)?.shape;
            let diff = alone.entry(id.0.as_str()).or_insert_with(|| only(shape));
            diff.changes.insert(id.1.clone(), (*was).clone());
        }
        let alone: Vec<TableDiff> = alone.into_values().collect();
        let check = |table: &str, row: &Row| checker.check(table, row);
        let plan = rows::plan(&alone, self.policy, &answers, &check, &NothingBroken);
        if !plan.settled.contains(id) {
            return None;
        }
        let left = |id: &RowId, was: &Change| {
            let mut writes = plan.writes.iter().filter(|w| port_side(w.side) == Side::Hub);
            let write = writes.find(|w| (&w.table, &w.key) == (&id.0, &id.1));
            write.map_or_else(|| was.hub.clone(), |write| write.after.clone())
        };
        let is_left = all.iter().all(|(id, was)| now(id).is_some_and(|now| left(id, was) == now.hub));
        if is_left { None } else { why() }
    }
}

fn only(shape: &Shape) -> TableDiff {
    TableDiff { shape: shape.clone(), ..TableDiff::default() }
}

/// Returns an answer that the plan takes back for a part of its rows only.
fn half_undone(asked: &BTreeMap<RowId, Asked<'_>>, plan: &RowPlan) -> Option<RowId> {
    let half = |a: &Asked<'_>| a.past.keys().any(|id| !plan.settled.contains(id));
    asked.iter().find(|(_, a)| half(a)).map(|(id, _)| id.clone())
}

/// An undone answer is about rows that are equal on both sides by now.
pub(super) fn reopen(diff: &mut TableDiff, directives: &[Directive], sides: [Option<&TableRows>; 3]) {
    for directive in directives.iter().filter(|d| d.answer == Answer::Undo) {
        let draft = &directive.draft;
        let is_here = |table: &str| table.eq_ignore_ascii_case(&diff.shape.name);
        let own = draft.table.as_deref().is_some_and(is_here).then(|| answers::row_of(draft, &diff.shape)).flatten();
        let group = draft.group.iter().filter(|row| is_here(&row.table));
        let group = group.filter_map(|row| answers::key_of(&row.pk, &diff.shape));
        let ids: Vec<RowId> = own.into_iter().chain(group).collect();
        for (_, key) in ids {
            let [base, hub, spoke] = sides.map(|rows| rows.and_then(|r| r.get(&key)).map(|c| c.row.clone()));
            let counts = [&base, &hub, &spoke].map(|row| u64::from(row.is_some()));
            if !key.is_empty() {
                diff.changes.entry(key).or_insert(Change { base, hub, spoke, counts });
            }
        }
    }
}
