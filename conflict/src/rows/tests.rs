#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::value::Value::{Int, Null, Text};

type Rows = BTreeMap<Key, Counted>;

/// parent(id, name unique) and child(id, parent -> parent.id, a, b)
fn shapes() -> [Shape; 2] {
    let parent = Shape {
        name: "parent".into(),
        columns: vec!["id".into(), "name".into()],
        key: vec![0],
        uniques: vec![vec![1]],
        ..Shape::default()
    };
    let child = Shape {
        name: "child".into(),
        columns: vec!["id".into(), "parent".into(), "a".into(), "b".into()],
        key: vec![0],
        foreign: vec![Foreign { columns: vec![1], parent: "parent".into(), parent_columns: vec![0] }],
        ..Shape::default()
    };
    [parent, child]
}

fn rows(shape: &Shape, all: &[Row]) -> Rows {
    let mut out = Rows::new();
    for row in all {
        out.entry(shape.key_of(row)).or_insert(Counted { row: row.clone(), count: 0 }).count += 1;
    }
    out
}

fn text(s: &str) -> Value {
    Text(s.into())
}

fn parent(id: i64, name: &str) -> Row {
    vec![Int(id), text(name)]
}

fn child(id: i64, of: i64, a: i64, b: i64) -> Row {
    vec![Int(id), if of == 0 { Null } else { Int(of) }, Int(a), Int(b)]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    tables: Vec<Rows>,
}

impl World {
    fn new(parents: &[Row], children: &[Row]) -> Self {
        let [p, c] = shapes();
        Self { tables: vec![rows(&p, parents), rows(&c, children)] }
    }
}

fn go(base: Option<&World>, hub: &World, spoke: &World, policy: Policy, answers: &Answers) -> RowPlan {
    go_beside(base, hub, spoke, policy, answers, &NothingBroken)
}

fn go_beside(
    base: Option<&World>,
    hub: &World,
    spoke: &World,
    policy: Policy,
    answers: &Answers,
    beside: &dyn Beside,
) -> RowPlan {
    let diffs: Vec<TableDiff> = shapes()
        .into_iter()
        .enumerate()
        .map(|(i, s)| diff(s, base.map(|b| &b.tables[i]), &hub.tables[i], &spoke.tables[i]))
        .collect();
    plan(&diffs, policy, answers, &|_, _| None, beside)
}

fn carry_out(plan: &RowPlan, hub: &mut World, spoke: &mut World) {
    for write in &plan.writes {
        let world = if write.side == Side::Hub { &mut *hub } else { &mut *spoke };
        let table = &mut world.tables[usize::from(write.table == "child")];
        assert_eq!(table.get(&write.key).map(|c| &c.row), write.before.as_ref());
        match &write.after {
            Some(row) => table.insert(write.key.clone(), Counted { row: row.clone(), count: write.counts.1 }),
            None => table.remove(&write.key),
        };
    }
}

/// The agreed state: what is equal on both sides, and the old base of what is not.
fn agreed(base: Option<&World>, hub: &World, spoke: &World) -> World {
    let mut out = World { tables: vec![Rows::new(), Rows::new()] };
    for i in 0..2 {
        let old = base.map(|b| &b.tables[i]);
        let keys: BTreeSet<&Key> =
            hub.tables[i].keys().chain(spoke.tables[i].keys()).chain(old.into_iter().flat_map(|o| o.keys())).collect();
        for key in keys {
            let (h, s) = (hub.tables[i].get(key), spoke.tables[i].get(key));
            let keep = if h == s { h } else { old.and_then(|o| o.get(key)) };
            if let Some(row) = keep {
                out.tables[i].insert(key.clone(), row.clone());
            }
        }
    }
    out
}

fn kinds(plan: &RowPlan) -> Vec<(&str, &'static str)> {
    plan.conflicts.iter().map(|c| (c.table.as_str(), c.kind)).collect()
}

fn queue() -> Policy {
    Policy::default()
}

fn prefer(prefer: Prefer) -> Policy {
    Policy { prefer, ..Policy::default() }
}

