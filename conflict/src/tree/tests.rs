#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

/// Merges by a rule that both sides could compute: contents whose numbers add up to an even one merge.
struct Even;

fn number(node: &Node) -> u8 {
    match node.body {
        Body::File { b3, .. } => b3[0],
        _ => 0,
    }
}

impl MergeContent for Even {
    fn merge(&mut self, _: &[u8], base: Option<&Node>, hub: &Node, spoke: &Node) -> Merged {
        let sum = number(hub) + number(spoke);
        if base.is_some() && sum.is_multiple_of(2) {
            Merged::Resolved { body: Body::File { b3: [100 + sum; 32], size: 1 }, because: "even".into() }
        } else {
            Merged::Open { suggested: None, because: "odd".into() }
        }
    }
}

struct Never;

impl MergeContent for Never {
    fn merge(&mut self, _: &[u8], _: Option<&Node>, _: &Node, _: &Node) -> Merged {
        Merged::Open { suggested: None, because: "never".into() }
    }
}

fn file(n: u8) -> Node {
    Node { body: Body::File { b3: [n; 32], size: 1 }, mode: Some(0o644) }
}

fn dir() -> Node {
    Node { body: Body::Dir, mode: Some(0o755) }
}

fn link(n: u8) -> Node {
    Node { body: Body::Symlink { target: vec![b'0' + n] }, mode: None }
}

fn tree(entries: &[(&str, Node)]) -> Tree {
    let mut tree = Tree::new();
    for (path, node) in entries {
        put(&mut tree, path.as_bytes(), Some(node.clone()));
    }
    tree
}

fn range_below(path: &[u8]) -> std::ops::Range<Vec<u8>> {
    [path, b"/"].concat()..[path, b"0"].concat()
}

/// Changes a path, making or removing what has to be there or not for it.
fn put(tree: &mut Tree, path: &[u8], node: Option<Node>) {
    let gone: Vec<_> = tree.range(range_below(path)).map(|(p, _)| p.clone()).collect();
    if !node.as_ref().is_some_and(Node::is_dir) {
        gone.iter().for_each(|p| drop(tree.remove(p)));
    }
    match node {
        None => drop(tree.remove(path)),
        Some(node) => {
            for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                if !tree.get(&path[..at]).is_some_and(Node::is_dir) {
                    tree.insert(path[..at].to_vec(), dir());
                }
            }
            tree.insert(path.to_vec(), node);
        }
    }
}

struct World {
    base: Option<Tree>,
    hub: Tree,
    spoke: Tree,
    direction: Direction,
    policy: Policy,
    decisions: BTreeMap<Vec<u8>, Decision>,
    frozen: [BTreeSet<Vec<u8>>; 2],
    held: [BTreeSet<Vec<u8>>; 2],
}

impl World {
    fn new(base: Option<Tree>, hub: Tree, spoke: Tree) -> World {
        let none = || [BTreeSet::new(), BTreeSet::new()];
        let decisions = BTreeMap::new();
        let (direction, policy) = (Direction::Both, Policy::Queue);
        World { base, hub, spoke, direction, policy, decisions, frozen: none(), held: none() }
    }

    fn plan(&self, merge: &mut dyn MergeContent) -> TreePlan {
        let view = |tree, side: usize| View { tree, frozen: &self.frozen[side], held: &self.held[side] };
        let input = Input {
            base: self.base.as_ref(),
            hub: view(&self.hub, 0),
            spoke: view(&self.spoke, 1),
            direction: self.direction,
            policy: self.policy,
            decisions: &self.decisions,
        };
        plan(&input, merge)
    }

