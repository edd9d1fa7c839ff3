//! People, sessions and tokens: every method is one transaction.

use async_trait::async_trait;

use super::PortError;
use crate::access::{Invitation, Person, Role, Session, Token};
use crate::ids::Digest;
use crate::time::Timestamp;

/// Keeps who may come in.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Returns all people, sorted by name.
    async fn people(&self) -> Result<Vec<Person>, PortError>;

    async fn person(&self, name: &str) -> Result<Option<Person>, PortError>;

    /// Adds or replaces a person. Refused ([`super::Cause::Refused`]) when no enabled admin would be left.
    /// A change of role or password, or disabling, ends that person's sessions.
    async fn put_person(&self, person: &Person, now: Timestamp) -> Result<(), PortError>;

    /// Files a one-time link; earlier ones of the same person end.
    async fn invite(&self, invitation: &Invitation, now: Timestamp) -> Result<(), PortError>;

    /// Looks a one-time link up without using it; none when it is unknown, used or expired.
    async fn invitation(&self, secret: &Digest, now: Timestamp) -> Result<Option<Invitation>, PortError>;

    /// Uses a one-time link: sets the password (PHC string) and ends the link; none when it is unknown,
    /// used or expired.
    async fn redeem(&self, secret: &Digest, password: &str, now: Timestamp) -> Result<Option<Person>, PortError>;

    async fn open_session(&self, session: &Session) -> Result<(), PortError>;

    /// Returns a live session with the role its person has now; none when it is unknown or expired, or
    /// the person is disabled.
    async fn session(&self, secret: &Digest, now: Timestamp) -> Result<Option<(Session, Role)>, PortError>;

    /// Notes that a session was used, and when it was last signed in anew.
    async fn touch_session(
        &self,
        secret: &Digest,
        signed_in_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), PortError>;

    async fn close_session(&self, secret: &Digest) -> Result<(), PortError>;

    /// Ends all sessions of a person; says how many.
    async fn close_sessions(&self, person: &str) -> Result<u64, PortError>;

    /// Removes expired sessions and links; says how many.
    async fn forget_expired(&self, now: Timestamp) -> Result<u64, PortError>;

    async fn add_token(&self, token: &Token) -> Result<(), PortError>;

    /// Lists tokens, newest first, revoked ones too.
    async fn tokens(&self) -> Result<Vec<Token>, PortError>;

    /// Returns a live token by the digest of its text; none when unknown, expired or revoked.
    async fn token(&self, secret: &Digest, now: Timestamp) -> Result<Option<Token>, PortError>;

    /// Notes the last use; callers do so at most once a minute for a token.
    async fn touch_token(&self, id: &str, now: Timestamp) -> Result<(), PortError>;

    /// Revokes a token; [`super::Cause::NotFound`] when there is none.
    async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<Token, PortError>;
}
