//! API tokens, found by the digest of their text.

use cathedral_model::access::Token;
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::account;
use crate::conn::{Conn, Row, values};
use crate::statement::statements;

statements! {
    INSERT_TOKEN = "
        insert into token
            (id, secret, label, scope, created_by, created_at, expires_at, used_at, revoked_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict do nothing";
    SELECT_TOKENS = "
        select id, secret, label, scope, created_by, created_at, expires_at, used_at, revoked_at
        from token
        order by created_at desc, id desc";
    SELECT_TOKEN = "
        select id, secret, label, scope, created_by, created_at, expires_at, used_at, revoked_at
        from token
        where secret = $1 and revoked_at is null and (expires_at is null or expires_at > $2)";
    UPDATE_USED = "update token set used_at = $2 where id = $1";
    /// The first revocation stays.
    UPDATE_REVOKED = "
        update token
        set revoked_at = coalesce(revoked_at, $2)
        where id = $1
        returning id, secret, label, scope, created_by, created_at, expires_at, used_at, revoked_at";
}

pub(crate) async fn add(conn: &mut Conn, token: &Token) -> Result<(), PortError> {
    let values = values![
        token.id.as_str(),
        token.secret,
        token.label.as_str(),
        token.scope.as_str(),
        token.created_by.as_str(),
        token.created_at,
        token.expires_at,
        token.used_at,
        token.revoked_at,
    ];
    if conn.run(INSERT_TOKEN, values).await? == 0 {
        return Err(PortError::failed(Cause::Refused, format!("a token {} is there already", token.id)));
    }
    Ok(())
}

pub(crate) async fn list(conn: &mut Conn) -> Result<Vec<Token>, PortError> {
    conn.all(SELECT_TOKENS, values![]).await?.iter().map(token).collect()
}

pub(crate) async fn find(conn: &mut Conn, secret: Digest, now: Timestamp) -> Result<Option<Token>, PortError> {
    conn.first(SELECT_TOKEN, values![secret, now]).await?.as_ref().map(token).transpose()
}

pub(crate) async fn touch(conn: &mut Conn, id: &str, now: Timestamp) -> Result<(), PortError> {
    conn.run(UPDATE_USED, values![id, now]).await.map(|_| ())
}

pub(crate) async fn revoke(conn: &mut Conn, id: &str, now: Timestamp) -> Result<Token, PortError> {
    let missing = || PortError::failed(Cause::NotFound, format!("there is no token {id:?}"));
    token(&conn.first(UPDATE_REVOKED, values![id, now]).await?.ok_or_else(missing)?)
}

fn token(row: &Row) -> Result<Token, PortError> {
    Ok(Token {
        id: row.text(0)?,
        secret: row.digest(1)?,
        label: row.text(2)?,
        scope: account::role(row, 3)?,
        created_by: row.text(4)?,
        created_at: row.time(5)?,
        expires_at: row.maybe_time(6)?,
        used_at: row.maybe_time(7)?,
        revoked_at: row.maybe_time(8)?,
    })
}
