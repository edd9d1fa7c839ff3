//! What every vault must do: what goes in comes out, proven, and nothing half done is visible.

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, SnapshotId, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::vault::{
    DatabaseSchema, EntryKind, GitRef, GitRefs, Sink, Source, TableInfo, TreeEntry, Vault,
};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{CheckLevel, PartInfo, PartKey, SnapshotInfo, SnapshotMeta};
use cathedral_model::time::Timestamp;

/// Runs the whole suite; `make` gives an empty vault each time.
///
/// # Panics
/// When the contract is broken.
pub async fn check<V: Vault>(make: impl Fn() -> V) {
    every_kind_comes_back_and_is_proven(&make()).await;
    nothing_is_visible_before_commit(&make()).await;
    the_same_id_is_continued_and_then_returned(&make()).await;
    an_unchanged_part_is_reused(&make()).await;
    a_part_that_cannot_be_read_is_carried_over_and_marked(&make()).await;
    a_part_with_one_side_that_cannot_be_read_is_marked(&make()).await;
    git_history_that_is_held_is_not_sent_again(&make()).await;
    roots_follow_from_content_alone(&make()).await;
    what_does_not_fit_is_refused(&make()).await;
    what_is_not_there_says_so(&make()).await;
    a_sound_vault_has_no_problems(&make()).await;
}

async fn every_kind_comes_back_and_is_proven(vault: &dyn Vault) {
    let info = take(vault, 1, &[files("one", "A"), git("two", &[1], b"PACK"), database("three", 40)]).await;
    assert_eq!(vault.list().await.expect("list"), vec![info.clone()]);
    assert_eq!(vault.snapshot(&info.meta.id).await.expect("snapshot"), info);
    assert_eq!(info.meta, meta(1));
    assert!(info.destinations.iter().all(|d| d.state == "held"), "{:?}", info.destinations);
    let look = vault.look().await.expect("look");
    assert_eq!((look.newest_lacks, look.vanished, look.lost_packs), (None, vec![], 0), "nothing is lost");
    assert!(
        look.destinations.iter().all(|d| d.fault.is_none() && d.missing + d.damaged == 0),
        "{:?}",
        look.destinations
    );
    for expect in [files("one", "A"), git("two", &[1], b"PACK"), database("three", 40)] {
        let mut source = vault.open(&info.meta.id, &expect.key).await.expect("open");
        assert_eq!(draw(source.as_mut()), expect.content);
        let mut prover = vault.prover(&expect.key, expect.content.kind()).expect("prover");
        let proven = pour(prover.as_mut(), &expect.content).expect("prove");
        assert_eq!(proven.root, source.info().root, "root of {}", expect.key.spoke);
    }
}

async fn nothing_is_visible_before_commit(vault: &dyn Vault) {
    let writer = vault.begin(&meta(1)).await.expect("begin").expect("new");
    let part = files("one", "A");
    let mut sink = writer.part(&part.key, SpokeKind::Files).expect("part");
    pour(sink.as_mut(), &part.content).expect("pour");
    assert_eq!(vault.list().await.expect("list"), vec![]);
    drop(sink);
    drop(writer);
    assert_eq!(vault.list().await.expect("list"), vec![], "a snapshot that was given up is not visible");
}

async fn the_same_id_is_continued_and_then_returned(vault: &dyn Vault) {
    let part = files("one", "A");
    {
        let writer = vault.begin(&meta(1)).await.expect("begin").expect("new");
        let mut sink = writer.part(&part.key, SpokeKind::Files).expect("part");
        pour(sink.as_mut(), &part.content).expect("pour");
    }
    let info = take(vault, 1, std::slice::from_ref(&part)).await;
    let again = vault.begin(&meta(1)).await.expect("begin again");
    assert_eq!(again.err(), Some(info), "an id that is visible is returned");
    assert_eq!(vault.list().await.expect("list").len(), 1);
}

