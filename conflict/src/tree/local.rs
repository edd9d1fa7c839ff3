//! The verdict on each path by itself; what depends on parents and children comes later.

use std::collections::BTreeSet;

use super::{Body, Decision, Direction, Input, Kind, MergeContent, Merged, Node, Triple, merge_mode};
use crate::conflict::Side;
use crate::resolver::Policy;

/// One path on its way through the planner.
pub(super) struct Slot<'a> {
    pub path: &'a [u8],
    pub from: Triple,
    /// The sides after; `None` when everything is left as it is.
    pub to: Option<Triple>,
    pub why: String,
    pub dispute: Option<Open>,
    /// An answer was carried out here.
    pub carried: bool,
    /// A directory that stays on one side only, for what is inside.
    pub kept: bool,
}

/// What is told of a dispute besides its path and sides.
pub(super) struct Open {
    pub kind: Kind,
    pub because: String,
    pub suggested: Option<Body>,
}

/// What happens to everything below a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    Leave,
    Take(Side),
}

impl Slot<'_> {
    /// Leaves both sides as they are.
    pub fn leave(&mut self) {
        self.to = None;
        self.carried = false;
    }

    pub fn agree(&mut self, node: Option<Node>, why: impl Into<String>) {
        self.to = Some(Triple::agreed(node));
        self.why = why.into();
    }

    pub fn open(&mut self, kind: Kind, because: impl Into<String>, suggested: Option<Body>) {
        self.leave();
        self.dispute = Some(Open { kind, because: because.into(), suggested });
    }

    /// Applies what was decided for a parent.
    pub fn cover(&mut self, cover: Cover, why: &str) {
        self.dispute = None;
        self.carried = false;
        match cover {
            Cover::Leave => self.leave(),
            Cover::Take(Side::Hub) => self.agree(self.from.hub.clone(), why),
            Cover::Take(_) => self.agree(self.from.spoke.clone(), why),
        }
    }

    /// Returns what stands on a side after the plan.
    pub fn after(&self, side: Side) -> Option<&Node> {
        let sides = self.to.as_ref().unwrap_or(&self.from);
        match side {
            Side::Hub => sides.hub.as_ref(),
            Side::Spoke => sides.spoke.as_ref(),
            Side::Base => sides.base.as_ref(),
        }
    }

    fn has_dir(&self) -> bool {
        [&self.from.hub, &self.from.spoke].into_iter().flatten().any(Node::is_dir)
    }
}

/// Returns the positions of everything below `path`.
pub(super) fn below(slots: &[Slot<'_>], path: &[u8]) -> std::ops::Range<usize> {
    let mut bound = path.to_vec();
    bound.push(b'/');
    let start = slots.partition_point(|slot| slot.path < bound.as_slice());
    *bound.last_mut().expect("it was pushed above") = b'/' + 1;
    let end = slots.partition_point(|slot| slot.path < bound.as_slice());
    start..end
}

/// Says whether a path or one of its parents is in the set.
pub(super) fn is_within(set: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    if set.is_empty() {
        return false;
    }
    let parents = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| &path[..i]);
    set.contains(path) || parents.into_iter().any(|parent| set.contains(parent))
}

/// Returns every path with its verdict, sorted by path.
pub(super) fn decide<'a>(input: &Input<'a>, merge: &mut dyn MergeContent) -> Vec<Slot<'a>> {
    let mut slots = slots(input);
    let frozen: Vec<bool> = slots
        .iter()
        .map(|slot| is_within(input.hub.frozen, slot.path) || is_within(input.spoke.frozen, slot.path))
        .collect();
    let mut covered = vec![false; slots.len()];
    for index in 0..slots.len() {
        if frozen[index] || covered[index] {
            continue;
        }
        // What the leading side changed below; only asked for where changes travel one way.
        let lead_changed_below = match input.direction {
            Direction::Both => false,
            Direction::FromHub => below(&slots, slots[index].path).any(|i| slots[i].from.hub != slots[i].from.base),
            Direction::FromSpoke => below(&slots, slots[index].path).any(|i| slots[i].from.spoke != slots[i].from.base),
        };
        let Some(cover) = verdict(input, &mut slots[index], lead_changed_below, merge) else { continue };
        let why = slots[index].why.clone();
        for i in below(&slots, slots[index].path) {
            covered[i] = true;
            slots[i].cover(if frozen[i] { Cover::Leave } else { cover }, &why);
        }
    }
    slots
}

