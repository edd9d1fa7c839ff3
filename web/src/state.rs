//! What all routes share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use cathedral_engine::Engine;
use cathedral_model::ids::Digest;
use cathedral_model::ports::{
    Accounts, ConfigVersions, Content, Env, Intake, Ledger, OutgoingStore, Schedules, Store, Vault,
};
use cathedral_model::time::Timestamp;
use tokio::sync::{Semaphore, watch};

use crate::auth::Identity;
use crate::auth::login::Logins;
use crate::auth::password::Passwords;
use crate::hub::Hub;
use crate::limit::Buckets;
use crate::live::{Bell, Feed};
use crate::metrics::Metrics;

/// The ports that the engine does not have. Usually one store implements them all.
#[derive(Clone)]
pub struct Ports {
    pub schedules: Arc<dyn Schedules>,
    pub intake: Arc<dyn Intake>,
    pub accounts: Arc<dyn Accounts>,
    pub outgoing: Arc<dyn OutgoingStore>,
    pub versions: Arc<dyn ConfigVersions>,
}

impl Ports {
    /// Takes all ports from one store.
    pub fn of<S>(store: &Arc<S>) -> Self
    where
        S: Schedules + Intake + Accounts + OutgoingStore + ConfigVersions + 'static,
    {
        Self {
            schedules: Arc::clone(store) as _,
            intake: Arc::clone(store) as _,
            accounts: Arc::clone(store) as _,
            outgoing: Arc::clone(store) as _,
            versions: Arc::clone(store) as _,
        }
    }
}

/// Limits and costs. The defaults are those of the security design; tests make some of them smaller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Further host names that are answered, beside loopback names and the public URL's.
    pub hosts: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpAddr>,
    /// Requests a minute from an address without a valid session or token; 0: no limit.
    pub anonymous_per_minute: u32,
    /// Requests a minute with one session or token; 0: no limit.
    pub key_per_minute: u32,
    /// Sign-in attempts a minute from one address.
    pub sign_ins_per_minute: u32,
    /// Bytes of a request's body, but for webhooks.
    pub body_bytes: usize,
    /// Bytes of a webhook's body.
    pub hook_bytes: usize,
    /// Bytes of all webhooks' bodies that are held at the same time.
    pub hooks_bytes: usize,
    /// How long a body may take to arrive.
    pub body_ms: u64,
    /// How long the head of a request may take to arrive.
    pub head_ms: u64,
    /// How long a peer may take to accept any byte of an answer.
    pub stall_ms: u64,
    /// A session ends when it was not used for this long.
    pub idle_ms: u64,
    /// A session ends this long after sign-in, used or not.
    pub session_ms: u64,
    /// How long a sign-in counts as fresh.
    pub fresh_ms: u64,
    /// Open connections; more wait to be accepted.
    pub connections: usize,
    /// Live streams of the whole hub, and of one session or token.
    pub streams: usize,
    pub streams_per_key: usize,
    pub heartbeat_ms: u64,
    pub password: crate::auth::password::Cost,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: u64 = 3_600_000;
        Self {
            hosts: vec![],
            proxies: vec![],
            anonymous_per_minute: 100,
            key_per_minute: 1_000,
            sign_ins_per_minute: 10,
            body_bytes: 1 << 20,
            hook_bytes: 25 << 20,
            hooks_bytes: 128 << 20,
            body_ms: 10_000,
            head_ms: 10_000,
            stall_ms: 30_000,
            idle_ms: 12 * HOUR,
            session_ms: 7 * 24 * HOUR,
            fresh_ms: 5 * 60_000,
            connections: 16_384,
            streams: 12_000,
            streams_per_key: 20,
            heartbeat_ms: 15_000,
            password: crate::auth::password::Cost::default(),
        }
    }
}

