//! Schedules: each due time is acted on once, whatever the number of hubs.
//!
//! Two things keep that: a fire must name the due time that stands in the table, and its id (schedule
//! and due time) is kept, so that a due time that comes back, as after a change of the rule, files nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::RunId;
use cathedral_model::notice::SCHEDULE_MISSED;
use cathedral_model::ports::schedules::{Fired, Schedules};
use cathedral_model::ports::store::Enqueued;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::schedule::{Fire, Pause, Schedule, ScheduleState};
use cathedral_model::time::Timestamp;
use serde_json::json;

use crate::conn::{Conn, Row, to_json, values};
use crate::statement::statements;
use crate::store::SqlStore;
use crate::{event, queue};

/// So many fires are kept of each schedule, the newest.
const KEPT_FIRES: i64 = 100;

statements! {
    SELECT_SCHEDULES = "
        select body, next_due, last_due, last_fired_at, last_run, missed, pause
        from schedule
        order by name";
    SELECT_SCHEDULE = "
        select body, next_due, last_due, last_fired_at, last_run, missed, pause
        from schedule
        where name = $1";
    UPSERT_SCHEDULE = "
        insert into schedule (name, body, next_due, last_due, last_fired_at, last_run, missed, pause)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (name) do update
        set body = excluded.body,
            next_due = excluded.next_due,
            last_due = excluded.last_due,
            last_fired_at = excluded.last_fired_at,
            last_run = excluded.last_run,
            missed = excluded.missed,
            pause = excluded.pause";
    DELETE_SCHEDULE = "delete from schedule where name = $1";
    INSERT_FIRE = "
        insert into schedule_fire (id, schedule, due, fired_at, run)
        values ($1, $2, $3, $4, null)
        on conflict (id) do nothing";
    UPDATE_FIRE = "update schedule_fire set run = $2 where id = $1";
    DELETE_OLD_FIRES = "
        delete from schedule_fire
        where schedule = $1 and due <= (
            select due from schedule_fire where schedule = $1 order by due desc limit 1 offset $2)";
}

async fn list(conn: &mut Conn) -> Result<Vec<ScheduleState>, PortError> {
    let mut states: Vec<_> =
        conn.all(SELECT_SCHEDULES, values![]).await?.iter().map(state).collect::<Result<_, _>>()?;
    // By bytes, whatever the collation of the database.
    states.sort_by(|a, b| a.schedule.name.cmp(&b.schedule.name));
    Ok(states)
}

async fn find(conn: &mut Conn, name: &str) -> Result<Option<ScheduleState>, PortError> {
    conn.first(SELECT_SCHEDULE, values![name]).await?.as_ref().map(state).transpose()
}

fn state(row: &Row) -> Result<ScheduleState, PortError> {
    Ok(ScheduleState {
        schedule: row.json(0)?,
        next_due: row.maybe_time(1)?,
        last_due: row.maybe_time(2)?,
        last_fired_at: row.maybe_time(3)?,
        last_run: row.maybe_int(4)?.map(RunId),
        missed: row.count(5)?,
        pause: row.maybe_json(6)?,
    })
}

async fn save(conn: &mut Conn, state: &ScheduleState) -> Result<(), PortError> {
    let values = values![
        state.schedule.name.as_str(),
        to_json(&state.schedule)?,
        state.next_due,
        state.last_due,
        state.last_fired_at,
        state.last_run.map(|run| run.0),
        state.missed,
        state.pause.as_ref().map(to_json).transpose()?,
    ];
    conn.run(UPSERT_SCHEDULE, values).await.map(|_| ())
}

async fn declare(conn: &mut Conn, declared: Vec<(Schedule, Option<Timestamp>)>) -> Result<(), PortError> {
    let mut there: BTreeMap<String, ScheduleState> =
        list(conn).await?.into_iter().map(|state| (state.schedule.name.clone(), state)).collect();
    let mut names = std::collections::BTreeSet::new();
    for (schedule, first_due) in declared {
        if !names.insert(schedule.name.clone()) {
            let message = format!("schedule {} is declared twice", schedule.name);
            return Err(PortError::failed(Cause::Invalid, message));
        }
        let state = match there.remove(&schedule.name) {
            Some(old) if old.schedule == schedule => continue,
            Some(old) if old.schedule.rule == schedule.rule => ScheduleState { schedule, ..old },
            // The last run stays known: it may still be under way.
            Some(old) => ScheduleState { schedule, next_due: first_due, last_due: None, missed: 0, ..old },
            None => ScheduleState {
                schedule,
                next_due: first_due,
                last_due: None,
                last_fired_at: None,
                last_run: None,
                missed: 0,
                pause: None,
            },
        };
        save(conn, &state).await?;
    }
    for name in there.into_keys() {
        conn.run(DELETE_SCHEDULE, values![name]).await?;
    }
    Ok(())
}

