//! Three-way merge of file trees: what both sides have to become, or why a person must say.
//!
//! Pure: trees go in, final states come out; contents are merged by a [`MergeContent`] that the caller brings.
//! Kept properties: a path ends equal on both sides, or both sides keep what they have; a deletion and an edit are
//! told apart and never decided silently; what could not be read ([`View::frozen`]) is neither changed nor taken
//! for deleted; a directory stays where something inside has to stay; the result is a tree again on both sides.

mod local;
mod node;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use node::{Body, Node, Tree, merge_mode};

use crate::resolver::Policy;

/// In which direction changes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    Both,
    /// From the hub; what the spoke changed is drift.
    FromHub,
    /// From the spoke; what the hub changed is drift.
    FromSpoke,
}

/// One side as it was read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Everything that was read without an error.
    pub tree: &'a Tree,
    /// Paths of which nothing is known, with all that is below them: unreadable, unstable, of a foreign kind.
    pub frozen: &'a BTreeSet<Vec<u8>>,
    /// Directories that hold something which takes no part, so that they cannot be removed here.
    pub held: &'a BTreeSet<Vec<u8>>,
}

/// What [`plan`] needs.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What both sides agreed on last; `None` when nothing is known, then nothing is ever deleted.
    pub base: Option<&'a Tree>,
    /// The hub's tree.
    pub hub: View<'a>,
    /// The spoke's tree.
    pub spoke: View<'a>,
    /// In which direction changes travel.
    pub direction: Direction,
    /// What decides where no merge does. `Newest` waits for a person: no clock is trusted.
    pub policy: Policy,
    /// Answers, by path. They count where the path is in dispute.
    pub decisions: &'a BTreeMap<Vec<u8>, Decision>,
}

/// What a person decided about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The hub's state, for a directory with all below.
    Hub,
    /// The spoke's state, for a directory with all below.
    Spoke,
    /// This state on both sides.
    Value(Option<Node>),
    /// These states, and the dispute goes on; for a dispute that was settled and is taken back.
    Restore(Box<Triple>),
}

/// The three sides of one path; `None` where there is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Triple {
    /// What was agreed.
    pub base: Option<Node>,
    /// The hub's.
    pub hub: Option<Node>,
    /// The spoke's.
    pub spoke: Option<Node>,
}

impl Triple {
    /// Makes the triple of a state that both sides agree on.
    pub fn agreed(node: Option<Node>) -> Self {
        Triple { base: node.clone(), hub: node.clone(), spoke: node }
    }
}

/// Merges contents that both sides changed.
pub trait MergeContent {
    /// Merges the contents at `path`; all three differ, `base` is absent where both sides created the file.
    fn merge(&mut self, path: &[u8], base: Option<&Node>, hub: &Node, spoke: &Node) -> Merged;
}

/// What a merge of contents came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The result follows from the inputs.
    Resolved {
        /// The merged content.
        body: Body,
        /// Why this is the result.
        because: String,
    },
    /// A person must decide.
    Open {
        /// A proposal.
        suggested: Option<Body>,
        /// Why nobody else can.
        because: String,
    },
    /// The contents could not be read now: the path is left alone, and is no dispute.
    Unreadable,
}

/// What kind of dispute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Both sides edited.
    Update,
    /// Both sides created, with different content.
    Insert,
    /// The hub edited what the spoke deleted.
    UpdateDelete,
    /// The hub deleted what the spoke edited.
    DeleteUpdate,
    /// The sides hold things of different kinds.
    Type,
    /// The side from which no changes travel has changed.
    Drift,
}

impl Kind {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Update => "update/update",
            Kind::Insert => "insert/insert",
            Kind::UpdateDelete => "update/delete",
            Kind::DeleteUpdate => "delete/update",
            Kind::Type => "type_change",
            Kind::Drift => "drift",
        }
    }
}

/// A path that waits for a person; for a directory, with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The path.
    pub path: Vec<u8>,
    /// What kind of dispute it is.
    pub kind: Kind,
    /// Why nobody else can decide, in one sentence.
    pub because: String,
    /// The three sides as they stay.
    pub sides: Triple,
    /// A proposal.
    pub suggested: Option<Body>,
}

/// A path whose state changes on a side or in the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The path.
    pub path: Vec<u8>,
    /// The sides before.
    pub from: Triple,
    /// The sides after.
    pub to: Triple,
    /// Why, for a person.
    pub why: String,
}

/// What both sides have to become. Paths that are not listed stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreePlan {
    /// What changes, sorted by path.
    pub items: Vec<Item>,
    /// What stays in dispute, sorted by path.
    pub disputes: Vec<Dispute>,
    /// Decisions that this plan carries out.
    pub carried: Vec<Vec<u8>>,
    /// Directories that were deleted on one side and stay on the other, for what is inside.
    pub kept: Vec<Vec<u8>>,
}

/// Plans how both sides become equal.
pub fn plan(input: &Input<'_>, merge: &mut dyn MergeContent) -> TreePlan {
    let mut slots = local::decide(input, merge);
    settle::settle(input, &mut slots);
    let mut plan = TreePlan::default();
    for slot in slots {
        if slot.carried {
            plan.carried.push(slot.path.to_vec());
        }
        if let Some(dispute) = slot.dispute {
            plan.disputes.push(Dispute {
                path: slot.path.to_vec(),
                kind: dispute.kind,
                because: dispute.because,
                sides: slot.to.clone().unwrap_or_else(|| slot.from.clone()),
                suggested: dispute.suggested,
            });
        }
        if slot.kept {
            plan.kept.push(slot.path.to_vec());
        }
        if let Some(to) = slot.to.filter(|to| *to != slot.from) {
            plan.items.push(Item { path: slot.path.to_vec(), from: slot.from, to, why: slot.why });
        }
    }
    plan
}
