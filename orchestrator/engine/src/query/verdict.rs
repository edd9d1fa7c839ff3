//! The sentence, and what it rests on.

use std::collections::BTreeMap;

use cathedral_model::ids::{RunId, SpokeName};
use cathedral_model::run::{RunResult, Work};
use cathedral_model::time::Timestamp;
use cathedral_model::upkeep::Upkeep;

use super::{Facts, Health, Need, RunningView, SpokeView, Verdict, endpoints, places, spoke_views};

/// A hub that has not looked at anything for this long does not know.
const SILENT_MS: u64 = 15 * 60_000;
const DAY_US: i64 = 86_400_000_000;

/// Returns how everything stands. The worst decides the sentence, in this order: unknown, not restorable,
/// objective missed or failing, damage that a copy covers, verification overdue, conflict, never synced, nothing.
#[must_use]
pub fn verdict(facts: &Facts) -> Verdict {
    let spokes = spoke_views(facts);
    let (verified_at, verify_failed) = verification(facts);
    let verified_at = verified_at.max(places::read_back_at(facts));
    let verify_failed = verify_failed.filter(|(_, at, _)| !places::is_mended(facts, *at) && Some(*at) > verified_at);
    let uncovered = not_in_a_snapshot(facts);
    let (health, code, sentence) = sentence(facts, &spokes, verified_at, verify_failed.as_ref());
    let rpo = spokes.iter().filter_map(|s| Some((s.name.clone(), s.lag_ms?))).max_by_key(|(_, lag)| *lag);
    let sealed = facts.runs.iter().find_map(|row| Some((row.summary.leaf?, row.changed_at)));
    let newest = facts.newest().map(|s| (s.meta.id.clone(), s.meta.at));
    Verdict {
        health,
        code,
        detail: detail(facts, verified_at, uncovered),
        sentence,
        as_of: facts.now,
        cursor: facts.cursor,
        objectives: facts.objectives,
        rpo,
        newest_snapshot: newest,
        verified_at,
        needs: needs(facts, &spokes, verified_at, verify_failed.as_ref(), uncovered),
        verify_failed,
        not_in_a_snapshot: uncovered,
        sealed,
        destinations: places::destinations(facts),
        running: running(facts),
        days: days(facts),
        spokes,
    }
}

fn sentence(
    facts: &Facts,
    spokes: &[SpokeView],
    verified_at: Option<Timestamp>,
    verify_failed: Option<&(RunId, Timestamp, String)>,
) -> (Health, u8, String) {
    let of = |health| spokes.iter().filter(move |s| s.health == health);
    let snapshots = match &facts.snapshots {
        Err(why) => return (Health::Unknown, 21, format!("I do not know: the vault cannot be read: {why}.")),
        Ok(list) => list,
    };
    if let Some(at) = facts.watching.checked_at
        && facts.now.ms_since(at) > SILENT_MS
    {
        return (Health::Unknown, 22, format!("I do not know: the hub has not checked since {}.", minute(at)));
    }
    if let Some(loss) = places::loss(facts) {
        return loss;
    }
    if snapshots.is_empty() {
        return (Health::Bad, 22, "Nothing can be restored yet: there is no snapshot.".to_owned());
    }
    if let Some((run, at, _)) = verify_failed {
        let sentence =
            format!("Not everything can be restored: the check of {} (run {run}) found faults.", minute(*at));
        return (Health::Bad, 21, sentence);
    }
    let without: Vec<&SpokeView> = spokes.iter().filter(|s| s.snapshot.is_none()).collect();
    if let Some(first) = without.first().filter(|s| s.last_success.is_some()) {
        return (Health::Bad, 21, format!("{} cannot be restored: it is in no snapshot.", first.name));
    }
    if let Some(late) = of(Health::Bad).next() {
        let more = of(Health::Bad).count() - 1;
        let more = if more > 0 { format!(" and {} more", count(more, "spoke", "spokes")) } else { String::new() };
        let good = late.good_at.map_or("never".to_owned(), |at| format!("last good copy {}", ago(facts.now, at)));
        let code = if late.state == "late" { 22 } else { 12 };
        return (Health::Bad, code, format!("Safe, but {} is {}{more}: {good}.", late.name, late.state));
    }
    if let Some(damage) = places::damage(facts) {
        return damage;
    }
    if let Some(every) = facts.objectives.verify_every_ms
        && facts.watching.checked_at.is_some()
    {
        // Before the first check is due, a young hub is not late.
        let first = facts.snapshots.as_ref().ok().and_then(|list| list.first()).map(|s| s.meta.at);
        let since = verified_at.or(first);
        if since.is_some_and(|at| facts.now.ms_since(at) > every.saturating_mul(2)) {
            let last = verified_at.map_or("never".to_owned(), |at| ago(facts.now, at));
            return (Health::Attention, 22, format!("Safe, but not read back in time: last checked {last}."));
        }
    }
    // What a snapshot could not take in is named by it; nobody may believe that it is there.
    let left_out: usize = facts.newest().iter().flat_map(|s| &s.parts).map(|p| p.skipped.len()).sum();
    let everything = match left_out {
        0 => "Everything can be restored.".to_owned(),
        n => format!("Everything but {} can be restored.", count(n, "thing", "things")),
    };
    let waiting = facts.conflicts.len();
    if waiting > 0 {
        let wait = if waiting == 1 { "conflict waits" } else { "conflicts wait" };
        return (Health::Conflict, 11, format!("{everything} {waiting} {wait} for you."));
    }
    let fresh = spokes.iter().filter(|s| s.state == "never synced").count();
    if fresh > 0 {
        let what = count(fresh, "spoke has", "spokes have");
        return (
            Health::Attention,
            12,
            format!("Everything that was synced can be restored. {what} never been synced."),
        );
    }
    (if left_out == 0 { Health::Ok } else { Health::Attention }, 0, everything)
}

