//! Random two-sided histories against a simple oracle. A failure names its seed.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::support::*;

/// xorshift64*: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

const SCHEMA: &str = "
    create table free (id integer primary key, a, b);
    create table bag (x);
    create table parent (id integer primary key, name text unique, n);
    create table child (id integer primary key, parent integer references parent(id) on delete cascade, v);
";

type Free = BTreeMap<i64, (i64, i64)>;
type Bag = BTreeMap<i64, i64>;

fn free(conn: &Connection) -> Free {
    let mut found = conn.prepare_cached("select id, a, b from free").unwrap();
    found.query_map([], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?)))).unwrap().map(Result::unwrap).collect()
}

fn bag(conn: &Connection) -> Bag {
    let mut found = conn.prepare_cached("select x, count(*) from bag group by x").unwrap();
    found.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn edit(dice: &mut Dice, conn: &Connection) {
    let (id, n, m) = (dice.roll(6), dice.roll(4), dice.roll(4));
    let sql = match dice.roll(13) {
        0 | 1 => format!("insert or ignore into free values ({id}, {n}, {m})"),
        2 => format!("update free set a = {n} where id = {id}"),
        3 => format!("update free set b = {n} where id = {id}"),
        4 => format!("delete from free where id = {id}"),
        5 => format!("insert into bag values ({n})"),
        6 => format!("delete from bag where rowid = (select rowid from bag where x = {n})"),
        7 => format!("insert or ignore into parent values ({id}, 'n{n}', {m})"),
        8 => format!("update or ignore parent set name = 'n{n}', n = {m} where id = {id}"),
        9 => format!("delete from parent where id = {id}"),
        10 => format!("insert or ignore into child select {id}, id, {m} from parent where id = {n}"),
        11 => format!("update child set v = {m}, parent = (select id from parent where id = {n}) where id = {id}"),
        _ => format!("delete from child where id = {id}"),
    };
    conn.execute(&sql, []).unwrap();
}

/// The oracle of the free table: what each side and the agreed state hold after a sync, and how many disputes.
fn expected(base: Option<&Free>, hub: &Free, far: &Free) -> (Free, Free, Free, usize) {
    let (mut h2, mut s2, mut b2, mut disputes) = (Free::new(), Free::new(), Free::new(), 0);
    for id in 0..6 {
        let b = base.and_then(|b| b.get(&id)).copied();
        let (h, s) = (hub.get(&id).copied(), far.get(&id).copied());
        let cell = |b: i64, h: i64, s: i64| {
            if h == s || s == b {
                Some(h)
            } else if h == b {
                Some(s)
            } else {
                None
            }
        };
        let both = if h == s || s == b {
            Some(h)
        } else if h == b {
            Some(s)
        } else if let (Some(b), Some(h), Some(s)) = (b, h, s) {
            cell(b.0, h.0, s.0).zip(cell(b.1, h.1, s.1)).map(Some)
        } else {
            None
        };
        let (h, s, b) = both.map_or_else(
            || {
                disputes += 1;
                (h, s, b)
            },
            |m| (m, m, m),
        );
        h2.extend(h.map(|r| (id, r)));
        s2.extend(s.map(|r| (id, r)));
        b2.extend(b.map(|r| (id, r)));
    }
    (h2, s2, b2, disputes)
}

fn expected_bag(base: Option<&Bag>, hub: &Bag, far: &Bag) -> Bag {
    let of = |b: &Bag, x: i64| b.get(&x).copied().unwrap_or_default();
    (0..4)
        .map(|x| {
            let (h, s) = (of(hub, x), of(far, x));
            (x, base.map_or(h.max(s), |b| (h + s - of(b, x)).max(0)))
        })
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// Every version that a side holds before a sync is there afterwards, was agreed before, or merged.
fn tied(conn: &Connection) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for table in ["parent", "child"] {
        for row in rows(conn, &format!("select * from {table}")) {
            let key = format!("{table} {}", row.split('|').next().unwrap());
            out.insert(key, row);
        }
    }
    out
}

fn history(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut pair = Pair::new();
    let (hub, far) = (pair.hub(), pair.far());
    for conn in [&hub, &far] {
        conn.execute_batch(SCHEMA).unwrap();
        if dice.roll(3) == 0 {
            conn.query_row("pragma journal_mode = wal", [], |_| Ok(())).unwrap();
        }
    }
    let mut base: Option<(Free, Bag, BTreeMap<String, String>)> = None;
    for round in 0..3 {
        for conn in [&hub, &far] {
            let edits = dice.roll(8);
            conn.execute_batch("begin").unwrap();
            (0..edits).for_each(|_| edit(&mut dice, conn));
            conn.execute_batch("commit").unwrap();
        }
        let before = [(free(&hub), bag(&hub), tied(&hub)), (free(&far), bag(&far), tied(&far))];
        let (plan, applied) = pair.sync();
        let what = format!("seed {seed} round {round}: {:?}", plan.conflicts);
        assert_eq!(applied.skipped, vec![], "{what}");
        let (h, s, b, disputes) = expected(base.as_ref().map(|b| &b.0), &before[0].0, &before[1].0);
        assert_eq!((free(&hub), free(&far)), (h, s), "{what}");
        assert_eq!(plan.conflicts.iter().filter(|c| c.table.as_deref() == Some("free")).count(), disputes, "{what}");
        let bags = expected_bag(base.as_ref().map(|b| &b.1), &before[0].1, &before[1].1);
        assert_eq!((bag(&hub), bag(&far)), (bags.clone(), bags.clone()), "{what}");
        let after = [tied(&hub), tied(&far)];
        for (side, after) in after.iter().enumerate() {
            for (key, row) in &before[side].2 {
                let merged = after
                    .get(key)
                    .is_some_and(|r| r != row && plan.actions.iter().any(|a| a.reason.contains("merged")));
                let agreed = base.as_ref().is_some_and(|b| b.2.get(key) == Some(row));
                assert!(after.get(key) == Some(row) || agreed || merged, "{what}: {row} was lost");
            }
        }
        for conn in [&hub, &far] {
            assert_eq!(rows(conn, "pragma foreign_key_check"), Vec::<String>::new(), "{what}");
        }
        if kinds(&plan).is_empty() {
            assert_eq!(after[0], after[1], "{what}");
        }
        let again = pair.plan();
        assert_eq!(again.actions, vec![], "{what}");
        assert_eq!(kinds(&again), kinds(&plan), "{what}");
        let mut known = base.map(|b| b.2).unwrap_or_default();
        let keys: Vec<String> = after[0].keys().chain(after[1].keys()).chain(known.keys()).cloned().collect();
        for key in keys {
            match (after[0].get(&key), after[1].get(&key)) {
                (Some(h), Some(s)) if h == s => drop(known.insert(key, h.clone())),
                (None, None) => drop(known.remove(&key)),
                _ => {}
            }
        }
        base = Some((b, bags, known));
    }
}

fn histories(from: u64) {
    (from..from + 750).for_each(history);
}

#[test]
fn random_histories_1() {
    histories(0);
}

#[test]
fn random_histories_2() {
    histories(750);
}

#[test]
fn random_histories_3() {
    histories(1500);
}

#[test]
fn random_histories_4() {
    histories(2250);
}
