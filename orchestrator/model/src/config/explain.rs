//! `cathedral config explain KEY`: the table of keys, in words.

use serde::Serialize;

use super::ecosystem::Config;
use super::nearest::nearest;
use super::table::{Key, Mark, Section, Shape};

/// What one key means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The whole path, such as `connected_repositories[].data_sync`.
    pub key: String,
    pub meaning: String,
    /// The type in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value used where the file has none, as YAML; empty if there is none.
    pub default: String,
    pub is_required: bool,
    /// Every word with its meaning, where the key takes a word.
    pub allowed: Vec<Allowed>,
    /// The keys below.
    pub keys: Vec<String>,
    /// The key with a value, as YAML.
    pub example: String,
    pub available: bool,
    /// What has no effect yet, and since when it will.
    pub note: Option<String>,
    /// Other places where a key of this name stands.
    pub also: Vec<String>,
}

/// One word that a key takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allowed {
    pub word: String,
    pub meaning: String,
    pub available: bool,
}

/// One key with its path and whether all keys above it are available.
pub(super) struct Entry {
    pub path: String,
    pub key: &'static Key,
    pub section: &'static Section,
    pub is_available: bool,
}

/// Every key of the contract, in the order of the table.
pub(super) fn entries() -> Vec<Entry> {
    let mut found = Vec::new();
    collect(&Config::SECTION, "", true, &mut found);
    found
}

fn collect(section: &'static Section, above: &str, is_open: bool, found: &mut Vec<Entry>) {
    for key in section.keys {
        let mark = match key.shape {
            Shape::List(_) => "[]",
            _ => "",
        };
        let path = match above {
            "" => key.name.to_owned(),
            "cathedral_ecosystem" => key.name.to_owned(),
            above => format!("{above}.{}", key.name),
        };
        let is_available = is_open && key.mark.is_available();
        found.push(Entry { path: path.clone(), key, section, is_available });
        if let Some(below) = key.shape.section() {
            let path = if key.name == "cathedral_ecosystem" { path } else { format!("{path}{mark}") };
            collect(below, &path, is_available, found);
        }
    }
}

/// The paths of all keys, such as `connected_repositories[].name`.
#[must_use]
pub fn keys() -> Vec<String> {
    entries().into_iter().map(|entry| entry.path).collect()
}

/// Explains a key given by its whole path (`connected_repositories[2].data_sync`, with or without the brackets and the
/// root key) or by the end of it (`data_sync`).
#[must_use]
pub fn explain(key: &str) -> Option<Explanation> {
    let wanted = fold(key);
    if wanted.is_empty() {
        return None;
    }
    let entries = entries();
    let tail = format!(".{wanted}");
    let is_meant = |entry: &&Entry| {
        let path = fold(&entry.path);
        path == wanted || path.ends_with(&tail)
    };
    let mut matches: Vec<&Entry> = entries.iter().filter(is_meant).collect();
    // The whole path comes first, then the shortest.
    matches.sort_by_key(|entry| fold(&entry.path).matches('.').count());
    let (first, rest) = matches.split_first()?;
    Some(describe(first, rest.iter().map(|entry| entry.path.clone()).collect()))
}

/// The key closest to one that does not exist.
#[must_use]
pub fn nearest_key(key: &str) -> Option<String> {
    let wanted = fold(key);
    let entries = entries();
    let paths: Vec<String> = entries.iter().map(|entry| fold(&entry.path)).collect();
    let place = |word: &str| paths.iter().position(|path| path == word).map(|index| entries[index].path.clone());
    if let Some(path) = nearest(&wanted, paths.iter().map(String::as_str)) {
        return place(path);
    }
    let last = wanted.rsplit('.').next().unwrap_or_default();
    let name = nearest(last, entries.iter().map(|entry| entry.key.name))?;
    entries.iter().find(|entry| entry.key.name == name).map(|entry| entry.path.clone())
}

/// A path without brackets and root key.
fn fold(key: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_u32;
    for c in key.trim().chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out.strip_prefix("cathedral_ecosystem.").map(str::to_owned).unwrap_or(out)
}

