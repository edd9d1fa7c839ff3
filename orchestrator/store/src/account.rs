//! People and the links that set their passwords, and the port over them, sessions and tokens.

use async_trait::async_trait;
use cathedral_model::access::{Invitation, Person, Role, Session, Token, is_person_name};
use cathedral_model::ids::Digest;
use cathedral_model::ports::accounts::Accounts;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::time::Timestamp;

use crate::conn::{Conn, Row, values};
use crate::statement::statements;
use crate::store::SqlStore;
use crate::{session, token};

statements! {
    SELECT_PEOPLE = "select name, role, password, created_at, disabled from person order by name";
    SELECT_PERSON = "select name, role, password, created_at, disabled from person where name = $1";
    UPSERT_PERSON = "
        insert into person (name, role, password, created_at, disabled, changed_at)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (name) do update
        set role = excluded.role,
            password = excluded.password,
            created_at = excluded.created_at,
            disabled = excluded.disabled,
            changed_at = excluded.changed_at";
    SELECT_ADMIN = "select name from person where role = 'admin' and disabled = 0 limit 1";
    INSERT_INVITATION = "
        insert into invitation (secret, person, created_at, expires_at)
        values ($1, $2, $3, $4)";
    SELECT_INVITATION = "
        select i.secret, i.person, i.expires_at
        from invitation i join person p on p.name = i.person
        where i.secret = $1 and i.expires_at > $2 and p.disabled = 0";
    DELETE_INVITATIONS = "delete from invitation where person = $1";
    DELETE_EXPIRED = "delete from invitation where expires_at <= $1";
}

async fn people(conn: &mut Conn) -> Result<Vec<Person>, PortError> {
    let mut people: Vec<_> = conn.all(SELECT_PEOPLE, values![]).await?.iter().map(person).collect::<Result<_, _>>()?;
    // By bytes, whatever the collation of the database.
    people.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(people)
}

/// Returns a person by name.
pub(crate) async fn find(conn: &mut Conn, name: &str) -> Result<Option<Person>, PortError> {
    conn.first(SELECT_PERSON, values![name]).await?.as_ref().map(person).transpose()
}

/// Returns a person by name, or says that there is none.
pub(crate) async fn known(conn: &mut Conn, name: &str) -> Result<Person, PortError> {
    let missing = || PortError::failed(Cause::NotFound, format!("there is no person {name:?}"));
    find(conn, name).await?.ok_or_else(missing)
}

fn person(row: &Row) -> Result<Person, PortError> {
    Ok(Person {
        name: row.text(0)?,
        role: role(row, 1)?,
        password: row.maybe_text(2)?,
        created_at: row.time(3)?,
        disabled: row.flag(4)?,
    })
}

/// Reads a role.
pub(crate) fn role(row: &Row, at: usize) -> Result<Role, PortError> {
    let word = row.text(at)?;
    Role::parse(&word).ok_or_else(|| row.damaged(&format!("unknown role {word:?}")))
}

async fn put(conn: &mut Conn, person: &Person, now: Timestamp) -> Result<(), PortError> {
    let name = person.name.as_str();
    if !is_person_name(name) {
        let message = "the name of a person must have 1 to 64 of `a-z 0-9 . _ -`, a letter or digit first";
        return Err(PortError::failed(Cause::Invalid, message));
    }
    let before = find(conn, name).await?;
    let (role, password) = (person.role.as_str(), person.password.as_deref());
    conn.run(UPSERT_PERSON, values![name, role, password, person.created_at, person.disabled, now]).await?;
    if conn.first(SELECT_ADMIN, values![]).await?.is_none() {
        // Rolled back with the call.
        return Err(PortError::failed(Cause::Refused, format!("without {name} no enabled admin would be left")));
    }
    let changed = before.is_some_and(|before| before.role != person.role || before.password != person.password);
    if changed || person.disabled {
        session::close_all(conn, name).await?;
    }
    if person.disabled {
        conn.run(DELETE_INVITATIONS, values![name]).await?;
    }
    Ok(())
}

async fn invite(conn: &mut Conn, invitation: &Invitation, now: Timestamp) -> Result<(), PortError> {
    let person = known(conn, &invitation.person).await?;
    if person.disabled {
        return Err(PortError::failed(Cause::Refused, format!("{} is disabled", person.name)));
    }
    conn.run(DELETE_INVITATIONS, values![person.name.as_str()]).await?;
    let values = values![invitation.secret, person.name, now, invitation.expires_at];
    conn.run(INSERT_INVITATION, values).await.map(|_| ())
}

