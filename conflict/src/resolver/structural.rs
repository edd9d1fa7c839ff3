//! The keyed merge as a stage.

use crate::conflict::{Conflict, Reason, Resolution, Resolver};

const NAME: &str = "structural@1";

/// Merges keyed formats key by key, with the bytes of everything that did not change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Structural;

impl Resolver for Structural {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, _: &Conflict<'_>) -> Resolution {
        Resolution::declined(Reason::NotApplicable)
    }
}
