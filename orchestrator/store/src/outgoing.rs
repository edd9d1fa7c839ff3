//! Deliveries to endpoints: one row for each message and endpoint.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use cathedral_model::event::Message;
use cathedral_model::ids::Digest;
use cathedral_model::ports::outgoing::{Attempted, EndpointStanding, Outgoing, OutgoingStore, Queue};
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
    /// The conditions stand outside as well: whoever waited for the row sees that it is taken.
    UPDATE_TAKEN = "
        update outgoing
        set due_at = $3
        where state = 'waiting' and due_at <= $2 and number in (
            select number
            from outgoing
            where state = 'waiting' and due_at <= $2 and endpoint = $1
            order by due_at, number
            limit $4)
        returning number";
    SELECT_QUEUES = "
        select endpoint, count(*), min(due_at)
        from outgoing
        where state = 'waiting'
        group by endpoint";
    /// Of the newest deliveries only: older ones say nothing about now.
    SELECT_STANDINGS = "
        with tried as (
            select number, endpoint, state, filed_at, last, changed_at
            from outgoing
            where attempts > 0 and number > (select coalesce(max(number), 0) - 2000 from outgoing)),
        arrived as (
            select endpoint, max(changed_at) as at
            from tried
            where state = 'delivered'
            group by endpoint)
        select t.endpoint, t.state, t.filed_at, t.last
        from tried t left join arrived a on a.endpoint = t.endpoint
        where a.at is null or t.changed_at >= a.at
        order by t.endpoint, t.changed_at, t.number";
    SELECT_OUTGOING = "
        select o.number, m.key, m.topic, m.payload, o.endpoint, o.state, o.attempts, o.filed_at, o.due_at, o.last
        from outgoing o join message m on m.id = o.message
        where o.number < $1
        order by o.number desc
        limit $2";
    SELECT_FILED = "
        select o.number
        from outgoing o join message m on m.id = o.message
        where m.key_digest = $1 and o.endpoint = $2";
    SELECT_ONE = "
        select o.number, m.key, m.topic, m.payload, o.endpoint, o.state, o.attempts, o.filed_at, o.due_at, o.last
        from outgoing o join message m on m.id = o.message
        where o.number = $1";
    /// A try that ends late changes nothing of what has arrived, nor wakes what was given up.
    UPDATE_TRIED = "
        update outgoing
        set state = $2, attempts = attempts + 1, due_at = coalesce($3, due_at), last = $4, changed_at = $5
        where number = $1 and (state = 'waiting' or (state = 'given_up' and $2 = 'delivered'))";
    UPDATE_DUE = "update outgoing set due_at = $2 where number = $1 and state = 'waiting'";
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

async fn take(
    conn: &mut Conn,
    endpoint: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Outgoing>, PortError> {
    let mut numbers = vec![];
    for row in conn.all(UPDATE_TAKEN, values![endpoint, now, until, limit]).await? {
        numbers.push(row.int(0)?);
    }
    numbers.sort_unstable();
    let mut taken = vec![];
    for number in numbers {
        taken.push(one(conn, number).await?);
    }
    Ok(taken)
}

async fn queues(conn: &mut Conn) -> Result<Vec<Queue>, PortError> {
    let rows = conn.all(SELECT_QUEUES, values![]).await?;
    let queue = |row: &Row| Ok(Queue { endpoint: row.text(0)?, waiting: row.count(1)?, next_due: row.time(2)? });
    let mut queues = rows.iter().map(queue).collect::<Result<Vec<_>, PortError>>()?;
    queues.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    Ok(queues)
}

async fn standings(conn: &mut Conn) -> Result<Vec<EndpointStanding>, PortError> {
    let mut found: BTreeMap<String, EndpointStanding> = BTreeMap::new();
    for row in conn.all(SELECT_STANDINGS, values![]).await? {
        let (endpoint, state, filed_at, last) = (row.text(0)?, row.text(1)?, row.time(2)?, row.text(3)?);
        let new = || EndpointStanding { endpoint: endpoint.clone(), failing_since: None, last: String::new() };
        let standing = found.entry(endpoint.clone()).or_insert_with(new);
        standing.last = last;
        standing.failing_since = match (state.as_str(), standing.failing_since) {
            ("delivered", _) => None,
            (_, Some(since)) => Some(since.min(filed_at)),
            (_, None) => Some(filed_at),
        };
    }
    Ok(found.into_values().collect())
}

async fn file(
    conn: &mut Conn,
    message: &Message,
    endpoint: &str,
    due: Timestamp,
    now: Timestamp,
) -> Result<Outgoing, PortError> {
    crate::event::file(conn, std::slice::from_ref(message), now).await?;
    hand_out(conn, &message.key, &[endpoint.to_owned()], now).await?;
    let filed = conn.first(SELECT_FILED, values![Digest::of(message.key.as_bytes()), endpoint]).await?;
    let missing = || PortError::failed(Cause::NotFound, format!("{:?} was filed for others only", message.key));
    let number = filed.ok_or_else(missing)?.int(0)?;
    conn.run(UPDATE_DUE, values![number, due]).await?;
    one(conn, number).await
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

    async fn take(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Outgoing>, PortError> {
        let endpoint = endpoint.to_owned();
        self.write(move |conn| Box::pin(async move { take(conn, &endpoint, now, until, limit).await })).await
    }

    async fn queues(&self) -> Result<Vec<Queue>, PortError> {
        self.read(|conn| Box::pin(queues(conn))).await
    }

    async fn standings(&self) -> Result<Vec<EndpointStanding>, PortError> {
        self.read(|conn| Box::pin(standings(conn))).await
    }

    async fn file(
        &self,
        message: &Message,
        endpoint: &str,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<Outgoing, PortError> {
        let (message, endpoint) = (message.clone(), endpoint.to_owned());
        self.write(move |conn| Box::pin(async move { file(conn, &message, &endpoint, due, now).await })).await
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
