//! Refs that a snapshot holds although they take no part in the sync: notes, changes and pull requests of a
//! forge, a stash, a HEAD that no branch follows, and names that are not UTF-8.
//!
//! What is no ref of its own, or has a name that is no text, is held under a name below `refs/cathedral/`:
//! `bytes/…` is the name after `refs/` with `%` and every byte above 0x7f written as `%xx`, `detached/HEAD` is
//! the commit of such a HEAD, and `stash/000001` and so on are the entries of the stash, oldest first.

use std::path::Path;

use super::object::{Oid, is_oid};
use super::refs::{OURS, Values};

/// Names that are not UTF-8.
const BYTES: &str = "refs/cathedral/bytes/";
/// A HEAD that names a commit itself.
pub const DETACHED: &str = "refs/cathedral/detached/HEAD";
/// The entries of a stash, oldest first.
pub const STASH: &str = "refs/cathedral/stash/";
/// The newest entry of a stash, as git names it.
pub const STASH_TIP: &str = "refs/stash";

/// What belongs to one clone rather than to the repository.
const OF_A_CLONE: [&str; 5] = ["refs/remotes/", "refs/bisect/", "refs/worktree/", "refs/rewritten/", "refs/prefetch/"];

/// Says whether a ref belongs into a snapshot even when it takes no part in the sync.
#[must_use]
pub fn is_held(name: &str) -> bool {
    is_made_up(name) || !(name.starts_with(OURS) || OF_A_CLONE.iter().any(|p| name.starts_with(p)))
}

/// Says whether a name stands for something that is no ref, or has no name in text, at the place it is from.
#[must_use]
pub fn is_made_up(name: &str) -> bool {
    name == DETACHED || name.starts_with(STASH) || name.starts_with(BYTES)
}

/// Returns the text that stands for a name that is not UTF-8.
#[must_use]
pub fn key_of(name: &[u8]) -> Option<String> {
    let mut key = BYTES.to_owned();
    for &byte in name.strip_prefix(b"refs/")? {
        if byte.is_ascii() && byte != b'%' {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("%{byte:02x}"));
        }
    }
    Some(key)
}

/// Returns the name of a ref in its own repository.
#[must_use]
pub fn name_of(key: &str) -> Vec<u8> {
    raw_of(key).unwrap_or_else(|| key.as_bytes().to_vec())
}

/// Returns the bytes that a key stands for; none for a key that is a name itself.
#[must_use]
pub fn raw_of(key: &str) -> Option<Vec<u8>> {
    let mut out = b"refs/".to_vec();
    let mut rest = key.strip_prefix(BYTES)?.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            byte => out.push(byte),
        }
    }
    (std::str::from_utf8(&out).is_err() && key_of(&out).as_deref() == Some(key)).then_some(out)
}

/// Returns what to ask a remote for to get a ref.
#[must_use]
pub fn source(key: &str, value: &Oid) -> Vec<u8> {
    match key {
        DETACHED => b"HEAD".to_vec(),
        _ if key.starts_with(STASH) => value.as_bytes().to_vec(),
        _ => name_of(key),
    }
}

/// Numbers the entries of a stash.
#[must_use]
pub fn entries_of(oids: impl IntoIterator<Item = Oid>) -> Values {
    oids.into_iter().enumerate().map(|(n, oid)| (format!("{STASH}{:06}", n + 1), oid)).collect()
}

/// Reads the entries of a stash from its log; what is not readable is not there.
#[must_use]
pub fn logged_stash(common_dir: &Path) -> Vec<Oid> {
    let Ok(log) = std::fs::read(common_dir.join("logs").join(STASH_TIP)) else { return Vec::new() };
    let entry = |line: &[u8]| Some(std::str::from_utf8(line.split(|b| *b == b' ').nth(1)?).ok()?.to_owned());
    log.split(|b| *b == b'\n').filter_map(entry).filter(|oid| is_oid(oid)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_text_is_written_as_text_and_read_again() {
        for name in [&b"refs/heads/caf\xe9"[..], b"refs/heads/50%\xff/x", b"refs/x/\xc3\xa9\xe9"] {
            let key = key_of(name).unwrap();
            assert_eq!(super::super::refs::unsafe_name(&key), None, "{key}");
            assert_eq!(name_of(&key), name, "{key}");
        }
        assert_eq!(key_of(b"refs/heads/caf\xe9").unwrap(), "refs/cathedral/bytes/heads/caf%e9");
        // What could be written as it is, or in another way, is nothing of ours.
        for key in
            ["refs/heads/a", "refs/cathedral/bytes/heads/a", "refs/cathedral/bytes/caf%E9", "refs/cathedral/bytes/%e"]
        {
            assert_eq!(raw_of(key), None, "{key}");
        }
    }

    #[test]
    fn a_clone_keeps_its_own_and_everything_else_is_held() {
        for name in
            ["refs/notes/commits", "refs/stash", "refs/pull/1/head", "refs/meta/config", DETACHED, "refs/heads/x"]
        {
            assert!(is_held(name), "{name}");
        }
        for name in ["refs/remotes/origin/main", "refs/bisect/bad", "refs/worktree/x", "refs/cathedral/pin"] {
            assert!(!is_held(name), "{name}");
        }
    }
}