#[test]
fn different_columns_merge_and_the_same_column_waits_untouched() {
    let base = World::new(&[], &[child(1, 0, 1, 1), child(2, 0, 1, 1)]);
    let hub = World::new(&[], &[child(1, 0, 2, 1), child(2, 0, 2, 5)]);
    let spoke = World::new(&[], &[child(1, 0, 1, 2), child(2, 0, 3, 1)]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("child", "update/update")]);
    assert_eq!(plan.conflicts[0].columns, [2]);
    assert_eq!(plan.writes.len(), 2);
    assert!(plan.writes.iter().all(|w| w.after == Some(child(1, 0, 2, 2))));

    let plan = go(Some(&base), &hub, &spoke, prefer(Prefer::Spoke), &Answers::new());
    let (mut h, mut s) = (hub.clone(), spoke.clone());
    carry_out(&plan, &mut h, &mut s);
    assert_eq!(h, World::new(&[], &[child(1, 0, 2, 2), child(2, 0, 3, 5)]));
    assert_eq!(h, s);

    let rows = Policy { mode: Mode::Row, ..Policy::default() };
    assert_eq!(go(Some(&base), &hub, &spoke, rows, &Answers::new()).conflicts.len(), 2);
    let table = Policy { mode: Mode::Table, ..Policy::default() };
    let plan = go(Some(&base), &hub, &spoke, table, &Answers::new());
    assert_eq!((kinds(&plan), plan.writes.len()), (vec![("child", "table")], 0));
}

#[test]
fn deletes_and_edits_are_told_apart() {
    let base = World::new(&[], &[child(1, 0, 1, 1), child(2, 0, 1, 1), child(3, 0, 1, 1), child(4, 0, 1, 1)]);
    let hub = World::new(&[], &[child(2, 0, 9, 1), child(4, 0, 1, 1)]);
    let spoke = World::new(&[], &[child(1, 0, 8, 1), child(4, 0, 1, 1)]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("child", "delete/update"), ("child", "update/delete")]);
    assert!(plan.writes.is_empty(), "row 3 is gone on both sides, row 4 is unchanged");
    let plan = go(Some(&base), &hub, &spoke, prefer(Prefer::Hub), &Answers::new());
    assert_eq!(plan.writes.len(), 2);
    assert!(plan.writes.iter().all(|w| w.side == Side::Spoke));
}

#[test]
fn a_first_sync_unites_and_never_deletes() {
    let hub = World::new(&[parent(1, "a"), parent(2, "b")], &[]);
    let spoke = World::new(&[parent(2, "b"), parent(3, "c"), parent(4, "x")], &[]);
    let plan = go(None, &hub, &spoke, queue(), &Answers::new());
    assert!(plan.writes.iter().all(|w| w.after.is_some()));
    assert_eq!(plan.writes.len(), 3);
    let differing = World::new(&[parent(1, "z")], &[]);
    let plan = go(None, &hub, &differing, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("parent", "insert/insert")]);
}

#[test]
fn a_unique_value_given_to_two_rows_holds_both() {
    let base = World::new(&[parent(1, "a")], &[]);
    let hub = World::new(&[parent(1, "a"), parent(2, "new")], &[child(1, 2, 0, 0)]);
    let spoke = World::new(&[parent(1, "a"), parent(3, "new"), parent(4, "free")], &[]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("parent", "unique"), ("parent", "unique")]);
    assert_eq!(plan.held.len(), 1, "the child of the waiting parent waits");
    assert_eq!(plan.writes.len(), 1, "the free row goes on");
    let plan = go(Some(&base), &hub, &spoke, prefer(Prefer::Hub), &Answers::new());
    let (mut h, mut s) = (hub.clone(), spoke.clone());
    carry_out(&plan, &mut h, &mut s);
    assert_eq!(h, s);
    assert_eq!(h, World::new(&[parent(1, "a"), parent(2, "new"), parent(4, "free")], &[child(1, 2, 0, 0)]));

    let id = ("parent".to_owned(), shapes()[0].key_of(&parent(3, "")));
    let answers = Answers::from([(id.clone(), Answer::Fields(BTreeMap::from([(1, Pick::Value(text("other")))])))]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &answers);
    assert!(plan.conflicts.is_empty() && plan.settled.contains(&id));
}

#[test]
fn unique_values_swapped_on_one_side_are_no_conflict() {
    let base = World::new(&[parent(1, "a"), parent(2, "b")], &[]);
    let hub = World::new(&[parent(1, "b"), parent(2, "a")], &[]);
    let plan = go(Some(&base), &hub, &base, queue(), &Answers::new());
    assert_eq!((plan.conflicts.len(), plan.held.len(), plan.writes.len()), (0, 0, 2));
}

