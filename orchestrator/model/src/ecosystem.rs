//! The declared ecosystem: the hub and its spokes, resolved from the configuration.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::ids::SpokeName;

/// Which side of a spoke's pair is meant. The third side of every comparison, `base`, is what both
/// last agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Hub,
    Spoke,
}

impl Side {
    /// Returns the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Hub => Self::Spoke,
            Self::Spoke => Self::Hub,
        }
    }

    /// Returns `hub` or `spoke`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Spoke => "spoke",
        }
    }
}

/// In which direction changes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSync {
    /// Both ways.
    Bidirectional,
    /// From the hub to the spoke; changes of the spoke are drift.
    HubDistribution,
    /// From the spoke to the hub; changes of the hub are drift.
    Collect,
    /// No changes travel; the spoke is only kept recoverable.
    SnapshotOnly,
}

/// What kind of thing a spoke is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpokeKind {
    Git,
    Database,
    Files,
}

impl SpokeKind {
    /// Returns `git`, `database` or `files`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Database => "database",
            Self::Files => "files",
        }
    }
}

/// What an owner says about changes of both sides to one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictPolicy {
    /// Both sides stay as they are until a person decides.
    #[default]
    Queue,
    Hub,
    Spoke,
    Newest,
    Union,
}

/// How divergent git branches are joined when their contents merge cleanly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GitMerge {
    /// Divergence always waits for a person: the protecting default.
    #[default]
    Queue,
    /// Only fast-forwards; divergence is a conflict.
    FastForward,
    /// A clean merge becomes a merge commit.
    Merge,
}

/// How a git spoke stands in the ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GitIntegration {
    /// The hub repository pins a commit of the spoke's branch at `path`.
    Submodule { path: String },
    /// The hub keeps the spoke's refs in a bare store of its own; `mirrors` are further remotes.
    Mirror { mirrors: Vec<Mirror> },
    /// Only the `shared_paths` are kept equal.
    SharedPaths,
    /// The repository itself is kept recoverable; it is the hub's own master repository.
    Master,
}

/// A further remote of a mirrored repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    pub name: SpokeName,
    pub url: String,
    pub mode: MirrorMode,
}

/// Which way refs travel between the hub's store and a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorMode {
    Push,
    Pull,
    Both,
}

/// Files kept equal between the hub repository and a spoke repository, whatever the integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPath {
    /// Path in the hub repository, without a trailing slash.
    pub hub: String,
    /// Path in the spoke repository, without a trailing slash.
    pub spoke: String,
}

/// Which refs of a spoke take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRules {
    /// Patterns of full ref names; `*` matches within and across path parts.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Whether a deletion on one side may delete on the other.
    pub prune: bool,
    /// Above this share (percent) and above 5 refs, vanished refs stop the sync.
    pub max_vanish_percent: u8,
}

impl Default for RefRules {
    fn default() -> Self {
        Self {
            include: vec!["refs/heads/*".into(), "refs/tags/*".into()],
            exclude: vec![],
            prune: false,
            max_vanish_percent: 20,
        }
    }
}

/// A git spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSpoke {
    /// Path, `file://`, `http(s)://`, `ssh://` or `user@host:path`; checked by the configuration.
    pub url: String,
    /// The branch followed by a submodule pin and by shared paths.
    pub branch: String,
    pub integration: GitIntegration,
    pub refs: RefRules,
    pub shared_paths: Vec<SharedPath>,
    pub merge: GitMerge,
    /// `fsck` message ids that are tolerated in this repository's history.
    pub fsck_allow: Vec<String>,
}

/// How rows changed on both sides are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowMerge {
    #[default]
    Cell,
    Row,
    None,
}

/// A database spoke: the hub's copy and the spoke's copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSpoke {
    /// Path of the hub's SQLite file.
    pub hub: PathBuf,
    /// Path of the spoke's SQLite file.
    pub spoke: PathBuf,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub merge: RowMerge,
}

/// A file tree: the hub's copy and the spoke's copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSpoke {
    pub hub: PathBuf,
    pub spoke: PathBuf,
    /// gitignore patterns.
    pub ignore: Vec<String>,
    pub preserve_mode: bool,
    pub preserve_mtime: bool,
    pub preserve_symlinks: bool,
    /// How many replaced versions of a path are kept besides those that snapshots hold.
    pub versions: u32,
    /// Glob patterns of shared state documents, merged by automerge.
    pub documents: Vec<String>,
}

/// The part of a spoke that only its syncer understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpokeDetail {
    Git(GitSpoke),
    Database(DatabaseSpoke),
    Files(FilesSpoke),
}

/// One declared spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoke {
    pub name: SpokeName,
    pub role: String,
    pub data_sync: DataSync,
    /// Order of distribution: smaller waves first, names break ties.
    pub wave: u32,
    /// Spokes that must have been synced before this one.
    pub after: Vec<SpokeName>,
    /// The owner's resolver chain, by stage name; empty means the standard one.
    pub chain: Vec<String>,
    pub policy: ConflictPolicy,
    pub detail: SpokeDetail,
}

impl Spoke {
    /// Returns a spoke that is kept in snapshots and not synced.
    #[must_use]
    pub fn only_kept(name: SpokeName, role: &str, detail: SpokeDetail) -> Self {
        Self {
            name,
            role: role.to_owned(),
            data_sync: DataSync::SnapshotOnly,
            wave: 0,
            after: vec![],
            chain: vec![],
            policy: ConflictPolicy::Queue,
            detail,
        }
    }

    /// Returns the kind of the spoke.
    #[must_use]
    pub fn kind(&self) -> SpokeKind {
        match self.detail {
            SpokeDetail::Git(_) => SpokeKind::Git,
            SpokeDetail::Database(_) => SpokeKind::Database,
            SpokeDetail::Files(_) => SpokeKind::Files,
        }
    }
}

/// The hub's master repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    pub name: SpokeName,
    pub url: String,
    pub branch: String,
}

/// The resolved ecosystem, in the order of distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ecosystem {
    pub name: String,
    pub hub: Hub,
    /// Sorted by (wave, name), with `after` respected. The master repository itself is the spoke
    /// named after the hub, `snapshot_only`.
    pub spokes: Vec<Spoke>,
}

impl Ecosystem {
    /// Returns the spoke of this name.
    #[must_use]
    pub fn spoke(&self, name: &SpokeName) -> Option<&Spoke> {
        self.spokes.iter().find(|s| &s.name == name)
    }
}
