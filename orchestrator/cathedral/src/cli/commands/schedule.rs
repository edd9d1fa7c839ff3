//! `schedule`: what runs by itself, and when.

use cathedral_engine::schedule::{first_due, in_words, next_due, upcoming};
use cathedral_model::ids::RunId;
use cathedral_model::run::{Priority, Request};
use cathedral_model::schedule::{Pause, ScheduleState};
use cathedral_model::time::Timestamp;
use hyper::Method;
use serde_json::{Value, json};

use super::super::args::{Global, ScheduleCommand};
use super::super::output::{Tint, safe};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{HubEnv, Site};
use crate::remote::Remote;
use crate::serve::{schedules, zones};

pub async fn run(what: Option<ScheduleCommand>, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    match what.unwrap_or(ScheduleCommand::List) {
        ScheduleCommand::List => list(&site, output).await,
        ScheduleCommand::Next { within } => next(&site, within.map_or(86_400_000, |d| d.0), output).await,
        ScheduleCommand::Pause { name, reason, until } => {
            let until = until.map(|d| HubEnv::clock().plus_ms(d.0));
            pause(&site, &name, Some((reason, until)), global, output).await
        }
        ScheduleCommand::Resume { name } => pause(&site, &name, None, global, output).await,
        ScheduleCommand::Run { name } => start(&site, &name, global, output).await,
    }
}

/// What is declared, with what the table remembers of it. Works without a running hub.
async fn states(site: &Site) -> Result<Vec<ScheduleState>, Failure> {
    let kept = match site.stores().await? {
        Some(stores) => stores.schedules.schedules().await?,
        None => vec![],
    };
    let now = HubEnv::clock();
    let fresh = |schedule: cathedral_model::schedule::Schedule| ScheduleState {
        next_due: first_due(&schedule.rule, now, &zones).ok().flatten(),
        schedule,
        last_due: None,
        last_fired_at: None,
        last_run: None,
        missed: 0,
        pause: None,
    };
    let state = |schedule: cathedral_model::schedule::Schedule| {
        let found = kept.iter().find(|s| s.schedule.name == schedule.name && s.schedule.rule == schedule.rule);
        found.cloned().unwrap_or_else(|| fresh(schedule))
    };
    Ok(schedules(site).into_iter().map(state).collect())
}

async fn list(site: &Site, output: &Output) -> Ended {
    let states = states(site).await?;
    let serves = Remote::local(site).await.is_some();
    let shown: Vec<Value> = states.iter().map(show).collect();
    output.data("schedules", &json!({ "schedules": shown, "served": serves }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    if states.is_empty() {
        output.say("nothing is scheduled: spokes without update_frequency are watched in real time");
        return Ok(0);
    }
    let mut table = Table::new(&["SCHEDULE", "WHEN", "NEXT", "LAST", "NOTE"]);
    for state in &states {
        let note = match &state.pause {
            Some(pause) => format!("{} paused: {}", output.symbol("▮", "||"), pause.reason),
            None if state.missed > 0 => format!("{} left out", state.missed),
            None => String::new(),
        };
        table.row(vec![
            safe(&state.schedule.name),
            safe(&in_words(&state.schedule.rule)),
            state.next_due.map_or("never".into(), when::local),
            state.last_run.map_or("-".into(), |run| format!("run {run}")),
            safe(&note),
        ]);
    }
    table.print(output);
    if !serves {
        output.note(output.paint(Tint::Warn, "no hub serves this folder: nothing runs by itself. next: cathedral up"));
    }
    Ok(0)
}

fn show(state: &ScheduleState) -> Value {
    let at = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
    json!({
        "name": state.schedule.name, "title": state.schedule.title, "rule": state.schedule.rule,
        "in_words": in_words(&state.schedule.rule), "next_due": at(state.next_due), "last_due": at(state.last_due),
        "last_run": state.last_run, "missed": state.missed,
        "pause": state.pause.as_ref().map(|p| json!({ "since": at(Some(p.since)), "until": at(p.until), "reason": p.reason, "actor": p.actor })),
    })
}

async fn next(site: &Site, within_ms: u64, output: &Output) -> Ended {
    let now = HubEnv::clock();
    let until = now.plus_ms(within_ms);
    let mut due: Vec<(Timestamp, String)> = vec![];
    for state in states(site).await?.into_iter().filter(|s| s.pause.is_none()) {
        let Some(first) = state.next_due.filter(|at| *at <= until) else { continue };
        due.push((first, state.schedule.name.clone()));
        let more = upcoming(&state.schedule.rule, first, until, 500, &zones).unwrap_or_default();
        due.extend(more.into_iter().map(|at| (at, state.schedule.name.clone())));
    }
    due.sort();
    let shown: Vec<Value> = due.iter().map(|(at, name)| json!({ "at": at.to_rfc3339(), "schedule": name })).collect();
    output.data("schedule-next", &json!({ "due": shown }), &[]);
    if !output.is_machine() && due.is_empty() {
        output.say("nothing is due in that time");
    }
    for (at, name) in &due {
        output.say(format!("{}  {}", when::local(*at), safe(name)));
    }
    Ok(0)
}

fn known<'a>(states: &'a [ScheduleState], name: &str) -> Result<&'a ScheduleState, Failure> {
    let names: Vec<String> = states.iter().map(|s| s.schedule.name.clone()).collect();
    let found = states.iter().find(|s| s.schedule.name == name);
    found.ok_or_else(|| Failure::unknown("schedule", name, &names))
}

