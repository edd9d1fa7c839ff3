//! From two scans, the base and the answers to a plan.

use std::collections::{BTreeMap, BTreeSet};

use cathedral_model::conflict::Policy;
use cathedral_model::conflict::tree::{
    self, Body, Decision, Direction, Input, Item, Node, Tree, TreePlan, Triple, View,
};
use cathedral_model::ecosystem::{ConflictPolicy, DataSync, Side};
use cathedral_model::ids::{ConflictId, Digest};
use cathedral_model::plan::{Action, Answer, Choice, ConflictDraft, Directive, Guard, SideValue};
use cathedral_model::ports::PortError;

use super::guard::mass_deletion;
use super::handle::Facts;
use super::merge::Merger;
use super::names;
use super::scan::Scan;
use super::step::{Agree, Call, From, Step, Thing, read_shown, shown, shown_by_digest};

/// Returns the planner's words for the ecosystem's.
pub fn direction(sync: DataSync) -> Option<Direction> {
    match sync {
        DataSync::Bidirectional => Some(Direction::Both),
        DataSync::HubDistribution => Some(Direction::FromHub),
        DataSync::Collect => Some(Direction::FromSpoke),
        DataSync::SnapshotOnly => None,
    }
}

pub fn policy(policy: ConflictPolicy) -> Policy {
    match policy {
        ConflictPolicy::Queue => Policy::Queue,
        ConflictPolicy::Hub => Policy::Hub,
        ConflictPolicy::Spoke => Policy::Spoke,
        ConflictPolicy::Newest => Policy::Newest,
        ConflictPolicy::Union => Policy::Union,
    }
}

/// Said to a person who takes an agreed content that is binary or large.
const NOT_KEPT: &str = "the agreed content was not kept, it is binary or large: please take the hub's or the spoke's";

/// Said when the base is another than it was, or none.
const NOT_KNOWN: &str = "what both sides had is no longer known: please take the hub's or the spoke's";

/// The pieces of a plan for one pair.
#[derive(Default)]
pub struct Planned {
    pub steps: Vec<Step>,
    pub agreed: Vec<Agree>,
    pub actions: Vec<Action>,
    pub conflicts: Vec<ConflictDraft>,
    pub settles: Vec<ConflictId>,
    pub guards: Vec<Guard>,
}

/// What is planned for.
pub struct Planning<'a> {
    pub hub: &'a Scan,
    pub spoke: &'a Scan,
    pub base: Option<&'a Tree>,
    pub direction: Direction,
    pub policy: Policy,
    pub keeps_mtime: bool,
}

