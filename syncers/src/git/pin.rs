//! Pins: refs of the store that keep every replaced, deleted or disputed value reachable for ever.

use cathedral_model::ids::RunId;

use super::facts::Context;
use super::failure::GitError;
use super::payload::Payload;
use super::refs::escaped;
use super::store::RefChange;

/// Keeps everything the plan says, in one transaction.
pub fn pin(context: &Context<'_>, payload: &Payload, run: RunId) -> Result<(), GitError> {
    let mut changes: Vec<RefChange> = Vec::new();
    for pin in &payload.pins {
        let name = pin.name.strip_prefix("refs/").map_or_else(|| pin.name.replacen(':', "/", 1), str::to_owned);
        let at = format!("refs/cathedral/conflicts/{run}/{}/{}/{}/%tip", context.spoke.name, pin.side, escaped(&name));
        if context.store.get(&at)?.as_ref() != Some(&pin.oid) {
            changes.push(RefChange::set(at, &pin.oid));
        }
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes.dedup_by(|a, b| a.name == b.name);
    context.store.update(&changes)
}
