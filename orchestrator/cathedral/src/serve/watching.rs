//! `real_time`: a spoke is looked at when something there moves, and from time to time in any case, since
//! notices can be lost (a full queue, a network drive, a program that maps a file into memory).
//!
//! A look observes both sides and compares digests with what the last run left; only a difference files a
//! run. The hub's own writes are seen as well and give equal digests: no echo needs to be filtered.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cathedral_model::ecosystem::{GitIntegration, Spoke, SpokeDetail};
use cathedral_model::ids::SpokeName;
use cathedral_model::observation::Digests;
use cathedral_model::ports::PortError;
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use notify::event::ModifyKind;
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::current::Current;
use crate::hub::HubEnv;

/// After the first notice, how long the watcher waits for the burst to end, and at most.
const QUIET: Duration = Duration::from_millis(150);
const AT_MOST: Duration = Duration::from_secs(2);
/// How often a spoke is looked at without any notice.
const FLOOR: Duration = Duration::from_secs(30);
const SLOWEST: Duration = Duration::from_secs(15 * 60);
/// The same difference is not tried again sooner than this.
const TRY_AGAIN: Duration = Duration::from_secs(5 * 60);

/// Watches all spokes of `names` until `stop`.
pub async fn run(
    current: Arc<Current>,
    names: Vec<SpokeName>,
    wake_worker: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let ecosystem = current.engine().ecosystem().clone();
    let mut spokes: BTreeMap<SpokeName, Arc<Notify>> = BTreeMap::new();
    let mut places: Vec<(Place, SpokeName)> = vec![];
    let mut tasks = JoinSet::new();
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    for spoke in ecosystem.spokes.into_iter().filter(|s| names.contains(&s.name)) {
        let dirty = Arc::new(Notify::new());
        spokes.insert(spoke.name.clone(), Arc::clone(&dirty));
        places.extend(watched(&spoke).into_iter().map(|place| (place, spoke.name.clone())));
        let eyes = Eyes { current: Arc::clone(&current), at_once: Arc::clone(&at_once) };
        tasks.spawn(follow(eyes, spoke, dirty, Arc::clone(&wake_worker), stop.clone()));
    }
    // The watcher lives as long as this task.
    let _watcher = start(&places, &spokes);
    let _ = stop.wait_for(|stop| *stop).await;
    tasks.shutdown().await;
}

/// So many spokes are looked at together: each look may hold a thread for as long as a server is silent.
const AT_ONCE: usize = 16;

/// A folder whose changes tell of a change of a spoke.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    folder: PathBuf,
    what: Kept,
}

/// What is kept in a watched folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Tree,
    /// The name of the database's file; other files stand beside it.
    Database(OsString),
    Refs,
}

fn watched(spoke: &Spoke) -> Vec<Place> {
    match &spoke.detail {
        SpokeDetail::Files(files) => {
            [&files.hub, &files.spoke].map(|folder| Place { folder: folder.clone(), what: Kept::Tree }).to_vec()
        }
        SpokeDetail::Database(database) => {
            let place = |file: &PathBuf| {
                let what = Kept::Database(file.file_name()?.to_owned());
                Some(Place { folder: file.parent()?.to_path_buf(), what })
            };
            [&database.hub, &database.spoke].into_iter().filter_map(place).collect()
        }
        SpokeDetail::Git(git) => {
            let mut urls = vec![git.url.as_str()];
            if let GitIntegration::Mirror { mirrors } = &git.integration {
                urls.extend(mirrors.iter().map(|m| m.url.as_str()));
            }
            let place = |folder| Place { folder, what: Kept::Refs };
            urls.into_iter().filter_map(git_folder).map(place).collect()
        }
    }
}

/// The folder with the refs of a local repository.
fn git_folder(url: &str) -> Option<PathBuf> {
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    if !path.is_absolute() {
        return None;
    }
    let inside = path.join(".git");
    if inside.is_dir() {
        Some(inside)
    } else if path.join("HEAD").is_file() {
        Some(path.to_path_buf())
    } else {
        None
    }
}

/// Starts the watcher; a place that cannot be watched is looked at by the floor alone.
fn start(
    places: &[(Place, SpokeName)],
    spokes: &BTreeMap<SpokeName, Arc<Notify>>,
) -> Option<notify::RecommendedWatcher> {
    let by_place: Vec<(Place, Arc<Notify>)> = places
        .iter()
        .filter_map(|(place, name)| {
            let folder = place.folder.canonicalize().ok()?;
            Some((Place { folder, what: place.what.clone() }, Arc::clone(spokes.get(name)?)))
        })
        .collect();
    let everyone: Vec<Arc<Notify>> = spokes.values().cloned().collect();
    let told = by_place.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.need_rescan() => everyone.iter().for_each(|dirty| dirty.notify_one()),
        Ok(event) => {
            for (place, dirty) in &told {
                if event.paths.iter().any(|path| place.is_told_of(path, &event.kind)) {
                    dirty.notify_one();
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a notice was lost; everything is looked at");
            everyone.iter().for_each(|dirty| dirty.notify_one());
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "changes cannot be watched here; every spoke is looked at every 30 s instead");
            return None;
        }
    };
    // A folder is watched once, and as deep as the deepest of its places needs.
    let mut depth: BTreeMap<&Path, RecursiveMode> = BTreeMap::new();
    for (place, _) in &by_place {
        let mode = depth.entry(&place.folder).or_insert(RecursiveMode::NonRecursive);
        if !matches!(place.what, Kept::Database(_)) {
            *mode = RecursiveMode::Recursive;
        }
    }
    for (folder, mode) in depth {
        if let Err(error) = watcher.watch(folder, mode) {
            tracing::warn!(path = %folder.display(), %error, "a folder cannot be watched; it is looked at every 30 s instead");
        }
    }
    Some(watcher)
}

