//! Shared state documents as a stage.

use crate::conflict::{Conflict, Reason, Resolution, Resolver};

const NAME: &str = "crdt@1";

/// Merges items that the configuration declares as documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crdt;

impl Resolver for Crdt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, _: &Conflict<'_>) -> Resolution {
        Resolution::declined(Reason::NotApplicable)
    }
}
