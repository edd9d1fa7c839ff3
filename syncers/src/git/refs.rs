//! Names and values of refs: which take part, which are safe to write, and their digest.

use cathedral_model::ecosystem::RefRules;
use cathedral_model::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};

use super::held;
use super::object::Oid;

/// Refs or other items by name.
pub type Values = BTreeMap<String, Oid>;

/// Our own namespace in every store.
pub const OURS: &str = "refs/cathedral/";

/// Where the agreed values stand in a store.
pub const BASE_REFS: &str = "refs/cathedral/base/";

/// What a repository advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The branch HEAD names, also when it is unborn.
    pub head: Option<String>,
    pub refs: Values,
    /// Those of `refs` that are only held.
    pub held: BTreeSet<String>,
    /// What is in no snapshot, and why.
    pub left_out: Vec<(String, String)>,
    /// What people are told.
    pub warnings: Vec<String>,
}

impl Listing {
    /// Keeps what the rules let take part and what is held, as far as it can be written safely. `whose` names the
    /// side in what people are told; nothing for the spoke itself.
    #[must_use]
    pub fn filtered(mut self, rules: &RefRules, whose: &str) -> Self {
        let of = if whose.is_empty() { String::new() } else { format!("{whose}: ") };
        let mut refs = std::mem::take(&mut self.refs);
        let mut unwanted: BTreeMap<&String, u64> = BTreeMap::new();
        refs.retain(|name, _| {
            let is_part = takes_part(rules, name);
            if !is_part && !held::is_held(name) {
                return false;
            }
            if let Some(pattern) = unwanted_by(rules, name) {
                *unwanted.entry(pattern).or_default() += 1;
                return false;
            }
            let shown = || format!("ref {:?}", super::failure::cap(name, 120));
            if let Some(why) = unsafe_name(name) {
                self.warnings.push(format!("{of}{} is left alone: {why}", shown()));
                self.left_out.push((shown(), why.to_owned()));
                return false;
            }
            if !is_part {
                self.held.insert(name.clone());
            }
            if let Some(raw) = held::raw_of(name).filter(|raw| takes_part(rules, &String::from_utf8_lossy(raw))) {
                let name = super::failure::printable(&raw);
                self.warnings.push(format!("{of}ref {name:?} is not UTF-8: snapshots hold it, it is not synced"));
            }
            true
        });
        self.refs = refs;
        let told = |(pattern, n): (&String, u64)| (pattern.clone(), format!("refs.exclude leaves it out ({n} refs)"));
        self.left_out.extend(unwanted.into_iter().map(told));
        self
    }

    /// Returns the refs that take part, and those that are only held.
    #[must_use]
    pub fn parted(self) -> (Values, Values) {
        let held = self.held;
        self.refs.into_iter().partition(|(name, _)| !held.contains(name))
    }
}

/// Says whether a ref takes part in the sync.
#[must_use]
pub fn takes_part(rules: &RefRules, name: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|p| matches(p, name));
    !name.starts_with(OURS) && any(&rules.include) && !any(&rules.exclude)
}

/// Returns the pattern that leaves a ref out of snapshots as well: one that would not take part anyway.
fn unwanted_by<'r>(rules: &'r RefRules, name: &str) -> Option<&'r String> {
    let is_included = rules.include.iter().any(|p| matches(p, name));
    rules.exclude.iter().find(|p| matches(p, name)).filter(|_| !is_included)
}

/// Matches a pattern in which `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Returns why a name cannot be stored as a ref, by the rules of `git check-ref-format` and the limits
/// of a file system.
#[must_use]
pub fn unsafe_name(name: &str) -> Option<&'static str> {
    let folders = ["heads", "tags", "remotes", "notes", "cathedral", ""];
    if name.strip_prefix("refs/").is_none_or(|rest| folders.contains(&rest)) {
        return Some("it is not a full ref name");
    }
    if name.len() > 1000 {
        return Some("it is too long");
    }
    let bad_char = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '\u{fffd}');
    if name.chars().any(bad_char) {
        return Some("it holds characters that git does not allow");
    }
    if name.contains("..") || name.contains("@{") || name.ends_with('.') {
        return Some("it holds a sequence that git does not allow");
    }
    for part in name.split('/') {
        if part.is_empty() || part.starts_with('.') || part.ends_with(".lock") {
            return Some("a part of it is empty, starts with '.' or ends with '.lock'");
        }
        if part.len() > 240 {
            return Some("a part of it is too long");
        }
    }
    None
}

/// Returns the digest over sorted `name value` lines.
#[must_use]
pub fn digest<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in lines {
        hasher.update(name.as_bytes());
        hasher.update(b" ");
        hasher.update(value.as_bytes());
        hasher.update(b"\n");
    }
    Digest(*hasher.finalize().as_bytes())
}

