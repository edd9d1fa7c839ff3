//! Incoming deliveries: filed once, looked at later.

use async_trait::async_trait;
use cathedral_model::event::NewEvent;
use cathedral_model::ids::Digest;
use cathedral_model::intake::{Accepted, Delivery, DeliveryRow, Outcome};
use cathedral_model::ports::intake::Intake;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, to_json, values};
use crate::event;
use crate::statement::statements;
use crate::store::SqlStore;

statements! {
    /// Takes the next number without moving the series on: a duplicate costs this one statement.
    INSERT_DELIVERY = "
        insert into delivery
            (number, key_digest, source, id, event, hint, body_digest, body_bytes, received_at)
        select value + 1, $1, $2, $3, $4, $5, $6, $7, $8
        from counter
        where name = 'delivery'
        on conflict (key_digest) do nothing
        returning number";
    UPDATE_NUMBER = "update counter set value = $1 where name = 'delivery'";
    SELECT_FILED = "select number from delivery where key_digest = $1";
    SELECT_DELIVERY = "
        select number, source, id, event, hint, body_digest, body_bytes, received_at, outcome, handled_at
        from delivery
        where number = $1";
    SELECT_WAITING = "
        select number, source, id, event, hint, body_digest, body_bytes, received_at, outcome, handled_at
        from delivery
        where handled_at is null
        order by number
        limit $1";
    SELECT_DELIVERIES = "
        select number, source, id, event, hint, body_digest, body_bytes, received_at, outcome, handled_at
        from delivery
        where number < $1
        order by number desc
        limit $2";
    UPDATE_HANDLED = "
        update delivery
        set outcome = $2, handled_at = $3
        where number = $1 and handled_at is null
        returning source, event";
    SELECT_THERE = "select number from delivery where number = $1";
    DELETE_HANDLED = "delete from delivery where handled_at is not null and received_at < $1";
}

async fn accept(conn: &mut Conn, delivery: &Delivery, now: Timestamp) -> Result<Accepted, PortError> {
    // A source cannot hold a zero byte, so that no two pairs have the same text.
    let key = Digest::of(format!("{}\0{}", delivery.source, delivery.id).as_bytes());
    let values = values![
        key,
        delivery.source.as_str(),
        delivery.id.as_str(),
        delivery.event.as_str(),
        to_json(&delivery.hint)?,
        delivery.body_digest,
        delivery.body_bytes,
        now,
    ];
    if let Some(row) = conn.first(INSERT_DELIVERY, values).await? {
        conn.run(UPDATE_NUMBER, values![row.int(0)?]).await?;
        return Ok(Accepted::New);
    }
    // Nothing is called a duplicate that is not there.
    match conn.first(SELECT_FILED, values![key]).await? {
        Some(_) => Ok(Accepted::Duplicate),
        None => Err(crate::error::corrupt(conn.place(), "the counter delivery is missing")),
    }
}

async fn handled(conn: &mut Conn, number: i64, outcome: &Outcome, now: Timestamp) -> Result<(), PortError> {
    let Some(row) = conn.first(UPDATE_HANDLED, values![number, to_json(outcome)?, now]).await? else {
        return match conn.first(SELECT_THERE, values![number]).await? {
            Some(_) => Ok(()),
            None => Err(PortError::failed(Cause::NotFound, format!("there is no delivery {number}"))),
        };
    };
    let run = match outcome {
        Outcome::Runs { runs } => {
            if let [only] = runs.as_slice() {
                Some(*only)
            } else {
                None
            }
        }
        Outcome::Echo | Outcome::NoSpoke | Outcome::NothingToDo => None,
    };
    let data = serde_json::json!({
        "delivery": number,
        "source": row.text(0)?,
        "event": row.text(1)?,
        "outcome": outcome,
    });
    event::publish(conn, &[NewEvent { kind: "delivery.handled".to_owned(), run, spoke: None, data }], now).await
}

fn delivery(row: &Row) -> Result<DeliveryRow, PortError> {
    Ok(DeliveryRow {
        number: row.int(0)?,
        delivery: Delivery {
            source: row.text(1)?,
            id: row.text(2)?,
            event: row.text(3)?,
            hint: row.json(4)?,
            body_digest: row.digest(5)?,
            body_bytes: row.count(6)?,
        },
        received_at: row.time(7)?,
        outcome: row.maybe_json(8)?,
        handled_at: row.maybe_time(9)?,
    })
}

async fn waiting(conn: &mut Conn, limit: u32) -> Result<Vec<DeliveryRow>, PortError> {
    conn.all(SELECT_WAITING, values![limit]).await?.iter().map(delivery).collect()
}

async fn list(conn: &mut Conn, before: Option<i64>, limit: u32) -> Result<Vec<DeliveryRow>, PortError> {
    let before = before.unwrap_or(i64::MAX);
    conn.all(SELECT_DELIVERIES, values![before, limit]).await?.iter().map(delivery).collect()
}

async fn find(conn: &mut Conn, number: i64) -> Result<Option<DeliveryRow>, PortError> {
    conn.first(SELECT_DELIVERY, values![number]).await?.as_ref().map(delivery).transpose()
}

#[async_trait]
impl<E: Send + Sync + 'static> Intake for SqlStore<E> {
    async fn accept(&self, delivery: &Delivery, now: Timestamp) -> Result<Accepted, PortError> {
        let delivery = delivery.clone();
        self.write(move |conn| Box::pin(async move { accept(conn, &delivery, now).await })).await
    }

    async fn waiting(&self, limit: u32) -> Result<Vec<DeliveryRow>, PortError> {
        self.read(move |conn| Box::pin(waiting(conn, limit))).await
    }

    async fn handled(&self, number: i64, outcome: &Outcome, now: Timestamp) -> Result<(), PortError> {
        let outcome = outcome.clone();
        self.write(move |conn| Box::pin(async move { handled(conn, number, &outcome, now).await })).await
    }

    async fn deliveries(&self, before: Option<i64>, limit: u32) -> Result<Vec<DeliveryRow>, PortError> {
        self.read(move |conn| Box::pin(list(conn, before, limit))).await
    }

    async fn delivery(&self, number: i64) -> Result<Option<DeliveryRow>, PortError> {
        self.read(move |conn| Box::pin(find(conn, number))).await
    }

    async fn forget_deliveries(&self, before: Timestamp) -> Result<u64, PortError> {
        self.write(move |conn| Box::pin(async move { conn.run(DELETE_HANDLED, values![before]).await })).await
    }
}
