//! Git spokes: mirrors, submodule pins, shared paths, and the hub's own repository.
//!
//! Every comparison has three sides: base (what both last agreed on), hub and spoke. A remote ref is
//! changed only by compare-and-swap against the value in the plan, everything replaced or in dispute is
//! pinned in the hub's store first, and what came of it is what reading back says.

mod answers;
mod apply;
mod check;
mod decide;
mod deploy;
mod disputed;
mod export;
mod facts;
mod failure;
mod fetch;
mod guard;
mod heal;
mod held;
mod hub;
mod import;
mod keeper;
mod listing;
mod locks;
mod merge;
mod object;
mod older;
mod packed;
mod paths;
mod payload;
mod pin;
mod plan;
mod push;
mod refs;
mod run;
mod salvage;
mod shared;
mod sound;
mod stash;
mod store;
mod url;
mod worktree;

use async_trait::async_trait;
use cathedral_model::ecosystem::{GitSpoke, Hub, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{Fence, RunId, SpokeName};
use cathedral_model::observation::{Observation, SideState};
use cathedral_model::plan::{Applied, PlanContext, SpokePlan};
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::ports::{Cause, Content, PortError, Sink, Source, Syncer};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::held::Held;
pub use disputed::disputed_files;
pub use failure::GitError;
pub use heal::{Healed, Healing};
pub use keeper::{KEEPER, keep, this_program};
pub use run::{Interrupt, Moment, Options};
pub use sound::Depth;
pub use url::Remote;

use facts::{Context, Facts};
use hub::HubRepo;
use payload::{PLAN, Payload};
use plan::{Planner, config_digest, read_base};
use run::Git;
use store::Store;

/// Syncs git spokes.
pub struct GitSyncer {
    state_dir: PathBuf,
    hub: Hub,
    content: Arc<dyn Content>,
    git: Git,
    /// Spokes may be worked on side by side; the hub repository by one at a time.
    hub_lock: Arc<Mutex<()>>,
    fences: Mutex<()>,
    held: Held<Facts>,
}

impl GitSyncer {
    /// Makes a syncer that keeps its stores below `state_dir` (the ecosystem's `.cathedral` folder).
    #[must_use]
    pub fn new(state_dir: PathBuf, hub: Hub, content: Arc<dyn Content>, options: Options) -> Self {
        let git = Git::new(options);
        Self { state_dir, hub, content, git, hub_lock: Arc::default(), fences: Mutex::default(), held: Held::default() }
    }

    fn context<'a>(&'a self, spoke: &'a Spoke) -> Result<Context<'a>, GitError> {
        self.around(spoke, Store::open(&self.git, &self.state_dir, spoke.name.as_str())?)
    }

    fn around<'a>(&'a self, spoke: &'a Spoke, store: Store) -> Result<Context<'a>, GitError> {
        let detail = detail_of(spoke)?;
        let root = self.state_dir.parent().unwrap_or(&self.state_dir);
        Ok(Context {
            git: &self.git,
            state_dir: &self.state_dir,
            spoke,
            detail,
            remote: Remote::parse(&detail.url, root)?,
            store,
            hub: HubRepo::new(&self.git, &self.state_dir, &self.hub, Arc::clone(&self.hub_lock))?,
        })
    }

    /// The store of the hub's own repository is also used for pins and shared paths.
    fn turn(&self, spoke: &Spoke) -> Option<std::sync::MutexGuard<'_, ()>> {
        (spoke.name == self.hub.name).then(|| self.hub_lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what is wrong with the hub's own store of a spoke; nothing for one that was never made. Writes nothing.
    ///
    /// # Errors
    /// When git cannot be run.
    pub fn store_faults(&self, spoke: &Spoke, depth: Depth) -> Result<Vec<String>, PortError> {
        let allow = &detail_of(spoke)?.fsck_allow;
        Ok(sound::faults(&self.git, &self.state_dir, spoke.name.as_str(), depth, allow)?)
    }

    /// Begins to make the hub's own store of a spoke anew; nothing is changed before [`Healing::finish`]. Nobody
    /// else may work in the hub's folder meanwhile.
    ///
    /// # Errors
    /// When there is no room, or git cannot be run.
    pub fn heal<'a>(&'a self, spoke: &'a Spoke) -> Result<Healing<'a>, PortError> {
        let around = |store| self.around(spoke, store);
        Ok(Healing::begin(&self.git, &self.state_dir, spoke.name.as_str(), around)?)
    }

    /// Works on a spoke in its turn.
    fn work<T>(&self, spoke: &Spoke, work: impl FnOnce(&Context<'_>) -> Result<T, PortError>) -> Result<T, PortError> {
        let _turn = self.turn(spoke);
        let result = self.context(spoke).map_err(PortError::from).and_then(|context| work(&context));
        self.explained(spoke, result)
    }

    /// Adds to an error what is wrong with the hub's own store, when that is its cause.
    fn explained<T>(&self, spoke: &Spoke, result: Result<T, PortError>) -> Result<T, PortError> {
        let depth = match result.as_ref().err() {
            Some(PortError::Corrupt(_) | PortError::Permanent { cause: Cause::Other, .. }) => Depth::Connected,
            // A remote that is not found is told as such, without reading the whole store each time.
            Some(PortError::Permanent { cause: Cause::NotFound, .. }) => Depth::Form,
            _ => return result,
        };
        let allow = &detail_of(spoke)?.fsck_allow;
        for name in [&spoke.name, &self.hub.name] {
            let faults = sound::faults(&self.git, &self.state_dir, name.as_str(), depth, allow);
            if let Some(fault) = faults.unwrap_or_default().first() {
                return Err(PortError::Corrupt(format!(
                    "the hub's own store of {name} is damaged: {fault}; `cathedral doctor --fix` makes it anew from \
                     what is left of it, the repository and the snapshots"
                )));
            }
        }
        result
    }

    fn payload(&self, context: &Context<'_>, plan: &SpokePlan) -> Result<Payload, PortError> {
        let bytes = self.content.get(&plan.payload)?;
        let payload: Payload = serde_json::from_slice(&bytes)
            .map_err(|e| PortError::Corrupt(format!("git plan {}: {e}", plan.payload)))?;
        if payload.v != PLAN || payload.spoke != context.spoke.name.as_str() || plan.spoke != context.spoke.name {
            return Err(PortError::Corrupt(format!("plan {} is not one for {}", plan.payload, context.spoke.name)));
        }
        if payload.config != config_digest(context)? {
            let message = format!("{}: it was planned under another configuration; plan again", context.spoke.name);
            return Err(PortError::failed(Cause::Refused, message));
        }
        Ok(payload)
    }

    /// Remembers the newest fence of a spoke, durably, and refuses older ones.
    fn check_fence(&self, context: &Context<'_>, fence: Fence) -> Result<(), PortError> {
        let _alone = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        let path = context.store.path().join("cathedral-fence");
        let noted = std::fs::read_to_string(&path).ok().and_then(|t| t.trim().parse::<i64>().ok());
        let newest = noted.filter(|fence| *fence <= Fence::GREATEST.0).unwrap_or(i64::MIN);
        if fence.0 < newest {
            return Err(PortError::Fenced(format!("{}: fence {fence} is older than {newest}", context.spoke.name)));
        }
        if fence.0 > newest {
            let failed = |e: &std::io::Error| PortError::io(path.display(), e);
            let mut file = tempfile::NamedTempFile::new_in(context.store.path()).map_err(|e| failed(&e))?;
            std::io::Write::write_all(&mut file, fence.to_string().as_bytes()).map_err(|e| failed(&e))?;
            file.as_file().sync_all().map_err(|e| failed(&e))?;
            file.persist(&path).map_err(|e| failed(&e.error))?;
            store::sync_folder(context.store.path())?;
        }
        Ok(())
    }
}

#[async_trait]
impl Syncer for GitSyncer {
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        self.work(spoke, |context| {
            let facts = context.observe()?;
            let (hub, spoke) = context.states(&facts);
            Ok(Observation { hub, spoke, warnings: facts.warnings })
        })
    }

    async fn observe_partly(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        self.work(spoke, |context| {
            let (facts, _) = context.observe_partly()?;
            let (hub, spoke) = context.states(&facts);
            Ok(Observation { hub, spoke, warnings: facts.warnings })
        })
    }

    async fn plan(&self, spoke: &Spoke, asked: &PlanContext) -> Result<SpokePlan, PortError> {
        self.work(spoke, |context| {
            let mut facts = context.observe()?;
            let base = read_base(context, asked.base.as_ref(), self.content.as_ref())?;
            let held = self.held.take(&spoke.name, &asked.held).and_then(|mut held| held.remove(&Side::Hub));
            let changed = held.as_ref().and_then(|(_, held)| facts.freeze_changed(held));
            let (hub, spoke) = match (&held, changed) {
                (Some((_, held)), Some(_)) => context.states(held),
                _ => context.states(&facts),
            };
            let expected = cathedral_model::observation::Digests { hub: hub.digest, spoke: spoke.digest };
            let plan = Planner::new(context, &facts, asked, base).run(expected, self.content.as_ref())?;
            Ok(SpokePlan { restricted: changed.is_some_and(|n| n > 0), ..plan })
        })
    }

    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId) -> Result<(), PortError> {
        self.work(spoke, |context| {
            let payload = self.payload(context, plan)?;
            Ok(pin::pin(context, &payload, run)?)
        })
    }

    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError> {
        self.work(spoke, |context| {
            self.check_fence(context, fence)?;
            let payload = self.payload(context, plan)?;
            // No pin, no write: repeating it costs nothing when it is done.
            pin::pin(context, &payload, run)?;
            Ok(apply::apply(context, &payload, self.content.as_ref())?)
        })
    }

    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        match place {
            Place::Path(dir) => export::path(&self.git, dir, sink),
            Place::Live(_) => self.work(spoke, |context| {
                let facts = context.observe()?;
                let state = export::live(context, &facts, sink)?;
                self.held.keep(&spoke.name, Side::Hub, state.digest, facts);
                Ok(state)
            }),
        }
    }

    async fn export_partly(&self, spoke: &Spoke, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        self.work(spoke, |context| {
            let (facts, older) = context.observe_partly()?;
            if let Some(older) = older {
                sink.older(older.side, &older.why);
            }
            export::live(context, &facts, sink)
        })
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
        fence: Fence,
    ) -> Result<Imported, PortError> {
        match place {
            Place::Path(dir) => import::path(&self.git, &self.state_dir, dir, source, run),
            Place::Live(_) => {
                let _turn = self.turn(spoke);
                // A restore brings back what a store that is gone has held.
                let store = Store::open_anew(&self.git, &self.state_dir, spoke.name.as_str())?;
                let context = self.around(spoke, store)?;
                self.check_fence(&context, fence)?;
                import::live(&context, source, run)
            }
        }
    }
}

