//! Whether what the hub has noted of a pair of trees can be read, and how a fence is written anew.

use std::fs;
use std::path::{Path, PathBuf};

use cathedral_model::ecosystem::{Side, Spoke, SpokeDetail};
use cathedral_model::ids::{Fence, SpokeName};
use cathedral_model::ports::PortError;

use super::guard::{Notes, is_restored, read_fence, write_durably};
use super::names::MARKER;

/// The command that mends what is found here.
pub const HEAL: &str = "cathedral doctor --fix";

/// What a note is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteOf {
    /// The newest fence under which the pair was written to.
    Fence,
    /// The marker that was seen in a side's tree.
    Mark(Side),
}

/// A note that cannot be read.
#[derive(Clone, Debug)]
pub struct NoteFault {
    pub of: NoteOf,
    pub file: PathBuf,
    pub why: String,
}

/// Says which notes of a pair of trees are damaged. Nothing is written.
#[must_use]
pub fn note_faults(state: &Path, spoke: &Spoke) -> Vec<NoteFault> {
    let SpokeDetail::Files(files) = &spoke.detail else { return vec![] };
    let notes = Notes::new(state, &spoke.name);
    let mut found = vec![];
    let fence = notes.fence();
    if fence.exists() && read_fence(&fence).is_err() {
        found.push(NoteFault { of: NoteOf::Fence, file: fence, why: "it does not hold a fence".into() });
    }
    for (side, tree) in [(Side::Hub, &files.hub), (Side::Spoke, &files.spoke)] {
        let file = notes.mark(side);
        let why = match fs::read(&file) {
            Ok(noted) if is_restored(&noted) => continue,
            // Whatever stands in the tree itself is a marker.
            Ok(noted) if is_marker(&noted) || fs::read(tree.join(MARKER)).is_ok_and(|m| m == noted) => continue,
            Ok(_) => "it does not hold a marker".to_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => e.to_string(),
        };
        found.push(NoteFault { of: NoteOf::Mark(side), file, why });
    }
    found
}

/// Writes the fence of a pair anew, where it is damaged: `least`, or the newest that any other pair has seen when
/// that is greater. All of them are numbers of one series, so that it never goes backwards.
///
/// # Errors
/// When another hub writes to the pair, or the file cannot be written.
pub fn mend_fence(state: &Path, spoke: &SpokeName, least: Fence) -> Result<Fence, PortError> {
    let notes = Notes::new(state, spoke);
    let _alone = notes.alone()?;
    let file = notes.fence();
    if let Ok(Some(fence)) = read_fence(&file) {
        return Ok(Fence(fence));
    }
    let others = fs::read_dir(state.join("fence")).into_iter().flatten().flatten();
    let newest = others.filter_map(|entry| read_fence(&entry.path()).ok().flatten()).max();
    let fence = newest.map_or(least, |newest| Fence(newest.max(least.0)));
    write_durably(&file, fence.0.to_string().as_bytes()).map_err(|e| PortError::io(file.display(), &e))?;
    Ok(fence)
}

/// Whether these bytes are a marker as it is written.
pub fn is_marker(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    let nonce = value["nonce"].as_str().unwrap_or_default();
    value["schema"] == "cathedral.root/v1" && nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit())
}