async fn an_unchanged_part_is_reused(vault: &dyn Vault) {
    let part = files("one", "A");
    let observed = state(&part.content).digest;
    let first = take(vault, 1, std::slice::from_ref(&part)).await;
    let writer = vault.begin(&meta(2)).await.expect("begin").expect("new");
    let other = Digest::of(b"other");
    assert!(!writer.reuse(&part.key, SpokeKind::Files, &other).await.expect("reuse"), "read at another digest");
    assert!(!writer.reuse(&part.key, SpokeKind::Git, &observed).await.expect("reuse"), "of another kind");
    assert!(!writer.reuse(&files("x", "").key, SpokeKind::Files, &observed).await.expect("reuse"), "of another spoke");
    assert!(writer.reuse(&part.key, SpokeKind::Files, &observed).await.expect("reuse"));
    let second = writer.commit().await.expect("commit");
    assert_eq!((second.root, &second.parts), (first.root, &first.parts));
    assert_eq!(second.parent, Some(first.meta.id));
    let mut source = vault.open(&second.meta.id, &part.key).await.expect("open");
    assert_eq!(draw(source.as_mut()), part.content);
}

async fn a_part_that_cannot_be_read_is_carried_over_and_marked(vault: &dyn Vault) {
    let (part, other) = (files("one", "A"), files("other", "B"));
    let first = take(vault, 1, std::slice::from_ref(&part)).await;
    assert_eq!(vault.newest().await.expect("newest"), Some(first.meta.id.clone()));
    take(vault, 2, std::slice::from_ref(&other)).await;
    for (n, why) in [(3, "it is away"), (4, "it is still away")] {
        let writer = vault.begin(&meta(n)).await.expect("begin").expect("new");
        assert!(!writer.carry(&files("x", "").key, SpokeKind::Files, why).await.expect("carry"), "no snapshot has it");
        assert!(!writer.carry(&part.key, SpokeKind::Git, why).await.expect("carry"), "of another kind");
        assert!(writer.carry(&part.key, SpokeKind::Files, why).await.expect("carry"));
        let info = writer.commit().await.expect("commit");
        let carried = info.parts[0].carried.as_ref().expect("it is marked");
        assert_eq!((&carried.snapshot, carried.at), (&first.meta.id, first.meta.at), "where it was read last");
        assert_eq!((carried.why.as_str(), info.parts[0].root), (why, first.parts[0].root));
        assert_eq!(vault.snapshot(&info.meta.id).await.expect("snapshot").parts, info.parts);
        assert_eq!(draw(vault.open(&info.meta.id, &part.key).await.expect("open").as_mut()), part.content);
    }
    // Read again, and found as it was: the mark is gone.
    let writer = vault.begin(&meta(5)).await.expect("begin").expect("new");
    assert!(writer.reuse(&part.key, SpokeKind::Files, &first.parts[0].observed).await.expect("reuse"));
    assert_eq!(writer.commit().await.expect("commit").parts, first.parts);
    assert_eq!(vault.newest().await.expect("newest"), Some(meta(5).id));
}

async fn a_part_with_one_side_that_cannot_be_read_is_marked(vault: &dyn Vault) {
    let write = async |n: u8, side: Side| {
        let part = git("two", &[n], b"PACK");
        let writer = vault.begin(&meta(n)).await.expect("begin").expect("new");
        let mut sink = writer.part(&part.key, SpokeKind::Git).expect("part");
        sink.older(side, "it is away");
        pour(sink.as_mut(), &part.content).expect("pour");
        writer.commit().await.expect("commit")
    };
    let new = write(1, Side::Spoke).await;
    let told = new.parts[0].skipped.iter().any(|s| s.contains("spoke") && s.contains("it is away"));
    assert!(new.parts[0].carried.is_none() && told, "nothing earlier has it: {:?}", new.parts[0]);
    let first = take(vault, 2, &[git("two", &[2], b"PACK")]).await;
    // Since when each of the two sides is older, whatever the other one was.
    let mut last = first.clone();
    for (n, side, since) in [(3, Side::Spoke, 2), (4, Side::Spoke, 2), (5, Side::Hub, 4), (6, Side::Hub, 4)] {
        last = write(n, side).await;
        let carried = last.parts[0].carried.as_ref().expect("it is marked");
        assert_eq!((&carried.snapshot, carried.at), (&meta(since).id, meta(since).at), "{n}");
        assert_eq!((carried.side, carried.why.as_str()), (Some(side), "it is away"));
        assert_eq!(vault.snapshot(&last.meta.id).await.expect("snapshot").parts, last.parts);
    }
    let writer = vault.begin(&meta(7)).await.expect("begin").expect("new");
    assert!(writer.carry(&last.parts[0].key, SpokeKind::Git, "both are away").await.expect("carry"));
    let whole = writer.commit().await.expect("commit");
    let carried = whole.parts[0].carried.as_ref().expect("it is marked");
    assert_eq!((&carried.snapshot, carried.side, carried.why.as_str()), (&meta(4).id, None, "both are away"));
}

