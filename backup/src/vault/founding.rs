//! What a vault was founded with at each destination: its marker, its key and the stock recovery. Nothing else can
//! be read without the hub where these are gone, so they are looked at each time.

use cathedral_model::ports::{Cause, Destination, PortError};

use super::members::{self, Member};
use super::{Inner, check, found, mend, snapshots};
use crate::manifest;
use crate::stock;
use crate::vault_file::{self, VaultFile};

/// So many of the newest manifests are asked for when it is not sure whose a destination is.
const ASKED: usize = 3;

/// Whether an object was put when the vault was founded.
pub(crate) fn is_founding(object: &str) -> bool {
    is_needed(object) || stock::FILES.iter().any(|(name, _)| object == *name)
}

/// Whether nothing at a destination can be read without the object and without the hub.
pub(crate) fn is_needed(object: &str) -> bool {
    object == vault_file::OBJECT || object.starts_with("keys/")
}

/// Whether the hub can put an object back by itself.
pub(crate) fn is_kept(inner: &Inner, object: &str) -> bool {
    own(inner, object).is_some()
}

/// Names the founding objects that are missing or damaged at a destination, with the fault.
pub(crate) fn faults(inner: &Inner, destination: &dyn Destination) -> Vec<(String, PortError)> {
    let stock = inner.file.files.keys().map(String::as_str);
    let all = [vault_file::OBJECT, found::KEY_OBJECT].into_iter().chain(stock);
    let fault = |object: &str| {
        let look = |bytes: Vec<u8>| judge(inner, object, &bytes).map_err(PortError::Corrupt);
        destination.get(object).and_then(look).err().map(|e| (object.to_owned(), e))
    };
    all.filter_map(fault).collect()
}

/// Puts back what is missing or damaged. Where that fails, and the destination could not be restored from without
/// the hub, it counts as one that does not answer.
pub(crate) fn mend(inner: &Inner, members: &mut [Member]) {
    for member in members {
        // What holds another vault, or cannot be read, is not written to.
        if member.state.as_ref().is_err_and(|e| e.cause() != Cause::Unreachable) {
            continue;
        }
        let destination = member.destination.as_ref();
        let is_marked = VaultFile::from_bytes(&destination.get(vault_file::OBJECT).unwrap_or_default(), &inner.trusted)
            .is_ok_and(|file| file.vault == inner.file.vault);
        // A folder without a whole marker may be that of a disk that is not mounted, or anybody's.
        if !is_marked && !is_ours(inner, destination) {
            if member.state.is_ok() {
                let message = format!("destination {}: its vault file is damaged", destination.name());
                member.state = Err(PortError::Corrupt(message));
            }
            continue;
        }
        let mut is_mended = false;
        let mut state = Ok(());
        // The marker is put last, as at the founding.
        for (object, fault) in faults(inner, destination).into_iter().rev() {
            let what = fault.to_string();
            // What cannot be read for another reason may be whole.
            let is_bad =
                matches!(fault, PortError::Corrupt(_)) || matches!(fault.cause(), Cause::NotFound | Cause::Unreachable);
            let put = match own(inner, &object) {
                Some(bytes) if is_bad => put(inner, destination, &object, &bytes),
                _ => Err(fault),
            };
            match put {
                Ok(()) => {
                    inner.note_mended(destination, &object, &what);
                    is_mended = true;
                }
                Err(error) if is_needed(&object) => state = Err(error),
                Err(error) => tracing::warn!(destination = %destination.name(), object, %error, "it is not mended"),
            }
        }
        match state {
            Err(error) if member.state.is_ok() => member.state = Err(error),
            Ok(()) if is_mended => member.state = members::listing(inner, destination),
            _ => {}
        }
    }
}

/// Whether the vault is there although its marker is missing or damaged: its key, or a snapshot of it.
pub(crate) fn is_ours(inner: &Inner, destination: &dyn Destination) -> bool {
    let key = destination.get(found::KEY_OBJECT).ok();
    if key.is_some_and(|key| inner.sealed_key.as_ref() == Some(&key)) {
        return true;
    }
    let mut seen = check::seen(inner);
    seen.sort();
    seen.iter().rev().take(ASKED).any(|id| {
        let read = destination.get(&manifest::object(id));
        read.is_ok_and(|bytes| snapshots::verify(inner, id, &bytes).is_ok())
    })
}

fn put(inner: &Inner, destination: &dyn Destination, object: &str, bytes: &[u8]) -> Result<(), PortError> {
    destination.replace(object, bytes)?;
    judge(inner, object, &destination.get(object)?).map_err(PortError::Corrupt)
}

/// A marker that is ours and whole is right, even when a newer release wrote it.
fn judge(inner: &Inner, object: &str, bytes: &[u8]) -> Result<(), String> {
    if object == vault_file::OBJECT {
        let file = VaultFile::from_bytes(bytes, &inner.trusted).map_err(|e| e.to_string())?;
        return if file.vault == inner.file.vault { Ok(()) } else { Err(format!("it is of vault {}", file.vault)) };
    }
    check::judge(inner, object, bytes)
}

/// What the hub has of an object by itself.
fn own(inner: &Inner, object: &str) -> Option<Vec<u8>> {
    if object == vault_file::OBJECT {
        let bytes = std::fs::read(inner.keys_dir.as_ref()?.join(vault_file::OBJECT)).ok()?;
        return judge(inner, object, &bytes).is_ok().then_some(bytes);
    }
    is_founding(object).then(|| mend::own(inner, &[], object))?
}
