//! Which sides of a conflict can be taken as things stand.

use cathedral_engine::{Engine, EngineError};
use cathedral_model::ecosystem::{SpokeDetail, SpokeKind};
use cathedral_model::ids::ConflictId;
use cathedral_model::inbox::ConflictRecord;
use cathedral_model::plan::{Answer, Choice};

use super::super::super::output::{Tint, safe};
use super::super::Output;
use crate::hub::{Site, Stores};

/// Larger databases are read once more only for rows that depend on others.
const READ: u64 = 256 << 20;

/// What the sides of a conflict are worth.
#[derive(Default)]
struct Choices {
    fit: Vec<&'static str>,
    /// Sides that no run could bring to the other, and why.
    refused: Vec<(&'static str, String)>,
    /// Sides that decide other conflicts, too.
    along: Vec<(&'static str, Vec<ConflictId>)>,
}

/// Tells how to answer an open conflict.
pub async fn tell(site: &Site, stores: &Stores, record: &ConflictRecord, output: &Output) {
    let id = record.id;
    let found = look(site, stores, record).await;
    for (side, why) in &found.refused {
        output.sentence(&format!("  --take {side} cannot be carried out: {}", safe(why)));
    }
    for (side, others) in &found.along {
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        let word = if names.len() == 1 { "conflict" } else { "conflicts" };
        output.sentence(&format!("  --take {side} decides {word} {}, too", names.join(", ")));
    }
    let next = if found.fit.is_empty() {
        format!("next: do what is said there, or cathedral conflicts resolve {id} --field COLUMN=VALUE")
    } else {
        format!("next: cathedral conflicts resolve {id} --take {}", found.fit.join("|"))
    };
    output.note(output.paint(Tint::Dim, &next));
}

/// Tells whether the answer to a settled conflict can be taken back.
pub async fn tell_undo(site: &Site, stores: &Stores, record: &ConflictRecord, output: &Output) {
    let id = record.id;
    let tried = match site.looking(stores) {
        Ok(engine) if reads(&engine, record) => engine.try_out(record, &Answer::Undo).await.map(drop),
        _ => Ok(()),
    };
    let next = match tried {
        Err(EngineError::Unfit { why, .. }) => {
            output.sentence(&format!("  the answer cannot be taken back: {}", safe(&why)));
            "next: cathedral snapshot list    names what holds both sides as they were".to_owned()
        }
        _ => format!("next: cathedral conflicts undo {id}    puts both sides back"),
    };
    output.note(output.paint(Tint::Dim, &next));
}

/// Says whether both sides are read once more to see what would come of an answer.
fn reads(engine: &Engine, record: &ConflictRecord) -> bool {
    let kind = record.draft.conflict_kind.as_str();
    let is_tied = !record.draft.group.is_empty() || matches!(kind, "unique" | "foreign_key");
    match engine.ecosystem().spoke(&record.spoke).map(|s| &s.detail) {
        Some(SpokeDetail::Database(detail)) => {
            let size = |path| std::fs::metadata(path).map_or(0, |m| m.len());
            is_tied || size(&detail.hub) + size(&detail.spoke) <= READ
        }
        _ => false,
    }
}

async fn look(site: &Site, stores: &Stores, record: &ConflictRecord) -> Choices {
    let mut out = Choices { fit: vec!["hub", "spoke"], ..Choices::default() };
    if record.draft.suggested.is_some() {
        out.fit.push("suggested");
    }
    if record.kind != SpokeKind::Database {
        return out;
    }
    let engine = match site.looking(stores) {
        Ok(engine) => engine,
        Err(failure) => {
            tracing::debug!(why = failure.what, "the sides cannot be tried");
            return out;
        }
    };
    if !reads(&engine, record) {
        return out;
    }
    for (name, choice) in [("hub", Choice::Hub), ("spoke", Choice::Spoke)] {
        match engine.try_out(record, &Answer::Take(choice)).await {
            Err(EngineError::Unfit { why, .. }) => {
                out.fit.retain(|fit| *fit != name);
                out.refused.push((name, why));
            }
            Ok(others) if !others.is_empty() => out.along.push((name, others.iter().map(|r| r.id).collect())),
            // What cannot be looked at now may be there when the answer is carried out.
            Ok(_) | Err(_) => {}
        }
    }
    out
}