impl Place {
    /// Whether an event on a path can mean that the spoke has changed. A look must never ring its own
    /// bell, or the hub would look without end.
    fn is_told_of(&self, path: &Path, kind: &EventKind) -> bool {
        if matches!(kind, EventKind::Access(_)) {
            return false;
        }
        let Ok(inside) = path.strip_prefix(&self.folder) else { return false };
        match &self.what {
            Kept::Tree => true,
            Kept::Database(name) => {
                let mut log = name.clone();
                log.push("-wal");
                // Reading a database in WAL mode makes and removes the files beside it; only writing
                // puts something into them.
                let is_write = matches!(kind, EventKind::Modify(ModifyKind::Data(_)));
                inside == Path::new(name) && !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_)))
                    || inside == Path::new(&log) && is_write
            }
            // Git writes objects and locks before it moves a ref: only the move tells.
            Kept::Refs => {
                let is_lock = path.extension().is_some_and(|e| e == "lock");
                let is_ref = inside.starts_with("refs") || ["packed-refs", "HEAD"].map(Path::new).contains(&inside);
                !is_lock && is_ref
            }
        }
    }
}

/// One spoke: looks when told, when a run has ended, and at the floor.
/// What looks at spokes.
struct Eyes {
    current: Arc<Current>,
    at_once: Arc<Semaphore>,
}

async fn follow(
    eyes: Eyes,
    spoke: Spoke,
    dirty: Arc<Notify>,
    wake_worker: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let current = &eyes.current;
    let mut ends = current.ends();
    let mut floor = FLOOR;
    let mut tried: Option<(Digests, Instant)> = None;
    loop {
        // Closed never.
        let place = eyes.at_once.acquire().await;
        let seen = look(current, &spoke, &mut tried).await;
        drop(place);
        floor = match &seen {
            Ok(Look::Filed) => {
                wake_worker.notify_one();
                FLOOR
            }
            Ok(Look::Quiet | Look::Waits) => FLOOR,
            Err(_) => (floor * 2).min(SLOWEST),
        };
        let at = HubEnv::clock();
        current.saw(&spoke.name, at, seen.map(|look| look == Look::Quiet).map_err(|e| e.to_string()));
        tokio::select! {
            () = dirty.notified() => settle(&dirty).await,
            // What the run left may already be old again.
            _ = ends.changed() => { ends.mark_unchanged(); }
            () = tokio::time::sleep(floor) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Waits until a burst of notices has ended.
async fn settle(dirty: &Notify) {
    let end = Instant::now() + AT_MOST;
    loop {
        tokio::select! {
            () = dirty.notified() => {}
            () = tokio::time::sleep(QUIET) => return,
            () = tokio::time::sleep_until(end) => return,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Both sides are as the last run left them.
    Quiet,
    /// They differ, and a run was filed.
    Filed,
    /// They differ as they did when a run was last filed for it.
    Waits,
}

async fn look(current: &Current, spoke: &Spoke, tried: &mut Option<(Digests, Instant)>) -> Result<Look, PortError> {
    let engine = current.engine();
    let ports = engine.ports();
    let digests = ports.syncer(spoke.kind()).observe(spoke).await?.digests();
    let memory = ports.store.memory(&spoke.name).await?;
    if memory.complete && memory.settled == Some(digests) {
        *tried = None;
        return Ok(Look::Quiet);
    }
    if let Some((before, at)) = tried
        && *before == digests
        && at.elapsed() < TRY_AGAIN
    {
        return Ok(Look::Waits);
    }
    *tried = Some((digests, Instant::now()));
    let request = Request {
        priority: Priority::Webhook,
        cause: format!("change in {}", spoke.name),
        work: Work::Sync(SyncRequest { spokes: vec![spoke.name.clone()], ..SyncRequest::default() }),
    };
    ports.store.enqueue(&request, HubEnv::clock()).await?;
    Ok(Look::Filed)
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, MetadataKind, RemoveKind};

    use super::*;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const MADE: EventKind = EventKind::Create(CreateKind::File);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    #[test]
    fn a_look_does_not_ring_its_own_bell() {
        let database = Place { folder: "/data".into(), what: Kept::Database("shop.db".into()) };
        let told = |path: &str, kind: &EventKind| database.is_told_of(Path::new(path), kind);
        // What reading does.
        for kind in [&MADE, &REMOVED, &TOUCHED] {
            assert!(!told("/data/shop.db-wal", kind) && !told("/data/shop.db-shm", kind), "{kind:?}");
        }
        assert!(!told("/data/shop.db-shm", &WRITTEN));
        assert!(!told("/data/shop.db", &EventKind::Access(AccessKind::Any)));
        assert!(!told("/data/other.db", &WRITTEN));
        // What writing and replacing do.
        assert!(told("/data/shop.db", &WRITTEN) && told("/data/shop.db-wal", &WRITTEN) && told("/data/shop.db", &MADE));
    }

    #[test]
    fn only_the_move_of_a_ref_tells() {
        let refs = Place { folder: "/r/.git".into(), what: Kept::Refs };
        let told = |path: &str| refs.is_told_of(Path::new(path), &MADE);
        assert!(told("/r/.git/refs/heads/main") && told("/r/.git/packed-refs") && told("/r/.git/HEAD"));
        for quiet in ["/r/.git/refs/heads/main.lock", "/r/.git/objects/ab/cd", "/r/.git/index", "/r/other"] {
            assert!(!told(quiet), "{quiet}");
        }
    }
}
