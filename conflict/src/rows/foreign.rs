//! Foreign keys over the planned state of each side.
//!
//! A side may have broken its own keys: its application deleted a parent and left the children, or wrote a child
//! without parent. Such a row is carried to no side that it would break; it waits, and what hangs on it.

use std::collections::{BTreeMap, BTreeSet};

use super::hold::{At, SIDES, Work};
use super::{Foreign, Key};
use crate::conflict::Side;
use crate::value::{Row, Value, write_key};

/// At most so many rows are named that refer to one.
const NAMED: usize = 3;

/// A row that refers to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Referrer {
    /// The value it refers to, as it is compared.
    pub value: Key,
    pub key: Key,
    /// The row for people.
    pub shown: String,
}

/// What the sides hold beside the changed rows.
pub trait Beside {
    /// Returns by which value `side` holds the row of the parent that `values` refer to, as it is compared.
    fn parent(&self, side: Side, link: &Foreign, values: &[&Value]) -> Option<Key>;

    /// Returns the rows of the table `child` of `side` that refer to one of `values`.
    fn children(&self, side: Side, child: &str, link: &Foreign, values: &BTreeSet<Key>) -> Vec<Referrer>;

    /// Returns how tables of `side` that take no part refer to those that do, by their names.
    fn outside(&self, side: Side) -> Vec<(String, Foreign)>;
}

/// Both sides keep their own foreign keys, and every table takes part: nothing needs to be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingBroken;

impl Beside for NothingBroken {
    fn parent(&self, _: Side, _: &Foreign, _: &[&Value]) -> Option<Key> {
        // A row that has not changed: its value is among no changes.
        Some(Key::new())
    }

    fn children(&self, _: Side, _: &str, _: &Foreign, _: &BTreeSet<Key>) -> Vec<Referrer> {
        vec![]
    }

    fn outside(&self, _: Side) -> Vec<(String, Foreign)> {
        vec![]
    }
}

/// Whether it is the hub, a table, and its columns.
type Link = (bool, String, Vec<usize>);

/// What was asked before: the rows that refer to a value.
#[derive(Default)]
pub(super) struct Referrers(BTreeMap<Link, BTreeMap<Key, Vec<Referrer>>>);

/// The values of a parent's columns that changed rows hold or held.
struct Parents<'a> {
    /// Who holds or ever held a value.
    ever: BTreeMap<Key, BTreeSet<At<'a>>>,
    /// What the side has before and after the plan.
    now: BTreeSet<Key>,
    then: BTreeSet<Key>,
}

impl<'a> Work<'a> {
    /// Decides rows of one side that would refer to nothing; false when there is none.
    pub(super) fn foreign(&mut self, side: Side) -> bool {
        let mut moved = false;
        for index in 0..self.tables.len() {
            for position in 0..self.tables[index].shape.foreign.len() {
                moved |= self.one_foreign(index, position, side);
            }
        }
        for (child, link) in self.beside.outside(side) {
            if let Some(parent) = self.by_name.get(&link.parent.to_ascii_lowercase()).copied()
                && self.tables[parent].paused.is_none()
            {
                let parents = self.parents(parent, &link, side);
                moved |= self.left_behind(&child, None, &link, &parents, side);
            }
        }
        moved
    }

