//! Frozen values of format version 1: a change of any of them is a change of the format.

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, SnapshotId, SpokeName};
use cathedral_model::ports::vault::{DatabaseSchema, GitRef, Sink as _, TableInfo};
use cathedral_model::snapshot::{PartKey, SnapshotMeta};
use cathedral_model::time::Timestamp;
use ed25519_dalek::SigningKey;
use serde_json::{Value as Json, json};

use crate::frame::{self, Coding};
use crate::hash::{self, Hashes};
use crate::index::{self, Kind, Pack, Record};
use crate::manifest::{GitPart, Manifest, Part, Stats};
use crate::merkle::Merkle;
use crate::pack::{PackWriter, table};
use crate::sink::PartSink;
use crate::tree::{self, Line, Name, Piece};
use crate::{cell, cut, root, seal, signed};

const FROZEN: &str = include_str!("../tests/vectors/v1.json");
const SEALED: &str = include_str!("../tests/vectors/pack-v1.json");

fn hashes() -> Hashes {
    Hashes::new(&[1; 32], &[2; 32])
}

/// The bytes that the vectors are made of: BLAKE3 in extendable mode over the seed's eight bytes.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn boundaries() -> Json {
    let gear = hashes().gear_seed();
    let cuts = |content: &[u8], seed: u64| -> Vec<usize> {
        let mut lengths = Vec::new();
        let visited = cut::chunks(content, seed, |chunk| {
            lengths.push(chunk.len());
            Ok::<(), std::io::Error>(())
        });
        visited.expect("reading from memory");
        lengths
    };
    let random: Vec<Json> = (0..8u64)
        .map(|n| {
            let len = 1_500_000 + usize::try_from(n).expect("small") * 1_000_003;
            json!({ "seed": n, "len": len, "gear": if n % 2 == 0 { 0 } else { gear }.to_string(),
                "lengths": cuts(&bytes(n, len), if n % 2 == 0 { 0 } else { gear }) })
        })
        .collect();
    let zeros: Vec<Json> = [0, 1, cut::MIN, 9_000_001]
        .map(|len| json!({ "zeros": len, "gear": gear.to_string(), "lengths": cuts(&vec![0; len], gear) }))
        .to_vec();
    json!({ "min": cut::MIN, "average": cut::AVERAGE, "max": cut::MAX, "random": random, "zeros": zeros })
}

fn lines() -> Vec<Line> {
    let id = |n: u8| Digest([n; 32]);
    let (m, mt) = (tree::mode(0o644), "1700000000123456789".to_owned());
    let name = |raw: &[u8]| Name::new(raw);
    vec![
        Line::Dir { name: name(b"d"), m: tree::mode(0o755), mt: "-1".into(), tree: id(3), root: id(4) },
        Line::File {
            name: name(b"f"),
            s: 12,
            m: m.clone(),
            mt: mt.clone(),
            b3: id(5),
            c: Some(vec![Piece(id(6), 7, 12)]),
            cl: None,
        },
        Line::File {
            name: name("é".as_bytes()),
            s: 0,
            m: m.clone(),
            mt: mt.clone(),
            b3: id(5),
            c: Some(vec![]),
            cl: None,
        },
        Line::File { name: name(b"huge"), s: 1 << 40, m, mt: mt.clone(), b3: id(5), c: None, cl: Some(id(8)) },
        Line::Link { name: name(b"\xff"), mt, to: "Li4veA==".into() },
        Line::Part { tree: id(9) },
    ]
}

fn roots() -> Json {
    let h = hashes();
    let (b3, child) = (Digest([5; 32]), Digest([4; 32]));
    let leaf = |l: Result<[u8; 32], cathedral_model::ports::PortError>| hex::encode(l.expect("a leaf"));
    let git_ref = GitRef { name: "refs/tags/v1".into(), oid: "11".repeat(20), peeled: Some("22".repeat(20)) };
    let schema = DatabaseSchema { engine: "sqlite 3.46".into(), statements: vec![], settings: json!({}) };
    let columns = ["id".to_owned(), "v".to_owned()];
    json!({
        "empty": Merkle::new().root(),
        "file": leaf(root::file(&h, b"d/f", 0o644, 12, &b3)),
        "file_raw_name": leaf(root::file(&h, b"d/\xff", 0o644, 12, &b3)),
        "dir": leaf(root::dir(&h, b"d", 0o755, &child)),
        "link": leaf(root::link(&h, b"d/l", b"../x")),
        "head": leaf(root::head(&h, Some("refs/heads/main"))),
        "head_none": leaf(root::head(&h, None)),
        "ref": leaf(root::git_ref(&h, &git_ref)),
        "schema": leaf(root::schema(&h, &schema, b"{}\n")),
        "row": hex::encode(root::row(&h, "t", "[1,null,{\"f\":\"-0.0\"}]")),
        "table": leaf(root::table(&h, "t", &columns, &columns[..1], 3, &child)),
    })
}

