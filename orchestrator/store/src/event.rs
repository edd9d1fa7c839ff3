//! The event log and the outbox.

use cathedral_model::event::{Event, EventFilter, Message, NewEvent};
use cathedral_model::ids::{Cursor, Digest, RunId, SpokeName};
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, to_json, values};
use crate::queue::next_number;
use crate::statement::{Statement, statements};

statements! {
    INSERT_EVENT = "
        insert into event (cursor, committed_at, kind, run, spoke, data)
        values ($1, $2, $3, $4, $5, $6)";
    SELECT_EVENTS = "
        select cursor, committed_at, kind, run, spoke, data
        from event
        where cursor > $1
        order by cursor
        limit $2";
    SELECT_NEWEST = "select coalesce(max(cursor), 0) from event";
    SELECT_MESSAGE = "select id from message where key_digest = $1";
    INSERT_MESSAGE = "
        insert into message (id, key_digest, key, topic, payload, filed_at)
        values ($1, $2, $3, $4, $5, $6)";
    SELECT_UNDELIVERED = "
        select key, topic, payload
        from message
        where delivered_at is null
        order by id
        limit $1";
    UPDATE_DELIVERED = "update message set delivered_at = $2 where key_digest = $1 and delivered_at is null";
}

/// A page read backwards: before $1, types that begin with one of the JSON list $2, at most $3.
macro_rules! page {
    ($also:literal) => {
        &Statement {
            sqlite: concat!(
                "select cursor, committed_at, kind, run, spoke, data
                from event
                where cursor < $1 and ($2 = '[]' or exists (
                    select 1 from json_each($2) as start
                    where substr(event.kind, 1, length(start.value)) = start.value))",
                $also,
                "order by cursor desc limit $3"
            ),
            postgres: concat!(
                "select cursor, committed_at, kind, run, spoke, data
                from event
                where cursor < $1 and ($2::text = '[]' or exists (
                    select 1 from json_array_elements_text($2::text::json) as start (value)
                    where starts_with(event.kind, start.value)))",
                $also,
                "order by cursor desc limit $3"
            ),
        }
    };
}

const SELECT_PAGE: &Statement = page!(" ");
const SELECT_PAGE_OF_SPOKE: &Statement = page!(" and spoke = $4 ");
const SELECT_PAGE_OF_RUN: &Statement = page!(" and run = $4 and (cast($5 as text) is null or spoke = $5) ");

pub(crate) const PAGES: &[(&str, &Statement)] = &[
    ("SELECT_PAGE", SELECT_PAGE),
    ("SELECT_PAGE_OF_SPOKE", SELECT_PAGE_OF_SPOKE),
    ("SELECT_PAGE_OF_RUN", SELECT_PAGE_OF_RUN),
];

/// Appends events; cursors grow in the order of commits, since writers take turns.
pub(crate) async fn publish(conn: &mut Conn, events: &[NewEvent], now: Timestamp) -> Result<(), PortError> {
    for event in events {
        let cursor = next_number(conn, "event").await?;
        let (run, spoke) = (event.run.map(|run| run.0), event.spoke.as_ref().map(SpokeName::as_str));
        let values = values![cursor, now, event.kind.as_str(), run, spoke, to_json(&event.data)?];
        conn.run(INSERT_EVENT, values).await?;
    }
    Ok(())
}

pub(crate) async fn after(conn: &mut Conn, after: Cursor, limit: u32) -> Result<Vec<Event>, PortError> {
    conn.all(SELECT_EVENTS, values![after.0, limit]).await?.iter().map(event).collect()
}

pub(crate) async fn newest(conn: &mut Conn) -> Result<Cursor, PortError> {
    conn.first(SELECT_NEWEST, values![]).await?.map_or(Ok(0), |row| row.int(0)).map(Cursor)
}

pub(crate) async fn before(
    conn: &mut Conn,
    before: Option<Cursor>,
    filter: &EventFilter,
    limit: u32,
) -> Result<Vec<Event>, PortError> {
    let before = before.map_or(i64::MAX, |cursor| cursor.0);
    let spoke = filter.spoke.as_ref().map(SpokeName::as_str);
    let mut values = values![before, to_json(&filter.types)?, limit];
    let page = match (filter.run, spoke) {
        (Some(run), spoke) => {
            values.extend(values![run.0, spoke]);
            SELECT_PAGE_OF_RUN
        }
        (None, Some(spoke)) => {
            values.extend(values![spoke]);
            SELECT_PAGE_OF_SPOKE
        }
        (None, None) => SELECT_PAGE,
    };
    conn.all(page, values).await?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<Event, PortError> {
    let spoke = row.maybe_text(4)?.map(|name| SpokeName::new(&name)).transpose();
    let event = NewEvent {
        kind: row.text(2)?,
        run: row.maybe_int(3)?.map(RunId),
        spoke: spoke.map_err(|e| row.damaged(&e.to_string()))?,
        data: row.json(5)?,
    };
    Ok(Event { cursor: Cursor(row.int(0)?), at: row.time(1)?, event })
}

/// Files messages; a key that was filed before, delivered or not, is not filed again.
pub(crate) async fn file(conn: &mut Conn, messages: &[Message], now: Timestamp) -> Result<(), PortError> {
    for message in messages {
        let digest = Digest::of(message.key.as_bytes());
        if conn.first(SELECT_MESSAGE, values![digest]).await?.is_some() {
            continue;
        }
        let id = next_number(conn, "message").await?;
        let (key, topic) = (message.key.as_str(), message.topic.as_str());
        conn.run(INSERT_MESSAGE, values![id, digest, key, topic, to_json(&message.payload)?, now]).await?;
    }
    Ok(())
}

pub(crate) async fn undelivered(conn: &mut Conn, limit: u32) -> Result<Vec<Message>, PortError> {
    let rows = conn.all(SELECT_UNDELIVERED, values![limit]).await?;
    rows.iter().map(|row| Ok(Message { key: row.text(0)?, topic: row.text(1)?, payload: row.json(2)? })).collect()
}

pub(crate) async fn delivered(conn: &mut Conn, key: &str, now: Timestamp) -> Result<(), PortError> {
    conn.run(UPDATE_DELIVERED, values![Digest::of(key.as_bytes()), now]).await.map(|_| ())
}
