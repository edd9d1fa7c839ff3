//! `token`: how programs come in.

use cathedral_model::access::{Role, Token};
use cathedral_model::ports::Env as _;
use cathedral_model::ports::ledger::NewLeaf;
use cathedral_model::time::Timestamp;
use cathedral_web::auth::token::mint;
use hyper::Method;
use serde_json::{Value, json};

use super::super::args::{Global, TokenCommand};
use super::super::output::safe;
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{Hub, HubEnv};
use crate::remote::{Remote, base_url};

pub async fn run(what: TokenCommand, global: &Global, output: &Output) -> Ended {
    match what {
        TokenCommand::New { scope, label, expires } => {
            let scope = Role::parse(&scope).ok_or_else(|| {
                Failure::new(2, "C1201", format!("{} is no scope", safe(&scope)))
                    .why("a token may do what one of these roles may: viewer, operator, admin")
                    .next("cathedral token new --scope viewer")
            })?;
            new(scope, &label, expires.map(|d| HubEnv::clock().plus_ms(d.0)), global, output).await
        }
        TokenCommand::List => list(global, output).await,
        TokenCommand::Revoke { id } => revoke(&id, global, output).await,
    }
}

async fn new(scope: Role, label: &str, expires: Option<Timestamp>, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let (text, id) = match Remote::local(&site).await {
        Some(remote) => {
            let body = json!({ "scope": scope, "label": label, "expires_at": expires.map(Timestamp::to_rfc3339) });
            let data = remote.ask(Method::POST, "/api/v1/tokens", Some(&body)).await?;
            let text = data.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
            let id = data.pointer("/shown_once/id").and_then(Value::as_str).unwrap_or_default().to_owned();
            (text, id)
        }
        None => {
            let (hub, _bar) = super::hub(global, output).await?;
            let now = HubEnv::clock();
            let entropy = |into: &mut [u8]| HubEnv.entropy(into);
            let (text, token) = mint(scope, label, "command line", expires, now, &entropy);
            seal(&hub, "token.new", &token.id, json!({ "scope": scope, "label": label })).await?;
            hub.stores.accounts.add_token(&token).await?;
            (text, token.id)
        }
    };
    output.data(
        "token",
        &json!({ "id": id, "scope": scope, "token": text, "expires_at": expires.map(Timestamp::to_rfc3339) }),
        &[],
    );
    output.say(&text);
    output.aside(format!("token {} may do what {} may; it is shown only now", safe(&id), scope.as_str()));
    output.aside(format!("curl -H \"authorization: Bearer $TOKEN\" {}/api/v1/status", base_url(&site).await));
    Ok(0)
}

/// Administrative acts leave a leaf before they are done.
async fn seal(hub: &Hub, act: &str, subject: &str, more: Value) -> Result<(), Failure> {
    let leaf = NewLeaf::act(act, "command line", subject, more, HubEnv::clock());
    hub.engine.ports().ledger.append(&leaf).await?;
    Ok(())
}

async fn list(global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let tokens = match site.stores().await? {
        Some(stores) => stores.accounts.tokens().await?,
        None => vec![],
    };
    let now = HubEnv::clock();
    let shown: Vec<Value> = tokens.iter().map(|t| show(t, now)).collect();
    output.data("tokens", &json!({ "tokens": shown }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    if tokens.is_empty() {
        output.say("there are no tokens; cathedral token new --scope viewer --label NAME");
        return Ok(0);
    }
    let mut table = Table::new(&["ID", "SCOPE", "STATE", "MADE", "USED", "LABEL"]);
    for token in &tokens {
        table.row(vec![
            token.id.clone(),
            token.scope.as_str().into(),
            state(token, now).into(),
            when::ago(token.created_at, now),
            token.used_at.map_or("never".into(), |at| when::ago(at, now)),
            safe(&token.label),
        ]);
    }
    table.print(output);
    Ok(0)
}

fn state(token: &Token, now: Timestamp) -> &'static str {
    match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        _ => "live",
    }
}

fn show(token: &Token, now: Timestamp) -> Value {
    let at = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
    json!({
        "id": token.id, "scope": token.scope, "state": state(token, now), "label": token.label,
        "created_by": token.created_by, "created_at": at(Some(token.created_at)),
        "expires_at": at(token.expires_at), "used_at": at(token.used_at), "revoked_at": at(token.revoked_at),
    })
}

async fn revoke(id: &str, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    match Remote::local(&site).await {
        Some(remote) => {
            let path = format!("/api/v1/tokens/{}/revoke", super::schedule::escaped(id));
            output.data("token", &remote.ask(Method::POST, &path, Some(&json!({}))).await?, &[]);
        }
        None => {
            let (hub, _bar) = super::hub(global, output).await?;
            let now = HubEnv::clock();
            let token = hub.stores.accounts.revoke_token(id, now).await.map_err(|error| {
                let failure = Failure::from(error);
                if failure.id == "C1404" { failure.next("cathedral token list    shows the ids") } else { failure }
            })?;
            seal(&hub, "token.revoke", &token.id, Value::Null).await?;
            output.data("token", &show(&token, now), &[]);
        }
    }
    output.note(format!("token {} is revoked", safe(id)));
    Ok(0)
}
