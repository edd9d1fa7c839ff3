//! `status`: one sentence, then what needs attention. The verdict is the engine's, as on the dashboard.

use std::sync::Arc;

use cathedral_engine::query::{Facts, Health, SpokeView, Verdict, verdict};
use cathedral_model::ports::Vault as _;
use cathedral_model::snapshot::CheckLevel;
use cathedral_model::time::Timestamp;

use super::super::args::Global;
use super::super::output::{Tint, many, safe};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output, snapshot};
use crate::hub::{HubEnv, Site, resolve};

pub async fn run(only: Option<String>, all: bool, exit_code: bool, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let (ecosystem, _) = resolve(&site)?;
    if let Some(name) = &only
        && !ecosystem.spokes.iter().any(|s| s.name.as_str() == name)
    {
        let known: Vec<String> = ecosystem.spokes.iter().map(|s| s.name.to_string()).collect();
        return Err(Failure::unknown("spoke", name, &known));
    }
    let (facts, unreadable) = facts(&site, ecosystem).await?;
    let mut verdict = verdict(&facts);
    if let Some(failure) = &unreadable {
        // A missing key and a disk that is away are told apart by scripts.
        verdict.code = failure.code;
    }
    let wanted = |view: &&SpokeView| only.as_ref().is_none_or(|name| view.name.as_str() == name);
    let views: Vec<&SpokeView> = verdict.spokes.iter().filter(wanted).collect();
    let listed = facts.snapshots.as_ref().map(|list| list.as_slice()).unwrap_or_default();
    let ahead: Vec<String> = super::snapshot::ahead(listed).into_iter().collect();
    output.data("status", &document(&verdict, &facts, &views), &ahead);
    ahead.iter().for_each(|line| output.warn(line));
    if !output.is_machine() {
        tell(output, &verdict, &facts, &views, all || only.is_some());
    }
    Ok(if exit_code { verdict.code } else { 0 })
}

/// Reads state, vault and log; nothing is written, and no lock is taken.
async fn facts(
    site: &Site,
    ecosystem: cathedral_model::ecosystem::Ecosystem,
) -> Result<(Facts, Option<Failure>), Failure> {
    let (ecosystem, now) = (Arc::new(ecosystem), HubEnv::clock());
    // A vault that cannot be read must not look like one that is empty.
    let vault = snapshot::vault(site);
    let mut unreadable = None;
    let (mut list, mut look) = (vec![], None);
    match vault {
        Ok(None) => {}
        Ok(Some(vault)) => {
            look = vault.look().await.ok();
            match vault.list().await {
                Ok(found) => list = found,
                Err(error) => unreadable = Some(Failure::from(error)),
            }
        }
        Err(failure) => unreadable = Some(failure),
    }
    let snapshots = match &unreadable {
        Some(failure) => Err(failure.what.clone()),
        None => Ok(Arc::new(list)),
    };
    let stores = site.readable_stores().await?;
    let mut facts = match &stores {
        Some(stores) => Facts::collect(&stores.store, &ecosystem, snapshots, now).await?,
        None => Facts::without_state(&ecosystem, snapshots, now),
    };
    let declared = site.notifications();
    if let Some(stores) = stores.filter(|_| !declared.endpoints.is_empty()) {
        let standings = stores.outgoing.standings().await?;
        facts.watching.endpoints = standings.into_iter().filter(|s| declared.endpoint(&s.endpoint).is_some()).collect();
    }
    facts.look = look;
    facts.log_fault = site.log_fault(&facts.runs);
    facts.own_faults = site.own_faults();
    Ok((facts, unreadable))
}

fn document(verdict: &Verdict, facts: &Facts, views: &[&SpokeView]) -> serde_json::Value {
    let time = |at: Timestamp| at.to_rfc3339();
    let check = |check: &cathedral_model::snapshot::LastCheck| serde_json::json!({ "level": check.level, "at": time(check.at), "problems": check.problems });
    serde_json::json!({
        "sentence": verdict.sentence, "code": verdict.code, "detail": verdict.detail,
        "not_in_a_snapshot": verdict.not_in_a_snapshot,
        "last_snapshot": facts.newest().map(|s| serde_json::json!({
            "id": s.meta.id, "created_at": time(s.meta.at), "root": s.root,
        })),
        "verified_at": verdict.verified_at.map(time),
        "destinations": verdict.destinations.iter().map(|d| serde_json::json!({
            "name": d.name, "state": d.state, "held": d.held, "of": d.of, "missing": d.missing, "damaged": d.damaged,
            "last_check": d.last_check.as_ref().map(check),
        })).collect::<Vec<_>>(),
        "needs": verdict.needs.iter().map(|n| serde_json::json!({
            "what": n.what, "why": n.why, "command": n.command,
        })).collect::<Vec<_>>(),
        "spokes": views.iter().map(|s| serde_json::json!({
            "name": s.name, "kind": s.kind, "state": s.state, "lag_seconds": s.lag_ms.map(|ms| ms / 1_000),
            "position": s.spoke_position, "conflicts": s.conflicts.len(),
        })).collect::<Vec<_>>(),
    })
}

