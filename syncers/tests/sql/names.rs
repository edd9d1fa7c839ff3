//! Names that quoting, lookups or SQLite itself could take for something else.

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Fence, RunId};
use cathedral_model::ports::Syncer;
use cathedral_model::ports::syncer::Place;

use super::support::*;

fn export(pair: &Pair, place: &Place) -> Part {
    let mut part = Part::default();
    part.state = Some(wait(pair.syncer.export(&pair.spoke, place, &mut part)).unwrap());
    part
}

/// Exports the hub, restores it to a new place and in place, and sees the same each time.
fn restores_equal(pair: &Pair) -> Part {
    let live = Place::Live(Side::Hub);
    let part = export(pair, &live);
    let path = pair.dir.path().join("elsewhere.db");
    for place in [Place::Path(path.clone()), live] {
        if matches!(place, Place::Live(_)) {
            pair.hub().execute_batch("create table to_be_gone (x)").unwrap();
        }
        wait(pair.syncer.import(&pair.spoke, &place, &mut part.clone(), RunId(3), Fence(1))).unwrap();
        let back = export(pair, &place);
        assert_eq!((&back.schema, &back.rows, &back.state), (&part.schema, &part.rows, &part.state));
    }
    std::fs::remove_file(path).unwrap();
    part
}

#[test]
fn tables_and_columns_of_any_name_travel_and_come_back() {
    for name in [
        "we\"ird",
        "a b",
        "tab'le",
        "[x]",
        "`y`",
        "Größe 表",
        "e\u{301}",
        "select",
        "main",
        "temp",
        "table",
        "1",
        "a.b",
        "x;y",
        "%s",
        "*",
        "-- c",
        "rowid",
        "pragma_table_list",
        "pragma_table_xinfo",
        "pragma_index_list",
        "pragma_foreign_key_check",
        "pragma_foreign_key_list",
        "pragma_index_xinfo",
        "json_each",
        "generate_series",
        "pair",
        "sqlit",
        " ",
        "new",
        "old",
        "excluded",
        "line\nbreak",
    ] {
        let q = format!("\"{}\"", name.replace('"', "\"\""));
        let mut pair = Pair::new();
        pair.hub()
            .execute_batch(&format!(
                "create table {q} ({q} text, other int, primary key ({q}));
                 create table child (id integer primary key, {q} text references {q} ({q}));
                 create unique index \"ix {0}\" on {q} (other); insert into {q} values ('k', 1), ('m', 2);
                 insert into child values (1, 'k');",
                name.replace('"', "\"\"")
            ))
            .unwrap_or_else(|e| panic!("{name:?}: {e}"));
        pair.sync();
        pair.far()
            .execute_batch(&format!("update {q} set other = 7 where {q} = 'k'; insert into child values (2, 'm')"))
            .unwrap();
        pair.hub().execute_batch(&format!("insert into {q} values ('n', 3)")).unwrap();
        let (plan, applied) = pair.sync();
        assert_eq!((plan.conflicts.len(), applied.skipped.len()), (0, 0), "{name:?}");
        assert_eq!(pair.same(&format!("select * from {q} order by 1")).len(), 3, "{name:?}");
        assert_eq!(pair.same("select * from child order by 1").len(), 2, "{name:?}");
        pair.quiet();
        assert_eq!(restores_equal(&pair).tables.len(), 2, "{name:?}");
    }
}