/// Writes any text as a piece of a ref name, reversibly: `%` and everything git would refuse become
/// `%xx`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    let parts: Vec<&str> = text.split('/').collect();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            out.push('/');
        }
        if part.is_empty() {
            out.push_str("%2f");
        }
        let bytes = part.as_bytes();
        for (i, c) in part.char_indices() {
            let next = bytes.get(i + 1);
            let dot = c == '.' && (i == 0 || next.is_none() || next == Some(&b'.') || &bytes[i..] == b".lock");
            let at = c == '@' && next == Some(&b'{');
            let odd = c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\' | '%');
            if dot || at || odd {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    out.push_str(&format!("%{byte:02x}"));
                }
            } else {
                out.push(c);
            }
        }
    }
    out
}

/// Says whether one name is a folder of the other, so that both cannot be files.
#[must_use]
pub fn collide(a: &str, b: &str) -> bool {
    let inside = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|r| r.starts_with('/'));
    inside(a, b) || inside(b, a)
}

/// Returns the names in `values` that collide with `name`.
#[must_use]
pub fn colliding<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    for (at, _) in name.match_indices('/') {
        if let Some((found, _)) = values.get_key_value(&name[..at]) {
            return Some(found);
        }
    }
    let folder = format!("{name}/");
    values.range(folder.clone()..).next().map(|(k, _)| k.as_str()).filter(|k| k.starts_with(&folder))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn stars_match_across_parts() {
        for (pattern, name, expect) in [
            ("refs/heads/*", "refs/heads/a/b", true),
            ("refs/heads/*", "refs/tags/a", false),
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/main2", false),
            ("refs/*/tmp-*", "refs/heads/x/tmp-1", true),
            ("*", "refs/x/y", true),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_excluded_is_held_unless_it_takes_no_part_anyway() {
        let rules = RefRules { exclude: vec!["refs/heads/wip/*".into(), "refs/pull/*".into()], ..RefRules::default() };
        let names = ["refs/heads/a", "refs/heads/wip/b", "refs/pull/1/head", "refs/pull/2/head", "refs/remotes/o/a"];
        let refs = names.iter().map(|n| ((*n).to_owned(), String::new())).collect();
        let listing = Listing { refs, ..Listing::default() }.filtered(&rules, "lib");
        let told = [("refs/pull/*".to_owned(), "refs.exclude leaves it out (2 refs)".to_owned())];
        assert_eq!((&listing.left_out[..], &listing.warnings[..]), (&told[..], &[][..]));
        let (parts, held) = listing.parted();
        assert_eq!((parts.keys().next().unwrap().as_str(), parts.len()), ("refs/heads/a", 1));
        assert_eq!((held.keys().next().unwrap().as_str(), held.len()), ("refs/heads/wip/b", 1));
    }

    #[test]
    fn names_that_would_break_a_store_are_refused() {
        for bad in [
            "refs/heads/a..b",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x.lock/y",
            "refs/heads/a b",
            "refs/heads/a\u{7}",
            "refs/heads/@{1}",
            "HEAD",
            "refs/heads",
            "refs/heads//x",
            "refs/heads/x.",
            "refs/heads/a:b",
            "refs/heads/a^",
        ] {
            assert!(unsafe_name(bad).is_some(), "{bad:?}");
        }
        for good in ["refs/heads/-x", "refs/heads/HEAD", "refs/heads/refs/heads/x", "refs/tags/v1.0", "refs/heads/é"] {
            assert!(unsafe_name(good).is_none(), "{good:?}");
        }
        assert!(unsafe_name(&format!("refs/heads/{}", "x".repeat(250))).is_some());
    }

    #[test]
    fn any_text_becomes_a_safe_piece_of_a_ref() {
        for text in ["pin:libs/a", "path:.a/..b/x.lock", "50%", "a//b", "a@{b", "tail.", "heads/a b"] {
            let name = format!("refs/cathedral/x/{}/%tip", escaped(text));
            assert_eq!(unsafe_name(&name), None, "{name}");
        }
        assert_eq!(escaped("heads/main"), "heads/main");
        assert_ne!(escaped("a%2f"), escaped("a/"));
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_collide() {
        let values: Values = [("refs/heads/a".into(), String::new()), ("refs/heads/b/c".into(), String::new())].into();
        assert_eq!(colliding(&values, "refs/heads/a/x"), Some("refs/heads/a"));
        assert_eq!(colliding(&values, "refs/heads/b"), Some("refs/heads/b/c"));
        assert_eq!(colliding(&values, "refs/heads/ab"), None);
        assert!(collide("refs/heads/a", "refs/heads/a/b") && !collide("refs/heads/a", "refs/heads/ab"));
    }
}
