//! People's answers to conflicts: recorded first, carried out by a run.

use cathedral_model::ids::ConflictId;
use cathedral_model::inbox::ConflictRecord;
use cathedral_model::plan::Answer;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::run::{Priority, Request, SyncRequest, Work};

use crate::work::{Engine, EngineError};

impl Engine {
    /// Records an answer and files the run that carries it out.
    pub async fn answer(
        &self,
        id: ConflictId,
        answer: &Answer,
        actor: &str,
    ) -> Result<(ConflictRecord, Request), EngineError> {
        let now = self.ports.env.now();
        let record = self.ports.store.answer(id, answer, actor, now).await?;
        let leaf = NewLeaf {
            kind: LeafKind::Admin,
            // A second answer to the same conflict is an act of its own.
            id: format!("answer:{id}:{}", record.changed_at.0),
            subject: format!("conflict {id}"),
            sha256: None,
            blake3: None,
            at: now,
            predicate: serde_json::json!({ "act": "conflict.answer", "actor": actor, "spoke": record.spoke, "item": record.draft.item, "answer": answer }),
        };
        self.ports.ledger.append(&leaf).await?;
        let request = Request {
            priority: Priority::Manual,
            cause: format!("answer to conflict {id}"),
            work: Work::Sync(SyncRequest { spokes: vec![record.spoke.clone()], ..SyncRequest::default() }),
        };
        Ok((record, request))
    }
}
