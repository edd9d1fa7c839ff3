//! Upkeep, as the engine asks for it.

use async_trait::async_trait;

use super::PortError;
use crate::upkeep::{Upkeep, UpkeepReport};

/// Does one piece of upkeep. Safe to repeat: a run that was killed is done again.
#[async_trait]
pub trait Chores: Send + Sync {
    async fn perform(&self, upkeep: &Upkeep) -> Result<UpkeepReport, PortError>;
}

/// Where there is no upkeep, for example a restore without a hub.
pub struct NoChores;

#[async_trait]
impl Chores for NoChores {
    async fn perform(&self, _: &Upkeep) -> Result<UpkeepReport, PortError> {
        Err(PortError::permanent("there is no upkeep without a hub"))
    }
}