async fn invitation(conn: &mut Conn, secret: Digest, now: Timestamp) -> Result<Option<Invitation>, PortError> {
    let row = conn.first(SELECT_INVITATION, values![secret, now]).await?;
    row.map(|row| Ok(Invitation { secret: row.digest(0)?, person: row.text(1)?, expires_at: row.time(2)? })).transpose()
}

async fn redeem(
    conn: &mut Conn,
    secret: Digest,
    password: String,
    now: Timestamp,
) -> Result<Option<Person>, PortError> {
    let Some(invitation) = invitation(conn, secret, now).await? else {
        return Ok(None);
    };
    let person = Person { password: Some(password), ..known(conn, &invitation.person).await? };
    put(conn, &person, now).await?;
    conn.run(DELETE_INVITATIONS, values![person.name.as_str()]).await?;
    Ok(Some(person))
}

async fn forget_expired(conn: &mut Conn, now: Timestamp) -> Result<u64, PortError> {
    Ok(session::forget_expired(conn, now).await? + conn.run(DELETE_EXPIRED, values![now]).await?)
}

#[async_trait]
impl<E: Send + Sync + 'static> Accounts for SqlStore<E> {
    async fn people(&self) -> Result<Vec<Person>, PortError> {
        self.read(|conn| Box::pin(people(conn))).await
    }

    async fn person(&self, name: &str) -> Result<Option<Person>, PortError> {
        let name = name.to_owned();
        self.read(move |conn| Box::pin(async move { find(conn, &name).await })).await
    }

    async fn put_person(&self, person: &Person, now: Timestamp) -> Result<(), PortError> {
        let person = person.clone();
        self.write(move |conn| Box::pin(async move { put(conn, &person, now).await })).await
    }

    async fn invite(&self, asked: &Invitation, now: Timestamp) -> Result<(), PortError> {
        let asked = asked.clone();
        self.write(move |conn| Box::pin(async move { invite(conn, &asked, now).await })).await
    }

    async fn invitation(&self, secret: &Digest, now: Timestamp) -> Result<Option<Invitation>, PortError> {
        let secret = *secret;
        self.read(move |conn| Box::pin(invitation(conn, secret, now))).await
    }

    async fn redeem(&self, secret: &Digest, password: &str, now: Timestamp) -> Result<Option<Person>, PortError> {
        let (secret, password) = (*secret, password.to_owned());
        self.write(move |conn| Box::pin(redeem(conn, secret, password, now))).await
    }

    async fn open_session(&self, session: &Session) -> Result<(), PortError> {
        let session = session.clone();
        self.write(move |conn| Box::pin(async move { session::open(conn, &session).await })).await
    }

    async fn session(&self, secret: &Digest, now: Timestamp) -> Result<Option<(Session, Role)>, PortError> {
        let secret = *secret;
        self.read(move |conn| Box::pin(session::find(conn, secret, now))).await
    }

    async fn touch_session(
        &self,
        secret: &Digest,
        signed_in_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), PortError> {
        let secret = *secret;
        self.write(move |conn| Box::pin(session::touch(conn, secret, signed_in_at, now))).await
    }

    async fn close_session(&self, secret: &Digest) -> Result<(), PortError> {
        let secret = *secret;
        self.write(move |conn| Box::pin(session::close(conn, secret))).await
    }

    async fn close_sessions(&self, person: &str) -> Result<u64, PortError> {
        let person = person.to_owned();
        self.write(move |conn| Box::pin(async move { session::close_all(conn, &person).await })).await
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<u64, PortError> {
        self.write(move |conn| Box::pin(forget_expired(conn, now))).await
    }

    async fn add_token(&self, token: &Token) -> Result<(), PortError> {
        let token = token.clone();
        self.write(move |conn| Box::pin(async move { token::add(conn, &token).await })).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, PortError> {
        self.read(|conn| Box::pin(token::list(conn))).await
    }

    async fn token(&self, secret: &Digest, now: Timestamp) -> Result<Option<Token>, PortError> {
        let secret = *secret;
        self.read(move |conn| Box::pin(token::find(conn, secret, now))).await
    }

    async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), PortError> {
        let id = id.to_owned();
        self.write(move |conn| Box::pin(async move { token::touch(conn, &id, now).await })).await
    }

    async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<Token, PortError> {
        let id = id.to_owned();
        self.write(move |conn| Box::pin(async move { token::revoke(conn, &id, now).await })).await
    }
}
