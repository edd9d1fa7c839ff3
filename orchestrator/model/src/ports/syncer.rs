//! One kind of spoke: read it, plan for it, change it, copy it out and in.

use async_trait::async_trait;
use std::path::PathBuf;

use super::{PortError, Sink, Source};
use crate::ecosystem::{Side, Spoke};
use crate::ids::{Fence, RunId, SpokeName};
use crate::observation::{Observation, SideState};
use crate::plan::{Applied, PlanContext, SpokePlan};

/// Where a part is read from or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The declared place of one side.
    Live(Side),
    /// A folder of its own: `DIR` itself becomes the tree, the bare repository, or holds the database
    /// file (`DIR` is then the path of the file).
    Path(PathBuf),
}

/// What an import wrote.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Imported {
    /// Where it is now, for people.
    pub path: String,
    pub files: u64,
    pub bytes: u64,
    /// Where what stood there before is kept; none when nothing did.
    pub kept: Option<String>,
}

/// Reads and changes spokes of one kind. Implementations may block the calling task's thread.
#[async_trait]
pub trait Syncer: Send + Sync {
    /// Reads what both sides hold now. Never writes to either side.
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError>;

    /// Reads what one side holds now, whatever is the matter with the other one. A side that is not there
    /// is an error here. Never writes. By default sides can be read together only.
    async fn observe_side(&self, spoke: &Spoke, side: Side) -> Result<SideState, PortError> {
        Ok(self.observe(spoke).await?.side(side).clone())
    }

    /// Reads a spoke whose two sides make one part (git) while one of them cannot be read: that one is as it was
    /// read last. An error when neither can be read. Never writes to either side. By default both are needed.
    async fn observe_partly(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        self.observe(spoke).await
    }

    /// Plans from the agreed state, both sides as they are now, and the answers given. Writes to
    /// neither side; stores what the plan needs (contents, instructions) durably before it returns.
    /// The same inputs give the same plan.
    async fn plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError>;

    /// Makes every value that the plan replaces, removes or leaves in dispute recoverable without the
    /// two sides. Called before [`Self::apply`]; idempotent.
    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId) -> Result<(), PortError>;

    /// Carries the plan out and reads back. Applying the same plan twice is applying it once, also
    /// after a crash in the middle. Items that moved on since are skipped and listed, never forced; an
    /// outdated `fence` is refused as [`PortError::Fenced`].
    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError>;

    /// From here to [`Self::forget`], what [`Self::export`] reads of the living sides is remembered for a
    /// plan that goes by it ([`PlanContext::held`]). A syncer may remember nothing.
    fn remember(&self, _spoke: &SpokeName) {}

    /// Ends [`Self::remember`]; nothing happens when it has not begun.
    fn forget(&self, _spoke: &SpokeName) {}

    /// Copies a part into the sink, as of one moment and whatever is the matter with the other side, and returns the state it was read at (for a git
    /// part: [`crate::snapshot::part_digest`] of both sides). Does not call [`Sink::finish`]: the
    /// caller does, with the returned state.
    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError>;

    /// Copies the living part of both sides into the sink while one of them cannot be read: that one as it was
    /// read last, told to the sink ([`Sink::older`]). The state is that of [`Self::observe_partly`].
    async fn export_partly(&self, spoke: &Spoke, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        self.export(spoke, &Place::Live(Side::Hub), sink).await
    }

    /// Writes a part from a snapshot. What stood at the place is kept (`kept` folder below the state
    /// folder, by run), and a crash in the middle leaves the old or the new content; repeating finishes.
    async fn import(
        &self,
        spoke: &Spoke,
        place: &Place,
        source: &mut dyn Source,
        run: RunId,
        fence: Fence,
    ) -> Result<Imported, PortError>;
}
