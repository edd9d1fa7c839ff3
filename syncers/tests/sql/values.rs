//! Values and names that are easily damaged.

use super::support::*;

#[test]
fn every_value_arrives_bit_by_bit_and_with_its_class() {
    let mut pair = Pair::agreed(
        "create table any_class (id integer primary key, v);
        create table typed (k text primary key not null, i integer, r real, n numeric, b blob) strict;"
            .replace("n numeric, ", "")
            .as_str(),
    );
    let cells = [
        "null",
        "1",
        "1.0",
        "'1'",
        "x'31'",
        "x''",
        "''",
        "9007199254740993",
        "-9223372036854775808",
        "9e999",
        "-9e999",
        "-0.0",
        "1e-320",
        "0.1",
        "'a' || char(0) || 'b'",
        "cast(x'ff00fe' as text)",
        "'e' || char(769)",
        "'é'",
        "zeroblob(70000)",
    ];
    for (i, cell) in cells.iter().enumerate() {
        let side = if i % 2 == 0 { pair.hub() } else { pair.far() };
        side.execute_batch(&format!("insert into any_class values ({i}, {cell});")).unwrap();
    }
    pair.hub().execute_batch("insert into typed values ('a', 1, 1.0, x'00')").unwrap();
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty());
    let all = pair.same("select id, typeof(v), v from any_class order by id");
    assert_eq!(all.len(), cells.len());
    assert_eq!(pair.same("select v is null from any_class where id = 9"), ["Integer(0)"]);
    pair.same("select * from typed");
    // One class against the other is a change like any other.
    pair.hub()
        .execute_batch("update any_class set v = 1.0 where id = 1; update any_class set v = '' where id = 0")
        .unwrap();
    pair.far().execute_batch("update any_class set v = '1' where id = 1;").unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["update/update"]);
    assert_eq!(pair.same("select typeof(v) from any_class where id = 0"), ["Text([116, 101, 120, 116])"]);
    pair.quiet();
}

#[test]
fn keys_are_equal_as_the_engine_says() {
    let mut pair = Pair::agreed(
        "create table ci (k text collate nocase primary key not null, v);
         create table rt (k text collate rtrim primary key not null, v);
         create table anykey (k primary key not null, v) without rowid;
         insert into ci values ('ABC', 1); insert into rt values ('a  ', 1); insert into anykey values (1, 1), ('1', 2), (x'31', 3);",
    );
    pair.hub()
        .execute_batch("update ci set k = 'abc'; update rt set v = 2; update anykey set v = 9 where k = '1'")
        .unwrap();
    pair.far()
        .execute_batch("update ci set v = 5; update rt set k = 'a'; update anykey set k = 1.0 where k = 1")
        .unwrap();
    let (plan, _) = pair.sync();
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
    assert_eq!(pair.same("select * from ci"), ["Text([97, 98, 99])|Integer(5)"]);
    assert_eq!(pair.same("select * from rt"), ["Text([97])|Integer(2)"]);
    assert_eq!(pair.same("select typeof(k), v from anykey order by v")[0], "Text([114, 101, 97, 108])|Integer(1)");
    pair.hub().execute("insert into ci values ('New', 1)", []).unwrap();
    pair.far().execute("insert into ci values ('nEW', 1)", []).unwrap();
    let (plan, _) = pair.sync();
    assert_eq!(kinds(&plan), ["insert/insert"]);
}