#[test]
fn a_parent_deleted_here_and_a_child_added_there_wait_together() {
    let base = World::new(&[parent(1, "a"), parent(2, "b")], &[]);
    let hub = World::new(&[parent(2, "b")], &[]);
    let spoke = World::new(&[parent(1, "a"), parent(2, "b")], &[child(7, 1, 0, 0)]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("child", "foreign_key")]);
    assert!(plan.writes.is_empty());
    for (side, parents) in [(Prefer::Hub, 1), (Prefer::Spoke, 2)] {
        let plan = go(Some(&base), &hub, &spoke, prefer(side), &Answers::new());
        let (mut h, mut s) = (hub.clone(), spoke.clone());
        carry_out(&plan, &mut h, &mut s);
        assert_eq!(h, s);
        assert_eq!(h.tables[0].len(), parents);
    }
}

#[test]
fn a_cascade_over_a_row_changed_on_the_other_side_removes_nothing() {
    let base = World::new(&[parent(1, "a")], &[child(1, 1, 0, 0), child(2, 1, 0, 0)]);
    let hub = World::new(&[], &[]);
    let spoke = World::new(&[parent(1, "a")], &[child(1, 1, 5, 0), child(2, 1, 0, 0)]);
    let plan = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
    assert_eq!(kinds(&plan), [("child", "delete/update")]);
    assert!(plan.writes.iter().all(|w| w.table == "child"), "the parent stays for the row in dispute");
}

#[test]
fn equal_rows_without_a_key_are_counted() {
    let shape = Shape { name: "t".into(), columns: vec!["x".into()], ..Shape::default() };
    let of = |n: usize| rows(&shape, &vec![vec![Int(1)]; n]);
    for (base, hub, spoke, merged) in [(2, 3, 1, 2), (1, 1, 4, 4), (3, 1, 1, 0), (2, 2, 0, 0), (1, 2, 2, 3)] {
        let table = diff(shape.clone(), Some(&of(base)), &of(hub), &of(spoke));
        let plan = plan(&[table], queue(), &Answers::new(), &|_, _| None, &NothingBroken);
        for side in [Side::Hub, Side::Spoke] {
            let had = if side == Side::Hub { hub } else { spoke } as u64;
            let has = plan.writes.iter().find(|w| w.side == side).map_or(had, |w| w.counts.1);
            assert_eq!(has, merged, "{base} {hub} {spoke}");
        }
    }
    let plan =
        plan(&[diff(shape.clone(), None, &of(3), &of(2))], queue(), &Answers::new(), &|_, _| None, &NothingBroken);
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(plan.writes[0].counts, (2, 3));
}

#[test]
fn many_deletions_are_asked_about() {
    let all: Vec<Row> = (0..40).map(|i| child(i, 0, 0, 0)).collect();
    let base = World::new(&[], &all);
    let names = |hub: &World| {
        let plan = go(Some(&base), hub, &base, queue(), &Answers::new());
        plan.guards.iter().map(|g| g.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&World::new(&[], &all[8..])), Vec::<&str>::new());
    assert_eq!(names(&World::new(&[], &all[9..])), ["mass_deletion"]);
    assert_eq!(names(&World::new(&[], &[])), ["table_emptied"]);
}

#[test]
fn a_merged_row_that_breaks_a_check_waits() {
    let base = World::new(&[], &[child(1, 0, 1, 5)]);
    let hub = World::new(&[], &[child(1, 0, 4, 5)]);
    let spoke = World::new(&[], &[child(1, 0, 1, 2)]);
    let diffs = [diff(shapes()[1].clone(), Some(&base.tables[1]), &hub.tables[1], &spoke.tables[1])];
    let refuse = |_: &str, row: &Row| (row[2] == Int(4) && row[3] == Int(2)).then(|| "a <= b".to_owned());
    let out = plan(&diffs, queue(), &Answers::new(), &refuse, &NothingBroken);
    assert_eq!((kinds(&out), out.writes.len()), (vec![("child", "check")], 0));
}

