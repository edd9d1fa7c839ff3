//! The vault as its callers see it, on real folders.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod browse;
mod contracts;
mod crash;
mod damage;
mod forget;
mod founding;
mod gone;
mod keys;
mod property;
mod remembered;
mod round_trip;
mod samples;
mod stock;
mod support;
mod unchanged;
