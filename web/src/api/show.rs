//! Stored things as JSON: times as RFC 3339 in UTC, secrets never.

use cathedral_model::access::{Person, Token};
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::inbox::ConflictRecord;
use cathedral_model::intake::DeliveryRow;
use cathedral_model::ports::outgoing::Outgoing;
use cathedral_model::ports::store::RunRow;
use cathedral_model::ports::versions::ConfigVersion;
use cathedral_model::run::Work;
use cathedral_model::schedule::ScheduleState;
use cathedral_model::snapshot::SnapshotInfo;
use cathedral_model::time::Timestamp;
use serde_json::{Value, json};

fn at(time: Timestamp) -> String {
    time.to_rfc3339()
}

fn maybe(time: Option<Timestamp>) -> Option<String> {
    time.map(at)
}

pub fn run(row: &RunRow) -> Value {
    let kind = match &row.request.work {
        Work::Sync(_) => "sync",
        Work::Restore(_) => "restore",
        Work::Upkeep(_) => "upkeep",
    };
    json!({
        "run": row.run, "kind": kind, "state": row.state, "priority": row.request.priority, "cause": row.request.cause,
        "queued_at": at(row.queued_at), "changed_at": at(row.changed_at), "summary": row.summary,
    })
}

/// A conflict as the command line shows it, and who answered what.
pub fn conflict(record: &ConflictRecord) -> Value {
    let mut out = record.shown();
    out["actor"] = json!(record.actor);
    out["answer"] = json!(record.answer);
    out["versions"] = json!(record.versions);
    if record.kind == SpokeKind::Git {
        out["fields"] = json!(record.draft.fields);
    }
    out
}

pub fn snapshot(info: &SnapshotInfo) -> Value {
    json!({
        "id": info.meta.id, "root": info.root, "created_at": at(info.meta.at), "cause": info.meta.cause,
        "tags": info.meta.tags, "parent": info.parent, "bytes": info.bytes, "destinations": info.destinations,
        "parts": info.parts, "manifest_sha256": info.manifest_sha256, "manifest_blake3": info.manifest_blake3,
    })
}

pub fn schedule(state: &ScheduleState) -> Value {
    let declared = &state.schedule;
    let pause = state.pause.as_ref().map(|pause| {
        json!({ "since": at(pause.since), "until": maybe(pause.until), "reason": pause.reason, "actor": pause.actor })
    });
    json!({
        "name": declared.name, "title": declared.title, "rule": declared.rule,
        "in_words": cathedral_engine::schedule::in_words(&declared.rule), "jitter_ms": declared.jitter_ms,
        "overlap": declared.overlap, "misfire": declared.misfire, "next_due": maybe(state.next_due),
        "last_due": maybe(state.last_due), "last_fired_at": maybe(state.last_fired_at), "last_run": state.last_run,
        "missed": state.missed, "pause": pause,
    })
}

pub fn delivery(row: &DeliveryRow) -> Value {
    let delivery = &row.delivery;
    json!({
        "number": row.number, "source": delivery.source, "id": delivery.id, "event": delivery.event,
        "hint": delivery.hint, "bytes": delivery.body_bytes, "received_at": at(row.received_at),
        "outcome": row.outcome, "handled_at": maybe(row.handled_at),
    })
}

pub fn outgoing(row: &Outgoing) -> Value {
    json!({
        "number": row.number, "key": row.message.key, "topic": row.message.topic, "endpoint": row.endpoint,
        "state": row.state, "attempts": row.attempts, "filed_at": at(row.filed_at), "due_at": at(row.due_at),
        "last": row.last,
    })
}

pub fn token(token: &Token) -> Value {
    json!({
        "id": token.id, "label": token.label, "scope": token.scope, "created_by": token.created_by,
        "created_at": at(token.created_at), "expires_at": maybe(token.expires_at), "used_at": maybe(token.used_at),
        "revoked_at": maybe(token.revoked_at),
    })
}

pub fn person(person: &Person) -> Value {
    json!({
        "name": person.name, "role": person.role, "has_password": person.password.is_some(),
        "created_at": at(person.created_at), "disabled": person.disabled,
    })
}

pub fn version(version: &ConfigVersion) -> Value {
    json!({
        "number": version.number, "digest": version.digest, "accepted_at": at(version.accepted_at),
        "cause": version.cause, "text": version.text,
    })
}

/// A verdict or a part of it with its times as RFC 3339: by itself it has them as microseconds.
pub fn with_times(mut value: Value) -> Value {
    fn mend(time: &mut Value) {
        if let Some(micros) = time.as_i64() {
            *time = at(Timestamp(micros)).into();
        }
    }
    fn walk(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match (name.as_str(), field) {
                        ("as_of" | "at" | "since" | "good_at" | "verified_at", field) => mend(field),
                        ("newest_snapshot" | "snapshot" | "sealed" | "verify_failed", Value::Array(pair)) => {
                            pair.iter_mut().skip(1).for_each(mend);
                        }
                        (_, field) => walk(field),
                    }
                }
            }
            _ => {}
        }
    }
    walk(&mut value);
    value
}