/// What the sentence rests on, in one or two sentences with ages.
fn detail(facts: &Facts, verified_at: Option<Timestamp>, uncovered: Option<RunId>) -> String {
    let Some(newest) = facts.newest() else {
        return "The first sync or `cathedral snapshot create` takes one.".to_owned();
    };
    let places = newest.destinations.iter().filter(|d| d.state == "held").count();
    let mut text = format!(
        "The newest snapshot is {} old and stands in {} of {} places.",
        age(facts.now.ms_since(newest.meta.at)),
        places,
        newest.destinations.len()
    );
    text.push_str(&match verified_at {
        Some(at) => format!(" Everything was last read back {}.", ago(facts.now, at)),
        None => " It has not been read back yet.".to_owned(),
    });
    if let Some(run) = uncovered {
        text.push_str(&format!(" What run {run} changed is in place and in no snapshot yet."));
    }
    text
}

/// The last good check of everything, and a later one that found faults.
fn verification(facts: &Facts) -> (Option<Timestamp>, Option<(RunId, Timestamp, String)>) {
    let mut failed = None;
    for row in facts.runs.iter().filter(|row| row.state == "finished") {
        let Work::Upkeep(request) = &row.request.work else { continue };
        if !matches!(request.upkeep, Upkeep::Verify { .. }) {
            continue;
        }
        match row.summary.result {
            Some(RunResult::Succeeded) => return (Some(row.changed_at), failed),
            Some(RunResult::Failed) if failed.is_none() => {
                let why = row.summary.error.clone().unwrap_or_default();
                failed = Some((row.run, row.changed_at, why));
            }
            _ => {}
        }
    }
    (None, failed)
}

/// The newest run whose changes are in no snapshot: a sync's own snapshot is taken before them.
fn not_in_a_snapshot(facts: &Facts) -> Option<RunId> {
    // A restore brings back what a snapshot holds.
    let syncs = facts.runs.iter().filter(|r| matches!(r.request.work, Work::Sync(_)));
    let changed = syncs.into_iter().find(|r| r.summary.spokes.iter().any(|s| s.changes_in + s.changes_out > 0))?;
    let newest = facts.newest();
    newest.is_none_or(|s| changed.summary.snapshot.as_ref() == Some(&s.meta.id)).then_some(changed.run)
}

