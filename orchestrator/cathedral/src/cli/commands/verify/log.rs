//! The transparency log: whole in itself, as long as what was acknowledged, and about these snapshots.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_backup::LocalVault;
use cathedral_integrity::LogReader;
use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::Vault as _;
use cathedral_model::ports::store::RunRow;
use cathedral_model::snapshot::{CheckLevel, SnapshotInfo};
use serde::Serialize;

use super::super::snapshot::forget::{FORGET, TAKE_BACK};
use super::Finding;
use crate::cli::output::many;
use crate::hub::{Site, is_key_faulty, note_log_check};

/// What findings here name in place of a destination; no destination can be called so.
pub const LOG: &str = "transparency log";
/// Statements are read so many at a time.
const PAGE: u64 = 256;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Looked {
    pub leaves: u64,
    /// Snapshots whose manifests were compared with their leaves.
    pub snapshots: u64,
}

/// Checks the log: at level quick its end, at level metadata the leaves of the snapshots, at level full
/// every leaf and every manifest at every destination.
pub async fn check(
    site: &Site,
    level: CheckLevel,
    vault: &LocalVault,
    list: &[SnapshotInfo],
    warnings: &mut Vec<String>,
) -> (Looked, Vec<Finding>) {
    // Read by another key, a log says nothing of itself; the key is told as what it is.
    if is_key_faulty(site) {
        return (Looked::default(), vec![]);
    }
    let (looked, findings) = look(site, level, vault, list, warnings).await;
    let of_log = findings.iter().filter(|f| f.destination == LOG);
    let told: Vec<String> = of_log.map(|f| format!("{}: {}", f.object, f.fault)).collect();
    note_log_check(&site.state, level == CheckLevel::Full, &told);
    (looked, findings)
}

async fn look(
    site: &Site,
    level: CheckLevel,
    vault: &LocalVault,
    list: &[SnapshotInfo],
    warnings: &mut Vec<String>,
) -> (Looked, Vec<Finding>) {
    let mut findings = vec![];
    let mut looked = Looked::default();
    // Whatever the state remembers was in the log before it was recorded.
    let runs = match site.store().await {
        Ok(Some(store)) => store.runs(None, 1_000).await.unwrap_or_default(),
        _ => vec![],
    };
    if level == CheckLevel::Full {
        looked.leaves = audit(site, &runs, &mut findings);
    }
    if findings.is_empty()
        && let Some(fault) = site.log_fault_now(&runs)
    {
        findings.push(finding("checkpoint", fault, affected_runs(&runs, 0, u64::MAX)));
    }
    let reader = match site.log() {
        Ok(Some(reader)) => reader,
        // Without a log and without memory of one: each snapshot says whether there should be one.
        Ok(None) => {
            if findings.is_empty() && !list.is_empty() {
                let affects = list.iter().map(|s| format!("snapshot {}", s.meta.id)).collect();
                findings.push(finding(
                    "checkpoint",
                    "there is no log, and every snapshot becomes a leaf".into(),
                    affects,
                ));
            }
            return (looked, findings);
        }
        // It was told above.
        Err(_) => return (looked, findings),
    };
    looked.leaves = looked.leaves.max(reader.size());
    if level != CheckLevel::Quick {
        // A run that was stopped between its snapshot and its leaf goes on with the leaf.
        let is_under_way = runs.iter().any(|run| run.state != "finished");
        // One that failed there has left a whole snapshot that the log does not name.
        let failed = |info: &SnapshotInfo| {
            let took = |run: &&RunRow| (run.queued_at..=run.changed_at).contains(&info.meta.at);
            let ended_badly = |run: &&RunRow| run.summary.error.is_some();
            runs.iter().filter(ended_badly).find(took).map(|run| run.run)
        };
        for info in list {
            looked.snapshots += 1;
            let unsealed = match failed(info) {
                _ if is_under_way => Some("the run that took it goes on with the next command".to_owned()),
                Some(run) => Some(format!("run {run}, which took it, failed before it was sealed")),
                None => None,
            };
            snapshot(&reader, vault, info, level, unsealed.as_deref(), &mut findings, warnings);
        }
    }
    if level == CheckLevel::Full {
        vanished(&reader, vault, list, &mut findings).await;
    }
    (looked, findings)
}

fn finding(object: &str, fault: String, affects: Vec<String>) -> Finding {
    Finding { destination: LOG.into(), object: object.into(), fault, affects, affects_more: 0, restorable: false }
}