impl Planning<'_> {
    /// Runs the planner with the given answers.
    fn tree_plan(&self, decisions: &BTreeMap<Vec<u8>, Decision>, merge: &mut dyn tree::MergeContent) -> TreePlan {
        tree::plan(
            &Input {
                base: self.base,
                hub: view(self.hub),
                spoke: view(self.spoke),
                direction: self.direction,
                policy: self.policy,
                decisions,
            },
            merge,
        )
    }

    /// Plans, and writes the result down as steps, actions and conflicts.
    pub fn plan(&self, directives: &[Directive], merger: &mut Merger<'_>) -> Result<Planned, PortError> {
        let (decisions, unfit) = self.decisions(directives, merger);
        let plan = self.tree_plan(&decisions, merger);
        if let Some(e) = merger.failed.take() {
            return Err(e);
        }
        let mut planned = Planned::default();
        for directive in directives {
            let path = names::unescape(&directive.draft.item);
            if path.is_some_and(|path| plan.carried.contains(&path)) {
                planned.settles.push(directive.conflict);
            }
        }
        for dispute in &plan.disputes {
            planned.conflicts.push(draft(dispute, unfit.get(&dispute.path), merger)?);
        }
        planned.steps = self.steps(&plan);
        planned.actions = planned.steps.iter().map(action).collect();
        planned.agreed = plan.items.iter().filter(|item| item.from.base != item.to.base).map(agree).collect();
        for side in [Side::Hub, Side::Spoke] {
            let (removed, of) = self.removed(&plan, side);
            planned.guards.extend(mass_deletion(side, removed, of));
        }
        Ok(planned)
    }

    /// Counts the files that disappear on a side without being there under another name.
    fn removed(&self, plan: &TreePlan, side: Side) -> (usize, usize) {
        let is_file = |node: &&Node| !node.is_dir();
        let tree = if side == Side::Hub { &self.hub.tree } else { &self.spoke.tree };
        let ends = || plan.items.iter().map(|item| ends(item, side));
        let mut appeared: BTreeMap<&Body, usize> = BTreeMap::new();
        for (from, to) in ends() {
            if let (None, Some(node)) = (from.filter(is_file), to.filter(is_file)) {
                *appeared.entry(&node.body).or_default() += 1;
            }
        }
        let gone = ends().filter_map(|(from, to)| from.filter(is_file).filter(|_| to.filter(is_file).is_none()));
        let removed = gone
            .filter(|node| match appeared.get_mut(&node.body) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    false
                }
                _ => true,
            })
            .count();
        (removed, self.base.unwrap_or(tree).values().filter(is_file).count())
    }

    /// Turns answers into decisions; those that do not fit say why.
    fn decisions(
        &self,
        directives: &[Directive],
        merger: &mut Merger<'_>,
    ) -> (BTreeMap<Vec<u8>, Decision>, BTreeMap<Vec<u8>, String>) {
        let (mut decisions, mut unfit) = (BTreeMap::new(), BTreeMap::new());
        for directive in directives {
            let Some(path) = names::unescape(&directive.draft.item).filter(|path| names::refuse(path).is_none()) else {
                continue;
            };
            match self.decision(&path, directive, merger) {
                Ok(decision) => drop(decisions.insert(path, decision)),
                Err(why) => drop(unfit.insert(path, why)),
            }
        }
        (decisions, unfit)
    }

    fn decision(&self, path: &[u8], directive: &Directive, merger: &mut Merger<'_>) -> Result<Decision, String> {
        let draft = &directive.draft;
        let now = [self.base.and_then(|tree| tree.get(path)), self.hub.tree.get(path), self.spoke.tree.get(path)];
        if directive.answer != Answer::Undo {
            let moved = |value: &Option<SideValue>, node: Option<&Node>| {
                value.as_ref().map(|value| value.shown.clone()) != node.map(shown)
            };
            if moved(&draft.hub, now[1]) || moved(&draft.spoke, now[2]) {
                return Err("it has changed since it was answered: please answer again".to_owned());
            }
        } else if now[1] != now[0] || now[2] != now[0] || !is_left(directive, now[0]) {
            return Err("it is no longer what the answer left".to_owned());
        }
        let mode = tree::merge_mode(
            now[0].and_then(|node| node.mode),
            now[1].and_then(|node| node.mode),
            now[2].and_then(|node| node.mode),
        );
        let stored = |id: &Digest| match merger.content.get(id) {
            Ok(bytes) => Ok(Some(Node { body: Body::File { b3: id.0, size: bytes.len() as u64 }, mode })),
            Err(e) => Err(format!("the answer's content cannot be read: {e}")),
        };
        match &directive.answer {
            Answer::Take(Choice::Hub) => Ok(Decision::Hub),
            Answer::Take(Choice::Spoke) => Ok(Decision::Spoke),
            // Nothing there is an agreed value only where it was recorded.
            Answer::Take(Choice::Base) if self.base.is_none() || draft.base.is_some() != now[0].is_some() => {
                Err(NOT_KNOWN.to_owned())
            }
            Answer::Take(Choice::Base) => match now[0] {
                Some(Node { body: Body::File { b3, .. }, .. }) => {
                    let bytes = merger.base_content(b3).ok_or(NOT_KEPT)?;
                    let id = merger.content.put(&bytes).map_err(|e| e.to_string())?;
                    stored(&id).map(Decision::Value)
                }
                node => Ok(Decision::Value(node.cloned())),
            },
            Answer::Take(Choice::Suggested) => {
                let id = draft.suggested.as_ref().and_then(|value| value.content).ok_or("there is no suggestion")?;
                stored(&id).map(Decision::Value)
            }
            Answer::Content(id) => stored(id).map(Decision::Value),
            Answer::Fields(answers) => {
                let body = merger.choose(path, now, answers)?;
                Ok(Decision::Value(Some(Node { body, mode })))
            }
            Answer::With(_) => Err("a file is decided by itself".to_owned()),
            Answer::Undo => {
                let side = |value: &Option<SideValue>, needed: bool| match value {
                    None => Ok(None),
                    Some(value) => {
                        let node = read_shown(&value.shown, value.content).ok_or("it cannot be put back")?;
                        if let (Body::File { b3, .. }, true) = (&node.body, needed)
                            && !merger.content.has(&Digest(*b3)).unwrap_or(false)
                        {
                            return Err("its content is no longer stored".to_owned());
                        }
                        Ok(Some(node))
                    }
                };
                let (base, hub, spoke) =
                    (side(&draft.base, false)?, side(&draft.hub, true)?, side(&draft.spoke, true)?);
                Ok(Decision::Restore(Box::new(Triple { base, hub, spoke })))
            }
        }
    }

    /// Writes the items down as steps, in the order in which they are safe.
    fn steps(&self, plan: &TreePlan) -> Vec<Step> {
        let mut steps = vec![];
        for side in [Side::Hub, Side::Spoke] {
            let cleared: BTreeSet<&[u8]> = plan
                .items
                .iter()
                .filter(|item| matches!(ends(item, side), (Some(from), Some(to)) if from.is_dir() != to.is_dir()))
                .map(|item| item.path.as_slice())
                .collect();
            let makes_way = |path: &[u8]| cleared.contains(path) || names::parents(path).any(|p| cleared.contains(p));
            let mut phases: [Vec<Step>; 6] = Default::default();
            for item in &plan.items {
                for step in self.steps_of(item, side) {
                    let phase = match step.op {
                        Call::Remove | Call::Rmdir if makes_way(&item.path) => 0,
                        Call::Mkdir => 1,
                        Call::Write | Call::Symlink => 2,
                        Call::Attrs => 3,
                        Call::Remove | Call::Rmdir => 4,
                    };
                    phases[phase].push(step);
                }
            }
            // Children sort after their parents.
            [0, 4].into_iter().for_each(|removals: usize| phases[removals].reverse());
            steps.extend(phases.into_iter().flatten());
        }
        steps
    }

    fn steps_of(&self, item: &Item, side: Side) -> Vec<Step> {
        let (from, to) = ends(item, side);
        if from == to {
            return vec![];
        }
        let step = |op, expect: Option<&Node>, then: Option<&Node>| Step {
            op,
            at: side,
            path: names::escape(&item.path),
            expect: expect.map(Thing::of),
            then: then.map(Thing::of),
            source: None,
            mtime_ns: None,
            why: item.why.clone(),
        };
        let remove = |node: &Node| step(if node.is_dir() { Call::Rmdir } else { Call::Remove }, Some(node), None);
        let Some(to) = to else { return from.map(remove).into_iter().collect() };
        let mut steps = vec![];
        let mut expect = from;
        if let Some(from) = from {
            if from.body == to.body {
                return vec![step(Call::Attrs, Some(from), Some(to))];
            }
            if from.is_dir() != to.is_dir() {
                steps.push(remove(from));
                expect = None;
            }
        }
        steps.push(match &to.body {
            Body::Dir => step(Call::Mkdir, expect, Some(to)),
            Body::Symlink { .. } => step(Call::Symlink, expect, Some(to)),
            Body::File { .. } => {
                let (other, facts) = self.other(item, side);
                let is_there = other.is_some_and(|node| node.body == to.body);
                let mtime_ns = facts.filter(|_| is_there && self.keeps_mtime).map(|facts| facts.stamp.mtime_ns);
                let source = Some(if is_there { From::Other } else { From::Store });
                Step { source, mtime_ns, ..step(Call::Write, expect, Some(to)) }
            }
        });
        steps
    }

    fn other<'s>(&'s self, item: &'s Item, side: Side) -> (Option<&'s Node>, Option<&'s Facts>) {
        match side {
            Side::Hub => (item.from.spoke.as_ref(), self.spoke.facts.get(&item.path)),
            Side::Spoke => (item.from.hub.as_ref(), self.hub.facts.get(&item.path)),
        }
    }

    /// Returns what is not as the plan left it: changed while the plan was carried out.
    pub fn left_over(&self, conflicts: &[ConflictDraft]) -> Vec<String> {
        let plan = self.tree_plan(&BTreeMap::new(), &mut NoMerge);
        let known: BTreeMap<&str, &ConflictDraft> =
            conflicts.iter().map(|draft| (draft.item.as_str(), draft)).collect();
        let same = |value: &Option<SideValue>, node: &Option<Node>| {
            value.as_ref().map(|value| value.shown.clone()) == node.as_ref().map(shown)
        };
        let changed = plan.disputes.iter().filter(|dispute| {
            known
                .get(names::escape(&dispute.path).as_str())
                .is_none_or(|draft| !same(&draft.hub, &dispute.sides.hub) || !same(&draft.spoke, &dispute.sides.spoke))
        });
        let mut paths: BTreeSet<String> = changed.map(|dispute| names::escape(&dispute.path)).collect();
        paths.extend(plan.items.iter().map(|item| names::escape(&item.path)));
        paths.into_iter().collect()
    }
}

