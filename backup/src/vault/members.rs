//! Which destinations answer, and what they list.

use cathedral_model::ports::{Cause, Destination, PortError};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Inner, founding};
use crate::vault_file::{self, VaultFile};

/// A destination at one moment.
pub(crate) struct Member {
    pub destination: Arc<dyn Destination>,
    pub state: Result<Listing, PortError>,
}

/// The small listings of a destination: object names with sizes.
#[derive(Default)]
pub(crate) struct Listing {
    pub index: BTreeMap<String, u64>,
    pub snapshots: BTreeMap<String, u64>,
}

impl Member {
    pub(crate) fn listing(&self) -> Option<&Listing> {
        self.state.as_ref().ok()
    }
}

/// Asks all destinations side by side.
pub(crate) fn ask(inner: &Inner) -> Vec<Member> {
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            inner.destinations.iter().map(|d| scope.spawn(move || listing(inner, d.as_ref()))).collect();
        asked.into_iter().map(|a| a.join().unwrap_or_else(|_| Err(PortError::permanent("asking failed")))).collect()
    });
    inner.destinations.iter().zip(answers).map(|(d, state)| Member { destination: Arc::clone(d), state }).collect()
}

/// Fails when no destination answers.
pub(crate) fn require_one(members: &[Member]) -> Result<(), PortError> {
    require(members, 1, "read the vault")
}

/// Fails when fewer than `quorum` destinations answer, naming what is wrong with the others.
pub(crate) fn require(members: &[Member], quorum: usize, to: &str) -> Result<(), PortError> {
    let there = members.iter().filter(|m| m.state.is_ok()).count();
    if there >= quorum {
        return Ok(());
    }
    let faults: Vec<&PortError> = members.iter().filter_map(|m| m.state.as_ref().err()).collect();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let message = format!("{there} of the {quorum} destinations needed to {to} answer: {}", texts.join("; "));
    // One fault that time does not heal decides when it stands for all.
    match faults.first().map(|f| f.cause()) {
        Some(cause @ (Cause::Key | Cause::Denied | Cause::Refused | Cause::Full))
            if faults.iter().all(|f| f.cause() == cause) =>
        {
            Err(PortError::failed(cause, message))
        }
        _ => Err(PortError::transient(Cause::Unreachable, message)),
    }
}

pub(super) fn listing(inner: &Inner, destination: &dyn Destination) -> Result<Listing, PortError> {
    let bytes = destination.get(vault_file::OBJECT).map_err(|e| match e.cause() {
        Cause::NotFound | Cause::Unreachable if founding::is_ours(inner, destination) => PortError::transient(
            Cause::Unreachable,
            format!(
                "destination {}: {} lacks its {}, and holds the rest of the vault; the next snapshot puts it back",
                destination.name(),
                destination.location(),
                vault_file::OBJECT
            ),
        ),
        Cause::NotFound => PortError::transient(
            Cause::Unreachable,
            format!("destination {}: {} holds no vault", destination.name(), destination.location()),
        ),
        _ => e,
    })?;
    // A damaged marker is a finding of the check; it must not take the good objects beside it away.
    match VaultFile::from_bytes(&bytes, &inner.trusted) {
        Ok(file) if file.vault == inner.file.vault => {}
        Ok(file) => {
            let message = format!("destination {} holds another vault: {}", destination.name(), file.vault);
            return Err(PortError::failed(Cause::Refused, message));
        }
        Err(e) => {
            if let Ok(file) = VaultFile::from_bytes(&bytes, &[])
                && file.vault != inner.file.vault
            {
                let message = format!("destination {} holds another vault: {}", destination.name(), file.vault);
                return Err(PortError::failed(Cause::Refused, message));
            }
            inner.note_fault(destination, vault_file::OBJECT, &e.to_string());
        }
    }
    Ok(Listing {
        index: destination.list("index/")?.into_iter().collect(),
        snapshots: destination.list("snapshots/")?.into_iter().collect(),
    })
}

/// Fetches an object from the first destination whose bytes `accept` takes; faults of others are kept.
pub(crate) fn fetch<T>(
    inner: &Inner,
    members: &[Member],
    object: &str,
    lists: impl Fn(&Listing) -> bool,
    accept: impl Fn(Vec<u8>) -> Result<T, String>,
) -> Result<T, PortError> {
    let mut faults = Vec::new();
    let mut seen = false;
    let asked = members.iter().filter(|m| inner.reads(m.destination.as_ref()));
    for member in asked.filter(|m| m.listing().is_some_and(&lists)) {
        seen = true;
        let read = member.destination.get(object).map_err(|e| e.to_string()).and_then(&accept);
        match read {
            Ok(value) => return Ok(value),
            Err(fault) => {
                inner.note_fault(member.destination.as_ref(), object, &fault);
                faults.push(format!("destination {}: {object}: {fault}", member.destination.name()));
            }
        }
    }
    if seen {
        return Err(PortError::Corrupt(faults.join("; ")));
    }
    let place = match inner.only.get() {
        Some(only) => format!("not at {only}"),
        None => "at no destination that answers".to_owned(),
    };
    Err(PortError::failed(Cause::NotFound, format!("{object} is {place}")))
}
