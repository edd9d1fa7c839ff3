//! What the hub looks after by itself, with what there is.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cathedral_engine::query::{Facts, verdict};
use cathedral_model::ecosystem::Ecosystem;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::{Accounts, Chores, Intake, PortError, Store, Vault};
use cathedral_model::time::Timestamp;
use cathedral_model::upkeep::{Upkeep, UpkeepReport};
use cathedral_syncers::git::Depth;

use super::env::HubEnv;

/// Senders repeat for three days at most; what is older cannot come again.
const DELIVERIES_MS: i64 = 7 * 86_400_000;
/// Scratch folders of commands that were killed.
const SCRATCH_MS: u64 = 7 * 86_400_000;

/// Does upkeep on the adapters of one hub.
pub struct HubChores {
    pub state: PathBuf,
    pub ecosystem: Arc<Ecosystem>,
    pub vault: Arc<dyn Vault>,
    pub store: Arc<dyn Store>,
    pub accounts: Arc<dyn Accounts>,
    pub intake: Arc<dyn Intake>,
}

#[async_trait]
impl Chores for HubChores {
    async fn perform(&self, upkeep: &Upkeep) -> Result<UpkeepReport, PortError> {
        match upkeep {
            Upkeep::Verify { level } => {
                let report = self.vault.check(*level, &[], &Silent).await?;
                let mut done = UpkeepReport {
                    sentence: format!("{} snapshots checked", report.snapshots.len()),
                    ..UpkeepReport::default()
                };
                for (name, value) in [
                    ("packs", report.checked.packs),
                    ("chunks", report.checked.chunks),
                    ("bytes", report.checked.bytes),
                ] {
                    done.figures.insert(name.into(), value);
                }
                let tell = |p: &cathedral_model::snapshot::Problem| {
                    let whether = if p.restorable { "another copy is whole" } else { "no whole copy is left" };
                    format!("{}: {} {}; {whether}", p.destination, p.object, p.fault)
                };
                done.problems = report.problems.iter().map(tell).collect();
                Ok(done)
            }
            Upkeep::Integrity => self.integrity().await,
            Upkeep::Clean => self.clean().await,
            Upkeep::Report => self.report().await,
        }
    }
}

impl HubChores {
    /// Recomputes the whole log from its statements, and compares what the state says was sealed with it.
    async fn integrity(&self) -> Result<UpkeepReport, PortError> {
        let state = self.state.clone();
        let audit = tokio::task::spawn_blocking(move || super::log_check::audit(&state));
        let audit = audit.await.map_err(|e| PortError::permanent(format!("the audit stopped: {e}")))?;
        let audit = audit.map_err(PortError::from)?;
        let mut done = UpkeepReport {
            sentence: format!("{} leaves recomputed", audit.leaves),
            problems: audit.differences.iter().map(|d| format!("{}: {}", d.file, d.why)).collect(),
            ..UpkeepReport::default()
        };
        done.figures.insert("leaves".into(), audit.leaves);
        super::log_check::note_log_check(&self.state, true, &done.problems);
        done.problems.extend(self.stores().await?);
        for row in self.store.runs(None, 200).await? {
            if let Some(leaf) = row.summary.leaf
                && u64::try_from(leaf.0).is_ok_and(|leaf| leaf >= audit.leaves)
            {
                done.problems.push(format!("run {} was sealed as leaf {leaf}, which the log does not hold", row.run));
            }
        }
        Ok(done)
    }

    /// Looks whether the hub's own stores of repositories hold every object.
    async fn stores(&self) -> Result<Vec<String>, PortError> {
        let (state, ecosystem) = (self.state.clone(), Arc::clone(&self.ecosystem));
        let look = move || -> Result<Vec<String>, PortError> {
            let mut found = vec![];
            for spoke in super::own::stores(&ecosystem) {
                let faults = super::own::store_faults(&state, &spoke, Depth::Connected)?;
                super::own::note_store_check(&state, spoke.name.as_str(), Depth::Connected, &faults);
                let line = |fault: &String| format!("store of {}: {fault}; {}", spoke.name, super::own::HEAL);
                found.extend(faults.first().map(line));
            }
            Ok(found)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|e| PortError::permanent(format!("the look at the stores stopped: {e}")))?
    }

    /// Removes what is over: nothing that anybody could want back.
    async fn clean(&self) -> Result<UpkeepReport, PortError> {
        let now = HubEnv::clock();
        let old = Timestamp(now.0.saturating_sub(DELIVERIES_MS * 1_000));
        let deliveries = self.intake.forget_deliveries(old).await?;
        let sessions = self.accounts.forget_expired(now).await?;
        let scratch = self.scratch(now)?;
        let mut done = UpkeepReport {
            sentence: format!("{} things removed", deliveries + sessions + scratch),
            ..UpkeepReport::default()
        };
        for (name, value) in [("deliveries", deliveries), ("sessions", sessions), ("scratch", scratch)] {
            done.figures.insert(name.into(), value);
        }
        Ok(done)
    }

    fn scratch(&self, now: Timestamp) -> Result<u64, PortError> {
        let folder = self.state.join("scratch");
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(0) };
        let mut removed = 0;
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            let at = modified.and_then(|t| jiff::Timestamp::try_from(t).ok()).map(|t| Timestamp(t.as_microsecond()));
            if at.is_some_and(|at| now.ms_since(at) > SCRATCH_MS) {
                std::fs::remove_dir_all(entry.path()).map_err(|e| PortError::io(entry.path().display(), &e))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn report(&self) -> Result<UpkeepReport, PortError> {
        let snapshots = self.vault.list().await.map(Arc::new).map_err(|e| e.to_string());
        let mut facts = Facts::collect(&self.store, &self.ecosystem, snapshots, HubEnv::clock()).await?;
        facts.look = self.vault.look().await.ok();
        let verdict = verdict(&facts);
        let mut done = UpkeepReport { sentence: verdict.sentence.clone(), ..UpkeepReport::default() };
        let snapshots = facts.snapshots.as_ref().map_or(0, |list| list.len() as u64);
        let stored = facts.snapshots.as_ref().map_or(0, |list| list.iter().map(|s| s.bytes.stored).sum());
        for (name, value) in [
            ("spokes", verdict.spokes.len() as u64),
            ("conflicts", facts.conflicts.len() as u64),
            ("needs", verdict.needs.len() as u64),
            ("snapshots", snapshots),
            ("stored_bytes", stored),
            ("waiting_runs", verdict.running.len() as u64),
        ] {
            done.figures.insert(name.into(), value);
        }
        Ok(done)
    }
}
