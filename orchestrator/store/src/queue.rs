//! The queue of runs: filing, joining, claiming.

use cathedral_model::ids::{Digest, Fence, NodeId, RunId};
use cathedral_model::ports::PortError;
use cathedral_model::ports::store::{Claim, Enqueued, RunRow};
use cathedral_model::run::{Request, RunSummary, Work};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, to_json, values};
use crate::error;
use crate::statement::statements;

statements! {
    /// Hands out the next number of a series; what is rolled back is handed out again.
    NEXT_NUMBER = "update counter set value = value + 1 where name = $1 returning value";
    /// Leaves a series out up to a number.
    RAISE_NUMBER = "update counter set value = $2 where name = $1 and value < $2";
    /// A run that has begun has looked at the spokes already and cannot take a later request along.
    SELECT_JOINABLE = "
        select id, request
        from run
        where coalescing = $1 and state = 'queued' and next_seq = 0
        order by id
        limit 1";
    UPDATE_REQUEST = "update run set request = $2, priority = $3, changed_at = $4 where id = $1";
    INSERT_RUN = "
        insert into run (id, state, priority, coalescing, request, summary, next_seq, queued_at, changed_at)
        values ($1, 'queued', $2, $3, $4, $5, 0, $6, $6)";
    /// Unfinished runs go first, so that nothing is left half done for long.
    SELECT_CLAIMABLE = "
        select id
        from run
        where state <> 'finished' and (state = 'queued' or expires_at <= $1 or node = $2)
        order by case when state = 'running' or next_seq > 0 then 0 else 1 end, priority desc, id
        limit 1";
    UPDATE_CLAIM = "
        update run
        set state = 'running', node = $2, fence = $3, expires_at = $4, changed_at = $5
        where id = $1
        returning request";
    UPDATE_RENEW = "
        update run
        set expires_at = $3
        where id = $1 and fence = $2 and state = 'running'";
    UPDATE_RELEASE = "
        update run
        set state = 'queued', node = null, fence = null, expires_at = null, changed_at = $3
        where id = $1 and fence = $2 and state = 'running'";
    SELECT_HOLDER = "select state, node, fence, next_seq from run where id = $1";
    SELECT_RUN = "select id, request, state, summary, queued_at, changed_at from run where id = $1";
    SELECT_RUNS = "
        select id, request, state, summary, queued_at, changed_at
        from run
        where id < $1
        order by id desc
        limit $2";
}

/// Returns the next number of a series.
pub(crate) async fn next_number(conn: &mut Conn, series: &'static str) -> Result<i64, PortError> {
    match conn.first(NEXT_NUMBER, values![series]).await? {
        Some(row) => row.int(0),
        None => Err(error::corrupt(conn.place(), &format!("the counter {series} is missing"))),
    }
}

/// Lets a series go on after `least`.
pub(crate) async fn raise(conn: &mut Conn, series: &'static str, least: i64) -> Result<(), PortError> {
    conn.run(RAISE_NUMBER, values![series, least]).await.map(|_| ())
}

pub(crate) async fn enqueue(conn: &mut Conn, request: &Request, now: Timestamp) -> Result<Enqueued, PortError> {
    let key = request.coalescing_key().map(|key| Digest::of(key.as_bytes()));
    if let Some(key) = key
        && let Some(row) = conn.first(SELECT_JOINABLE, values![key]).await?
    {
        let run = row.int(0)?;
        let waiting: Request = row.json(1)?;
        let joined = join(waiting.clone(), request);
        if joined != waiting {
            let values = values![run, to_json(&joined)?, joined.priority.rank(), now];
            conn.run(UPDATE_REQUEST, values).await?;
        }
        return Ok(Enqueued::Coalesced(RunId(run)));
    }
    let run = next_number(conn, "run").await?;
    let (text, summary) = (to_json(request)?, to_json(&RunSummary::default())?);
    conn.run(INSERT_RUN, values![run, request.priority.rank(), key, text, summary, now]).await?;
    Ok(Enqueued::New(RunId(run)))
}

