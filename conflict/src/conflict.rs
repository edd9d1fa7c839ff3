//! The vocabulary of a merge: what disagrees, what came of it, and why.
//!
//! The three sides are `base`, `hub` and `spoke`, everywhere. A resolver gets bytes and returns bytes; it never
//! reads a file, a clock or the environment, so the same conflict has the same answer on every node.

use std::fmt;

use serde::Serialize;

use crate::kind::Kind;

/// One of the three sides of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What both sides agreed on last.
    Base,
    /// What the hub holds now.
    Hub,
    /// What the spoke holds now.
    Spoke,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Base => "base",
            Side::Hub => "hub",
            Side::Spoke => "spoke",
        })
    }
}

/// A hybrid logical clock, as recorded with an observation; never a file's modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Clock {
    /// Physical part in milliseconds.
    pub wall_ms: u64,
    /// Logical part that orders events within one millisecond.
    pub counter: u32,
}

/// What is known about the sides besides their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Meta {
    /// The side whose history contains the other side's, if one does.
    pub descendant: Option<Side>,
    /// When the hub's version was observed.
    pub hub_clock: Option<Clock>,
    /// When the spoke's version was observed.
    pub spoke_clock: Option<Clock>,
    /// By how much the two clocks may be apart for all we know.
    pub skew_ms: u64,
}

/// Two sides that changed one item since they last agreed.
#[derive(Debug, Clone, Copy)]
pub struct Conflict<'a> {
    /// The item's path, used for its kind only.
    pub path: &'a str,
    /// How the item is read.
    pub kind: Kind,
    /// The last agreed version; `None` when both sides added the item.
    pub base: Option<&'a [u8]>,
    /// The hub's version.
    pub hub: &'a [u8],
    /// The spoke's version.
    pub spoke: &'a [u8],
    /// Clocks and ancestry, for the policies that need them.
    pub meta: Meta,
}

impl<'a> Conflict<'a> {
    /// Describes a conflict whose kind follows from its path and contents.
    pub fn new(path: &'a str, base: Option<&'a [u8]>, hub: &'a [u8], spoke: &'a [u8]) -> Self {
        let kinds = [base.unwrap_or(hub), hub, spoke].map(|bytes| Kind::detect(path, bytes));
        let kind = if kinds.contains(&Kind::Binary) { Kind::Binary } else { kinds[1] };
        Conflict { path, kind, base, hub, spoke, meta: Meta::default() }
    }

    /// Returns the same conflict read as another kind, such as a declared document.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Returns the same conflict with what is known about its sides.
    pub fn with_meta(mut self, meta: Meta) -> Self {
        self.meta = meta;
        self
    }

    /// Returns the conflict with hub and spoke exchanged; a merge must not depend on who is who.
    pub fn swapped(&self) -> Conflict<'a> {
        let exchange = |side| match side {
            Side::Hub => Side::Spoke,
            Side::Spoke => Side::Hub,
            Side::Base => Side::Base,
        };
        Conflict {
            hub: self.spoke,
            spoke: self.hub,
            meta: Meta {
                descendant: self.meta.descendant.map(exchange),
                hub_clock: self.meta.spoke_clock,
                spoke_clock: self.meta.hub_clock,
                skew_ms: self.meta.skew_ms,
            },
            ..*self
        }
    }

    /// Returns the answer that needs no reading: equal sides, or a side that did not change.
    pub fn unchanged_side(&self) -> Option<&'a [u8]> {
        if self.hub == self.spoke || self.base == Some(self.spoke) {
            Some(self.hub)
        } else if self.base == Some(self.hub) {
            Some(self.spoke)
        } else {
            None
        }
    }

    /// Returns the size of the largest side in bytes.
    pub fn largest_side_bytes(&self) -> usize {
        self.hub.len().max(self.spoke.len()).max(self.base.map_or(0, <[u8]>::len))
    }
}

