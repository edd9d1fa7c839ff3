//! Tokens and people.

use axum::extract::{Path, State};
use axum::http::Method;
use cathedral_model::access::{Action, Person, Role, is_person_name};
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_model::time::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::doc::Doc;
use super::runs::line;
use super::{Answer, Json, answer, show};
use crate::auth::{Identity, Who, token, welcome};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::{Shared, State as Hub};

pub(super) fn routes(routes: Routes) -> Routes {
    let manage = Access::Needs(Action::ManageAccess);
    let new_token =
        Doc::new("Makes a token; its text is in this answer and nowhere else").body::<NewToken>().status(201);
    let new_person = Doc::new("Adds a person, with a one-time link").body::<NewPerson>().status(201);
    let change = Doc::new("Changes role or rights of a person").body::<Change>();
    routes
        .add(Method::GET, "/api/v1/tokens", manage, Some(Doc::new("Lists tokens")), tokens)
        .add(Method::POST, "/api/v1/tokens", manage, Some(new_token), create_token)
        .add(Method::POST, "/api/v1/tokens/{token}/revoke", manage, Some(Doc::new("Revokes a token")), revoke)
        .add(Method::GET, "/api/v1/people", manage, Some(Doc::new("Lists people")), people)
        .add(Method::POST, "/api/v1/people", manage, Some(new_person), create_person)
        .add(Method::POST, "/api/v1/people/{person}", manage, Some(change), change_person)
        .add(
            Method::POST,
            "/api/v1/people/{person}/invite",
            manage,
            Some(Doc::new("Makes a new one-time link").status(201)),
            invite,
        )
        .add(Method::GET, "/api/v1/me", Access::SignedIn, Some(Doc::new("Who asks, and what they may")), me)
}

/// Administrative acts leave a leaf, before they are answered.
pub(crate) async fn seal(state: &Hub, who: &Identity, act: &str, subject: &str, more: Value) -> Result<(), Problem> {
    let leaf = NewLeaf::act(act, &who.name, subject, more, state.now());
    state.ledger().append(&leaf).await?;
    state.bell.ring();
    Ok(())
}

async fn me(State(state): State<Shared>, Who(who): Who) -> Answer {
    let may: Vec<Action> = Action::ALL.into_iter().filter(|action| who.may(*action)).collect();
    answer(&state, "me", json!({ "name": who.name, "role": who.role, "may": may }))
}

async fn tokens(State(state): State<Shared>) -> Result<Answer, Problem> {
    let tokens = state.ports.accounts.tokens().await?;
    Ok(answer(&state, "tokens", json!({ "tokens": tokens.iter().map(show::token).collect::<Vec<_>>() })))
}

/// A role, as asked for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    Viewer,
    Operator,
    Admin,
}

impl From<Word> for Role {
    fn from(word: Word) -> Self {
        match word {
            Word::Viewer => Self::Viewer,
            Word::Operator => Self::Operator,
            Word::Admin => Self::Admin,
        }
    }
}

/// What a token is for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    scope: Word,
    label: String,
    /// RFC 3339; none: until it is revoked.
    expires_at: Option<String>,
}

async fn create_token(
    State(state): State<Shared>,
    Who(who): Who,
    Json(wanted): Json<NewToken>,
) -> Result<Answer, Problem> {
    who.require_fresh(&state)?;
    let label = line("a label", &wanted.label, 100)?;
    let expires = wanted.expires_at.as_deref().map(Timestamp::parse_rfc3339).transpose();
    let expires = expires.map_err(|_| Problem::invalid("expires_at", "expires_at is no time in RFC 3339"))?;
    if expires.is_some_and(|expires| expires <= state.now()) {
        return Err(Problem::invalid("expires_at", "expires_at lies in the past"));
    }
    let scope = Role::from(wanted.scope);
    let entropy = |into: &mut [u8]| state.env.entropy(into);
    let (text, token) = token::mint(scope, &label, &who.name, expires, state.now(), &entropy);
    seal(&state, &who, "token.new", &token.id, json!({ "scope": scope, "label": label })).await?;
    state.ports.accounts.add_token(&token).await?;
    let data = json!({ "token": text, "shown_once": show::token(&token) });
    Ok(answer(&state, "token", data).created(format!("/api/v1/tokens/{}", token.id)))
}

