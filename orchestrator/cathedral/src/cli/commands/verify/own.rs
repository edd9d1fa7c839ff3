//! What the hub keeps for itself: its keys, and its stores of repositories.

use cathedral_model::ports::Progress;
use cathedral_model::ports::env::Update;
use cathedral_model::snapshot::CheckLevel;
use cathedral_syncers::git::Depth;
use serde::Serialize;

use super::Finding;
use crate::hub::{Site, key_faults, note_store_check, resolve, store_faults, stores};

/// What findings here name in place of a destination; no destination can be called so.
pub const KEYS: &str = "keys of the hub";
pub const GIT: &str = "git store";
/// So many faults of one store are told one by one.
const TOLD: usize = 4;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Looked {
    pub stores: u64,
}

/// Looks whether the keys are there and fit.
pub fn keys(site: &Site) -> Vec<Finding> {
    let needs = |file: &str| match file {
        "log-head" => "what notices a log that was put back",
        "log.vkey" => "every command that reads the log: log, proof, verify",
        "log.key" | "hub-id" => "every command that appends to the log: sync, snapshot create",
        _ => "the vault: snapshots can be neither read nor taken",
    };
    let finding = |key: crate::hub::KeyFault| Finding {
        destination: KEYS.into(),
        affects: vec![needs(&key.file).into()],
        affects_more: 0,
        object: format!("keys/{}", key.file),
        fault: key.fault,
        restorable: key.is_mendable,
    };
    key_faults(site).into_iter().map(finding).collect()
}

/// Looks at the stores: at level quick their form, at level metadata whether every object is there, at level full
/// every byte.
pub fn git(
    site: &Site,
    level: CheckLevel,
    progress: &dyn Progress,
    warnings: &mut Vec<String>,
) -> (Looked, Vec<Finding>) {
    let (mut looked, mut found) = (Looked::default(), vec![]);
    let depth = match level {
        CheckLevel::Quick => Depth::Form,
        CheckLevel::Metadata => Depth::Connected,
        CheckLevel::Full => Depth::Full,
    };
    let Ok((ecosystem, _)) = resolve(site) else { return (looked, found) };
    for spoke in stores(&ecosystem) {
        let name = spoke.name.as_str();
        let faults = match store_faults(&site.state, &spoke, depth) {
            Ok(faults) => faults,
            Err(error) => {
                warnings.push(format!("the hub's own store of {name} was not looked at: {error}"));
                continue;
            }
        };
        looked.stores += u64::from(site.state.join("git").join(format!("{name}.git")).is_dir());
        progress.update(&Update { phase: "check", item: "git stores", done: looked.stores, total: 0, unit: "stores" });
        note_store_check(&site.state, name, depth, &faults);
        if faults.is_empty() {
            continue;
        }
        // One store is made anew as a whole, so it is one finding.
        let mut fault = faults.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
        if faults.len() > TOLD {
            fault.push_str(&format!("; and {} more", faults.len() - TOLD));
        }
        found.push(Finding {
            destination: GIT.into(),
            object: format!("git/{name}.git"),
            fault,
            affects: vec![format!("spoke {name}: it cannot be synced without")],
            affects_more: 0,
            restorable: true,
        });
    }
    (looked, found)
}
