//! The configuration in force: read again when the file changes, kept as it was on any error, every
//! accepted version recorded.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use cathedral_model::ids::{NodeId, SpokeName};
use cathedral_model::ports::versions::ConfigVersion;
use cathedral_model::ports::{Cause, PortError};
use cathedral_web::Shared;
use notify::Watcher as _;
use tokio::sync::{Mutex, Notify, watch};

use super::current::Current;
use super::{declared, real_time, scheduler};
use crate::cli::Failure;
use crate::hub::{Hub, HubEnv, Site, shown};

/// Takes configurations over, one at a time.
pub struct Reloader {
    hub: Arc<Hub>,
    current: Arc<Current>,
    wake_worker: Arc<Notify>,
    web: OnceLock<Weak<cathedral_web::State>>,
    /// Grows with every change of what is watched.
    changed: watch::Sender<u64>,
    one: Mutex<()>,
}

impl Reloader {
    pub fn new(hub: Arc<Hub>, current: Arc<Current>, wake_worker: Arc<Notify>) -> Self {
        let changed = watch::Sender::new(0);
        Self { hub, current, wake_worker, web: OnceLock::new(), changed, one: Mutex::default() }
    }

    /// Names the pages that get each new engine.
    pub fn tell(&self, state: Shared, _: Arc<Current>) {
        let _ = self.web.set(Arc::downgrade(&state));
    }

    pub fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// Tells of every configuration that was put in force.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Reads the file and puts it in force. On any error everything stays as it was.
    pub async fn take_over(&self, cause: &str) -> Result<ConfigVersion, Failure> {
        let _one = self.one.lock().await;
        let file = &self.hub.site.file;
        let site = Site::find(&self.hub.site.root, Some(file))?;
        let node: NodeId = self.hub.node.clone();
        let (engine, _) = self.hub.engine_for(&site, &node)?;
        let now = HubEnv::clock();
        scheduler::declare(&self.hub.stores.schedules, declared::schedules(&site), now).await?;
        let version = self.hub.accept_config(&site.text, cause).await?;
        let names: Vec<SpokeName> = engine.ecosystem().spokes.iter().map(|s| s.name.clone()).collect();
        self.current.replace(engine.clone(), Arc::new(site));
        self.current.keep_only(&names);
        if let Some(web) = self.web.get().and_then(Weak::upgrade) {
            web.replace_engine(engine);
        }
        self.changed.send_modify(|n| *n += 1);
        self.wake_worker.notify_one();
        Ok(version)
    }

    /// Writes a text in place of the file, then takes it over. The file that stood there is a version.
    pub async fn put(&self, text: &str, cause: &str) -> Result<ConfigVersion, PortError> {
        let file = self.hub.site.file.clone();
        // Checked aside first, so that the file is never one that does not load.
        let aside = file.with_extension("yaml.new");
        let write = || -> std::io::Result<()> {
            let mut new =
                std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
            new.write_all(text.as_bytes())?;
            new.sync_all()
        };
        write().map_err(|e| PortError::io(shown(&aside), &e))?;
        if let Err(failure) = Site::find(&self.hub.site.root, Some(&aside)) {
            let _ = std::fs::remove_file(&aside);
            return Err(PortError::failed(Cause::Invalid, failure.what));
        }
        std::fs::rename(&aside, &file).map_err(|e| PortError::io(shown(&file), &e))?;
        self.take_over(cause).await.map_err(|failure| PortError::failed(Cause::Invalid, failure.what))
    }
}

/// Watches the file, and listens for SIGHUP. A version that does not load is told of and changes nothing.
pub async fn watch_file(reloader: Arc<Reloader>, mut stop: watch::Receiver<bool>) {
    let file = reloader.hub.site.file.clone();
    let dirty = Arc::new(Notify::new());
    let _watcher = watcher(&file, Arc::clone(&dirty), Arc::clone(&reloader.wake_worker));
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut known = std::fs::read(&file).unwrap_or_default();
    loop {
        let asked = async {
            match &mut hangup {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        let is_asked = tokio::select! {
            () = dirty.notified() => false,
            // Editors write in steps, and notices can be lost.
            () = tokio::time::sleep(Duration::from_secs(1)) => false,
            () = asked => true,
            _ = stop.changed() => return,
        };
        let text = std::fs::read(&file).unwrap_or_default();
        if text == known && !is_asked {
            continue;
        }
        if !is_asked {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        known = std::fs::read(&file).unwrap_or_default();
        match reloader.take_over("file").await {
            Ok(version) => tracing::info!(version = version.number, "the configuration was taken over"),
            Err(failure) => {
                tracing::error!(what = failure.what, details = ?failure.details, "the configuration was not taken over; the one before stays in force");
            }
        }
    }
}

fn watcher(file: &Path, dirty: Arc<Notify>, filed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let (name, folder) = (file.file_name()?.to_owned(), file.parent()?);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        // Reading the file is an event too: it must not lead to reading it again.
        if matches!(event.kind, notify::EventKind::Access(_)) {
            return;
        }
        let is = |wanted: &OsStr| event.paths.iter().any(|p| p.file_name() == Some(wanted));
        if is(&name) {
            dirty.notify_one();
        }
        // Another process on the same state may have filed a run. Our own writes ring as well: looking
        // for work writes nothing, so this comes to rest.
        if is(OsStr::new("hub.db-wal")) {
            filed.notify_one();
        }
    })
    .ok()?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

/// Watches the spokes of the configuration in force; begins anew with each new one.
pub async fn watch_spokes(
    reloader: Arc<Reloader>,
    current: Arc<Current>,
    wake_worker: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let mut changed = reloader.changed.subscribe();
    loop {
        let (end, ended) = watch::channel(false);
        let names = real_time(&current.site());
        let work = tokio::spawn(super::watching::run(Arc::clone(&current), names, Arc::clone(&wake_worker), ended));
        let is_over = tokio::select! {
            changed = changed.changed() => changed.is_err(),
            _ = stop.changed() => true,
        };
        let _ = end.send(true);
        let _ = work.await;
        if is_over {
            return;
        }
    }
}
