//! The inbox: conflicts opened, kept up to date, answered and closed.
//!
//! For one item of one spoke at most one conflict waits at any time; the schema says so as well. A
//! person's answer is dropped only when the sides it was given for are no longer there.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{ConflictId, Digest, RunId, SpokeName};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::notice::{CONFLICT_OPENED, CONFLICT_SETTLED};
use cathedral_model::plan::{Answer, ConflictDraft};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, to_json, values};
use crate::event;
use crate::queue::next_number;
use crate::statement::statements;

statements! {
    SELECT_CONFLICT = "
        select id, spoke, kind, draft, state, answer, actor, opened_by, opened_at, changed_at, versions
        from conflict
        where id = $1";
    SELECT_CONFLICTS = "
        select id, spoke, kind, draft, state, answer, actor, opened_by, opened_at, changed_at, versions
        from conflict
        where state in ($1, $2, $3, $4)
        order by id";
    SELECT_CONFLICTS_OF_SPOKE = "
        select id, spoke, kind, draft, state, answer, actor, opened_by, opened_at, changed_at, versions
        from conflict
        where state in ($1, $2, $3, $4) and spoke = $5
        order by id";
    SELECT_LIVE = "
        select id
        from conflict
        where spoke = $1 and item_digest = $2 and state in ('open', 'answered')";
    INSERT_CONFLICT = "
        insert into conflict
            (id, spoke, kind, item_digest, draft, state, opened_by, opened_at, changed_at, versions)
        values ($1, $2, $3, $4, $5, 'open', $6, $7, $7, 0)";
    UPDATE_CONFLICT = "
        update conflict
        set draft = $2, state = $3, answer = $4, actor = $5, changed_at = $6, versions = $7
        where id = $1";
}

/// What a run says about the disputed items of a spoke.
pub(crate) struct Report<'a> {
    pub(crate) run: RunId,
    pub(crate) spoke: &'a SpokeName,
    pub(crate) kind: SpokeKind,
    pub(crate) drafts: &'a [ConflictDraft],
    pub(crate) settled: &'a [ConflictId],
    /// Conflicts that the same record puts back to open.
    pub(crate) reopened: &'a BTreeSet<ConflictId>,
}

/// So many conflicts are named in one message; the rest is counted.
const TOLD: usize = 100;

const LIVE: &[ConflictState] = &[ConflictState::Open, ConflictState::Answered];

/// Brings the inbox to what a run reports.
pub(crate) async fn reconcile(conn: &mut Conn, report: &Report<'_>, now: Timestamp) -> Result<(), PortError> {
    let mut disputed: BTreeMap<&str, &ConflictDraft> = BTreeMap::new();
    for draft in report.drafts {
        disputed.entry(&draft.item).or_insert(draft);
    }
    let (mut opened, mut closed) = (vec![], vec![]);
    for mut record in list(conn, Some(report.spoke), LIVE).await? {
        let reopened = report.reopened.contains(&record.id);
        if report.settled.contains(&record.id) && !reopened {
            // The item stays among the drafts if it is disputed again: that is a new conflict.
            closed.push(record.id.0);
            close(conn, report.run, record, ConflictState::Settled, now).await?;
        } else if let Some(draft) = disputed.remove(record.draft.item.as_str()) {
            follow(conn, report.run, &mut record, draft, now).await?;
        } else if !reopened && record.answer != Some(Answer::Undo) {
            // A conflict that waits to be undone is not disputed now: that is no reason to close it.
            closed.push(record.id.0);
            close(conn, report.run, record, ConflictState::AgreedOutside, now).await?;
        }
    }
    // In the order of the report.
    for draft in report.drafts {
        if disputed.remove(draft.item.as_str()).is_some() {
            opened.push(open(conn, report, draft, now).await?);
        }
    }
    let told = [(CONFLICT_OPENED, opened), (CONFLICT_SETTLED, closed)];
    let messages: Vec<Message> = told.iter().filter_map(|(topic, ids)| message(report, topic, ids)).collect();
    event::file(conn, &messages, now).await
}

/// One message for all conflicts of a spoke that a record opens or settles: ten thousand of them are one
/// thing to tell.
fn message(report: &Report<'_>, topic: &str, ids: &[i64]) -> Option<Message> {
    let first = ids.first()?;
    let payload = serde_json::json!({
        "spoke": report.spoke, "run": report.run, "count": ids.len(), "conflicts": &ids[..ids.len().min(TOLD)],
    });
    Some(Message { key: format!("run:{}:{topic}:{first}", report.run), topic: topic.to_owned(), payload })
}