    fn parents(&self, parent_index: usize, link: &Foreign, side: Side) -> Parents<'a> {
        let tables = self.tables;
        let parent = &tables[parent_index];
        let mut out = Parents { ever: BTreeMap::new(), now: BTreeSet::new(), then: BTreeSet::new() };
        for key in parent.changes.keys() {
            let at = (parent_index, key);
            let change = self.change(at);
            let value = |row: Option<&Row>| row.and_then(|r| parent.shape.value_of(r, &link.parent_columns));
            for value in [&change.base, &change.hub, &change.spoke].into_iter().filter_map(|r| value(r.as_ref())) {
                out.ever.entry(value).or_default().insert(at);
            }
            out.now.extend(value(change.side(side)));
            if let Some(value) = value(self.after(at, side)) {
                out.ever.entry(value.clone()).or_default().insert(at);
                out.then.insert(value);
            }
        }
        out
    }

    fn one_foreign(&mut self, index: usize, position: usize, side: Side) -> bool {
        let tables = self.tables;
        let link = &tables[index].shape.foreign[position];
        let Some(&parent_index) = self.by_name.get(&link.parent.to_ascii_lowercase()) else {
            return self.parent_outside(index, link, side);
        };
        let parent = &tables[parent_index];
        if parent.paused.is_some() {
            return self.hold_new_references(index, &link.columns, "it refers to a table that is paused");
        }
        if tables[index].paused.is_some() {
            return self.hold_deletions(parent_index, "a table that refers to it is paused");
        }
        let known = self.parents(parent_index, link, side);
        let key_of = |values: &[&Value]| {
            write_key(values.iter().zip(&link.parent_columns).map(|(v, p)| (*v, parent.shape.collation(*p))))
        };
        let mut moved = false;
        for key in tables[index].changes.keys() {
            let at = (index, key);
            let change = self.change(at);
            let reference = |row: Option<&Row>| values(row, &link.columns).map(|v| key_of(&v));
            let Some(value) = reference(self.after(at, side)) else { continue };
            // As the side has it, or had it when the answer that is taken back was given.
            let stands = reference(change.side(side)).as_ref() == Some(&value)
                || self.dangles(at, side).any(|columns| *columns == link.columns);
            if stands && !self.is_open(at) {
                // As good as unchanged: the parent is what is to be decided.
                continue;
            }
            let value = match (known.ever.contains_key(&value), stands) {
                (true, _) => value,
                // The plan leaves the parent as it is, wherever that is.
                (false, true) => continue,
                (false, false) => match self.other_spelling(at, link, side) {
                    Some(value) if known.ever.contains_key(&value) => value,
                    Some(_) => continue,
                    None => {
                        moved |= self.refers_to_nothing(at, link);
                        continue;
                    }
                },
            };
            let Some(parents) = known.ever.get(&value) else { continue };
            // On a parent that both sides changed alike, or deleted, there is nothing to decide.
            let parents: Vec<At<'a>> = parents.iter().copied().filter(|p| self.is_open(*p)).collect();
            let is_new = reference(change.base.as_ref()).as_ref() != Some(&value);
            let waits = parents.iter().copied().find(|p| *p != at && self.is_held(*p));
            if let Some(parent) = waits.filter(|_| is_new && !self.is_held(at)) {
                moved |= self.hold_with(at, "it refers to a row that waits", parent);
                continue;
            }
            let before = stands && !known.now.contains(&value);
            if known.then.contains(&value) || before {
                continue;
            }
            let holds = |at: At<'a>, side: Side| {
                let row = self.change(at).side(side);
                row.and_then(|r| parent.shape.value_of(r, &link.parent_columns)).as_ref() == Some(&value)
            };
            let broken = SIDES.iter().find(|s| {
                reference(change.side(**s)).as_ref() == Some(&value) && !parents.iter().any(|p| holds(*p, **s))
            });
            let name = &parent.shape.name;
            let because = match broken {
                Some(own) => format!(
                    "a row of {name} that it refers to is gone on the {own} itself: put that row back there, or \
                     change or delete this one"
                ),
                None => format!("a row of {name} that it refers to is gone on the other side"),
            };
            let mut group = vec![at];
            group.extend(parents.into_iter().filter(|p| *p != at));
            moved |= self.decide(&group, "foreign_key", &[at], &link.columns, &because);
        }
        let child = &tables[index].shape.name;
        moved | self.left_behind(child, Some(index), link, &known, side)
    }

    /// Returns the value of the parent that a row refers to, by the equality of the sides themselves.
    fn other_spelling(&self, at: At<'a>, link: &Foreign, side: Side) -> Option<Key> {
        let row = self.after(at, side);
        let values = values(row, &link.columns)?;
        let other = if side == Side::Hub { Side::Spoke } else { Side::Hub };
        self.beside.parent(side, link, &values).or_else(|| {
            // A parent that comes with this plan is among the changes.
            self.beside.parent(other, link, &values)
        })
    }

    fn refers_to_nothing(&mut self, at: At<'a>, link: &Foreign) -> bool {
        let because = format!(
            "it refers to a row of {} that is not there: add that row, or change or delete this one",
            link.parent
        );
        self.decide(&[at], "foreign_key", &[at], &link.columns, &because)
    }

    /// References to a table that takes no part: its rows are where they are.
    fn parent_outside(&mut self, index: usize, link: &Foreign, side: Side) -> bool {
        let tables = self.tables;
        if tables[index].paused.is_some() {
            return false;
        }
        let mut moved = false;
        for key in tables[index].changes.keys() {
            let at = (index, key);
            let Some(after) = values(self.after(at, side), &link.columns) else { continue };
            if values(self.change(at).side(side), &link.columns).as_ref() == Some(&after)
                || self.beside.parent(side, link, &after).is_some()
            {
                continue;
            }
            let because = format!(
                "it refers to a row of {} that the {side} does not have, and that table takes no part in the sync: \
                 add that row there, or change or delete this one",
                link.parent
            );
            moved |= self.decide(&[at], "foreign_key", &[at], &link.columns, &because);
        }
        moved
    }

    /// Parents that would go although unchanged rows of the side refer to them.
    fn left_behind(
        &mut self,
        child: &str,
        index: Option<usize>,
        link: &Foreign,
        known: &Parents<'a>,
        side: Side,
    ) -> bool {
        let gone: BTreeSet<Key> = known.now.difference(&known.then).cloned().collect();
        if gone.is_empty() {
            return false;
        }
        let asked_for = (side == Side::Hub, child.to_owned(), link.columns.clone());
        let asked = self.referrers.0.entry(asked_for.clone()).or_default();
        let new: BTreeSet<Key> = gone.iter().filter(|v| !asked.contains_key(*v)).cloned().collect();
        if !new.is_empty() {
            let found = self.beside.children(side, child, link, &new);
            asked.extend(new.into_iter().map(|v| (v, vec![])));
            for one in found {
                asked.entry(one.value.clone()).or_default().push(one);
            }
        }
        let mut left: Vec<(Key, Vec<String>)> = Vec::new();
        for value in gone {
            let all = self.referrers.0.get(&asked_for).and_then(|asked| asked.get(&value)).into_iter().flatten();
            // Children that the sides do not agree on were looked at one by one.
            let is_seen = |r: &&Referrer| {
                let key = index.and_then(|i| self.tables[i].changes.get_key_value(&r.key).map(|(key, _)| (i, key)));
                key.is_some_and(|at| self.is_open(at))
            };
            let still: Vec<String> = all.filter(|r| !is_seen(r)).map(|r| r.shown.clone()).collect();
            if !still.is_empty() {
                left.push((value, still));
            }
        }
        let mut moved = false;
        for (value, children) in left {
            let Some(parents) = known.ever.get(&value) else { continue };
            let group: Vec<At<'a>> = parents.iter().copied().filter(|p| self.is_open(*p)).collect();
            let more =
                if children.len() > NAMED { format!(" and {} more", children.len() - NAMED) } else { String::new() };
            let verb = if children.len() == 1 { "refers" } else { "refer" };
            let names = children.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let because = format!(
                "{names}{more} on the {side} still {verb} to it: change or delete what refers to it on both sides, or \
                 take the side that has it"
            );
            moved |= self.decide(&group, "foreign_key", &group, &[], &because);
        }
        moved
    }

    /// Says whether the sides differ in a row, or the plan changes it.
    fn is_open(&self, at: At<'a>) -> bool {
        let change = self.change(at);
        change.hub != change.spoke || SIDES.iter().any(|s| self.after(at, *s) != change.side(*s))
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
}

/// Returns some cells of a row; none when one of them is NULL, which refers to nothing.
fn values<'r>(row: Option<&'r Row>, columns: &[usize]) -> Option<Vec<&'r Value>> {
    columns.iter().map(|i| row?.get(*i).filter(|v| !v.is_null())).collect()
}
