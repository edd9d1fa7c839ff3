//! `sync`: the five phases, now.

use std::collections::BTreeMap;

use cathedral_engine::{Stand, Standing};
use cathedral_model::ecosystem::{ConflictPolicy, GitIntegration, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{Digest, RunId, SpokeName};
use cathedral_model::ports::Vault as _;
use cathedral_model::run::{Phase, Priority, Request, RunResult, RunSummary, SpokeSummary, SyncRequest, Work};
use cathedral_model::snapshot::{PartKey, SnapshotInfo};

use super::super::args::{Global, OnConflict, PhaseName, SyncArgs};
use super::super::output::{Tint, many, safe};
use super::super::table::Table;
use super::faults::Met;
use super::restore::is_there;
use super::{Ended, Failure, Output, plan, short};
use crate::hub::{HEAL, Hub};

pub async fn run(args: SyncArgs, global: &Global, output: &Output) -> Ended {
    let (hub, bar) = super::hub(global, output).await.map_err(|failure| not_begun(failure, global))?;
    let names = super::spokes(&hub, &args.spokes)?;
    let confirmed = confirm(&hub, args.yes.as_deref())?;
    let policy = match args.on_conflict {
        Some(OnConflict::Hub) => Some(ConflictPolicy::Hub),
        Some(OnConflict::Spoke) => Some(ConflictPolicy::Spoke),
        Some(OnConflict::Queue) => Some(ConflictPolicy::Queue),
        Some(OnConflict::Stop) | None => None,
    };
    if args.dry_run {
        let ended = plan::show(&hub, &names, policy, None, output).await;
        bar.finish();
        return ended;
    }
    if args.on_conflict == Some(OnConflict::Stop) {
        stop_on_conflict(&hub, &names).await?;
    }
    let planned = match &args.plan {
        Some(prefix) => saved_plan(&hub, prefix).await?,
        None => BTreeMap::new(),
    };
    let names = if args.plan.is_some() { planned.keys().cloned().collect() } else { names };
    let request = SyncRequest {
        spokes: names,
        only: args.only.iter().map(|p| phase(*p)).collect(),
        plan: planned,
        confirmed,
        policy,
        tags: vec![],
        force_snapshot: args.only.contains(&PhaseName::Snapshot) && !args.only.contains(&PhaseName::Sync),
    };
    if !hub.is_attached() {
        let accepted = hub.accept_config(&hub.site.text, "cathedral sync").await;
        accepted.map_err(|error| not_begun(error.into(), global))?;
    }
    let (run, summary) = drive(&hub, "cathedral sync", request, output).await?;
    bar.finish();
    let met = Met::take(&hub, &summary).await;
    report(&hub, run, &summary, &met, output);
    tell_trouble(&hub, run, &summary, output).await?;
    Ok(summary.code)
}

/// A disk that is full before anything could begin.
fn not_begun(failure: Failure, global: &Global) -> Failure {
    if failure.id != "C1801" {
        return failure;
    }
    let failure = failure.why("there is no room left for the hub's own files, and this command has changed nothing");
    let Ok((ecosystem, _)) = super::site(global).and_then(|site| crate::hub::resolve(&site)) else { return failure };
    let as_it_was = |s: &Spoke| Standing { spoke: s.name.to_string(), state: Stand::Old };
    failure.standing(None, &ecosystem.spokes.iter().map(as_it_was).collect::<Vec<_>>())
}

fn phase(name: PhaseName) -> Phase {
    match name {
        PhaseName::Validate => Phase::Validate,
        PhaseName::Snapshot => Phase::Snapshot,
        PhaseName::Sync => Phase::Sync,
        PhaseName::Verify => Phase::Verify,
        PhaseName::Notify => Phase::Notify,
    }
}

/// Checks a typed ecosystem name.
pub fn confirm(hub: &Hub, typed: Option<&str>) -> Result<bool, Failure> {
    let name = &hub.ecosystem().name;
    match typed {
        None => Ok(false),
        Some(typed) if typed == name => Ok(true),
        Some(typed) => Err(Failure::new(7, "C1702", format!("{typed:?} is not the ecosystem's name"))
            .why("the name confirms that you mean this ecosystem; nothing was changed")
            .next(format!("--yes {name}"))),
    }
}

async fn stop_on_conflict(hub: &Hub, names: &[SpokeName]) -> Result<(), Failure> {
    let previews = hub.engine.preview(names, None).await?;
    let found: Vec<(String, usize)> = previews
        .into_iter()
        .filter_map(|p| p.plan.map(|plan| (p.spoke.name.to_string(), plan.conflicts.len())))
        .filter(|(_, conflicts)| *conflicts > 0)
        .collect();
    if !found.is_empty() {
        let what = many(found.iter().map(|(_, n)| *n as u64).sum(), "conflict", "conflicts");
        let names = found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(11, "C1101", format!("{what} in {names}; nothing was changed"))
            .next("cathedral plan    shows them")
            .next("cathedral sync    parks them and goes on with the rest"));
    }
    Ok(())
}

