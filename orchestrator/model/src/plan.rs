//! What a sync would do to one spoke: data that can be shown, hashed, stored and applied later.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::canonical::{self, CanonicalError};
use crate::ecosystem::Side;
use crate::ids::{ConflictId, Digest, RunId, SpokeName};
use crate::observation::{Digests, SideState};

/// One change to one item of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The side that is written.
    pub side: Side,
    /// What is written: a full ref name, a path (escaped for display), or `table[key]`.
    pub target: String,
    /// One word: `create`, `update`, `delete`, `fast_forward`, `merge`, `bump`, `rename`, …
    pub action: String,
    /// Short value before, empty when there was none.
    pub from: String,
    /// Short value after, empty when it is removed.
    pub to: String,
    pub reason: String,
}

/// The value one side holds of a disputed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideValue {
    /// Short text for people and scripts: an object id, a cell value, a size and digest.
    pub shown: String,
    /// The full bytes in the content store, where the value is not held elsewhere (git pins).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}

/// A disputed item as a syncer reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictDraft {
    /// Identifies the item within its spoke: ref, path, or table and key. Stable over runs.
    pub item: String,
    /// The place for people.
    pub place: String,
    /// `update/update`, `update/delete`, `delete/update`, `insert/insert`, `unique`, `foreign_key`,
    /// `diverged`, `tag_moved`, `type_change`, …
    pub conflict_kind: String,
    /// Why nobody but a person can decide, in one sentence.
    pub because: String,
    pub base: Option<SideValue>,
    pub hub: Option<SideValue>,
    pub spoke: Option<SideValue>,
    pub suggested: Option<SideValue>,
    /// Databases only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pk: Vec<serde_json::Value>,
    /// Columns or keys in dispute, with the shown values of base, hub and spoke.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDispute>,
    /// Other items that are decided together with this one, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<Grouped>,
}

impl ConflictDraft {
    /// Says whether each side holds what it holds in another report of the item, however briefly it is told.
    #[must_use]
    pub fn is_of_same_sides(&self, other: &Self) -> bool {
        // One content holds a row as it stood on each side; what is told of it in brief depends on the dispute.
        let kept = |draft: &Self| [&draft.hub, &draft.spoke, &draft.base].into_iter().flatten().find_map(|s| s.content);
        if self.table.is_some()
            && let (Some(one), Some(two)) = (kept(self), kept(other))
        {
            return one == two;
        }
        (&self.base, &self.hub, &self.spoke) == (&other.base, &other.hub, &other.spoke)
    }

    /// Says whether it is about a row that refers to nothing: that row alone, as some side has it.
    #[must_use]
    pub fn refers_to_nothing(&self) -> bool {
        // Where the parent is gone on the other side only, an answer moves the parent, too; reports from before
        // groups were kept do not name it.
        let is_alone = self.group.is_empty() && !self.because.contains("gone on the other side");
        self.conflict_kind == "foreign_key" && is_alone
    }

    /// Says whether an answer that was given to another report of the item moves the same, from the same.
    #[must_use]
    pub fn is_same_question(&self, other: &Self) -> bool {
        let rows = |draft: &Self| draft.group.iter().map(|row| (row.item.clone(), row.content)).collect::<Vec<_>>();
        self.is_of_same_sides(other) && rows(self) == rows(other)
    }
}

/// An item that is decided together with a disputed one: what one answer moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouped {
    /// As [`ConflictDraft::item`]: it may be a conflict of its own.
    pub item: String,
    pub place: String,
    pub table: String,
    pub pk: Vec<serde_json::Value>,
    pub fields: Vec<FieldDispute>,
    /// Its versions in the content store, as those of the conflict are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}

/// One field of a disputed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDispute {
    pub field: String,
    pub base: String,
    pub hub: String,
    pub spoke: String,
}

/// A side a person can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Hub,
    Spoke,
    Base,
    Suggested,
}

