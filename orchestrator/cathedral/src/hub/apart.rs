//! A syncer whose work holds up nobody who shares its thread.

use std::future::Future;

use async_trait::async_trait;
use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId, SpokeName};
use cathedral_model::observation::{Observation, SideState};
use cathedral_model::plan::{Applied, PlanContext, SpokePlan};
use cathedral_model::ports::syncer::{Imported, Place};
use cathedral_model::ports::{PortError, Sink, Source, Syncer};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Syncers may block the thread of their task: git waits for servers that may never answer, trees are read file by
/// file. On the few threads of a hub that serves, pages and webhooks would wait with them, so whatever else runs on
/// the thread goes on elsewhere meanwhile.
pub struct Apart<S>(pub S);

async fn apart<T>(work: impl Future<Output = T>) -> T {
    let here = Handle::current();
    if here.runtime_flavor() == RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(|| here.block_on(work))
    } else {
        work.await
    }
}

#[async_trait]
impl<S: Syncer> Syncer for Apart<S> {
    async fn observe(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        apart(self.0.observe(spoke)).await
    }

    async fn observe_side(&self, spoke: &Spoke, side: Side) -> Result<SideState, PortError> {
        apart(self.0.observe_side(spoke, side)).await
    }

    async fn observe_partly(&self, spoke: &Spoke) -> Result<Observation, PortError> {
        apart(self.0.observe_partly(spoke)).await
    }

    async fn plan(&self, spoke: &Spoke, context: &PlanContext) -> Result<SpokePlan, PortError> {
        apart(self.0.plan(spoke, context)).await
    }

    async fn pin(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId) -> Result<(), PortError> {
        apart(self.0.pin(spoke, plan, run)).await
    }

    async fn apply(&self, spoke: &Spoke, plan: &SpokePlan, run: RunId, fence: Fence) -> Result<Applied, PortError> {
        apart(self.0.apply(spoke, plan, run, fence)).await
    }

    fn remember(&self, spoke: &SpokeName) {
        self.0.remember(spoke);
    }

    fn forget(&self, spoke: &SpokeName) {
        self.0.forget(spoke);
    }

    async fn export(&self, spoke: &Spoke, place: &Place, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        apart(self.0.export(spoke, place, sink)).await
    }

    async fn export_partly(&self, spoke: &Spoke, sink: &mut dyn Sink) -> Result<SideState, PortError> {
        apart(self.0.export_partly(spoke, sink)).await
    }

    async fn import(
        &self,
        spoke: &Spoke,
        place: &Place,
        source: &mut dyn Source,
        run: RunId,
        fence: Fence,
    ) -> Result<Imported, PortError> {
        apart(self.0.import(spoke, place, source, run, fence)).await
    }
}