async fn git_history_that_is_held_is_not_sent_again(vault: &dyn Vault) {
    take(vault, 1, &[git("two", &[1], b"BASE")]).await;
    let writer = vault.begin(&meta(2)).await.expect("begin").expect("new");
    let key = git("two", &[1], b"").key;
    let mut sink = writer.part(&key, SpokeKind::Git).expect("part");
    let held = sink.git_held().expect("held");
    let Content::Git { refs, .. } = git("two", &[2], b"").content else { unreachable!("made above") };
    if held.is_empty() {
        sink.git_pack(&[oid(2)], &mut b"WHOLE".as_slice()).expect("pack");
    } else {
        assert_eq!(held, vec![oid(1)]);
        sink.git_pack(&[oid(2)], &mut b"THIN".as_slice()).expect("pack");
    }
    sink.git_refs(&refs).expect("refs");
    sink.finish(&state(&git("two", &[2], b"").content), "exact").expect("finish");
    let info = writer.commit().await.expect("commit");
    let mut source = vault.open(&info.meta.id, &key).await.expect("open");
    let Content::Git { packs, .. } = draw(source.as_mut()) else { unreachable!("a git part") };
    let expect: Vec<Vec<u8>> =
        if held.is_empty() { vec![b"WHOLE".to_vec()] } else { vec![b"BASE".to_vec(), b"THIN".to_vec()] };
    assert_eq!(packs, expect, "packs come in the order in which they must be indexed");
}

async fn roots_follow_from_content_alone(vault: &dyn Vault) {
    let first = take(vault, 1, &[files("one", "A"), database("three", 40)]).await;
    let same = take(vault, 2, &[files("one", "A"), database("three", 40)]).await;
    assert_eq!(same.root, first.root);
    for changed in [files("one", "B"), database("three", 41)] {
        let mut prover = vault.prover(&changed.key, changed.content.kind()).expect("prover");
        let root = pour(prover.as_mut(), &changed.content).expect("prove").root;
        let old = first.parts.iter().find(|p| p.key == changed.key).expect("part");
        assert_ne!(root, old.root, "{}", changed.key.spoke);
    }
}

async fn what_does_not_fit_is_refused(vault: &dyn Vault) {
    let writer = vault.begin(&meta(1)).await.expect("begin").expect("new");
    let key = files("one", "A").key;
    let mut sink = writer.part(&key, SpokeKind::Files).expect("part");
    assert!(sink.git_refs(&GitRefs::default()).is_err(), "refs into a file tree");
    assert!(sink.row(b"k", &[Value::Null]).is_err(), "rows into a file tree");
    for path in ["../x", "/x", "a/../b", "", "a//b", "missing/x"] {
        let entry = entry(path, EntryKind::File { size: 1 });
        assert!(sink.entry(&entry, None, Some(&mut b"x".as_slice())).is_err(), "path {path:?}");
    }
    let mut sink = writer.part(&key, SpokeKind::Database).expect("part");
    let table = TableInfo { name: "t".into(), columns: vec!["a".into()], key: vec![], rows: 0 };
    assert!(sink.table(&table).is_err(), "a table before the schema");
    sink.schema(&DatabaseSchema { engine: "e".into(), statements: vec![], settings: serde_json::json!({}) })
        .expect("schema");
    assert!(sink.row(b"k", &[Value::Null]).is_err(), "a row before its table");
    sink.table(&table).expect("table");
    assert!(sink.row(b"k", &[Value::Null, Value::Null]).is_err(), "more cells than columns");
}

