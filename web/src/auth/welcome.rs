//! One-time links: the first sign-in of a person, and a new password for one who lost it.

use cathedral_model::access::{Invitation, Person, Role};
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Accounts, Env, PortError};

use super::token::base62;

/// How long a link works.
const HOURS: u64 = 24;

/// Files a one-time link for a person and returns its path, `/welcome/…`: shown once.
pub async fn invite(accounts: &dyn Accounts, env: &dyn Env, person: &str) -> Result<String, PortError> {
    let secret = base62::<43>(&|into| env.entropy(into));
    let now = env.now();
    let invitation = Invitation {
        secret: Digest::of(secret.as_bytes()),
        person: person.to_owned(),
        expires_at: now.plus_ms(HOURS * 3_600_000),
    };
    accounts.invite(&invitation, now).await?;
    Ok(format!("/welcome/{secret}"))
}

/// Makes the local administrator `admin` where nobody has ever signed in, with a one-time link; none when
/// somebody can sign in. Called at every start: until the link is used, each start prints a new one.
pub async fn first_admin(accounts: &dyn Accounts, env: &dyn Env) -> Result<Option<String>, PortError> {
    let people = accounts.people().await?;
    if people.iter().any(|person| person.role == Role::Admin && person.password.is_some() && !person.disabled) {
        return Ok(None);
    }
    let waiting = people.into_iter().find(|person| person.role == Role::Admin && !person.disabled);
    let name = match waiting {
        Some(person) => person.name,
        None => {
            let now = env.now();
            let name = "admin".to_owned();
            let admin = Person { name, role: Role::Admin, password: None, created_at: now, disabled: false };
            accounts.put_person(&admin, now).await?;
            admin.name
        }
    };
    invite(accounts, env, &name).await.map(Some)
}
