//! SQLite databases: the hub's file and the spoke's file, kept equal row by row.
//!
//! Kept properties: a side is read in one transaction and never checkpointed, copied as a file or blocked for
//! longer than the read; a side is written in one transaction, in which each row is read again before it is
//! changed; an apply that was interrupted is finished by applying it again.

mod answers;
mod apply;
mod base;
mod beside;
mod build;
mod catalog;
mod check;
mod decide;
mod draft;
mod drift;
mod export;
mod form;
mod hold;
mod import;
mod marker;
mod modules;
mod name;
mod objects;
mod open;
mod payload;
mod plan;
mod scan;
mod settle;
mod stamp;
mod waiting;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cathedral_model::conflict::rows::Counted;
use cathedral_model::ecosystem::{DatabaseSpoke, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{Fence, RunId, SpokeName};
use cathedral_model::observation::{Observation, SideState};
use cathedral_model::plan::{Applied, PlanContext, Skipped, SpokePlan};
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::ports::{Cause, Content, PortError, Sink, Source, Syncer};

use crate::held::Held;
use apply::{Outcome, Token};
use hold::Moment;
use payload::Step;
use settle::Known;
use stamp::Cache;

/// Called at the named moments of an apply or import; an error there is a crash there.
pub type Failpoint = Arc<dyn Fn(&str) -> Result<(), PortError> + Send + Sync>;

/// Syncs pairs of SQLite databases.
pub struct SqliteSyncer {
    state: PathBuf,
    content: Arc<dyn Content>,
    failpoint: Option<Failpoint>,
    held: Held<Moment>,
}

impl SqliteSyncer {
    /// Returns a syncer that keeps caches and replaced files below `state_dir`, and bases and plans in `content`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, content: Arc<dyn Content>) -> Self {
        Self { state: state_dir.into(), content, failpoint: None, held: Held::default() }
    }

    /// Calls `failpoint` at `hub_applied`, `spoke_applied` and `import_built`; for tests.
    #[must_use]
    pub fn with_failpoint(mut self, failpoint: Failpoint) -> Self {
        self.failpoint = Some(failpoint);
        self
    }

    fn reach(&self, point: &str) -> Result<(), PortError> {
        self.failpoint.as_ref().map_or(Ok(()), |f| f(point))
    }

    fn cache(&self) -> Cache {
        Cache::new(self.state.join("digests"))
    }

    /// Reads one side, or remembers it when nothing was written since.
    fn look(&self, path: &Path) -> Result<(SideState, Vec<String>), PortError> {
        let path = open::absolute(path)?;
        let before = stamp::stamp(&path);
        let cache = self.cache();
        if let Some(known) = before.as_ref().and_then(|s| cache.get(&path, s)) {
            return Ok(known);
        }
        let Some(side) = plan::open(&path)? else { return Ok((scan::missing(), vec![])) };
        let state = side.reading.digest(&side.catalog)?;
        let left_out = side.catalog.left_out().into_iter().map(|(name, why)| format!("{name:?} {why}"));
        let warnings = left_out.chain(side.catalog.unsynced()).map(|what| format!("{}: {what}", path.display()));
        let warnings: Vec<String> = warnings.collect();
        drop(side);
        if let Some(stamp) = before.filter(|b| stamp::stamp(&path).as_ref() == Some(b))
            && let Err(error) = cache.put(&path, stamp, &state, &warnings)
        {
            tracing::debug!(%error, "digest was not remembered");
        }
        Ok((state, warnings))
    }

    fn create_file(&self, detail: &DatabaseSpoke, side: Side, token: &Token) -> Result<u64, PortError> {
        let (from, to) = match side {
            Side::Hub => (&detail.spoke, &detail.hub),
            Side::Spoke => (&detail.hub, &detail.spoke),
        };
        let to = open::absolute(to)?;
        if to.exists() {
            return Ok(0);
        }
        let source = plan::open(from)?
            .ok_or_else(|| PortError::failed(Cause::NotFound, format!("database {} is missing", from.display())))?;
        build::copy(&source, detail, &to, token)
    }
}

fn detail(spoke: &Spoke) -> Result<&DatabaseSpoke, PortError> {
    match &spoke.detail {
        SpokeDetail::Database(detail) => {
            let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
                (Ok(a), Ok(b)) => a == b,
                _ => a == b,
            };
            if same(&detail.hub, &detail.spoke) {
                let name = detail.hub.display();
                return Err(PortError::failed(Cause::Invalid, format!("{name} is declared as both hub and spoke")));
            }
            Ok(detail)
        }
        _ => Err(PortError::failed(Cause::Invalid, format!("spoke {} is not a database", spoke.name))),
    }
}

/// What the plan gave to both sides, as far as it is in place.
fn known(steps: &[Step], outcomes: &[(Side, Outcome)]) -> Result<Known, PortError> {
    let mut out = Known::new();
    let mut apart = std::collections::BTreeSet::new();
    let mut put = |table: &str, key: &str, row: Option<Counted>| -> Result<(), PortError> {
        let damaged = |_| PortError::Corrupt("the instructions of a plan are damaged".to_owned());
        let key = hex::decode(key).map_err(damaged)?;
        out.entry(table.to_ascii_lowercase()).or_default().insert(key, row);
        Ok(())
    };
    for step in steps {
        if let Step::Base { table, key, row } = step {
            apart.insert((table.as_str(), key.as_str()));
            put(table, key, row.clone().map(|c| Counted { row: c.0, count: 1 }))?;
        }
    }
    let missed: std::collections::BTreeSet<(&str, &str)> = steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match step {
            Step::Write(w) if !outcomes.iter().any(|(side, o)| *side == w.side && o.carried.contains(&at)) => {
                Some((w.table.as_str(), w.key.as_str()))
            }
            _ => None,
        })
        .collect();
    for step in steps {
        if let Step::Write(w) = step {
            let at = (w.table.as_str(), w.key.as_str());
            if !apart.contains(&at) && !missed.contains(&at) {
                put(&w.table, &w.key, w.after.clone().map(|c| Counted { row: c.0, count: w.counts.1 }))?;
            }
        }
    }
    Ok(out)
}