#[test]
fn one_way_puts_agreed_rows_back_and_leaves_what_only_the_receiver_has() {
    let base = World::new(&[parent(1, "a"), parent(2, "b")], &[]);
    let spoke = World::new(&[parent(1, "mine"), parent(9, "own")], &[]);
    let policy = Policy { direction: Direction::ToSpoke, ..Policy::default() };
    let plan = go(Some(&base), &base, &spoke, policy, &Answers::new());
    assert!(plan.writes.iter().all(|w| w.side == Side::Spoke) && plan.conflicts.is_empty());
    let (mut h, mut s) = (base.clone(), spoke);
    carry_out(&plan, &mut h, &mut s);
    assert_eq!(s, World::new(&[parent(1, "a"), parent(2, "b"), parent(9, "own")], &[]));
}

fn any_world() -> impl Strategy<Value = World> {
    let parents = proptest::collection::btree_map(1i64..5, 0usize..5, 0..5);
    let children = proptest::collection::btree_map(1i64..6, (0i64..5, 0i64..3, 0i64..3), 0..5);
    (parents, children).prop_map(|(parents, children)| {
        let mut used = BTreeSet::new();
        let parents: Vec<Row> = parents
            .into_iter()
            .map(|(id, name)| if used.insert(name) { parent(id, &format!("n{name}")) } else { vec![Int(id), Null] })
            .collect();
        let living: BTreeSet<i64> = parents.iter().map(|p| if let Int(n) = p[0] { n } else { 0 }).collect();
        let children: Vec<Row> = children
            .into_iter()
            .map(|(id, (of, a, b))| child(id, if living.contains(&of) { of } else { 0 }, a, b))
            .collect();
        World::new(&parents, &children)
    })
}

/// As [`any_world`], and children may refer to nothing.
fn torn_world() -> impl Strategy<Value = World> {
    let of = proptest::collection::btree_map(1i64..6, 0i64..6, 0..3);
    (any_world(), of).prop_map(|(mut world, of)| {
        let [_, shape] = shapes();
        for (id, of) in of {
            let row = child(id, of, 0, 0);
            world.tables[1].insert(shape.key_of(&row), Counted { row, count: 1 });
        }
        world
    })
}

/// Children that refer to nothing, with what they refer to.
fn orphans(world: &World) -> BTreeSet<(Key, Key)> {
    let [p, _] = shapes();
    let to = |c: &Counted| p.key_of(&vec![c.row[1].clone(), Null]);
    let children = world.tables[1].iter().filter(|(_, c)| !c.row[1].is_null());
    children.map(|(key, c)| (key.clone(), to(c))).filter(|(_, to)| !world.tables[0].contains_key(to)).collect()
}

struct Both<'a>(&'a World, &'a World);

impl Both<'_> {
    fn side(&self, side: Side) -> &World {
        if side == Side::Hub { self.0 } else { self.1 }
    }
}

impl Beside for Both<'_> {
    fn parent(&self, side: Side, _: &Foreign, values: &[&Value]) -> Option<Key> {
        let key = shapes()[0].key_of(&vec![values[0].clone(), Null]);
        self.side(side).tables[0].contains_key(&key).then_some(key)
    }

    fn children(&self, side: Side, _: &str, _: &Foreign, values: &BTreeSet<Key>) -> Vec<Referrer> {
        let all = self.side(side).tables[1].iter().filter(|(_, c)| !c.row[1].is_null());
        let all = all.map(|(key, c)| {
            let value = shapes()[0].key_of(&vec![c.row[1].clone(), Null]);
            Referrer { value, key: key.clone(), shown: "child".into() }
        });
        all.filter(|r| values.contains(&r.value)).collect()
    }

    fn outside(&self, _: Side) -> Vec<(String, Foreign)> {
        vec![]
    }
}

fn consistent(world: &World) -> bool {
    let [p, _] = shapes();
    let names: Vec<Key> = world.tables[0].values().filter_map(|r| p.value_of(&r.row, &[1])).collect();
    let distinct: BTreeSet<&Key> = names.iter().collect();
    let orphans = world.tables[1]
        .values()
        .any(|c| !c.row[1].is_null() && !world.tables[0].contains_key(&p.key_of(&vec![c.row[1].clone(), Null])));
    distinct.len() == names.len() && !orphans
}

