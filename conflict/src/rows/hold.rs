//! Constraints over the planned state of each side, and what must wait because of them.
//!
//! A row goes from merged to one side's state to held, never back, so the search ends.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Answers, Change, Key, Policy, RowConflict, RowPlan, TableDiff, Write, guard};
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
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub outcome: Outcome,
    pub draft: Option<Draft>,
    pub because: &'static str,
}

/// A row of a table by the table's position.
type At<'a> = (usize, &'a Key);

/// All tables while they are planned.
pub(super) struct Work<'a> {
    tables: &'a [TableDiff],
    pub policy: Policy,
    answers: &'a Answers,
    by_name: BTreeMap<String, usize>,
    states: Vec<BTreeMap<&'a Key, State>>,
    table_conflicts: BTreeMap<usize, &'static str>,
}

const SIDES: [Side; 2] = [Side::Hub, Side::Spoke];

impl<'a> Work<'a> {
    pub fn new(tables: &'a [TableDiff], policy: Policy, answers: &'a Answers) -> Self {
        let by_name = tables.iter().enumerate().map(|(i, t)| (t.shape.name.to_ascii_lowercase(), i)).collect();
        let states = tables.iter().map(|_| BTreeMap::new()).collect();
        Self { tables, policy, answers, by_name, states, table_conflicts: BTreeMap::new() }
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

    fn change(&self, (table, key): At<'_>) -> &'a Change {
        // Every key comes out of the table's own changes.
        &self.tables[table].changes[key]
    }

    fn outcome(&self, (table, key): At<'_>) -> &Outcome {
        &self.states[table][key].outcome
    }

    fn is_held(&self, at: At<'_>) -> bool {
        matches!(self.outcome(at), Outcome::Held(_))
    }

    /// Returns what a side holds after the plan.
    fn after(&self, at: At<'_>, side: Side) -> Option<&Row> {
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

    fn foreign(&mut self, side: Side) -> bool {
        let mut moved = false;
        for index in 0..self.tables.len() {
            for position in 0..self.tables[index].shape.foreign.len() {
                moved |= self.one_foreign(index, position, side);
            }
        }
        moved
    }

    fn one_foreign(&mut self, index: usize, position: usize, side: Side) -> bool {
        let tables = self.tables;
        let link = &tables[index].shape.foreign[position];
        let Some(&parent_index) = self.by_name.get(&link.parent.to_ascii_lowercase()) else { return false };
        let parent = &tables[parent_index];
        if parent.paused.is_some() {
            return self.hold_new_references(index, &link.columns, "it refers to a table that is paused");
        }
        if tables[index].paused.is_some() {
            return self.hold_deletions(parent_index, "a table that refers to it is paused");
        }
        // Who holds or ever held a referenced value, and what the side has of it before and after.
        let mut ever: BTreeMap<Key, BTreeSet<At<'a>>> = BTreeMap::new();
        let (mut now, mut then) = (BTreeSet::new(), BTreeSet::new());
        for key in parent.changes.keys() {
            let at = (parent_index, key);
            let change = self.change(at);
            let value = |row: Option<&Row>| row.and_then(|r| parent.shape.value_of(r, &link.parent_columns));
            for value in [&change.base, &change.hub, &change.spoke].into_iter().filter_map(|r| value(r.as_ref())) {
                ever.entry(value).or_default().insert(at);
            }
            now.extend(value(change.side(side)));
            if let Some(value) = value(self.after(at, side)) {
                ever.entry(value.clone()).or_default().insert(at);
                then.insert(value);
            }
        }
        let mut moved = false;
        for key in tables[index].changes.keys() {
            let at = (index, key);
            let change = self.change(at);
            let reference = |row: Option<&Row>| {
                let row = row?;
                let parts: Option<Vec<_>> = link
                    .columns
                    .iter()
                    .zip(&link.parent_columns)
                    .map(|(c, p)| row.get(*c).filter(|v| !v.is_null()).map(|v| (v, parent.shape.collation(*p))))
                    .collect();
                parts.map(crate::value::write_key)
            };
            let Some(value) = reference(self.after(at, side)) else { continue };
            let Some(parents) = ever.get(&value) else { continue };
            let is_new = reference(change.base.as_ref()).as_ref() != Some(&value);
            if is_new && !self.is_held(at) && parents.iter().any(|p| *p != at && self.is_held(*p)) {
                moved |= self.hold(at, "it refers to a row that waits");
                continue;
            }
            let before = reference(change.side(side)).as_ref() == Some(&value) && !now.contains(&value);
            if then.contains(&value) || before {
                continue;
            }
            let mut group = vec![at];
            group.extend(parents.iter().copied().filter(|p| *p != at));
            let because = format!("a row of {} that it refers to is gone on the other side", parent.shape.name);
            let columns = link.columns.clone();
            moved |= self.decide(&group, "foreign_key", &[at], &columns, &because);
        }
        moved
    }

    /// Decides rows that cannot stand together: by answer, by policy, or they wait.
    fn decide(
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
        if let Some(side) = answered.or(self.preferred()) {
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
        for (table, key) in named {
            if let Some(state) = self.states[*table].get_mut(*key) {
                state.draft = Some(Draft { kind, columns: columns.to_vec(), because: because.to_owned() });
            }
        }
        true
    }

    fn hold(&mut self, (table, key): At<'a>, why: &str) -> bool {
        if self.is_held((table, key)) {
            return false;
        }
        self.states[table].insert(key, State::held(why.to_owned()));
        true
    }

    fn hold_new_references(&mut self, index: usize, columns: &[usize], why: &str) -> bool {
        let table = &self.tables[index];
        let mut moved = false;
        for (key, change) in &table.changes {
            let at = (index, key);
            let value = |row: Option<&Row>| row.and_then(|r| table.shape.value_of(r, columns));
            let base = value(change.base.as_ref());
            let fresh = SIDES.iter().any(|s| {
                let after = value(self.after(at, *s));
                after.is_some() && after != base
            });
            moved |= fresh && self.hold(at, why);
        }
        moved
    }

    fn hold_deletions(&mut self, index: usize, why: &str) -> bool {
        let mut moved = false;
        for (key, change) in &self.tables[index].changes {
            let at = (index, key);
            let gone = SIDES.iter().any(|s| self.after(at, *s).is_none() && change.side(*s).is_some());
            moved |= gone && self.hold(at, why);
        }
        moved
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
