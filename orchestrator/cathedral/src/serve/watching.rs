//! `real_time`: a spoke is looked at when something there moves, and from time to time in any case, since
//! notices can be lost (a full queue, a network drive, a program that maps a file into memory).
//!
//! A look observes both sides and compares digests with what the last run left; only a difference files a
//! run. The hub's own writes are seen as well and give equal digests: no echo needs to be filtered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cathedral_model::ecosystem::{GitIntegration, Spoke, SpokeDetail};
use cathedral_model::ids::SpokeName;
use cathedral_model::observation::Digests;
use cathedral_model::ports::PortError;
use cathedral_model::run::{Priority, Request, SyncRequest, Work};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::{Notify, watch};
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
    let mut places: Vec<(PathBuf, SpokeName)> = vec![];
    let mut tasks = JoinSet::new();
    for spoke in ecosystem.spokes.into_iter().filter(|s| names.contains(&s.name)) {
        let dirty = Arc::new(Notify::new());
        spokes.insert(spoke.name.clone(), Arc::clone(&dirty));
        places.extend(watched(&spoke).into_iter().map(|path| (path, spoke.name.clone())));
        tasks.spawn(follow(Arc::clone(&current), spoke, dirty, Arc::clone(&wake_worker), stop.clone()));
    }
    // The watcher lives as long as this task.
    let _watcher = start(&places, &spokes);
    let _ = stop.wait_for(|stop| *stop).await;
    tasks.shutdown().await;
}

/// The folders whose changes tell of a change of the spoke.
fn watched(spoke: &Spoke) -> Vec<PathBuf> {
    match &spoke.detail {
        SpokeDetail::Files(files) => vec![files.hub.clone(), files.spoke.clone()],
        // The database's own files and its write-ahead log stand side by side.
        SpokeDetail::Database(database) => {
            [&database.hub, &database.spoke].iter().filter_map(|file| file.parent().map(Path::to_path_buf)).collect()
        }
        SpokeDetail::Git(git) => {
            let mut urls = vec![git.url.as_str()];
            if let GitIntegration::Mirror { mirrors } = &git.integration {
                urls.extend(mirrors.iter().map(|m| m.url.as_str()));
            }
            urls.into_iter().filter_map(git_folder).collect()
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
    places: &[(PathBuf, SpokeName)],
    spokes: &BTreeMap<SpokeName, Arc<Notify>>,
) -> Option<notify::RecommendedWatcher> {
    let by_place: Vec<(PathBuf, Arc<Notify>)> = places
        .iter()
        .filter_map(|(path, name)| Some((path.canonicalize().ok()?, Arc::clone(spokes.get(name)?))))
        .collect();
    let everyone: Vec<Arc<Notify>> = spokes.values().cloned().collect();
    let told = by_place.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.need_rescan() => everyone.iter().for_each(|dirty| dirty.notify_one()),
        Ok(event) if matches!(event.kind, notify::EventKind::Access(_)) => {}
        Ok(event) => {
            for (place, dirty) in &told {
                if event.paths.iter().any(|path| path.starts_with(place) && is_telling(path, place)) {
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
    for (place, _) in &by_place {
        if let Err(error) = watcher.watch(place, RecursiveMode::Recursive) {
            tracing::warn!(path = %place.display(), %error, "a folder cannot be watched; it is looked at every 30 s instead");
        }
    }
    Some(watcher)
}

/// Git writes objects and locks before it moves a ref: only the move tells.
fn is_telling(path: &Path, place: &Path) -> bool {
    let is_git = place.join("HEAD").is_file();
    let lock = path.extension().is_some_and(|e| e == "lock");
    let inside = path.strip_prefix(place).unwrap_or(path);
    !is_git
        || (!lock && (inside.starts_with("refs") || inside == Path::new("packed-refs") || inside == Path::new("HEAD")))
}

/// One spoke: looks when told, when a run has ended, and at the floor.
async fn follow(
    current: Arc<Current>,
    spoke: Spoke,
    dirty: Arc<Notify>,
    wake_worker: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ends = current.ends();
    let mut floor = FLOOR;
    let mut tried: Option<(Digests, Instant)> = None;
    loop {
        let seen = look(&current, &spoke, &mut tried).await;
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