async fn saved_plan(hub: &Hub, prefix: &str) -> Result<BTreeMap<SpokeName, Digest>, Failure> {
    let found = hub.store().plan(prefix).await?;
    let (_, text) = found.ok_or_else(|| {
        Failure::new(4, "C1404", format!("there is no plan {prefix}"))
            .next("cathedral plan    makes one and prints its id")
    })?;
    serde_json::from_str(&text)
        .map_err(|e| Failure::new(20, "C2001", format!("the stored plan {prefix} cannot be read: {e}")))
}

/// Says which runs were stopped before their end: they are finished first, and somebody may have forgotten.
pub async fn tell_unfinished(hub: &Hub, output: &Output) -> Result<(), Failure> {
    if hub.is_attached() {
        // Somebody drives them right now.
        return Ok(());
    }
    let rows = hub.store().runs(None, 50).await?;
    for row in rows.iter().rev().filter(|r| r.state != "finished") {
        output.warn(format!(
            "run {} ({}) was stopped before its end: it is finished first",
            row.run,
            safe(&row.request.cause)
        ));
    }
    Ok(())
}

/// Files a request and drives it (and what was unfinished before it) to its end.
pub async fn drive(
    hub: &Hub,
    cause: &str,
    request: SyncRequest,
    output: &Output,
) -> Result<(RunId, RunSummary), Failure> {
    tell_unfinished(hub, output).await?;
    let request = Request { priority: Priority::Manual, cause: cause.to_owned(), work: Work::Sync(request) };
    let run = hub.engine.submit(&request).await?.run();
    let summary = hub.work_until(run).await?;
    Ok((run, summary))
}

/// Tells how a run ended.
pub fn report(hub: &Hub, run: RunId, summary: &RunSummary, met: &Met, output: &Output) {
    let mut data = serde_json::to_value(summary).unwrap_or_default();
    if let Some(object) = data.as_object_mut() {
        object.insert("run".into(), serde_json::json!(run));
    }
    met.add_to(&mut data);
    let left_out = summary.spokes.iter().flat_map(|s| s.warnings.iter().map(move |w| format!("{}: {w}", s.name)));
    let warnings: Vec<String> = left_out.chain(met.warnings()).collect();
    output.data("sync", &data, &warnings);
    if output.is_machine() {
        return;
    }
    let result = summary.result.unwrap_or(RunResult::Failed);
    let touched = summary.spokes.iter().filter(|s| s.result != "unchanged");
    let mut table = Table::new(&["SPOKE", "RESULT", "IN", "OUT", "NOTE"]);
    for spoke in touched {
        let note = if spoke.note.is_empty() && spoke.conflicts > 0 {
            many(spoke.conflicts, "conflict waits", "conflicts wait")
        } else {
            safe(&spoke.note)
        };
        let number = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
        table.row(vec![
            spoke.name.to_string(),
            spoke.result.clone(),
            number(spoke.changes_in),
            number(spoke.changes_out),
            note,
        ]);
    }
    let (symbol, tint, words) = match result {
        RunResult::Succeeded => (output.symbol("●", "ok"), Tint::Good, "done"),
        RunResult::NothingToDo => (output.symbol("●", "ok"), Tint::Good, "nothing to do: everything is in sync"),
        RunResult::Conflicts if summary.snapshot.is_none() => {
            (output.symbol("▲", "!!"), Tint::Warn, "nothing new to do; conflicts wait for you")
        }
        RunResult::Conflicts => (output.symbol("▲", "!!"), Tint::Warn, "done; conflicts wait for you"),
        RunResult::Partial if summary.code == 6 => {
            (output.symbol("▲", "!!"), Tint::Warn, "done, except for what cannot be reached")
        }
        RunResult::Partial if summary.code == 7 => {
            (output.symbol("▲", "!!"), Tint::Warn, "done, except for what a safeguard refused")
        }
        RunResult::Partial if summary.code == 20 => {
            (output.symbol("✖", "xx"), Tint::Bad, "done, except for what is damaged")
        }
        RunResult::Partial => (output.symbol("▲", "!!"), Tint::Warn, "partly done; the rest can be repeated"),
        RunResult::Failed => (output.symbol("✖", "xx"), Tint::Bad, "failed"),
        RunResult::Cancelled => (output.symbol("✖", "xx"), Tint::Bad, "cancelled"),
    };
    let snapshot = summary.snapshot.as_ref().map(|s| format!(", snapshot {}", short(s))).unwrap_or_default();
    output.note_sentence(&format!("{} run {run}: {words}{snapshot}", output.paint(tint, symbol)));
    if !table.is_empty() && result != RunResult::NothingToDo && !output.quiet {
        table.print(output);
    }
    for spoke in &summary.spokes {
        for warning in spoke.warnings.iter().take(5) {
            let mark = output.paint(Tint::Warn, output.symbol("▲", "!!"));
            output.note_sentence(&format!("  {mark} {}: {}", spoke.name, safe(warning)));
        }
        if spoke.warnings.len() > 5 {
            output.note(format!("    and {} more; cathedral run show {run}", spoke.warnings.len() - 5));
        }
    }
    match &summary.snapshot {
        Some(id) => met.tell_of(id, output),
        None => met.tell(output),
    }
    if moved_pins(hub, summary) {
        let hint = format!(
            "next: git -C {} submodule update    brings the modules of your checkout to the new pins",
            hub.ecosystem().hub.url
        );
        output.note(output.paint(Tint::Dim, &hint));
    }
    if result == RunResult::Conflicts {
        output.note(output.paint(Tint::Dim, "next: cathedral conflicts"));
    }
}