async fn what_is_not_there_says_so(vault: &dyn Vault) {
    let info = take(vault, 1, &[files("one", "A")]).await;
    let missing = vault.snapshot(&meta(9).id).await.expect_err("no such snapshot");
    assert_eq!(missing.cause(), Cause::NotFound, "{missing}");
    let missing = vault.open(&info.meta.id, &files("nobody", "").key).await.err().expect("no such part");
    assert_eq!(missing.cause(), Cause::NotFound, "{missing}");
    let mut source = vault.open(&info.meta.id, &files("one", "").key).await.expect("open");
    assert!(source.git_refs().is_err() && source.schema().is_err(), "files have neither refs nor schema");
}

async fn a_sound_vault_has_no_problems(vault: &dyn Vault) {
    let info = take(vault, 1, &[files("one", "A"), git("two", &[1], b"PACK"), database("three", 40)]).await;
    for level in [CheckLevel::Quick, CheckLevel::Metadata, CheckLevel::Full] {
        let report = vault.check(level, &[], &Silent).await.expect("check");
        assert_eq!(report.problems, vec![], "{level:?}");
        assert_eq!(report.snapshots, vec![info.meta.id.to_string()], "{level:?}");
        let only = vault.check(level, std::slice::from_ref(&info.meta.id), &Silent).await.expect("check");
        assert_eq!(only.problems, vec![], "{level:?}, one snapshot");
    }
    let gone = vault.check(CheckLevel::Quick, &[meta(8).id], &Silent).await;
    assert!(gone.map_or(true, |r| !r.problems.is_empty()), "a snapshot that is not there is a problem");
}

struct Part {
    key: PartKey,
    content: Content,
}

#[derive(Debug, PartialEq)]
enum Content {
    Files(Vec<(TreeEntry, Vec<u8>)>),
    Git { refs: GitRefs, packs: Vec<Vec<u8>> },
    Database { schema: DatabaseSchema, tables: Vec<(TableInfo, Vec<Vec<Value>>)> },
}

impl Content {
    fn kind(&self) -> SpokeKind {
        match self {
            Self::Files(_) => SpokeKind::Files,
            Self::Git { .. } => SpokeKind::Git,
            Self::Database { .. } => SpokeKind::Database,
        }
    }
}

fn key(spoke: &str) -> PartKey {
    PartKey { spoke: SpokeName::new(spoke).expect("valid name"), side: Side::Hub }
}

fn oid(n: u8) -> String {
    format!("{n:02x}").repeat(20)
}

fn entry(path: &str, kind: EntryKind) -> TreeEntry {
    let mode = if matches!(kind, EntryKind::Symlink { .. }) { 0o777 } else { 0o750 };
    TreeEntry { path: path.into(), kind, mode, mtime_ns: 1_700_000_000_000_000_001 }
}

fn files(spoke: &str, text: &str) -> Part {
    let file = |path: &str, bytes: Vec<u8>| (entry(path, EntryKind::File { size: bytes.len() as u64 }), bytes);
    let content = Content::Files(vec![
        file("a.txt", text.into()),
        (entry("dir", EntryKind::Dir), vec![]),
        file("dir/big", (0..=255).cycle().take(700_000).collect()),
        file("dir/empty", vec![]),
        (entry("dir/none", EntryKind::Dir), vec![]),
        (entry("link", EntryKind::Symlink { target: b"../outside".to_vec() }), vec![]),
    ]);
    Part { key: key(spoke), content }
}

fn git(spoke: &str, tips: &[u8], pack: &[u8]) -> Part {
    let refs = tips.iter().map(|n| GitRef { name: format!("refs/heads/b{n}"), oid: oid(*n), peeled: None }).collect();
    let refs = GitRefs { head: Some("refs/heads/main".into()), refs };
    Part { key: key(spoke), content: Content::Git { refs, packs: vec![pack.to_vec()] } }
}

