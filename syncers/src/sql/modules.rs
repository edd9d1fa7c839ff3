//! Virtual tables, which are left out: what else is theirs, and what cannot be without them.
//!
//! A module keeps its data in ordinary tables called after the virtual one. SQLite tells them by their names alone,
//! and only for modules that it knows; a user's table may have such a name.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::catalog::Object;
use super::drift::words;

/// One virtual table.
#[derive(Clone, Debug)]
pub(super) struct Virtual {
    pub name: String,
    pub module: String,
    /// Whether SQLite has the module here.
    pub known: bool,
    /// It indexes rows that are kept elsewhere or nowhere.
    content_elsewhere: bool,
}

/// Returns the names of the modules that SQLite has here.
pub(super) fn known(conn: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut found = conn.prepare("pragma module_list")?;
    let names = found.query_map([], |r| r.get::<_, String>(0))?;
    names.map(|name| name.map(|n| n.to_ascii_lowercase())).collect()
}

impl Virtual {
    pub fn of(name: &str, sql: &str, known: &BTreeSet<String>) -> Self {
        let words = words(sql);
        // create virtual table NAME using MODULE
        let module = words.get(5).map(|w| unquoted(w)).unwrap_or_default();
        let option = |pair: &[String]| unquoted(&pair[0]) == "content" && pair[1] == "=";
        Self {
            name: name.to_owned(),
            known: known.contains(&module),
            module,
            content_elsewhere: words.get(6..).is_some_and(|w| w.windows(2).any(option)),
        }
    }

    /// The rest of a table's name behind that of the virtual one.
    fn suffix<'a>(&self, table: &'a str) -> Option<&'a str> {
        let (stem, rest) = table.split_at_checked(self.name.len())?;
        stem.eq_ignore_ascii_case(&self.name).then(|| rest.strip_prefix('_')).flatten()
    }

    /// Says whether a table that is called as one of its own is the user's all the same.
    pub fn spares(&self, table: &str) -> bool {
        self.content_elsewhere && self.suffix(table).is_some_and(|s| s.eq_ignore_ascii_case("content"))
    }

    /// Says whether a table may be its own, which cannot be known without the module.
    pub fn may_own(&self, table: &str) -> bool {
        !self.known && self.suffix(table).is_some()
    }
}

/// Takes out the views and triggers that use a virtual table, or one another so; returns them with the reason.
pub(super) fn take_out_users(objects: &mut Vec<Object>, virtuals: &[Virtual]) -> Vec<(Object, String)> {
    let mut gone: BTreeSet<String> = virtuals.iter().map(|v| v.name.to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    loop {
        let uses = |o: &Object| (o.kind == "view" || o.kind == "trigger").then(|| used(o, &gone)).flatten();
        let Some(at) = objects.iter().position(|o| uses(o).is_some()) else { return out };
        let why = uses(&objects[at]).unwrap_or_default();
        let object = objects.remove(at);
        if object.kind == "view" {
            gone.insert(object.name.to_ascii_lowercase());
        }
        out.push((object, why));
    }
}

/// Returns the name among `gone` that an object mentions behind its own.
fn used(object: &Object, gone: &BTreeSet<String>) -> Option<String> {
    let words = words(&object.sql);
    let at = (3..words.len()).find(|at| {
        let of_row = words[at - 1] == "." && unquoted(&words[at - 2]) != "main";
        !of_row && !words[*at].starts_with('\'') && gone.contains(&unquoted(&words[*at]))
    })?;
    Some(unquoted(&words[at]))
}

/// Returns a word as the name it stands for, in lower case.
fn unquoted(word: &str) -> String {
    let mut chars = word.chars();
    let name = match (chars.next(), chars.next_back()) {
        (Some(q @ ('"' | '\'' | '`')), Some(end)) if q == end => {
            chars.as_str().replace(&String::from_iter([q, q]), &String::from(q))
        }
        (Some('['), Some(']')) => chars.as_str().to_owned(),
        _ => word.to_owned(),
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_a_name_and_no_text_and_no_column() {
        let gone = BTreeSet::from(["f\"t s".to_owned()]);
        for (sql, expected) in [
            ("CREATE TRIGGER t AFTER INSERT ON p BEGIN INSERT INTO \"F\"\"t s\"(x) VALUES (1); END", true),
            ("CREATE VIEW v AS SELECT * FROM main.[f\"t s]", true),
            ("CREATE VIEW v AS SELECT 'f\"t s'", false),
            ("CREATE TRIGGER t AFTER INSERT ON p BEGIN SELECT new.`f\"t s`; END", false),
            ("CREATE TRIGGER \"f\"\"t s\" AFTER INSERT ON p BEGIN SELECT 1; END", false),
        ] {
            let object = Object { kind: String::new(), name: String::new(), table: String::new(), sql: sql.into() };
            assert_eq!(used(&object, &gone).is_some(), expected, "{sql}");
        }
    }
}
