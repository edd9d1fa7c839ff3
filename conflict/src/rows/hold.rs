//! Constraints over the planned state of each side, and what must wait because of them.
//!
//! A row goes from merged to one side's state to held, never back, so the search ends.

use std::collections::BTreeMap;

use super::foreign::{Beside, Referrers};
use super::{Answer, Answers, Change, Direction, Key, Policy, RowConflict, RowId, RowPlan, TableDiff, Write, guard};
use crate::conflict::Side;
use crate::value::Row;

/// What shall become of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The same on both sides, in so many copies.
    Merged(Option<Row>, u64),
    /// One side's state on both.
    Take(Side),
    /// A state of its own on each side.
    Apart(Option<Row>, Option<Row>),
    /// As it is on each side.
    Held(String),
}

/// A conflict in the making.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub kind: &'static str,
    pub columns: Vec<usize>,
    pub because: String,
    /// The other rows that are decided together with it.
    pub group: Vec<RowId>,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub outcome: Outcome,
    pub draft: Option<Draft>,
    pub because: &'static str,
}

/// A row of a table by the table's position.
pub(super) type At<'a> = (usize, &'a Key);

/// All tables while they are planned.
pub(super) struct Work<'a> {
    pub(super) tables: &'a [TableDiff],
    pub policy: Policy,
    answers: &'a Answers,
    pub(super) by_name: BTreeMap<String, usize>,
    states: Vec<BTreeMap<&'a Key, State>>,
    table_conflicts: BTreeMap<usize, &'static str>,
    pub(super) beside: &'a dyn Beside,
    pub(super) referrers: Referrers,
}

pub(super) const SIDES: [Side; 2] = [Side::Hub, Side::Spoke];

impl<'a> Work<'a> {
    pub fn new(tables: &'a [TableDiff], policy: Policy, answers: &'a Answers, beside: &'a dyn Beside) -> Self {
        let by_name = tables.iter().enumerate().map(|(i, t)| (t.shape.name.to_ascii_lowercase(), i)).collect();
        let states = tables.iter().map(|_| BTreeMap::new()).collect();
        let (table_conflicts, referrers) = (BTreeMap::new(), Referrers::default());
        Self { tables, policy, answers, by_name, states, table_conflicts, beside, referrers }
    }