fn cells() -> Json {
    let values = [
        Value::Null,
        Value::Int(1 << 53),
        Value::Int((1 << 53) + 1),
        Value::Int(i64::MIN),
        Value::Real(-0.0),
        Value::Real(1.0),
        Value::Real(1e16),
        Value::Real(1e-7),
        Value::Real(5e-324),
        Value::Real(f64::MAX),
        Value::Real(f64::INFINITY),
        Value::Real(f64::NAN),
        Value::Text("a\"\\\u{1}\u{7f}é".into()),
        Value::Blob(vec![0, 255]),
        Value::RawText(vec![255]),
    ];
    let text = |value: &Value| {
        let mut out = String::new();
        cell::write(value, &mut out);
        out
    };
    values.iter().map(text).collect()
}

/// The root of a whole part of each kind, as a prover finds it.
fn parts() -> Json {
    let key = |spoke: &str| PartKey { spoke: SpokeName::new(spoke).expect("name"), side: Side::Hub };
    let state = cathedral_model::observation::SideState { digest: Digest([0; 32]), position: String::new(), items: 0 };
    let mut database = PartSink::prover(hashes(), key("db"), SpokeKind::Database);
    let schema = DatabaseSchema {
        engine: "sqlite 3.46".into(),
        statements: vec!["create table t (id)".into()],
        settings: json!({}),
    };
    database.schema(&schema).expect("schema");
    database
        .table(&TableInfo { name: "t".into(), columns: vec!["id".into()], key: vec!["id".into()], rows: 0 })
        .expect("table");
    for n in 0..1_000u64 {
        database.row(&n.to_be_bytes(), &[Value::Int(i64::try_from(n).expect("small"))]).expect("row");
    }
    let mut git = PartSink::prover(hashes(), key("git"), SpokeKind::Git);
    git.git_refs(&cathedral_model::ports::vault::GitRefs::default()).expect("refs");
    json!({
        "database": database.finish(&state, "exact").expect("finish").root,
        "git_empty": git.finish(&state, "exact").expect("finish").root,
    })
}

fn manifest() -> Json {
    let part = Part {
        name: SpokeName::new("grimoire").expect("name"),
        side: Side::Hub,
        kind: SpokeKind::Git,
        root: Digest([7; 32]),
        observed: Digest([8; 32]),
        position: "main 1111111".into(),
        items: 1,
        bytes: "12".into(),
        consistency: "exact".into(),
        skipped: vec![],
        carried: None,
        tree: None,
        git: Some(GitPart { refs: Digest([9; 32]), head: None, base: Some(Digest([10; 32])), segments: vec![] }),
        database: None,
    };
    let meta = SnapshotMeta {
        id: SnapshotId::generate(Timestamp(1_700_000_000_000_000), [1; 10]),
        ecosystem: "e".into(),
        at: Timestamp(1_700_000_000_000_000),
        cause: "run 1".into(),
        tags: vec![],
    };
    let root = root::ecosystem(&hashes(), &[part.info()]).expect("root");
    let manifest = Manifest {
        format: "cathedral-snapshot".into(),
        version: 1,
        id: meta.id,
        vault: "01HF7YAT00041040G2081040G2".into(),
        epoch: 1,
        ecosystem: meta.ecosystem,
        at: meta.at.0.to_string(),
        parent: None,
        cause: meta.cause,
        root,
        tags: meta.tags,
        spokes: vec![part],
        stats: Stats { logical: "12".into(), new: "12".into(), stored: "300".into() },
        destinations: vec![],
    };
    let key = SigningKey::from_bytes(&[3; 32]);
    let text = signed::seal(signed::DOMAIN_SNAPSHOT, &manifest, &key).expect("signing");
    json!({ "root": root, "signing_seed": hex::encode([3; 32]), "text": String::from_utf8(text).expect("text") })
}

fn records() -> Vec<Record> {
    let record =
        |n: u8, offset, frame, plain, kind, coding| Record { id: Digest([n; 32]), offset, frame, plain, kind, coding };
    vec![record(1, 0, 18, 5, Kind::Data, Coding::Raw), record(2, 18, 40, 100, Kind::Group, Coding::Zstd)]
}