    fn after(&self, plan: &TreePlan) -> World {
        let mut next = World::new(Some(self.base.clone().unwrap_or_default()), self.hub.clone(), self.spoke.clone());
        next.direction = self.direction;
        next.policy = self.policy;
        next.frozen = self.frozen.clone();
        next.held = self.held.clone();
        for item in &plan.items {
            let sides = [
                (next.base.as_mut().unwrap(), &item.from.base, &item.to.base),
                (&mut next.hub, &item.from.hub, &item.to.hub),
                (&mut next.spoke, &item.from.spoke, &item.to.spoke),
            ];
            for (tree, from, to) in sides {
                assert_eq!(tree.get(&item.path), from.as_ref(), "a plan says what it expects");
                match to {
                    Some(node) => drop(tree.insert(item.path.clone(), node.clone())),
                    None => drop(tree.remove(&item.path)),
                }
            }
        }
        next
    }

    fn swapped(&self) -> World {
        let mut other = World::new(self.base.clone(), self.spoke.clone(), self.hub.clone());
        other.direction = match self.direction {
            Direction::Both => Direction::Both,
            Direction::FromHub => Direction::FromSpoke,
            Direction::FromSpoke => Direction::FromHub,
        };
        other.policy = match self.policy {
            Policy::Hub => Policy::Spoke,
            Policy::Spoke => Policy::Hub,
            policy => policy,
        };
        other.frozen = [self.frozen[1].clone(), self.frozen[0].clone()];
        other.held = [self.held[1].clone(), self.held[0].clone()];
        other
    }
}

fn assert_is_tree(tree: &Tree, what: &str) {
    for path in tree.keys() {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let parent = &path[..at];
            assert!(
                tree.get(parent).is_some_and(Node::is_dir),
                "{what}: {} has no directory to be in",
                path.escape_ascii()
            );
        }
    }
}

fn check(base: &[(&str, Node)], hub: &[(&str, Node)], spoke: &[(&str, Node)]) -> (World, TreePlan) {
    let world = World::new(Some(tree(base)), tree(hub), tree(spoke));
    let plan = world.plan(&mut Never);
    let after = world.after(&plan);
    assert_is_tree(&after.hub, "hub");
    assert_is_tree(&after.spoke, "spoke");
    (after, plan)
}

fn kinds(plan: &TreePlan) -> Vec<(String, Kind)> {
    plan.disputes.iter().map(|d| (d.path.escape_ascii().to_string(), d.kind)).collect()
}

#[test]
fn each_cell_of_the_table_has_its_outcome() {
    let (f, g, h) = (file(1), file(2), file(3));
    let some = |n: &Node| Some(n.clone());
    // base, hub, spoke -> agreed state, or the kind of dispute
    let table = [
        (some(&f), some(&g), some(&f), Ok(some(&g))),
        (some(&f), some(&f), some(&g), Ok(some(&g))),
        (some(&f), some(&g), some(&g), Ok(some(&g))),
        (some(&f), some(&g), some(&h), Err(Kind::Update)),
        (some(&f), None, some(&f), Ok(None)),
        (some(&f), some(&f), None, Ok(None)),
        (some(&f), None, None, Ok(None)),
        (some(&f), None, some(&g), Err(Kind::DeleteUpdate)),
        (some(&f), some(&g), None, Err(Kind::UpdateDelete)),
        (some(&f), some(&link(1)), some(&f), Ok(some(&link(1)))),
        (some(&f), some(&link(1)), some(&g), Err(Kind::Type)),
        (some(&f), some(&link(1)), None, Ok(some(&link(1)))),
        (some(&link(1)), some(&link(2)), some(&link(3)), Err(Kind::Update)),
        (None, some(&f), None, Ok(some(&f))),
        (None, None, some(&f), Ok(some(&f))),
        (None, some(&f), some(&f), Ok(some(&f))),
        (None, some(&f), some(&g), Err(Kind::Insert)),
        (None, some(&f), some(&dir()), Err(Kind::Type)),
    ];
    for (base, hub, spoke, expect) in table {
        let of = |node: &Option<Node>| node.iter().map(|n| (b"x".to_vec(), n.clone())).collect::<Tree>();
        let world = World::new(Some(of(&base)), of(&hub), of(&spoke));
        let plan = world.plan(&mut Never);
        let after = world.after(&plan);
        match &expect {
            Ok(node) => {
                for tree in [after.base.as_ref().unwrap(), &after.hub, &after.spoke] {
                    assert_eq!(tree.get(&b"x"[..]), node.as_ref(), "{base:?} {hub:?} {spoke:?}");
                }
            }
            Err(kind) => {
                assert_eq!(kinds(&plan), [("x".to_owned(), *kind)]);
                assert!(plan.items.is_empty(), "both sides keep what they have");
            }
        }
    }
}

