//! Where each spoke stands when a run has failed: as it was, changed, or not known.
//!
//! The journal alone cannot tell it when the journal could not be written: a performer marks in memory
//! when it begins and ends a write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cathedral_model::ids::SpokeName;
use cathedral_model::plan::Applied;
use cathedral_model::ports::{Fault, PortError};
use cathedral_model::restore::{PartProgress, RestoreRun};
use cathedral_model::run::{SpokeProgress, SyncRun};
use cathedral_model::snapshot::PartKey;

/// What is known of a spoke after a failed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// As it was before the run.
    Old,
    /// What the run was to bring it is there.
    New,
    /// Changed but for what the run names as skipped, which is as it was.
    Part,
    /// It was being changed; the next run finishes that.
    Unknown,
}

/// One spoke, or one side of it for a restore.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    pub spoke: String,
    pub state: Stand,
}

const AS_IT_WAS: &str = "it is as it was";
const BEING_CHANGED: &str = "it was being changed: the next run finishes that";

/// Says in an error of a write what it has left behind.
pub(crate) fn tell(error: PortError, is_old: bool) -> PortError {
    let add = |message: String| format!("{message}; {}", if is_old { AS_IT_WAS } else { BEING_CHANGED });
    match error {
        PortError::Transient { cause, message } => PortError::Transient { cause, message: add(message) },
        PortError::Permanent { cause, message } => PortError::Permanent { cause, message: add(message) },
        PortError::Corrupt(message) => PortError::Corrupt(add(message)),
        PortError::Fenced(who) => PortError::Fenced(who),
    }
}

fn was_being_changed(fault: &Fault) -> bool {
    fault.message.ends_with(BEING_CHANGED)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Writing,
    Written,
}

/// What this process has begun and ended to write.
#[derive(Clone)]
pub(crate) struct Marks<K>(Arc<Mutex<BTreeMap<K, Mark>>>);

impl<K> Default for Marks<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> Marks<K> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn writing(&self, key: &K) {
        self.lock().insert(key.clone(), Mark::Writing);
    }

    pub fn written(&self, key: &K) {
        self.lock().insert(key.clone(), Mark::Written);
    }

    pub fn untouched(&self, key: &K) {
        self.lock().remove(key);
    }

    fn of(&self, key: &K) -> Option<Mark> {
        self.lock().get(key).copied()
    }
}

/// Where the spokes of a sync stand. `begun` is the run as this process has taken it up: what was ready
/// to be written then may have been written by the process before.
pub(crate) fn of_sync(state: &SyncRun, begun: &SyncRun, marks: &Marks<SpokeName>) -> Vec<Standing> {
    let stand = |name: &SpokeName, progress: &SpokeProgress| {
        let was_ready = begun.spokes.get(name).is_some_and(|s| s.pinned && s.applied.is_none() && s.failed.is_none());
        match (marks.of(name), &progress.failed, &progress.applied) {
            (_, _, Some(applied)) => of_applied(applied, progress.earlier),
            (Some(Mark::Written), _, _) => Stand::New,
            (Some(Mark::Writing), _, _) => Stand::Unknown,
            (None, Some((_, fault)), _) if was_being_changed(fault) => Stand::Unknown,
            (None, None, _) if was_ready => Stand::Unknown,
            _ if progress.earlier != (0, 0) => Stand::New,
            _ => Stand::Old,
        }
    };
    state.spokes.iter().map(|(name, s)| Standing { spoke: name.to_string(), state: stand(name, s) }).collect()
}

/// How a spoke stands whose plan was carried out, perhaps without some items. `earlier` are the changes in
/// and out of earlier rounds of the run.
fn of_applied(applied: &Applied, earlier: (u64, u64)) -> Stand {
    let wrote = applied.changes_in + applied.changes_out > 0 || earlier != (0, 0);
    match (applied.skipped.is_empty(), wrote) {
        (true, _) => Stand::New,
        (false, true) => Stand::Part,
        (false, false) => Stand::Old,
    }
}

/// Where the parts of a restore stand; `begun` as in [`of_sync`].
pub(crate) fn of_restore(state: &RestoreRun, begun: &RestoreRun, marks: &Marks<PartKey>) -> Vec<Standing> {
    let Some(request) = &state.request else { return vec![] };
    // Parts are written one after the other: only the first that is open can have been begun.
    let is_open = |p: &PartProgress| p.restored.is_none() && p.failed.is_none();
    let next = begun.parts.iter().position(is_open);
    let standing = |(index, (part, progress)): (usize, (&cathedral_model::restore::RestorePart, &PartProgress))| {
        let key = PartKey { spoke: part.spoke.name.clone(), side: part.side };
        let state = match (marks.of(&key), &progress.failed) {
            (Some(Mark::Written), _) => Stand::New,
            _ if progress.restored.is_some() => Stand::New,
            (Some(Mark::Writing), _) => Stand::Unknown,
            (None, Some(fault)) if was_being_changed(fault) => Stand::Unknown,
            (None, None) if begun.request.is_some() && next == Some(index) => Stand::Unknown,
            _ => Stand::Old,
        };
        let spoke = match part.side {
            cathedral_model::ecosystem::Side::Hub => key.spoke.to_string(),
            cathedral_model::ecosystem::Side::Spoke => format!("{}@spoke", key.spoke),
        };
        Standing { spoke, state }
    };
    request.parts.iter().zip(&state.parts).enumerate().map(standing).collect()
}
