//! Opens the adapters of a hub.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cathedral_backup::{LocalDestination, LocalVault};
use cathedral_engine::{Engine, Options, Ports};
use cathedral_integrity::{FileLog, LogError, LogReader};
use cathedral_model::config::scalar::Scalar as _;
use cathedral_model::ecosystem::{Ecosystem, Hub as HubRepository};
use cathedral_model::ids::{ConflictId, DestinationName, Fence, NodeId, RunId, SpokeName};
use cathedral_model::ports::chores::NoChores;
use cathedral_model::ports::store::RunRow;
use cathedral_model::ports::{
    Accounts, Cause, ConfigVersions, Content, Destination, Env, Intake, Ledger, OutgoingStore, PortError, Progress,
    Schedules, Store,
};
use cathedral_model::restore::RestoreRequest;
use cathedral_model::run::{RunSummary, Work};
use cathedral_model::time::Timestamp;
use cathedral_store::{SqlStore, SqliteStore};
use cathedral_syncers::content::LocalContent;
use cathedral_syncers::files::FilesSyncer;
use cathedral_syncers::git::GitSyncer;
use cathedral_syncers::sql::SqliteSyncer;

use super::apart::Apart;
use super::chores::HubChores;
use super::env::HubEnv;
use super::lock::lock;
use super::notifier::Notices;
use super::resolve::resolve;
use super::site::{Site, prepare_state, shown};
use super::syncers::{git_options, git_syncer};
use crate::cli::Failure;
use crate::remote::Remote;

/// A hub opened for work: nobody else works on the same folder meanwhile.
pub struct Hub {
    pub site: Site,
    pub engine: Engine,
    pub vault: Arc<LocalVault>,
    /// None when a running hub keeps it, and this process only asks it.
    pub log: Option<Arc<FileLog>>,
    pub content: Arc<dyn Content>,
    pub stores: Stores,
    pub node: NodeId,
    pub(super) ledger: Arc<dyn Ledger>,
    /// Held until the hub is dropped; none beside a running hub.
    lock: Option<File>,
    /// The running hub beside which this process works.
    beside: Option<Remote>,
}

impl Hub {
    /// Opens everything under the folder's lock; makes keys, store, log and vault where they are missing.
    pub async fn open(site: Site, progress: Arc<dyn Progress>) -> Result<Self, Failure> {
        site.prepare()?;
        let lock = lock(&site.state)?;
        let (ecosystem, _) = resolve(&site)?;
        let keys = site.state.join("keys");
        let env: Arc<dyn Env> = Arc::new(HubEnv);
        keys_are_whole(&site)?;
        // Keys and vault come first: whatever else is there proves that they were made.
        let id = hub_id(&keys, env.as_ref())?;
        let vault = Arc::new(open_vault(&site, &env)?);
        let stores = open_stores(&site).await?;
        let store = Arc::clone(&stores.store);
        // A new database, or an older copy that was put back.
        let newest = store.runs(None, 1).await?.first().map(|row| row.run);
        if newest.is_none_or(|newest| super::numbers::is_behind(&site, newest)) {
            begin_numbers(&site, env.now()).await?;
        }
        go_on_after(super::numbers::newest_fence(&site), env.now()).await?;
        let content: Arc<dyn Content> = Arc::new(LocalContent::open(site.state.join("content"))?);
        let origin = format!("{id}.cathedral/{}", ecosystem.name);
        let log = FileLog::open(&site.state.join("log"), &keys, &origin, cathedral_integrity::log::os_entropy());
        let log = Arc::new(log.map_err(log_failure)?);
        log_covers_runs(&log, store.as_ref()).await?;
        // One worker a folder, held by the lock: the same name after a restart takes its own runs back.
        let node = NodeId::new(&format!("{id}/0"));
        let ledger = Arc::clone(&log) as Arc<dyn Ledger>;
        let parts = Parts { stores: &stores, vault: &vault, ledger: &ledger, content: &content, progress };
        let engine =
            Engine::new(ports(&site, &ecosystem, parts, env), Arc::new(ecosystem), node.clone(), Options::default());
        Ok(Self { site, engine, vault, log: Some(log), content, stores, node, ledger, lock: Some(lock), beside: None })
    }

