//! What parents and children mean for each other: a thing needs its directory, so a directory stays or comes back
//! where something inside stays or comes.

use super::local::{Cover, Slot, below, is_within};
use super::{Body, Decision, Input, Kind, Node, Triple};
use crate::conflict::Side;
use crate::resolver::Policy;

/// Makes the verdicts fit together, from the leaves up.
pub(super) fn settle(input: &Input<'_>, slots: &mut [Slot<'_>]) {
    // Whether something stays below a path, per side. What takes no part is not in the slots, so it is seeded.
    let mut needed = vec![[false; 2]; slots.len()];
    seed(input, slots, &mut needed);
    for index in (0..slots.len()).rev() {
        if !fits(&slots[index], needed[index]) {
            if repair(input, slots, index, needed[index]) {
                // Everything below was decided anew.
                let below = below(slots, slots[index].path);
                needed[index] = [Side::Hub, Side::Spoke]
                    .map(|side| slots[below.clone()].iter().any(|slot| slot.after(side).is_some()));
            }
            if !fits(&slots[index], needed[index]) {
                // Whatever it is, leaving everything here as it is cannot be wrong.
                leave_all(slots, index);
            }
        }
        let parent = parent_of(slots[index].path).and_then(|parent| find(slots, parent));
        if let Some(parent) = parent {
            for (side, need) in [Side::Hub, Side::Spoke].into_iter().zip(&mut needed[parent]) {
                *need |= slots[index].after(side).is_some();
            }
        }
    }
}

fn seed(input: &Input<'_>, slots: &[Slot<'_>], needed: &mut [[bool; 2]]) {
    for (side, view) in [input.hub, input.spoke].into_iter().enumerate() {
        let inside = view.frozen.iter().filter_map(|path| parent_of(path));
        for path in inside.chain(view.held.iter().map(Vec::as_slice)) {
            if let Some(index) = find(slots, path).filter(|_| view.tree.get(path).is_some_and(Node::is_dir)) {
                needed[index][side] = true;
            }
        }
    }
}

fn parent_of(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|b| *b == b'/').map(|at| &path[..at])
}

fn find(slots: &[Slot<'_>], path: &[u8]) -> Option<usize> {
    slots.binary_search_by(|slot| slot.path.cmp(path)).ok()
}

fn fits(slot: &Slot<'_>, needed: [bool; 2]) -> bool {
    [Side::Hub, Side::Spoke]
        .into_iter()
        .zip(needed)
        .all(|(side, needed)| !needed || slot.after(side).is_some_and(Node::is_dir))
}

/// Decides a path again so that it fits; says whether everything below was decided with it.
fn repair(input: &Input<'_>, slots: &mut [Slot<'_>], index: usize, needed: [bool; 2]) -> bool {
    let slot = &mut slots[index];
    let from = slot.from.clone();
    if from == Triple::default() {
        slot.agree(Some(Node { body: Body::Dir, mode: None }), "comes back: something inside comes back");
        return false;
    }
    let removed = [Side::Hub, Side::Spoke].into_iter().all(|side| slot.after(side).is_none());
    let dir = [&from.hub, &from.spoke].into_iter().flatten().find(|node| node.is_dir()).cloned();
    let in_the_way = [&from.hub, &from.spoke].into_iter().flatten().any(|node| !node.is_dir());
    if removed || (slot.dispute.is_none() && slot.to.is_none()) {
        if needed == [true, true] && !in_the_way && dir.is_some() {
            slot.agree(dir, "comes back: something inside is new or was edited");
        } else {
            // Stays where it is needed, does not come back elsewhere.
            slot.kept = slot.to.is_some();
            slot.leave();
        }
        return false;
    }
    if slot.dispute.is_some() {
        return false;
    }
    // A directory became something else here, and has to stay for what is inside.
    let unseen = is_above_unseen(input, slots[index].path);
    let decision = input.decisions.get(slots[index].path);
    let side = match (decision, input.policy) {
        _ if unseen => None,
        (Some(Decision::Hub), _) => Some((Side::Hub, "answered: hub")),
        (Some(Decision::Spoke), _) => Some((Side::Spoke, "answered: spoke")),
        (None, Policy::Hub) => Some((Side::Hub, "policy: hub")),
        (None, Policy::Spoke) => Some((Side::Spoke, "policy: spoke")),
        _ => None,
    };
    let range = below(slots, slots[index].path);
    let Some((side, why)) = side else {
        leave_all(slots, index);
        return false;
    };
    for i in std::iter::once(index).chain(range) {
        slots[i].cover(Cover::Take(side), why);
    }
    slots[index].carried = decision.is_some();
    true
}

/// Says whether something below takes no part, so that the directory cannot go.
fn is_above_unseen(input: &Input<'_>, path: &[u8]) -> bool {
    [input.hub, input.spoke].into_iter().any(|view| {
        let below = |set: &std::collections::BTreeSet<Vec<u8>>| {
            set.iter().any(|p| p == path || (p.starts_with(path) && p.get(path.len()) == Some(&b'/')))
        };
        below(view.frozen) || below(view.held) || is_within(view.frozen, path)
    })
}

/// Leaves a path and everything below as it is, as one dispute.
fn leave_all(slots: &mut [Slot<'_>], index: usize) {
    for i in below(slots, slots[index].path) {
        slots[i].cover(Cover::Leave, "");
    }
    let because = "it became something else on one side, while something inside was changed on the other";
    slots[index].open(Kind::Type, because, None);
}
