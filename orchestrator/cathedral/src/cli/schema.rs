//! JSON schemas of the outputs that scripts rely on.

use serde_json::{Value, json};

use super::{Ended, Failure, Output};

/// Prints one schema, or the names of all.
pub fn run(name: Option<String>, output: &Output) -> Ended {
    let all = schemas();
    let Some(name) = name else {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        output.data("schemas", &json!({ "schemas": names }), &[]);
        if output.is_machine() {
            return Ok(0);
        }
        for (name, _) in &all {
            output.raw(format!("{name}\n").as_bytes());
        }
        return Ok(0);
    };
    let found = all.iter().find(|(n, _)| *n == name);
    let known: Vec<String> = all.iter().map(|(n, _)| (*n).to_owned()).collect();
    let (_, schema) = found.ok_or_else(|| Failure::unknown("schema", &name, &known))?;
    output.raw(format!("{schema:#}\n").as_bytes());
    Ok(0)
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn array(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer" })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn maybe(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    schema
}

/// The envelope with the data of one command in it.
fn document(name: &str, data: Value) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:cathedral:schema:{name}:v1"),
        "type": "object",
        "properties": {
            "schema": { "const": format!("cathedral.{name}/v1") },
            "generated_at": { "type": "string", "format": "date-time" },
            "data": data,
            "warnings": array(text()),
        },
        "required": ["schema", "generated_at", "data", "warnings"],
    })
}

fn snapshot() -> Value {
    let bytes =
        object(json!({ "logical": number(), "new": number(), "stored": number() }), &["logical", "new", "stored"]);
    let destinations = array(object(json!({ "name": text(), "state": text() }), &["name", "state"]));
    let carried = maybe(object(
        json!({ "snapshot": text(), "read_at": text(), "why": text(), "side": maybe(text()) }),
        &["snapshot", "read_at", "why"],
    ));
    let part = object(
        json!({ "spoke": text(), "side": text(), "kind": text(), "root": text(), "carried": carried }),
        &["spoke", "side", "kind", "root", "carried"],
    );
    object(
        json!({
            "id": text(), "root": text(), "created_at": text(), "bytes": bytes, "destinations": destinations,
            "parts": array(part),
        }),
        &["id", "root", "created_at", "bytes", "destinations"],
    )
}