#[test]
fn tables_without_a_usable_key_are_multisets() {
    let mut pair = Pair::agreed(
        "create table bag (a, b); insert into bag values (1, 2), (1, 2), (3, null);
         create table nullable (k text primary key, v); insert into nullable values (null, 1), (null, 1), ('x', 2);
         create table keyed (a text not null, b text not null, v, unique (a, b)); insert into keyed values ('x', 'y', 1);",
    );
    pair.hub().execute_batch("insert into bag values (1, 2); update nullable set v = 3 where k = 'x'").unwrap();
    pair.far()
        .execute_batch("delete from bag where rowid = 1; insert into nullable values (null, 1); update keyed set v = 2")
        .unwrap();
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty());
    assert_eq!(pair.same("select a, b from bag order by a").len(), 3);
    assert_eq!(pair.same("select count(*) from nullable where k is null"), ["Integer(3)"]);
    assert_eq!(pair.same("select v from keyed"), ["Integer(2)"]);
    assert!(plan.actions.iter().any(|a| a.target == "keyed[\"x\",\"y\"]"), "a unique NOT NULL key serves as the key");
    pair.quiet();
}

#[test]
fn hostile_names_are_only_names() {
    let long = "n".repeat(300);
    let names = [
        "a\"b",
        "x; drop table victim; --",
        "select",
        "ü 表 \u{1F600}",
        "'q'",
        "[br]",
        "`t`",
        "%_*",
        " ",
        &long,
        "a\nb",
    ];
    let mut sql = String::from("create table victim (id integer primary key); insert into victim values (1);");
    for name in names {
        let q = format!("\"{}\"", name.replace('"', "\"\""));
        sql += &format!(
            "create table {q} ({q} integer primary key, \"c{}\" text, \"order\" text);",
            name.replace('"', "\"\"")
        );
        sql += &format!("insert into {q} values (1, 'one', 'x'), (2, 'two', 'y');");
        sql += &format!("create index \"i{}\" on {q} (\"order\");", name.replace('"', "\"\""));
    }
    let mut pair = Pair::agreed(&sql);
    for name in names {
        let q = format!("\"{}\"", name.replace('"', "\"\""));
        pair.hub()
            .execute_batch(&format!("update {q} set \"order\" = 'hub' where {q} = 1; delete from {q} where {q} = 2"))
            .unwrap();
        pair.far().execute_batch(&format!("insert into {q} values (3, 'three', 'z')")).unwrap();
    }
    let (plan, applied) = pair.sync();
    assert!(plan.conflicts.is_empty() && applied.skipped.is_empty());
    for name in names {
        let q = format!("\"{}\"", name.replace('"', "\"\""));
        assert_eq!(pair.same(&format!("select * from {q} order by 1")).len(), 2);
    }
    assert_eq!(pair.same("select count(*) from victim"), ["Integer(1)"]);
    pair.quiet();
}

#[test]
fn generated_columns_are_computed_and_not_written() {
    let mut pair = Pair::agreed(
        "create table g (id integer primary key, a integer, twice integer generated always as (a * 2) stored,
            thrice generated always as (a * 3) virtual, b text);
         insert into g (id, a, b) values (1, 1, 'x');",
    );
    pair.hub().execute_batch("insert into g (id, a, b) values (2, 5, 'y'); update g set a = 4 where id = 1").unwrap();
    pair.far().execute_batch("update g set b = 'z' where id = 1").unwrap();
    pair.sync();
    assert_eq!(pair.same("select * from g order by id")[0], "Integer(1)|Integer(4)|Integer(8)|Integer(12)|Text([122])");
    pair.quiet();
}

#[test]
fn other_encodings_keep_their_order_and_text() {
    let mut pair = Pair::agreed(
        "pragma encoding = 'UTF-16le'; create table t (k text primary key not null, v text);
         insert into t values ('a', 'x'), ('\u{1F600}', 'y'), ('\u{ffff}', 'z'), ('é', 'w');",
    );
    pair.hub().execute_batch("update t set v = '\u{1F601}' where k = 'é'").unwrap();
    pair.far().execute_batch("insert into t values ('b', 'new')").unwrap();
    pair.sync();
    assert_eq!(pair.same("select * from t order by k").len(), 5);
    assert_eq!(pair.same("pragma encoding"), pair.rows("pragma encoding").0);
    pair.quiet();
}