    /// Opens the folder beside the hub that serves it: requests are filed in the same state and driven
    /// there, leaves are appended there, and nothing is claimed here.
    pub async fn attach(site: Site, remote: Remote, progress: Arc<dyn Progress>) -> Result<Self, Failure> {
        let (ecosystem, _) = resolve(&site)?;
        let env: Arc<dyn Env> = Arc::new(HubEnv);
        let vault = Arc::new(read_vault(&site)?);
        let stores = open_stores(&site).await?;
        let content: Arc<dyn Content> = Arc::new(LocalContent::open(site.state.join("content"))?);
        let node = NodeId::new(&format!("beside/{}", std::process::id()));
        let ledger: Arc<dyn Ledger> = Arc::new(remote.clone());
        let parts = Parts { stores: &stores, vault: &vault, ledger: &ledger, content: &content, progress };
        let options = Options { drives: false, ..Options::default() };
        let engine = Engine::new(ports(&site, &ecosystem, parts, env), Arc::new(ecosystem), node.clone(), options);
        Ok(Self { site, engine, vault, log: None, content, stores, node, ledger, lock: None, beside: Some(remote) })
    }

    /// Brings a run to its end, or waits until the hub beside which this process works has brought it there.
    pub async fn work_until(&self, run: RunId) -> Result<RunSummary, Failure> {
        let work = self.engine.work_until(run);
        let Some(remote) = &self.beside else { return Ok(work.await?) };
        tokio::select! {
            ended = work => Ok(ended?),
            () = remote.ended() => Err(Failure::new(75, "C7501", "the hub that served this folder has ended")
                .why(format!("run {run} is filed, and nobody carries it out now"))
                .next("repeat the command: it carries the run out itself")
                .next("cathedral up    goes on with it too")),
        }
    }

    /// Whether another process serves this folder and drives its runs.
    pub fn is_attached(&self) -> bool {
        self.lock.is_none()
    }

    /// Makes the engine for another configuration of the same folder. State, keys and log stay; what has
    /// changed of destinations and spokes is opened anew.
    pub fn engine_for(&self, site: &Site, node: &NodeId) -> Result<(Engine, Arc<LocalVault>), Failure> {
        let (ecosystem, _) = resolve(site)?;
        let env: Arc<dyn Env> = Arc::new(HubEnv);
        let vault = Arc::new(open_vault(site, &env)?);
        let progress = Arc::clone(&self.engine.ports().progress);
        let parts =
            Parts { stores: &self.stores, vault: &vault, ledger: &self.ledger, content: &self.content, progress };
        let ports = ports(site, &ecosystem, parts, env);
        Ok((Engine::new(ports, Arc::new(ecosystem), node.clone(), Options::default()), vault))
    }

    pub fn ecosystem(&self) -> &Ecosystem {
        self.engine.ecosystem()
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.engine.ports().store
    }

    /// The restores that were begun and are not done, of the runs that are looked back at.
    pub async fn unfinished_restores(&self) -> Result<Vec<(RunId, RestoreRequest)>, Failure> {
        let rows = self.store().runs(None, LOOKED_BACK).await?;
        let of_restore = |row: RunRow| match row.request.work {
            Work::Restore(request) if row.state != "finished" => Some((row.run, request)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(of_restore).collect())
    }
}

/// So many runs are looked at for one that is not done.
const LOOKED_BACK: u32 = 1_000;

/// What the adapters of an engine are made of.
pub(super) struct Parts<'a> {
    pub stores: &'a Stores,
    pub vault: &'a Arc<LocalVault>,
    pub ledger: &'a Arc<dyn Ledger>,
    pub content: &'a Arc<dyn Content>,
    pub progress: Arc<dyn Progress>,
}