fn database(spoke: &str, rows: i64) -> Part {
    let schema = DatabaseSchema {
        engine: "sqlite 3.46".into(),
        statements: vec!["create table t (id integer primary key, v)".into()],
        settings: serde_json::json!({ "user_version": 3 }),
    };
    let table = TableInfo {
        name: "t".into(),
        columns: vec!["id".into(), "v".into()],
        key: vec!["id".into()],
        rows: rows.unsigned_abs(),
    };
    let value = |n: i64| match n % 5 {
        0 => Value::Null,
        1 => Value::Real(n as f64 / 3.0),
        2 => Value::Text(format!("é {n}\n\"")),
        3 => Value::Blob(vec![0, 255, n as u8]),
        _ => Value::RawText(vec![0xff, n as u8]),
    };
    let rows = (0..rows).map(|n| vec![Value::Int(n), value(n)]).collect();
    Part { key: key(spoke), content: Content::Database { schema, tables: vec![(table, rows)] } }
}

fn meta(number: u8) -> SnapshotMeta {
    let at = Timestamp(1_700_000_000_000_000 + i64::from(number) * 60_000_000);
    SnapshotMeta {
        id: SnapshotId::generate(at, [number; 10]),
        ecosystem: "contract".into(),
        at,
        cause: format!("run {number}"),
        tags: vec!["tag".into()],
    }
}

fn state(content: &Content) -> SideState {
    SideState { digest: Digest::of(format!("{content:?}").as_bytes()), position: "here".into(), items: 1 }
}

async fn take(vault: &dyn Vault, number: u8, parts: &[Part]) -> SnapshotInfo {
    let writer = vault.begin(&meta(number)).await.expect("begin").expect("not visible yet");
    for part in parts {
        let mut sink = writer.part(&part.key, part.content.kind()).expect("part");
        let info = pour(sink.as_mut(), &part.content).expect("pour");
        assert_eq!((&info.key, info.observed), (&part.key, state(&part.content).digest));
    }
    writer.commit().await.expect("commit")
}

fn pour(sink: &mut dyn Sink, content: &Content) -> Result<PartInfo, PortError> {
    match content {
        Content::Files(entries) => {
            for (entry, bytes) in entries {
                let mut bytes = bytes.as_slice();
                let is_file = matches!(entry.kind, EntryKind::File { .. });
                sink.entry(entry, None, if is_file { Some(&mut bytes) } else { None })?;
            }
        }
        Content::Git { refs, packs } => {
            let tips: Vec<String> = refs.refs.iter().map(|r| r.oid.clone()).collect();
            for pack in packs {
                sink.git_pack(&tips, &mut pack.as_slice())?;
            }
            sink.git_refs(refs)?;
        }
        Content::Database { schema, tables } => {
            sink.schema(schema)?;
            for (table, rows) in tables {
                sink.table(table)?;
                for (n, row) in rows.iter().enumerate() {
                    sink.row(&(n as u64).to_be_bytes(), row)?;
                }
            }
        }
    }
    sink.finish(&state(content), "exact")
}

fn draw(source: &mut dyn Source) -> Content {
    match source.kind() {
        SpokeKind::Files => {
            let mut entries = Vec::new();
            source
                .entries(&mut |entry, content| {
                    let mut bytes = Vec::new();
                    if let Some(content) = content {
                        content.read_to_end(&mut bytes).expect("content is intact");
                    }
                    entries.push((entry.clone(), bytes));
                    Ok(())
                })
                .expect("entries");
            Content::Files(entries)
        }
        SpokeKind::Git => {
            let mut packs = Vec::new();
            source
                .git_packs(&mut |pack| {
                    let mut bytes = Vec::new();
                    pack.read_to_end(&mut bytes).expect("pack is intact");
                    packs.push(bytes);
                    Ok(())
                })
                .expect("packs");
            Content::Git { refs: source.git_refs().expect("refs"), packs }
        }
        SpokeKind::Database => {
            let (schema, tables) = source.schema().expect("schema");
            let read = |table: TableInfo| {
                let mut rows = Vec::new();
                let visit = &mut |row| {
                    rows.push(row);
                    Ok(())
                };
                source.rows(&table.name, visit).expect("rows");
                (table, rows)
            };
            Content::Database { schema, tables: tables.into_iter().map(read).collect() }
        }
    }
}
