//! The log's Ed25519 key, in the text forms of C2SP signed-note and Go's `note` package.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::disk;
use crate::error::LogError;
use crate::note::{Note, SignatureLine};

const ED25519: u8 = 0x01;
const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// Whether a text can name a key: not empty, no white space, control character or `+`.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Why a text is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier key of the form name+hash+base64: {0}")]
pub struct KeyError(&'static str);

/// A public key of a log: `<name>+<8 hex digits>+<base64 of 0x01 and the key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: VerifyingKey,
}

impl VerifierKey {
    /// Returns the name, which is the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the short hash that signature lines carry.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.public.as_bytes())
    }

    /// Checks a signature strictly: one encoding, no small-order key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|s| self.public.verify_strict(message, &s).is_ok())
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError("it needs three parts"));
        };
        if !is_key_name(name) {
            return Err(KeyError("its name is not allowed"));
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError("its last part is not base64"))?;
        let [ED25519, public @ ..] = bytes.as_slice() else { return Err(KeyError("it is not an Ed25519 key")) };
        let public: &[u8; 32] = public.try_into().map_err(|_| KeyError("it is not an Ed25519 key"))?;
        let public = VerifyingKey::from_bytes(public).map_err(|_| KeyError("it is not a point of the curve"))?;
        let key = Self { name: name.to_owned(), public };
        // One encoding only, which also checks the hash in the middle.
        if key.to_string() == text { Ok(key) } else { Err(KeyError("its hash does not fit")) }
    }
}

/// The secret half. It signs whatever it is given: only the signer may hold one.
pub(crate) struct LogKey {
    name: String,
    secret: SigningKey,
}

impl LogKey {
    fn new(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), secret: SigningKey::from_bytes(seed) }
    }

    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), public: self.secret.verifying_key() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn sign(&self, text: String) -> Note {
        let line = SignatureLine {
            name: self.name.clone(),
            key_id: self.verifier().id(),
            signature: self.secret.sign(text.as_bytes()).to_bytes().to_vec(),
        };
        Note { text, signatures: vec![line] }
    }

    /// Reads the key of `origin`, or nothing when there is none.
    pub fn read(keys: &Path, origin: &str) -> Result<Option<Self>, LogError> {
        let key = Self::read_any(keys)?;
        match key.as_ref().filter(|key| key.name != origin) {
            None => Ok(key),
            Some(key) => {
                let path = secret_path(keys);
                Err(LogError::Key(format!("log key {} is of {}, not of {origin}", path.display(), key.name)))
            }
        }
    }

    /// Reads the key, whatever log it is of.
    fn read_any(keys: &Path) -> Result<Option<Self>, LogError> {
        let path = secret_path(keys);
        let Some(bytes) = disk::read(&path, 4096)? else { return Ok(None) };
        let mode = std::fs::metadata(&path).map_err(|e| LogError::io(&path, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            let shown = path.display();
            return Err(LogError::Key(format!("log key {shown} can be read by others (mode {:o})", mode & 0o777)));
        }
        let key = std::str::from_utf8(&bytes).ok().and_then(|t| Self::parse(t.trim_end()));
        let key = key.ok_or_else(|| LogError::Key(format!("log key {} is damaged", path.display())))?;
        Ok(Some(key))
    }

    /// Makes a key and stores it, readable by its owner alone, with its public half beside it.
    pub fn create(keys: &Path, origin: &str, seed: &[u8; 32]) -> Result<Self, LogError> {
        let key = Self::new(origin, seed);
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(seed);
        let text =
            format!("{SECRET_PREFIX}{origin}+{}+{}\n", hex::encode(key.verifier().id()), STANDARD.encode(&bytes));
        disk::replace(&verifier_path(keys), format!("{}\n", key.verifier()).as_bytes(), 0o644)?;
        disk::replace(&secret_path(keys), text.as_bytes(), 0o600)?;
        Ok(key)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(SECRET_PREFIX)?.splitn(3, '+');
        let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(encoded).ok()?;
        let [ED25519, seed @ ..] = bytes.as_slice() else { return None };
        let key = Self::new(name, seed.try_into().ok()?);
        (is_key_name(name) && hex::encode(key.verifier().id()) == id).then_some(key)
    }
}