fn actual() -> Json {
    let h = hashes();
    let pack = Pack { id: Digest([11; 32]), len: 500, header: 200, plain: 300, records: records() };
    let tree_lines: Vec<String> = lines().iter().map(|l| tree::to_line(l).expect("a line")).collect();
    json!({
        "id_key": hex::encode([1; 32]), "salt_key": hex::encode([2; 32]),
        "contexts": [hash::CONTEXT_ID, hash::CONTEXT_SALT, hash::CONTEXT_CUT, hash::CONTEXT_GEAR],
        "ids": { "": h.id(b""), "hello": h.id(b"hello") },
        "salt": hex::encode(h.salt(b"d/f", &[5; 32])),
        "gear_seed": h.gear_seed().to_string(),
        "cuts": (0..2_000u32).filter(|n| h.cuts_after(&n.to_be_bytes(), 256)).collect::<Vec<_>>(),
        "boundaries": boundaries(),
        "raw_frames": {
            "": hex::encode(frame::raw(b"")), "hello": hex::encode(frame::raw(b"hello")),
            "300000": Digest::of(&frame::raw(&bytes(0, 300_000))),
        },
        "index": String::from_utf8(index::to_lines(&[pack], 1).expect("lines")).expect("text"),
        "tree": String::from_utf8(tree::to_frame(&tree_lines)).expect("text"),
        "cells": cells(), "leaves": roots(), "parts": parts(), "manifest": manifest(),
    })
}

#[test]
fn the_format_is_as_it_was_frozen() {
    let actual = actual();
    let text = serde_json::to_string_pretty(&actual).expect("JSON") + "\n";
    let frozen: Json = serde_json::from_str(FROZEN).expect("vectors are JSON");
    for (name, value) in actual.as_object().expect("an object") {
        assert_eq!(Some(value), frozen.get(name), "{name} has changed");
    }
    assert!(text == FROZEN, "the file holds more than is checked");
}

#[test]
fn what_was_written_is_read_as_it_was_meant() {
    let frozen: Json = serde_json::from_str(FROZEN).expect("vectors are JSON");
    let text = |path: &str| frozen.pointer(path).and_then(Json::as_str).expect("a text").as_bytes().to_vec();
    assert_eq!(tree::from_frame(&text("/tree")).expect("a tree"), lines());
    assert_eq!(index::from_lines(&text("/index")).expect("an index")[0].records, records());
    let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
    signed::open(signed::DOMAIN_SNAPSHOT, &text("/manifest/text"), &[key]).expect("the signature holds");
}

#[test]
fn a_frozen_pack_opens() {
    let frozen: Json = serde_json::from_str(SEALED).expect("vectors are JSON");
    let text = |name: &str| frozen[name].as_str().expect("a text");
    let sealed = hex::decode(text("pack")).expect("hex");
    assert_eq!(Digest::of(&sealed).to_string(), text("name"));
    assert_eq!(seal::header_len(&sealed).map(|n| n as u64), frozen["header"].as_u64());
    let identities = seal::identities(text("identity")).expect("an identity");
    let plain = seal::decrypt(&identities, &sealed, 1 << 20).expect("opens");
    let table_len = table::frame_len(&plain[plain.len() - table::TRAILER..]).expect("a table");
    let at = plain.len() - usize::try_from(table_len).expect("small");
    let found = table::read(&plain[at..], plain.len() as u64).expect("a table");
    let h = hashes();
    let contents: Vec<String> = found
        .iter()
        .map(|r| {
            let (start, end) =
                (usize::try_from(r.offset).expect("small"), usize::try_from(r.offset + r.frame).expect("small"));
            let chunk = frame::decode(&plain[start..end], r.plain).expect("a frame");
            assert_eq!(h.id(&chunk), r.id);
            String::from_utf8(chunk).expect("text")
        })
        .collect();
    assert_eq!(json!(contents), frozen["chunks"]);
}

/// Makes the text of `pack-v1.json`: needed once, when the format was frozen.
fn make_pack() -> Json {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let chunks = ["hello".to_owned(), "abc ".repeat(50)];
    let mut pack = PackWriter::new(&[identity.to_public()], 1_000).expect("a pack");
    for (chunk, coding) in chunks.iter().zip([Coding::Raw, Coding::Zstd]) {
        let frame = match coding {
            Coding::Raw => frame::raw(chunk.as_bytes()),
            Coding::Zstd => frame::Framer::new(3).expect("zstd").frame(chunk.as_bytes()).expect("frame").1,
        };
        pack.push(hashes().id(chunk.as_bytes()), Kind::Data, coding, chunk.len() as u64, &frame).expect("push");
    }
    let sealed = pack.finish().expect("finish");
    json!({
        "identity": identity.to_string().expose_secret(), "chunks": chunks, "name": sealed.pack.id,
        "header": sealed.pack.header, "pack": hex::encode(sealed.bytes),
    })
}

#[test]
fn a_pack_made_now_has_the_frozen_form() {
    let made = make_pack();
    let frozen: Json = serde_json::from_str(SEALED).expect("vectors are JSON");
    let keys = |json: &Json| json.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&made), keys(&frozen));
}
