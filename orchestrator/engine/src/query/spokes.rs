//! How each spoke stands.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::ecosystem::Spoke;
use cathedral_model::ids::{ConflictId, SpokeName};
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{SpokeSummary, Work};
use cathedral_model::snapshot::SnapshotInfo;
use cathedral_model::time::Timestamp;

use super::{Attempt, Facts, Health, SpokeView, ended_well, is_bad};

/// The facts by spoke, so that a thousand spokes cost one look at each fact and not a thousand.
#[derive(Default)]
struct BySpoke<'a> {
    /// Newest first.
    touched: BTreeMap<&'a SpokeName, Vec<(&'a RunRow, &'a SpokeSummary)>>,
    conflicts: BTreeMap<&'a SpokeName, Vec<ConflictId>>,
    /// The newest snapshot that holds it.
    held: BTreeMap<&'a SpokeName, &'a SnapshotInfo>,
}

impl<'a> BySpoke<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut out = Self::default();
        for row in facts.runs.iter().filter(|row| matches!(row.request.work, Work::Sync(_))) {
            for summary in &row.summary.spokes {
                out.touched.entry(&summary.name).or_default().push((row, summary));
            }
        }
        for conflict in &facts.conflicts {
            out.conflicts.entry(&conflict.spoke).or_default().push(conflict.id);
        }
        let mut missing: BTreeSet<&SpokeName> = facts.ecosystem.spokes.iter().map(|spoke| &spoke.name).collect();
        for info in facts.snapshots.iter().flat_map(|list| list.iter().rev()) {
            if missing.is_empty() {
                break;
            }
            for part in &info.parts {
                if missing.remove(&part.key.spoke) {
                    out.held.insert(&part.key.spoke, info);
                }
            }
        }
        out
    }
}

/// Returns all spokes, those that need attention first, else in the order of the configuration.
#[must_use]
pub fn spoke_views(facts: &Facts) -> Vec<SpokeView> {
    let by_spoke = BySpoke::of(facts);
    let mut views: Vec<SpokeView> = facts.ecosystem.spokes.iter().map(|spoke| view(facts, &by_spoke, spoke)).collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.health));
    views
}

fn view(facts: &Facts, by_spoke: &BySpoke<'_>, spoke: &Spoke) -> SpokeView {
    let name = &spoke.name;
    let touched: &[(&RunRow, &SpokeSummary)] = by_spoke.touched.get(name).map_or(&[], Vec::as_slice);
    let attempt =
        |(row, s): &(&RunRow, &SpokeSummary)| Attempt { run: row.run, at: row.changed_at, result: s.result.clone() };
    let last = touched.iter().find(|(row, _)| row.state == "finished");
    let success = touched.iter().find(|(row, s)| ended_well(row) && !is_bad(&s.result));
    let is_running = touched.iter().any(|(row, _)| row.state == "running");
    let quiet_at = facts.watching.quiet_at.get(name).copied();
    let good_at = success.map(|(row, _)| row.changed_at).max(quiet_at);
    let conflicts: Vec<ConflictId> = by_spoke.conflicts.get(name).cloned().unwrap_or_default();
    let allowed_ms = facts.objectives.rpo_ms;
    let lag_ms = good_at.map(|at| facts.now.ms_since(at));
    let snapshot = by_spoke.held.get(name).map(|newest| (newest.meta.id.clone(), newest.meta.at));
    let left_out: Vec<String> = last.map(|(_, s)| s.warnings.clone()).unwrap_or_default();
    let (health, state, note) =
        stand(facts, spoke, last.copied(), success.is_some(), is_running, &conflicts, &left_out, lag_ms);
    let memory = facts.memories.get(name).cloned().unwrap_or_default();
    SpokeView {
        name: name.clone(),
        kind: spoke.kind(),
        role: spoke.role.clone(),
        data_sync: spoke.data_sync,
        health,
        state,
        good_at,
        lag_ms,
        allowed_ms,
        hub_position: memory.hub_position,
        spoke_position: memory.spoke_position,
        conflicts,
        last_attempt: last.map(attempt),
        last_success: success.map(attempt),
        note,
        left_out,
        snapshot,
    }
}

#[expect(clippy::too_many_arguments, reason = "one flat decision over the facts of one spoke")]
fn stand(
    facts: &Facts,
    spoke: &Spoke,
    last: Option<(&RunRow, &SpokeSummary)>,
    has_success: bool,
    is_running: bool,
    conflicts: &[ConflictId],
    left_out: &[String],
    lag_ms: Option<u64>,
) -> (Health, &'static str, String) {
    if let Some(why) = facts.watching.failing.get(&spoke.name) {
        return (Health::Bad, "unreachable", why.clone());
    }
    if let Some((_, s)) = last
        && is_bad(&s.result)
    {
        let state = match s.result.as_str() {
            "unreachable" => "unreachable",
            "refused" => "held back",
            "partial" => "partly synced",
            _ => "failing",
        };
        return (Health::Bad, state, s.note.clone());
    }
    if is_running {
        return (Health::Running, "running", String::new());
    }
    if let Some(pause) = paused(facts, spoke) {
        return (Health::Paused, "paused", pause);
    }
    if !has_success {
        return (Health::Attention, "never synced", "cathedral sync".to_owned());
    }
    if let Some(first) = conflicts.first() {
        return (Health::Conflict, "conflict", format!("cathedral conflicts show {first}"));
    }
    if let (Some(lag), Some(allowed)) = (lag_ms, facts.objectives.rpo_ms)
        && facts.watching.checked_at.is_some()
        && lag > allowed
    {
        return (Health::Bad, "late", "not looked at within the time that the objective allows".to_owned());
    }
    if let Some(first) = left_out.first() {
        let more = left_out.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return (Health::Attention, "left out", format!("{first}{more}"));
    }
    (Health::Ok, "in sync", String::new())
}

/// Why the schedule of a spoke rests, if it does.
fn paused(facts: &Facts, spoke: &Spoke) -> Option<String> {
    let name = format!("sync:{}", spoke.name);
    let state = facts.schedules.iter().find(|s| s.schedule.name == name)?;
    let pause = state.pause.as_ref()?;
    let is_over = pause.until.is_some_and(|until: Timestamp| until <= facts.now);
    (!is_over).then(|| pause.reason.clone())
}
