//! Mending small objects that a check has found damaged: from another destination, or from what the hub
//! has itself. Packs are mended with those that are missing.

use cathedral_model::ids::DestinationName;
use cathedral_model::ports::{Destination, PortError};
use cathedral_model::time::Timestamp;

use super::checked::Memory;
use super::members::{self, Member};
use super::{Inner, adopt, check, fanout, founding, index_cache};
use crate::{stock, vault_file};

/// Writes the small objects of one destination again that are known to be damaged, as far as their right
/// bytes can be had. The marker is mended before, with whatever else the vault was founded with.
pub(crate) fn mend(
    inner: &Inner,
    members: &[Member],
    to: usize,
    known: &Memory,
    mended: &mut Vec<(DestinationName, String)>,
) -> Result<(), PortError> {
    let target = members[to].destination.as_ref();
    let Some(at) = known.destinations.get(target.name()) else { return Ok(()) };
    let is_small = |object: &&String| {
        let is_ours = ["index/", "snapshots/", "keys/"].iter().any(|prefix| object.starts_with(prefix));
        is_ours || founding::is_founding(object)
    };
    let damaged: Vec<(String, String)> =
        at.damaged.iter().filter(|(o, _)| is_small(o)).map(|(o, d)| (o.clone(), d.fault.clone())).collect();
    for (object, fault) in damaged {
        // It may have been put right by hand since.
        if !target.get(&object).is_ok_and(|bytes| check::judge(inner, &object, &bytes).is_ok()) {
            if object == vault_file::OBJECT {
                continue;
            }
            let Some(bytes) = right_bytes(inner, members, to, &object) else { continue };
            replace(target, &object, &bytes)?;
            inner.note_mended(target, &object, &fault);
        }
        mended.push((target.name().clone(), object));
    }
    Ok(())
}

fn replace(target: &dyn Destination, object: &str, bytes: &[u8]) -> Result<(), PortError> {
    target.delete(object)?;
    fanout::put(target, object, bytes)
}

fn right_bytes(inner: &Inner, members: &[Member], to: usize, object: &str) -> Option<Vec<u8>> {
    let elsewhere = members.iter().enumerate().filter(|(at, m)| *at != to && m.listing().is_some());
    let is_right = |bytes: &Vec<u8>| check::judge(inner, object, bytes).is_ok();
    elsewhere.filter_map(|(_, m)| m.destination.get(object).ok()).find(is_right).or_else(|| own(inner, members, object))
}

/// What the hub can give itself: its own sealed key, the texts of this release if they are the vault's,
/// and an index.
pub(super) fn own(inner: &Inner, members: &[Member], object: &str) -> Option<Vec<u8>> {
    if object == super::found::KEY_OBJECT {
        return inner.sealed_key.clone();
    }
    if let Some((_, text)) = stock::FILES.iter().find(|(name, _)| *name == object) {
        let bytes = text.as_bytes().to_vec();
        return check::judge(inner, object, &bytes).is_ok().then_some(bytes);
    }
    if object.starts_with("index/") {
        // Where the cache is lost too, the packs' own tables say what an index did.
        let packs = index_cache::load(inner, members, object).unwrap_or_else(|_| adopt::unindexed(inner, members));
        let sealed = index_cache::seal(inner, &packs).ok()?;
        let mut index = inner.write_index();
        packs.iter().for_each(|pack| index.add(pack));
        return Some(sealed);
    }
    None
}

/// Which small objects a listing is asked for.
type Pick = fn(&members::Listing) -> &std::collections::BTreeMap<String, u64>;

/// The length an object has where it is longest; at least one byte.
fn longest(members: &[Member], pick: Pick, object: &str) -> u64 {
    let lengths = members.iter().filter_map(|m| pick(m.listing()?).get(object).copied());
    lengths.max().unwrap_or(0).max(1)
}

/// Notes indexes and manifests that are cut short: listings tell it without a check.
pub(crate) fn note_short(members: &[Member], known: &mut Memory, now: Timestamp) {
    let picks: [Pick; 2] = [|l| &l.index, |l| &l.snapshots];
    for member in members {
        let Some(listing) = member.listing() else { continue };
        for pick in picks {
            for (object, len) in pick(listing).iter().filter(|(o, len)| **len < longest(members, pick, o)) {
                known.note(member.destination.name(), object, &format!("cut short: {len} bytes"), now, true);
            }
        }
    }
}

/// Counts what one destination lacks of the small objects that any destination lists.
pub(crate) fn lacking(inner: &Inner, members: &[Member], at: usize) -> u64 {
    let Some(listing) = members[at].listing() else { return 0 };
    let all = |pick: Pick| {
        let named: std::collections::BTreeSet<&String> =
            members.iter().filter_map(Member::listing).flat_map(|l| pick(l).keys()).collect();
        let is_whole =
            |object: &&String| pick(listing).get(*object).is_some_and(|len| *len >= longest(members, pick, object));
        named.iter().filter(|object| !is_whole(object)).count() as u64
    };
    let absent = founding::faults(inner, members[at].destination.as_ref()).len() as u64;
    all(|l| &l.index) + all(|l| &l.snapshots) + absent
}
