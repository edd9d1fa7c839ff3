//! How the destinations stand, and what that means for what can be restored.

use cathedral_model::snapshot::{CheckLevel, LastCheck, SnapshotInfo, Standing};
use cathedral_model::time::Timestamp;

use super::verdict::count;
use super::{DestinationView, Facts, Health, Need};

/// Returns the destinations in the order of the newest snapshot, or of the look where there is none.
pub(super) fn destinations(facts: &Facts) -> Vec<DestinationView> {
    let snapshots: &[SnapshotInfo] = facts.snapshots.as_ref().map_or(&[], |list| list.as_slice());
    let standings = || facts.look.iter().flat_map(|look| &look.destinations);
    let holds =
        |s: &SnapshotInfo, name: &str| s.destinations.iter().any(|d| d.name.as_str() == name && d.state == "held");
    let view = |name: &str, newest: Option<&str>| {
        let found = standings().find(|s| s.name.as_str() == name);
        let (health, state) = state(newest, found);
        DestinationView {
            name: name.to_owned(),
            health,
            state,
            held: snapshots.iter().filter(|s| holds(s, name)).count() as u64,
            of: snapshots.len() as u64,
            missing: found.map_or(0, |s| s.missing),
            damaged: found.map_or(0, |s| s.damaged),
            last_check: found.and_then(|s| s.checks.first().copied()),
        }
    };
    match snapshots.last() {
        Some(newest) => newest.destinations.iter().map(|d| view(d.name.as_str(), Some(&d.state))).collect(),
        None => standings().map(|s| view(s.name.as_str(), None)).collect(),
    }
}

fn state(newest: Option<&str>, found: Option<&Standing>) -> (Health, String) {
    if found.is_some_and(|s| s.fault.is_some()) {
        return (Health::Bad, "unreachable".into());
    }
    let (missing, damaged) = found.map_or((0, 0), |s| (s.missing, s.damaged));
    let faults: Vec<String> = [(damaged, "damaged"), (missing, "missing")]
        .iter()
        .filter(|f| f.0 > 0)
        .map(|f| format!("{} {}", f.0, f.1))
        .collect();
    match newest {
        Some("held") | None if faults.is_empty() => (Health::Ok, newest.unwrap_or("empty").into()),
        Some("held") | None => (Health::Bad, faults.join(", ")),
        Some(other) => (Health::Bad, other.into()),
    }
}

/// Says what cannot be restored, as far as a look at the destinations tells.
pub(super) fn loss(facts: &Facts) -> Option<(Health, u8, String)> {
    let list = facts.snapshots.as_ref().ok()?;
    let vanished = facts.look.as_ref().map_or(0, |look| look.vanished.len());
    if list.is_empty() {
        // What was taken once and is nowhere now is another matter than never having begun.
        let had_one = vanished > 0 || facts.runs.iter().any(|run| run.summary.snapshot.is_some());
        let sentence = "Nothing can be restored: the snapshots that were taken are at no destination any more.";
        return had_one.then(|| (Health::Bad, 21, sentence.to_owned()));
    }
    let look = facts.look.as_ref()?;
    let lacks = look.newest_lacks.as_ref()?;
    let sentence =
        format!("Not everything can be restored: the newest snapshot is damaged at every destination ({lacks}).");
    Some((Health::Bad, 21, sentence))
}

