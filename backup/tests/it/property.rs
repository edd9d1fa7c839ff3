//! Any tree and any rows come back to the byte, and the prover finds the same root.

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::Side;
use cathedral_model::ports::vault::{DatabaseSchema, EntryKind, TableInfo, TreeEntry};
use proptest::prelude::*;
use std::collections::BTreeMap;

use crate::support::{Content, Parts, World, as_read, give_back, meta, noise, take};

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, u32),
    Link(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, Node>, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-c.]{1,3}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 1..6),]
        .prop_filter("a name of its own", |n| n != b"." && n != b".." && !n.iter().any(|b| matches!(b, 0 | b'/')))
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0u64..3, prop_oneof![Just(65_535usize), Just(65_536), Just(262_144), 0usize..600_000]).prop_map(|(s, n)| noise(s, n)),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        4 => (content(), 0u32..0o10000).prop_map(|(c, m)| Node::File(c, m)),
        1 => proptest::collection::vec(1u8..255, 1..20).prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        (proptest::collection::btree_map(name(), inner, 0..6), 0u32..0o10000).prop_map(|(n, m)| Node::Dir(n, m))
    })
}

fn flatten(under: &[u8], nodes: &BTreeMap<Vec<u8>, Node>, out: &mut Vec<(TreeEntry, Vec<u8>)>) {
    for (name, node) in nodes {
        let path = if under.is_empty() { name.clone() } else { [under, b"/", name].concat() };
        let mtime_ns = i64::from(name[0]) * 1_000_000_007 - 9;
        let entry = |kind, mode| TreeEntry { path: path.clone(), kind, mode, mtime_ns };
        match node {
            Node::File(bytes, mode) => {
                out.push((entry(EntryKind::File { size: bytes.len() as u64 }, *mode), bytes.clone()))
            }
            Node::Link(target) => out.push((entry(EntryKind::Symlink { target: target.clone() }, 0o777), vec![])),
            Node::Dir(below, mode) => {
                out.push((entry(EntryKind::Dir, *mode), vec![]));
                flatten(&path, below, out);
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("one NaN is as good as another", |x| !x.is_nan()).prop_map(Value::Real),
        any::<String>().prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Blob),
        proptest::collection::vec(128u8..255, 1..10).prop_map(Value::RawText),
    ]
}

fn check(parts: &Parts) {
    let world = World::new(&["one"], 1);
    let vault = world.open();
    let info = take(&vault, &meta(1), parts).unwrap();
    // Reads through the index objects, not what the writer remembers.
    assert_eq!(give_back(&world.open(), &info).unwrap(), as_read(parts));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(nodes in proptest::collection::btree_map(name(), node(), 0..8)) {
        let mut walk = Vec::new();
        flatten(b"", &nodes, &mut walk);
        let mut by_path = walk.clone();
        by_path.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        let parts = |entries| Parts::from([(("media".to_owned(), Side::Hub), Content::Files(entries))]);
        check(&parts(walk.clone()));
        // The other order in which parents come first gives the same snapshot.
        let world = World::new(&["one"], 1);
        let first = take(&world.open(), &meta(1), &parts(walk)).unwrap();
        let second = take(&world.open(), &meta(2), &parts(by_path)).unwrap();
        prop_assert_eq!(first.root, second.root);
    }

    #[test]
    fn any_rows_come_back(rows in proptest::collection::vec(proptest::collection::vec(value(), 3), 0..60)) {
        let columns: Vec<String> = ["a", "b \"c\"", "é"].map(String::from).to_vec();
        let table = TableInfo { name: "t".into(), columns, key: vec![], rows: 0 };
        let schema = DatabaseSchema { engine: "e".into(), statements: vec![], settings: serde_json::json!({}) };
        let content = Content::Database { schema, tables: vec![(table, rows)] };
        check(&Parts::from([(("db".to_owned(), Side::Spoke), content)]));
    }
}