#[test]
fn columns_called_as_the_rowid_or_as_ours_are_columns() {
    let mut pair = Pair::agreed(
        "create table a (rowid text, oid text, v); insert into a values ('r', 'o', 1), ('r', 'o', 1);
         create table b (rowid text, _rowid_ text, oid text, v); insert into b values (1, 2, 3, 4), (1, 2, 3, 4);
         create table c (pair text primary key not null, sync_id text, fence int, applied_at text) without rowid;
         insert into c values ('shop', 'x', 1, 'y');",
    );
    pair.far()
        .execute_batch("delete from a where rowid = 'r' and _rowid_ = 1; insert into b values (5, 6, 7, 8); update c set fence = 9")
        .unwrap();
    let (_, applied) = pair.sync();
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(pair.same("select * from a").len(), 1);
    assert_eq!(pair.same("select * from b order by 1").len(), 3);
    assert_eq!(pair.same("select fence from c"), ["Integer(9)"]);
    pair.quiet();
    // Equal rows without any name to tell them apart: told, and nothing comes back from the dead.
    pair.far().execute_batch("delete from b where v = 8").unwrap();
    let (plan, applied) = pair.sync();
    assert_eq!(plan.changes().0, 1);
    assert_eq!(applied.skipped.len(), 1);
    assert!(applied.skipped[0].why.contains("rowid"), "{:?}", applied.skipped);
    assert_eq!(pair.rows("select count(*) from b"), (vec!["Integer(3)".into()], vec!["Integer(2)".into()]));
    let (plan, _) = pair.sync();
    assert_eq!(plan.changes(), (1, 0), "it is still the spoke that deleted");
    restores_equal(&pair);
}

#[test]
fn a_name_that_is_taken_on_the_other_side_pauses_the_table_and_says_so() {
    for (theirs, mine, why) in [
        (
            "create view thing as select 1",
            "create table Thing (id integer primary key)",
            "the hub has a view named \"thing\"",
        ),
        (
            "create index thing on t (v)",
            "create table thing (id integer primary key)",
            "the hub has an index named \"thing\"",
        ),
        (
            "create virtual table thing using fts5(x)",
            "create table thing (id integer primary key)",
            "the hub has a virtual table named \"thing\"",
        ),
        (
            "create virtual table thing using fts5(x)",
            "create table thing_data (id integer primary key)",
            "the hub has a shadow table named \"thing_data\"",
        ),
        (
            "create table ix (id integer primary key)",
            "create table n (v); create index IX on n (v)",
            "the hub has a table named \"ix\"",
        ),
        (
            "create index ix on t (v)",
            "create table n (v); create index ix on n (v)",
            "the hub has an index named \"ix\"",
        ),
        (
            "create trigger tr after insert on t begin select 1; end",
            "create table n (v); create trigger tr after insert on n begin select 1; end",
            "the hub has a trigger named \"tr\"",
        ),
    ] {
        let mut pair = Pair::agreed("create table t (id integer primary key, v); insert into t values (1, 1);");
        pair.hub().execute_batch(theirs).unwrap();
        pair.far().execute_batch(&format!("{mine}; update t set v = 2;")).unwrap();
        let (plan, applied) = pair.sync();
        assert_eq!(kinds(&plan)[0], "schema", "{mine}");
        assert!(plan.conflicts.iter().any(|c| c.because.contains(why)), "{mine}: {:?}", plan.conflicts);
        assert_eq!(applied.skipped, vec![]);
        assert_eq!(pair.same("select v from t"), ["Integer(2)"], "the others go on");
    }
}

#[test]
fn generated_columns_expression_indexes_and_statistics_tables_come_back() {
    let mut pair = Pair::agreed(
        "create table g (id integer primary key, a int, b int generated always as (a * 2) stored, c as (a || 'x') virtual, unique (b));
         create unique index gx on g (lower(a), c) where a > 0; create index \"odd (name\" on g (abs(a) desc);
         insert into g (id, a) values (1, 5), (2, 6);
         create table w (k text collate nocase, n int, v, primary key (k desc, n)) without rowid; insert into w values ('A', 1, 'x');
         create table s (id integer primary key, v any) strict; insert into s values (1, x'00'); analyze;",
    );
    pair.far()
        .execute_batch("update g set a = 9 where id = 1; insert into w values ('b', 2, 'y'); update s set v = '1'")
        .unwrap();
    let (_, applied) = pair.sync();
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(pair.same("select id, b, c from g order by id").len(), 2);
    pair.same("select * from w order by k");
    pair.same("select v from s");
    pair.quiet();
    let part = restores_equal(&pair);
    assert!(part.tables.iter().all(|t| !t.name.starts_with("sqlite_")));
    assert_eq!(rows(&pair.hub(), "select c from g where id = 1"), rows(&pair.far(), "select c from g where id = 1"));
}

