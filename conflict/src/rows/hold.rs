//! Constraints over the planned state of each side, and what must wait because of them.
//!
//! A row goes from merged to one side's state to held, never back, so the search ends.

use std::collections::{BTreeMap, BTreeSet};

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
    table_conflicts: BTreeMap<usize, String>,
    pub(super) beside: &'a dyn Beside,
    pub(super) referrers: Referrers,
    /// Rows that wait only because another one does, and that one.
    ties: BTreeMap<At<'a>, At<'a>>,
    /// Tables in dispute as one thing that another table's answer decides, too.
    along: &'a BTreeMap<usize, Side>,
    /// Those that an answer cannot do without.
    pub(super) wanted: BTreeMap<usize, Side>,
    /// Tables that are one thing and were answered.
    wholes: BTreeSet<usize>,
}

/// Why a row is taken from the side that a person has named.
pub(super) const ANSWERED: &str = "answered";

pub(super) const SIDES: [Side; 2] = [Side::Hub, Side::Spoke];

impl<'a> Work<'a> {
    pub fn new(
        tables: &'a [TableDiff],
        policy: Policy,
        answers: &'a Answers,
        along: &'a BTreeMap<usize, Side>,
        beside: &'a dyn Beside,
    ) -> Self {
        let by_name = tables.iter().enumerate().map(|(i, t)| (t.shape.name.to_ascii_lowercase(), i)).collect();
        let states = tables.iter().map(|_| BTreeMap::new()).collect();
        let (table_conflicts, referrers) = (BTreeMap::new(), Referrers::default());
        let (ties, wanted, wholes) = Default::default();
        Self {
            tables,
            policy,
            answers,
            by_name,
            states,
            table_conflicts,
            beside,
            referrers,
            ties,
            along,
            wanted,
            wholes,
        }
    }