fn slots<'a>(input: &Input<'a>) -> Vec<Slot<'a>> {
    let trees = [input.base, Some(input.hub.tree), Some(input.spoke.tree)];
    // An answer that removed a path everywhere can be taken back, too: the path is then in no tree.
    let taken_back = input.decisions.iter().filter(|(_, decision)| matches!(decision, Decision::Restore(_)));
    // So may its folders be.
    let taken_back = taken_back.flat_map(|(path, _)| {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).map(|end| &path[..end])
    });
    let there = trees.iter().flatten().flat_map(|tree| tree.keys().map(Vec::as_slice));
    let paths: BTreeSet<&[u8]> = there.chain(taken_back).collect();
    paths
        .into_iter()
        .map(|path| Slot {
            path,
            from: Triple {
                base: input.base.and_then(|tree| tree.get(path)).cloned(),
                hub: input.hub.tree.get(path).cloned(),
                spoke: input.spoke.tree.get(path).cloned(),
            },
            to: None,
            why: String::new(),
            dispute: None,
            carried: false,
            kept: false,
        })
        .collect()
}

/// Decides one path, and for directories perhaps all below.
fn verdict(
    input: &Input<'_>,
    slot: &mut Slot<'_>,
    lead_changed_below: bool,
    merge: &mut dyn MergeContent,
) -> Option<Cover> {
    let decision = input.decisions.get(slot.path);
    if let Some(Decision::Restore(sides)) = decision
        && !slot.has_dir()
        && ![&sides.hub, &sides.spoke].into_iter().flatten().any(Node::is_dir)
    {
        slot.to = Some((**sides).clone());
        slot.why = "answer taken back".to_owned();
        slot.carried = true;
        let kind = kind_of(sides);
        let because = "the answer was taken back".to_owned();
        slot.dispute = Some(Open { kind, because, suggested: None });
        return None;
    }
    let (Triple { base, hub, spoke }, direction) = (&slot.from, input.direction);
    let bodies = |node: &Option<Node>| node.as_ref().map(|node| node.body.clone());
    let (base_body, hub_body, spoke_body) = (bodies(base), bodies(hub), bodies(spoke));
    if hub_body == spoke_body {
        return same_body(slot, direction, decision);
    }
    let (from_hub, from_spoke) = (direction != Direction::FromSpoke, direction != Direction::FromHub);
    if base_body == spoke_body && from_hub {
        let why = word(base.as_ref(), hub.as_ref(), "hub");
        one_sided(slot, Side::Hub, why);
        return None;
    }
    if base_body == hub_body && from_spoke {
        let why = word(base.as_ref(), spoke.as_ref(), "spoke");
        one_sided(slot, Side::Spoke, why);
        return None;
    }
    if direction != Direction::Both {
        return drift(input, slot, decision, lead_changed_below);
    }
    if base.is_some() && (hub.is_none() || spoke.is_none()) {
        return delete_edit(input, slot, decision);
    }
    match (hub_body, spoke_body) {
        (Some(Body::File { .. }), Some(Body::File { .. })) => {
            both_edited(input, slot, decision, merge);
            None
        }
        _ => {
            let kind = kind_of(&slot.from);
            let because = if kind == Kind::Type {
                "the sides hold things of different kinds"
            } else {
                "both sides changed where the link points"
            };
            settle_by_word(input.policy, slot, decision, kind, because, None)
        }
    }
}

