//! Which packs are still there: nothing new is built on what has gone.
//!
//! Each destination is listed once for a snapshot. Contents are not read: what has its length counts as
//! there unless a check has found it damaged.

use cathedral_model::ids::{Digest, SnapshotId};
use cathedral_model::ports::{Destination, PortError};
use cathedral_model::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use super::checked::Memory;
use super::members::Member;
use super::{Inner, fanout, file_cache};
use crate::index::{self, Header};

/// A pack as a destination has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    len: u64,
    is_damaged: bool,
}

impl Copy {
    fn is_whole(self, pack: &Header) -> bool {
        self.len == pack.len && !self.is_damaged
    }
}

/// The packs of each destination.
pub(crate) type Held = Vec<HashMap<Digest, Copy>>;

/// Lists the packs of all destinations side by side; one that does not list them does not answer.
pub(crate) fn ask(members: &mut [Member], known: &Memory) -> Held {
    let list = |member: &Member| match member.listing() {
        Some(_) => member.destination.list("packs/"),
        None => Ok(Vec::new()),
    };
    let lists: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = members.iter().map(|m| scope.spawn(move || list(m))).collect();
        asked.into_iter().map(|a| a.join().unwrap_or_else(|_| Err(PortError::permanent("asking failed")))).collect()
    });
    let mut held = Held::new();
    for (member, list) in members.iter_mut().zip(lists) {
        let list = list.unwrap_or_else(|error| {
            tracing::warn!(destination = %member.destination.name(), %error, "packs cannot be listed");
            member.state = Err(error);
            Vec::new()
        });
        let damaged = known.packs(member.destination.name());
        let copy = |(object, len): (String, u64)| {
            let id = index::pack_of(&object)?;
            Some((id, Copy { len, is_damaged: damaged.contains(&id) }))
        };
        held.push(list.into_iter().filter_map(copy).collect());
    }
    held
}

/// Copies to one destination the packs that it misses and another one has.
pub(crate) fn bring(
    inner: &Inner,
    members: &[Member],
    held: &mut Held,
    to: usize,
    packs: &[Header],
) -> Result<(), PortError> {
    for pack in packs {
        let found = held[to].get(&pack.id).copied();
        if found.is_some_and(|copy| copy.is_whole(pack)) {
            continue;
        }
        let Some(bytes) = fetch(inner, members, held, pack) else {
            // What others hold but cannot give just now is no loss: this destination waits for it.
            if holders(members, held, pack).count() >= inner.quorum {
                let (name, object) = (members[to].destination.name(), index::object(&pack.id));
                return Err(PortError::Corrupt(format!("no destination gives an intact {object} to copy to {name}")));
            }
            continue;
        };
        put(inner, members[to].destination.as_ref(), pack, found, &bytes)?;
        held[to].insert(pack.id, Copy { len: pack.len, is_damaged: false });
    }
    Ok(())
}

/// Puts a whole pack, in place of a torn or damaged one where there is one.
fn put(inner: &Inner, to: &dyn Destination, pack: &Header, found: Option<Copy>, bytes: &[u8]) -> Result<(), PortError> {
    let object = index::object(&pack.id);
    let Some(copy) = found else { return fanout::put(to, &object, bytes) };
    let fault = match copy.len {
        len if len == pack.len => "does not match its name".to_owned(),
        len => format!("has {len} bytes where {} were written", pack.len),
    };
    // Whoever is killed in between leaves a pack that is missing, which the next snapshot copies again.
    to.delete(&object)?;
    fanout::put(to, &object, bytes)?;
    inner.note_mended(to, &object, &fault);
    Ok(())
}

/// Reads a pack from the first destination that gives it intact; a damaged one does not hold it.
fn fetch(inner: &Inner, members: &[Member], held: &mut Held, pack: &Header) -> Option<Vec<u8>> {
    let object = index::object(&pack.id);
    let from: Vec<usize> = holders(members, held, pack).collect();
    for at in from {
        match members[at].destination.get(&object) {
            Ok(bytes) if Digest::of(&bytes) == pack.id => return Some(bytes),
            Ok(_) => {
                inner.note_fault(members[at].destination.as_ref(), &object, "does not match its name");
                if let Some(copy) = held[at].get_mut(&pack.id) {
                    copy.is_damaged = true;
                }
            }
            Err(error) => inner.note_fault(members[at].destination.as_ref(), &object, &error.to_string()),
        }
    }
    None
}

