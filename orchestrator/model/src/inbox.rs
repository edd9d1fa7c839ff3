//! Conflicts that wait for a person, and what became of them.

use serde::{Deserialize, Serialize};

use crate::ecosystem::SpokeKind;
use crate::ids::{ConflictId, RunId, SpokeName};
use crate::plan::{Answer, ConflictDraft, Directive};
use crate::time::Timestamp;

/// Where a conflict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictState {
    /// Waits for a person.
    Open,
    /// Answered; the next run of the spoke carries the answer out.
    Answered,
    /// The answer is in place on both sides.
    Settled,
    /// The sides became equal without an answer.
    AgreedOutside,
}

impl ConflictState {
    /// Returns the stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Settled => "settled",
            Self::AgreedOutside => "agreed_outside",
        }
    }
}

/// A conflict in the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRecord {
    pub id: ConflictId,
    pub spoke: SpokeName,
    pub kind: SpokeKind,
    pub draft: ConflictDraft,
    pub state: ConflictState,
    pub answer: Option<Answer>,
    /// Who answered.
    pub actor: Option<String>,
    pub opened_by: RunId,
    pub opened_at: Timestamp,
    pub changed_at: Timestamp,
    /// How often a side moved since the conflict was opened.
    pub versions: u32,
}

impl ConflictRecord {
    /// Returns the instruction for the planner when the conflict is answered.
    #[must_use]
    pub fn directive(&self) -> Option<Directive> {
        let answer = self.answer.clone().filter(|_| self.state == ConflictState::Answered)?;
        Some(Directive { conflict: self.id, draft: self.draft.clone(), answer, undoes: None })
    }
}
