//! What is said of a key file that is not the right one.

use age::x25519;
use cathedral_model::ids::DestinationName;
use cathedral_model::ports::{Cause, PortError};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::seal;

const NEEDED: &str =
    "needed is hub.key from .cathedral/keys of the lost hub, or the vault's own key as age -d gives it from keys/*.age";

/// Refuses a file as a key, with what it is and what is needed.
pub(super) fn refuse(path: &Path, what: &str) -> PortError {
    PortError::failed(Cause::Key, format!("key file {} {what}; {NEEDED}", path.display()))
}

/// Reads a key file; none when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, PortError> {
    if path.is_dir() {
        return Err(refuse(path, "is a folder"));
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(PortError::io(format!("key file {}", path.display()), &e)),
    };
    // An encrypted file is not text, and is told as what it is.
    Ok(Some(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())))
}

/// Reads the identities of a key file's text, or says what the file is instead.
pub(super) fn identities(path: &Path, text: &str) -> Result<Vec<x25519::Identity>, PortError> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
        return Err(refuse(path, "is itself encrypted: open it with age -d first"));
    }
    if text.trim().is_empty() {
        return Err(refuse(path, "is empty"));
    }
    if !lines().any(|line| line.starts_with("AGE-SECRET-KEY-")) {
        if lines().any(|line| line.starts_with("age1")) {
            return Err(refuse(path, "holds a public key only: it encrypts and opens nothing"));
        }
        if lines().next().is_some_and(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(refuse(path, "is a signing key: it signs snapshots and opens nothing"));
        }
        return Err(refuse(path, "holds no age identity"));
    }
    seal::identities(text).map_err(|e| refuse(path, &e.to_string()))
}

/// Says which file of the hub's own keys is missing, or that there are none at all.
pub(super) fn missing(dir: &Path, what: &str) -> PortError {
    let is_bare = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let message = if is_bare {
        format!("{} holds no keys: no vault was made here", dir.display())
    } else {
        format!("{} is missing: without it the vault cannot be opened from here", dir.join(what).display())
    };
    PortError::failed(Cause::Key, message)
}

/// Puts the file that an error is about before its message.
pub(super) fn named(path: PathBuf) -> impl Fn(PortError) -> PortError {
    move |error| before(&path.display().to_string(), error)
}

/// The same for an object at a destination.
pub(super) fn named_at(destination: &DestinationName, object: &str) -> impl Fn(PortError) -> PortError {
    let what = format!("destination {destination}: {object}");
    move |error| before(&what, error)
}

fn before(what: &str, error: PortError) -> PortError {
    match error {
        PortError::Transient { cause, message } => PortError::transient(cause, format!("{what}: {message}")),
        PortError::Permanent { cause, message } => PortError::failed(cause, format!("{what}: {message}")),
        PortError::Corrupt(message) => PortError::Corrupt(format!("{what}: {message}")),
        fenced => fenced,
    }
}
