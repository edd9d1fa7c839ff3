//! What was seen on the two sides of a spoke.

use serde::{Deserialize, Serialize};

use crate::ecosystem::Side;
use crate::ids::Digest;

/// One side at one moment, as far as the engine needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideState {
    /// Digest over everything that takes part in the sync, independent of when and how it was read:
    /// equal digests mean nothing to do.
    pub digest: Digest,
    /// The position for people, for example `main 91be003`, `4 tables, 3,212 rows`, `312 files`.
    pub position: String,
    /// How many refs, rows or entries there are.
    pub items: u64,
}

/// Both sides of a spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    pub hub: SideState,
    pub spoke: SideState,
    /// Things worth telling that do not stop the sync, for example an unreadable file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Observation {
    /// Returns the digests of both sides.
    #[must_use]
    pub fn digests(&self) -> Digests {
        Digests { hub: self.hub.digest, spoke: self.spoke.digest }
    }

    /// Returns the state of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> &SideState {
        match side {
            Side::Hub => &self.hub,
            Side::Spoke => &self.spoke,
        }
    }
}

/// The digests of both sides of a spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    pub hub: Digest,
    pub spoke: Digest,
}

/// What the store remembers of a spoke between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokeMemory {
    /// Content id of the merge base: what both sides last agreed on, in the syncer's own form.
    pub base: Option<Digest>,
    /// The digests both sides had when the last run that looked at them ended.
    pub settled: Option<Digests>,
    /// Whether that run left nothing undone but open conflicts, so that unchanged digests mean no work.
    pub complete: bool,
    /// The position of each side for people, at that time.
    pub hub_position: String,
    pub spoke_position: String,
}
