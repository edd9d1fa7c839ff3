//! `plan`: what a sync would do, saved under an id.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cathedral_model::ecosystem::{ConflictPolicy, Side};
use cathedral_model::ids::{Digest, SpokeName};
use cathedral_model::inbox::ConflictState;
use cathedral_model::ports::{Cause, Env, PortError};
use cathedral_model::run::exit_code;

use super::super::args::Global;
use super::super::output::{Tint, many, safe};
use super::super::table::Table;
use super::{Ended, Failure, Output};
use crate::hub::{Hub, HubEnv};

/// How many actions a person is shown of one spoke.
const SHOWN: usize = 12;

pub async fn run(names: &[String], out: Option<PathBuf>, global: &Global, output: &Output) -> Ended {
    let (hub, bar) = super::hub(global, output).await?;
    let names = super::spokes(&hub, names)?;
    let ended = show(&hub, &names, None, out, output).await;
    bar.finish();
    ended
}

/// Prints the plan; exit 10 when something would change.
pub async fn show(
    hub: &Hub,
    names: &[SpokeName],
    policy: Option<ConflictPolicy>,
    out: Option<PathBuf>,
    output: &Output,
) -> Ended {
    let previews = hub.engine.preview(names, policy).await?;
    let mut ids: BTreeMap<SpokeName, Digest> = BTreeMap::new();
    let mut spokes = vec![];
    let mut changes = 0;
    for preview in &previews {
        let name = &preview.spoke.name;
        let plan = preview.plan.as_ref();
        if let Some(plan) = plan {
            let (id, _) = plan.sealed().map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
            ids.insert(name.clone(), id);
            // What a safeguard stops is not in sync, also where nothing but a marker is to be written.
            changes += plan.actions.len() + plan.conflicts.len() + plan.guards.len();
        }
        spokes.push(serde_json::json!({
            "name": name, "kind": preview.spoke.kind(),
            "actions": plan.map(|p| p.actions.iter().map(|a| serde_json::json!({
                "target": a.target, "action": a.action, "from": a.from, "to": a.to, "reason": a.reason, "side": a.side,
            })).collect::<Vec<_>>()).unwrap_or_default(),
            "conflicts": plan.map(|p| p.conflicts.len()).unwrap_or_default(),
            "guards": plan.map(|p| p.guards.clone()).unwrap_or_default(),
            "error": preview.failed.as_ref().map(ToString::to_string),
            "warnings": preview.observation.as_ref().map(|o| o.warnings.clone()).unwrap_or_default(),
        }));
    }
    let text = serde_json::to_string(&ids).map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
    let id = Digest::of(text.as_bytes());
    if changes > 0 {
        hub.store().save_plan(&id, &text, HubEnv.now()).await?;
    }
    let data = serde_json::json!({ "plan": id, "spokes": spokes });
    if let Some(out) = out {
        let text = serde_json::to_string_pretty(&data).map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
        super::write_new(&out, text.as_bytes())?;
    }
    output.data("plan", &data, &[]);
    for preview in &previews {
        tell(preview, output);
    }
    let looked_at: Vec<SpokeName> = previews.iter().map(|p| p.spoke.name.clone()).collect();
    // Damage is told first, as a sync does.
    let failed = previews.into_iter().filter_map(|p| Some((p.spoke.name, p.failed?)));
    if let Some((spoke, error)) = failed.min_by_key(|(_, error)| !matches!(error, PortError::Corrupt(_))) {
        let what = format!("{spoke} could not be looked at: {}", safe(&error.to_string()));
        let mut failure = match error.cause() {
            // A declared spoke whose place is not there cannot be reached, as in a sync.
            Cause::NotFound => Failure::new(exit_code(Cause::Unreachable), "C1601", "").next("cathedral doctor"),
            _ => Failure::from(error),
        };
        failure.what = what;
        // The document above already tells it to scripts.
        let code = failure.code;
        output.failure_text(&failure.complete());
        return Ok(code);
    }
    if changes == 0 {
        let open = hub.store().conflicts(None, &[ConflictState::Open]).await?;
        let waiting = open.iter().filter(|c| looked_at.contains(&c.spoke)).count() as u64;
        output.note_sentence(&match waiting {
            0 => "nothing to do: everything is in sync".to_owned(),
            n => format!("nothing new to do; {} for you", many(n, "conflict waits", "conflicts wait")),
        });
        return Ok(0);
    }
    output.note(output.paint(Tint::Dim, &format!("next: cathedral sync --plan {}", &id.to_string()[..12])));
    Ok(10)
}

fn tell(preview: &cathedral_engine::Preview, output: &Output) {
    let name = &preview.spoke.name;
    if let Some(error) = &preview.failed {
        let mark = output.paint(Tint::Bad, output.symbol("✖", "xx"));
        output.sentence(&format!("{mark} {name}: {}", safe(&error.to_string())));
    }
    for warning in preview.observation.iter().flat_map(|o| &o.warnings) {
        let mark = output.paint(Tint::Warn, output.symbol("▲", "!!"));
        output.sentence(&format!("{mark} {name}: {}", safe(warning)));
    }
    let Some(plan) = &preview.plan else { return };
    if plan.actions.is_empty() && plan.conflicts.is_empty() && plan.guards.is_empty() {
        return;
    }
    let (into_hub, out) = plan.changes();
    output.say(format!("{}: {} to the hub, {} to the spoke", output.paint(Tint::Bold, name.as_str()), into_hub, out));
    for guard in &plan.guards {
        output.say(output.paint(Tint::Bad, &format!("  stopped by {}: {}", guard.name, safe(&guard.why))));
    }
    let mut table = Table::new(&["AT", "ACTION", "WHAT", "WHY"]);
    for action in plan.actions.iter().take(SHOWN) {
        let at = if action.side == Side::Hub { "hub" } else { "spoke" };
        table.row(vec![at.to_owned(), action.action.clone(), safe(&action.target), safe(&action.reason)]);
    }
    if !table.is_empty() {
        table.print(output);
    }
    if plan.actions.len() > SHOWN {
        output.say(format!("  and {} more; --json has all", plan.actions.len() - SHOWN));
    }
    for conflict in plan.conflicts.iter().take(SHOWN) {
        let mark = output.paint(Tint::Warn, output.symbol("▲", "!!"));
        let (place, because) = (safe(&conflict.place), safe(&conflict.because));
        output.sentence(&format!("  {mark} {} {place}: {because}", conflict.conflict_kind));
    }
    if plan.conflicts.len() > SHOWN {
        output.say(format!("  and {}", many((plan.conflicts.len() - SHOWN) as u64, "more conflict", "more conflicts")));
    }
}
