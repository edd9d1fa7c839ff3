//! `hook`: webhooks, in and out.

use cathedral_model::event::Message;
use cathedral_model::notice::PING;
use cathedral_model::ports::Env as _;
use cathedral_model::ports::outgoing::{Attempted, Outgoing};
use cathedral_web::notify::sender::TAKEN_MS;
use hyper::Method;
use serde_json::{Value, json};

use super::super::args::{Global, HookCommand};
use super::super::output::safe;
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{HubEnv, Site};
use crate::remote::{Remote, base_url};
use crate::serve::sender;

/// Webhooks in and out.
pub async fn run(what: HookCommand, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    match what {
        HookCommand::ReceiveUrl => {
            let url = format!("{}/hooks/github", base_url(&site).await);
            let declared = site.config.cathedral_ecosystem.incoming_webhooks.github.is_some();
            let has_secret = !site.github_secrets().is_empty();
            output.data("hook-receive-url", &json!({ "github": url, "has_secret": has_secret }), &[]);
            output.say(&url);
            if has_secret && !declared {
                let file = crate::hub::shown(&site.state.join(crate::hub::GITHUB_SECRET));
                output.aside(format!("content type application/json; the secret is in {file}"));
            } else if has_secret {
                output.aside("content type application/json; the secret is in the file that incoming_webhooks names");
            } else {
                output.warn(
                    "no secret is configured, so every delivery is refused: add incoming_webhooks.github.secrets",
                );
            }
            Ok(0)
        }
        HookCommand::List => list(&site, output).await,
        HookCommand::Sent { limit } => sent(&site, limit, output).await,
        HookCommand::Retry { number } => retry(&site, number, output).await,
        HookCommand::Test { name } => test(&site, &name, output).await,
        HookCommand::Received { limit } => {
            let rows = match site.stores().await? {
                Some(stores) => stores.intake.deliveries(None, limit).await?,
                None => vec![],
            };
            let shown: Vec<Value> = rows
                .iter()
                .map(|row| {
                    json!({
                        "number": row.number, "source": row.delivery.source, "id": row.delivery.id,
                        "event": row.delivery.event, "received_at": row.received_at.to_rfc3339(), "outcome": row.outcome,
                    })
                })
                .collect();
            output.data("hook-received", &json!({ "deliveries": shown }), &[]);
            let mut table = Table::new(&["NO", "WHEN", "FROM", "EVENT", "OUTCOME"]);
            let now = HubEnv::clock();
            for row in &rows {
                let outcome = match &row.outcome {
                    None => "waits".to_owned(),
                    Some(cathedral_model::intake::Outcome::Runs { runs }) => {
                        let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
                        format!("run {}", runs.join(", "))
                    }
                    Some(cathedral_model::intake::Outcome::Echo) => "our own change".into(),
                    Some(cathedral_model::intake::Outcome::NoSpoke) => "no spoke has this repository".into(),
                    Some(cathedral_model::intake::Outcome::NothingToDo) => "nothing to do".into(),
                };
                table.row(vec![
                    row.number.to_string(),
                    when::ago(row.received_at, now),
                    safe(&row.delivery.source),
                    safe(&row.delivery.event),
                    outcome,
                ]);
            }
            if !output.is_machine() {
                if table.is_empty() {
                    output.say("nothing has come in yet; cathedral hook receive-url");
                } else {
                    table.print(output);
                }
            }
            Ok(0)
        }
    }
}