struct NoMerge;

impl tree::MergeContent for NoMerge {
    fn merge(&mut self, _: &[u8], _: Option<&Node>, _: &Node, _: &Node) -> tree::Merged {
        tree::Merged::Open { suggested: None, because: String::new() }
    }
}

fn view(scan: &Scan) -> View<'_> {
    View { tree: &scan.tree, frozen: &scan.frozen, held: &scan.held }
}

fn ends(item: &Item, side: Side) -> (Option<&Node>, Option<&Node>) {
    match side {
        Side::Hub => (item.from.hub.as_ref(), item.to.hub.as_ref()),
        Side::Spoke => (item.from.spoke.as_ref(), item.to.spoke.as_ref()),
    }
}

fn agree(item: &Item) -> Agree {
    Agree { agree: names::escape(&item.path), node: item.to.base.as_ref().map(Thing::of) }
}

fn action(step: &Step) -> Action {
    let text = |thing: &Option<Thing>| thing.as_ref().and_then(|thing| thing.node().ok()).map(|node| shown(&node));
    let word = match (step.op, &step.expect) {
        (Call::Mkdir | Call::Write | Call::Symlink, None) => "create",
        (Call::Mkdir | Call::Write | Call::Symlink, Some(_)) => "update",
        (Call::Attrs, _) => "chmod",
        (Call::Remove | Call::Rmdir, _) => "delete",
    };
    Action {
        side: step.at,
        target: step.path.clone(),
        action: word.to_owned(),
        from: text(&step.expect).unwrap_or_default(),
        to: text(&step.then).unwrap_or_default(),
        reason: step.why.clone(),
    }
}

