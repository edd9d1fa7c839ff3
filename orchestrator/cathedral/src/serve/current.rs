//! What the running hub works with now: replaced as a whole when the configuration changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cathedral_engine::Engine;
use cathedral_engine::query::Watching;
use cathedral_model::ids::SpokeName;
use cathedral_model::ports::outgoing::EndpointStanding;
use cathedral_model::run::RunSummary;
use cathedral_model::time::Timestamp;
use tokio::sync::watch;

use crate::hub::{HubEnv, Site};

/// The engine and configuration in force, and what the watchers have seen.
pub struct Current {
    inner: RwLock<(Engine, Arc<Site>)>,
    watching: Mutex<Watching>,
    /// Grows with every run that ended.
    ended: watch::Sender<u64>,
}

impl Current {
    pub fn new(engine: Engine, site: Arc<Site>) -> Self {
        Self { inner: RwLock::new((engine, site)), watching: Mutex::default(), ended: watch::Sender::new(0) }
    }

    pub fn engine(&self) -> Engine {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub fn site(&self) -> Arc<Site> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Puts a new configuration in force; runs under way end with the old one.
    pub fn replace(&self, engine: Engine, site: Arc<Site>) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = (engine, site);
    }

    /// What the watchers have seen, for the verdict.
    pub fn watching(&self) -> Watching {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let declared = self.site().notifications();
        watching.endpoints.retain(|standing| declared.endpoint(&standing.endpoint).is_some());
        watching
    }

    /// A spoke was looked at: it is as it was left, or why it could not be looked at.
    pub fn saw(&self, spoke: &SpokeName, at: Timestamp, seen: Result<bool, String>) {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        watching.checked_at = watching.checked_at.max(Some(at));
        match seen {
            Ok(is_quiet) => {
                watching.failing.remove(spoke);
                if is_quiet {
                    watching.quiet_at.insert(spoke.clone(), at);
                }
            }
            Err(why) => {
                watching.failing.insert(spoke.clone(), why);
            }
        }
    }

    /// How the endpoints of notifications stand.
    pub fn endpoints(&self, standings: Vec<EndpointStanding>) {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).endpoints = standings;
    }

    /// Looked at something, whatever it was.
    pub fn checked(&self, at: Timestamp) {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        watching.checked_at = watching.checked_at.max(Some(at));
    }

    /// Spokes that are no longer declared are forgotten.
    pub fn keep_only(&self, names: &[SpokeName]) {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |map: &mut BTreeMap<SpokeName, Timestamp>| map.retain(|name, _| names.contains(name));
        kept(&mut watching.quiet_at);
        watching.failing.retain(|name, _| names.contains(name));
    }

    /// A run has ended: watchers look again at what it touched.
    pub fn ended(&self, summary: &RunSummary) {
        let now = HubEnv::clock();
        for spoke in &summary.spokes {
            if !matches!(spoke.result.as_str(), "failed" | "unreachable") {
                self.saw(&spoke.name, now, Ok(false));
            }
        }
        self.ended.send_modify(|count| *count += 1);
    }

    /// Tells of every run that ends.
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }
}