async fn list(site: &Site, output: &Output) -> Ended {
    let declared = site.config.cathedral_ecosystem.endpoints();
    let standings = match site.stores().await? {
        Some(stores) => stores.outgoing.standings().await?,
        None => vec![],
    };
    let state = |name: &str| match standings.iter().find(|s| s.endpoint == name) {
        None => ("untried", None, None),
        Some(s) if s.is_gone() => ("gone", s.failing_since, Some(s.last.clone())),
        Some(s) if s.failing_since.is_some() => ("failing", s.failing_since, Some(s.last.clone())),
        Some(s) => ("well", None, Some(s.last.clone())),
    };
    let mut table = Table::new(&["NAME", "KIND", "STATE", "LAST ANSWER", "TO", "EVENTS"]);
    let mut shown = vec![];
    for endpoint in &declared {
        let (state, since, last) = state(&endpoint.name);
        let events: Vec<String> = endpoint.events.iter().map(ToString::to_string).collect();
        shown.push(json!({
            "name": endpoint.name, "kind": endpoint.kind, "url": endpoint.url, "events": events, "state": state,
            "failing_since": since.map(cathedral_model::time::Timestamp::to_rfc3339), "last": last,
        }));
        table.row(vec![
            safe(&endpoint.name),
            endpoint.kind.to_string(),
            state.to_owned(),
            safe(&last.unwrap_or_default()),
            safe(endpoint.url.shown()),
            if events.is_empty() { "all".to_owned() } else { events.join(", ") },
        ]);
    }
    output.data("hook-endpoints", &json!({ "endpoints": shown }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    if table.is_empty() {
        output.say("nobody is told; cathedral config explain notifications");
    } else {
        table.print(output);
    }
    Ok(0)
}

fn word(row: &Outgoing) -> &'static str {
    match row.state {
        Attempted::Waiting if row.attempts > 0 => "tried",
        Attempted::Waiting => "waits",
        Attempted::Delivered => "delivered",
        Attempted::GivenUp => "given up",
    }
}

fn shown(row: &Outgoing) -> Value {
    json!({
        "number": row.number, "topic": row.message.topic, "endpoint": row.endpoint, "state": row.state,
        "attempts": row.attempts, "filed_at": row.filed_at.to_rfc3339(),
        "due_at": (row.state == Attempted::Waiting).then(|| row.due_at.to_rfc3339()), "last": row.last,
    })
}

async fn sent(site: &Site, limit: u32, output: &Output) -> Ended {
    let rows = match site.stores().await? {
        Some(stores) => stores.outgoing.outgoing(None, limit).await?,
        None => vec![],
    };
    let all: Vec<Value> = rows.iter().map(shown).collect();
    output.data("hook-sent", &json!({ "deliveries": all }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    if rows.is_empty() {
        output.say("nothing has been sent; cathedral hook list");
        return Ok(0);
    }
    let now = HubEnv::clock();
    let mut table = Table::new(&["NO", "FILED", "MESSAGE", "TO", "STATE", "TRIES", "LAST ANSWER"]);
    for row in &rows {
        table.row(vec![
            row.number.to_string(),
            when::ago(row.filed_at, now),
            safe(&row.message.topic),
            safe(&row.endpoint),
            word(row).to_owned(),
            row.attempts.to_string(),
            safe(&row.last),
        ]);
    }
    table.print(output);
    if let Some(given_up) = rows.iter().find(|row| row.state == Attempted::GivenUp) {
        output.note(format!("next: cathedral hook retry {}", given_up.number));
    }
    Ok(0)
}

async fn retry(site: &Site, number: i64, output: &Output) -> Ended {
    let missing = || {
        Failure::new(4, "C1404", format!("there is no outgoing delivery {number}"))
            .why("deliveries are numbered from 1 in the order in which they were filed")
            .next("cathedral hook sent")
    };
    let Some(stores) = site.stores().await? else { return Err(missing()) };
    if stores.outgoing.outgoing(number.checked_add(1), 1).await?.first().is_none_or(|row| row.number != number) {
        return Err(missing());
    }
    if let Some(remote) = Remote::local(site).await {
        remote.ask(Method::POST, &format!("/api/v1/deliveries/{number}/retry"), Some(&json!({}))).await?;
        let row = stores.outgoing.outgoing(number.checked_add(1), 1).await?.pop().ok_or_else(missing)?;
        output.data("hook-delivery", &shown(&row), &[]);
        output
            .note(format!("delivery {number} is sent by the running hub; cathedral hook sent shows what comes of it"));
        return Ok(0);
    }
    let row = stores.outgoing.retry(number, HubEnv::clock()).await?;
    deliver(site, &stores, row, output).await
}

async fn test(site: &Site, name: &str, output: &Output) -> Ended {
    let setup = site.notifications();
    if setup.endpoint(name).is_none() {
        let known: Vec<String> = setup.endpoints.iter().map(|e| e.name.clone()).collect();
        if known.is_empty() {
            return Err(Failure::new(4, "C1404", "the configuration names nobody to be told")
                .why("notifications is empty")
                .next("cathedral config explain notifications"));
        }
        return Err(Failure::unknown("endpoint", name, &known));
    }
    let stores = match site.stores().await? {
        Some(stores) => stores,
        None => {
            return Err(Failure::new(4, "C1404", "there is no state yet to file a message in")
                .why("nothing has been synced here")
                .next("cathedral sync"));
        }
    };
    let mut random = [0; 12];
    HubEnv.entropy(&mut random);
    let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let payload = json!({ "by": "command line" });
    let message = Message { key: format!("{PING}:{id}"), topic: PING.to_owned(), payload };
    let now = HubEnv::clock();
    // Tried here; the hub beside takes it over only if this process dies.
    let row = stores.outgoing.file(&message, name, now.plus_ms(TAKEN_MS), now).await?;
    deliver(site, &stores, row, output).await
}

/// Sends one delivery from this process, and says what came of it.
async fn deliver(site: &Site, stores: &crate::hub::Stores, row: Outgoing, output: &Output) -> Ended {
    let setup = site.notifications();
    let Some(to) = setup.endpoint(&row.endpoint) else {
        let last = "not sent: the configuration names no such endpoint";
        stores.outgoing.tried(row.number, false, last, None, HubEnv::clock()).await?;
        return Err(Failure::new(4, "C1404", format!("{} is not an endpoint any more", safe(&row.endpoint)))
            .why("the delivery was filed under a configuration that named it")
            .next("cathedral hook list"));
    };
    let tried = sender(&stores.outgoing).deliver(&setup, to, &row, false).await?;
    let row = stores.outgoing.outgoing(row.number.checked_add(1), 1).await?.pop().unwrap_or(row);
    if row.state == Attempted::Delivered {
        output.data("hook-delivery", &shown(&row), &[]);
        output.say(format!("{} took delivery {}: {}", safe(&row.endpoint), row.number, safe(&tried.last)));
        return Ok(0);
    }
    let again = match row.state {
        Attempted::Waiting => {
            format!("it is tried again in {}", when::long(row.due_at.ms_since(HubEnv::clock()).div_ceil(1_000)))
        }
        _ => "it is not tried again by itself".to_owned(),
    };
    Err(Failure::new(
        6,
        "C1601",
        format!("{} did not take delivery {}: {}", safe(&row.endpoint), row.number, safe(&tried.last)),
    )
    .why(again)
    .next(format!("cathedral hook retry {}", row.number))
    .next("cathedral hook sent"))
}