/// Whether the run moved a pin that a checkout of the hub has as a submodule.
fn moved_pins(hub: &Hub, summary: &RunSummary) -> bool {
    summary.spokes.iter().filter(|s| s.changes_in > 0).any(|s| {
        let spoke = hub.ecosystem().spoke(&s.name).map(|s| &s.detail);
        let Some(SpokeDetail::Git(git)) = spoke else { return false };
        let GitIntegration::Submodule { path } = &git.integration else { return false };
        std::path::Path::new(&hub.ecosystem().hub.url).join(path).join(".git").exists()
    })
}

/// Says on stderr what a run did not do, why, and what to do next.
async fn tell_trouble(hub: &Hub, run: RunId, summary: &RunSummary, output: &Output) -> Result<(), Failure> {
    let name = &hub.ecosystem().name;
    let (id, why, next) = match summary.code {
        0 | 10 | 11 => return Ok(()),
        5 => (
            "C1501",
            "rights or credentials are missing; nothing of it was changed",
            "check them, then repeat the command".to_owned(),
        ),
        6 => ("C1601", "nothing of it was changed", "cathedral doctor    tries every spoke and destination".to_owned()),
        7 => (
            "C1701",
            "a limit that protects data stopped it; nothing of it was changed",
            format!("cathedral plan    shows it; cathedral sync --yes {name}    confirms it"),
        ),
        20 => (
            "C2001",
            "data is not what its name, signature or the log says",
            "cathedral verify --level full".to_owned(),
        ),
        _ if summary.error.is_some() => {
            ("C2102", "no spoke was changed without a snapshot", "repeat the command when the cause is gone".to_owned())
        }
        _ => ("C1002", "it is left for the next sync", "repeat the command when the cause is gone".to_owned()),
    };
    let bad = |result: &str| matches!(result, "failed" | "unreachable" | "refused" | "partial" | "waiting");
    let spokes = summary.spokes.iter().filter(|s| bad(&s.result) && !s.note.is_empty());
    for spoke in spokes {
        let id = match spoke.result.as_str() {
            "refused" => "C1701",
            "unreachable" => "C1601",
            _ if summary.code == 12 => "C1002",
            _ => id,
        };
        output.warn(format!("error: {} is {}: {}   [{id}]", spoke.name, spoke.result, safe(&spoke.note)));
    }
    if let Some(error) = &summary.error {
        output.warn(format!("error: {}   [{id}]", safe(error)));
    }
    let is_mendable = |result: &str| matches!(result, "failed" | "refused");
    let next = match summary.spokes.iter().any(|s| is_mendable(&s.result) && s.note.contains(HEAL)) {
        true => format!("{HEAL}    then cathedral sync"),
        false => next,
    };
    let told = super::super::failure::told(&hub.engine.standing(run).await?);
    output.warn(format!("  why: {why}; {told}"));
    let back = brought_back(hub, summary).await;
    let all: Vec<&String> = back.iter().chain([&next]).collect();
    for (at, next) in all.into_iter().enumerate() {
        output.warn(format!("  {} {next}", if at == 0 { "try:" } else { "    " }));
    }
    Ok(())
}

/// What brings back a side that was there at the last sync and is gone.
async fn brought_back(hub: &Hub, summary: &RunSummary) -> Vec<String> {
    let mut out = vec![];
    let is_gone = |spoke: &&SpokeSummary| spoke.result == "refused" && spoke.note.contains("root_missing: ");
    let gone: Vec<&SpokeSummary> = summary.spokes.iter().filter(is_gone).collect();
    if gone.is_empty() {
        return out;
    }
    // The snapshot of this very run has not found it either, or found it as empty as it is now.
    let kept = hub.vault.list().await.unwrap_or_default();
    for spoke in gone {
        let sides = match hub.ecosystem().spoke(&spoke.name).map(|s| &s.detail) {
            Some(SpokeDetail::Database(detail)) => [(Side::Hub, &detail.hub), (Side::Spoke, &detail.spoke)],
            Some(SpokeDetail::Files(detail)) => [(Side::Hub, &detail.hub), (Side::Spoke, &detail.spoke)],
            _ => continue,
        };
        for (side, path) in sides.into_iter().filter(|(_, path)| spoke.note.contains(&path.display().to_string())) {
            out.push(format!("put {} back where it was, then cathedral sync", Output::safe_path(path)));
            let key = PartKey { spoke: spoke.name.clone(), side };
            let holds = |info: &&SnapshotInfo| info.parts.iter().any(|p| p.key == key && is_there(p) && p.items > 0);
            if let Some(info) = kept.iter().rev().find(holds) {
                let id = short(&info.meta.id);
                out.push(format!("cathedral restore {id} {key} --in-place    writes it as it was last kept"));
            }
        }
    }
    out
}