#[test]
fn a_deleted_directory_comes_back_with_only_what_is_new_inside() {
    let base = [("d", dir()), ("d/old", file(1)), ("d/sub", dir()), ("d/sub/old", file(2))];
    let mut spoke = base.to_vec();
    spoke.push(("d/new", file(3)));
    let (after, plan) = check(&base, &[], &spoke);
    assert!(plan.disputes.is_empty());
    assert_eq!(after.hub, tree(&[("d", dir()), ("d/new", file(3))]));
    assert_eq!(after.spoke, after.hub);
}

#[test]
fn a_deleted_directory_with_an_edit_inside_stays_on_the_side_of_the_edit_until_answered() {
    let base = [("d", dir()), ("d/a", file(1)), ("d/b", file(2))];
    let spoke = [("d", dir()), ("d/a", file(1)), ("d/b", file(9))];
    let (after, plan) = check(&base, &[], &spoke);
    assert_eq!(kinds(&plan), [("d/b".to_owned(), Kind::DeleteUpdate)]);
    assert_eq!(after.hub, Tree::new());
    assert_eq!(after.spoke, tree(&[("d", dir()), ("d/b", file(9))]));
    for (decision, expect) in [(Decision::Hub, Tree::new()), (Decision::Spoke, tree(&[("d", dir()), ("d/b", file(9))]))]
    {
        let mut world = after.after(&TreePlan::default());
        world.decisions.insert(b"d/b".to_vec(), decision);
        let plan = world.plan(&mut Never);
        assert_eq!(plan.carried, [b"d/b".to_vec()]);
        let done = world.after(&plan);
        assert_eq!((&done.hub, &done.spoke), (&expect, &expect));
    }
}

#[test]
fn a_directory_that_became_a_file_waits_when_something_inside_was_edited() {
    let base = [("d", dir()), ("d/a", file(1)), ("d-b", file(4)), ("e", file(5))];
    let hub = [("d", file(7)), ("d-b", file(4)), ("e", file(6))];
    let spoke = [("d", dir()), ("d/a", file(2)), ("d-b", file(8)), ("e", file(5))];
    let (after, plan) = check(&base, &hub, &spoke);
    assert_eq!(kinds(&plan), [("d".to_owned(), Kind::Type)]);
    assert_eq!(after.hub.get(&b"d"[..]), Some(&file(7)));
    assert_eq!(after.spoke.get(&b"d/a"[..]), Some(&file(2)));
    assert_eq!(after.hub.get(&b"d-b"[..]), Some(&file(8)), "neighbours go on");
    assert_eq!(after.spoke.get(&b"e"[..]), Some(&file(6)));
    for decision in [Decision::Hub, Decision::Spoke] {
        let mut world = after.after(&TreePlan::default());
        world.decisions.insert(b"d".to_vec(), decision.clone());
        let plan = world.plan(&mut Never);
        assert_eq!((plan.carried.len(), plan.disputes.len()), (1, 0));
        let done = world.after(&plan);
        assert_eq!(done.hub, done.spoke);
        assert_eq!(done.hub.contains_key(&b"d/a"[..]), decision == Decision::Spoke);
    }
}

#[test]
fn what_was_not_read_is_not_taken_for_deleted() {
    let base = [("d", dir()), ("d/a", file(1)), ("f", file(2)), ("g", file(3))];
    let mut world = World::new(Some(tree(&base)), tree(&[("d", dir()), ("g", file(3))]), tree(&base));
    world.frozen[0] = [b"d".to_vec(), b"f".to_vec()].into();
    assert_eq!(world.plan(&mut Never), TreePlan::default());
    // And a deletion on the other side does not remove the directory around it.
    world.spoke = tree(&[("g", file(3))]);
    assert_eq!(world.plan(&mut Never), TreePlan::default());
}

