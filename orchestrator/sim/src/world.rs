//! The world: hubs, remotes, people, faults, and what must hold in the end.

mod executor;
mod faults;
mod invariants;
mod people;
mod remote;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cathedral_engine::{Engine, Options, Ports};
use cathedral_model::ecosystem::{ConflictPolicy, DataSync, Ecosystem, FilesSpoke, Hub, Side, Spoke, SpokeDetail};
use cathedral_model::ids::{NodeId, RunId, SpokeName};
use cathedral_model::ports::env::Silent;

use crate::memory::{MemoryContent, MemoryLedger, MemoryStore, MemoryVault, lock};
use crate::rng::Rng;

pub use executor::Executor;
pub use faults::Bug;
use faults::{FaultyLedger, FaultyStore, FaultyVault, HubEnv, Postbox};
use remote::{Pair, RemoteSyncer};

/// Everything that outlives a crash of a hub, and the knobs of the world.
pub struct Shared {
    pub exec: Executor,
    pub store: Arc<MemoryStore>,
    pub vault: MemoryVault,
    pub ledger: Arc<MemoryLedger>,
    pub content: Arc<MemoryContent>,
    pub state: Mutex<State>,
    pub bug: Bug,
}

/// The remotes and what was seen of them.
#[derive(Default)]
pub struct State {
    pub pairs: BTreeMap<SpokeName, Pair>,
    /// (spoke, key, version) that was made recoverable before a write.
    pub pins: std::collections::BTreeSet<(SpokeName, String, u64)>,
    pub versions: u64,
    pub delivered: Vec<String>,
    /// What a hub saw of a spoke first, for [`Bug::StaleLook`].
    pub seen: BTreeMap<(usize, SpokeName), Pair>,
    /// What restores have displaced, of what stood there when they began to write.
    pub displaced: Vec<Displaced>,
    /// Sides that cannot be read or written for a while.
    pub away: std::collections::BTreeSet<(SpokeName, Side)>,
    /// Broken promises, with their names.
    pub violations: Vec<String>,
    /// Writes to any side by a hub, to see that an unchanged sync makes none.
    pub hub_writes: u64,
}

/// A value that a restore has written over.
pub struct Displaced {
    pub run: RunId,
    pub spoke: SpokeName,
    pub key: String,
    pub version: u64,
}

/// A world grown from a seed.
pub struct World {
    seed: u64,
    shared: Arc<Shared>,
    ecosystem: Arc<Ecosystem>,
    hubs: usize,
}

