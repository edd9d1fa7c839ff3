//! Whether two tables can be kept equal row by row.

use super::catalog::{Catalog, Column, Table};
use super::marker;

/// Says why the tables do not fit together; none when they do.
pub(super) fn between(hub: &Table, spoke: &Table) -> Option<String> {
    if let Some(why) = columns(&hub.columns, &spoke.columns).or_else(|| columns(&hub.generated, &spoke.generated)) {
        return Some(why);
    }
    if hub.strict != spoke.strict {
        return Some("only one side is strict".to_owned());
    }
    let same_text = words(&hub.sql) == words(&spoke.sql);
    let (h, s) = (&hub.shape, &spoke.shape);
    if !same_text && h.key != s.key && !(hub.rowid_is_key || h.key.is_empty() || s.key.is_empty()) {
        return Some("the primary keys differ".to_owned());
    }
    if h.uniques != s.uniques || hub.odd_unique != spoke.odd_unique {
        return Some("the unique indexes differ".to_owned());
    }
    if h.collations != s.collations {
        return Some("the collations of the keys differ".to_owned());
    }
    if !same_text && (h.foreign.len() != s.foreign.len() || !h.foreign.iter().all(|f| s.foreign.contains(f))) {
        return Some("the foreign keys differ".to_owned());
    }
    // What the catalog does not tell stands in the text alone.
    let checks = |t: &Table| words(&t.sql).iter().any(|w| w.eq_ignore_ascii_case("check"));
    (!same_text && (checks(hub) || checks(spoke)))
        .then(|| "the tables have checks, and their definitions differ".to_owned())
}

/// Says what stands in the way of making a table of `from` on the other side; none when nothing does.
pub(super) fn obstacle(table: &Table, from: &Catalog, to: &Catalog, side: &str) -> Option<String> {
    if marker::is_definition(table.name(), &table.sql) {
        return Some("it is defined as the table in which Cathedral notes its own plans".to_owned());
    }
    let own = from.objects.iter().filter(|o| o.kind != "view" && o.table.eq_ignore_ascii_case(table.name()));
    let names = own.map(|o| (o.kind == "trigger", o.name.as_str()));
    std::iter::once((false, table.name())).chain(names).find_map(|(trigger, name)| {
        let there = to.taken.get(&(trigger, name.to_ascii_lowercase()))?;
        Some(format!("the {side} has {there} already, rename one of the two"))
    })
}

fn columns(hub: &[Column], spoke: &[Column]) -> Option<String> {
    let named = |all: &[Column], c: &Column| all.iter().any(|o| o.name.eq_ignore_ascii_case(&c.name));
    for (side, own, other) in [("hub", hub, spoke), ("spoke", spoke, hub)] {
        if let Some(column) = own.iter().find(|c| !named(other, c)) {
            return Some(format!("column {:?} is on the {side} only", column.name));
        }
    }
    for (h, s) in hub.iter().zip(spoke) {
        if !h.name.eq_ignore_ascii_case(&s.name) {
            return Some("the columns are in another order".to_owned());
        }
        if !h.declared.eq_ignore_ascii_case(&s.declared) {
            return Some(format!(
                "column {:?} is {:?} on the hub and {:?} on the spoke",
                h.name, h.declared, s.declared
            ));
        }
        if h.not_null != s.not_null || h.default != s.default {
            return Some(format!("column {:?} differs in its default or in being NOT NULL", h.name));
        }
    }
    None
}

/// The words of a statement without what may differ: white space, and case outside quotes.
pub(super) fn words(sql: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        let mut word = String::from(c);
        match c {
            c if c.is_whitespace() => continue,
            '"' | '\'' | '`' | '[' => {
                let end = if c == '[' { ']' } else { c };
                while let Some(next) = chars.next() {
                    word.push(next);
                    if next == end {
                        // A quote that stands for itself is doubled.
                        match chars.next_if(|n| *n == end && c != '[') {
                            Some(second) => word.push(second),
                            None => break,
                        }
                    }
                }
            }
            c if c.is_alphanumeric() || c == '_' => {
                while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || *n == '_') {
                    word.push(next);
                }
                word.make_ascii_lowercase();
            }
            _ => {}
        }
        out.push(word);
    }
    out
}
