//! Raw trees and commits: read without trusting them, edited without a checkout.

use gix::objs::Kind;

use super::failure::GitError;

/// A hex object id of 40 digits.
pub type Oid = String;

/// The id that stands for "nothing" in ref transactions.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// Says whether a text is a full SHA-1 id.
#[must_use]
pub fn is_oid(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Returns the short form of an id for people; empty for none.
#[must_use]
pub fn short(oid: Option<&str>) -> String {
    oid.map(|o| o.get(..10).unwrap_or(o).to_owned()).unwrap_or_default()
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The mode as written, for example `100644`, `40000`, `160000`.
    pub mode: String,
    pub name: Vec<u8>,
    pub oid: Oid,
}

impl Entry {
    /// Says whether this is a directory.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        matches!(self.mode.as_str(), "40000" | "040000")
    }

    /// Says whether this is a pinned commit of another repository.
    #[must_use]
    pub fn is_gitlink(&self) -> bool {
        self.mode == "160000"
    }

    fn kind(&self) -> &'static str {
        if self.is_tree() {
            "tree"
        } else if self.is_gitlink() {
            "commit"
        } else {
            "blob"
        }
    }
}

/// Splits a raw tree. Whatever the names hold is returned as it is.
pub fn entries(data: &[u8]) -> Result<Vec<Entry>, GitError> {
    let broken = || GitError::Corrupt("a tree is cut off or malformed".into());
    let mut out = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(broken)?;
        let end = rest.iter().position(|b| *b == 0).ok_or_else(broken)?;
        if space > 7 || end < space || rest.len() < end + 21 {
            return Err(broken());
        }
        let mode = std::str::from_utf8(&rest[..space]).map_err(|_| broken())?.to_owned();
        out.push(Entry { mode, name: rest[space + 1..end].to_vec(), oid: hex::encode(&rest[end + 1..end + 21]) });
        rest = &rest[end + 21..];
    }
    Ok(out)
}

/// Returns the input of `git mktree -z` for these entries.
#[must_use]
pub fn mktree_input(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mode = if entry.mode == "40000" { "040000" } else { &entry.mode };
        out.extend_from_slice(format!("{mode} {} {}\t", entry.kind(), entry.oid).as_bytes());
        out.extend_from_slice(&entry.name);
        out.push(0);
    }
    out
}

/// Returns the id of the tree with this one entry.
pub fn single_entry_tree(entry: &Entry) -> Result<Oid, GitError> {
    let mut data = format!("{} ", entry.mode.trim_start_matches('0')).into_bytes();
    data.extend_from_slice(&entry.name);
    data.push(0);
    data.extend_from_slice(&hex::decode(&entry.oid).map_err(|e| GitError::Corrupt(e.to_string()))?);
    gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Tree, &data)
        .map(|id| id.to_string())
        .map_err(|e| GitError::Corrupt(e.to_string()))
}

/// What is needed of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFacts {
    pub tree: Oid,
    pub parents: Vec<Oid>,
    /// Seconds since 1970 of the committer.
    pub date: i64,
}

/// Reads the headers of a raw commit.
pub fn commit_facts(data: &[u8]) -> Result<CommitFacts, GitError> {
    let text = String::from_utf8_lossy(data);
    let mut facts = CommitFacts { tree: String::new(), parents: Vec::new(), date: 0 };
    for line in text.lines().take_while(|l| !l.is_empty()) {
        if let Some(tree) = line.strip_prefix("tree ") {
            facts.tree = tree.to_owned();
        } else if let Some(parent) = line.strip_prefix("parent ") {
            facts.parents.push(parent.to_owned());
        } else if let Some(committer) = line.strip_prefix("committer ") {
            facts.date = committer.rsplit(' ').nth(1).and_then(|t| t.parse().ok()).unwrap_or(0);
        }
    }
    if is_oid(&facts.tree) { Ok(facts) } else { Err(GitError::Corrupt("a commit has no tree".into())) }
}

/// Returns what a raw tag points to.
#[must_use]
pub fn tag_target(data: &[u8]) -> Option<Oid> {
    let text = String::from_utf8_lossy(data);
    text.lines().next()?.strip_prefix("object ").filter(|o| is_oid(o)).map(str::to_owned)
}
