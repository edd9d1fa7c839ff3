//! File trees: the hub's copy and the spoke's copy kept equal, with nothing lost.
//!
//! The planner is pure and lives in `conflict::tree`; here trees are read, plans written down and carried out.
//! Kept properties: nothing outside the two roots is read or written; what cannot be read is not taken for deleted;
//! each file is old or new at every instant; what is replaced or removed is in the content store first, and is what
//! the plan had seen; no decision rests on a clock; a second sync writes nothing.

mod base;
mod cache;
mod export;
mod guard;
mod handle;
mod hash;
mod hook;
mod import;
mod merge;
mod names;
mod planning;
mod rules;
mod scan;
mod sound;
mod stage;
mod step;
mod versions;
mod write;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cathedral_model::conflict::Chain;
use cathedral_model::conflict::tree::{Direction, Tree};
use cathedral_model::ecosystem::{FilesSpoke, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{Digest, Fence, RunId, SpokeName};
use cathedral_model::observation::{Digests, Observation, SideState};
use cathedral_model::plan::{Applied, Guard, PlanContext, Skipped, SpokePlan};
use cathedral_model::ports::syncer::{Imported, Place, Syncer};
use cathedral_model::ports::{Cause, Content, PortError, Sink, Source};

use crate::held::Held;
use base::Base;
pub use base::needs;
use cache::Cache;
use guard::Notes;
use handle::Root;
pub use hook::Hook;
use planning::{Planned, Planning};
use rules::Rules;
use scan::Scan;
pub use sound::{NoteFault, NoteOf, mend_fence, note_faults};
use stage::Stage;
use step::{Header, SCHEMA, Script};
pub use versions::Version;
use write::Writer;

/// At most so many paths that changed meanwhile are listed.
const LEFT_OVER: usize = 50;

/// Syncs pairs of file trees.
pub struct FilesSyncer {
    state: PathBuf,
    content: Arc<dyn Content>,
    hook: Hook,
    held: Held<Tree>,
}

/// Both sides of a pair, opened and read.
struct Pair {
    hub_root: Option<Root>,
    spoke_root: Option<Root>,
    rules: Rules,
    hub: Scan,
    spoke: Scan,
}

impl FilesSyncer {
    /// Makes a syncer whose own notes are in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>, content: Arc<dyn Content>) -> Self {
        Self { state: state_dir.into(), content, hook: Hook::default(), held: Held::default() }
    }

    /// Sets what is called before each call that touches a tree; for tests.
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = hook;
        self
    }

    /// Lists the contents that syncs of this spoke replaced or removed, oldest first.
    pub fn versions(&self, spoke: &Spoke) -> Result<Vec<Version>, PortError> {
        let at = self.notes(spoke).versions();
        versions::list(&at).map_err(|e| PortError::io(at.display(), &e))
    }

    fn notes(&self, spoke: &Spoke) -> Notes {
        Notes::new(&self.state, &spoke.name)
    }

    /// The state folder's number, so that it is never taken for a part of a tree.
    fn own(&self) -> Option<(u64, u64)> {
        let meta = std::fs::metadata(&self.state).ok()?;
        Some((std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta)))
    }

    fn roots(&self, spoke: &Spoke) -> Result<[Option<Root>; 2], PortError> {
        let files = detail(spoke)?;
        refuse_nested(&files.hub, &files.spoke)?;
        Ok([open_root(&files.hub)?, open_root(&files.spoke)?])
    }

    /// Opens one side, and with it what is to be known of the other one where that can be read.
    fn alone(&self, spoke: &Spoke, side: Side) -> Result<(Option<Root>, Rules), PortError> {
        let files = detail(spoke)?;
        refuse_nested(&files.hub, &files.spoke)?;
        let (path, other) = match side {
            Side::Hub => (&files.hub, &files.spoke),
            Side::Spoke => (&files.spoke, &files.hub),
        };
        let (root, other) = (open_root(path)?, open_root(other).ok().flatten());
        let both = if side == Side::Hub { [root.as_ref(), other.as_ref()] } else { [other.as_ref(), root.as_ref()] };
        let rules = Rules::load(files, &both);
        Ok((root, rules))
    }

    /// Reads both sides, side by side.
    fn read(&self, spoke: &Spoke) -> Result<Pair, PortError> {
        let [hub_root, spoke_root] = self.roots(spoke)?;
        let rules = Rules::load(detail(spoke)?, &[hub_root.as_ref(), spoke_root.as_ref()]);
        let notes = self.notes(spoke);
        let own = self.own();
        let read = |root: Option<&Root>, side| scan::scan(root, &rules, Some(&notes.cache(side)), own, &self.hook);
        let (hub, spoke_scan) = std::thread::scope(|scope| {
            let hub = scope.spawn(|| read(hub_root.as_ref(), Side::Hub));
            let spoke = read(spoke_root.as_ref(), Side::Spoke);
            (hub.join(), spoke)
        });
        let hub = hub.map_err(|_| PortError::permanent("reading the hub's tree failed"))?;
        for (scan, root) in [(&hub, &hub_root), (&spoke_scan, &spoke_root)] {
            if let Some(root) = root {
                refuse_unread(scan, root)?;
            }
        }
        Ok(Pair { hub_root, spoke_root, rules, hub, spoke: spoke_scan })
    }

    /// Loads the agreed state without what takes no part any more.
    fn base(&self, id: Option<&Digest>, rules: &Rules) -> Result<Option<Base>, PortError> {
        let Some(id) = id else { return Ok(None) };
        let mut base = Base::load(&*self.content, id)?;
        planning::without_ignored(&mut base.tree, rules);
        Ok(Some(base))
    }

    /// Finds what speaks against using the agreed state, and against writing to the roots at all: with any of this
    /// the sides are compared as if for the first time, which deletes nothing. Marks are asked for without an agreed
    /// state too, since no write goes past them that nobody has confirmed.
    fn root_guards(&self, spoke: &Spoke, pair: &Pair, base: Option<&Base>) -> Result<Vec<Guard>, PortError> {
        let files = detail(spoke)?;
        let notes = self.notes(spoke);
        let mut guards = vec![];
        let sides = [
            (Side::Hub, &pair.hub, &pair.hub_root, &files.hub),
            (Side::Spoke, &pair.spoke, &pair.spoke_root, &files.spoke),
        ];
        for (side, scan, root, path) in sides {
            let guard = |name: &str, why: String| Guard { name: name.to_owned(), why };
            let held = base.map_or(0, |base| base.tree.len());
            if !scan.exists && (base.is_some() || notes.mark(side).exists()) {
                let why = format!("{} is not there; going on makes it anew from the other side", path.display());
                guards.push(guard("root_missing", why));
            } else if scan.exists && scan.tree.is_empty() && scan.frozen.is_empty() && held > 0 {
                let why = format!(
                    "{} is empty and held {held} entries; going on fills it again from the other side",
                    path.display()
                );
                guards.push(guard("root_empty", why));
            }
            guards.extend(notes.check_mark(side, root.as_ref())?);
        }
        Ok(guards)
    }

    fn do_plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError> {
        let mut pair = self.read(spoke)?;
        if context.base.is_none() {
            some_side(spoke, &pair)?;
        }
        let mut restricted = false;
        let expected = match self.held.take_pair(&spoke.name, &context.held) {
            Some([(hub, hub_tree), (far, far_tree)]) => {
                restricted |= pair.hub.freeze_changed(&hub_tree);
                restricted |= pair.spoke.freeze_changed(&far_tree);
                Digests { hub, spoke: far }
            }
            None => observation(&pair).digests(),
        };
        let (mut base, mut guards) = match self.base(context.base.as_ref(), &pair.rules) {
            Ok(base) => (base, vec![]),
            Err(PortError::Corrupt(why) | PortError::Permanent { cause: Cause::NotFound, message: why }) => {
                let why = format!("{why}; going on compares both sides as if for the first time");
                (None, vec![Guard { name: "base_lost".to_owned(), why }])
            }
            Err(e) => return Err(e),
        };
        if base.is_some() || planning::direction(spoke.data_sync).is_some() {
            guards.extend(self.root_guards(spoke, &pair, base.as_ref())?);
        }
        if !guards.is_empty() || self.notes(spoke).was_restored() {
            base = None;
        }
        let policy = planning::policy(context.policy.unwrap_or(spoke.policy));
        let planned = match planning::direction(spoke.data_sync) {
            None => Planned::default(),
            Some(direction) => {
                let chain = match spoke.chain.as_slice() {
                    [] => Chain::with_policy(policy),
                    names => Chain::new(names, policy).map_err(|e| PortError::failed(Cause::Invalid, e.to_string()))?,
                };
                let mut merger = merge::Merger {
                    chain,
                    hub: pair.hub_root.as_ref(),
                    spoke: pair.spoke_root.as_ref(),
                    base: base.as_ref(),
                    rules: &pair.rules,
                    content: &*self.content,
                    fields: Default::default(),
                    failed: None,
                };
                let tree = base.as_ref().map(|base| &base.tree);
                planning(&pair, tree, direction, policy).plan(&context.directives, &mut merger)?
            }
        };
        guards.extend(planned.guards);
        let header = Header {
            schema: SCHEMA.to_owned(),
            spoke: spoke.name.to_string(),
            base: context.base.filter(|_| base.is_some()),
            hub_exists: pair.hub.exists,
            spoke_exists: pair.spoke.exists,
            new_marks: guards.iter().any(|guard| guard.name.starts_with("marker_") || guard.name == "root_missing"),
        };
        let script = Script { header, steps: planned.steps, agreed: planned.agreed };
        let payload = self.content.put(&script.encode()?)?;
        Ok(SpokePlan {
            spoke: spoke.name.clone(),
            expected,
            actions: planned.actions,
            conflicts: planned.conflicts,
            settles: planned.settles,
            guards,
            payload,
            restricted,
        })
    }

    fn script(&self, plan: &SpokePlan) -> Result<Script, PortError> {
        Script::decode(&self.content.get(&plan.payload)?)
    }

    fn do_pin(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId) -> Result<(), PortError> {
        let script = self.script(plan)?;
        let [hub, spoke_root] = self.roots(spoke)?;
        let mut wanted = vec![];
        for step in &script.steps {
            if let Some(step::Thing::File { b3, size, .. }) = &step.expect
                && step.op != step::Call::Attrs
            {
                wanted.push((step.at, step::safe_path_of(&step.path)?, b3.0, Some((*size, step.why.clone()))));
            }
        }
        wanted.extend(planning::disputed(&plan.conflicts).map(|(side, path, b3)| (side, path, b3, None)));
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || -> Result<Vec<Version>, PortError> {
            let mut versions = vec![];
            while let Some((side, path, b3, why)) = wanted.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                let root = if *side == Side::Hub { &hub } else { &spoke_root };
                let Some(root) = root else { continue };
                // What has moved on is not replaced either: its step will be skipped.
                if write::store(&*self.content, root, path, b3)?
                    && let Some((size, reason)) = why
                {
                    let (path, b3, reason) = (names::escape(path), Digest(*b3), reason.clone());
                    versions.push(Version { path, replica: *side, run, reason, b3, size: *size });
                }
            }
            Ok(versions)
        };
        // Flushes wait for the disk, not for the processor.
        let threads = wanted.len().clamp(1, 8);
        let results: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        let mut versions = vec![];
        for result in results {
            versions.extend(result.map_err(|_| PortError::permanent("storing contents failed"))??);
        }
        versions.sort();
        let at = self.notes(spoke).versions();
        versions::note(&at, &versions).map_err(|e| PortError::io(at.display(), &e))
    }

    fn do_apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError> {
        let script = self.script(plan)?;
        let files = detail(spoke)?;
        let notes = self.notes(spoke);
        let lock = notes.lock(fence)?;
        let [mut hub, mut spoke_root] = self.roots(spoke)?;
        let sides = [
            (Side::Hub, &mut hub, &files.hub, script.header.hub_exists),
            (Side::Spoke, &mut spoke_root, &files.spoke, script.header.spoke_exists),
        ];
        let takes_part = planning::direction(spoke.data_sync).is_some();
        for (side, root, path, existed) in sides {
            if root.is_none() && takes_part {
                if existed {
                    let message = format!("{} has disappeared since the plan was made", path.display());
                    return Err(PortError::failed(Cause::NotFound, message));
                }
                *root = Some(self.make_root(path)?);
            }
            let Some(root) = root.as_ref().filter(|_| takes_part) else { continue };
            if !script.header.new_marks
                && let Some(guard) = notes.check_mark(side, Some(root))?
            {
                return Err(PortError::failed(Cause::Refused, guard.why));
            }
            self.hook.reached("mark", b"").map_err(|e| PortError::io(path.display(), &e))?;
            notes.set_mark(side, root)?;
        }
        let (mut done, mut skipped, mut failed) = ([0, 0], vec![], BTreeSet::new());
        for side in [Side::Hub, Side::Spoke] {
            let (root, other) = if side == Side::Hub { (&hub, &spoke_root) } else { (&spoke_root, &hub) };
            let steps: Vec<_> = script.steps.iter().filter(|step| step.at == side).collect();
            let Some(root) = root else { continue };
            let stage_name = format!("{}.{}", spoke.name, side.as_str());
            if steps.is_empty() && !Stage::is_left(root, &stage_name) {
                continue;
            }
            let fault = |e: &std::io::Error| PortError::io(root.path().display(), e);
            let mut stage = match Stage::open(root, &stage_name, &self.hook, &*self.content) {
                Ok(stage) => stage,
                // A read-only or full side takes nothing; the other side goes on.
                Err(e) => {
                    failed.extend(steps.iter().map(|step| step.path.clone()));
                    let why = fault(&e).to_string();
                    skipped.extend(steps.iter().map(|step| Skipped { target: step.path.clone(), why: why.clone() }));
                    continue;
                }
            };
            self.clear(&mut stage, &notes, side, run)?;
            let mut writer = Writer::new(stage, other.as_ref(), Cache::load(&notes.cache(side)), &lock);
            writer.run(&steps)?;
            let (n, missed, bad) = writer.close();
            done[usize::from(side == Side::Spoke)] = n;
            skipped.extend(missed);
            failed.extend(bad);
        }
        self.hook.reached("record", b"").map_err(|e| PortError::io("agreed state", &e))?;
        self.record(spoke, plan, &script, done, skipped, &failed)
    }

    fn clear(&self, stage: &mut Stage<'_>, notes: &Notes, replica: Side, run: RunId) -> Result<(), PortError> {
        let saved = stage.clear().map_err(|e| PortError::permanent(format!("clearing the stage: {e}")))?;
        let versions: Vec<_> = saved
            .into_iter()
            .map(|(name, b3)| {
                let path = format!("{}/{}", names::STAGE, names::escape(&name));
                Version { path, replica, run, reason: "left by a crash".to_owned(), b3, size: 0 }
            })
            .collect();
        versions::note(&notes.versions(), &versions).map_err(|e| PortError::io(notes.versions().display(), &e))
    }

    fn make_root(&self, path: &Path) -> Result<Root, PortError> {
        let fault = |e: std::io::Error| PortError::io(path.display(), &e);
        self.hook.reached("mkdir", b"").and_then(|()| std::fs::create_dir_all(path)).map_err(fault)?;
        Root::open(path).map_err(fault)?.ok_or_else(|| fault(std::io::ErrorKind::NotFound.into()))
    }

    /// Reads back and moves the agreed state where the steps were carried out.
    fn record(
        &self,
        spoke: &Spoke,
        plan: &SpokePlan,
        script: &Script,
        done: [u64; 2],
        mut skipped: Vec<Skipped>,
        failed: &BTreeSet<String>,
    ) -> Result<Applied, PortError> {
        let pair = self.read(spoke)?;
        let mut base = self.base(script.header.base.as_ref(), &pair.rules)?.unwrap_or_default();
        for line in script.agreed.iter().filter(|line| !failed.contains(&line.agree)) {
            let path = step::path_of(&line.agree)?;
            match &line.node {
                Some(thing) => drop(base.tree.insert(path, thing.node()?)),
                None => drop(base.tree.remove(&path)),
            }
        }
        if let (Some(hub), Some(spoke_root)) = (&pair.hub_root, &pair.spoke_root) {
            base.keep_contents(&*self.content, |path, b3| match merge::read_for_base(hub, &pair.rules, path, b3) {
                base::Kept::NotNow => merge::read_for_base(spoke_root, &pair.rules, path, b3),
                kept => kept,
            })?;
        }
        if let Some(direction) = planning::direction(spoke.data_sync) {
            let policy = cathedral_model::conflict::Policy::Queue;
            let left = planning(&pair, Some(&base.tree), direction, policy).left_over(&plan.conflicts);
            let listed: BTreeSet<&str> = skipped.iter().map(|skipped| skipped.target.as_str()).collect();
            let more: Vec<_> = left.iter().filter(|path| !listed.contains(path.as_str())).take(LEFT_OVER).collect();
            let why = "it was changed while the sync ran; the next run looks at it";
            let more: Vec<_> =
                more.into_iter().map(|path| Skipped { target: path.clone(), why: why.to_owned() }).collect();
            skipped.extend(more);
        }
        let base = base.store(&*self.content)?;
        let Observation { hub, spoke, .. } = observation(&pair);
        Ok(Applied { hub, spoke, base, changes_in: done[0], changes_out: done[1], skipped })
    }

    fn do_export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        let files = detail(spoke)?;
        let notes = self.notes(spoke);
        let (root, rules, cache) = match place {
            Place::Live(side) => {
                let (root, rules) = self.alone(spoke, *side)?;
                (root, rules, Some(notes.cache(*side)))
            }
            Place::Path(path) => {
                let root = Root::open(path).map_err(|e| PortError::io(path.display(), &e))?;
                if root.is_none() {
                    return Err(PortError::failed(Cause::NotFound, format!("{} is not there", path.display())));
                }
                let rules = Rules::load(files, &[root.as_ref()]);
                (root, rules, None)
            }
        };
        let mut scan = scan::scan(root.as_ref(), &rules, cache.as_deref(), self.own(), &self.hook);
        let Some(root) = root else { return Ok(scan.state()) };
        refuse_unread(&scan, &root)?;
        let state = export::export(&root, &mut scan, sink, &self.state.join("scratch"))?;
        if let Place::Live(side) = place {
            self.held.keep(&spoke.name, *side, state.digest, scan.tree);
        }
        Ok(state)
    }
}

