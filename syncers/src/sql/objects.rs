//! What a schema holds beside tables: indexes, views and triggers, and the two numbers of the application.
//!
//! What only one side has is made on the other, as a new table is. What both changed, or one dropped, waits for a
//! person: nothing is dropped or replaced. Where a table is paused, the numbers stay: an application reads from them
//! which columns there are.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::ecosystem::Side;
use cathedral_model::plan::{Action, ConflictDraft, SideValue};
use cathedral_model::ports::PortError;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Object, Table};
use super::drift::words;
use super::form::plain;
use super::payload::Step;
use super::plan::{Open, Planner};

/// What both sides agreed on last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Agreed {
    pub objects: Vec<Object>,
    /// `user_version` and `application_id`, where both sides have had the same.
    pub numbers: BTreeMap<String, i64>,
}

/// Triggers have names of their own; names are compared as SQLite does.
type Name = (bool, String);

fn named(objects: &[Object]) -> BTreeMap<Name, &Object> {
    objects.iter().map(|o| ((o.kind == "trigger", o.name.to_ascii_lowercase()), o)).collect()
}

fn numbers(catalog: &Catalog) -> [(&'static str, i64); 2] {
    [("user_version", catalog.settings.user_version), ("application_id", catalog.settings.application_id)]
}

fn same(one: &Object, other: &Object) -> bool {
    one.kind == other.kind && words(&one.sql) == words(&other.sql)
}

impl Agreed {
    /// Returns what both sides have alike now, and what was agreed on where they differ.
    pub fn now(hub: &Catalog, far: &Catalog, past: Option<&Self>) -> Self {
        let (h, s) = (named(&hub.objects), named(&far.objects));
        let none = Self::default();
        let old = named(&past.unwrap_or(&none).objects);
        let names: BTreeSet<&Name> = h.keys().chain(s.keys()).chain(old.keys()).collect();
        let agreed = |name: &Name| match (h.get(name), s.get(name)) {
            (None, None) => None,
            (Some(one), Some(other)) if same(one, other) => Some((*one).clone()),
            _ => old.get(name).map(|o| (*o).clone()),
        };
        let objects = names.into_iter().filter_map(agreed).collect();
        let mut out = Self { objects, numbers: BTreeMap::new() };
        for ((name, at_hub), (_, at_spoke)) in numbers(hub).into_iter().zip(numbers(far)) {
            let old = past.and_then(|p| p.numbers.get(name).copied());
            if let Some(value) = if at_hub == at_spoke { Some(at_hub) } else { old } {
                out.numbers.insert(name.to_owned(), value);
            }
        }
        out
    }
}

impl Planner<'_> {
    /// Plans what is no table; `diffs` says which tables take part.
    pub(super) fn objects(&mut self, hub: &Open, far: &Open, past: Option<&Agreed>) {
        let none = Agreed::default();
        let old = named(&past.unwrap_or(&none).objects);
        let (h, s) = (named(&hub.catalog.objects), named(&far.catalog.objects));
        let names: BTreeSet<Name> = h.keys().chain(s.keys()).cloned().collect();
        let before = self.conflicts.len();
        // In the order in which they were made: a trigger may be one of a view.
        let place = |name: &Name| {
            let at =
                |all: &[Object]| all.iter().position(|o| (o.kind == "trigger", o.name.to_ascii_lowercase()) == *name);
            (at(&hub.catalog.objects), at(&far.catalog.objects))
        };
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_by_key(place);
        for name in names {
            let base = old.get(&name).copied();
            match (h.get(&name).copied(), s.get(&name).copied()) {
                (Some(one), Some(other)) => {
                    if !same(one, other) && self.takes_part(one) && self.takes_part(other) {
                        let why = "both sides have it, and define it differently: give it one definition on both";
                        self.dispute(one, base, Some(one), Some(other), why.to_owned());
                    }
                }
                (Some(one), None) => self.one_sided(one, base, Side::Spoke, &hub.catalog, &far.catalog),
                (None, Some(one)) => self.one_sided(one, base, Side::Hub, &far.catalog, &hub.catalog),
                (None, None) => {}
            }
        }
        let is_settled = self.conflicts.len() == before && self.diffs.iter().all(|d| d.paused.is_none());
        for ((name, at_hub), (_, at_spoke)) in numbers(&hub.catalog).into_iter().zip(numbers(&far.catalog)) {
            if at_hub != at_spoke && is_settled {
                self.number(name, past.and_then(|p| p.numbers.get(name).copied()), at_hub, at_spoke);
            }
        }
    }

    /// Tables that are paused or left out keep what belongs to them.
    fn takes_part(&self, object: &Object) -> bool {
        if object.kind == "view" {
            return self.included(&object.name);
        }
        let of = self.diffs.iter().find(|d| d.shape.name.eq_ignore_ascii_case(&object.table));
        of.map_or_else(|| self.included(&object.table), |diff| diff.paused.is_none())
    }

    fn one_sided(&mut self, object: &Object, base: Option<&Object>, to: Side, from: &Catalog, into: &Catalog) {
        if !self.takes_part(object) || !self.may_write(to) {
            return;
        }
        let on_hub = to == Side::Spoke;
        let (hub, spoke) = if on_hub { (Some(object), None) } else { (None, Some(object)) };
        if base.is_some() {
            let why = format!(
                "the {} has dropped it, and nothing is dropped by a sync: drop it on the {}, too, or make it again",
                to.as_str(),
                to.other().as_str()
            );
            self.dispute(object, base, hub, spoke, why);
            return;
        }
        let key = object.table.to_ascii_lowercase();
        let own = into.tables.get(&key);
        if object.kind != "view" && own.is_none() && from.tables.contains_key(&key) {
            // It comes with its table.
            return;
        }
        let name = (object.kind == "trigger", object.name.to_ascii_lowercase());
        let why = match into.taken.get(&name) {
            Some(there) => Some(format!("the {} has {there} already, rename one of the two", to.as_str())),
            None => refused(object, own).map(|why| format!("it cannot be made on the {}: {why}", to.as_str())),
        };
        if let Some(why) = why {
            self.dispute(object, base, hub, spoke, why);
            return;
        }
        self.steps.push(Step::CreateObject { side: to, object: object.clone() });
        self.actions.push(Action {
            side: to,
            target: plain(&object.name, 120),
            action: "create".into(),
            from: String::new(),
            to: object.kind.clone(),
            reason: format!("only the {} has this {}", to.other().as_str(), object.kind),
        });
    }

    fn dispute(
        &mut self,
        object: &Object,
        base: Option<&Object>,
        hub: Option<&Object>,
        spoke: Option<&Object>,
        why: String,
    ) {
        let shown = |o: Option<&Object>| o.map(|o| SideValue { shown: plain(&o.sql, 240), content: None });
        self.schema_conflict(&object.kind, &object.name, why, [shown(base), shown(hub), shown(spoke)]);
    }

    fn schema_conflict(&mut self, kind: &str, name: &str, why: String, [base, hub, spoke]: [Option<SideValue>; 3]) {
        self.conflicts.push(ConflictDraft {
            item: format!("{kind} {} (schema)", plain(name, 400)),
            place: format!("{kind} {}", plain(name, 120)),
            conflict_kind: "schema".into(),
            because: why,
            base,
            hub,
            spoke,
            suggested: None,
            table: None,
            pk: vec![],
            fields: vec![],
            group: vec![],
        });
    }

    fn number(&mut self, name: &'static str, base: Option<i64>, hub: i64, spoke: i64) {
        // A file that was never given a number holds zero.
        let base_or_none = base.unwrap_or_default();
        let (side, from, to) = match (hub == base_or_none, spoke == base_or_none) {
            (true, false) => (Side::Hub, hub, spoke),
            (false, true) => (Side::Spoke, spoke, hub),
            _ => {
                let shown = |n: i64| Some(SideValue { shown: n.to_string(), content: None });
                let why = format!("both sides have set it: set it to one value on both with `pragma {name} = N`");
                self.schema_conflict("pragma", name, why, [base.and_then(shown), shown(hub), shown(spoke)]);
                return;
            }
        };
        if !self.may_write(side) {
            return;
        }
        self.steps.push(Step::Number { side, name: name.to_owned(), from, to });
        self.actions.push(Action {
            side,
            target: name.into(),
            action: "update".into(),
            from: from.to_string(),
            to: to.to_string(),
            reason: format!("changed on the {} only", side.other().as_str()),
        });
    }
}

