//! What can go wrong with git, told apart by what a person can do about it.

use cathedral_model::ports::{Cause, PortError};

/// Longest piece of a remote's own words that is kept.
const WORDS_CAP: usize = 600;

/// Why a git operation failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The remote cannot be reached now, or it stopped answering.
    #[error("{0}")]
    Unreachable(String),
    /// Wrong credentials, missing rights, or an unknown host key.
    #[error("{0}")]
    Denied(String),
    /// No such repository, ref or file.
    #[error("{0}")]
    NotFound(String),
    /// The remote declined the change.
    #[error("{0}")]
    Refused(String),
    /// No room left.
    #[error("{0}")]
    Full(String),
    /// Objects are missing, damaged or hostile.
    #[error("{0}")]
    Corrupt(String),
    /// The configuration asks for something that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// Somebody else holds a lock; try again.
    #[error("{0}")]
    Busy(String),
    /// A test stopped the process here.
    #[error("stopped before the end")]
    Stopped,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl GitError {
    /// Tells the failure of a child process apart by what it said.
    #[must_use]
    pub fn classify(what: &str, stderr: &str) -> Self {
        let low = stderr.to_ascii_lowercase();
        let has = |patterns: &[&str]| patterns.iter().any(|p| low.contains(p));
        let message = format!("{what}: {}", telling(stderr));
        if has(&["no space left on device", "disk quota exceeded"]) {
            Self::Full(message)
        } else if has(&[
            "permission denied",
            "authentication failed",
            "could not read username",
            "could not read password",
            "returned error: 401",
            "returned error: 403",
            "host key verification failed",
            "dubious ownership",
            "too many authentication failures",
        ]) {
            Self::Denied(message)
        } else if has(&[
            "does not appear to be a git repository",
            "repository not found",
            "returned error: 404",
            "couldn't find remote ref",
            "not a git repository",
        ]) || (low.contains("repository '") && low.contains("not found"))
        {
            Self::NotFound(message)
        } else if has(&[
            "fsck error",
            "error in object",
            "did not send all necessary objects",
            "missing blob",
            "missing tree",
            "missing commit",
            "bad object",
            "index-pack failed",
            "unpack-objects failed",
            "is corrupt",
            "corrupt loose object",
            "unable to read",
            "bad tree",
            "inflate",
            "hash mismatch",
            "not our ref",
        ]) && !has(&["early eof", "curl 18", "curl 56", "curl 92"])
        {
            Self::Corrupt(message)
        } else if has(&["[remote rejected]", "hook declined", "protected branch", "[rejected]", "stale info"]) {
            Self::Refused(message)
        } else if has(&[
            "could not resolve",
            "connection refused",
            "connection timed out",
            "connection reset",
            "connection closed",
            "failed to connect",
            "couldn't connect",
            "could not connect",
            "network is unreachable",
            "no route to host",
            "hung up unexpectedly",
            "early eof",
            "returned error: 5",
            "returned error: 429",
            "rpc failed",
            "operation timed out",
            "timeout",
            "unable to access",
            "kex_exchange",
        ]) {
            Self::Unreachable(message)
        } else if has(&["unable to lock", ".lock': file exists", "cannot lock ref"]) {
            Self::Busy(message)
        } else {
            Self::Failed(message)
        }
    }

    /// Turns an I/O error into the nearest kind.
    #[must_use]
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let message = format!("{what}: {error}");
        match error.kind() {
            K::NotFound => Self::NotFound(message),
            K::PermissionDenied | K::ReadOnlyFilesystem => Self::Denied(message),
            K::StorageFull | K::QuotaExceeded => Self::Full(message),
            _ => Self::Failed(message),
        }
    }

    /// Says whether only the objects or refs asked for are at fault, not the remote as a whole.
    #[must_use]
    pub fn is_about_items(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Failed(_) => true,
            Self::NotFound(text) => text.contains("remote ref"),
            _ => false,
        }
    }
}