/// Says whether a path is still what the answer made of it that is to be undone, as far as that is known.
fn is_left(directive: &Directive, now: Option<&Node>) -> bool {
    let draft = &directive.draft;
    let left = match &directive.undoes {
        Some(Answer::Take(Choice::Hub)) => &draft.hub,
        Some(Answer::Take(Choice::Spoke)) => &draft.spoke,
        Some(Answer::Take(Choice::Base)) => &draft.base,
        Some(Answer::Take(Choice::Suggested)) => &draft.suggested,
        Some(Answer::Content(id)) => {
            return matches!(now, Some(Node { body: Body::File { b3, .. }, .. }) if *b3 == id.0);
        }
        Some(Answer::Fields(_) | Answer::Undo | Answer::With(_)) | None => return true,
    };
    match (left, now) {
        (None, None) => true,
        (Some(left), Some(now)) => match (left.content, &now.body) {
            (Some(id), Body::File { b3, .. }) => *b3 == id.0,
            _ => left.shown == shown(now),
        },
        _ => false,
    }
}

/// Writes a dispute down for the inbox.
fn draft(dispute: &tree::Dispute, unfit: Option<&String>, merger: &mut Merger<'_>) -> Result<ConflictDraft, PortError> {
    let value = |node: &Option<Node>| {
        node.as_ref().map(|node| SideValue {
            shown: shown(node),
            content: match &node.body {
                Body::File { b3, .. } => Some(Digest(*b3)),
                _ => None,
            },
        })
    };
    let mut base = value(&dispute.sides.base);
    if let (Some(value), Some(Body::File { b3, .. })) = (&mut base, dispute.sides.base.as_ref().map(|node| &node.body))
    {
        match merger.base_content(b3) {
            Some(bytes) => drop(merger.content.put(&bytes)?),
            None => {
                // The digest alone tells what it was; with it an answer can still be undone.
                value.content = None;
                value.shown = dispute.sides.base.as_ref().map(shown_by_digest).unwrap_or_default();
            }
        }
    }
    let suggested = dispute.suggested.as_ref().map(|body| Node { body: body.clone(), mode: None });
    let item = names::escape(&dispute.path);
    Ok(ConflictDraft {
        place: item.clone(),
        item,
        conflict_kind: dispute.kind.as_str().to_owned(),
        because: unfit.cloned().unwrap_or_else(|| dispute.because.clone()),
        base,
        hub: value(&dispute.sides.hub),
        spoke: value(&dispute.sides.spoke),
        suggested: value(&suggested),
        table: None,
        pk: vec![],
        fields: merger.fields.remove(&dispute.path).unwrap_or_default(),
        group: vec![],
    })
}

/// Lists the files in dispute, by side.
pub fn disputed<'a>(conflicts: &'a [ConflictDraft]) -> impl Iterator<Item = (Side, Vec<u8>, [u8; 32])> + 'a {
    conflicts.iter().flat_map(|draft| {
        [(Side::Hub, &draft.hub), (Side::Spoke, &draft.spoke)].into_iter().filter_map(|(side, value)| {
            let id = value.as_ref()?.content?;
            Some((side, names::unescape(&draft.item)?, id.0))
        })
    })
}

/// Drops what takes no part any more.
pub fn without_ignored(tree: &mut Tree, rules: &super::rules::Rules) {
    tree.retain(|path, node| !rules.ignores_with_parents(path, node.is_dir()));
}
