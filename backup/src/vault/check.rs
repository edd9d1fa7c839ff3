use super::Inner;
use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::{PortError, Progress};
use cathedral_model::snapshot::{CheckLevel, CheckReport};
use std::sync::Arc;

pub(crate) fn run(
    _inner: &Arc<Inner>,
    _level: CheckLevel,
    _only: &[SnapshotId],
    _progress: &dyn Progress,
) -> Result<CheckReport, PortError> {
    Err(PortError::permanent("not there yet"))
}
