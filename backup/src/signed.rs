//! Two lines: canonical JSON, then the signatures over it.
//!
//! A document is accepted only when its bytes are exactly what we would write for the same content,
//! so no bit of it can change unnoticed, not even in the signature line.

use cathedral_model::canonical;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The domain of a vault file's signature.
pub const DOMAIN_VAULT: &str = "cathedral-vault-v1\n";
/// The domain of a manifest's signature.
pub const DOMAIN_SNAPSHOT: &str = "cathedral-snapshot-v1\n";

/// Why a signed document is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignedError {
    #[error("it is not two lines of JSON")]
    Form,
    #[error("it is signed by nobody this vault trusts")]
    Unknown,
    #[error("its signature does not match")]
    Mismatch,
    #[error("it is not in canonical form")]
    NotCanonical,
    #[error("it cannot be written as canonical JSON")]
    Unwritable,
}

#[derive(Serialize, Deserialize)]
struct Signatures {
    sig: Vec<One>,
}

#[derive(Serialize, Deserialize)]
struct One {
    alg: String,
    key: String,
    sig: String,
}

/// Writes and signs a document.
pub fn seal<T: Serialize>(domain: &str, document: &T, key: &SigningKey) -> Result<Vec<u8>, SignedError> {
    let line = canonical::to_string(document).map_err(|_| SignedError::Unwritable)?;
    let signature = key.sign(&message(domain, &line));
    let signatures = Signatures {
        sig: vec![One {
            alg: "ed25519".into(),
            key: hex::encode(key.verifying_key().as_bytes()),
            sig: hex::encode(signature.to_bytes()),
        }],
    };
    let second = canonical::to_string(&signatures).map_err(|_| SignedError::Unwritable)?;
    Ok(format!("{line}\n{second}\n").into_bytes())
}

/// Returns the first line of a document that one of `trusted` has signed.
pub fn open<'a>(domain: &str, bytes: &'a [u8], trusted: &[VerifyingKey]) -> Result<&'a str, SignedError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SignedError::Form)?;
    let (line, rest) = text.split_once('\n').ok_or(SignedError::Form)?;
    let second = rest.strip_suffix('\n').filter(|l| !l.contains('\n')).ok_or(SignedError::Form)?;
    let signatures: Signatures = serde_json::from_str(second).map_err(|_| SignedError::Form)?;
    if canonical::to_string(&signatures).ok().as_deref() != Some(second) {
        return Err(SignedError::NotCanonical);
    }
    let message = message(domain, line);
    let mut result = Err(SignedError::Unknown);
    for one in signatures.sig.iter().filter(|one| one.alg == "ed25519") {
        let Some(key) = trusted.iter().find(|key| hex::encode(key.as_bytes()) == one.key) else { continue };
        // Upper-case digits would decode to the same signature from other bytes.
        let bytes = hex::decode(&one.sig).ok().filter(|b| hex::encode(b) == one.sig);
        let signature = bytes.and_then(|b| Signature::from_slice(&b).ok());
        match signature.map(|signature| key.verify_strict(&message, &signature)) {
            Some(Ok(())) => result = Ok(line),
            _ => return Err(SignedError::Mismatch),
        }
    }
    // Every signature must be one we have checked: an unknown one could be altered unnoticed.
    if signatures.sig.len() > trusted.len() { Err(SignedError::Unknown) } else { result }
}

fn message(domain: &str, line: &str) -> Vec<u8> {
    [domain.as_bytes(), line.as_bytes()].concat()
}