async fn open(conn: &mut Conn, report: &Report<'_>, draft: &ConflictDraft, now: Timestamp) -> Result<i64, PortError> {
    let id = next_number(conn, "conflict").await?;
    let (spoke, kind) = (report.spoke.as_str(), report.kind.as_str());
    let item = Digest::of(draft.item.as_bytes());
    conn.run(INSERT_CONFLICT, values![id, spoke, kind, item, to_json(draft)?, report.run.0, now]).await?;
    let data = serde_json::json!({
        "conflict": id, "item": draft.item, "place": draft.place, "conflict_kind": draft.conflict_kind,
        "because": draft.because,
    });
    tell(conn, CONFLICT_OPENED, Some(report.run), report.spoke, data, now).await?;
    Ok(id)
}

/// Takes over what is known of a conflict now; an answer given for other sides no longer counts.
async fn follow(
    conn: &mut Conn,
    run: RunId,
    record: &mut ConflictRecord,
    draft: &ConflictDraft,
    now: Timestamp,
) -> Result<(), PortError> {
    if record.draft == *draft {
        return Ok(());
    }
    let moved = !draft.is_of_same_sides(&record.draft);
    let is_other = !draft.is_same_question(&record.draft);
    let unanswered = is_other && record.state == ConflictState::Answered;
    record.draft = draft.clone();
    record.changed_at = now;
    if moved {
        record.versions = record.versions.saturating_add(1);
    }
    if is_other {
        record.state = ConflictState::Open;
        record.answer = None;
        record.actor = None;
    }
    update(conn, record).await?;
    if unanswered {
        let rows = "the rows that are decided together with it are others than when it was answered";
        let why = if moved { "a side moved after the answer" } else { rows };
        let data = serde_json::json!({ "conflict": record.id, "why": why });
        tell(conn, "conflict.reopened", Some(run), &record.spoke, data, now).await?;
    }
    Ok(())
}

async fn close(
    conn: &mut Conn,
    run: RunId,
    mut record: ConflictRecord,
    state: ConflictState,
    now: Timestamp,
) -> Result<(), PortError> {
    record.state = state;
    record.changed_at = now;
    update(conn, &record).await?;
    let data = serde_json::json!({ "conflict": record.id, "state": state, "answer": record.answer });
    tell(conn, CONFLICT_SETTLED, Some(run), &record.spoke, data, now).await
}

/// Puts a conflict back to open whose answer was undone or cannot be carried out.
pub(crate) async fn reopen(conn: &mut Conn, run: RunId, id: ConflictId, now: Timestamp) -> Result<(), PortError> {
    let mut record = one(conn, id).await?.ok_or_else(|| missing(id))?;
    if record.state == ConflictState::Open {
        return Ok(());
    }
    if live(conn, &record).await?.is_some_and(|other| other != id) {
        // The item is already in the inbox under a newer number: it waits for a person there.
        return Ok(());
    }
    let is_undone = record.answer == Some(Answer::Undo);
    let why = if is_undone { "the answer was undone" } else { "the answer cannot be carried out" };
    record.state = ConflictState::Open;
    record.answer = None;
    record.actor = None;
    record.changed_at = now;
    update(conn, &record).await?;
    let data = serde_json::json!({ "conflict": id, "why": why });
    tell(conn, "conflict.reopened", Some(run), &record.spoke, data, now).await
}

/// Records a person's answer.
pub(crate) async fn answer(
    conn: &mut Conn,
    id: ConflictId,
    answer: &Answer,
    actor: &str,
    seen: Option<&ConflictRecord>,
    now: Timestamp,
) -> Result<ConflictRecord, PortError> {
    let mut record = one(conn, id).await?.ok_or_else(|| missing(id))?;
    if seen.is_some_and(|seen| *seen != record) {
        return Err(PortError::failed(Cause::Refused, format!("conflict {id} has changed since it was looked at")));
    }
    let refused = |why: String| Err(PortError::failed(Cause::Refused, format!("conflict {id} {why}")));
    match (record.state, answer) {
        (ConflictState::Open | ConflictState::Answered, Answer::Undo) => {
            return refused(format!("is {}: only a settled one can be undone", record.state.as_str()));
        }
        (ConflictState::Settled, Answer::Undo) => {
            if let Some(other) = live(conn, &record).await? {
                return refused(format!("cannot be undone: its item is disputed again in conflict {other}"));
            }
        }
        (ConflictState::Open | ConflictState::Answered, _) => {}
        (ConflictState::Settled | ConflictState::AgreedOutside, _) => {
            return refused(format!("is {}: it no longer waits for an answer", record.state.as_str()));
        }
    }
    record.state = ConflictState::Answered;
    record.answer = Some(answer.clone());
    record.actor = Some(actor.to_owned());
    record.changed_at = now;
    update(conn, &record).await?;
    let data = serde_json::json!({ "conflict": id, "actor": actor, "answer": answer });
    tell(conn, "conflict.answered", None, &record.spoke, data, now).await?;
    Ok(record)
}

