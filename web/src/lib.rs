//! All that is on the wire: pages, the API, live events, webhooks in, sign-in.
//!
//! Properties kept here:
//! - A route exists only with a rule of who may use it ([`routes::Access`]), checked before its handler.
//! - A page never writes; a changing request of a browser comes from a page of the hub itself.
//! - What a stranger can make the hub do is bounded in time, memory and number.
//! - No adapter is named: the hub behind the pages is ports, an engine and [`hub::Hub`].
//!
//! [`state::State::new`] makes the shared state, [`routes::router`] the service, [`serve::serve`] listens.

pub mod api;
pub mod assets;
pub mod auth;
mod health;
pub mod hook;
pub mod hub;
pub mod limit;
pub mod live;
pub mod metrics;
pub mod notify;
pub mod pages;
pub mod peer;
pub mod problem;
pub mod report;
pub mod routes;
pub mod serve;
mod shield;
pub mod state;
pub mod view;

pub use serve::{Listener, LocalListener, serve};
pub use state::{Ports, Settings, Shared, State};
