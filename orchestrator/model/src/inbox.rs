//! Conflicts that wait for a person, and what became of them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ecosystem::SpokeKind;
use crate::ids::{ConflictId, RunId, SpokeName};
use crate::plan::{Answer, ConflictDraft, Directive, Grouped, SideValue};
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

    /// Returns what command line and API say of a conflict.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        let draft = &self.draft;
        // One content holds a row as it stood on each side: it is the content of none of them.
        let is_row = self.kind == SpokeKind::Database;
        let side = |side: Option<&SideValue>| {
            side.map(|v| json!({ "shown": v.shown, "content": v.content.filter(|_| !is_row) }))
        };
        let mut out = json!({
            "id": self.id, "spoke": self.spoke, "kind": self.kind, "conflict_kind": draft.conflict_kind,
            "where": draft.place, "base": side(draft.base.as_ref()), "hub": side(draft.hub.as_ref()),
            "spoke_side": side(draft.spoke.as_ref()), "suggested": side(draft.suggested.as_ref()),
            "because": draft.because, "state": self.state, "opened_at": self.opened_at.to_rfc3339(),
            "changed_at": self.changed_at.to_rfc3339(), "opened_by": self.opened_by,
            // Of git these are its files, which are named as such.
            "fields": if self.kind == SpokeKind::Git { &[][..] } else { &draft.fields },
        });
        if let Some(table) = &draft.table {
            out["table"] = json!(table);
            out["pk"] = json!(draft.pk);
        }
        if let Some(Answer::With(other)) = &self.answer {
            out["answered_with"] = json!(other);
        }
        if is_row {
            let row =
                |row: &Grouped| json!({ "where": row.place, "table": row.table, "pk": row.pk, "fields": row.fields });
            out["group"] = draft.group.iter().map(row).collect();
            let kept = [&draft.hub, &draft.spoke, &draft.base].into_iter().flatten().find_map(|side| side.content);
            out["row_versions"] = json!(kept);
        }
        out
    }
}
