//! `/settings/access`: who may come in, and with what.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use cathedral_model::access::{Action, Person, Role, is_person_name};
use serde_json::{Value, json};

use super::act::{Fields, field};
use super::part::{self, Html};
use super::{Frame, html};
use crate::api::access::seal;
use crate::auth::{Identity, Who, token, welcome};
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;

pub(crate) fn routes(routes: Routes) -> Routes {
    let manage = Access::Needs(Action::ManageAccess);
    routes
        .get("/settings/access", manage, show)
        .post("/settings/tokens", manage, new_token)
        .post("/settings/tokens/{token}/revoke", manage, revoke)
        .post("/settings/people", manage, new_person)
        .post("/settings/people/{person}", manage, change)
        .post("/settings/people/{person}/invite", manage, invite)
}

#[derive(Template)]
#[template(path = "pages/access.html")]
struct Page {
    frame: Frame,
    /// Shown once, after it was made: a token or a link.
    secret: String,
    secret_words: String,
    people: Vec<PersonRow>,
    tokens: Vec<TokenRow>,
    roles: Vec<&'static str>,
}

struct PersonRow {
    name: String,
    role: &'static str,
    state: Html,
    since: Html,
    is_self: bool,
    disabled: bool,
}

struct TokenRow {
    id: String,
    label: Html,
    scope: &'static str,
    by: Html,
    made: Html,
    used: Html,
    ends: Html,
    state: Html,
    is_live: bool,
}

async fn page(state: &Shared, who: &Identity, secret: String, secret_words: String) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let people = state.ports.accounts.people().await?;
    let tokens = state.ports.accounts.tokens().await?;
    let never = || askama::filters::Safe("never".to_owned());
    let page = Page {
        frame: Frame::of(state, Some(who), "settings")
            .with(&view)
            .at(&[("Settings", "/settings")], "People and tokens")
            .api("/api/v1/tokens"),
        secret,
        secret_words,
        people: people
            .iter()
            .map(|p| PersonRow {
                name: p.name.clone(),
                role: p.role.as_str(),
                state: match (p.disabled, &p.password) {
                    (true, _) => part::mark("idle", "Disabled"),
                    (false, None) => part::mark("warn", "Has not set a password yet"),
                    (false, Some(_)) => part::mark("ok", "Can sign in"),
                },
                since: part::clock(now, p.created_at),
                is_self: p.name == who.name,
                disabled: p.disabled,
            })
            .collect(),
        tokens: tokens
            .iter()
            .take(200)
            .map(|t| {
                let is_over = t.expires_at.is_some_and(|at| at <= now);
                TokenRow {
                    id: t.id.clone(),
                    label: part::name(&t.label),
                    scope: t.scope.as_str(),
                    by: part::name(&t.created_by),
                    made: part::clock(now, t.created_at),
                    used: t.used_at.map_or_else(never, |at| part::ago(now, at)),
                    ends: t.expires_at.map_or_else(never, |at| part::clock(now, at)),
                    state: if t.revoked_at.is_some() {
                        part::mark("idle", "Revoked")
                    } else if is_over {
                        part::mark("idle", "Expired")
                    } else {
                        part::mark("ok", "Valid")
                    },
                    is_live: t.revoked_at.is_none() && !is_over,
                }
            })
            .collect(),
        roles: Role::ALL.iter().map(|r| r.as_str()).collect(),
    };
    Ok(html(&page))
}

async fn show(State(state): State<Shared>, Who(who): Who) -> Result<Response, Problem> {
    page(&state, &who, String::new(), String::new()).await
}

fn role(fields: &Fields, name: &str) -> Result<Role, Problem> {
    Role::parse(field(fields, name)).ok_or_else(|| Problem::bad_request("role", "that is no role"))
}

async fn new_token(
    State(state): State<Shared>,
    Who(who): Who,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    who.require_fresh(&state)?;
    let label = field(&fields, "label").trim();
    if label.is_empty() || label.chars().count() > 100 || label.chars().any(char::is_control) {
        return Err(Problem::bad_request("label", "a label is one line of at most 100 characters"));
    }
    let scope = role(&fields, "scope")?;
    let expires = match field(&fields, "days") {
        "" => None,
        days => {
            let days: u64 =
                days.parse().map_err(|_| Problem::bad_request("days", "for how long is a number of days"))?;
            Some(state.now().plus_ms(days.clamp(1, 3_650) * 86_400_000))
        }
    };
    let entropy = |into: &mut [u8]| state.env.entropy(into);
    let (text, token) = token::mint(scope, label, &who.name, expires, state.now(), &entropy);
    seal(&state, &who, "token.new", &token.id, json!({ "scope": scope, "label": label })).await?;
    state.ports.accounts.add_token(&token).await?;
    page(&state, &who, text, format!("Token {} ({}). It is shown this once: copy it now.", token.id, scope.as_str()))
        .await
}

async fn revoke(State(state): State<Shared>, Who(who): Who, Path(id): Path<String>) -> Result<Response, Problem> {
    let token = state.ports.accounts.revoke_token(&id, state.now()).await?;
    state.access_changed();
    seal(&state, &who, "token.revoke", &token.id, Value::Null).await?;
    Ok(see("/settings/access"))
}

async fn link(state: &Shared, person: &str) -> Result<String, Problem> {
    let path = welcome::invite(state.ports.accounts.as_ref(), state.env.as_ref(), person).await?;
    Ok(format!("{}{path}", state.hub.public_url().unwrap_or_default()))
}

async fn new_person(
    State(state): State<Shared>,
    Who(who): Who,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    who.require_fresh(&state)?;
    let name = field(&fields, "name").trim().to_lowercase();
    if !is_person_name(&name) {
        return Err(Problem::bad_request("name", "a name is 1 to 64 of a-z 0-9 . _ -"));
    }
    if state.ports.accounts.person(&name).await?.is_some() {
        return Err(Problem::conflict("exists", format!("{name} is there already")));
    }
    let now = state.now();
    let person = Person { name, role: role(&fields, "role")?, password: None, created_at: now, disabled: false };
    seal(&state, &who, "person.new", &person.name, json!({ "role": person.role })).await?;
    state.ports.accounts.put_person(&person, now).await?;
    let link = link(&state, &person.name).await?;
    page(
        &state,
        &who,
        link,
        format!("The link with which {} sets a password. It works once: hand it over now.", person.name),
    )
    .await
}

async fn known(state: &Shared, name: &str) -> Result<Person, Problem> {
    state.ports.accounts.person(name).await?.ok_or_else(|| Problem::not_found("there is no such person"))
}

async fn change(
    State(state): State<Shared>,
    Who(who): Who,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    who.require_fresh(&state)?;
    let mut person = known(&state, &name).await?;
    if person.name == who.name {
        return Err(Problem::conflict("own_rights", "nobody changes their own rights").hint("another admin can"));
    }
    person.role = role(&fields, "role")?;
    person.disabled = field(&fields, "disabled") == "yes";
    state.ports.accounts.put_person(&person, state.now()).await?;
    state.access_changed();
    seal(&state, &who, "person.change", &person.name, json!({ "role": person.role, "disabled": person.disabled }))
        .await?;
    Ok(see("/settings/access"))
}

async fn invite(State(state): State<Shared>, Who(who): Who, Path(name): Path<String>) -> Result<Response, Problem> {
    who.require_fresh(&state)?;
    let person = known(&state, &name).await?;
    seal(&state, &who, "person.invite", &person.name, Value::Null).await?;
    let link = link(&state, &person.name).await?;
    page(&state, &who, link, format!("A new link for {}. It works once: hand it over now.", person.name)).await
}
