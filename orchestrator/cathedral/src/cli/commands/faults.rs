//! What a command met at the destinations, although it did what was asked: damage that another copy made
//! good, spokes that the new snapshot could not take in, and destinations that it did not reach. None of it may
//! pass in silence.

use cathedral_backup::LocalVault;
use cathedral_model::ports::Vault as _;
use cathedral_model::run::RunSummary;
use cathedral_model::snapshot::{PartInfo, PartKey, Problem, parts_of};

use super::super::output::{Tint, many, safe};
use super::{Output, short};
use crate::hub::Hub;

/// At most so many are told one by one.
const SHOWN: usize = 5;

/// What to tell beside the result of a run.
#[derive(Default)]
pub struct Met {
    pub faults: Vec<Problem>,
    /// Parts of the ecosystem that the run's snapshot does not hold.
    pub left_out: Vec<String>,
    /// Items of its parts that the run's snapshot does not hold, with the reason.
    pub skipped: Vec<String>,
    /// Destinations that do not hold the run's snapshot, with what is the matter.
    pub not_at: Vec<(String, String)>,
}

impl Met {
    /// Takes what a run on this hub has met.
    pub async fn take(hub: &Hub, summary: &RunSummary) -> Self {
        let (mut left_out, mut skipped, mut not_at) = (vec![], vec![], vec![]);
        let bad = |result: &str| matches!(result, "failed" | "unreachable" | "refused" | "partial");
        let is_doubtful = summary.spokes.iter().any(|s| bad(&s.result));
        if let Some(id) = &summary.snapshot
            && let Ok(info) = hub.vault.snapshot(id).await
        {
            let lacking = info.destinations.iter().filter(|d| d.state != "held");
            not_at = lacking.map(|d| (d.name.to_string(), d.state.clone())).collect();
            let of_part = |p: &PartInfo| p.skipped.iter().map(|s| format!("{} {s}", p.key)).collect::<Vec<_>>();
            skipped = info.parts.iter().flat_map(of_part).collect();
            for spoke in hub.ecosystem().spokes.iter().filter(|_| is_doubtful) {
                let keys = parts_of(spoke.kind()).iter().map(|s| PartKey { spoke: spoke.name.clone(), side: *s });
                let missing = keys.filter(|key| info.parts.iter().all(|p| p.key != *key));
                left_out.extend(missing.map(|key| key.to_string()));
            }
        }
        Self { faults: hub.vault.take_faults(), left_out, skipped, not_at }
    }

    /// Takes what reading this vault has met.
    pub fn of_vault(vault: &LocalVault) -> Self {
        Self { faults: vault.take_faults(), ..Self::default() }
    }

    /// The published form of the faults.
    pub fn json(&self) -> serde_json::Value {
        self.faults
            .iter()
            .map(|f| serde_json::json!({ "destination": f.destination, "object": f.object, "fault": f.fault }))
            .collect()
    }

    /// Adds both to a document.
    pub fn add_to(&self, document: &mut serde_json::Value) {
        if let Some(object) = document.as_object_mut() {
            object.insert("faults".into(), self.json());
            let missing: Vec<&String> = self.left_out.iter().chain(&self.skipped).collect();
            object.insert("not_in_snapshot".into(), serde_json::json!(missing));
        }
    }

    /// One line for each.
    pub fn warnings(&self) -> Vec<String> {
        let then = |f: &Problem| if f.restorable { "it was mended" } else { "it was not used" };
        let fault = |f: &Problem| format!("{} at {}: {}; {}", f.object, f.destination, safe(&f.fault), then(f));
        let left = |part: &String| format!("{part} is not in this snapshot: it could not be read, nor taken over");
        let lacks = |(name, state): &(String, String)| {
            format!("this snapshot is not at destination {}: {}", safe(name), safe(state))
        };
        let left_out = self.left_out.iter().map(left);
        left_out.chain(self.not_at.iter().map(lacks)).chain(self.faults.iter().map(fault)).collect()
    }

    /// Tells a person, on stderr, beside whatever the command prints.
    pub fn tell(&self, output: &Output) {
        let mark = output.symbol("▲", "!!");
        let warnings = self.warnings();
        for warning in warnings.iter().take(SHOWN) {
            output.warn(format!("{mark} {warning}"));
        }
        if warnings.len() > SHOWN {
            output.warn(format!("{mark} and {} more", warnings.len() - SHOWN));
        }
        if !self.faults.is_empty() {
            let objects = many(self.faults.len() as u64, "damaged object was", "damaged objects were");
            output.warn(format!("  {objects} met: cathedral verify --level full    says what needs them"));
        }
    }

    /// Tells a person, on stderr, after a snapshot.
    pub fn tell_of(&self, snapshot: &cathedral_model::ids::SnapshotId, output: &Output) {
        self.tell(output);
        if !self.left_out.is_empty() {
            let hint = format!("  cathedral snapshot show {}    lists what it holds", short(snapshot));
            output.warn(output.paint(Tint::Dim, &hint));
        }
    }
}