/// What kind of disagreement a merge decided: the unit in which confidence is counted.
///
/// Ordered by risk; a document's pattern is its riskiest place's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Only one side changed each place.
    OneSided,
    /// Both sides made the same change.
    SameEdit,
    /// The sides differ in layout only.
    FormatOnly,
    /// The sides changed different keys.
    DisjointKeys,
    /// The owner's policy chose.
    Policy,
    /// A list with set meaning got items from both sides.
    SetUnion,
    /// Both sides inserted into one list.
    ListInsert,
    /// Both sides changed lines that touch.
    AdjacentLines,
    /// Both sides added lines at one place.
    SectionAppend,
    /// A list was put into another order.
    ListReorder,
    /// Both sides added one key.
    KeyAddedBoth,
    /// Both sides changed entries of a lock file.
    LockEntry,
    /// Both sides raised one version.
    VersionBoth,
    /// Both sides changed one value.
    ScalarBoth,
    /// One side deleted what the other edited.
    DeleteEdit,
}

impl Pattern {
    /// Says whether a merge of this pattern may be applied without a person.
    pub fn is_applied_alone(self) -> bool {
        matches!(
            self,
            Pattern::OneSided | Pattern::SameEdit | Pattern::FormatOnly | Pattern::DisjointKeys | Pattern::Policy
        )
    }
}

/// A possible result of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The merged bytes.
    pub value: Vec<u8>,
    /// Who made it, as `name@version`.
    pub resolver: &'static str,
    /// Its riskiest place.
    pub pattern: Pattern,
    /// Why this is the result, for a person.
    pub because: String,
}

/// What a resolver, or the whole chain, has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The result follows from the inputs.
    Resolved(Candidate),
    /// At most three proposals for a person, best first.
    Suggested(Vec<Candidate>),
    /// No result; always allowed.
    Declined {
        /// Why not.
        because: Reason,
    },
}

impl Resolution {
    /// Declines with `because`.
    pub fn declined(because: Reason) -> Self {
        Resolution::Declined { because }
    }

    /// Returns the result, if there is one.
    pub fn resolved(&self) -> Option<&Candidate> {
        match self {
            Resolution::Resolved(candidate) => Some(candidate),
            _ => None,
        }
    }
}

/// Why a resolver declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A limit was exceeded.
    #[error("a side has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Size of the largest side.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A side is not text.
    #[error("a side is binary")]
    Binary,
    /// The resolver has no opinion on this kind.
    #[error("not for this kind of item")]
    NotApplicable,
    /// The resolver needs a version that both sides came from.
    #[error("there is no base version")]
    NoBase,
    /// A side uses a part of its format that is not merged by key.
    #[error("{side} has {what}")]
    Unsupported {
        /// The side.
        side: Side,
        /// What it uses.
        what: String,
    },
    /// A side does not parse.
    #[error("{side} does not parse: {what}")]
    Unparsable {
        /// The side.
        side: Side,
        /// The parser's message.
        what: String,
    },
    /// A side has a key twice.
    #[error("{side} has the key {key} twice")]
    DuplicateKey {
        /// The side.
        side: Side,
        /// The key.
        key: String,
    },
    /// Both sides changed the same lines.
    #[error("both sides changed the same lines{}", if *hunks > 1 { format!(" at {hunks} places") } else { String::new() })]
    Overlap {
        /// How many places.
        hunks: usize,
    },
    /// Both sides changed the encoding or the line ends, differently.
    #[error("both sides changed the encoding or line ends")]
    Form,
    /// Places that a person has to decide.
    #[error("open: {}", .0.join(", "))]
    Open(Vec<String>),
    /// A check refused the result.
    #[error("check failed: {0}")]
    Check(String),
    /// No clock, or clocks too close to trust.
    #[error("no clock tells which side is newest")]
    NoClock,
    /// The policy has no meaning for this kind.
    #[error("union has no meaning here")]
    NoUnion,
    /// Nothing has been learned for this conflict.
    #[error("nothing learned yet")]
    NothingLearned,
    /// The item waits for a person.
    #[error("waits for a person")]
    Queued,
    /// The resolver failed; the run goes on.
    #[error("the resolver failed")]
    Failed,
}

/// One stage of the chain.
pub trait Resolver: Send + Sync {
    /// Returns the stage's name and version, as `name@version`.
    fn name(&self) -> &'static str;

    /// Says what the result is, proposes some, or declines. Pure: the same conflict always gets the same answer.
    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution;
}
