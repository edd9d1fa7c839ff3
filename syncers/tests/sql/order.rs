//! SQLite itself as the oracle of key encoding.

use cathedral_model::conflict::value::{Collation, Value, write_key};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

fn values() -> impl Strategy<Value = Value> {
    let letter = prop_oneof![
        Just(b'a'),
        Just(b'A'),
        Just(b'b'),
        Just(b' '),
        Just(0u8),
        Just(b'['),
        Just(0xc3),
        Just(0xa9),
        Just(0xff)
    ];
    prop_oneof![
        Just(Value::Null),
        prop_oneof![any::<i64>(), -3i64..4, Just(1 << 53), Just((1 << 53) + 1), Just(i64::MIN), Just(i64::MAX)]
            .prop_map(Value::Int),
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-3i32..4).prop_map(|n| f64::from(n) / 2.0),
            Just(9.007199254740992e15),
            Just(9.223_372_036_854_776e18),
            Just(1e300)
        ]
        .prop_filter("NaN is NULL", |x| !x.is_nan())
        .prop_map(Value::Real),
        proptest::collection::vec(letter.clone(), 0..5).prop_map(|b| Value::text(&b)),
        proptest::collection::vec(letter, 0..4).prop_map(Value::Blob),
    ]
}

fn bound(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Int(n) => ValueRef::Integer(*n),
        Value::Real(x) => ValueRef::Real(*x),
        Value::Text(t) => ValueRef::Text(t.as_bytes()),
        Value::RawText(t) => ValueRef::Text(t),
        Value::Blob(b) => ValueRef::Blob(b),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn keys_order_as_sqlite_orders(values in proptest::collection::vec((values(), values()), 2..14)) {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("create table t (n integer primary key, a, b)").unwrap();
        for (n, (a, b)) in values.iter().enumerate() {
            conn.execute("insert into t values (?1, ?2, ?3)", (n as i64, bound(a), bound(b))).unwrap();
        }
        for (name, collation) in [("binary", Collation::Binary), ("nocase", Collation::NoCase), ("rtrim", Collation::Rtrim)] {
            // Ranks tell equality as well as order.
            let sql = format!("select n, dense_rank() over (order by a collate {name}, b collate {name}) from t order by n");
            let ranks: Vec<i64> = conn.prepare(&sql).unwrap().query_map([], |r| r.get(1)).unwrap().map(Result::unwrap).collect();
            let keys: Vec<Vec<u8>> =
                values.iter().map(|(a, b)| write_key([(a, collation), (b, collation)])).collect();
            for i in 0..keys.len() {
                for j in 0..keys.len() {
                    prop_assert_eq!(keys[i].cmp(&keys[j]), ranks[i].cmp(&ranks[j]), "{} {:?} {:?}", name, values[i], values[j]);
                }
            }
        }
    }
}
