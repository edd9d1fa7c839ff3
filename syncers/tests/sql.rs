//! SQLite pairs against real files, with a second program (rusqlite used directly) as the application.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "sql/answers.rs"]
mod answers;
#[path = "sql/apply.rs"]
mod apply;
#[path = "sql/dangling.rs"]
mod dangling;
#[path = "sql/disputes.rs"]
mod disputes;
#[path = "sql/failures.rs"]
mod failures;
#[path = "sql/groups.rs"]
mod groups;
#[path = "sql/history.rs"]
mod history;
#[path = "sql/marker.rs"]
mod marker;
#[path = "sql/names.rs"]
mod names;
#[path = "sql/order.rs"]
mod order;
#[path = "sql/schema.rs"]
mod schema;
#[path = "sql/shop.rs"]
mod shop;
#[path = "sql/snapshot.rs"]
mod snapshot;
#[path = "sql/support.rs"]
mod support;
#[path = "sql/values.rs"]
mod values;