fn secret_path(keys: &Path) -> PathBuf {
    keys.join("log.key")
}

fn verifier_path(keys: &Path) -> PathBuf {
    keys.join(VERIFIER)
}

/// Reads the verifier key of the log whose keys are in this folder.
pub fn verifier_key(keys: &Path) -> Result<VerifierKey, LogError> {
    let path = verifier_path(keys);
    let bytes = disk::read(&path, 4096)?
        .ok_or_else(|| LogError::Key(format!("no verifier key of the log at {}", path.display())))?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|t| t.trim_end().parse().ok())
        .ok_or_else(|| LogError::Key(format!("verifier key {} is damaged", path.display())))
}

/// Says which files of a signed log's keys are missing or damaged, by name. Nothing is written. `origin` is that of
/// the log; none where it is not known.
#[must_use]
pub fn faults(keys: &Path, log: &Path, origin: Option<&str>) -> Vec<(&'static str, String)> {
    let checkpoint = log.join("checkpoint").exists();
    if !checkpoint && !crate::memory::exists(keys) {
        return vec![];
    }
    let mut found = vec![];
    let secret = LogKey::read_any(keys);
    match &secret {
        Ok(None) => found.push(("log.key", "it is missing, and the log was signed with it".to_owned())),
        Ok(Some(key)) => {
            if let Some(origin) = origin.filter(|origin| *origin != key.name) {
                found.push(("log.key", format!("it is of {}, not of {origin}", key.name)));
            }
        }
        Err(error) => found.push(("log.key", error.to_string())),
    }
    let own = secret.ok().flatten().map(|key| key.verifier());
    let public = verifier_key(keys);
    match (&public, &own) {
        (Err(error), _) => found.push((VERIFIER, error.to_string())),
        (Ok(key), Some(own)) if key != own && signed_by(keys, log, own) => {
            found.push((VERIFIER, "it is not the public half of log.key, which has signed the log".to_owned()));
        }
        _ => {}
    }
    // What signed is known from either half.
    let is_sound = !found.iter().any(|(file, _)| *file == VERIFIER);
    match public.ok().filter(|_| is_sound).or(own).map(|key| crate::memory::read(keys, &key)) {
        Some(Err(error)) if is_sound => found.push(("log-head", error.to_string())),
        Some(Ok(_)) if checkpoint && !crate::memory::exists(keys) => {
            found.push(("log-head", "it is missing: a log that was put back would not be noticed".to_owned()));
        }
        _ => {}
    }
    found
}

/// The file of the public half.
pub const VERIFIER: &str = "log.vkey";

/// Whether the log and the memory of it carry this key's signature.
fn signed_by(keys: &Path, log: &Path, key: &VerifierKey) -> bool {
    let head = disk::read(&log.join("checkpoint"), crate::note::MAX_NOTE_BYTES as u64).ok().flatten();
    let is_signed = head.is_none_or(|note| crate::Checkpoint::open(&note, key).is_ok());
    is_signed && crate::memory::read(keys, key).is_ok()
}

/// Writes the public half of the log's key anew from the secret one. Says whether it did: not when the secret half
/// is missing or damaged, is of another log than `origin`, or has not signed what is there.
///
/// # Errors
/// When the file cannot be written.
pub fn mend_verifier_key(keys: &Path, log: &Path, origin: &str) -> Result<bool, LogError> {
    let Ok(Some(secret)) = LogKey::read(keys, origin) else { return Ok(false) };
    let key = secret.verifier();
    if !signed_by(keys, log, &key) {
        return Ok(false);
    }
    disk::replace(&verifier_path(keys), format!("{key}\n").as_bytes(), 0o644)?;
    Ok(true)
}