/// Says what is wrong with the hub's own store of a spoke below `state_dir`, as [`GitSyncer::store_faults`] does
/// with nothing but git.
///
/// # Errors
/// When git cannot be run.
pub fn store_faults(
    options: Options,
    state_dir: &std::path::Path,
    spoke: &Spoke,
    depth: Depth,
) -> Result<Vec<String>, PortError> {
    let allow = &detail_of(spoke)?.fsck_allow;
    Ok(sound::faults(&Git::new(options), state_dir, spoke.name.as_str(), depth, allow)?)
}

/// Whether the store of this name notes that an agreed state is not to be believed; then nothing reads it.
#[must_use]
pub fn is_base_disregarded(state_dir: &std::path::Path, name: &str, base: &cathedral_model::ids::Digest) -> bool {
    heal::is_disregarded_at(&sound::place(state_dir, name), base)
}

/// Whether there was a store of this name once, and its folder is gone.
#[must_use]
pub fn is_store_gone(state_dir: &std::path::Path, name: &str) -> bool {
    !sound::place(state_dir, name).is_dir() && sound::is_known(state_dir, name)
}

fn detail_of(spoke: &Spoke) -> Result<&GitSpoke, GitError> {
    match &spoke.detail {
        SpokeDetail::Git(detail) => Ok(detail),
        _ => Err(GitError::Invalid(format!("{} is not a git spoke", spoke.name))),
    }
}

/// The position of a ref for people.
fn position(name: &str, oid: &str) -> String {
    format!("{} {}", name.strip_prefix("refs/heads/").unwrap_or(name), object::short(Some(oid)))
}

/// A ref as people call it.
fn name_for_people(name: &str) -> String {
    for (prefix, kind) in [("refs/heads/", "branch"), ("refs/tags/", "tag")] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return format!("{kind} {rest}");
        }
    }
    name.to_owned()
}
