//! Writes a tree from a snapshot.

use std::path::Path;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::{PortError, Source};

use super::FilesSyncer;

pub fn into_new(_: &FilesSyncer, _: &Spoke, _: &Path, _: &mut dyn Source, _: RunId) -> Result<Imported, PortError> {
    Err(PortError::permanent("not available yet"))
}

pub fn into_live(
    _: &FilesSyncer,
    _: &Spoke,
    _: Side,
    _: &mut dyn Source,
    _: RunId,
    _: Fence,
) -> Result<Imported, PortError> {
    Err(PortError::permanent("not available yet"))
}