    pub fn answer(&self, table: &str, key: &[u8]) -> Option<&'a Answer> {
        if self.answers.is_empty() { None } else { self.answers.get(&(table.to_owned(), key.to_vec())) }
    }

    pub fn set(&mut self, table: usize, key: &'a Key, state: State) {
        self.states[table].insert(key, state);
    }

    pub fn table_conflict(&mut self, table: usize, because: &str) {
        self.table_conflicts.insert(table, because.to_owned());
    }

    /// Returns the side that a person has named for a table that is one thing.
    pub fn answer_whole(&mut self, table: usize) -> Option<Side> {
        let side = match self.answer(&self.tables[table].shape.name, &[]) {
            Some(Answer::Take(side @ (Side::Hub | Side::Spoke))) => *side,
            _ => *self.along.get(&table)?,
        };
        self.wholes.insert(table);
        Some(side)
    }

    /// Holds and decides rows until both sides keep their unique and foreign keys.
    pub fn settle_constraints(&mut self) {
        loop {
            let mut moved = false;
            for side in SIDES {
                moved |= self.uniques(side);
                moved |= self.foreign(side);
            }
            if !moved && !self.hold_wholes() {
                return;
            }
        }
    }

    /// Of a table that is one thing all rows wait when one does.
    fn hold_wholes(&mut self) -> bool {
        let tables = self.tables;
        let mut moved = false;
        for table in std::mem::take(&mut self.wholes) {
            let waits = tables[table].changes.keys().map(|key| (table, key)).find(|at| self.is_held(*at));
            let Some((_, first)) = waits else {
                self.wholes.insert(table);
                continue;
            };
            if let Outcome::Held(why) = &self.states[table][first].outcome {
                self.table_conflicts.insert(table, why.clone());
            }
            for key in tables[table].changes.keys() {
                moved |= self.hold((table, key), "the table is merged as one thing, and a row of it waits");
            }
        }
        moved
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

    /// Returns by which columns a row may refer to nothing: it is put back as its side had it.
    pub(super) fn dangles(&self, at: At<'_>, side: Side) -> impl Iterator<Item = &'a Vec<usize>> {
        let all = match (self.outcome(at), self.answer(&self.tables[at.0].shape.name, at.1)) {
            (Outcome::Apart(..), Some(Answer::Apart { dangles, .. })) => dangles.as_slice(),
            _ => &[],
        };
        all.iter().filter(move |(of, _)| *of == side).map(|(_, columns)| columns)
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
        if let Some(waits) = group.iter().copied().find(|at| self.is_held(*at)) {
            for at in free {
                self.hold_with(at, "it is tied to a row that waits", waits);
            }
            return true;
        }
        // What an answer has moved takes along what cannot stand beside it.
        let taken = |at: &At<'a>| self.taken(*at);
        let answered = group.iter().find_map(taken).or_else(|| group.iter().find_map(|at| self.taken_along(*at)));
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
                let because = if answered.is_some() { ANSWERED } else { "the preferred side" };
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

    /// Holds a row that waits only because another one does.
    pub(super) fn hold_with(&mut self, at: At<'a>, why: &str, other: At<'a>) -> bool {
        if self.is_held(at) {
            return false;
        }
        let root = self.root(other);
        if let Some(side) = self.taken_along(at)
            && self.table_conflicts.contains_key(&root.0)
        {
            self.wanted.insert(root.0, side);
        }
        self.ties.insert(at, other);
        self.hold(at, why)
    }

    /// Returns the row that a row waits for in the end.
    fn root(&self, mut at: At<'a>) -> At<'a> {
        // A row is tied once, when it is held, and to one that was held before: the way has an end.
        while let Some(next) = self.ties.get(&at) {
            at = *next;
        }
        at
    }

    /// Returns the side that an answer, about this row or another, has taken it from.
    fn taken_along(&self, (table, key): At<'_>) -> Option<Side> {
        match &self.states[table][key] {
            State { outcome: Outcome::Take(side), because: ANSWERED, .. } => Some(*side),
            _ => None,
        }
    }

    /// Returns the side that a person has named for a row.
    fn taken(&self, (table, key): At<'_>) -> Option<Side> {
        match self.answer(&self.tables[table].shape.name, key) {
            Some(Answer::Take(side)) => Some(*side),
            _ => None,
        }
    }

    /// Names with each conflict the rows that wait for it alone, and of each row that waits the conflict.
    fn tie(&self, plan: &mut RowPlan) {
        let id = |(table, key): At<'_>| (self.tables[table].shape.name.clone(), key.clone());
        let mut conflicts: BTreeMap<RowId, Vec<usize>> = BTreeMap::new();
        for (index, conflict) in plan.conflicts.iter().enumerate() {
            let own = (conflict.table.clone(), conflict.key.clone());
            for row in conflict.group.iter().cloned().chain([own]) {
                conflicts.entry(row).or_default().push(index);
            }
        }
        for (row, _) in &plan.held {
            if let Some(first) = conflicts.get(row).and_then(|all| all.first()) {
                let conflict = &plan.conflicts[*first];
                plan.waits_for.insert(row.clone(), (conflict.table.clone(), conflict.key.clone()));
            }
        }
        for at in self.ties.keys() {
            let root = self.root(*at);
            let whole = (self.tables[root.0].shape.name.clone(), vec![]);
            let found = conflicts.get(&id(root)).or_else(|| conflicts.get(&whole));
            for index in found.into_iter().flatten() {
                let conflict = &mut plan.conflicts[*index];
                plan.waits_for.entry(id(*at)).or_insert((conflict.table.clone(), conflict.key.clone()));
                if !conflict.key.is_empty() {
                    conflict.group.push(id(*at));
                }
            }
        }
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
                because: because.clone(),
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
        self.tie(&mut plan);
        for id in self.answers.keys() {
            let change = self.by_name.get(&id.0.to_ascii_lowercase()).map(|i| &self.states[*i]);
            let waits = match change.and_then(|states| states.get(&id.1)) {
                Some(state) => matches!(state.outcome, Outcome::Held(_)),
                // A table that is one thing is decided when none of its rows waits.
                None => id.1.is_empty() && plan.is_waiting(&id.0),
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
                    dangles: self.dangles(at, side).cloned().collect(),
                });
            }
        }
    }
}