/// Computes the whole tree anew, as `log audit` does.
fn audit(site: &Site, runs: &[RunRow], findings: &mut Vec<Finding>) -> u64 {
    let audit = match crate::hub::audit(&site.state) {
        Ok(audit) => audit,
        Err(error) => {
            findings.push(finding("log", error.to_string(), affected_runs(runs, 0, u64::MAX)));
            return 0;
        }
    };
    for difference in &audit.differences {
        let affects = match leaf_named(&difference.why) {
            Some(leaf) => {
                let mut affects = vec![format!("leaf {leaf}: it cannot be shown or proven")];
                affects.extend(affected_runs(runs, leaf, leaf));
                affects
            }
            None => vec!["proofs of its leaves".into()],
        };
        findings.push(finding(&difference.file, difference.why.clone(), affects));
    }
    audit.leaves
}

/// The leaf that a difference begins with, as in `leaf 3: …` or `entry 3 is …`.
fn leaf_named(why: &str) -> Option<u64> {
    let rest = why.strip_prefix("leaf ").or_else(|| why.strip_prefix("entry "))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn affected_runs(runs: &[RunRow], from: u64, to: u64) -> Vec<String> {
    let leaf = |run: &RunRow| run.summary.leaf.and_then(|leaf| u64::try_from(leaf.0).ok());
    let named = runs.iter().filter_map(|run| Some((run.run, leaf(run).filter(|leaf| (from..=to).contains(leaf))?)));
    let named: Vec<String> = named.map(|(run, leaf)| format!("run {run}, which was sealed as leaf {leaf}")).collect();
    match named.len() {
        0..=20 => named,
        n => vec![format!("{} that were sealed in it", many(n as u64, "run", "runs"))],
    }
}

/// Compares the manifests of one snapshot with the leaf that seals it.
fn snapshot(
    reader: &LogReader,
    vault: &LocalVault,
    info: &SnapshotInfo,
    level: CheckLevel,
    unsealed: Option<&str>,
    findings: &mut Vec<Finding>,
    warnings: &mut Vec<String>,
) {
    let id = info.meta.id.as_str();
    let name = format!("snapshot {id}");
    let leaf = match reader.find(id) {
        Ok(found) => found.into_iter().find(|(_, statement)| statement.kind == "snapshot"),
        Err(error) => {
            // At level full the audit names the file.
            if level != CheckLevel::Full {
                findings.push(finding("statements", error.to_string(), vec![name]));
            }
            return;
        }
    };
    let Some((index, leaf)) = leaf else {
        if let Some(why) = unsealed {
            warnings.push(format!("{name} is not in the log: {why}"));
        } else {
            findings.push(finding(&name, "no leaf names it: something else put it there".into(), vec![name.clone()]));
        }
        return;
    };
    let mut manifests = vec![("every destination".to_owned(), info.manifest_sha256.clone())];
    if level == CheckLevel::Full
        && let Ok(found) = vault.manifest_digests(&info.meta.id)
    {
        manifests = found.into_iter().map(|(name, digest)| (name.to_string(), digest)).collect();
    }
    for (destination, digest) in manifests {
        if leaf.sha256.as_ref().is_some_and(|sealed| *sealed != digest) {
            findings.push(Finding {
                destination,
                object: format!("snapshots/{id}.age"),
                fault: format!("it is not the manifest that leaf {index} of the log names"),
                affects: vec![name.clone()],
                affects_more: 0,
                restorable: false,
            });
        }
    }
}

/// Snapshots that the log names and no destination gives, but for those that it says were forgotten.
async fn vanished(reader: &LogReader, vault: &LocalVault, list: &[SnapshotInfo], findings: &mut Vec<Finding>) {
    let listed: BTreeSet<&str> = list.iter().map(|info| info.meta.id.as_str()).collect();
    let mut missed = BTreeMap::new();
    let mut at = 0;
    while at < reader.size() {
        let Ok(statements) = reader.statements(at, at + PAGE) else { return };
        for (index, statement) in (at..).zip(&statements) {
            let id = statement.subject.strip_prefix("snapshot ").unwrap_or(&statement.subject);
            match (statement.kind.as_str(), statement.id.split(':').next()) {
                ("snapshot", _) if !listed.contains(id) => drop(missed.insert(id.to_owned(), (index, false))),
                ("admin", Some(FORGET)) => drop(missed.get_mut(id).map(|(_, forgotten)| *forgotten = true)),
                ("admin", Some(TAKE_BACK)) => drop(missed.get_mut(id).map(|(_, forgotten)| *forgotten = false)),
                _ => {}
            }
        }
        at += PAGE;
    }
    for (id, (index, _)) in missed.into_iter().filter(|(_, (_, forgotten))| !forgotten) {
        // One that was taken since the list was made is there by now.
        let is_there = match SnapshotId::parse(&id) {
            Ok(id) => vault.snapshot(&id).await.is_ok(),
            Err(_) => false,
        };
        if !is_there {
            findings.push(Finding {
                destination: "every destination".into(),
                object: format!("snapshots/{id}.age"),
                fault: format!("leaf {index} of the log names it, and no destination gives it"),
                affects: vec![format!("snapshot {id}")],
                affects_more: 0,
                restorable: false,
            });
        }
    }
}
