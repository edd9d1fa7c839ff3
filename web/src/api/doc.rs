//! OpenAPI 3.1, written from the table of routes: a route that is there is told, with who may use it.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::routes::{Access, Route};
use crate::state::Shared;

type Describe = fn(&mut SchemaGenerator) -> Schema;

/// What OpenAPI tells of a route.
#[derive(Clone, Debug)]
pub struct Doc {
    summary: &'static str,
    query: Option<Describe>,
    body: Option<Describe>,
    status: u16,
    kind: &'static str,
}

impl Doc {
    pub(crate) fn new(summary: &'static str) -> Self {
        Self { summary, query: None, body: None, status: 200, kind: "application/json" }
    }

    pub(crate) fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(|schemas| T::json_schema(schemas)), ..self }
    }

    pub(crate) fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(|schemas| schemas.subschema_for::<T>()), ..self }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn stream(self) -> Self {
        Self { kind: "text/event-stream", ..self }
    }

    pub(crate) fn file(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

/// `GET /api/v1/openapi.json`.
pub(crate) async fn show(State(state): State<Shared>) -> impl IntoResponse {
    Json(state.openapi.get().cloned().unwrap_or_default())
}

/// Writes the document.
pub(crate) fn openapi(table: &[Route], version: &str) -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for route in table {
        let Some(doc) = &route.doc else { continue };
        let operation = operation(route, doc, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    let mut components = schemas.take_definitions(true);
    components.insert("Envelope".into(), envelope());
    components.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cathedral",
            "version": version,
            "description": "What the pages of the hub show and do. Send a token as `Authorization: Bearer cth_…`.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, doc: &Doc, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name) }))
        .collect();
    if let Some(query) = doc.query {
        let schema = query(schemas);
        let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        parameters.extend(
            properties
                .into_iter()
                .map(|(name, schema)| json!({ "name": name, "in": "query", "required": false, "schema": schema })),
        );
    }
    let failure = |text: &str| json!({ "description": text, "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let content = match doc.kind {
        "application/json" => json!({ "schema": { "$ref": "#/components/schemas/Envelope" } }),
        _ => json!({ "schema": { "type": "string" } }),
    };
    let mut responses = Map::new();
    let success = match doc.status {
        204 => json!({ "description": "done" }),
        _ => json!({ "description": "done", "content": { (doc.kind): content } }),
    };
    responses.insert(doc.status.to_string(), success);
    for (status, text) in [
        ("400", "the request cannot be understood"),
        ("401", "no valid token or session"),
        ("403", "the role does not allow it"),
        ("404", "there is no such thing"),
        ("409", "it has moved on, or a safeguard refused"),
        ("413", "too large"),
        ("415", "not JSON"),
        ("422", "understood, but not valid"),
        ("429", "too many requests"),
        ("500", "the hub failed"),
        ("503", "not now"),
    ] {
        responses.insert(status.into(), failure(text));
    }
    let name: String = route.path.trim_start_matches("/api/v1/").replace(['{', '}'], "").replace(['/', '.'], "_");
    let mut operation = json!({
        "operationId": format!("{}_{name}", route.method.as_str().to_lowercase()),
        "summary": doc.summary,
        "tags": [name.split('_').next().unwrap_or_default()],
        "parameters": parameters,
        "responses": responses,
    });
    match route.access {
        Access::Needs(action) => {
            operation["x-needs-role"] = action.needs().as_str().into();
            operation["x-action"] = json!(action);
        }
        Access::SignedIn => {}
        _ => operation["security"] = json!([]),
    }
    if let Some(body) = doc.body {
        let schema = body(schemas);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn path_schema(name: &str) -> Value {
    match name {
        "run" | "conflict" | "leaf" | "number" => json!({ "type": "integer", "format": "int64" }),
        _ => json!({ "type": "string" }),
    }
}

fn envelope() -> Value {
    json!({
        "type": "object",
        "properties": {
            "schema": { "type": "string", "description": "for example `cathedral.run/v1`" },
            "generated_at": { "type": "string", "format": "date-time" },
            "data": { "type": "object" },
            "warnings": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["schema", "generated_at", "data", "warnings"],
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "a stable word" },
            "detail": { "type": "string" },
            "hint": { "type": "string" },
            "trace_id": { "type": "string" },
        },
        "required": ["type", "title", "status", "code", "detail", "trace_id"],
    })
}
