//! The hub on the wire: real TCP on this machine, a real store in memory, nothing faked of HTTP.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod api;
mod client;
mod hooks;
mod hub;
mod limits;
mod live;
mod notify;
mod pages;
#[path = "../../../orchestrator/cathedral/tests/serve_support/receiver.rs"]
mod receiver;
mod sign_in;