pub(super) fn ports(site: &Site, ecosystem: &Ecosystem, parts: Parts<'_>, env: Arc<dyn Env>) -> Ports {
    let content = parts.content;
    Ports {
        store: Arc::clone(&parts.stores.store),
        vault: Arc::clone(parts.vault) as _,
        ledger: Arc::clone(parts.ledger),
        content: Arc::clone(content),
        git: Arc::new(Apart(git_syncer(site, ecosystem, content))),
        database: Arc::new(Apart(SqliteSyncer::new(site.state.clone(), Arc::clone(content)))),
        files: Arc::new(Apart(FilesSyncer::new(site.state.clone(), Arc::clone(content)))),
        notifier: Arc::new(Notices {
            path: site.state.join("notices.jsonl"),
            endpoints: Some((Arc::clone(&parts.stores.outgoing), site.notifications())),
        }),
        chores: Arc::new(HubChores {
            state: site.state.clone(),
            ecosystem: Arc::new(ecosystem.clone()),
            vault: Arc::clone(parts.vault) as _,
            store: Arc::clone(&parts.stores.store),
            accounts: Arc::clone(&parts.stores.accounts),
            intake: Arc::clone(&parts.stores.intake),
        }),
        env,
        progress: parts.progress,
    }
}

/// One state database behind all its ports.
#[derive(Clone)]
pub struct Stores {
    pub store: Arc<dyn Store>,
    pub schedules: Arc<dyn Schedules>,
    pub intake: Arc<dyn Intake>,
    pub accounts: Arc<dyn Accounts>,
    pub outgoing: Arc<dyn OutgoingStore>,
    pub versions: Arc<dyn ConfigVersions>,
    /// Called after every commit of this process.
    pub on_commit: OnCommit,
}

/// Sets what is called after a commit.
pub type OnCommit = Arc<dyn Fn(Box<dyn Fn() + Send + Sync>) + Send + Sync>;

impl Stores {
    fn of<E: Send + Sync + 'static>(store: Arc<SqlStore<E>>) -> Self {
        let watched = Arc::clone(&store);
        Self {
            schedules: Arc::clone(&store) as _,
            intake: Arc::clone(&store) as _,
            accounts: Arc::clone(&store) as _,
            outgoing: Arc::clone(&store) as _,
            versions: Arc::clone(&store) as _,
            store,
            on_commit: Arc::new(move |tell| watched.on_commit(tell)),
        }
    }
}

impl Site {
    /// Opens the state for reading, all of its ports; none where there is none yet.
    pub async fn stores(&self) -> Result<Option<Stores>, Failure> {
        if self.store_path().is_some_and(|path| !path.exists()) {
            return Ok(None);
        }
        open_stores(self).await.map(Some)
    }

    /// Opens the state for reading; none where no sync has made one yet.
    ///
    /// Even a reader of it writes beside it: where that is not possible, on a disk that is full or must not be
    /// written to, a copy is read.
    pub async fn store(&self) -> Result<Option<Arc<dyn Store>>, Failure> {
        Ok(self.readable_stores().await?.map(|stores| stores.store))
    }

    /// The same, all of its ports.
    pub async fn readable_stores(&self) -> Result<Option<Stores>, Failure> {
        let opened = match self.stores().await {
            // A disk without room may let it be opened, and refuse what the first reading needs beside it.
            Ok(Some(stores)) if self.store_path().is_some() => is_readable(&stores).await.map(|()| Some(stores)),
            opened => opened,
        };
        match (opened, self.store_path()) {
            (Err(failure), Some(path)) if cannot_write(&failure) => match store_of_copy(&path).await {
                Ok(stores) => Ok(Some(stores)),
                Err(error) => {
                    tracing::debug!(%error, "no copy of the state can be read either");
                    Err(failure)
                }
            },
            (opened, _) => opened,
        }
    }

