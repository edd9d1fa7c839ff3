//! Signed-in browsers. A session is found by the digest of its secret, so that a lookup takes the same
//! steps for a right and a wrong one.

use cathedral_model::access::{Role, Session};
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::account;
use crate::conn::{Conn, values};
use crate::statement::statements;

statements! {
    INSERT_SESSION = "
        insert into session (secret, person, created_at, signed_in_at, seen_at, expires_at)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (secret) do nothing";
    SELECT_SESSION = "
        select s.secret, s.person, s.created_at, s.signed_in_at, s.seen_at, s.expires_at, p.role
        from session s join person p on p.name = s.person
        where s.secret = $1 and s.expires_at > $2 and p.disabled = 0";
    UPDATE_SEEN = "
        update session
        set seen_at = $3, signed_in_at = coalesce($2, signed_in_at)
        where secret = $1";
    DELETE_SESSION = "delete from session where secret = $1";
    DELETE_SESSIONS = "delete from session where person = $1";
    DELETE_EXPIRED = "delete from session where expires_at <= $1";
}

pub(crate) async fn open(conn: &mut Conn, session: &Session) -> Result<(), PortError> {
    let person = account::known(conn, &session.person).await?;
    if person.disabled {
        return Err(PortError::failed(Cause::Refused, format!("{} is disabled", person.name)));
    }
    let values = values![
        session.secret,
        person.name,
        session.created_at,
        session.signed_in_at,
        session.seen_at,
        session.expires_at,
    ];
    if conn.run(INSERT_SESSION, values).await? == 0 {
        return Err(PortError::failed(Cause::Refused, "the secret of the session is in use"));
    }
    Ok(())
}

pub(crate) async fn find(
    conn: &mut Conn,
    secret: Digest,
    now: Timestamp,
) -> Result<Option<(Session, Role)>, PortError> {
    let Some(row) = conn.first(SELECT_SESSION, values![secret, now]).await? else {
        return Ok(None);
    };
    let session = Session {
        secret: row.digest(0)?,
        person: row.text(1)?,
        created_at: row.time(2)?,
        signed_in_at: row.time(3)?,
        seen_at: row.time(4)?,
        expires_at: row.time(5)?,
    };
    Ok(Some((session, account::role(&row, 6)?)))
}

pub(crate) async fn touch(
    conn: &mut Conn,
    secret: Digest,
    signed_in_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), PortError> {
    conn.run(UPDATE_SEEN, values![secret, signed_in_at, now]).await.map(|_| ())
}

pub(crate) async fn close(conn: &mut Conn, secret: Digest) -> Result<(), PortError> {
    conn.run(DELETE_SESSION, values![secret]).await.map(|_| ())
}

/// Ends all sessions of a person.
pub(crate) async fn close_all(conn: &mut Conn, person: &str) -> Result<u64, PortError> {
    conn.run(DELETE_SESSIONS, values![person]).await
}

pub(crate) async fn forget_expired(conn: &mut Conn, now: Timestamp) -> Result<u64, PortError> {
    conn.run(DELETE_EXPIRED, values![now]).await
}
