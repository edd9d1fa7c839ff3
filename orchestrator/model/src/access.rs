//! Who may do what: roles, actions, and the one table that joins them.

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::time::Timestamp;

/// What a person or token may do; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything but secrets.
    Viewer,
    /// Syncs, takes snapshots, answers conflicts, restores to a new place.
    Operator,
    /// Restores over live data, changes configuration, people and tokens.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Returns the word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Everything that can be asked of the hub's service layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Status, spokes, runs, plans, conflicts, snapshots' lists, log, schedules, events.
    Read,
    /// The contents of snapshots and of both sides of a conflict.
    ReadContents,
    /// Plan, sync, verify, take a snapshot.
    Sync,
    AnswerConflict,
    /// Start, pause, resume a schedule; retry a delivery.
    Schedule,
    RestoreToNewPlace,
    RestoreInPlace,
    ReadSettings,
    ChangeSettings,
    ManageAccess,
}

impl Action {
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::ReadContents,
        Self::Sync,
        Self::AnswerConflict,
        Self::Schedule,
        Self::RestoreToNewPlace,
        Self::RestoreInPlace,
        Self::ReadSettings,
        Self::ChangeSettings,
        Self::ManageAccess,
    ];

    /// Returns the least role that may do this.
    #[must_use]
    pub fn needs(self) -> Role {
        match self {
            Self::Read | Self::ReadContents => Role::Viewer,
            Self::Sync | Self::AnswerConflict | Self::Schedule | Self::RestoreToNewPlace | Self::ReadSettings => {
                Role::Operator
            }
            Self::RestoreInPlace | Self::ChangeSettings | Self::ManageAccess => Role::Admin,
        }
    }
}

/// Whether a role may do something.
#[must_use]
pub fn allowed(role: Role, action: Action) -> bool {
    role >= action.needs()
}

/// A person who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// 1 to 64 of `a-z 0-9 . _ -`.
    pub name: String,
    pub role: Role,
    /// PHC string of the password; none until one is set by the one-time link.
    pub password: Option<String>,
    pub created_at: Timestamp,
    pub disabled: bool,
}

/// Checks a person's name: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[must_use]
pub fn is_person_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A signed-in browser. Only the digest of its secret is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// BLAKE3 of the cookie's secret.
    pub secret: Digest,
    pub person: String,
    pub created_at: Timestamp,
    /// When the password was last given: dangerous acts want this fresh.
    pub signed_in_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An API token. Only the digest of its secret is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Short public id, for lists and revocation.
    pub id: String,
    /// BLAKE3 of the whole token text.
    pub secret: Digest,
    pub label: String,
    pub scope: Role,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A link that works once: sets the password of a person and signs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// BLAKE3 of the link's secret.
    pub secret: Digest,
    pub person: String,
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_what_the_lesser_ones_may() {
        for action in Action::ALL {
            let may: Vec<bool> = Role::ALL.iter().map(|role| allowed(*role, action)).collect();
            assert!(may.windows(2).all(|pair| pair[0] <= pair[1]), "{action:?}: {may:?}");
            assert!(allowed(Role::Admin, action));
        }
        let changes = Action::ALL.iter().filter(|a| !matches!(a, Action::Read | Action::ReadContents));
        assert!(changes.into_iter().all(|a| !allowed(Role::Viewer, *a)), "a viewer changes nothing");
    }

    #[test]
    fn names_of_people_are_plain() {
        for good in ["admin", "a", "jo.doe-2", "0x"] {
            assert!(is_person_name(good), "{good}");
        }
        for bad in ["", "Admin", "a b", "-a", ".a", "ä", "a/b", &"a".repeat(65)] {
            assert!(!is_person_name(bad), "{bad}");
        }
    }
}
