//! The hub as its pages see it: what no port gives.

use std::sync::Arc;

use async_trait::async_trait;
use cathedral_engine::query::{Objectives, OwnFault, Watching};
use cathedral_integrity::LogReader;
use cathedral_model::access::Action;
use cathedral_model::config::scalar::{Period, Scalar as _};
use cathedral_model::config::{Problem, validate};
use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::versions::ConfigVersion;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::schedule::Schedule;
use cathedral_model::time::Timestamp;
use cathedral_web::hub::{Download, Leaf, Said, Secret, Subject, Terminal, Unfit};
use tokio::sync::mpsc::Receiver;

use super::reload::Reloader;
use super::scheduler::zones;
use crate::hub::{FileLookup, Hub, HubEnv, Site, capabilities, shown};

/// The hub behind the pages.
pub struct Face {
    pub hub: Arc<Hub>,
    pub reloader: Arc<Reloader>,
}

impl Face {
    fn reader(&self) -> Result<LogReader, PortError> {
        let state = &self.hub.site.state;
        let key = cathedral_integrity::key::verifier_key(&state.join("keys"))?;
        Ok(LogReader::open(&state.join("log"), &key)?)
    }
}

#[async_trait]
impl cathedral_web::hub::Hub for Face {
    fn name(&self) -> String {
        self.reloader.current().engine().ecosystem().name.clone()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn public_url(&self) -> Option<String> {
        let site = self.reloader.current().site();
        let url = site.config.cathedral_ecosystem.web.public_url.as_ref()?.text();
        Some(url.trim_end_matches('/').to_owned())
    }

    fn not_ready(&self) -> Option<String> {
        None
    }

    fn webhook_secrets(&self, source: &str) -> Vec<Secret> {
        let site = self.reloader.current().site();
        match source {
            "github" => site.github_secrets().into_iter().map(Secret).collect(),
            _ => vec![],
        }
    }

    async fn config_text(&self) -> Result<String, PortError> {
        let file = &self.hub.site.file;
        tokio::fs::read_to_string(file).await.map_err(|e| PortError::io(shown(file), &e))
    }

    fn validate(&self, text: &str) -> Vec<Problem> {
        let lookup = FileLookup { root: self.hub.site.root.clone() };
        validate(text, &shown(&self.hub.site.file), &lookup, &capabilities())
    }

    async fn put_config(&self, text: &str, cause: &str) -> Result<ConfigVersion, PortError> {
        self.reloader.put(text, cause).await
    }

    async fn reload(&self) -> Result<ConfigVersion, PortError> {
        self.reloader.take_over("reload").await.map_err(|failure| PortError::failed(Cause::Invalid, failure.what))
    }

    fn objectives(&self) -> Objectives {
        let site = self.reloader.current().site();
        let declared = &site.config.cathedral_ecosystem.objectives;
        Objectives {
            rpo_ms: declared.rpo.as_ref().map(Period::as_millis),
            rto_ms: declared.rto.as_ref().map(Period::as_millis),
            verify_every_ms: verify_every(&site),
        }
    }

    async fn log_fault(&self) -> Option<String> {
        let runs = self.hub.store().runs(None, 50).await.ok()?;
        self.hub.site.log_fault(&runs)
    }

    async fn own_faults(&self) -> Vec<OwnFault> {
        self.hub.site.own_faults()
    }

    fn watching(&self) -> Watching {
        self.reloader.current().watching()
    }

    fn next_due(&self, schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
        cathedral_engine::schedule::next_due(&schedule.rule, after, &zones).ok().flatten()
    }

    fn command_needs(&self, arguments: &[String]) -> Result<Action, Unfit> {
        crate::cli::needs(arguments)
    }

    async fn command(
        &self,
        arguments: Vec<String>,
        terminal: &Terminal,
        actor: &str,
    ) -> Result<Receiver<Said>, PortError> {
        super::commands::begin(&self.hub.site, arguments, terminal, actor)
    }

    async fn proof_pack(&self, subject: &Subject) -> Result<Download, PortError> {
        let reader = self.reader()?;
        let (index, name) = match subject {
            Subject::Leaf(index) => (u64::try_from(index.0).unwrap_or(u64::MAX), format!("leaf-{index}")),
            Subject::Snapshot(id) => {
                let found = reader.find(id.as_str())?;
                let first = found.first().map(|(index, _)| *index);
                let missing = || PortError::failed(Cause::NotFound, format!("snapshot {id} is not in the log"));
                (first.ok_or_else(missing)?, format!("snapshot-{id}"))
            }
        };
        if index >= reader.size() {
            return Err(PortError::failed(Cause::NotFound, format!("the log has no leaf {index}")));
        }
        let pack = reader.prove(index)?;
        let bytes = pack.to_bytes().map_err(|e| PortError::permanent(e.to_string()))?;
        Ok(Download { name: format!("{name}.proof.tar"), media_type: "application/x-tar".into(), bytes })
    }

    async fn leaves(&self, before: Option<LeafIndex>, limit: u32) -> Result<Vec<Leaf>, PortError> {
        let reader = self.reader()?;
        let size = reader.size();
        let end = before.and_then(|b| u64::try_from(b.0).ok()).map_or(size, |b| b.min(size));
        let from = end.saturating_sub(u64::from(limit));
        let statements = reader.statements(from, end)?;
        let entries = reader.entries(from, end)?;
        let leaves = statements.into_iter().zip(entries).enumerate().map(|(at, (statement, entry))| Leaf {
            index: LeafIndex(i64::try_from(from + at as u64).unwrap_or(i64::MAX)),
            statement: statement.value,
            hash: leaf_hash(&entry),
        });
        let mut leaves: Vec<Leaf> = leaves.collect();
        leaves.reverse();
        Ok(leaves)
    }
}

/// The time between two full checks, where they are scheduled.
fn verify_every(site: &Site) -> Option<u64> {
    let verify = super::schedules(site).into_iter().find(|s| s.name == "verify")?;
    let due = cathedral_engine::schedule::upcoming(&verify.rule, HubEnv::clock(), Timestamp(i64::MAX / 4), 2, &zones);
    match due.ok()?.as_slice() {
        [first, second] => Some(second.ms_since(*first)),
        _ => None,
    }
}

fn leaf_hash(entry: &[u8]) -> String {
    cathedral_integrity::tree::leaf_hash(entry).iter().map(|byte| format!("{byte:02x}")).collect()
}