    /// Opens the log for reading; none where there is none yet.
    pub fn log(&self) -> Result<Option<LogReader>, Failure> {
        let log = self.state.join("log");
        if !log.join("checkpoint").exists() {
            return Ok(None);
        }
        let key = super::own::verifier_key(self)?;
        Ok(Some(LogReader::open(&log, &key).map_err(PortError::from)?))
    }

    /// Says what is wrong with the log, as far as opening it, what the state remembers, and the last check tell.
    pub fn log_fault(&self, runs: &[RunRow]) -> Option<String> {
        self.log_fault_now(runs).or_else(|| super::log_check::log_check(&self.state))
    }

    /// The same without what an earlier check has found.
    pub fn log_fault_now(&self, runs: &[RunRow]) -> Option<String> {
        let known = runs.iter().filter_map(|r| u64::try_from(r.summary.leaf?.0).ok()).max();
        match (self.log(), known) {
            (Err(_), _) if super::own::is_key_faulty(self) => None,
            (Err(failure), _) => Some(failure.what),
            (Ok(None), Some(leaf)) => Some(format!("it is gone, and leaf {leaf} was acknowledged")),
            (Ok(Some(log)), Some(leaf)) if log.size() <= leaf => {
                Some(format!("it ends at leaf {}, and leaf {leaf} was acknowledged", log.size()))
            }
            _ => None,
        }
    }

    /// Where the state database is, when it is a file.
    fn store_path(&self) -> Option<PathBuf> {
        let url = self.config.cathedral_ecosystem.state.store.text();
        url.strip_prefix("sqlite:").map(|path| self.root.join(path))
    }
}

/// Opens a site's vault for reading, with the hub's keys.
pub fn read_vault(site: &Site) -> Result<LocalVault, Failure> {
    let env: Arc<dyn Env> = Arc::new(HubEnv);
    let keys = site.state.join("keys");
    let destinations = destinations(site)?;
    Ok(LocalVault::open(&keys, destinations, 1, &site.state.join("cache"), env)?)
}

/// An engine for a restore without any hub: a destination, a key, and a state that lives in memory.
pub async fn offline_engine(vault: LocalVault, scratch: &Path, progress: Arc<dyn Progress>) -> Result<Engine, Failure> {
    prepare_state(scratch)?;
    let content: Arc<dyn Content> = Arc::new(LocalContent::open(scratch.join("content"))?);
    let none = SpokeName::new("none").map_err(|e| Failure::new(1, "C1002", e.to_string()))?;
    let hub = HubRepository { name: none, url: String::new(), branch: "main".into() };
    let ports = Ports {
        store: Arc::new(SqliteStore::in_memory().await?),
        vault: Arc::new(vault),
        ledger: Arc::new(NoLog),
        content: Arc::clone(&content),
        git: Arc::new(GitSyncer::new(scratch.to_path_buf(), hub.clone(), Arc::clone(&content), git_options(scratch))),
        database: Arc::new(SqliteSyncer::new(scratch.to_path_buf(), Arc::clone(&content))),
        files: Arc::new(FilesSyncer::new(scratch.to_path_buf(), content)),
        notifier: Arc::new(Notices { path: scratch.join("notices.jsonl"), endpoints: None }),
        chores: Arc::new(NoChores),
        env: Arc::new(HubEnv),
        progress,
    };
    let ecosystem = Ecosystem { name: "offline".into(), hub, spokes: vec![] };
    Ok(Engine::new(ports, Arc::new(ecosystem), NodeId::new("offline"), Options::default()))
}

/// Stands where a log would be when the hub is lost, or only looked at: nothing is appended, and nothing asks for it.
pub(super) struct NoLog;