async fn revoke(State(state): State<Shared>, Who(who): Who, Path(id): Path<String>) -> Result<Answer, Problem> {
    let token = state.ports.accounts.revoke_token(&id, state.now()).await?;
    state.access_changed();
    seal(&state, &who, "token.revoke", &token.id, Value::Null).await?;
    Ok(answer(&state, "token", show::token(&token)))
}

async fn people(State(state): State<Shared>) -> Result<Answer, Problem> {
    let people = state.ports.accounts.people().await?;
    Ok(answer(&state, "people", json!({ "people": people.iter().map(show::person).collect::<Vec<_>>() })))
}

/// Who is added.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPerson {
    /// 1 to 64 of `a-z 0-9 . _ -`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,63}$"))]
    name: String,
    role: Word,
}

async fn create_person(
    State(state): State<Shared>,
    Who(who): Who,
    Json(wanted): Json<NewPerson>,
) -> Result<Answer, Problem> {
    who.require_fresh(&state)?;
    if !is_person_name(&wanted.name) {
        return Err(Problem::bad_request("name", "a name is 1 to 64 of a-z 0-9 . _ -"));
    }
    if state.ports.accounts.person(&wanted.name).await?.is_some() {
        return Err(Problem::conflict("exists", format!("{} is there already", wanted.name)));
    }
    let now = state.now();
    let person =
        Person { name: wanted.name, role: wanted.role.into(), password: None, created_at: now, disabled: false };
    seal(&state, &who, "person.new", &person.name, json!({ "role": person.role })).await?;
    state.ports.accounts.put_person(&person, now).await?;
    let link = link(&state, &person.name).await?;
    let data = json!({ "person": show::person(&person), "link": link });
    Ok(answer(&state, "person", data).created(format!("/api/v1/people/{}", person.name)))
}

/// A one-time link with the hub's address, where it knows one.
async fn link(state: &Hub, person: &str) -> Result<String, Problem> {
    let path = welcome::invite(state.ports.accounts.as_ref(), state.env.as_ref(), person).await?;
    Ok(format!("{}{path}", state.hub.public_url().unwrap_or_default()))
}

/// What changes of a person.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    role: Option<Word>,
    disabled: Option<bool>,
}

async fn known(state: &Hub, name: &str) -> Result<Person, Problem> {
    let found = state.ports.accounts.person(name).await?;
    found.ok_or_else(|| Problem::not_found("there is no such person"))
}

async fn change_person(
    State(state): State<Shared>,
    Who(who): Who,
    Path(name): Path<String>,
    Json(wanted): Json<Change>,
) -> Result<Answer, Problem> {
    who.require_fresh(&state)?;
    let mut person = known(&state, &name).await?;
    if person.name == who.name {
        return Err(Problem::conflict("own_rights", "nobody changes their own rights").hint("another admin can"));
    }
    person.role = wanted.role.map_or(person.role, Role::from);
    person.disabled = wanted.disabled.unwrap_or(person.disabled);
    state.ports.accounts.put_person(&person, state.now()).await?;
    state.access_changed();
    seal(&state, &who, "person.change", &person.name, json!({ "role": person.role, "disabled": person.disabled }))
        .await?;
    Ok(answer(&state, "person", json!({ "person": show::person(&person) })))
}

async fn invite(State(state): State<Shared>, Who(who): Who, Path(name): Path<String>) -> Result<Answer, Problem> {
    who.require_fresh(&state)?;
    let person = known(&state, &name).await?;
    seal(&state, &who, "person.invite", &person.name, Value::Null).await?;
    let link = link(&state, &person.name).await?;
    let data = json!({ "person": show::person(&person), "link": link });
    Ok(answer(&state, "person", data).created(format!("/api/v1/people/{}", person.name)))
}
