//! A snapshot's manifest: signed, then encrypted; one snapshot is visible where its manifest is.

use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, SnapshotId, SpokeName};
use cathedral_model::snapshot::{Carried, Held, PartInfo, PartKey, SnapshotBytes, SnapshotInfo, SnapshotMeta};
use cathedral_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The content of `snapshots/<id>.age`, first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    pub version: u32,
    pub id: SnapshotId,
    pub vault: String,
    pub epoch: u64,
    pub ecosystem: String,
    /// UTC microseconds.
    pub at: String,
    pub parent: Option<SnapshotId>,
    pub cause: String,
    pub root: Digest,
    pub tags: Vec<String>,
    pub spokes: Vec<Part>,
    pub stats: Stats,
    /// A hint: what a destination holds is what it lists.
    pub destinations: Vec<Held>,
}

/// One side of one spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: SpokeName,
    pub side: Side,
    pub kind: SpokeKind,
    pub root: Digest,
    pub observed: Digest,
    pub position: String,
    pub items: u64,
    pub bytes: String,
    pub consistency: String,
    pub skipped: Vec<String>,
    /// Set when the part, or one side in it, could not be read for this snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabasePart>,
}

/// Which snapshot's part stands in for a side that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedPart {
    pub snapshot: SnapshotId,
    /// When that snapshot was taken, UTC microseconds.
    pub at: String,
    pub why: String,
    /// The one side that it stands in for, of a part with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

impl CarriedPart {
    fn known(&self) -> Carried {
        Carried {
            snapshot: self.snapshot.clone(),
            at: Timestamp(self.at.parse().unwrap_or(0)),
            why: self.why.clone(),
            side: self.side,
        }
    }
}

/// What a git part needs: refs, and packs in the order in which they must be indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitPart {
    pub refs: Digest,
    pub head: Option<String>,
    pub base: Option<Digest>,
    pub segments: Vec<Digest>,
}

/// What a database part needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePart {
    pub engine: String,
    pub schema: Digest,
    pub tables: Vec<Table>,
}

/// One table: a list of leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub n: String,
    pub columns: Vec<String>,
    pub key: Vec<String>,
    pub root: Digest,
    pub rows: String,
    pub leaves: Option<Digest>,
}

/// Sizes, as strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub logical: String,
    pub new: String,
    pub stored: String,
}

/// Returns the name of a manifest's object.
#[must_use]
pub fn object(id: &SnapshotId) -> String {
    format!("snapshots/{id}.age")
}

/// Returns the snapshot that an object's name stands for.
#[must_use]
pub fn id_of(object: &str) -> Option<SnapshotId> {
    let name = object.strip_prefix("snapshots/")?.strip_suffix(".age")?;
    SnapshotId::parse(name).ok().filter(|id| id.as_str() == name)
}

impl Part {
    /// Returns which part this is.
    #[must_use]
    pub fn key(&self) -> PartKey {
        PartKey { spoke: self.name.clone(), side: self.side }
    }

    /// Returns what callers know of the part.
    #[must_use]
    pub fn info(&self) -> PartInfo {
        PartInfo {
            key: self.key(),
            kind: self.kind,
            root: self.root,
            observed: self.observed,
            position: self.position.clone(),
            items: self.items,
            bytes: self.bytes.parse().unwrap_or(0),
            consistency: self.consistency.clone(),
            skipped: self.skipped.clone(),
            carried: self.carried.as_ref().map(CarriedPart::known),
        }
    }
}

impl Manifest {
    /// Returns what callers know of the snapshot, given its object's digests and who holds it.
    #[must_use]
    pub fn info(&self, manifest_sha256: String, manifest_blake3: String, destinations: Vec<Held>) -> SnapshotInfo {
        SnapshotInfo {
            meta: SnapshotMeta {
                id: self.id.clone(),
                ecosystem: self.ecosystem.clone(),
                at: Timestamp(self.at.parse().unwrap_or(0)),
                cause: self.cause.clone(),
                tags: self.tags.clone(),
            },
            parent: self.parent.clone(),
            root: self.root,
            parts: self.spokes.iter().map(Part::info).collect(),
            bytes: SnapshotBytes {
                logical: self.stats.logical.parse().unwrap_or(0),
                new: self.stats.new.parse().unwrap_or(0),
                stored: self.stats.stored.parse().unwrap_or(0),
            },
            destinations,
            manifest_sha256,
            manifest_blake3,
        }
    }

    /// Returns one part.
    #[must_use]
    pub fn part(&self, key: &PartKey) -> Option<&Part> {
        self.spokes.iter().find(|p| p.name == key.spoke && p.side == key.side)
    }
}