/// The waiting request with what the new one asks for on top.
fn join(mut waiting: Request, new: &Request) -> Request {
    waiting.priority = waiting.priority.max(new.priority);
    if let (Work::Sync(waiting), Work::Sync(new)) = (&mut waiting.work, &new.work) {
        waiting.force_snapshot |= new.force_snapshot;
    }
    waiting
}

pub(crate) async fn claim(
    conn: &mut Conn,
    node: &NodeId,
    now: Timestamp,
    ttl_ms: u64,
) -> Result<Option<Claim>, PortError> {
    let Some(row) = conn.first(SELECT_CLAIMABLE, values![now, node.as_str()]).await? else {
        return Ok(None);
    };
    let run = row.int(0)?;
    let fence = next_number(conn, "fence").await?;
    let expires = now.plus_ms(ttl_ms);
    let Some(row) = conn.first(UPDATE_CLAIM, values![run, node.as_str(), fence, expires, now]).await? else {
        return Err(error::corrupt(conn.place(), &format!("run {run} vanished while it was claimed")));
    };
    Ok(Some(Claim { run: RunId(run), request: row.json(0)?, node: node.clone(), fence: Fence(fence), expires }))
}

pub(crate) async fn renew(conn: &mut Conn, claim: &Claim, now: Timestamp, ttl_ms: u64) -> Result<(), PortError> {
    let changed = conn.run(UPDATE_RENEW, values![claim.run.0, claim.fence.0, now.plus_ms(ttl_ms)]).await?;
    if changed == 1 { Ok(()) } else { Err(fenced(conn, claim, None).await?) }
}

pub(crate) async fn release(conn: &mut Conn, claim: &Claim, now: Timestamp) -> Result<(), PortError> {
    let changed = conn.run(UPDATE_RELEASE, values![claim.run.0, claim.fence.0, now]).await?;
    if changed == 1 { Ok(()) } else { Err(fenced(conn, claim, None).await?) }
}

/// Says why a claim no longer holds, or why `seq` is not the next position of its journal.
pub(crate) async fn fenced(conn: &mut Conn, claim: &Claim, seq: Option<i64>) -> Result<PortError, PortError> {
    let run = claim.run;
    let Some(row) = conn.first(SELECT_HOLDER, values![run.0]).await? else {
        return Ok(PortError::Fenced(format!("run {run} does not exist")));
    };
    let (state, node, fence, next) = (row.text(0)?, row.maybe_text(1)?, row.maybe_int(2)?, row.int(3)?);
    Ok(PortError::Fenced(match (state.as_str(), seq) {
        ("running", Some(seq)) if fence == Some(claim.fence.0) => {
            format!("the journal of run {run} goes on at {next}, not at {seq}")
        }
        ("running", _) => {
            format!("run {run} is driven by {} with fence {}", node.unwrap_or_default(), fence.unwrap_or_default())
        }
        _ => format!("run {run} is {state}"),
    }))
}

pub(crate) async fn run(conn: &mut Conn, run: RunId) -> Result<Option<RunRow>, PortError> {
    conn.first(SELECT_RUN, values![run.0]).await?.as_ref().map(run_row).transpose()
}

pub(crate) async fn runs(conn: &mut Conn, before: Option<RunId>, limit: u32) -> Result<Vec<RunRow>, PortError> {
    let before = before.map_or(i64::MAX, |run| run.0);
    conn.all(SELECT_RUNS, values![before, limit]).await?.iter().map(run_row).collect()
}

fn run_row(row: &Row) -> Result<RunRow, PortError> {
    Ok(RunRow {
        run: RunId(row.int(0)?),
        request: row.json(1)?,
        state: row.text(2)?,
        summary: row.json(3)?,
        queued_at: row.time(4)?,
        changed_at: row.time(5)?,
    })
}