/// Says why the object cannot be made on a table, tried in memory.
fn refused(object: &Object, table: Option<&Table>) -> Option<String> {
    let table = table?;
    let conn = Connection::open_in_memory().ok()?;
    conn.execute_batch("pragma trusted_schema = off;").ok()?;
    conn.execute(&table.sql, []).ok()?;
    conn.execute(&object.sql, []).err().map(|e| e.to_string())
}

/// Makes an object that is planned. Returns whether anything was written; an error is what the database says.
pub(super) fn make(conn: &Connection, object: &Object, have: &Catalog) -> rusqlite::Result<Result<bool, String>> {
    let name = (object.kind == "trigger", object.name.to_ascii_lowercase());
    if named(&have.objects).get(&name).is_some_and(|there| same(there, object)) {
        return Ok(Ok(false));
    }
    if let Some(there) = have.taken.get(&name) {
        return Ok(Err(format!("there is {there} by now")));
    }
    super::marker::make_room(conn, std::slice::from_ref(&object.sql))?;
    // `execute` refuses more than one statement in a text.
    Ok(conn.execute(&object.sql, []).map(|_| true).map_err(|e| format!("the database refuses it: {e}")))
}

/// Sets a number that still is what the plan saw. Returns whether it was written.
pub(super) fn set(conn: &Connection, name: &str, from: i64, to: i64) -> Result<Option<bool>, PortError> {
    let damaged = || PortError::Corrupt("the instructions of a plan are damaged".to_owned());
    if !["user_version", "application_id"].contains(&name) {
        return Err(damaged());
    }
    let failed = |e: rusqlite::Error| PortError::permanent(format!("pragma {name}: {e}"));
    let now: i64 = conn.pragma_query_value(None, name, |row| row.get(0)).map_err(failed)?;
    if now == to {
        return Ok(Some(false));
    }
    if now != from {
        return Ok(None);
    }
    conn.pragma_update(None, name, to).map_err(failed)?;
    Ok(Some(true))
}