fn describe(entry: &Entry, also: Vec<String>) -> Explanation {
    let key = entry.key;
    let allowed = match key.shape.words() {
        Some(words) => words
            .iter()
            .map(|word| Allowed {
                word: word.text.to_owned(),
                meaning: join(word.meaning),
                available: entry.is_available && word.mark.is_available(),
            })
            .collect(),
        None if matches!(key.shape, Shape::Bool) => ["true", "false"]
            .map(|word| Allowed { word: word.to_owned(), meaning: String::new(), available: entry.is_available })
            .to_vec(),
        None => Vec::new(),
    };
    let is_required = matches!(key.mark, Mark::Required);
    Explanation {
        key: entry.path.clone(),
        meaning: join(key.meaning),
        kind: key.shape.describe(),
        default: if is_required { String::new() } else { default_text(entry.section, key) },
        is_required,
        allowed,
        keys: key
            .shape
            .section()
            .map(|below| below.keys.iter().map(|k| k.name.to_owned()).collect())
            .unwrap_or_default(),
        example: format!("{}: {}", key.name, key.example),
        available: entry.is_available,
        note: match key.mark {
            Mark::Noted(note) => Some(note.to_owned()),
            Mark::Later => Some("not available yet".to_owned()),
            _ if !entry.is_available => Some("not available yet, like the section it stands in".to_owned()),
            _ => None,
        },
        also,
    }
}

/// The default of a key as YAML; empty if there is none, or if the keys below have their own.
pub(super) fn default_text(section: &Section, key: &Key) -> String {
    let defaults = (section.defaults)();
    match defaults.get(key.name) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Object(_)) if key.shape.section().is_some() => String::new(),
        Some(value) => value.to_string(),
    }
}

pub(super) fn join(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::read::Cx;
    use super::super::{Capabilities, NoLookup, tree};
    use super::*;

    #[test]
    fn every_key_has_a_meaning_and_an_example_that_it_accepts() {
        struct Answers;
        impl super::super::Lookup for Answers {
            fn env(&self, _: &str) -> Result<String, String> {
                Ok("value".to_owned())
            }
            fn file(&self, _: &str) -> Result<String, String> {
                Ok("value".to_owned())
            }
        }
        for entry in entries() {
            let tree = tree::read(entry.key.example).unwrap();
            let caps = Capabilities::default();
            let mut cx = Cx::new(&tree, &Answers, &caps);
            let is_read = (entry.key.accepts)(tree.root().unwrap(), &mut cx);
            let problems = cx.finish(entry.key.example, "example");
            let wrong: Vec<_> = problems.iter().filter(|p| p.severity == super::super::Severity::Error).collect();
            assert!(is_read && wrong.is_empty(), "{}: {wrong:#?}", entry.path);
            if entry.is_available && entry.key.name != "cathedral_ecosystem" {
                let later: Vec<_> =
                    problems.iter().filter(|p| p.severity == super::super::Severity::NotAvailableYet).collect();
                assert!(later.is_empty(), "{}: {later:#?}", entry.path);
            }
            assert!(join(entry.key.meaning).ends_with('.'), "{}", entry.path);
        }
        let _ = NoLookup;
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        for (written, path) in [
            ("connected_repositories[2].data_sync", "connected_repositories[].data_sync"),
            ("cathedral_ecosystem.connected_repositories.data_sync", "connected_repositories[].data_sync"),
            ("data_sync", "connected_repositories[].data_sync"),
            ("refs.max_vanish", "connected_repositories[].refs.max_vanish"),
            ("backup", "backup"),
            ("cathedral_ecosystem", "cathedral_ecosystem"),
        ] {
            assert_eq!(explain(written).unwrap().key, path, "{written}");
        }
        assert_eq!(explain("data_sync").unwrap().also.len(), 2);
        assert!(explain("dta_sync").is_none());
        assert_eq!(nearest_key("dta_sync").unwrap(), "connected_repositories[].data_sync");
        assert_eq!(nearest_key("backup.qorum").unwrap(), "backup.quorum");
        assert!(nearest_key("zzzzzzzz").is_none());
        assert!(explain("").is_none());
    }

    #[test]
    fn an_explanation_says_what_works() {
        let kind = explain("integration_type").unwrap();
        assert_eq!(kind.default, "git_submodule");
        assert!(kind.available && kind.allowed.iter().any(|a| a.word == "git_subtree" && !a.available));
        assert!(!explain("auth.oidc.issuer").unwrap().available);
        assert!(explain("connected_repositories.name").unwrap().is_required);
        assert_eq!(explain("max_vanish").unwrap().default, "20%");
    }
}