fn needs(
    facts: &Facts,
    spokes: &[SpokeView],
    verified_at: Option<Timestamp>,
    verify_failed: Option<&(RunId, Timestamp, String)>,
    uncovered: Option<RunId>,
) -> Vec<Need> {
    let mut needs = vec![];
    if let Err(why) = &facts.snapshots {
        needs.push(Need {
            health: Health::Unknown,
            what: "The vault cannot be read".into(),
            why: why.clone(),
            link: "/snapshots".into(),
            command: "cathedral doctor".into(),
            since: None,
        });
    }
    if let Some((run, at, why)) = verify_failed {
        needs.push(Need {
            health: Health::Bad,
            what: "The last check found faults".into(),
            why: why.clone(),
            link: format!("/runs/{run}"),
            command: format!("cathedral run show {run}"),
            since: Some(*at),
        });
    }
    for spoke in spokes.iter().filter(|s| matches!(s.health, Health::Bad | Health::Attention)) {
        needs.push(Need {
            health: spoke.health,
            what: format!("{}: {}", spoke.name, spoke.state),
            why: spoke.note.clone(),
            link: format!("/spokes/{}", spoke.name),
            command: format!("cathedral sync {}", spoke.name),
            since: spoke.good_at,
        });
    }
    for conflict in &facts.conflicts {
        let answered = conflict.answer.is_some();
        needs.push(Need {
            health: Health::Conflict,
            what: format!("{}: {}", conflict.spoke, conflict.draft.place),
            why: if answered { "answered; the next run carries it out".into() } else { conflict.draft.because.clone() },
            link: format!("/conflicts/{}", conflict.id),
            command: format!("cathedral conflicts show {}", conflict.id),
            since: Some(conflict.opened_at),
        });
    }
    needs.extend(places::needs(facts));
    needs.extend(endpoints::needs(facts));
    if verified_at.is_none() && facts.newest().is_some() && facts.watching.checked_at.is_some() {
        needs.push(Need {
            health: Health::Attention,
            what: "No snapshot has been read back yet".into(),
            why: "a copy counts as good once it was read back".into(),
            link: "/schedules".into(),
            command: "cathedral verify --level full".into(),
            since: None,
        });
    }
    if let Some(run) = uncovered {
        needs.push(Need {
            health: Health::Attention,
            what: format!("What run {run} changed is in no snapshot yet"),
            why: "a sync's snapshot is taken before its changes".into(),
            link: "/snapshots".into(),
            command: "cathedral snapshot create".into(),
            since: None,
        });
    }
    needs.sort_by_key(|need| std::cmp::Reverse(need.health));
    needs
}

fn running(facts: &Facts) -> Vec<RunningView> {
    let mut usual: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in facts.runs.iter().filter(|r| r.state == "finished") {
        let spent: u64 = row.summary.phases.iter().map(|p| p.ms).sum();
        let times = usual.entry(kind(&row.request.work)).or_default();
        if spent > 0 && times.len() < 20 {
            times.push(spent);
        }
    }
    let median = |work: &Work| {
        let mut times = usual.get(&kind(work)).cloned().unwrap_or_default();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    };
    let rows = facts.runs.iter().filter(|r| r.state != "finished");
    let view = |row: &cathedral_model::ports::store::RunRow| {
        let phase = row.summary.phases.iter().rev().find(|p| p.result == "running" || p.result == "ok");
        RunningView {
            run: row.run,
            cause: row.request.cause.clone(),
            is_waiting: row.state == "queued",
            since: row.queued_at,
            phase: phase.map(|p| p.name.clone()).unwrap_or_default(),
            usual_ms: median(&row.request.work),
        }
    };
    rows.map(view).collect()
}

fn kind(work: &Work) -> String {
    match work {
        Work::Sync(sync) => {
            let names: Vec<&str> = sync.spokes.iter().map(SpokeName::as_str).collect();
            format!("sync {}", names.join(" "))
        }
        Work::Restore(_) => "restore".into(),
        Work::Upkeep(request) => serde_json::to_string(request).unwrap_or_default(),
    }
}

fn days(facts: &Facts) -> Vec<(String, u32, u32)> {
    let today = facts.now.0.div_euclid(DAY_US);
    let mut found: BTreeMap<i64, (u32, u32)> = BTreeMap::new();
    for row in facts.runs.iter().filter(|r| r.state == "finished") {
        let day = found.entry(row.changed_at.0.div_euclid(DAY_US)).or_default();
        day.0 += 1;
        day.1 += u32::from(row.summary.result == Some(RunResult::Failed));
    }
    let date = |day: i64| Timestamp(day.saturating_mul(DAY_US)).to_rfc3339().chars().take(10).collect::<String>();
    (today - 89..=today)
        .map(|day| {
            let (runs, failed) = found.get(&day).copied().unwrap_or_default();
            (date(day), runs, failed)
        })
        .collect()
}

pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn minute(at: Timestamp) -> String {
    at.to_rfc3339().chars().take(16).collect::<String>().replace('T', " ") + " UTC"
}

fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", age(now.ms_since(at)))
}

/// A length of time in one unit, rounded down.
#[must_use]
pub fn age(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..=89 => format!("{s} s"),
        s @ 90..=5_399 => format!("{} min", s / 60),
        s @ 5_400..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}