/// Both sides hold the same thing; only attributes may differ.
fn same_body(slot: &mut Slot<'_>, direction: Direction, decision: Option<&Decision>) -> Option<Cover> {
    let Triple { base, hub, spoke } = &slot.from;
    let mode = |node: &Option<Node>| node.as_ref().and_then(|node| node.mode);
    let drifted = base.is_some() && decision.is_none() && hub.is_some() && mode(hub) != mode(spoke);
    if drifted
        && match direction {
            Direction::Both => false,
            Direction::FromHub => mode(hub) == mode(base),
            Direction::FromSpoke => mode(spoke) == mode(base),
        }
    {
        slot.leave();
        return None;
    }
    let node = hub.as_ref().zip(spoke.as_ref()).map(|(hub, spoke)| {
        let before = base.as_ref().filter(|base| base.is_dir() == hub.is_dir()).and_then(|base| base.mode);
        let mode = match (direction, decision) {
            (_, Some(Decision::Hub)) | (Direction::FromHub, _) => hub.mode,
            (_, Some(Decision::Spoke)) | (Direction::FromSpoke, _) => spoke.mode,
            (Direction::Both, _) => merge_mode(before, hub.mode, spoke.mode),
        };
        Node { body: hub.body.clone(), mode }
    });
    let why = if hub == spoke { "equal on both sides" } else { "permissions changed" };
    slot.agree(node, why);
    None
}

/// Only one side changed what is there: the change goes to the other side, attributes are merged.
fn one_sided(slot: &mut Slot<'_>, changed: Side, why: String) {
    let Triple { base, hub, spoke } = &slot.from;
    let node = if changed == Side::Hub { hub } else { spoke };
    let node = node.clone().map(|node| with_merged_mode(node, base.as_ref(), hub.as_ref(), spoke.as_ref()));
    slot.agree(node, why);
}

/// Gives a node the permission bits that follow from all sides that hold a thing of its kind.
fn with_merged_mode(node: Node, base: Option<&Node>, hub: Option<&Node>, spoke: Option<&Node>) -> Node {
    let alike = |side: Option<&Node>| {
        side.filter(|side| std::mem::discriminant(&side.body) == std::mem::discriminant(&node.body))
            .and_then(|side| side.mode)
    };
    let mode = match (alike(hub), alike(spoke)) {
        (None, None) => node.mode,
        (hub, spoke) => merge_mode(alike(base), hub, spoke),
    };
    Node { body: node.body, mode }
}

fn word(base: Option<&Node>, now: Option<&Node>, side: &str) -> String {
    match (base, now) {
        (None, _) => format!("created on {side}"),
        (_, None) => format!("deleted on {side}"),
        (Some(base), Some(now)) if std::mem::discriminant(&base.body) != std::mem::discriminant(&now.body) => {
            format!("replaced on {side}")
        }
        _ => format!("edited on {side}"),
    }
}

fn kind_of(sides: &Triple) -> Kind {
    match (&sides.hub, &sides.spoke) {
        (Some(hub), Some(spoke)) if std::mem::discriminant(&hub.body) != std::mem::discriminant(&spoke.body) => {
            Kind::Type
        }
        (None, Some(_)) => Kind::DeleteUpdate,
        (Some(_), None) => Kind::UpdateDelete,
        _ if sides.base.is_none() => Kind::Insert,
        _ => Kind::Update,
    }
}

/// One side deleted what the other changed.
fn delete_edit(input: &Input<'_>, slot: &mut Slot<'_>, decision: Option<&Decision>) -> Option<Cover> {
    let Triple { base, hub, spoke } = &slot.from;
    let (left, side) = if hub.is_none() { (spoke, "spoke") } else { (hub, "hub") };
    let kinds = [base, left].map(|node| node.as_ref().map(|node| std::mem::discriminant(&node.body)));
    if kinds[0] != kinds[1] {
        // Both removed the old thing; one put a new one there.
        let (left, why) = (left.clone(), format!("replaced on {side}, deleted on the other side"));
        slot.agree(left, why);
        return None;
    }
    if input.policy == Policy::Union && decision.is_none() {
        let (left, why) = (left.clone(), format!("edited on {side}: the edit stays (policy: union)"));
        slot.agree(left, why);
        return None;
    }
    let kind = kind_of(&slot.from);
    let because = match kind {
        Kind::DeleteUpdate => "the hub deleted it, the spoke edited it",
        _ => "the spoke deleted it, the hub edited it",
    };
    settle_by_word(input.policy, slot, decision, kind, because, None)
}