fn missing(id: ConflictId) -> PortError {
    PortError::failed(Cause::NotFound, format!("there is no conflict {id}"))
}

/// Returns the conflict that waits for the same item of the same spoke.
async fn live(conn: &mut Conn, record: &ConflictRecord) -> Result<Option<ConflictId>, PortError> {
    let item = Digest::of(record.draft.item.as_bytes());
    let row = conn.first(SELECT_LIVE, values![record.spoke.as_str(), item]).await?;
    row.map(|row| row.int(0).map(ConflictId)).transpose()
}

async fn update(conn: &mut Conn, record: &ConflictRecord) -> Result<(), PortError> {
    let answer = record.answer.as_ref().map(to_json).transpose()?;
    let (id, state, actor) = (record.id.0, record.state.as_str(), record.actor.as_deref());
    let values = values![id, to_json(&record.draft)?, state, answer, actor, record.changed_at, record.versions];
    conn.run(UPDATE_CONFLICT, values).await.map(|_| ())
}

async fn tell(
    conn: &mut Conn,
    kind: &str,
    run: Option<RunId>,
    spoke: &SpokeName,
    data: serde_json::Value,
    now: Timestamp,
) -> Result<(), PortError> {
    let event = NewEvent { kind: kind.to_owned(), run, spoke: Some(spoke.clone()), data };
    event::publish(conn, &[event], now).await
}

pub(crate) async fn one(conn: &mut Conn, id: ConflictId) -> Result<Option<ConflictRecord>, PortError> {
    conn.first(SELECT_CONFLICT, values![id.0]).await?.as_ref().map(record).transpose()
}

pub(crate) async fn list(
    conn: &mut Conn,
    spoke: Option<&SpokeName>,
    states: &[ConflictState],
) -> Result<Vec<ConflictRecord>, PortError> {
    let wanted = |state: ConflictState| if states.is_empty() || states.contains(&state) { state.as_str() } else { "" };
    let mut values = values![
        wanted(ConflictState::Open),
        wanted(ConflictState::Answered),
        wanted(ConflictState::Settled),
        wanted(ConflictState::AgreedOutside),
    ];
    let rows = match spoke {
        Some(spoke) => {
            values.extend(values![spoke.as_str()]);
            conn.all(SELECT_CONFLICTS_OF_SPOKE, values).await?
        }
        None => conn.all(SELECT_CONFLICTS, values).await?,
    };
    rows.iter().map(record).collect()
}

fn record(row: &Row) -> Result<ConflictRecord, PortError> {
    let kind = match row.text(2)?.as_str() {
        "git" => SpokeKind::Git,
        "database" => SpokeKind::Database,
        "files" => SpokeKind::Files,
        other => return Err(row.damaged(&format!("unknown kind of spoke {other:?}"))),
    };
    let state = match row.text(4)?.as_str() {
        "open" => ConflictState::Open,
        "answered" => ConflictState::Answered,
        "settled" => ConflictState::Settled,
        "agreed_outside" => ConflictState::AgreedOutside,
        other => return Err(row.damaged(&format!("unknown state of a conflict {other:?}"))),
    };
    let answer = row.maybe_text(5)?.map(|text| serde_json::from_str(&text)).transpose();
    Ok(ConflictRecord {
        id: ConflictId(row.int(0)?),
        spoke: SpokeName::new(&row.text(1)?).map_err(|e| row.damaged(&e.to_string()))?,
        kind,
        draft: row.json(3)?,
        state,
        answer: answer.map_err(|e| row.damaged(&format!("an answer is not readable: {e}")))?,
        actor: row.maybe_text(6)?,
        opened_by: RunId(row.int(7)?),
        opened_at: row.time(8)?,
        changed_at: row.time(9)?,
        versions: u32::try_from(row.int(10)?).map_err(|e| row.damaged(&e.to_string()))?,
    })
}