#[test]
fn a_directory_that_holds_ignored_things_stays_without_a_dispute_and_does_not_come_back() {
    let base = [("d", dir()), ("d/a", file(1))];
    let mut world = World::new(Some(tree(&base)), Tree::new(), tree(&base));
    world.held[1].insert(b"d".to_vec());
    let plan = world.plan(&mut Never);
    let after = world.after(&plan);
    assert_eq!(plan.kept, [b"d".to_vec()]);
    assert_eq!((after.hub.len(), after.spoke), (0, tree(&[("d", dir())])));
}

#[test]
fn drift_waits_and_is_overwritten_only_where_the_leading_side_changed() {
    let base = [("a", file(1)), ("b", file(1)), ("c", file(1)), ("e", file(1))];
    let mut world = World::new(
        Some(tree(&base)),
        tree(&[("a", file(1)), ("b", file(2)), ("c", file(2)), ("e", file(1))]),
        tree(&[("a", file(3)), ("b", file(3)), ("c", file(1)), ("n", dir()), ("n/x", file(1)), ("n/y", file(2))]),
    );
    world.direction = Direction::FromHub;
    let plan = world.plan(&mut Even);
    let drift = |path: &str| (path.to_owned(), Kind::Drift);
    assert_eq!(kinds(&plan), [drift("a"), drift("e"), drift("n")]);
    let after = world.after(&plan);
    assert_eq!(after.hub, world.hub, "nothing travels to the hub");
    assert_eq!((&after.spoke[&b"b"[..]], &after.spoke[&b"c"[..]]), (&file(2), &file(2)));
    world.policy = Policy::Hub;
    let after = world.after(&world.plan(&mut Even));
    assert_eq!(after.spoke, world.hub, "the policy of the leading side undoes drift");
}

#[test]
fn an_answer_can_be_taken_back() {
    let mut world = World::new(Some(tree(&[("a", file(2))])), tree(&[("a", file(2))]), tree(&[("a", file(2))]));
    let sides = Triple { base: Some(file(1)), hub: Some(file(2)), spoke: Some(file(3)) };
    world.decisions.insert(b"a".to_vec(), Decision::Restore(Box::new(sides.clone())));
    let plan = world.plan(&mut Never);
    assert_eq!((plan.disputes[0].sides.clone(), kinds(&plan)), (sides, vec![("a".to_owned(), Kind::Update)]));
    let after = world.after(&plan);
    assert_eq!((&after.hub[&b"a"[..]], &after.spoke[&b"a"[..]]), (&file(2), &file(3)));
    assert_eq!(kinds(&after.plan(&mut Never)), [("a".to_owned(), Kind::Update)], "and it is in dispute again");
}

#[test]
fn an_answer_that_removed_a_path_can_be_taken_back() {
    for path in ["a", "d/b"] {
        let mut world = World::new(Some(Tree::new()), Tree::new(), Tree::new());
        let sides = Triple { base: Some(file(1)), hub: None, spoke: Some(file(3)) };
        world.decisions.insert(path.into(), Decision::Restore(Box::new(sides.clone())));
        let plan = world.plan(&mut Never);
        assert_eq!(plan.carried, [path.as_bytes().to_vec()]);
        assert_eq!(
            (plan.disputes[0].sides.clone(), kinds(&plan)),
            (sides, vec![(path.to_owned(), Kind::DeleteUpdate)])
        );
        let after = world.after(&plan);
        assert_eq!((after.hub.get(path.as_bytes()), after.spoke.get(path.as_bytes())), (None, Some(&file(3))));
        let parent = path.split_once('/').map(|(parent, _)| parent.as_bytes());
        assert!(parent.is_none_or(|parent| after.spoke.contains_key(parent)), "a file without its folder");
    }
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let name = || prop::sample::select(vec!["a", "a-", "b", "b0"]);
    prop::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/").into_bytes())
}