fn both_edited(input: &Input<'_>, slot: &mut Slot<'_>, decision: Option<&Decision>, merge: &mut dyn MergeContent) {
    let Triple { base, hub: Some(hub), spoke: Some(spoke) } = slot.from.clone() else { return };
    let base = base.filter(|base| matches!(base.body, Body::File { .. }));
    let kind = if base.is_some() { Kind::Update } else { Kind::Insert };
    if decision.is_some() {
        let _ = settle_by_word(input.policy, slot, decision, kind, "the answer does not fit", None);
        return;
    }
    match merge.merge(slot.path, base.as_ref(), &hub, &spoke) {
        Merged::Resolved { body, because } => {
            let node = with_merged_mode(Node { body, mode: None }, base.as_ref(), Some(&hub), Some(&spoke));
            slot.agree(Some(node), because);
        }
        Merged::Open { suggested, because } => {
            let _ = settle_by_word(input.policy, slot, None, kind, &because, suggested);
        }
        Merged::Unreadable => slot.leave(),
    }
}

/// Changes on the side from which none travel. The other side's own changes win; nothing else is touched.
fn drift(
    input: &Input<'_>,
    slot: &mut Slot<'_>,
    decision: Option<&Decision>,
    lead_changed_below: bool,
) -> Option<Cover> {
    let Triple { base, hub, spoke } = &slot.from;
    let (lead, name) = match input.direction {
        Direction::FromHub => (hub, "hub"),
        _ => (spoke, "spoke"),
    };
    let other = if name == "hub" { "spoke" } else { "hub" };
    let lead_changed = lead.as_ref().map(|node| &node.body) != base.as_ref().map(|node| &node.body);
    let over_directory = slot.has_dir();
    if lead_changed && base.is_some() && !over_directory && decision.is_none() {
        let (lead, why) =
            (lead.clone(), format!("{} over a change of the {other}", word(base.as_ref(), lead.as_ref(), name)));
        slot.agree(lead, why);
        return None;
    }
    let follows = matches!((input.policy, name), (Policy::Hub, "hub") | (Policy::Spoke, "spoke"));
    if lead_changed_below && lead.as_ref().is_some_and(Node::is_dir) && decision.is_none() && !follows {
        // The other side removed a directory in which there is something new: it comes back with that.
        let lead = lead.clone();
        slot.agree(lead, format!("changed on {name}"));
        return None;
    }
    let kind = if base.is_none() && hub.is_some() && spoke.is_some() { kind_of(&slot.from) } else { Kind::Drift };
    let because = format!("the {other} was changed, and changes travel from the {name} only");
    let policy = if follows { input.policy } else { Policy::Queue };
    settle_by_word(policy, slot, decision, kind, &because, None)
}

/// Where no merge decides: the answer, the policy, or a person.
fn settle_by_word(
    policy: Policy,
    slot: &mut Slot<'_>,
    decision: Option<&Decision>,
    kind: Kind,
    because: &str,
    suggested: Option<Body>,
) -> Option<Cover> {
    let has_dir = slot.has_dir();
    let side = match (decision, policy) {
        (Some(Decision::Hub), _) => Some((Side::Hub, "answered: hub")),
        (Some(Decision::Spoke), _) => Some((Side::Spoke, "answered: spoke")),
        (None, Policy::Hub) => Some((Side::Hub, "policy: hub")),
        (None, Policy::Spoke) => Some((Side::Spoke, "policy: spoke")),
        _ => None,
    };
    if let Some((side, why)) = side {
        slot.cover(Cover::Take(side), why);
        slot.carried = decision.is_some();
        return has_dir.then_some(Cover::Take(side));
    }
    if let Some(Decision::Value(node)) = decision
        && !has_dir
        && !node.as_ref().is_some_and(Node::is_dir)
    {
        slot.agree(node.clone(), "answered");
        slot.carried = true;
        return None;
    }
    slot.open(kind, because, suggested);
    has_dir.then_some(Cover::Leave)
}
