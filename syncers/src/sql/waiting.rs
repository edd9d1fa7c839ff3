//! Conflicts that the inbox has open, and that no dispute of their own keeps open now.
//!
//! An answer to one conflict can leave the rows of another waiting: they still differ, and what they are tied to is
//! not decided. Such a conflict goes on under its number and says what it waits for. Only where the sides agree, or
//! this plan makes them agree, is it not among the plan's conflicts.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::rows::{Change, Mode, RowConflict, RowId, RowPlan};
use cathedral_model::plan::ConflictDraft;

use super::answers;
use super::draft::place;
use super::plan::Planner;

impl Planner<'_> {
    /// Puts conflicts that still wait back among those of the plan. `put_back` are the rows of answers that are
    /// taken back.
    pub(super) fn go_on(&mut self, plan: &mut RowPlan, waiting: &[ConflictDraft], put_back: &BTreeSet<RowId>) {
        let mut known: BTreeSet<RowId> = plan.conflicts.iter().map(|c| (c.table.clone(), c.key.clone())).collect();
        let held: BTreeSet<RowId> = plan.held.iter().map(|(id, _)| id.clone()).collect();
        let mut open: BTreeMap<RowId, &ConflictDraft> = BTreeMap::new();
        for draft in waiting.iter().filter(|d| d.conflict_kind != "schema") {
            let Some(diff) = draft.table.as_deref().and_then(|table| self.diff(table)) else { continue };
            if diff.paused.is_some() {
                // Nobody has looked at its rows.
                self.conflicts.push(draft.clone());
            } else if let Some(id) = answers::row_of(draft, &diff.shape) {
                open.insert(id, draft);
            }
        }
        let mut found = Vec::new();
        for (id, draft) in &open {
            let is_whole = id.1.is_empty() && self.policy.mode == Mode::Table && held.iter().any(|h| h.0 == id.0);
            if put_back.contains(id) {
                // What is taken back beside it left it as it was.
                self.conflicts.push((*draft).clone());
                continue;
            }
            if !(is_whole || held.contains(id)) || !known.insert(id.clone()) {
                continue;
            }
            if let Some(conflict) = self.tied(plan, id, draft, &open) {
                found.push(conflict);
            }
        }
        plan.held.retain(|(id, _)| !open.contains_key(id));
        plan.conflicts.extend(found);
    }

    /// A conflict that waits for another.
    fn tied(
        &self,
        plan: &RowPlan,
        id: &RowId,
        draft: &ConflictDraft,
        open: &BTreeMap<RowId, &ConflictDraft>,
    ) -> Option<RowConflict> {
        let diff = self.diff(&id.0)?;
        let (table, key) = id.clone();
        let none = Change { base: None, hub: None, spoke: None, counts: [0; 3] };
        let change = if key.is_empty() { &none } else { diff.changes.get(&key)? };
        let Change { base, hub, spoke, .. } = change.clone();
        let kind = kind_of(&draft.conflict_kind, change);
        let all = 0..diff.shape.columns.len();
        let columns = match (&base, &hub, &spoke) {
            (_, Some(hub), Some(spoke)) => all.filter(|i| hub.get(*i) != spoke.get(*i)).collect(),
            (None, ..) if !key.is_empty() => all.collect(),
            _ => vec![],
        };
        let why = plan.held.iter().find(|(held, _)| held == id || (key.is_empty() && held.0 == id.0));
        let because = self.because(plan, id, open).or_else(|| why.map(|(_, why)| why.clone()))?;
        Some(RowConflict { table, key, kind, columns, because, base, hub, spoke, group: vec![] })
    }

    /// Says what a row waits for, and what to do about it.
    fn because(&self, plan: &RowPlan, id: &RowId, open: &BTreeMap<RowId, &ConflictDraft>) -> Option<String> {
        let other = plan.waits_for.get(id).filter(|other| *other != id)?;
        if let Some(draft) = open.get(other) {
            return Some(format!("it is tied to {}, which is in dispute as well: answer that one first", draft.place));
        }
        let conflict = plan.conflicts.iter().find(|c| (&c.table, &c.key) == (&other.0, &other.1))?;
        let any = conflict.hub.as_ref().or(conflict.spoke.as_ref()).or(conflict.base.as_ref());
        let other = place(&self.diff(&other.0)?.shape, any);
        Some(format!("{other} could not stand beside it: {}", conflict.because))
    }
}

/// The kind by which a conflict that waits is known now: a row that one side has deleted and the other changed is in
/// dispute by itself.
fn kind_of(known: &str, change: &Change) -> &'static str {
    let Change { base, hub, spoke, .. } = change;
    match (hub, spoke) {
        (None, Some(_)) if base.is_some() && spoke != base => return "delete/update",
        (Some(_), None) if base.is_some() && hub != base => return "update/delete",
        _ => {}
    }
    let kinds = ["update/update", "insert/insert", "unique", "check", "table"];
    kinds.into_iter().find(|kind| *kind == known).unwrap_or("foreign_key")
}