async fn pause(
    site: &Site,
    name: &str,
    rest: Option<(String, Option<Timestamp>)>,
    global: &Global,
    output: &Output,
) -> Ended {
    let states = states(site).await?;
    let state = known(&states, name)?;
    if let Some(remote) = Remote::local(site).await {
        let path = format!("/api/v1/schedules/{}", escaped(name));
        let data = match &rest {
            Some((reason, until)) => {
                let body = json!({ "reason": reason, "until": until.map(Timestamp::to_rfc3339) });
                remote.ask(Method::POST, &format!("{path}/pause"), Some(&body)).await?
            }
            None => remote.ask(Method::POST, &format!("{path}/resume"), Some(&json!({}))).await?,
        };
        output.data("schedule", &data, &[]);
    } else {
        let (hub, _bar) = super::hub(global, output).await?;
        let now = HubEnv::clock();
        let rows: Vec<_> = states.iter().map(|s| (s.schedule.clone(), s.next_due)).collect();
        hub.stores.schedules.declare(&rows, now).await?;
        let pause = rest.as_ref().map(|(reason, until)| Pause {
            since: now,
            until: *until,
            reason: reason.clone(),
            actor: super::super::actor(),
        });
        let due = next_due(&state.schedule.rule, now, &zones).ok().flatten();
        let after = hub.stores.schedules.pause(name, pause.as_ref(), due, now).await?;
        output.data("schedule", &show(&after), &[]);
    }
    output.note(match rest {
        Some((_, Some(until))) => format!("{} rests until {}", safe(name), when::local(until)),
        Some((_, None)) => format!("{} rests; cathedral schedule resume {}", safe(name), safe(name)),
        None => format!("{} runs again", safe(name)),
    });
    Ok(0)
}

async fn start(site: &Site, name: &str, global: &Global, output: &Output) -> Ended {
    let states = states(site).await?;
    let state = known(&states, name)?;
    if let Some(remote) = Remote::local(site).await {
        let path = format!("/api/v1/schedules/{}/run", escaped(name));
        let data = remote.ask(Method::POST, &path, Some(&json!({}))).await?;
        output.data("schedule-run", &data, &[]);
        let run = data.get("run").and_then(Value::as_i64).unwrap_or_default();
        output.note(format!("filed as run {run}: cathedral run show {run}"));
        return Ok(0);
    }
    let (hub, bar) = super::hub(global, output).await?;
    let cause = format!("{name} now, asked on the command line");
    let request = Request { priority: Priority::Manual, cause, work: state.schedule.request.work.clone() };
    let run: RunId = hub.engine.submit(&request).await?.run();
    let summary = hub.work_until(run).await?;
    bar.finish();
    output.data("schedule-run", &json!({ "run": run, "summary": summary }), &[]);
    let told = if summary.note.is_empty() { summary.error.clone().unwrap_or_default() } else { summary.note.clone() };
    output.note(format!("run {run}: {}   {}", if summary.code == 0 { "done" } else { "failed" }, safe(&told)));
    Ok(summary.code)
}

/// A name as one part of a path.
pub fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
