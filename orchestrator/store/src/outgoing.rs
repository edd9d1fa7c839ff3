//! Deliveries to endpoints: one row for each message and endpoint.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cathedral_model::event::Message;
use cathedral_model::ids::Digest;
use cathedral_model::ports::outgoing::{Attempted, Outgoing, OutgoingStore};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, values};
use crate::queue::next_number;
use crate::statement::statements;
use crate::store::SqlStore;

/// What a receiver answers is kept up to this length.
const LAST_CHARS: usize = 1_000;

statements! {
    TAKE_MESSAGE = "
        update message
        set delivered_at = $2
        where key_digest = $1 and delivered_at is null
        returning id";
    SELECT_TAKEN = "select id from message where key_digest = $1";
    INSERT_OUTGOING = "
        insert into outgoing
            (number, message, endpoint, state, attempts, filed_at, due_at, last, changed_at)
        values ($1, $2, $3, 'waiting', 0, $4, $4, '', $4)
        on conflict (message, endpoint) do nothing";
    SELECT_DUE = "
        select o.number, m.key, m.topic, m.payload, o.endpoint, o.state, o.attempts, o.filed_at, o.due_at, o.last
        from outgoing o join message m on m.id = o.message
        where o.state = 'waiting' and o.due_at <= $1
        order by o.due_at, o.number
        limit $2";
    SELECT_OUTGOING = "
        select o.number, m.key, m.topic, m.payload, o.endpoint, o.state, o.attempts, o.filed_at, o.due_at, o.last
        from outgoing o join message m on m.id = o.message
        where o.number < $1
        order by o.number desc
        limit $2";
    SELECT_ONE = "
        select o.number, m.key, m.topic, m.payload, o.endpoint, o.state, o.attempts, o.filed_at, o.due_at, o.last
        from outgoing o join message m on m.id = o.message
        where o.number = $1";
    /// A try that ends late changes nothing of what has arrived, nor wakes what was given up.
    UPDATE_TRIED = "
        update outgoing
        set state = $2, attempts = attempts + 1, due_at = coalesce($3, due_at), last = $4, changed_at = $5
        where number = $1 and (state = 'waiting' or (state = 'given_up' and $2 = 'delivered'))";
    UPDATE_RETRY = "update outgoing set state = 'waiting', due_at = $2, changed_at = $2 where number = $1";
}

async fn hand_out(conn: &mut Conn, key: &str, endpoints: &[String], now: Timestamp) -> Result<(), PortError> {
    let digest = Digest::of(key.as_bytes());
    let Some(row) = conn.first(TAKE_MESSAGE, values![digest, now]).await? else {
        return match conn.first(SELECT_TAKEN, values![digest]).await? {
            Some(_) => Ok(()),
            None => Err(PortError::failed(Cause::NotFound, format!("there is no message {key:?}"))),
        };
    };
    let message = row.int(0)?;
    let mut filed = BTreeSet::new();
    for endpoint in endpoints.iter().filter(|endpoint| filed.insert(endpoint.as_str())) {
        let number = next_number(conn, "outgoing").await?;
        conn.run(INSERT_OUTGOING, values![number, message, endpoint.as_str(), now]).await?;
    }
    Ok(())
}

async fn tried(
    conn: &mut Conn,
    number: i64,
    delivered: bool,
    last: &str,
    again: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), PortError> {
    let (state, due) = match again {
        _ if delivered => ("delivered", None),
        Some(again) => ("waiting", Some(again)),
        None => ("given_up", None),
    };
    // Whatever a receiver answers must not keep the try from being counted.
    let last: String = last.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }).take(LAST_CHARS).collect();
    if conn.run(UPDATE_TRIED, values![number, state, due, last, now]).await? == 0 {
        one(conn, number).await?;
    }
    Ok(())
}

async fn retry(conn: &mut Conn, number: i64, now: Timestamp) -> Result<Outgoing, PortError> {
    conn.run(UPDATE_RETRY, values![number, now]).await?;
    one(conn, number).await
}

async fn one(conn: &mut Conn, number: i64) -> Result<Outgoing, PortError> {
    let missing = || PortError::failed(Cause::NotFound, format!("there is no outgoing delivery {number}"));
    outgoing(&conn.first(SELECT_ONE, values![number]).await?.ok_or_else(missing)?)
}

async fn due(conn: &mut Conn, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, PortError> {
    conn.all(SELECT_DUE, values![now, limit]).await?.iter().map(outgoing).collect()
}

async fn list(conn: &mut Conn, before: Option<i64>, limit: u32) -> Result<Vec<Outgoing>, PortError> {
    let before = before.unwrap_or(i64::MAX);
    conn.all(SELECT_OUTGOING, values![before, limit]).await?.iter().map(outgoing).collect()
}

fn outgoing(row: &Row) -> Result<Outgoing, PortError> {
    let state = match row.text(5)?.as_str() {
        "waiting" => Attempted::Waiting,
        "delivered" => Attempted::Delivered,
        "given_up" => Attempted::GivenUp,
        other => return Err(row.damaged(&format!("unknown state of an outgoing delivery {other:?}"))),
    };
    Ok(Outgoing {
        number: row.int(0)?,
        message: Message { key: row.text(1)?, topic: row.text(2)?, payload: row.json(3)? },
        endpoint: row.text(4)?,
        state,
        attempts: row.count(6)?,
        filed_at: row.time(7)?,
        due_at: row.time(8)?,
        last: row.text(9)?,
    })
}

#[async_trait]
impl<E: Send + Sync + 'static> OutgoingStore for SqlStore<E> {
    async fn hand_out(&self, key: &str, endpoints: &[String], now: Timestamp) -> Result<(), PortError> {
        let (key, endpoints) = (key.to_owned(), endpoints.to_vec());
        self.write(move |conn| Box::pin(async move { hand_out(conn, &key, &endpoints, now).await })).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Outgoing>, PortError> {
        self.read(move |conn| Box::pin(due(conn, now, limit))).await
    }

    async fn tried(
        &self,
        number: i64,
        delivered: bool,
        last: &str,
        again: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), PortError> {
        let last = last.to_owned();
        self.write(move |conn| Box::pin(async move { tried(conn, number, delivered, &last, again, now).await })).await
    }

    async fn retry(&self, number: i64, now: Timestamp) -> Result<Outgoing, PortError> {
        self.write(move |conn| Box::pin(retry(conn, number, now))).await
    }

    async fn outgoing(&self, before: Option<i64>, limit: u32) -> Result<Vec<Outgoing>, PortError> {
        self.read(move |conn| Box::pin(list(conn, before, limit))).await
    }
}
