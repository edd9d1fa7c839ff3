//! Snapshots as ports speak of them; the vault's own formats stay in the vault.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::ecosystem::{Side, SpokeKind};
use crate::ids::{DestinationName, Digest, SnapshotId, SpokeName};
use crate::observation::Digests;
use crate::time::Timestamp;

/// A SHA-256 root, written as 64 hex digits.
pub type Root = Digest;

/// Why and for whom a snapshot is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Decided before the first byte is written, so that a retry continues the same snapshot.
    pub id: SnapshotId,
    pub ecosystem: String,
    pub at: Timestamp,
    /// For example `run 1204` or `snapshot create`.
    pub cause: String,
    pub tags: Vec<String>,
}

/// One part of a snapshot: one side of one spoke (git spokes hold both sides in one part, `hub`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartKey {
    pub spoke: SpokeName,
    pub side: Side,
}

/// The spoke's name, with `@spoke` for its own side: how a part is named to people and by them.
impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Hub => write!(f, "{}", self.spoke),
            Side::Spoke => write!(f, "{}@spoke", self.spoke),
        }
    }
}

/// What is known of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    pub key: PartKey,
    pub kind: SpokeKind,
    /// The RFC 6962 root over refs, tables or tree entries.
    pub root: Root,
    /// The syncer's digest of the part when it was read.
    pub observed: Digest,
    pub position: String,
    /// Files, rows or refs.
    pub items: u64,
    pub bytes: u64,
    /// `exact`, `barrier` or `fuzzy`.
    pub consistency: String,
    /// Items that could not be read, with the reason.
    pub skipped: Vec<String>,
    /// Set when the part, or one of the two sides in it, could not be read for this snapshot: that much of
    /// it is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
}

impl PartInfo {
    /// What the part is called in a folder that it is restored to.
    #[must_use]
    pub fn folder_name(&self) -> String {
        match self.kind {
            SpokeKind::Git => format!("{}.git", self.key),
            SpokeKind::Database => format!("{}.db", self.key),
            SpokeKind::Files => self.key.to_string(),
        }
    }
}

/// Where that comes from which could not be read when its snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The newest snapshot for which the side was read.
    pub snapshot: SnapshotId,
    /// When that one was taken.
    pub at: Timestamp,
    /// Why the side could not be read this time.
    pub why: String,
    /// Of a part with both sides in it (git): the one that could not be read. It is as it was read last, for
    /// that snapshot or after it; the other one is as it was when this snapshot was taken. None: the whole
    /// part is as that snapshot holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

impl Carried {
    /// Returns since when a side is older that cannot be read, given the newest snapshot with the part: that
    /// one, unless it could not be read for it either.
    #[must_use]
    pub fn since(
        newest: (SnapshotId, Timestamp),
        earlier: Option<&Self>,
        side: Option<Side>,
    ) -> (SnapshotId, Timestamp) {
        match earlier {
            Some(c) if c.side.is_none() || side.is_none() || c.side == side => (c.snapshot.clone(), c.at),
            _ => newest,
        }
    }
}

/// How many bytes a snapshot stands for, how many of them were new, and how many were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotBytes {
    pub logical: u64,
    pub new: u64,
    pub stored: u64,
}

/// How a snapshot stands at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub name: DestinationName,
    /// `held`, `lagging`, `missing` or `unreachable`.
    pub state: String,
}

/// A finished snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    pub meta: SnapshotMeta,
    pub parent: Option<SnapshotId>,
    pub root: Root,
    pub parts: Vec<PartInfo>,
    pub bytes: SnapshotBytes,
    pub destinations: Vec<Held>,
    /// SHA-256 and BLAKE3 of the manifest's stored object, as the log leaf carries them.
    pub manifest_sha256: String,
    pub manifest_blake3: String,
}

impl SnapshotInfo {
    /// Returns the digests of each spoke's sides as this snapshot holds them.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<SpokeName, BTreeMap<Side, Digest>> {
        let mut out: BTreeMap<SpokeName, BTreeMap<Side, Digest>> = BTreeMap::new();
        for part in &self.parts {
            out.entry(part.key.spoke.clone()).or_default().insert(part.key.side, part.observed);
        }
        out
    }
}

/// Returns the sides that make parts of their own for a kind of spoke.
#[must_use]
pub fn parts_of(kind: SpokeKind) -> &'static [Side] {
    match kind {
        // One bare store holds the refs of both sides.
        SpokeKind::Git => &[Side::Hub],
        SpokeKind::Database | SpokeKind::Files => &[Side::Hub, Side::Spoke],
    }
}

/// Returns the digest a part must have been read at, given both sides' digests: a git part stands
/// for both sides at once.
#[must_use]
pub fn part_digest(kind: SpokeKind, side: Side, digests: &Digests) -> Digest {
    match (kind, side) {
        (SpokeKind::Git, _) => {
            let mut both = [0; 64];
            both[..32].copy_from_slice(&digests.hub.0);
            both[32..].copy_from_slice(&digests.spoke.0);
            Digest::of(&both)
        }
        (_, Side::Hub) => digests.hub,
        (_, Side::Spoke) => digests.spoke,
    }
}

/// How thoroughly a vault is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// Listings: every object is present with the right size.
    Quick,
    /// And manifests, indexes, trees and signatures, with every chunk id resolvable.
    Metadata,
    /// And every byte decrypted, decompressed and hashed.
    Full,
}

/// What a check read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub packs: u64,
    pub chunks: u64,
    pub bytes: u64,
}

/// Something a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub destination: DestinationName,
    pub object: String,
    /// What is wrong, for example `missing`, `truncated`, `does not match its name`.
    pub fault: String,
    /// Snapshots, spokes and paths that need the object.
    pub affects: Vec<String>,
    /// So many more need it than are named.
    #[serde(default)]
    pub affects_more: u64,
    /// Whether another destination still holds an intact copy.
    pub restorable: bool,
}

/// The last check of everything at one destination, at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    pub level: CheckLevel,
    pub at: Timestamp,
    /// How many objects it found missing or damaged there.
    pub problems: u64,
}

/// How one destination stands: by what it lists now, and by what checks have found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub name: DestinationName,
    /// Why it does not answer.
    pub fault: Option<String>,
    /// Objects that it does not list, or lists with another length than was written.
    pub missing: u64,
    /// Objects that were found damaged there, are still needed, and were not mended since.
    pub damaged: u64,
    /// Newest first, at most one a level.
    pub checks: Vec<LastCheck>,
}

/// A cheap look at a vault: listings and what is remembered of checks; no pack is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultLook {
    pub destinations: Vec<Standing>,
    /// The first thing of the newest snapshot that no destination has whole; none: nothing is known to
    /// be lost of it.
    pub newest_lacks: Option<String>,
    /// Snapshots that were taken, and whose manifest no destination gives any more.
    pub vanished: Vec<SnapshotId>,
    /// Packs with something that no destination has whole any more, of whichever snapshot.
    pub lost_packs: u64,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    pub checked: Checked,
    pub problems: Vec<Problem>,
    /// Snapshots that were looked at.
    pub snapshots: Vec<String>,
    /// Damaged or missing packs that are no problem: all that they held was stored again elsewhere.
    #[serde(default)]
    pub superseded: u64,
}