impl From<GitError> for PortError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Unreachable(m) => Self::transient(Cause::Unreachable, m),
            GitError::Busy(m) => Self::transient(Cause::Busy, m),
            GitError::Denied(m) => Self::failed(Cause::Denied, m),
            GitError::NotFound(m) => Self::failed(Cause::NotFound, m),
            GitError::Refused(m) => Self::failed(Cause::Refused, m),
            GitError::Full(m) => Self::failed(Cause::Full, m),
            GitError::Invalid(m) => Self::failed(Cause::Invalid, m),
            GitError::Corrupt(m) => Self::Corrupt(m),
            GitError::Failed(m) => Self::permanent(m),
            stopped @ GitError::Stopped => Self::transient(Cause::Other, stopped.to_string()),
        }
    }
}

impl From<PortError> for GitError {
    fn from(error: PortError) -> Self {
        let message = error.to_string();
        match (&error, error.cause()) {
            (PortError::Corrupt(_), _) => Self::Corrupt(message),
            (_, Cause::NotFound) => Self::NotFound(message),
            (_, Cause::Denied) => Self::Denied(message),
            (_, Cause::Full) => Self::Full(message),
            (_, Cause::Unreachable) => Self::Unreachable(message),
            (_, Cause::Refused) => Self::Refused(message),
            (_, Cause::Invalid) => Self::Invalid(message),
            (_, Cause::Busy) => Self::Busy(message),
            _ => Self::Failed(message),
        }
    }
}

/// Returns the lines of a child's standard error that say what happened, on one line.
#[must_use]
pub fn telling(stderr: &str) -> String {
    let noise = ["hint:", "To ", "Please make sure", "and the repository exists", "warning: redirecting"];
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !noise.iter().any(|n| l.starts_with(n)) && !is_progress(l))
        .collect();
    let mut text = lines.join("; ");
    if text.is_empty() {
        text = "git failed without a message".to_owned();
    }
    cap(&text, WORDS_CAP)
}

/// Says whether a line only tells how far git has come.
#[must_use]
pub fn is_progress(line: &str) -> bool {
    let line = line.strip_prefix("remote:").unwrap_or(line).trim();
    [
        "Enumerating",
        "Counting",
        "Compressing",
        "Receiving",
        "Resolving",
        "Unpacking",
        "Writing",
        "Delta compression",
        "Total",
        "Checking",
        "Everything",
    ]
    .iter()
    .any(|word| line.starts_with(word))
}

/// Cuts a text at a character boundary.
#[must_use]
pub fn cap(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Decodes a remote's bytes for people: terminal escapes and control characters go.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter_map(|c| match c {
            '\n' => Some('\n'),
            '\r' => Some('\n'),
            '\t' => Some(' '),
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => None,
            c => Some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stderr: &str, expect: Cause) {
        let error = PortError::from(GitError::classify("fetch", stderr));
        assert_eq!(error.cause(), expect, "{stderr}");
    }

    #[test]
    fn what_git_and_ssh_say_is_told_apart() {
        check(
            "git@127.0.0.1: Permission denied (publickey).\nfatal: Could not read from remote repository.",
            Cause::Denied,
        );
        check("fatal: '/x' does not appear to be a git repository\nfatal: Could not read from", Cause::NotFound);
        check("fatal: unable to access 'http://h/': The requested URL returned error: 403", Cause::Denied);
        check("fatal: repository 'http://h/x.git/' not found", Cause::NotFound);
        check("fatal: unable to access 'http://h/': Failed to connect to h port 1", Cause::Unreachable);
        check("ssh: connect to host h port 22: Connection refused", Cause::Unreachable);
        check("fatal: write error: No space left on device", Cause::Full);
        check(" ! [remote rejected] a -> a (hook declined)", Cause::Refused);
    }

    #[test]
    fn escapes_of_a_remote_never_reach_a_terminal() {
        assert_eq!(printable(b"a\x1b[31mb\x07\r\nc"), "a[31mb\n\nc");
    }
}