fn any_node() -> impl Strategy<Value = Option<Node>> {
    prop_oneof![
        2 => Just(None),
        6 => (0..6_u8, prop::sample::select(vec![0o644, 0o755, 0o600]))
            .prop_map(|(n, mode)| Some(Node { mode: Some(mode), ..file(n) })),
        2 => Just(Some(dir())),
        1 => (0..3_u8).prop_map(|n| Some(link(n))),
    ]
}

fn any_edits(max: usize) -> impl Strategy<Value = Vec<(Vec<u8>, Option<Node>)>> {
    prop::collection::vec((any_path(), any_node()), 0..max)
}

fn edited(tree: &Tree, edits: &[(Vec<u8>, Option<Node>)]) -> Tree {
    let mut tree = tree.clone();
    edits.iter().for_each(|(path, node)| put(&mut tree, path, node.clone()));
    tree
}

prop_compose! {
    fn any_world()(
        base in any_edits(12), hub in any_edits(6), spoke in any_edits(6), known in prop::bool::weighted(0.85),
        direction in prop::sample::select(vec![Direction::Both, Direction::Both, Direction::FromHub, Direction::FromSpoke]),
        policy in prop::sample::select(vec![Policy::Queue, Policy::Queue, Policy::Hub, Policy::Spoke, Policy::Union]),
        frozen in prop::collection::vec((any_path(), any::<bool>(), any::<bool>()), 0..2),
    ) -> World {
        let base = edited(&Tree::new(), &base);
        let mut world = World::new(known.then(|| base.clone()), edited(&base, &hub), edited(&base, &spoke));
        (world.direction, world.policy) = (direction, policy);
        for (path, on_spoke, held) in frozen {
            let tree = if on_spoke { &mut world.spoke } else { &mut world.hub };
            if held {
                if tree.get(&path).is_some_and(Node::is_dir) {
                    world.held[usize::from(on_spoke)].insert(path);
                }
            } else if path.iter().rposition(|b| *b == b'/').is_none_or(|at| tree.get(&path[..at]).is_some_and(Node::is_dir)) {
                // A frozen directory may have been listed or not; nothing below it was.
                put(tree, &path, None);
                world.frozen[usize::from(on_spoke)].insert(path);
            }
        }
        world
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |tree: &Tree| {
            let line = |(path, node): (&Vec<u8>, &Node)| match &node.body {
                Body::Dir => format!("{}/", path.escape_ascii()),
                Body::File { b3, .. } => format!("{}={}:{:o}", path.escape_ascii(), b3[0], node.mode.unwrap()),
                Body::Symlink { target } => format!("{}->{}", path.escape_ascii(), target.escape_ascii()),
            };
            tree.iter().map(line).collect::<Vec<_>>().join(" ")
        };
        let base = self.base.as_ref().map(show);
        let unseen = (&self.frozen, &self.held);
        write!(f, "\n base {base:?}\n hub {}\n spoke {}\n", show(&self.hub), show(&self.spoke))?;
        write!(f, " {:?} {:?} unseen {unseen:?}", self.direction, self.policy)
    }
}

/// What stands in a tree, without the directories' and files' rights.
fn bodies(tree: &Tree) -> BTreeMap<&[u8], &Body> {
    tree.iter().map(|(path, node)| (path.as_slice(), &node.body)).collect()
}