#[test]
fn a_full_text_table_is_left_out_whole_with_all_that_needs_it() {
    let sql = "create table post (id integer primary key, body text);
         create virtual table post_fts using fts5(body, content='post', content_rowid='id');
         create trigger post_ai after insert on post begin insert into post_fts(rowid, body) values (new.id, new.body); end;
         create trigger plain after insert on post begin update post set body = body where id = new.id; end;
         create view hits as select rowid from main.post_fts where post_fts match 'x';
         create virtual table own using fts5(body); insert into own values ('text');
         create virtual table box using rtree(id, a, b);
         create table own_notes (id integer primary key, v); insert into own_notes values (1, 'n');
         insert into post values (1, 'x y');";
    let mut pair = Pair::agreed(sql);
    let seen = pair.observe();
    for what in ["post_fts", "own", "box", "post_ai", "hits"] {
        assert!(seen.warnings.iter().any(|w| w.contains(&format!("{what:?}"))), "{what}: {:?}", seen.warnings);
    }
    let names = "select name from sqlite_schema where name not like 'cathedral%' and name not like 'sqlite_%'";
    assert_eq!(rows(&pair.far(), names).len(), 3, "{:?}", rows(&pair.far(), names));
    pair.far().execute_batch("insert into post values (2, 'far'); update own_notes set v = 'm'").unwrap();
    let (_, applied) = pair.sync();
    assert_eq!(applied.skipped, vec![]);
    assert_eq!(pair.same("select count(*) from post"), ["Integer(2)"]);
    pair.quiet();
    let part = restores_equal(&pair);
    assert_eq!(part.tables.len(), 2);
    for what in ["post_fts", "own", "box", "post_ai", "hits"] {
        assert!(part.skipped.iter().any(|s| s.starts_with(&format!("{what}: "))), "{what}: {:?}", part.skipped);
    }
    // What came back works, and the search can be made again.
    pair.hub()
        .execute_batch("insert into post values (3, 'z'); create virtual table own using fts5(body); insert into own values ('new'); insert into own(own) values ('integrity-check');")
        .unwrap();
}

#[test]
fn a_users_table_that_only_bears_the_name_of_a_shadow_is_kept() {
    let mut pair = Pair::agreed(
        "create table docs_content (id integer primary key, body text); insert into docs_content values (1, 'x');
         create virtual table docs using fts5(body, content = \"docs_content\", content_rowid=id);
         create table bare_content (id integer primary key, v);
         create virtual table bare using fts5(body, content='');
         create table old_content (id integer primary key, v);
         create virtual table old using fts4(content=\"old_content\", v);
         insert into old_content values (1, 'o'); insert into bare_content values (1, 'b');",
    );
    assert_eq!(pair.same("select body from docs_content").len(), 1);
    pair.far().execute_batch("update docs_content set body = 'y'; insert into bare_content values (2, 'c')").unwrap();
    pair.sync();
    assert_eq!(pair.same("select * from bare_content order by id").len(), 2);
    pair.same("select * from docs_content");
    pair.same("select * from old_content");
    pair.quiet();
    assert_eq!(restores_equal(&pair).tables.len(), 3);
}

#[test]
fn tables_of_a_module_that_is_not_known_here_are_captured_but_never_merged() {
    let sql = "create table vec_chunks (id integer primary key, v); insert into vec_chunks values (1, 1);
         create table t (id integer primary key); insert into t values (1);
         pragma writable_schema = on;
         insert into sqlite_schema values ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0(x)');
         pragma writable_schema = reset;";
    let mut pair = Pair::new();
    pair.hub().execute_batch(sql).unwrap();
    pair.sync();
    assert_eq!(rows(&pair.far(), "select name from sqlite_schema where name like 'vec%'").len(), 0);
    assert!(pair.observe().warnings.iter().any(|w| w.contains("\"vec_chunks\"") && w.contains("vec0")));
    pair.far()
        .execute_batch(
            sql.replace("insert into t values (1);", "")
                .replace("create table t (id integer primary key);", "")
                .as_str(),
        )
        .unwrap();
    pair.far().execute_batch("update vec_chunks set v = 2").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!((plan.changes(), plan.conflicts.len()), ((0, 0), 0));
    assert_eq!(restores_equal(&pair).rows["vec_chunks"].len(), 1);
}