#[async_trait::async_trait]
impl Ledger for NoLog {
    async fn append(
        &self,
        _: &cathedral_model::ports::ledger::NewLeaf,
    ) -> Result<cathedral_model::ids::LeafIndex, PortError> {
        Err(PortError::failed(Cause::NotFound, "there is no log without a hub"))
    }

    async fn find(&self, _: &str) -> Result<Option<cathedral_model::ids::LeafIndex>, PortError> {
        Err(PortError::failed(Cause::NotFound, "there is no log without a hub"))
    }

    async fn head(&self) -> Result<cathedral_model::ports::ledger::Head, PortError> {
        Err(PortError::failed(Cause::NotFound, "there is no log without a hub"))
    }
}

/// Databases have seen fences, too, which nobody reads here: of one series, and hardly this many later.
const LATER: i64 = 1_000_000;

/// Has fences go on after one that is ahead of the clock. Those that are not are left behind by the clock itself.
async fn go_on_after(newest: Fence, now: Timestamp) -> Result<(), Failure> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
    let Some(store) = open.filter(|_| newest.0 > now.0 / 1_000) else { return Ok(()) };
    // What is handed out next, asked for by taking it.
    let (resource, nobody) = ("hub:fence", NodeId::new("opening"));
    let next = store.lease(resource, &nobody, now, 0).await?;
    store.unlease(resource, &nobody).await?;
    if next.is_none_or(|next| next <= newest) {
        store.begin_numbers(Fence(newest.0 + LATER), RunId(0), ConflictId(0)).await?;
    }
    Ok(())
}

/// Begins the numbers of a new state database above those that a lost one has handed out.
async fn begin_numbers(site: &Site, now: Timestamp) -> Result<(), Failure> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
    if let Some(store) = open {
        let least = super::numbers::least(site, now);
        store.begin_numbers(least.fence, least.run, least.conflict).await?;
    }
    Ok(())
}

/// The state databases this process has opened, to be closed in order at its end.
static OPEN: Mutex<Vec<Arc<SqliteStore>>> = Mutex::new(vec![]);

/// Closes the state databases, so that the next opening need not check them. What was recorded is safe
/// without it.
pub async fn close_stores() {
    let open: Vec<_> = OPEN.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
    for store in open {
        store.close().await;
    }
    // What stands in a static is never dropped by itself.
    COPIES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

async fn open_sqlite(path: &Path) -> Result<Stores, Failure> {
    let store = Arc::new(SqliteStore::open(path).await?);
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&store));
    Ok(Stores::of(store))
}

/// Reads a little, by two connections at once.
async fn is_readable(stores: &Stores) -> Result<(), Failure> {
    let store = &stores.store;
    let (runs, undelivered) = tokio::join!(store.runs(None, 1), store.undelivered(1));
    Ok(runs.map(drop).and(undelivered.map(drop))?)
}

/// Whether the state may be whole and only cannot be written to.
fn cannot_write(failure: &Failure) -> bool {
    !matches!(failure.id, "C2001" | "C7501" | "C1301")
}

/// Copies of the state, which live as long as the process.
static COPIES: Mutex<Vec<tempfile::TempDir>> = Mutex::new(vec![]);
/// How often a copy is made again because somebody wrote meanwhile.
const COPIED: usize = 5;