async fn fire(conn: &mut Conn, fire: &Fire, now: Timestamp) -> Result<Fired, PortError> {
    let Some(mut state) = find(conn, &fire.schedule).await? else {
        return Ok(Fired::NotDue);
    };
    let rests = state.pause.as_ref().is_some_and(|pause| pause.until.is_none_or(|until| until > now));
    if rests || state.next_due != Some(fire.due) {
        return Ok(Fired::NotDue);
    }
    state.next_due = fire.next_due;
    let id = Fire::id(&fire.schedule, fire.due);
    if conn.run(INSERT_FIRE, values![id, fire.schedule.as_str(), fire.due, now]).await? == 0 {
        // Acted on before the due times were set back: the schedule goes on behind it.
        save(conn, &state).await?;
        return Ok(Fired::NotDue);
    }
    conn.run(DELETE_OLD_FIRES, values![fire.schedule.as_str(), KEPT_FIRES]).await?;
    state.pause = None;
    state.last_due = Some(fire.due);
    state.missed = state.missed.saturating_add(fire.missed);
    let data = json!({
        "schedule": fire.schedule,
        "due": fire.due.to_rfc3339(),
        "missed": fire.missed,
        "next_due": fire.next_due.map(Timestamp::to_rfc3339),
    });
    let (fired, told) = match &fire.request {
        Some(request) => {
            let filed = queue::enqueue(conn, request, now).await?;
            let mut data = data;
            data["joined"] = json!(matches!(filed, Enqueued::Coalesced(_)));
            state.last_fired_at = Some(now);
            state.last_run = Some(filed.run());
            conn.run(UPDATE_FIRE, values![id, filed.run().0]).await?;
            let kind = "schedule.fired".to_owned();
            (Fired::Filed(filed), NewEvent { kind, run: Some(filed.run()), spoke: None, data })
        }
        None => {
            let kind = SCHEDULE_MISSED.to_owned();
            let key = format!("schedule:{}:{}:missed", fire.schedule, fire.due.0);
            let message = Message { key, topic: kind.clone(), payload: data.clone() };
            event::file(conn, &[message], now).await?;
            (Fired::LeftOut, NewEvent { kind, run: None, spoke: None, data })
        }
    };
    save(conn, &state).await?;
    event::publish(conn, &[told], now).await?;
    Ok(fired)
}

async fn pause(
    conn: &mut Conn,
    name: &str,
    pause: Option<Pause>,
    next_due: Option<Timestamp>,
    now: Timestamp,
) -> Result<ScheduleState, PortError> {
    let missing = || PortError::failed(Cause::NotFound, format!("there is no schedule {name}"));
    let mut state = find(conn, name).await?.ok_or_else(missing)?;
    let (kind, data) = match &pause {
        Some(pause) => {
            let until = pause.until.map(Timestamp::to_rfc3339);
            let data = json!({ "schedule": name, "until": until, "reason": pause.reason, "actor": pause.actor });
            ("schedule.paused", data)
        }
        None => {
            state.next_due = next_due;
            ("schedule.resumed", json!({ "schedule": name, "next_due": next_due.map(Timestamp::to_rfc3339) }))
        }
    };
    state.pause = pause;
    save(conn, &state).await?;
    event::publish(conn, &[NewEvent { kind: kind.to_owned(), run: None, spoke: None, data }], now).await?;
    Ok(state)
}

#[async_trait]
impl<E: Send + Sync + 'static> Schedules for SqlStore<E> {
    async fn declare(&self, schedules: &[(Schedule, Option<Timestamp>)], _now: Timestamp) -> Result<(), PortError> {
        let schedules = schedules.to_vec();
        self.write(move |conn| Box::pin(declare(conn, schedules))).await
    }

    async fn schedules(&self) -> Result<Vec<ScheduleState>, PortError> {
        self.read(|conn| Box::pin(list(conn))).await
    }

    async fn fire(&self, asked: &Fire, now: Timestamp) -> Result<Fired, PortError> {
        let asked = asked.clone();
        self.write(move |conn| Box::pin(async move { fire(conn, &asked, now).await })).await
    }

    async fn pause(
        &self,
        name: &str,
        asked: Option<&Pause>,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<ScheduleState, PortError> {
        let (name, asked) = (name.to_owned(), asked.cloned());
        self.write(move |conn| Box::pin(async move { pause(conn, &name, asked, next_due, now).await })).await
    }
}