    pub fn answer(&self, table: &str, key: &[u8]) -> Option<&'a Answer> {
        if self.answers.is_empty() { None } else { self.answers.get(&(table.to_owned(), key.to_vec())) }
    }

    pub fn set(&mut self, table: usize, key: &'a Key, state: State) {
        self.states[table].insert(key, state);
    }

    pub fn table_conflict(&mut self, table: usize, because: &'static str) {
        self.table_conflicts.insert(table, because);
    }

    /// Holds and decides rows until both sides keep their unique and foreign keys.
    pub fn settle_constraints(&mut self) {
        loop {
            let mut moved = false;
            for side in SIDES {
                moved |= self.uniques(side);
                moved |= self.foreign(side);
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn change(&self, (table, key): At<'_>) -> &'a Change {
        // Every key comes out of the table's own changes.
        &self.tables[table].changes[key]
    }

    fn outcome(&self, (table, key): At<'_>) -> &Outcome {
        &self.states[table][key].outcome
    }

    pub(super) fn is_held(&self, at: At<'_>) -> bool {
        matches!(self.outcome(at), Outcome::Held(_))
    }

    /// Returns what a side holds after the plan.
    pub(super) fn after(&self, at: At<'_>, side: Side) -> Option<&Row> {
        match self.outcome(at) {
            Outcome::Merged(row, _) => row.as_ref(),
            Outcome::Take(from) => self.change(at).side(*from),
            Outcome::Apart(hub, spoke) => {
                if side == Side::Hub {
                    hub.as_ref()
                } else {
                    spoke.as_ref()
                }
            }
            Outcome::Held(_) => self.change(at).side(side),
        }
    }

    fn after_count(&self, at: At<'_>, side: Side) -> u64 {
        match self.outcome(at) {
            Outcome::Merged(_, count) => *count,
            Outcome::Take(from) => self.change(at).count(*from),
            Outcome::Apart(..) => u64::from(self.after(at, side).is_some()),
            Outcome::Held(_) => self.change(at).count(side),
        }
    }

    fn uniques(&mut self, side: Side) -> bool {
        let mut clashes: Vec<(Vec<At<'a>>, Vec<usize>)> = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            for columns in &table.shape.uniques {
                let mut owners: BTreeMap<Key, Vec<At<'a>>> = BTreeMap::new();
                for key in table.changes.keys() {
                    let at = (index, key);
                    if let Some(value) = self.after(at, side).and_then(|row| table.shape.value_of(row, columns)) {
                        owners.entry(value).or_default().push(at);
                    }
                }
                clashes.extend(owners.into_values().filter(|o| o.len() > 1).map(|o| (o, columns.clone())));
            }
        }
        let mut moved = false;
        for (owners, columns) in clashes {
            let names: Vec<&str> =
                columns.iter().map(|i| self.tables[owners[0].0].shape.columns[*i].as_str()).collect();
            let because = format!("the two sides gave one value of {} to different rows", names.join(", "));
            moved |= self.decide(&owners, "unique", &owners, &columns, &because);
        }
        moved
    }

    /// Decides rows that cannot stand together: by answer, by policy, or they wait.
    pub(super) fn decide(
        &mut self,
        group: &[At<'a>],
        kind: &'static str,
        named: &[At<'a>],
        columns: &[usize],
        because: &str,
    ) -> bool {
        let free: Vec<At<'a>> = group.iter().copied().filter(|at| !self.is_held(*at)).collect();
        if free.is_empty() {
            return false;
        }
        if free.len() < group.len() {
            return free.iter().fold(false, |moved, at| self.hold(*at, "it is tied to a row that waits") | moved);
        }
        let answered = group.iter().find_map(|(t, key)| match self.answer(&self.tables[*t].shape.name, key) {
            Some(Answer::Take(side)) => Some(*side),
            _ => None,
        });
        // Where changes travel one way only, the side that they come from is the only one to take.
        let may_take = |side: &Side| match self.policy.direction {
            Direction::Both => true,
            Direction::ToSpoke => *side == Side::Hub,
            Direction::ToHub => *side == Side::Spoke,
            Direction::Neither => false,
        };
        if let Some(side) = answered.or(self.preferred()).filter(may_take) {
            let undecided: Vec<_> =
                free.iter().copied().filter(|at| !matches!(self.outcome(*at), Outcome::Take(_))).collect();
            for (table, key) in &undecided {
                let because = if answered.is_some() { "answered" } else { "the preferred side" };
                self.states[*table].insert(key, State { outcome: Outcome::Take(side), draft: None, because });
            }
            if !undecided.is_empty() {
                return true;
            }
        }
        for at in &free {
            self.hold(*at, because);
        }
        for at @ (table, key) in named {
            let others = group.iter().filter(|other| *other != at);
            let group = others.map(|(t, k)| (self.tables[*t].shape.name.clone(), (*k).clone())).collect();
            if let Some(state) = self.states[*table].get_mut(*key) {
                state.draft = Some(Draft { kind, columns: columns.to_vec(), because: because.to_owned(), group });
            }
        }
        true
    }

    pub(super) fn hold(&mut self, (table, key): At<'a>, why: &str) -> bool {
        if self.is_held((table, key)) {
            return false;
        }
        self.states[table].insert(key, State::held(why.to_owned()));
        true
    }

    /// Turns the states into writes, conflicts and what waits.
    pub fn finish(self) -> RowPlan {
        let mut plan = RowPlan::default();
        for (index, because) in &self.table_conflicts {
            plan.conflicts.push(RowConflict {
                table: self.tables[*index].shape.name.clone(),
                key: vec![],
                kind: "table",
                columns: vec![],
                because: (*because).to_owned(),
                base: None,
                hub: None,
                spoke: None,
                group: vec![],
            });
        }
        for (index, table) in self.tables.iter().enumerate() {
            for (key, change) in &table.changes {
                self.finish_row((index, key), table, change, &mut plan);
            }
        }
        for id in self.answers.keys() {
            let change = self.by_name.get(&id.0.to_ascii_lowercase()).map(|i| &self.states[*i]);
            let waits = match change.and_then(|states| states.get(&id.1)) {
                Some(state) => matches!(state.outcome, Outcome::Held(_)),
                None => id.1.is_empty() && plan.conflicts.iter().any(|c| c.table == id.0 && c.key.is_empty()),
            };
            if !waits {
                plan.settled.insert(id.clone());
            }
        }
        plan.guards = guard::check(self.tables, &plan.writes);
        plan
    }

    fn finish_row(&self, at: At<'a>, table: &TableDiff, change: &Change, plan: &mut RowPlan) {
        let state = &self.states[at.0][at.1];
        let name = || table.shape.name.clone();
        if let Outcome::Held(why) = &state.outcome {
            match &state.draft {
                Some(draft) => plan.conflicts.push(RowConflict {
                    table: name(),
                    key: at.1.clone(),
                    kind: draft.kind,
                    columns: draft.columns.clone(),
                    because: draft.because.clone(),
                    base: change.base.clone(),
                    hub: change.hub.clone(),
                    spoke: change.spoke.clone(),
                    group: draft.group.clone(),
                }),
                None => plan.held.push(((name(), at.1.clone()), why.clone())),
            }
            return;
        }
        for side in SIDES {
            let counts = (change.count(side), self.after_count(at, side));
            let (before, after) = (change.side(side), self.after(at, side));
            if before != after || counts.0 != counts.1 {
                plan.writes.push(Write {
                    side,
                    table: name(),
                    key: at.1.clone(),
                    before: before.cloned(),
                    after: after.cloned(),
                    counts,
                    because: state.because,
                });
            }
        }
    }
}