fn is_open(plan: &TreePlan, world: &World, path: &[u8]) -> bool {
    let covers = |p: &[u8]| p == path || (path.starts_with(p) && path.get(p.len()) == Some(&b'/'));
    plan.disputes.iter().any(|d| covers(&d.path)) || world.frozen.iter().flatten().any(|p| covers(p))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_converge_and_the_second_plan_is_empty(world in any_world()) {
        let plan = world.plan(&mut Even);
        let after = world.after(&plan);
        assert_is_tree(&after.hub, "hub");
        assert_is_tree(&after.spoke, "spoke");
        let again = after.plan(&mut Even);
        prop_assert_eq!(&again.items, &vec![], "a second plan does nothing");
        prop_assert_eq!(kinds(&again), kinds(&plan), "and has the same disputes");
        if plan.disputes.is_empty() && plan.kept.is_empty() && world.frozen.iter().all(BTreeSet::is_empty) {
            if world.direction == Direction::Both {
                prop_assert_eq!(&after.hub, &after.spoke);
                prop_assert_eq!(Some(&after.hub), after.base.as_ref());
            } else {
                prop_assert_eq!(bodies(&after.hub), bodies(&after.spoke));
            }
        }
    }

    #[test]
    fn the_sides_are_equal_partners(world in any_world()) {
        let (one, other) = (world.after(&world.plan(&mut Even)), world.swapped());
        let plan = other.plan(&mut Even);
        let other = other.after(&plan);
        prop_assert_eq!(one.hub, other.spoke);
        prop_assert_eq!(one.spoke, other.hub);
        prop_assert_eq!(one.base, other.base);
    }

    #[test]
    fn without_a_word_of_the_owner_nothing_is_lost(mut world in any_world()) {
        world.policy = Policy::Queue;
        world.direction = Direction::Both;
        let plan = world.plan(&mut Never);
        let after = world.after(&plan);
        let base = world.base.clone().unwrap_or_default();
        for (mine, others, result) in [(&world.hub, &world.spoke, &after.hub), (&world.spoke, &world.hub, &after.spoke)] {
            for (path, node) in mine {
                let (before, now) = (base.get(path).map(|n| &n.body), result.get(path).map(|n| &n.body));
                let seen = before == Some(&node.body);
                let other = others.get(path).map(|n| &n.body);
                // What a side created or edited stays there, unless it is a directory that was made a file or back.
                prop_assert!(seen || now == Some(&node.body), "{} is gone", path.escape_ascii());
                // What goes was removed or replaced by the other side, which had seen it.
                if seen && now != Some(&node.body) {
                    prop_assert!(other != before, "{} was removed by nobody", path.escape_ascii());
                    prop_assert!(!is_open(&plan, &world, path));
                }
            }
            if world.base.is_none() {
                prop_assert!(mine.keys().all(|path| result.contains_key(path)), "a first sync deletes nothing");
            }
        }
        for side in [(&world.hub, &after.hub), (&world.spoke, &after.spoke)] {
            for path in side.0.keys().chain(side.1.keys()).filter(|path| is_open(&plan, &world, path)) {
                prop_assert_eq!(side.0.get(path), side.1.get(path), "what is open or unread is not touched");
            }
        }
    }

    /// Flat trees of files against a table written down a second time, in another manner.
    #[test]
    fn flat_trees_follow_a_simple_model(
        cells in prop::collection::vec((prop::option::of(0..4_u8), prop::option::of(0..4_u8), prop::option::of(0..4_u8)), 0..8),
    ) {
        let (mut base, mut hub, mut spoke) = (Tree::new(), Tree::new(), Tree::new());
        for (i, (b, h, s)) in cells.iter().enumerate() {
            for (tree, n) in [(&mut base, b), (&mut hub, h), (&mut spoke, s)] {
                tree.extend(n.map(|n| (vec![b'a' + i as u8], file(n))));
            }
        }
        let world = World::new(Some(base), hub, spoke);
        let plan = world.plan(&mut Even);
        let after = world.after(&plan);
        for (i, (b, h, s)) in cells.iter().enumerate() {
            let name = vec![b'a' + i as u8];
            let got = [&after.hub, &after.spoke].map(|tree| tree.get(&name).map(number));
            let expect = match (b, h, s) {
                _ if h == s => [*h, *s],
                _ if h == b => [*s, *s],
                _ if s == b => [*h, *h],
                (Some(_), Some(h), Some(s)) if (h + s) % 2 == 0 => [Some(100 + h + s); 2],
                _ => [*h, *s],
            };
            prop_assert_eq!(got, expect, "{:?} {:?} {:?}", b, h, s);
        }
    }
}
