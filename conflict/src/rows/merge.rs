//! One row at a time: the table of cases before constraints are looked at.

use super::hold::{ANSWERED, Draft, Outcome, State, Work};
use super::{Answer, Change, Check, Direction, Key, Mode, Pick, Prefer, TableDiff, counts};
use crate::conflict::Side;
use crate::value::Row;

/// Decides every changed row of a table.
pub(super) fn table<'a>(work: &mut Work<'a>, index: usize, table: &'a TableDiff, check: &Check<'_>) {
    if let Some(why) = &table.paused {
        for key in table.changes.keys() {
            work.set(index, key, State::held(why.clone()));
        }
        return;
    }
    if work.policy.mode == Mode::Table && work.policy.direction == Direction::Both && whole(work, index, table) {
        return;
    }
    for (key, change) in &table.changes {
        let state = if table.shape.key.is_empty() {
            counted(work, table, change)
        } else {
            row(work, table, key, change, check)
        };
        work.set(index, key, state);
    }
}

/// The table as one thing: true when both sides changed it and it was decided here.
fn whole<'a>(work: &mut Work<'a>, index: usize, table: &'a TableDiff) -> bool {
    let differs = |f: fn(&Change) -> bool| table.changes.values().any(f);
    let hub = differs(|c| c.hub != c.base || c.counts[1] != c.counts[0]);
    let spoke = differs(|c| c.spoke != c.base || c.counts[2] != c.counts[0]);
    if !(hub && spoke && differs(|c| c.hub != c.spoke || c.counts[1] != c.counts[2])) {
        return false;
    }
    // Nothing is deleted by a first sync, so an empty side is one that has not changed.
    if table.first && (table.rows[1] == 0 || table.rows[2] == 0) {
        return false;
    }
    let answered = work.answer_whole(index);
    let taken = if answered.is_some() { ANSWERED } else { "the preferred side's table" };
    let prefer = answered.or(work.preferred());
    let because = "both sides changed this table, and it is merged as one thing";
    for key in table.changes.keys() {
        let state = match prefer {
            Some(side) => State { outcome: Outcome::Take(side), draft: None, because: taken },
            None => State::held(because.to_owned()),
        };
        work.set(index, key, state);
    }
    if prefer.is_none() {
        work.table_conflict(index, because);
    }
    true
}

fn counted(work: &Work<'_>, table: &TableDiff, change: &Change) -> State {
    match counts::merged(change, table.first, work.policy.direction) {
        Some(count) => {
            let any = change.hub.as_ref().or(change.spoke.as_ref()).or(change.base.as_ref());
            let row = any.filter(|_| count > 0).cloned();
            State { outcome: Outcome::Merged(row, count), draft: None, because: "rows added and removed" }
        }
        None => State::held("changes do not travel this way".to_owned()),
    }
}

fn row(work: &Work<'_>, table: &TableDiff, key: &Key, change: &Change, check: &Check<'_>) -> State {
    if let Some(state) = one_way(work, table, change) {
        return state;
    }
    let answer = work.answer(&table.shape.name, key);
    match answer {
        Some(Answer::Whole(row)) => return State::merged(row.clone(), "answered"),
        Some(Answer::Apart { hub, spoke, .. }) => {
            let outcome = Outcome::Apart(hub.clone(), spoke.clone());
            return State { outcome, draft: None, because: "answer undone" };
        }
        Some(Answer::Fields(fields)) => return State::merged(fielded(change, fields), "answered"),
        _ => {}
    }
    let (base, hub, spoke) = (&change.base, &change.hub, &change.spoke);
    if hub == spoke {
        return State::merged(hub.clone(), "both sides agree");
    }
    if hub == base {
        return State::merged(spoke.clone(), "changed on the spoke only");
    }
    if spoke == base {
        return State::merged(hub.clone(), "changed on the hub only");
    }
    let take = match answer {
        Some(Answer::Take(side)) => Some(*side),
        _ => work.preferred(),
    };
    let because = if matches!(answer, Some(Answer::Take(_))) { "answered" } else { "the preferred side" };
    match (base, hub, spoke) {
        // What both sides had was nothing.
        (None, Some(_), Some(_)) if take == Some(Side::Base) => State::merged(None, because),
        (_, Some(h), Some(s)) => {
            let merged = cells(work.policy.mode, base.as_ref(), h, s, take);
            let kind = if base.is_some() { "update/update" } else { "insert/insert" };
            match merged {
                Ok(row) => checked(work, table, row, change, check, take),
                Err(columns) => State::draft(kind, columns, format!("both sides {}", verb(base.is_some()))),
            }
        }
        _ if take.is_some() => {
            let row = take.and_then(|side| change.side(side)).cloned();
            State::merged(row, because)
        }
        (_, None, _) => State::draft("delete/update", vec![], "the hub deleted it, the spoke changed it".to_owned()),
        (_, _, None) => State::draft("update/delete", vec![], "the hub changed it, the spoke deleted it".to_owned()),
    }
}

