//! `runs`, `run show`, `run log`: what was done.

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::RunId;
use cathedral_model::ports::Store;
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::{RunResult, Work};

use super::super::args::{Global, RunCommand};
use super::super::output::{safe, with_times};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output, short};
use crate::hub::HubEnv;

pub async fn list(failed: bool, limit: u32, global: &Global, output: &Output) -> Ended {
    let rows = match super::site(global)?.store().await? {
        Some(store) => store.runs(None, limit.clamp(1, 1_000)).await?,
        None => vec![],
    };
    let bad = |r: &RunRow| {
        !matches!(r.summary.result, Some(RunResult::Succeeded | RunResult::NothingToDo | RunResult::Conflicts))
    };
    let rows: Vec<RunRow> = rows.into_iter().filter(|r| !failed || bad(r)).collect();
    output.data("runs", &serde_json::json!({ "runs": with_times(&rows) }), &[]);
    if rows.is_empty() {
        output.note(if failed { "no failed runs" } else { "no runs yet; `cathedral sync` makes the first" });
        return Ok(0);
    }
    let now = HubEnv::clock();
    let mut table = Table::new(&["RUN", "WHEN", "RESULT", "SNAPSHOT", "CAUSE"]);
    for row in &rows {
        table.row(vec![
            row.run.to_string(),
            when::ago(row.changed_at, now),
            word(row),
            row.summary.snapshot.as_ref().map(short).unwrap_or_default(),
            safe(&row.request.cause),
        ]);
    }
    if !output.is_machine() {
        table.print(output);
    }
    Ok(0)
}

fn word(row: &RunRow) -> String {
    match row.summary.result {
        Some(result) => {
            serde_json::to_value(result).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        }
        None => row.state.clone(),
    }
}

pub async fn one(what: RunCommand, global: &Global, output: &Output) -> Ended {
    let (RunCommand::Show { run: text } | RunCommand::Log { run: text }) = &what;
    let store = super::site(global)?.store().await?;
    let store = store.ok_or_else(|| Failure::new(4, "C1404", "there are no runs yet"))?;
    let id = match text.as_str() {
        "last" => store.runs(None, 1).await?.first().map(|r| r.run),
        number => number.parse().ok().map(RunId),
    };
    let row = match id {
        Some(id) => store.run(id).await?,
        None => None,
    };
    let row =
        row.ok_or_else(|| Failure::new(4, "C1404", format!("there is no run {text:?}")).next("cathedral runs"))?;
    match what {
        RunCommand::Log { .. } => journal(store.as_ref(), &row, output).await,
        RunCommand::Show { .. } => {
            output.data("run", &with_times(&row), &[]);
            if !output.is_machine() {
                show(&row, output);
            }
            Ok(0)
        }
    }
}

async fn journal(store: &dyn Store, row: &RunRow, output: &Output) -> Ended {
    let journal = store.journal(row.run).await?;
    output.data("run-log", &with_times(serde_json::json!({ "run": row.run, "journal": journal })), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    let mut table = Table::new(&["STEP", "WHEN", "EVENT", "SPOKE"]);
    for record in journal {
        let of = |key: &str| record.event.get(key).and_then(|v| v.as_str()).map(safe);
        // A restore records its parts by their place in the request.
        let part = || {
            let number = usize::try_from(record.event.get("part")?.as_u64()?).ok()?;
            part_name(row, number)
        };
        let spoke = of("spoke").or_else(part).unwrap_or_default();
        let event = of("event").unwrap_or_default();
        table.row(vec![record.seq.0.to_string(), when::local(record.at), event, spoke]);
    }
    table.print(output);
    Ok(0)
}

/// A part of a restore, named as in `snapshot show`.
fn part_name(row: &RunRow, number: usize) -> Option<String> {
    let Work::Restore(request) = &row.request.work else { return None };
    let part = request.parts.get(number)?;
    let side = if part.side == Side::Spoke { "@spoke" } else { "" };
    Some(format!("{}{side}", part.spoke.name))
}

fn show(row: &RunRow, output: &Output) {
    output.say(format!(
        "run {}: {}   {}   {}",
        row.run,
        word(row),
        when::local(row.changed_at),
        safe(&row.request.cause)
    ));
    for phase in &row.summary.phases {
        output.say(format!("  {:<9} {:<8} {} ms", phase.name, phase.result, phase.ms));
    }
    let restored = matches!(row.request.work, Work::Restore(_));
    let head: &[&str] = if restored {
        &["PART", "RESULT", "FILES", "NOTE"]
    } else {
        &["SPOKE", "RESULT", "IN", "OUT", "CONFLICTS", "NOTE"]
    };
    let mut table = Table::new(head);
    for (number, s) in row.summary.spokes.iter().enumerate() {
        if restored {
            let part = part_name(row, number).unwrap_or_else(|| s.name.to_string());
            table.row(vec![part, s.result.clone(), s.changes_out.to_string(), safe(&s.note)]);
            continue;
        }
        let cells = [s.changes_in, s.changes_out, s.conflicts].map(|n| n.to_string());
        let [changes_in, changes_out, conflicts] = cells;
        table.row(vec![s.name.to_string(), s.result.clone(), changes_in, changes_out, conflicts, safe(&s.note)]);
    }
    if !table.is_empty() {
        table.print(output);
    }
    if let Some(error) = &row.summary.error {
        output.sentence(&format!("  error: {}", safe(error)));
    }
}