/// What a person said about a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Take(Choice),
    /// Field by field, as [`crate::typed::Typed`] reads it: a value, or `@hub`, `@spoke`, `@base`, `@null`.
    Fields(BTreeMap<String, String>),
    /// The bytes of a whole new value, in the content store.
    Content(Digest),
    /// Put both sides back to what they were when the conflict was opened.
    Undo,
    /// Another conflict's answer decides this one, too: it is about the same rows.
    With(ConflictId),
}

/// An answered conflict, handed to the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    pub conflict: ConflictId,
    pub draft: ConflictDraft,
    pub answer: Answer,
    /// The answer that [`Answer::Undo`] takes back, where it is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Answer>,
}

/// A protecting limit that a plan exceeds; it stops the spoke until a person confirms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// `mass_deletion`, `root_missing`, `mass_change`, …
    pub name: String,
    pub why: String,
}

/// Everything a syncer needs to plan besides the spoke itself.
#[derive(Clone, Debug)]
pub struct PlanContext {
    pub run: RunId,
    /// Content id of the last agreed state; none on the first sync.
    pub base: Option<Digest>,
    pub directives: Vec<Directive>,
    /// What the inbox has open of this spoke. An item that still differs stays among the plan's conflicts,
    /// also where it only waits for another one.
    pub waiting: Vec<ConflictDraft>,
    /// `--on-conflict hub|spoke`, above the declared policy.
    pub policy: Option<crate::ecosystem::ConflictPolicy>,
    /// What the sealed snapshot holds each part at, for a spoke that keeps changing. A syncer that
    /// remembers what was read then ([`crate::ports::Syncer::remember`]) plans by that, with the items
    /// that have changed since left alone, and expects exactly these digests. Empty: as things are now.
    pub held: BTreeMap<Side, Digest>,
}

/// The plan for one spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokePlan {
    pub spoke: SpokeName,
    /// The digests of both sides that this plan was made for.
    pub expected: Digests,
    pub actions: Vec<Action>,
    /// Every item that stays in dispute after this plan.
    pub conflicts: Vec<ConflictDraft>,
    /// Answered conflicts that this plan carries out, unless the apply lists their item as skipped. An
    /// undo that no longer fits is among them, too: its apply skips it, which puts the conflict back.
    pub settles: Vec<ConflictId>,
    pub guards: Vec<Guard>,
    /// Content id of the syncer's own instructions, stored before the plan is returned.
    pub payload: Digest,
    /// Items that have changed since they were read for the snapshot are left alone: what is not said of
    /// an item, for example that it is in dispute, is no news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restricted: bool,
}

impl SpokePlan {
    /// Returns the canonical text of the plan and its id.
    pub fn sealed(&self) -> Result<(Digest, String), CanonicalError> {
        let text = canonical::to_string(self)?;
        Ok((Digest::of(text.as_bytes()), text))
    }

    /// Counts the actions that write the hub (changes in) and the spoke (changes out).
    #[must_use]
    pub fn changes(&self) -> (u64, u64) {
        let into_hub = self.actions.iter().filter(|a| a.side == Side::Hub).count();
        (into_hub as u64, (self.actions.len() - into_hub) as u64)
    }
}

/// What an apply did, after reading back.
///
/// The states may hold what somebody else wrote meanwhile: a spoke counts as settled only when planning
/// it once more finds nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Both sides as read back.
    pub hub: SideState,
    pub spoke: SideState,
    /// Content id of the new agreed state.
    pub base: Digest,
    pub changes_in: u64,
    pub changes_out: u64,
    /// Items that had moved on or were refused, with the reason; the next run plans them again. What an
    /// answer was to decide and did not is named exactly as in [`ConflictDraft::item`].
    pub skipped: Vec<Skipped>,
}

/// How the reason begins when an undo that no longer fits is skipped.
pub const NOT_UNDONE: &str = "the answer is not undone";

/// An action that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub target: String,
    pub why: String,
}
