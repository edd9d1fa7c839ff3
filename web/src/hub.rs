//! What the pages need of the hub and no port gives. The binary implements it.

use async_trait::async_trait;

use cathedral_engine::query::{Objectives, OwnFault, Watching};
use cathedral_model::access::Action;
use cathedral_model::config::Problem;
use cathedral_model::ids::LeafIndex;
use cathedral_model::ports::versions::ConfigVersion;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::schedule::Schedule;
use cathedral_model::time::Timestamp;
use tokio::sync::mpsc::Receiver;

/// A secret that no log can show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// What a proof is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Leaf(LeafIndex),
    Snapshot(cathedral_model::ids::SnapshotId),
}

/// A file to hand out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// A plain file name.
    pub name: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// One leaf of the log, as listed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Leaf {
    pub index: LeafIndex,
    /// The statement as it stands in the log.
    pub statement: serde_json::Value,
    /// The leaf's hash, hex.
    pub hash: String,
}

/// How the output of a command is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terminal {
    /// Columns of the terminal on standard output; none: a pipe.
    pub out: Option<u16>,
    /// Columns of the terminal on standard error; none: a pipe.
    pub err: Option<u16>,
    /// Whether it shows more than ASCII.
    pub utf8: bool,
}

/// What a command under way says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Out(hyper::body::Bytes),
    Err(hyper::body::Bytes),
    /// It has ended. Nothing follows.
    Exit(u8),
}

/// Why a command is not carried out for somebody elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub what: String,
    /// What to do instead.
    pub next: Option<String>,
}

/// The hub behind the pages. Answers must be quick: what is slow belongs into a run.
#[async_trait]
pub trait Hub: Send + Sync {
    /// The name of the ecosystem, as it stands now.
    fn name(&self) -> String;

    /// The program's version.
    fn version(&self) -> String;

    /// `web.public_url` without a trailing slash, where one is configured: every absolute link begins with
    /// it, cookies are `Secure` when it is https, and its host is answered.
    fn public_url(&self) -> Option<String>;

    /// Why the hub is not ready to work; none when it is. Asked by `/readyz`.
    fn not_ready(&self) -> Option<String>;

    /// The live secrets of a source of webhooks (`github`), newest first; empty: the source is not used.
    fn webhook_secrets(&self, source: &str) -> Vec<Secret>;

    /// The configuration file's text as it stands now: references, never secrets.
    async fn config_text(&self) -> Result<String, PortError>;

    /// Checks a configuration text without using it. No error among them: it would be accepted.
    fn validate(&self, text: &str) -> Vec<Problem>;

    /// Puts a text in place of the configuration file and takes it over (`cause` as in [`ConfigVersion`]).
    /// [`cathedral_model::ports::Cause::Invalid`] when it does not pass [`Self::validate`].
    async fn put_config(&self, text: &str, cause: &str) -> Result<ConfigVersion, PortError>;

    /// Reads the configuration file again and takes it over when it is valid.
    async fn reload(&self) -> Result<ConfigVersion, PortError>;

    /// What the owner wants: how much may be lost, how soon everything must be back.
    fn objectives(&self) -> Objectives;

    /// What is wrong with the log, as far as opening it tells; none: nothing is known to be.
    async fn log_fault(&self) -> Option<String> {
        None
    }

    /// What else of the hub's own is known to be missing or damaged.
    async fn own_faults(&self) -> Vec<OwnFault> {
        vec![]
    }

    /// When this hub last looked at what, and what could not be looked at.
    fn watching(&self) -> Watching;

    /// When a schedule is due next after `after`; none: never again, or the rule cannot be read.
    fn next_due(&self, schedule: &Schedule, after: Timestamp) -> Option<Timestamp>;

    /// Everything a stranger needs to check a leaf or a snapshot without this hub.
    async fn proof_pack(&self, subject: &Subject) -> Result<Download, PortError>;

    /// What somebody elsewhere must be allowed to do so that this command may be carried out for them.
    ///
    /// # Errors
    /// The words are no command, or one that only works where it is typed.
    fn command_needs(&self, arguments: &[String]) -> Result<Action, Unfit> {
        let _ = arguments;
        Err(Unfit { what: "this hub carries out no commands".to_owned(), next: None })
    }

    /// Begins a command in the name of `actor`. It is stopped when the answer is dropped.
    async fn command(
        &self,
        arguments: Vec<String>,
        terminal: &Terminal,
        actor: &str,
    ) -> Result<Receiver<Said>, PortError> {
        let _ = (arguments, terminal, actor);
        Err(PortError::failed(Cause::Refused, "this hub carries out no commands"))
    }

    /// Lists leaves of the log, newest first, before the given one.
    async fn leaves(&self, before: Option<LeafIndex>, limit: u32) -> Result<Vec<Leaf>, PortError>;
}
