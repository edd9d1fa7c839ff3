//! One file, three versions: what `cathedral merge-file` does.

use crate::chain::{Chain, Outcome};
use crate::conflict::{Conflict, Resolution};

/// Exit code of a merge that is done.
pub const EXIT_MERGED: u8 = 0;
/// Exit code of a merge that waits for a person.
pub const EXIT_CONFLICT: u8 = 11;

/// The result of merging one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeFile {
    /// The merged bytes, or `None` when a person has to decide.
    pub merged: Option<Vec<u8>>,
    /// The best proposal of an open merge.
    pub proposal: Option<Vec<u8>>,
    /// What every stage said.
    pub outcome: Outcome,
}

impl MergeFile {
    /// Returns the exit code of the command.
    pub fn exit_code(&self) -> u8 {
        if self.merged.is_some() { EXIT_MERGED } else { EXIT_CONFLICT }
    }
}

/// Merges three versions of the file at `path` with the standard chain.
pub fn merge_file(base: Option<&[u8]>, hub: &[u8], spoke: &[u8], path: &str) -> MergeFile {
    let outcome = Chain::standard().resolve(&Conflict::new(path, base, hub, spoke));
    let (merged, proposal) = match &outcome.resolution {
        Resolution::Resolved(candidate) => (Some(candidate.value.clone()), None),
        Resolution::Suggested(candidates) => (None, candidates.first().map(|candidate| candidate.value.clone())),
        Resolution::Declined { .. } => (None, None),
    };
    MergeFile { merged, proposal, outcome }
}
