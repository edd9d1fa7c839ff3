//! What a plan tells its own apply: canonical JSON, so that a plan has one id.

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::object::Oid;
use super::refs::Values;

/// The format of plans.
pub const PLAN: &str = "cathedral.git-plan/v1";
/// The format of agreed states.
pub const BASE: &str = "cathedral.git-base/v1";

/// Where a ref is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The hub's own store of a mirrored repository.
    HubStore,
    /// An entry of the hub repository's tree: a pin or a shared path.
    HubTree,
    Spoke,
    Mirror(String),
}

impl Target {
    /// The side it belongs to.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::HubStore | Self::HubTree => Side::Hub,
            Self::Spoke | Self::Mirror(_) => Side::Spoke,
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub target: Target,
    /// A ref name, or the key of an entry of the hub's tree.
    pub name: String,
    pub old: Option<Oid>,
    pub new: Option<Oid>,
    pub action: String,
    /// Whether the new value need not contain the old one: a person said so, and it is pinned.
    #[serde(default)]
    pub moves: bool,
}

/// A value to keep before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pin {
    /// `base`, `hub`, `spoke` or `suggested`; mirrors by their name.
    pub side: String,
    pub name: String,
    /// A commit or tag; contents of shared paths are carried by a commit.
    pub oid: Oid,
}

/// The instructions of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub v: String,
    pub spoke: String,
    /// Digest of the spoke's declaration.
    pub config: Digest,
    /// The agreed state the plan was made from.
    pub base: Base,
    pub writes: Vec<Write>,
    pub pins: Vec<Pin>,
    /// The branch the hub store's HEAD is to name.
    pub head: Option<String>,
    /// What answers leave, to be seen after the writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<Answered>,
    /// Answers that are not taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// An item that an answer, an undo or a policy decides in this plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// As in the conflict.
    pub item: String,
    /// The mirror it is of, if it is not the spoke's.
    pub mirror: Option<String>,
    pub key: String,
    /// What hub and spoke are to hold.
    pub left: [Option<Oid>; 2],
}

/// An undo that would drop what came after the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub item: String,
    pub why: String,
}

/// What the last answer to a disputed item found at hub and spoke, and what it left there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub was: [Option<Oid>; 2],
    pub left: [Option<Oid>; 2],
}

/// What both sides last agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub v: String,
    pub items: Values,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrors: BTreeMap<String, Values>,
    /// Items whose deletion on one side was seen and left standing on the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// By the item of the conflict.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Resolved>,
}
