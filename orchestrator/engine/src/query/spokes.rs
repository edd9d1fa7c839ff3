//! How each spoke stands.

use cathedral_model::ecosystem::Spoke;
use cathedral_model::ids::ConflictId;
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{SpokeSummary, Work};
use cathedral_model::time::Timestamp;

use super::{Attempt, Facts, Health, SpokeView, ended_well, held, is_bad};

/// Returns all spokes, those that need attention first, else in the order of the configuration.
#[must_use]
pub fn spoke_views(facts: &Facts) -> Vec<SpokeView> {
    let mut views: Vec<SpokeView> = facts.ecosystem.spokes.iter().map(|spoke| view(facts, spoke)).collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.health));
    views
}

fn view(facts: &Facts, spoke: &Spoke) -> SpokeView {
    let name = &spoke.name;
    let touched: Vec<(&RunRow, &SpokeSummary)> = facts
        .runs
        .iter()
        .filter(|row| matches!(row.request.work, Work::Sync(_)))
        .filter_map(|row| Some((row, row.summary.spokes.iter().find(|s| &s.name == name)?)))
        .collect();
    let attempt =
        |(row, s): &(&RunRow, &SpokeSummary)| Attempt { run: row.run, at: row.changed_at, result: s.result.clone() };
    let last = touched.iter().find(|(row, _)| row.state == "finished");
    let success = touched.iter().find(|(row, s)| ended_well(row) && !is_bad(&s.result));
    let is_running = touched.iter().any(|(row, _)| row.state == "running");
    let quiet_at = facts.watching.quiet_at.get(name).copied();
    let good_at = success.map(|(row, _)| row.changed_at).max(quiet_at);
    let conflicts: Vec<ConflictId> = facts.conflicts.iter().filter(|c| &c.spoke == name).map(|c| c.id).collect();
    let allowed_ms = facts.objectives.rpo_ms;
    let lag_ms = good_at.map(|at| facts.now.ms_since(at));
    let snapshot = facts.snapshots.as_ref().ok().and_then(|list| {
        let newest = list.iter().rev().find(|s| held(s).contains(name))?;
        Some((newest.meta.id.clone(), newest.meta.at))
    });
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