impl World {
    /// Makes a world with four spokes of different modes and two hubs that share store, vault and log.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_bug(seed, Bug::None)
    }

    /// The same world with a planted bug, to show that the invariants see it.
    #[must_use]
    pub fn with_bug(seed: u64, bug: Bug) -> Self {
        let modes =
            [DataSync::Bidirectional, DataSync::Bidirectional, DataSync::HubDistribution, DataSync::SnapshotOnly];
        let spokes: Vec<Spoke> = modes.iter().enumerate().map(|(i, mode)| spoke(i, *mode)).collect();
        let pairs = spokes.iter().map(|s| (s.name.clone(), Pair::default())).collect();
        let hub = Hub { name: name("hub"), url: "memory".into(), branch: "main".into() };
        let ecosystem = Arc::new(Ecosystem { name: "world".into(), hub, spokes });
        let shared = Arc::new(Shared {
            exec: Executor::new(Rng::new(seed)),
            store: Arc::new(MemoryStore::default()),
            vault: MemoryVault::default(),
            ledger: Arc::new(MemoryLedger::default()),
            content: Arc::new(MemoryContent::default()),
            state: Mutex::new(State { pairs, ..State::default() }),
            bug,
        });
        Self { seed, shared, ecosystem, hubs: 2 }
    }

    /// Sets how many hubs there are.
    #[must_use]
    pub fn hubs(mut self, hubs: usize) -> Self {
        self.hubs = hubs;
        self
    }

    /// Lives through edits, syncs, answers, restores and faults, then settles and checks everything.
    /// Returns the digest of the trace, which a second life with the same seed must repeat.
    pub fn live(&self) -> Result<String, Vec<String>> {
        self.start_hubs();
        self.shared.exec.faults(true);
        self.start_people();
        self.shared.exec.run_for(600_000);
        self.settle();
        self.check_all();
        let violations = lock(&self.shared.state).violations.clone();
        if violations.is_empty() {
            Ok(self.shared.exec.trace_digest())
        } else {
            let named = violations.iter().map(|v| format!("seed {}: {v}", self.seed));
            Err(named.collect())
        }
    }

    /// Crashes the hub as soon as a record of this name is durable.
    pub fn crash_after(&self, hub: usize, point: &str) {
        self.shared.exec.crash_at(hub, point);
    }

    /// Returns the last lines of the trace.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.shared.exec.trace_tail()
    }

    fn start_hubs(&self) {
        for hub in 0..self.hubs {
            let shared = Arc::clone(&self.shared);
            let ecosystem = Arc::clone(&self.ecosystem);
            // Run again after each crash: memory is lost, the remotes and the stores are not.
            self.shared.exec.define_hub(
                hub,
                Box::new(move || {
                    let engine = engine(&shared, &ecosystem, hub);
                    let exec = shared.exec.clone();
                    Box::pin(async move {
                        loop {
                            match engine.work_once().await {
                                Ok(Some(_)) => {}
                                Ok(None) => exec.sleep(700).await,
                                Err(_) => exec.sleep(1_500).await,
                            }
                        }
                    })
                }),
            );
        }
    }

    /// Faults off, leases end, everything that waits is done.
    fn settle(&self) {
        self.shared.exec.faults(false);
        lock(&self.shared.state).away.clear();
        self.shared.exec.run_for(120_000);
        // The first sync brings what the faults left behind; two spokes that stir each other need no more.
        for _ in 0..3 {
            self.request_sync();
            self.shared.exec.run_for(120_000);
        }
    }
}

fn name(text: &str) -> SpokeName {
    SpokeName::new(text).expect("names of the world are valid")
}

fn spoke(index: usize, data_sync: DataSync) -> Spoke {
    Spoke {
        name: name(&format!("s{index}")),
        role: String::new(),
        data_sync,
        wave: u32::from(index == 2),
        after: vec![],
        chain: vec![],
        policy: ConflictPolicy::Queue,
        detail: SpokeDetail::Files(FilesSpoke {
            hub: "hub".into(),
            spoke: "spoke".into(),
            ignore: vec![],
            preserve_mode: true,
            preserve_mtime: false,
            preserve_symlinks: true,
            versions: 0,
            documents: vec![],
        }),
    }
}

fn engine(shared: &Arc<Shared>, ecosystem: &Arc<Ecosystem>, hub: usize) -> Engine {
    let syncer = Arc::new(RemoteSyncer { shared: Arc::clone(shared), hub, held: Default::default() });
    let ports = Ports {
        store: Arc::new(FaultyStore { shared: Arc::clone(shared), hub }),
        vault: Arc::new(FaultyVault { shared: Arc::clone(shared), hub }),
        ledger: Arc::new(FaultyLedger { shared: Arc::clone(shared), hub }),
        content: Arc::clone(&shared.content) as Arc<dyn cathedral_model::ports::Content>,
        git: Arc::clone(&syncer) as Arc<dyn cathedral_model::ports::Syncer>,
        database: Arc::clone(&syncer) as Arc<dyn cathedral_model::ports::Syncer>,
        files: syncer,
        notifier: Arc::new(Postbox { shared: Arc::clone(shared), hub }),
        env: Arc::new(HubEnv { shared: Arc::clone(shared), hub }),
        chores: Arc::new(cathedral_model::ports::chores::NoChores),
        progress: Arc::new(Silent),
    };
    let options = Options { lease_ttl_ms: 30_000, attempts: 2, drives: true };
    Engine::new(ports, Arc::clone(ecosystem), NodeId::new(&format!("hub{hub}")), options)
}