fn tell(output: &Output, verdict: &Verdict, facts: &Facts, views: &[&SpokeView], all: bool) {
    let now = HubEnv::clock();
    let (symbol, tint) = match verdict.health.mark() {
        "ok" => (output.symbol("●", "ok"), Tint::Good),
        "bad" => (output.symbol("✖", "xx"), Tint::Bad),
        _ => (output.symbol("▲", "!!"), Tint::Warn),
    };
    // Painted word by word, since a terminal that is narrow breaks it.
    let words: Vec<String> = safe(&verdict.sentence).split(' ').map(|word| output.paint(Tint::Bold, word)).collect();
    output.sentence(&format!("{} {}", output.paint(tint, symbol), words.join(" ")));
    let taken = verdict.newest_snapshot.as_ref().map_or("never".to_owned(), |(_, at)| when::ago(*at, now));
    let ran = facts.runs.first().map_or("never".to_owned(), |row| when::ago(row.changed_at, now));
    let between = if output.room().is_some_and(|room| room < 60) { "\n  last run       " } else { "      last run  " };
    output.say(format!("  last snapshot  {taken}{between}{ran}"));
    output.say(format!("  last check     {}", last_check(verdict, facts, now)));
    for place in verdict.destinations.iter().filter(|d| d.health != Health::Ok) {
        let mark = output.paint(Tint::Bad, output.symbol("✖", "xx"));
        output.say(format!("  {mark} {}: {}", place.name, safe(&place.state)));
    }
    // Each is named, whatever the sentence is about.
    for own in &facts.own_faults {
        let mark = output.paint(Tint::Bad, output.symbol("✖", "xx"));
        output.sentence_under(&format!("  {mark} {}: {}", own.what, safe(&own.why)), 4);
        output.sentence_under(&format!("    {}", own.command), 4);
    }
    spokes(output, views, all);
    if views.iter().any(|view| view.state == "conflict") {
        output.note(output.paint(Tint::Dim, "next: cathedral conflicts"));
    }
    let of_places = |n: &&cathedral_engine::query::Need| n.link == "/snapshots";
    if let Some(need) = verdict.needs.iter().find(of_places) {
        if let Some(run) = verdict.not_in_a_snapshot {
            output.note(output.paint(Tint::Dim, &format!("what run {run} changed is in no snapshot yet")));
        }
        output.note(output.paint(Tint::Dim, &format!("next: {}", need.command)));
    }
}

/// When everything was checked last at the destination that was checked least recently.
///
/// What is known to be wrong beside the destinations counts too: one verdict.
fn last_check(verdict: &Verdict, facts: &Facts, now: Timestamp) -> String {
    let own = facts.own_faults.len() as u64 + u64::from(facts.log_fault.is_some());
    let checks: Vec<_> = verdict.destinations.iter().map(|d| d.last_check).collect();
    let Some(oldest) = checks.iter().min_by_key(|check| check.map(|c| c.at)).copied().flatten() else {
        return "never; cathedral verify --level full    reads everything back".to_owned();
    };
    let level = match oldest.level {
        CheckLevel::Quick => "quick",
        CheckLevel::Metadata => "metadata",
        CheckLevel::Full => "full",
    };
    let problems: u64 = checks.iter().flatten().map(|check| check.problems).sum();
    let places = format!("{}, level {level}, {}", when::ago(oldest.at, now), many(problems, "problem", "problems"));
    if own == 0 {
        return places;
    }
    format!("{places} at the destinations; {} in what the hub keeps for itself", many(own, "problem", "problems"))
}

fn spokes(output: &Output, views: &[&SpokeView], all: bool) {
    let mut table = Table::new(&["SPOKE", "STATE", "SEEN", "POSITION", "NOTE"]);
    let mut quiet = 0;
    for view in views {
        if view.state == "in sync" && !all {
            quiet += 1;
            continue;
        }
        let mark = match view.health.mark() {
            "ok" => output.symbol("●", "ok"),
            "bad" => output.symbol("✖", "xx"),
            _ => output.symbol("▲", "!!"),
        };
        let seen = view.lag_ms.map_or("-".to_owned(), |ms| when::long(ms / 1_000));
        let state = format!("{mark} {}", view.state);
        table.row(vec![view.name.to_string(), state, seen, safe(&view.spoke_position), safe(&view.note)]);
    }
    if !table.is_empty() {
        table.print(output);
    }
    if quiet > 0 {
        output.say(output.paint(Tint::Dim, &format!("{} in sync; --all shows them", many(quiet, "spoke", "spokes"))));
    }
}