/// Says what is damaged although everything that is here now can be restored.
pub(super) fn damage(facts: &Facts) -> Option<(Health, u8, String)> {
    if let Some(why) = &facts.log_fault {
        let sentence = format!("Everything can be restored, but the log is not as it was signed: {why}.");
        return Some((Health::Bad, 20, sentence));
    }
    if let Some(own) = facts.own_faults.first() {
        return Some((Health::Bad, own.code, format!("Everything can be restored, but {}.", own.what)));
    }
    let look = facts.look.as_ref();
    if let Some(look) = look.filter(|look| look.lost_packs > 0 || !look.vanished.is_empty()) {
        let what = match look.vanished.len() {
            0 => "older ones are damaged at every destination".to_owned(),
            n => format!("{} whole at no destination any more", count(n, "other is", "others are")),
        };
        return Some((Health::Bad, 20, format!("The newest snapshot can be restored; {what}.")));
    }
    let places = destinations(facts);
    let bad = |wanted: fn(&DestinationView) -> bool| places.iter().find(|d| wanted(d));
    if let Some(place) = bad(|d| d.damaged > 0) {
        let what = count(place.damaged as usize, "damaged object", "damaged objects");
        return Some((Health::Attention, 20, format!("Everything can be restored, but {} has {what}.", place.name)));
    }
    let place = bad(|d| d.health == Health::Bad)?;
    Some(match place.state.as_str() {
        "unreachable" => {
            (Health::Attention, 6, format!("Everything can be restored, but {} does not answer.", place.name))
        }
        _ if place.missing > 0 => {
            let what = count(place.missing as usize, "object is missing", "objects are missing");
            (Health::Attention, 12, format!("Everything can be restored, but {what} at {}.", place.name))
        }
        _ => (
            Health::Attention,
            12,
            format!("Everything can be restored, but {} does not hold the newest snapshot.", place.name),
        ),
    })
}

/// When everything was last read back at all destinations without a fault.
pub(super) fn read_back_at(facts: &Facts) -> Option<Timestamp> {
    let good = |check: &&LastCheck| check.level == CheckLevel::Full && check.problems == 0;
    let places = facts.look.as_ref().map(|look| look.destinations.as_slice()).filter(|d| !d.is_empty())?;
    let last = places.iter().map(|d| d.checks.iter().find(good).map(|check| check.at));
    last.min().flatten()
}

/// Whether the look leaves nothing of what a failed check found: a later snapshot has mended it.
pub(super) fn is_mended(facts: &Facts, failed_at: Timestamp) -> bool {
    let is_clean = facts.look.as_ref().is_some_and(|look| {
        !look.destinations.is_empty()
            && look.lost_packs == 0
            && look.vanished.is_empty()
            && look.destinations.iter().all(|d| d.fault.is_none() && (d.missing, d.damaged) == (0, 0))
    });
    is_clean && facts.newest().is_some_and(|newest| newest.meta.at > failed_at)
}

/// What of the destinations needs somebody.
pub(super) fn needs(facts: &Facts) -> Vec<Need> {
    let need = |health, what: String, why: String, command: &str| Need {
        health,
        what,
        why,
        link: "/snapshots".into(),
        command: command.into(),
        since: None,
    };
    let mut needs = vec![];
    if let Some((health, _, sentence)) = loss(facts) {
        let why = "a new snapshot stores again what is still there; a check says what is lost";
        needs.push(need(health, sentence, why.into(), "cathedral snapshot create"));
    }
    for place in destinations(facts).into_iter().filter(|d| d.health == Health::Bad) {
        let is_held = place.damaged + place.missing > 0 && place.state != "unreachable";
        let (what, command) = match is_held {
            true => (format!("{} does not hold all it should", place.name), "cathedral snapshot create"),
            false => (format!("{} does not hold the newest snapshot", place.name), "cathedral verify --level quick"),
        };
        needs.push(need(Health::Bad, what, place.state, command));
    }
    // What a snapshot could mend is mended by the next one; what is lost only a check can name.
    let is_lost = facts.look.as_ref().is_some_and(|look| look.lost_packs > 0 && look.newest_lacks.is_none());
    if is_lost {
        for need in &mut needs {
            need.command = "cathedral verify --level full".into();
        }
    }
    if let Some(why) = &facts.log_fault {
        needs.push(need(Health::Bad, "The log is not as it was signed".into(), why.clone(), "cathedral log audit"));
    }
    for own in &facts.own_faults {
        let mut what = own.what.clone();
        if let Some(first) = what.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        needs.push(need(Health::Bad, what, own.why.clone(), &own.command));
    }
    let checks = facts.look.iter().flat_map(|look| &look.destinations).filter_map(|d| d.checks.first());
    if let Some(failed) = checks.filter(|check| check.problems > 0).max_by_key(|check| check.at)
        && is_mended(facts, failed.at)
    {
        let what = "The last check found faults, and a snapshot has mended them since".to_owned();
        let why = "a mended copy counts as good once it was read back".to_owned();
        needs.push(need(Health::Attention, what, why, "cathedral verify --level full"));
    }
    needs
}