fn holders<'a>(members: &'a [Member], held: &'a Held, pack: &'a Header) -> impl Iterator<Item = usize> + 'a {
    let holds = move |at: &usize| {
        members[*at].listing().is_some() && held[*at].get(&pack.id).is_some_and(|copy| copy.is_whole(pack))
    };
    (0..members.len()).filter(holds)
}

/// Remembers which copies are damaged after a look through all destinations, and which are no longer.
/// `before` is what was believed before the look: what another process has found meanwhile stays.
pub(crate) fn remember(members: &[Member], held: &Held, before: &Memory, known: &mut Memory, now: Timestamp) {
    for (member, packs) in members.iter().zip(held).filter(|(m, _)| m.listing().is_some()) {
        let name = member.destination.name();
        for (pack, copy) in packs {
            let object = index::object(pack);
            match (copy.is_damaged, before.is_damaged(name, &object)) {
                (true, false) => known.note(name, &object, "does not match its name", now, true),
                (false, true) => known.forget(name, &object),
                _ => {}
            }
        }
        // What is not there any more is missing, which every listing tells.
        for pack in before.packs(name).into_iter().filter(|pack| !packs.contains_key(pack)) {
            known.forget(name, &index::object(&pack));
        }
    }
}

/// Returns the packs of which no destination that answers has a whole copy.
pub(crate) fn without_copy(members: &[Member], held: &Held, packs: &[Header]) -> BTreeSet<Digest> {
    packs.iter().filter(|pack| holders(members, held, pack).next().is_none()).map(|pack| pack.id).collect()
}

/// Returns the packs that one destination does not list with their length.
pub(crate) fn unlisted<'a>(held: &'a Held, at: usize, packs: &'a [Header]) -> impl Iterator<Item = &'a Header> {
    packs.iter().filter(move |pack| held[at].get(&pack.id).is_none_or(|copy| copy.len != pack.len))
}

/// Returns the packs that some destination still misses.
pub(crate) fn gone(members: &[Member], held: &Held, packs: &[Header]) -> BTreeSet<Digest> {
    let there = members.iter().filter(|m| m.listing().is_some()).count();
    let is_gone = |pack: &&Header| holders(members, held, pack).count() < there;
    let gone: BTreeSet<Digest> = packs.iter().filter(is_gone).map(|pack| pack.id).collect();
    if !gone.is_empty() {
        let packs = gone.len();
        tracing::warn!(
            packs,
            "packs are gone: what they held is stored again where it still exists, a check says what is lost"
        );
    }
    gone
}

/// Notes that a snapshot was made without these packs, so that the next one need not look again.
pub(crate) fn note_proven(inner: &Inner, id: &SnapshotId, gone: &BTreeSet<Digest>) {
    let Some(path) = note(inner) else { return };
    if gone.is_empty() {
        let _ = fs::remove_file(path);
        return;
    }
    let packs: String = gone.iter().map(|pack| format!("{pack}\n")).collect();
    file_cache::replace(&path, format!("{id}\n{packs}").as_bytes());
}

/// Says whether a snapshot is known to need none of these packs.
pub(crate) fn is_proven(inner: &Inner, id: &SnapshotId, gone: &BTreeSet<Digest>) -> bool {
    if gone.is_empty() {
        return true;
    }
    let Some(text) = note(inner).and_then(|path| fs::read_to_string(path).ok()) else { return false };
    let mut lines = text.lines();
    let is_same = lines.next() == Some(id.as_str());
    let known: BTreeSet<Digest> = lines.filter_map(|line| Digest::parse(line).ok()).collect();
    is_same && gone.is_subset(&known)
}

fn note(inner: &Inner) -> Option<PathBuf> {
    inner.cache.as_ref().map(|dir| dir.join("gone"))
}
