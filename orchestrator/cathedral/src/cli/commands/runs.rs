//! `runs`, `run show`, `run log`: what was done.

use cathedral_model::ids::RunId;
use cathedral_model::ports::Store;
use cathedral_model::ports::store::RunRow;
use cathedral_model::run::RunResult;

use super::super::args::{Global, RunCommand};
use super::super::output::safe;
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
    output.data("runs", &serde_json::json!({ "runs": rows }), &[]);
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
            output.data("run", &row, &[]);
            if !output.is_machine() {
                show(&row, output);
            }
            Ok(0)
        }
    }
}

async fn journal(store: &dyn Store, row: &RunRow, output: &Output) -> Ended {
    let journal = store.journal(row.run).await?;
    output.data("run-log", &serde_json::json!({ "run": row.run, "journal": journal }), &[]);
    for record in journal {
        let spoke = record.event.get("spoke").and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let event = record.event.get("event").and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        output.say(format!("{:>4}  {}  {event:<16} {}", record.seq.0, when::local(record.at), safe(&spoke)));
    }
    Ok(0)
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
    let mut table = Table::new(&["SPOKE", "RESULT", "IN", "OUT", "CONFLICTS", "NOTE"]);
    for s in &row.summary.spokes {
        let cells = [s.changes_in, s.changes_out, s.conflicts].map(|n| n.to_string());
        let [changes_in, changes_out, conflicts] = cells;
        table.row(vec![s.name.to_string(), s.result.clone(), changes_in, changes_out, conflicts, safe(&s.note)]);
    }
    if !table.is_empty() {
        table.print(output);
    }
    if let Some(error) = &row.summary.error {
        output.say(format!("  error: {}", safe(error)));
    }
}