#[async_trait]
impl Syncer for SqliteSyncer {
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        let detail = detail(spoke)?;
        let (hub, mut warnings) = self.look(&detail.hub)?;
        let (far, more) = self.look(&detail.spoke)?;
        warnings.extend(more);
        if hub == scan::missing() && far == scan::missing() {
            let (h, s) = (detail.hub.display(), detail.spoke.display());
            return Err(PortError::failed(Cause::NotFound, format!("neither {h} nor {s} is there")));
        }
        Ok(Observation { hub, spoke: far, warnings })
    }

    async fn observe_side(&self, spoke: &Spoke, side: Side) -> Result<SideState, PortError> {
        let detail = detail(spoke)?;
        let path = if side == Side::Hub { &detail.hub } else { &detail.spoke };
        let (state, _) = self.look(path)?;
        if state == scan::missing() {
            return Err(PortError::failed(Cause::NotFound, format!("{} is not there", path.display())));
        }
        Ok(state)
    }

    async fn plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError> {
        let detail = detail(spoke)?;
        // What was read for the snapshot is planned by as it was then; each row is compared again when it is written.
        if let Some([(_, hub), (_, far)]) = self.held.take_pair(&spoke.name, &context.held) {
            return plan::plan_of(spoke, detail, context, self.content.as_ref(), Some(&hub.side), Some(&far.side));
        }
        plan::plan(spoke, detail, context, self.content.as_ref())
    }

    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, _run: RunId) -> Result<(), PortError> {
        detail(spoke)?;
        // The instructions hold every row that is replaced, removed or in dispute; reading them proves it.
        payload::load(self.content.as_ref(), &plan.payload).map(|_| ())
    }

    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError> {
        let detail = detail(spoke)?;
        let steps = payload::load(self.content.as_ref(), &plan.payload)?;
        let past = steps.iter().find_map(|s| if let Step::Past { base } = s { *base } else { None });
        let token = Token { pair: spoke.name.to_string(), sync: format!("{run}:{}", plan.payload), fence };
        let mut outcomes = Vec::new();
        let mut skipped: Vec<Skipped> = Vec::new();
        let mut changes = [0, 0];
        for (index, side) in [Side::Hub, Side::Spoke].into_iter().enumerate() {
            let path = if side == Side::Hub { &detail.hub } else { &detail.spoke };
            if steps.iter().any(|s| matches!(s, Step::CreateFile { side: of } if *of == side)) {
                self.create_file(detail, side, &token)?;
                changes[index] = plan.actions.iter().filter(|a| a.side == side).count() as u64;
            } else if steps.iter().any(|s| step_side(s) == Some(side)) {
                let mut outcome = apply::side(path, side, &steps, &token)?;
                skipped.append(&mut outcome.skipped);
                let planned = plan.actions.iter().filter(|a| a.side == side).count() as u64;
                let in_place = outcome.carried.len() as u64;
                let writes = steps.iter().filter(|s| matches!(s, Step::Write(w) if w.side == side)).count() as u64;
                changes[index] = planned.saturating_sub(writes - in_place.min(writes));
                outcomes.push((side, outcome));
            }
            self.reach(if side == Side::Hub { "hub_applied" } else { "spoke_applied" })?;
        }
        let known = known(&steps, &outcomes)?;
        let settled =
            settle::settle(detail, past.as_ref(), &known, self.content.as_ref(), &self.state.join("scratch"))?;
        Ok(Applied {
            hub: settled.hub,
            spoke: settled.spoke,
            base: settled.base,
            changes_in: changes[0],
            changes_out: changes[1],
            skipped,
        })
    }

    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        let detail = detail(spoke)?;
        let path = match place {
            Place::Live(Side::Hub) => &detail.hub,
            Place::Live(Side::Spoke) => &detail.spoke,
            Place::Path(path) => path,
        };
        if let Place::Live(side) = place
            && self.held.wants(&spoke.name)
            && let Some(moment) = hold::moment(path, &self.state.join("scratch"))?
        {
            let state = export::export_open(&moment.side, sink)?;
            self.held.keep(&spoke.name, *side, state.digest, moment);
            return Ok(state);
        }
        export::export(path, sink)
    }

    fn remember(&self, spoke: &SpokeName) {
        self.held.begin(spoke);
    }

    fn forget(&self, spoke: &SpokeName) {
        self.held.end(spoke);
    }

    async fn import(
        &self,
        spoke: &Spoke,
        place: &Place,
        source: &mut dyn Source,
        run: RunId,
        _fence: Fence,
    ) -> Result<Imported, PortError> {
        let detail = detail(spoke)?;
        match place {
            Place::Path(path) => import::to_path(path, source),
            Place::Live(side) => {
                let path = if *side == Side::Hub { &detail.hub } else { &detail.spoke };
                let kept = self.state.join("kept").join(run.to_string());
                let kept = kept.join(spoke.name.as_str()).join(side.as_str());
                import::in_place(path, &kept, source, &|point| self.reach(point))
            }
        }
    }
}

fn step_side(step: &Step) -> Option<Side> {
    match step {
        Step::CreateTable { side, .. }
        | Step::CreateObject { side, .. }
        | Step::Number { side, .. }
        | Step::Sequence { side, .. } => Some(*side),
        Step::Write(write) => Some(write.side),
        _ => None,
    }
}
