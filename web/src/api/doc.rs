//! OpenAPI 3.1 from the table of routes.

use crate::routes::Route;

/// What OpenAPI tells of a route.
#[derive(Clone, Debug)]
pub struct Doc {
    pub summary: &'static str,
}

pub(crate) fn openapi(_table: &[Route], version: &str) -> serde_json::Value {
    serde_json::json!({ "openapi": "3.1.0", "info": { "title": "Cathedral", "version": version } })
}