#[async_trait]
impl Syncer for FilesSyncer {
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        let pair = self.read(spoke)?;
        if !self.notes(spoke).is_known() {
            some_side(spoke, &pair)?;
        }
        Ok(observation(&pair))
    }

    async fn observe_side(&self, spoke: &Spoke, side: Side) -> Result<SideState, PortError> {
        let (root, rules) = self.alone(spoke, side)?;
        let Some(root) = root else {
            return Err(PortError::failed(Cause::NotFound, format!("the {}'s tree is not there", side.as_str())));
        };
        let cache = self.notes(spoke).cache(side);
        let scan = scan::scan(Some(&root), &rules, Some(&cache), self.own(), &self.hook);
        refuse_unread(&scan, &root)?;
        Ok(scan.state())
    }

    async fn plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError> {
        self.do_plan(spoke, context)
    }

    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId) -> Result<(), PortError> {
        self.do_pin(spoke, plan, run)
    }

    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError> {
        self.do_apply(spoke, plan, run, fence)
    }

    fn remember(&self, spoke: &SpokeName) {
        self.held.begin(spoke);
    }

    fn forget(&self, spoke: &SpokeName) {
        self.held.end(spoke);
    }

    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        self.do_export(spoke, place, sink)
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
            Place::Path(path) => import::into_new(self, spoke, path, source, run),
            Place::Live(side) => import::into_live(self, spoke, *side, source, run, fence),
        }
    }
}