/// All schemas by name.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let phase = object(json!({ "name": text(), "result": text(), "ms": number() }), &["name", "result", "ms"]);
    let kind = || words(&["git", "database", "files"]);
    let sync_spoke = object(
        json!({ "name": text(), "kind": kind(), "result": text(), "changes_in": number(), "changes_out": number(), "conflicts": number() }),
        &["name", "kind", "result", "changes_in", "changes_out", "conflicts"],
    );
    let action = object(
        json!({ "target": text(), "action": text(), "from": text(), "to": text(), "reason": text() }),
        &["target", "action", "from", "to", "reason"],
    );
    let side = || json!({ "type": ["object", "null"], "properties": { "shown": text(), "content": maybe(text()) }, "required": ["shown"] });
    let file = || object(json!({ "path": text(), "base": text(), "hub": text(), "spoke": text() }), &["path"]);
    let grouped = || {
        object(
            json!({ "where": text(), "table": text(), "pk": { "type": "array" }, "fields": { "type": "array" } }),
            &["where", "table"],
        )
    };
    let conflict = || {
        object(
            json!({
                "id": number(), "spoke": text(), "kind": kind(), "conflict_kind": text(), "where": text(), "base": side(),
                "hub": side(), "spoke_side": side(), "opened_at": text(), "table": text(), "pk": { "type": "array" },
                "files": array(file()), "more_files": number(), "group": array(grouped()), "answered_with": number(),
            }),
            &["id", "spoke", "kind", "conflict_kind", "where", "base", "hub", "spoke_side", "opened_at"],
        )
    };
    let status_spoke = object(
        json!({ "name": text(), "kind": kind(), "state": text(), "lag_seconds": maybe(number()), "position": text(), "conflicts": number() }),
        &["name", "kind", "state", "lag_seconds", "position", "conflicts"],
    );
    let last_check = json!({
        "type": ["object", "null"],
        "properties": { "level": words(&["quick", "metadata", "full"]), "at": text(), "problems": number() },
        "required": ["level", "at", "problems"],
    });
    let status_place = object(
        json!({
            "name": text(), "state": text(), "held": number(), "of": number(), "missing": number(),
            "damaged": number(), "last_check": last_check,
        }),
        &["name", "state", "held", "of", "missing", "damaged", "last_check"],
    );
    let need = object(json!({ "what": text(), "why": text(), "command": text() }), &["what", "why", "command"]);
    let restored = object(
        json!({ "spoke": text(), "path": text(), "files": number(), "bytes": number(), "root": text(), "verified": { "type": "boolean" } }),
        &["spoke", "path", "files", "bytes", "root", "verified"],
    );
    let log_looked = json!({
        "type": ["object", "null"],
        "properties": { "leaves": number(), "snapshots": number() },
        "required": ["leaves", "snapshots"],
    });
    let git_stores = json!({
        "type": ["object", "null"], "properties": { "stores": number() }, "required": ["stores"],
    });
    let checked =
        object(json!({ "packs": number(), "chunks": number(), "bytes": number() }), &["packs", "chunks", "bytes"]);
    let problem = object(
        json!({ "destination": text(), "object": text(), "fault": text(), "affects": array(text()), "affects_more": number() }),
        &["destination", "object", "fault", "affects", "affects_more"],
    );
    let fault = || {
        object(json!({ "destination": text(), "object": text(), "fault": text() }), &["destination", "object", "fault"])
    };
    let store = json!({ "type": ["object", "null"], "properties": { "contents": number(), "bytes": number() }, "required": ["contents", "bytes"] });
    let repository = object(
        json!({ "snapshot": text(), "spoke": text(), "result": words(&["sound", "broken", "not_checked"]), "why": text() }),
        &["snapshot", "spoke", "result"],
    );
    let endpoint = object(
        json!({
            "name": text(), "kind": words(&["webhook", "slack"]), "url": text(), "events": array(text()),
            "state": words(&["untried", "well", "failing", "gone"]), "failing_since": maybe(text()), "last": maybe(text()),
        }),
        &["name", "kind", "url", "events", "state", "failing_since", "last"],
    );
    let delivery = || {
        object(
            json!({
                "number": number(), "topic": text(), "endpoint": text(),
                "state": words(&["waiting", "delivered", "given_up"]), "attempts": number(), "filed_at": text(),
                "due_at": maybe(text()), "last": text(),
            }),
            &["number", "topic", "endpoint", "state", "attempts", "filed_at", "due_at", "last"],
        )
    };
    let check = object(json!({ "ok": { "type": "boolean" }, "what": text(), "fix": text() }), &["ok", "what", "fix"]);
    let results = words(&["succeeded", "conflicts", "partial", "failed", "nothing_to_do", "cancelled"]);
    vec![
        (
            "sync",
            document(
                "sync",
                object(
                    json!({ "run": number(), "result": results, "phases": array(phase), "spokes": array(sync_spoke), "faults": array(fault()), "not_in_snapshot": array(text()) }),
                    &["run", "result", "phases", "spokes"],
                ),
            ),
        ),
        (
            "plan",
            document(
                "plan",
                object(
                    json!({ "plan": text(), "spokes": array(object(json!({ "name": text(), "actions": array(action) }), &["name", "actions"])) }),
                    &["plan", "spokes"],
                ),
            ),
        ),
        (
            "status",
            document(
                "status",
                object(
                    json!({
                        "sentence": text(), "code": number(), "spokes": array(status_spoke), "detail": text(),
                        "verified_at": maybe(text()), "destinations": array(status_place), "needs": array(need),
                    }),
                    &["sentence", "code", "spokes"],
                ),
            ),
        ),
        ("conflicts", document("conflicts", object(json!({ "conflicts": array(conflict()) }), &["conflicts"]))),
        ("conflict", document("conflict", object(json!({ "conflict": conflict() }), &["conflict"]))),
        ("snapshot", document("snapshot", object(json!({ "snapshot": snapshot() }), &["snapshot"]))),
        ("snapshots", document("snapshots", object(json!({ "snapshots": array(snapshot()) }), &["snapshots"]))),
        (
            "snapshot-forget",
            document(
                "snapshot-forget",
                object(
                    json!({ "snapshots": array(text()), "undo": { "type": "boolean" }, "dry_run": { "type": "boolean" } }),
                    &["snapshots", "undo", "dry_run"],
                ),
            ),
        ),
        (
            "restore",
            document(
                "restore",
                object(json!({ "restored": array(restored), "faults": array(fault()) }), &["restored"]),
            ),
        ),
        (
            "verify",
            document(
                "verify",
                object(
                    json!({
                        "checked": checked, "problems": array(problem), "content_store": store, "git": array(repository),
                        "log": log_looked, "git_stores": git_stores, "superseded": number(),
                    }),
                    &["checked", "problems"],
                ),
            ),
        ),
        (
            "log-head",
            document(
                "log-head",
                object(
                    json!({ "origin": text(), "size": number(), "root": text(), "signatures": array(text()) }),
                    &["origin", "size", "root", "signatures"],
                ),
            ),
        ),
        (
            "up",
            document(
                "up",
                object(
                    json!({ "address": text(), "ecosystem": text(), "welcome": maybe(text()) }),
                    &["address", "ecosystem", "welcome"],
                ),
            ),
        ),
        (
            "schedules",
            document(
                "schedules",
                object(
                    json!({ "served": json!({ "type": "boolean" }), "schedules": array(object(
                        json!({
                            "name": text(), "title": text(), "in_words": text(), "next_due": maybe(text()),
                            "last_due": maybe(text()), "last_run": maybe(number()), "missed": number(),
                        }),
                        &["name", "title", "rule", "in_words", "next_due", "last_due", "last_run", "missed", "pause"],
                    )) }),
                    &["schedules", "served"],
                ),
            ),
        ),
        (
            "token",
            document(
                "token",
                object(
                    json!({
                        "id": text(), "scope": words(&["viewer", "operator", "admin"]), "token": text(),
                        "expires_at": maybe(text()),
                    }),
                    &["id", "scope"],
                ),
            ),
        ),
        ("hook-endpoints", document("hook-endpoints", object(json!({ "endpoints": array(endpoint) }), &["endpoints"]))),
        ("hook-sent", document("hook-sent", object(json!({ "deliveries": array(delivery()) }), &["deliveries"]))),
        ("hook-delivery", document("hook-delivery", delivery())),
        ("doctor", document("doctor", object(json!({ "checks": array(check) }), &["checks"]))),
        (
            "error",
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "urn:cathedral:schema:error:v1",
                "type": "object",
                "properties": {
                    "schema": { "const": "cathedral.error/v1" }, "generated_at": text(), "warnings": array(text()),
                    "error": object(
                        json!({ "type": text(), "title": text(), "status": number(), "detail": maybe(text()), "code": text(), "next": array(text()) }),
                        &["type", "title", "status", "code"],
                    ),
                },
                "required": ["schema", "generated_at", "error"],
            }),
        ),
    ]
}
