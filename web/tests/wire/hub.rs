//! A hub with everything in memory, served on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use cathedral_engine::query::{Objectives, Watching};
use cathedral_engine::{Engine, Options};
use cathedral_model::access::{Person, Role};
use cathedral_model::config::Problem;
use cathedral_model::ecosystem::{Ecosystem, Hub as HubRepository, Spoke};
use cathedral_model::event::Message;
use cathedral_model::ids::{Fence, LeafIndex, NodeId, RunId, SpokeName};
use cathedral_model::observation::{Observation, SideState};
use cathedral_model::plan::{Applied, PlanContext, SpokePlan};
use cathedral_model::ports::chores::NoChores;
use cathedral_model::ports::env::{Silent, Task};
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::ports::versions::ConfigVersion;
use cathedral_model::ports::{Accounts, Env, Notifier, PortError, Sink, Source, Syncer};
use cathedral_model::schedule::Schedule;
use cathedral_model::time::Timestamp;
use cathedral_sim::memory::{MemoryContent, MemoryLedger, MemoryVault};
use cathedral_store::SqliteStore;
use cathedral_web::auth::{password, token};
use cathedral_web::hub::{Download, Hub, Leaf, Secret, Subject};
use cathedral_web::live::Bell;
use cathedral_web::{Listener, Ports, Settings, Shared, State, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::client::{self, Reply};

/// A clock that tests move, and randomness that never repeats.
pub struct TestEnv {
    now: AtomicI64,
    drawn: AtomicU64,
}

impl Default for TestEnv {
    fn default() -> Self {
        Self { now: AtomicI64::new(1_800_000_000_000_000), drawn: AtomicU64::new(0) }
    }
}

impl TestEnv {
    pub fn pass_ms(&self, ms: i64) {
        self.now.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn entropy(&self, into: &mut [u8]) {
        for piece in into.chunks_mut(32) {
            let n = self.drawn.fetch_add(1, Ordering::SeqCst);
            let digest = cathedral_model::ids::Digest::of(&n.to_le_bytes());
            piece.copy_from_slice(&digest.0[..piece.len()]);
        }
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, ms: u64) -> Task {
        Box::pin(tokio::time::sleep(std::time::Duration::from_millis(ms)))
    }
}

fn none<T>() -> Result<T, PortError> {
    Err(PortError::permanent("there is none in this test"))
}

struct Nobody;

#[async_trait]
impl Syncer for Nobody {
    async fn observe(&self, _: &Spoke) -> Result<Observation, PortError> {
        none()
    }
    async fn plan(&self, _: &Spoke, _: &PlanContext) -> Result<SpokePlan, PortError> {
        none()
    }
    async fn pin(&self, _: &Spoke, _: &SpokePlan, _: RunId) -> Result<(), PortError> {
        none()
    }
    async fn apply(&self, _: &Spoke, _: &SpokePlan, _: RunId, _: Fence) -> Result<Applied, PortError> {
        none()
    }
    async fn export(&self, _: &Spoke, _: &Place, _: &mut dyn Sink) -> Result<SideState, PortError> {
        none()
    }
    async fn import(
        &self,
        _: &Spoke,
        _: &Place,
        _: &mut dyn Source,
        _: RunId,
        _: Fence,
    ) -> Result<Imported, PortError> {
        none()
    }
}

#[async_trait]
impl Notifier for Nobody {
    async fn deliver(&self, _: &Message) -> Result<(), PortError> {
        none()
    }
}

/// The hub behind the pages.
pub struct TestHub {
    pub public_url: Option<String>,
}

#[async_trait]
impl Hub for TestHub {
    fn name(&self) -> String {
        "atlas".into()
    }
    fn version(&self) -> String {
        "0.1.0".into()
    }
    fn public_url(&self) -> Option<String> {
        self.public_url.clone()
    }
    fn not_ready(&self) -> Option<String> {
        None
    }
    fn webhook_secrets(&self, source: &str) -> Vec<Secret> {
        assert_eq!(source, "github");
        vec![Secret(b"new secret".to_vec()), Secret(b"old secret".to_vec())]
    }
    async fn config_text(&self) -> Result<String, PortError> {
        Ok("name: atlas\n".into())
    }
    fn validate(&self, _: &str) -> Vec<Problem> {
        vec![]
    }
    async fn put_config(&self, _: &str, _: &str) -> Result<ConfigVersion, PortError> {
        none()
    }
    async fn reload(&self) -> Result<ConfigVersion, PortError> {
        none()
    }
    fn objectives(&self) -> Objectives {
        Objectives::default()
    }
    fn watching(&self) -> Watching {
        Watching::default()
    }
    fn next_due(&self, _: &Schedule, after: Timestamp) -> Option<Timestamp> {
        Some(after.plus_ms(1_000))
    }
    async fn proof_pack(&self, _: &Subject) -> Result<Download, PortError> {
        none()
    }
    async fn leaves(&self, _: Option<LeafIndex>, _: u32) -> Result<Vec<Leaf>, PortError> {
        Ok(vec![])
    }
}

/// A served hub.
pub struct Served {
    pub address: SocketAddr,
    pub state: Shared,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<TestEnv>,
    pub stop: watch::Sender<bool>,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Settings that make tests quick.
pub fn quick() -> Settings {
    Settings { password: password::Cost { memory_kib: 64, passes: 1 }, anonymous_per_minute: 0, ..Settings::default() }
}

pub async fn start() -> Served {
    start_with(quick(), None).await
}

pub async fn state(settings: Settings, public_url: Option<&str>) -> (Shared, Arc<SqliteStore>, Arc<TestEnv>) {
    let clock = Arc::new(TestEnv::default());
    let store = Arc::new(SqliteStore::in_memory().await.unwrap());
    let ports = cathedral_engine::Ports {
        store: Arc::clone(&store) as _,
        vault: Arc::new(MemoryVault::default()),
        ledger: Arc::new(MemoryLedger::default()),
        content: Arc::new(MemoryContent::default()),
        git: Arc::new(Nobody),
        database: Arc::new(Nobody),
        files: Arc::new(Nobody),
        notifier: Arc::new(Nobody),
        chores: Arc::new(NoChores),
        env: Arc::clone(&clock) as _,
        progress: Arc::new(Silent),
    };
    let hub = HubRepository { name: SpokeName::new("atlas").unwrap(), url: String::new(), branch: "main".into() };
    let ecosystem = Ecosystem { name: "atlas".into(), hub, spokes: vec![] };
    let engine = Engine::new(ports, Arc::new(ecosystem), NodeId::new("test"), Options::default());
    let hub = Arc::new(TestHub { public_url: public_url.map(str::to_owned) });
    let state = State::new(engine, Ports::of(&store), hub, Bell::default(), settings);
    (state, store, clock)
}

pub async fn start_with(settings: Settings, public_url: Option<&str>) -> Served {
    let (state, store, clock) = state(settings, public_url).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let router = cathedral_web::routes::router(&state);
    let task = tokio::spawn(serve(Listener::Tcp(listener), router, Arc::clone(&state), stopped));
    Served { address, state, store, clock, stop, task }
}

impl Served {
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        client::send(self.address, method, path, headers, body).await
    }

    /// A token as the header that carries it.
    pub async fn token(&self, scope: Role) -> String {
        let entropy = |into: &mut [u8]| self.clock.entropy(into);
        let (text, token) = token::mint(scope, "test", "test", None, self.clock.now(), &entropy);
        self.store.add_token(&token).await.unwrap();
        format!("Bearer {text}")
    }

    /// A person with a password, as if the one-time link had been used.
    pub async fn person(&self, name: &str, role: Role, word: &str) {
        let hashed = password::Passwords::new(quick().password).hash(word, [3; 16]).await.unwrap();
        let now = self.clock.now();
        if name != "root" && self.store.person("root").await.unwrap().is_none() {
            // There is always an administrator.
            let root =
                Person { name: "root".into(), role: Role::Admin, password: None, created_at: now, disabled: false };
            self.store.put_person(&root, now).await.unwrap();
        }
        let person = Person { name: name.into(), role, password: Some(hashed), created_at: now, disabled: false };
        self.store.put_person(&person, now).await.unwrap();
    }

    pub async fn post_form(&self, path: &str, cookie: &str, body: &str) -> Reply {
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Origin", "http://localhost"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Accept", "text/html"),
            ("Cookie", cookie),
        ];
        self.send("POST", path, &headers, body).await
    }

    /// Signs in and returns the cookie and the token of forms.
    pub async fn sign_in(&self, name: &str, word: &str) -> (String, String) {
        let reply = self.post_form("/sign-in", "", &format!("name={name}&password={word}")).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        let cookie = reply.cookie();
        let page = self.send("GET", "/", &[("Cookie", &cookie), ("Accept", "text/html")], "").await;
        assert_eq!(page.status, 200, "{page:?}");
        let csrf = page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        (cookie, csrf.to_owned())
    }
}
