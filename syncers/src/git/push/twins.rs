//! Names that git takes for one another when it pushes.
//!
//! The target of a push is looked up as a person may write it: `refs/heads/main` stands for itself, and for
//! `refs/heads/refs/heads/main` and `refs/tags/refs/heads/main` as well. With one of those at a remote, a push to
//! `refs/heads/main` is refused as unclear, or goes to the other ref where there is no `refs/heads/main` yet. Only
//! a pattern is never looked up so.

use std::collections::BTreeSet;

use super::super::held;
use super::super::refs::Values;
use super::Update;

/// What git may find when it is asked for `name`, besides that ref itself.
#[must_use]
pub fn taken_for(name: &[u8]) -> [Vec<u8>; 5] {
    let around = |before: &[u8], after: &[u8]| [before, name, after].concat();
    [
        around(b"refs/", b""),
        around(b"refs/tags/", b""),
        around(b"refs/heads/", b""),
        around(b"refs/remotes/", b""),
        around(b"refs/remotes/", b"/HEAD"),
    ]
}

/// What `name` may be taken for, at a remote or among what is pushed.
pub struct Twins<'a> {
    there: &'a [&'a Values],
    pushed: BTreeSet<&'a str>,
}

impl<'a> Twins<'a> {
    /// Begins with the refs of the remote as far as they are known, and with what is about to come.
    #[must_use]
    pub fn new(there: &'a [&'a Values], updates: &'a [Update]) -> Self {
        Self { there, pushed: updates.iter().map(|u| u.name.as_str()).collect() }
    }

    fn is_there(&self, name: &str) -> bool {
        self.pushed.contains(name) || self.there.iter().any(|values| values.contains_key(name))
    }

    /// The ref for which git may take this one.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<String> {
        // A name that is not UTF-8 is known by another, which says nothing about its twins.
        if held::raw_of(name).is_some() {
            return None;
        }
        let known = |twin: Vec<u8>| String::from_utf8(twin).ok().filter(|twin| self.is_there(twin));
        taken_for(name.as_bytes()).into_iter().find_map(known)
    }

    /// The ref that can no longer be named when this one comes to stand beside it.
    #[must_use]
    pub fn hidden_by<'n>(&self, name: &'n str) -> Option<&'n str> {
        let mut inner = ["refs/tags/", "refs/heads/", "refs/"].into_iter().filter_map(|p| name.strip_prefix(p));
        inner.find(|inner| inner.starts_with("refs/") && self.is_there(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_is_taken_for_those_whose_short_form_is_its_name() {
        let there: Values = ["refs/heads/main", "refs/heads/refs/heads/main", "refs/heads/heads/main", "refs/tags/v1"]
            .map(|name| (name.to_owned(), String::new()))
            .into();
        let come = [Update { name: "refs/heads/refs/tags/v1".into(), old: None, new: Some(String::new()) }];
        let there = [&there];
        let twins = Twins::new(&there, &come);
        assert_eq!(twins.of("refs/heads/main").as_deref(), Some("refs/heads/refs/heads/main"));
        assert_eq!(twins.of("refs/tags/v1").as_deref(), Some("refs/heads/refs/tags/v1"));
        // Git knows `heads/main` for a short form too, but nobody is asked for it by that.
        assert_eq!(twins.of("refs/heads/heads/main"), None);
        assert_eq!(twins.of("refs/heads/refs/heads/main"), None);
        assert_eq!(twins.hidden_by("refs/heads/refs/tags/v1"), Some("refs/tags/v1"));
        assert_eq!(twins.hidden_by("refs/heads/main"), None);
    }
}
