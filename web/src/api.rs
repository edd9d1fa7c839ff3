//! The API, `/api/v1`: the same data as the pages, as JSON in the envelope of the command line.
//!
//! `{"schema": "cathedral.run/v1", "generated_at": …, "data": …, "warnings": []}`; errors are problem+json.
//! Lists are paged by cursor: `data.next` is what to send as `before` (or `after`) for the next page.

use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cathedral_model::access::Action;
use cathedral_model::time::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::State;

pub(crate) mod access;
pub mod commands;
mod config;
pub(crate) mod conflicts;
pub mod doc;
mod events;
mod integrity;
mod overview;
mod plans;
mod runs;
mod schedules;
pub mod show;
mod snapshots;

use doc::Doc;

pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = overview::routes(routes);
    let routes = runs::routes(routes);
    let routes = plans::routes(routes);
    let routes = conflicts::routes(routes);
    let routes = snapshots::routes(routes);
    let routes = schedules::routes(routes);
    let routes = events::routes(routes);
    let routes = access::routes(routes);
    let routes = config::routes(routes);
    let routes = integrity::routes(routes);
    let routes = commands::routes(routes);
    let stream = Doc::new("Follows the event log as server-sent events").query::<crate::live::stream::Wanted>();
    routes
        .add(
            Method::GET,
            "/events/stream",
            Access::Needs(Action::Read),
            Some(stream.stream()),
            crate::live::stream::follow,
        )
        .add(Method::GET, "/api/v1/openapi.json", Access::Public, None, doc::show)
}

/// The body of a request: one JSON object. A list in the order of its fields is not taken for one.
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = JsonRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, JsonRejection> {
        axum::Json::<Object<T>>::from_request(request, state).await.map(|axum::Json(Object(body))| Self(body))
    }
}

struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        from.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

/// An answer in the envelope.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    schema: &'static str,
    at: Timestamp,
    data: Value,
    location: Option<String>,
}

/// Answers with data; `schema` as in `cathedral.<schema>/v1`.
pub(crate) fn answer(state: &State, schema: &'static str, data: Value) -> Answer {
    Answer { status: StatusCode::OK, schema, at: state.now(), data, location: None }
}

impl Answer {
    fn created(self, location: String) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..self }
    }

    fn accepted(self, location: String) -> Self {
        Self { status: StatusCode::ACCEPTED, location: Some(location), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // The tag is of the data: when it was generated does not change it.
        let data = self.data.to_string();
        let tag = format!("W/\"{}\"", hex::encode(&blake3::hash(data.as_bytes()).as_bytes()[..12]));
        let at = self.at.to_rfc3339();
        let schema = self.schema;
        let text = format!(
            "{{\"schema\":\"cathedral.{schema}/v1\",\"generated_at\":\"{at}\",\"data\":{data},\"warnings\":[]}}\n"
        );
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag)
            && self.status == StatusCode::OK
        {
            headers.insert(header::ETAG, tag);
        }
        if let Some(Ok(location)) = self.location.map(|location| HeaderValue::from_str(&location)) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// A page of a list, newest first.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Only what comes before this number: `next` of the page before.
    before: Option<i64>,
    /// 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
}

/// Checks a page's length.
pub(crate) fn length(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(50) {
        limit @ 1..=200 => Ok(limit),
        _ => Err(Problem::bad_request("limit", "a page has 1 to 200 entries")),
    }
}

/// A page as data: `next` is there when the page is full.
pub(crate) fn page(name: &str, items: Vec<Value>, limit: u32, next: Option<i64>) -> Value {
    let full = items.len() >= limit as usize;
    json!({ name: items, "next": next.filter(|_| full) })
}