/// Every version of a side is on both sides, was the base, lost by policy or answer, or is still where it was.
fn lost(base: Option<&World>, before: (&World, &World), after: (&World, &World), plan: &RowPlan) -> Option<String> {
    for i in 0..2 {
        let name = ["parent", "child"][i];
        for (was, is) in [(before.0, after.0), (before.1, after.1)] {
            for (key, row) in &was.tables[i] {
                let kept = is.tables[i].get(key) == Some(row);
                let old = base.and_then(|b| b.tables[i].get(key)) == Some(row);
                let mixed =
                    plan.writes.iter().any(|w| w.table == name && &w.key == key && w.because.contains("merged"));
                if !(kept || old || mixed) {
                    return Some(format!("{name} {:?}", row.row));
                }
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sides_stay_consistent_nothing_is_lost_and_a_second_plan_is_empty(
        base in proptest::option::of(any_world()), hub in any_world(), spoke in any_world()
    ) {
        let base = base.as_ref();
        let plan = go(base, &hub, &spoke, queue(), &Answers::new());
        let (mut h, mut s) = (hub.clone(), spoke.clone());
        carry_out(&plan, &mut h, &mut s);
        prop_assert!(consistent(&h), "hub {h:?}");
        prop_assert!(consistent(&s), "spoke {s:?}");
        prop_assert_eq!(lost(base, (&hub, &spoke), (&h, &s), &plan), None);
        if plan.conflicts.is_empty() {
            prop_assert_eq!(&h, &s);
            prop_assert!(plan.held.is_empty());
        }
        let next = agreed(base, &h, &s);
        let again = go(Some(&next), &h, &s, queue(), &Answers::new());
        if base.is_some() {
            prop_assert_eq!(&again.writes, &vec![]);
            prop_assert_eq!(kinds(&again), kinds(&plan));
        }
    }

    #[test]
    fn what_one_side_has_broken_breaks_nothing_on_the_other(
        base in torn_world(), hub in torn_world(), spoke in torn_world(), prefer_hub in proptest::option::of(any::<bool>())
    ) {
        let policy = prefer_hub.map_or(queue(), |h| prefer(if h { Prefer::Hub } else { Prefer::Spoke }));
        let plan = go_beside(Some(&base), &hub, &spoke, policy, &Answers::new(), &Both(&hub, &spoke));
        let (mut h, mut s) = (hub.clone(), spoke.clone());
        carry_out(&plan, &mut h, &mut s);
        prop_assert!(orphans(&h).is_subset(&orphans(&hub)), "hub {h:?}");
        prop_assert!(orphans(&s).is_subset(&orphans(&spoke)), "spoke {s:?}");
        if plan.conflicts.is_empty() {
            prop_assert_eq!(&h, &s, "{:?}", plan.held);
        }
        let next = agreed(Some(&base), &h, &s);
        let again = go_beside(Some(&next), &h, &s, policy, &Answers::new(), &Both(&h, &s));
        prop_assert_eq!(&again.writes, &vec![]);
        prop_assert_eq!(kinds(&again), kinds(&plan));
    }

    #[test]
    fn a_preferred_side_always_converges(base in any_world(), hub in any_world(), spoke in any_world(), h in any::<bool>()) {
        let policy = prefer(if h { Prefer::Hub } else { Prefer::Spoke });
        let plan = go(Some(&base), &hub, &spoke, policy, &Answers::new());
        let (mut h, mut s) = (hub.clone(), spoke.clone());
        carry_out(&plan, &mut h, &mut s);
        prop_assert!(consistent(&h) && consistent(&s), "{h:?} {s:?}");
        prop_assert_eq!(&h, &s, "{:?}", plan.held);
    }

    #[test]
    fn swapping_the_sides_swaps_the_plan(base in any_world(), hub in any_world(), spoke in any_world()) {
        let one = go(Some(&base), &hub, &spoke, queue(), &Answers::new());
        let two = go(Some(&base), &spoke, &hub, queue(), &Answers::new());
        let (mut h1, mut s1) = (hub.clone(), spoke.clone());
        carry_out(&one, &mut h1, &mut s1);
        let (mut s2, mut h2) = (hub.clone(), spoke.clone());
        let swapped = RowPlan { writes: two.writes.clone(), ..RowPlan::default() };
        carry_out(&swapped, &mut h2, &mut s2);
        prop_assert_eq!(h1, s2);
        prop_assert_eq!(s1, h2);
    }
}
