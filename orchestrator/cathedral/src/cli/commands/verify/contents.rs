//! The hub's own content store: merge bases and the sides of conflicts, which no destination holds.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::Digest;
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::ports::env::Update;
use cathedral_model::ports::{Content, PortError, Progress, Store};
use cathedral_model::snapshot::CheckLevel;
use cathedral_syncers::content::{Inspected, LocalContent, inspect};
use serde::Serialize;

use super::Finding;
use crate::cli::Failure;
use crate::hub::{Site, resolve};

/// What findings here name in place of a destination; no destination can be called so.
pub const STORE: &str = "content store";
pub const STATE: &str = "state database";

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Looked {
    pub contents: u64,
    pub bytes: u64,
}

/// What needs which content.
type Needs = BTreeMap<Digest, BTreeSet<String>>;

/// Checks what is remembered for what it needs, and what is there for its length or, at level full, its bytes.
pub async fn check(
    site: &Site,
    level: CheckLevel,
    progress: &dyn Progress,
    warnings: &mut Vec<String>,
) -> (Looked, Vec<Finding>) {
    let dir = site.state.join("content");
    let mut findings = vec![];
    if !dir.exists() && !site.state.join("hub.db").exists() {
        return (Looked::default(), findings);
    }
    // What is needed is asked first: a hub that works meanwhile stores before it remembers, and deletes nothing.
    let content = LocalContent::open(&dir);
    let needs = match &content {
        Ok(content) => needs(site, content, warnings).await.unwrap_or_else(|failure| {
            if failure.code != 20 {
                // What could not be opened may be whole.
                warnings.push(format!("the state database was not looked at: {}", failure.what));
                return Needs::new();
            }
            findings.push(Finding {
                destination: STATE.into(),
                object: "hub.db".into(),
                fault: failure.what,
                affects: vec!["what the hub remembers of every spoke, and the conflicts that wait".into()],
                affects_more: 0,
                restorable: false,
            });
            Needs::new()
        }),
        Err(_) => Needs::new(),
    };
    let affected = |id: &Digest| needs.get(id).into_iter().flatten().cloned().collect();
    let mut finding = |id: &Digest, fault: String| {
        let object = object(id);
        findings.push(Finding {
            destination: STORE.into(),
            object,
            fault,
            affects: affected(id),
            affects_more: 0,
            restorable: false,
        });
    };
    let mut seen = |done| {
        let item = "content store";
        progress.update(&Update { phase: "check", item, done, total: 0, unit: "contents" });
    };
    let inspected = match level {
        CheckLevel::Quick => Ok(Inspected::default()),
        CheckLevel::Metadata | CheckLevel::Full => inspect(&dir, level == CheckLevel::Full, &mut seen),
    };
    let inspected = inspected.unwrap_or_else(|error| {
        warnings.push(format!("the content store was not looked at: {error}"));
        Inspected::default()
    });
    for (id, fault) in &inspected.damaged {
        finding(id, fault.clone());
    }
    if let Ok(content) = &content {
        let damaged: BTreeSet<&Digest> = inspected.damaged.iter().map(|(id, _)| id).collect();
        for id in needs.keys().filter(|id| !damaged.contains(id)) {
            match content.has(id) {
                Ok(true) => {}
                Ok(false) => finding(id, "missing".into()),
                Err(error) => finding(id, error.to_string()),
            }
        }
    }
    (Looked { contents: inspected.contents.max(needs.len() as u64), bytes: inspected.bytes }, findings)
}

fn object(id: &Digest) -> String {
    let name = id.to_string();
    format!("content/{}/{name}", &name[..2])
}

async fn needs(site: &Site, content: &LocalContent, warnings: &mut Vec<String>) -> Result<Needs, Failure> {
    let mut needs = Needs::new();
    let Some(store) = site.store().await? else { return Ok(needs) };
    match resolve(site) {
        Ok((ecosystem, _)) => {
            for spoke in &ecosystem.spokes {
                let Some(base) = store.memory(&spoke.name).await?.base else { continue };
                let mut need =
                    |id, what: &str| needs.entry(id).or_default().insert(format!("spoke {}, {what}", spoke.name));
                need(base, "what both sides last agreed on: it cannot be synced without");
                // A base that cannot be read is a finding of its own.
                if spoke.kind() == SpokeKind::Files
                    && let Ok(more) = cathedral_syncers::files::needs(content, &base)
                {
                    for id in more {
                        need(id, "texts that the next merge of one file begins with");
                    }
                }
            }
        }
        Err(failure) => warnings.push(format!("what the spokes need was not looked at: {}", failure.what)),
    }
    conflicts(store.as_ref(), &mut needs).await?;
    Ok(needs)
}

async fn conflicts(store: &dyn Store, needs: &mut Needs) -> Result<(), PortError> {
    let states = [ConflictState::Open, ConflictState::Answered];
    for conflict in store.conflicts(None, &states).await? {
        let ConflictRecord { id, spoke, draft, .. } = conflict;
        let sides =
            [("base", &draft.base), ("hub", &draft.hub), ("spoke", &draft.spoke), ("suggestion", &draft.suggested)];
        for (side, value) in sides {
            if let Some(content) = value.as_ref().and_then(|v| v.content) {
                let what = format!("conflict {id} of {spoke}, {}: the {side}", draft.place);
                needs.entry(content).or_default().insert(what);
            }
        }
    }
    Ok(())
}