fn detail(spoke: &Spoke) -> Result<&FilesSpoke, PortError> {
    match &spoke.detail {
        SpokeDetail::Files(files) => Ok(files),
        _ => Err(PortError::failed(Cause::Invalid, format!("{} is not a file tree", spoke.name))),
    }
}

fn open_root(path: &Path) -> Result<Option<Root>, PortError> {
    Root::open(path).map_err(|e| PortError::io(path.display(), &e))
}

/// A tree whose root cannot be read is not an empty one.
fn refuse_unread(scan: &Scan, root: &Root) -> Result<(), PortError> {
    match scan.why.get(&b""[..]) {
        Some(why) => Err(PortError::failed(Cause::Denied, format!("{}: {why}", root.path().display()))),
        None => Ok(()),
    }
}

fn planning<'a>(
    pair: &'a Pair,
    base: Option<&'a Tree>,
    direction: Direction,
    policy: cathedral_model::conflict::Policy,
) -> Planning<'a> {
    let keeps_mtime = pair.rules.keeps_mtime;
    Planning { hub: &pair.hub, spoke: &pair.spoke, base, direction, policy, keeps_mtime }
}

fn observation(pair: &Pair) -> Observation {
    let mut warnings = pair.rules.warnings.clone();
    // A tree that is not there is no warning: a first sync makes it, and one that vanished is refused.
    for (scan, side) in [(&pair.hub, Side::Hub), (&pair.spoke, Side::Spoke)] {
        let name = side.as_str();
        warnings.extend(scan.warnings.iter().map(|warning| format!("{name}: {warning}")));
        if scan.special > 0 {
            let n = scan.special;
            warnings.push(format!("{name}: {n} pipes, sockets, devices or links take no part"));
        }
    }
    Observation { hub: pair.hub.state(), spoke: pair.spoke.state(), warnings }
}

/// Refuses a pair of which nothing is there: most likely a path is misspelt, or a disk is not mounted.
fn some_side(spoke: &Spoke, pair: &Pair) -> Result<(), PortError> {
    if pair.hub.exists || pair.spoke.exists {
        return Ok(());
    }
    let files = detail(spoke)?;
    let message = format!("neither {} nor {} is there", files.hub.display(), files.spoke.display());
    Err(PortError::failed(Cause::NotFound, message))
}

/// A tree inside the other would grow without end.
fn refuse_nested(hub: &Path, spoke: &Path) -> Result<(), PortError> {
    if let (Ok(hub), Ok(spoke)) = (hub.canonicalize(), spoke.canonicalize())
        && (hub.starts_with(&spoke) || spoke.starts_with(&hub))
    {
        let message = format!("{} and {} lie inside each other", hub.display(), spoke.display());
        return Err(PortError::failed(Cause::Invalid, message));
    }
    Ok(())
}