/// What all routes share. Made once; handlers get it as `axum::extract::State<Shared>`.
pub struct State {
    /// The engine of the configuration as it stands; a reload puts another in place.
    engine: ArcSwap<Engine>,
    pub store: Arc<dyn Store>,
    pub env: Arc<dyn Env>,
    pub ports: Ports,
    pub hub: Arc<dyn Hub>,
    pub bell: Bell,
    pub settings: Settings,
    pub feed: Arc<Feed>,
    pub metrics: Metrics,
    pub(crate) passwords: Passwords,
    pub(crate) logins: Logins,
    pub(crate) anonymous: Buckets,
    pub(crate) keys: Buckets,
    /// Who came with which secret, looked up at most a second ago.
    pub(crate) known: Mutex<HashMap<Digest, (Timestamp, Arc<Identity>)>>,
    /// Moves on when a session, token or person ends: open streams look again whether they still may.
    pub(crate) access: watch::Sender<u64>,
    /// Room for bodies of webhooks, in KiB.
    pub(crate) hook_room: Arc<Semaphore>,
    pub(crate) streams: Arc<Mutex<HashMap<u128, usize>>>,
    pub(crate) stream_count: Arc<AtomicUsize>,
    /// Places for commands that are carried out for somebody elsewhere.
    pub(crate) commands: Arc<Semaphore>,
    pub(crate) started: Timestamp,
    pub(crate) view: crate::view::Views,
    /// Held from the look at what is there to the act that follows from it: two people, or one double click,
    /// come one after the other.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    pub(crate) restoring: tokio::sync::Mutex<()>,
    /// The document at `/api/v1/openapi.json`, written when the router is made.
    pub(crate) openapi: std::sync::OnceLock<serde_json::Value>,
}

/// The state as routes hold it.
pub type Shared = Arc<State>;

impl State {
    /// Makes the state and starts the task that follows the event log. Must be called in a tokio runtime;
    /// the task ends with the last copy of the state.
    pub fn new(engine: Engine, ports: Ports, hub: Arc<dyn Hub>, bell: Bell, settings: Settings) -> Shared {
        let store = Arc::clone(&engine.ports().store);
        let env = Arc::clone(&engine.ports().env);
        let feed = Feed::start(Arc::clone(&store), bell.clone());
        Arc::new(Self {
            started: env.now(),
            view: crate::view::Views::default(),
            deciding: tokio::sync::Mutex::default(),
            restoring: tokio::sync::Mutex::default(),
            engine: ArcSwap::from_pointee(engine),
            store,
            env,
            ports,
            hub,
            bell,
            feed,
            metrics: Metrics::default(),
            passwords: Passwords::new(settings.password),
            logins: Logins::new(settings.sign_ins_per_minute),
            anonymous: Buckets::new(settings.anonymous_per_minute, 65_536),
            keys: Buckets::new(settings.key_per_minute, 65_536),
            known: Mutex::default(),
            access: watch::Sender::new(0),
            hook_room: Arc::new(Semaphore::new(settings.hooks_bytes.div_ceil(1_024))),
            streams: Arc::default(),
            stream_count: Arc::default(),
            commands: crate::api::commands::places(),
            openapi: std::sync::OnceLock::new(),
            settings,
        })
    }

    /// The engine as it stands now. Hold it for one piece of work, not longer.
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.load_full()
    }

    /// Puts another engine in place, after a reload. Store and clock must be the same.
    pub fn replace_engine(&self, engine: Engine) {
        self.engine.store(Arc::new(engine));
    }

    pub fn vault(&self) -> Arc<dyn Vault> {
        Arc::clone(&self.engine().ports().vault)
    }

    pub fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.engine().ports().ledger)
    }

    pub fn content(&self) -> Arc<dyn Content> {
        Arc::clone(&self.engine().ports().content)
    }

    pub fn now(&self) -> Timestamp {
        self.env.now()
    }

    /// Whether browsers reach the hub by https.
    pub(crate) fn is_https(&self) -> bool {
        self.hub.public_url().is_some_and(|url| url.starts_with("https://"))
    }

    /// Fills an array with random bytes.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.env.entropy(&mut bytes);
        bytes
    }

    /// Forgets who was known: a session, token or person has changed.
    pub fn access_changed(&self) {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        self.access.send_modify(|n| *n += 1);
    }
}
