//! Whether two tables can be kept equal row by row.

use super::catalog::{Column, Table};

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
fn words(sql: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        let mut word = String::from(c);
        match c {
            c if c.is_whitespace() => continue,
            '"' | '\'' | '`' | '[' => {
                let end = if c == '[' { ']' } else { c };
                for next in chars.by_ref() {
                    word.push(next);
                    if next == end {
                        break;
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
