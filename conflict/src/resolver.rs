//! The stages of the chain.

mod crdt;
mod policy;
mod structural;
mod text;
mod trivial;

pub use crdt::Crdt;
pub use policy::{Policy, PolicyStage, UnknownPolicy};
pub use structural::Structural;
pub use text::Text;
pub use trivial::Trivial;
pub(crate) use trivial::collapsed;

use crate::conflict::{Conflict, Reason, Resolution, Resolver};

/// Replays what people decided before. Declines until decisions are recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Learned;

impl Resolver for Learned {
    fn name(&self) -> &'static str {
        "learned@0"
    }

    fn resolve(&self, _: &Conflict<'_>) -> Resolution {
        Resolution::declined(Reason::NothingLearned)
    }
}

/// Ends every chain: the item waits for a person, both sides stay as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue;

impl Resolver for Queue {
    fn name(&self) -> &'static str {
        "queue@1"
    }

    fn resolve(&self, _: &Conflict<'_>) -> Resolution {
        Resolution::declined(Reason::Queued)
    }
}
