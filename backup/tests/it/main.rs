//! The vault as its callers see it, on real folders.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod round_trip;
mod samples;
mod support;