fn verb(updated: bool) -> &'static str {
    if updated { "changed the same cells" } else { "added this key with different values" }
}

/// A row merged from both sides may break a check that each side's own row keeps.
fn checked(
    work: &Work<'_>,
    table: &TableDiff,
    row: Row,
    change: &Change,
    check: &Check<'_>,
    take: Option<Side>,
) -> State {
    let whole = Some(&row);
    let new = whole != change.hub.as_ref() && whole != change.spoke.as_ref() && whole != change.base.as_ref();
    let Some(why) = new.then(|| check(&table.shape.name, &row)).flatten() else {
        return State::merged(Some(row), "changes of both sides merged");
    };
    match take.or(work.preferred()) {
        Some(side) => State::merged(change.side(side).cloned(), "the merged row breaks a check: the preferred side"),
        None => {
            let columns = (0..table.shape.columns.len())
                .filter(|i| change.hub.as_ref().map(|r| &r[*i]) != change.spoke.as_ref().map(|r| &r[*i]))
                .collect();
            State::draft("check", columns, format!("the merged row is refused: {why}"))
        }
    }
}

/// Merges two rows; the columns in dispute when there is no side to prefer.
fn cells(mode: Mode, base: Option<&Row>, hub: &Row, spoke: &Row, take: Option<Side>) -> Result<Row, Vec<usize>> {
    let mut out = Vec::with_capacity(hub.len());
    let mut disputed = Vec::new();
    let mut differing = Vec::new();
    for (i, (h, s)) in hub.iter().zip(spoke).enumerate() {
        let b = base.and_then(|b| b.get(i));
        if h != s {
            differing.push(i);
        }
        let cell = if h == s || b == Some(s) {
            h
        } else if b == Some(h) {
            s
        } else {
            disputed.push(i);
            match take {
                Some(Side::Spoke) => s,
                Some(Side::Base) => b.unwrap_or(h),
                _ => h,
            }
        };
        out.push(cell.clone());
    }
    // As one thing, or without a common past, rows are not mixed.
    let whole = mode != Mode::Cell || base.is_none();
    match take {
        None if whole => Err(differing),
        None if !disputed.is_empty() => Err(disputed),
        Some(Side::Spoke) if whole => Ok(spoke.clone()),
        Some(Side::Base) if whole => Ok(base.unwrap_or(hub).clone()),
        Some(_) if whole => Ok(hub.clone()),
        _ => Ok(out),
    }
}

fn fielded(change: &Change, fields: &std::collections::BTreeMap<usize, Pick>) -> Option<Row> {
    let hub = change.hub.as_ref();
    let spoke = change.spoke.as_ref();
    let mut row = match (hub, spoke) {
        (Some(h), Some(s)) => cells(Mode::Cell, change.base.as_ref().or(Some(h)), h, s, Some(Side::Hub)).ok()?,
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => change.base.clone()?,
    };
    for (column, pick) in fields {
        let value = match pick {
            Pick::Value(value) => Some(value),
            Pick::Side(side) => change.side(*side).and_then(|r| r.get(*column)),
        };
        if let (Some(cell), Some(value)) = (row.get_mut(*column), value) {
            *cell = value.clone();
        }
    }
    Some(row)
}

/// Rows that travel one way only.
fn one_way(work: &Work<'_>, table: &TableDiff, change: &Change) -> Option<State> {
    let (from, to) = match work.policy.direction {
        Direction::Both => return None,
        Direction::Neither => return Some(State::held("changes do not travel here".to_owned())),
        Direction::ToSpoke => (&change.hub, &change.spoke),
        Direction::ToHub => (&change.spoke, &change.hub),
    };
    if change.base.is_none() && from.is_none() {
        return Some(State::held("only the receiving side has this row".to_owned()));
    }
    if table.first && to.is_some() && from != to && work.preferred().is_none() {
        return None;
    }
    let drift = *to != change.base;
    Some(State::merged(from.clone(), if drift { "the receiving side had drifted" } else { "changed at the source" }))
}

impl Work<'_> {
    /// Returns the side that the policy prefers.
    pub(super) fn preferred(&self) -> Option<Side> {
        match self.policy.prefer {
            Prefer::Queue => None,
            Prefer::Hub => Some(Side::Hub),
            Prefer::Spoke => Some(Side::Spoke),
        }
    }
}

impl State {
    fn merged(row: Option<Row>, because: &'static str) -> Self {
        let count = u64::from(row.is_some());
        Self { outcome: Outcome::Merged(row, count), draft: None, because }
    }

    pub(super) fn held(why: String) -> Self {
        Self { outcome: Outcome::Held(why), draft: None, because: "" }
    }

    fn draft(kind: &'static str, columns: Vec<usize>, because: String) -> Self {
        let outcome = Outcome::Held(because.clone());
        Self { outcome, draft: Some(Draft { kind, columns, because, group: vec![] }), because: "" }
    }
}