/// Opens a copy of the state database, in the folder for temporary files.
async fn store_of_copy(path: &Path) -> anyhow::Result<Stores> {
    let folder = tempfile::Builder::new().prefix("cathedral-state-").tempdir()?;
    let (database, log) = (path.to_path_buf(), PathBuf::from(format!("{}-wal", path.display())));
    let to = folder.path().join("hub.db");
    // Where a checkpoint ran between the two copies they do not belong together.
    let stamp = || [&database, &log].map(|file| fs::metadata(file).and_then(|m| Ok((m.len(), m.modified()?))).ok());
    for _ in 0..COPIED {
        let before = stamp();
        fs::copy(&database, &to)?;
        match fs::copy(&log, folder.path().join("hub.db-wal")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        if stamp() == before {
            break;
        }
    }
    let store = Arc::new(SqliteStore::open(&to).await?);
    tracing::warn!(state = %path.display(), "the state cannot be written to, so that a copy of it was read");
    COPIES.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
    Ok(Stores::of(store))
}

/// Opens the state in a hub's folder whose configuration does not load; none where there is none.
pub async fn stores_without_config(root: &Path) -> Result<Option<Stores>, Failure> {
    let path = root.join(".cathedral/hub.db");
    if !path.exists() {
        return Ok(None);
    }
    open_sqlite(&path).await.map(Some)
}

async fn open_stores(site: &Site) -> Result<Stores, Failure> {
    match site.store_path() {
        Some(path) => open_sqlite(&path).await,
        None => postgres(&site.config.cathedral_ecosystem.state.store.text()).await,
    }
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Stores, Failure> {
    Ok(Stores::of(Arc::new(cathedral_store::PostgresStore::connect(url).await?)))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Stores, Failure> {
    Err(Failure::new(3, "C1301", "this build keeps its state in SQLite only")
        .next("use a build with the feature postgres"))
}

/// The declared destinations. Their folders are made only here, when the vault is founded: a folder
/// that is gone later is an unmounted disk, not an empty vault.
fn destinations(site: &Site) -> Result<Vec<Arc<dyn Destination>>, Failure> {
    let mut out: Vec<Arc<dyn Destination>> = vec![];
    for (name, path) in places(site) {
        let name = DestinationName::new(&name).map_err(|e| Failure::new(3, "C1301", e.to_string()))?;
        out.push(Arc::new(LocalDestination::new(name, path)));
    }
    Ok(out)
}

/// Name and folder of each destination.
pub fn places(site: &Site) -> Vec<(String, PathBuf)> {
    let declared = site.config.cathedral_ecosystem.backup.destinations.iter();
    let place = |url: String| site.root.join(url.strip_prefix("file:").unwrap_or(&url));
    declared.map(|d| (d.name.as_str().to_owned(), super::resolve::normal(&place(d.url.text())))).collect()
}

fn open_vault(site: &Site, env: &Arc<dyn Env>) -> Result<LocalVault, Failure> {
    let keys = site.state.join("keys");
    let backup = &site.config.cathedral_ecosystem.backup;
    let destinations = destinations(site)?;
    let recipients: Vec<String> = backup.recipients.iter().map(|r| r.text()).collect();
    let founded = keys.join("vault-destinations");
    let names: Vec<String> = destinations.iter().map(|d| format!("{} {}", d.name(), d.location())).collect();
    let list = names.join("\n");
    // Founding touches every destination: once, and again when the list changes.
    if fs::read_to_string(&founded).ok().as_deref() != Some(list.as_str()) {
        for (name, path) in places(site) {
            let name = DestinationName::new(&name).map_err(|e| Failure::new(3, "C1301", e.to_string()))?;
            if !known_before(&founded, &name) {
                LocalDestination::new(name, path).create()?;
            }
        }
        LocalVault::init(&keys, &destinations, &recipients, env.as_ref())?;
        fs::write(&founded, &list).map_err(|e| Failure::io(&shown(&founded), &e))?;
    }
    let quorum = site.config.cathedral_ecosystem.quorum() as usize;
    Ok(LocalVault::open(&keys, destinations, quorum, &site.state.join("cache"), Arc::clone(env))?)
}

fn known_before(list: &Path, name: &DestinationName) -> bool {
    let known = fs::read_to_string(list).unwrap_or_default();
    known.lines().any(|line| line.split(' ').next() == Some(name.as_str()))
}

/// Nothing is signed on top of a log that is damaged or was put back.
fn log_failure(error: LogError) -> Failure {
    let is_corrupt = matches!(error, LogError::Corrupt { .. });
    let failure = Failure::from(PortError::from(error));
    if !is_corrupt {
        return failure;
    }
    Failure { next: vec![], ..failure }
        .why("the log is not what was signed; nothing is appended to such a log, and nothing was changed")
        .next("cathedral log audit    names every file of it that is damaged")
        .next("put the folder .cathedral/log back from your newest copy, then repeat the command")
        .next("cathedral restore SNAP --to DIR    works without it")
}

/// The state database remembers leaves that the log has acknowledged: a log without them was put back to
/// an older state, and must not sign other leaves in their place.
async fn log_covers_runs(log: &FileLog, store: &dyn Store) -> Result<(), Failure> {
    let known = store.runs(None, 50).await?.iter().filter_map(|r| r.summary.leaf).max();
    let size = log.signed_head().size;
    match known {
        Some(leaf) if u64::try_from(leaf.0).is_ok_and(|leaf| leaf >= size) => Err(Failure::new(
            20,
            "C2001",
            format!("the log ends at leaf {size}, but leaf {leaf} was acknowledged: it was put back to an older state"),
        )
        .why("appending to it would sign a second history; nothing was changed")
        .next("put the folder .cathedral/log back from your newest copy")
        .next("cathedral restore SNAP --to DIR    works without it")),
        _ => Ok(()),
    }
}

/// What a hub needs to open its vault and to write to it.
const KEYS: [&str; 5] = ["hub-id", "hub.key", "signing.key", "vault-0001.0.age", "cathedral-vault.json"];

/// The keys that are missing although something here belongs to them.
pub(super) fn missing_keys(site: &Site) -> Vec<&'static str> {
    let keys = site.state.join("keys");
    // An empty file is what a crash or a full disk leaves of one: it holds as much as none.
    let is_there = |name: &&str| fs::metadata(keys.join(name)).is_ok_and(|m| m.len() > 0);
    let missing: Vec<&str> = KEYS.into_iter().filter(|name| !is_there(name)).collect();
    let is_needed = || {
        let holds = places(site).iter().any(|(_, path)| path.join("cathedral-vault.json").exists());
        holds || site.state.join("hub.db").exists() || site.state.join("log").join("checkpoint").exists()
    };
    if missing.is_empty() || !is_needed() { vec![] } else { missing }
}

/// New keys are made only where nothing is that older ones belong to: with others the vault could not be
/// opened, and somebody might keep the wrong ones.
pub fn keys_are_whole(site: &Site) -> Result<(), Failure> {
    let keys = site.state.join("keys");
    let missing = missing_keys(site);
    if missing.is_empty() {
        return Ok(());
    }
    let vaults: Vec<PathBuf> = places(site).into_iter().map(|(_, path)| path).collect();
    let holds = vaults.iter().find(|path| path.join("cathedral-vault.json").exists());
    let vault = holds.or(vaults.first()).map(|path| shown(path)).unwrap_or_default();
    Err(Failure::new(5, "C1502", format!("keys of this hub are missing: {}", missing.join(", ")))
        .why(format!(
            "state and snapshots here belong to them, and new ones would not open them; look in {}",
            shown(&keys)
        ))
        .next("put the folder .cathedral/keys back from your copy of it, then repeat the command")
        .next(format!(
            "cathedral restore latest --offline --from file:{vault} --key-file HUB.KEY --to DIR    needs hub.key alone"
        )))
}

/// The hub's own id: drawn once, kept beside its keys.
fn hub_id(keys: &Path, env: &dyn Env) -> Result<String, Failure> {
    let path = keys.join("hub-id");
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let mut random = [0; 6];
    env.entropy(&mut random);
    let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let aside = keys.join("hub-id.tmp");
    let write = || -> std::io::Result<()> {
        fs::write(&aside, &id)?;
        File::open(&aside)?.sync_all()?;
        fs::rename(&aside, &path)
    };
    write().map_err(|e| Failure::io(&shown(&path), &e))?;
    Ok(id)
}
