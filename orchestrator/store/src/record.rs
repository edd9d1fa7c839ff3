//! A step of a run: journal, summary, effects, events and outbox in one transaction.

use std::collections::BTreeSet;

use cathedral_model::event::NewEvent;
use cathedral_model::ids::{RunId, Seq};
use cathedral_model::journal::Journaled;
use cathedral_model::ports::PortError;
use cathedral_model::ports::store::{Claim, Effect, Record};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, to_json, values};
use crate::statement::statements;
use crate::{event, inbox, memory, queue};

statements! {
    /// Moves the run on, if the claim is still this one's and the position is the next.
    UPDATE_STEP = "
        update run
        set summary = $4, next_seq = next_seq + 1, changed_at = $5
        where id = $1 and fence = $2 and next_seq = $3 and state = 'running'";
    UPDATE_FINISH = "
        update run
        set summary = $4, next_seq = next_seq + 1, changed_at = $5,
            state = 'finished', node = null, fence = null, expires_at = null
        where id = $1 and fence = $2 and next_seq = $3 and state = 'running'";
    INSERT_JOURNAL = "insert into journal (run, seq, recorded_at, event) values ($1, $2, $3, $4)";
    SELECT_JOURNAL = "select seq, recorded_at, event from journal where run = $1 order by seq";
}

pub(crate) async fn record(conn: &mut Conn, claim: &Claim, record: &Record, now: Timestamp) -> Result<(), PortError> {
    let (run, seq) = (claim.run, record.seq);
    let update = if record.finished { UPDATE_FINISH } else { UPDATE_STEP };
    let values = values![run.0, claim.fence.0, seq.0, to_json(&record.summary)?, now];
    if conn.run(update, values).await? != 1 {
        return Err(queue::fenced(conn, claim, Some(seq.0)).await?);
    }
    conn.run(INSERT_JOURNAL, values![run.0, seq.0, now, to_json(&record.event)?]).await?;

    // An undone conflict goes on under its own id, so it must not be closed by the same record.
    let reopened: BTreeSet<_> = record
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Reopen { conflict } = effect { Some(*conflict) } else { None })
        .collect();
    for effect in &record.effects {
        match effect {
            Effect::Remember { spoke, memory } => memory::remember(conn, spoke, memory, now).await?,
            Effect::Conflicts { spoke, kind, drafts, settled } => {
                let report = inbox::Report { run, spoke, kind: *kind, drafts, settled, reopened: &reopened };
                inbox::reconcile(conn, &report, now).await?;
            }
            Effect::Reopen { conflict } => inbox::reopen(conn, run, *conflict, now).await?,
        }
    }
    let of_this_run = |event: &NewEvent| NewEvent { run: event.run.or(Some(run)), ..event.clone() };
    let events: Vec<NewEvent> = record.events.iter().map(of_this_run).collect();
    event::publish(conn, &events, now).await?;
    event::file(conn, &record.messages, now).await
}

pub(crate) async fn journal(conn: &mut Conn, run: RunId) -> Result<Vec<Journaled>, PortError> {
    let rows = conn.all(SELECT_JOURNAL, values![run.0]).await?;
    rows.iter().map(|row| Ok(Journaled { seq: Seq(row.int(0)?), at: row.time(1)?, event: row.json(2)? })).collect()
}
