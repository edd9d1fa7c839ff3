//! Contents that hold what is hard.

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::Side;
use cathedral_model::ports::vault::{DatabaseSchema, EntryKind, GitRef, GitRefs, TableInfo, TreeEntry};

use crate::support::{Content, Parts, dir, file, link, noise, text};

/// A tree with small, large, empty, boundary-sized and oddly named files.
pub fn tree() -> Content {
    let odd =
        TreeEntry { path: b"src/\xff\xfe odd\n".to_vec(), kind: EntryKind::File { size: 3 }, mode: 0o600, mtime_ns: 5 };
    Content::Files(vec![
        link("a-link", b"../\xff/x"),
        file("all-zero", vec![0; 5 << 20]),
        file("big.bin", noise(1, 3_000_000)),
        file("boundary", noise(2, 65_536)),
        file("boundary-1", text(3, 65_535)),
        file("copy-of-small", "small"),
        file("empty", ""),
        dir("empty-dir"),
        dir("src"),
        file("src/a.rs", text(4, 3_000)),
        dir("src/deep"),
        file("src/deep/one", "x"),
        file("src/small", "small"),
        file("src/zeta", text(5, 300_000)),
        (odd, b"odd".to_vec()),
        file("src.txt", "sorts behind the folder by name, before its files by path"),
        file("zip", noise(6, 1_000_001)),
    ])
}

/// A repository: the packs need not be packs for the vault.
pub fn git() -> Content {
    let one = |name: &str, n: u8, peeled: Option<u8>| GitRef {
        name: name.into(),
        oid: hex::encode([n; 20]),
        peeled: peeled.map(|p| hex::encode([p; 20])),
    };
    Content::Git {
        refs: GitRefs {
            head: Some("refs/heads/main".into()),
            refs: vec![one("refs/heads/main", 1, None), one("refs/tags/v1", 2, Some(1))],
        },
        tips: vec![hex::encode([1; 20])],
        packs: vec![noise(7, 5_000_000)],
    }
}

/// A database with values that JSON, jq and floats like to lose.
pub fn database() -> Content {
    let hard = vec![
        vec![Value::Int(1), Value::Null, Value::Text("it's \"quoted\"\nand\0more é".into())],
        vec![Value::Int(2), Value::Real(-0.0), Value::Blob(vec![0, 1, 255])],
        vec![Value::Int(3), Value::Real(f64::INFINITY), Value::RawText(vec![0xff, 0x27])],
        vec![Value::Int((1 << 53) + 1), Value::Real(0.1 + 0.2), Value::Text(String::new())],
        vec![Value::Int(i64::MAX), Value::Real(5e-324), Value::Text("1.10".into())],
    ];
    let many = (0..3_000).map(|i| vec![Value::Int(i), Value::Text(format!("row {i}")), Value::Real(i as f64 / 3.0)]);
    let table = |name: &str, columns: [&str; 3]| TableInfo {
        name: name.into(),
        columns: columns.map(String::from).to_vec(),
        key: vec![columns[0].into()],
        rows: 0,
    };
    Content::Database {
        schema: DatabaseSchema {
            engine: "sqlite 3.46".into(),
            statements: vec![
                "CREATE TABLE empty (id INTEGER PRIMARY KEY, a, b)".into(),
                "CREATE TABLE hard (id INTEGER PRIMARY KEY, \"x y\", b)".into(),
                "CREATE TABLE many (id INTEGER PRIMARY KEY, name TEXT, x REAL)".into(),
            ],
            settings: serde_json::json!({ "user_version": 7 }),
        },
        tables: vec![
            (table("empty", ["id", "a", "b"]), vec![]),
            (table("hard", ["id", "x y", "b"]), hard),
            (table("many", ["id", "name", "x"]), many.collect()),
        ],
    }
}

/// One of everything.
pub fn everything() -> Parts {
    Parts::from([
        (("media".into(), Side::Hub), tree()),
        (("media".into(), Side::Spoke), Content::Files(vec![file("only", "one")])),
        (("grimoire".into(), Side::Hub), git()),
        (("billing".into(), Side::Hub), database()),
        (("void".into(), Side::Hub), Content::Files(vec![])),
    ])
}
