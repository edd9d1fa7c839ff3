//! The keys of a vault: one text file that age itself can use, sealed to whoever may restore.

use age::secrecy::ExposeSecret as _;
use age::x25519;
use cathedral_model::ports::{Cause, PortError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::hash::Hashes;
use crate::seal;

/// The secret part of a vault: the text of `keys/<epoch>.0.age`.
#[derive(Clone)]
pub struct VaultSecret {
    pub vault: String,
    pub epoch: u64,
    pub identity: x25519::Identity,
    pub id_key: Zeroizing<[u8; 32]>,
    pub salt_key: Zeroizing<[u8; 32]>,
    /// The vault's signer at the time of writing: what a restorer without the hub trusts.
    pub signers: Vec<VerifyingKey>,
}

impl VaultSecret {
    /// Makes new keys.
    pub fn generate(vault: &str, signer: &VerifyingKey) -> Result<Self, PortError> {
        Ok(Self {
            vault: vault.to_owned(),
            epoch: 1,
            identity: x25519::Identity::generate(),
            id_key: Zeroizing::new(random()?),
            salt_key: Zeroizing::new(random()?),
            signers: vec![*signer],
        })
    }

    /// Returns the text, directly usable as `age -i`: what age does not know stands in comments.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let signers: String =
            self.signers.iter().map(|k| format!("# signer: {}\n", hex::encode(k.as_bytes()))).collect();
        Zeroizing::new(format!(
            "# cathedral vault key, keep secret\n# vault: {} epoch: {}\n# id-key: {}\n# salt-key: {}\n{signers}{}\n",
            self.vault,
            self.epoch,
            hex::encode(*self.id_key),
            hex::encode(*self.salt_key),
            self.identity.to_string().expose_secret(),
        ))
    }

    /// Says whether a text is a vault key and not just any age key.
    #[must_use]
    pub fn is_text(text: &str) -> bool {
        text.lines().any(|l| l.starts_with("# id-key: "))
    }

    /// Reads the text.
    pub fn from_text(text: &str) -> Result<Self, PortError> {
        let bad = |what: &str| PortError::failed(Cause::Key, format!("vault key file: {what}"));
        let field =
            |name: &str| text.lines().find_map(|l| l.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(": "));
        let key = |name: &str| -> Result<Zeroizing<[u8; 32]>, PortError> {
            let mut out = Zeroizing::new([0; 32]);
            let hex_text = field(name).ok_or_else(|| bad(&format!("no {name}")))?;
            hex::decode_to_slice(hex_text.trim(), out.as_mut())
                .map_err(|_| bad(&format!("{name} is not 64 hex digits")))?;
            Ok(out)
        };
        let (vault, epoch) = field("vault").and_then(|v| v.split_once(" epoch: ")).ok_or_else(|| bad("no vault id"))?;
        let mut signers = Vec::new();
        for line in text.lines().filter_map(|l| l.strip_prefix("# signer: ")) {
            signers.push(verifying_key(line.trim()).ok_or_else(|| bad("signer is not a key"))?);
        }
        let identity = seal::identities(text)
            .map_err(|e| bad(&e.to_string()))?
            .into_iter()
            .next()
            .ok_or_else(|| bad("no age key"))?;
        Ok(Self {
            vault: vault.to_owned(),
            epoch: epoch.trim().parse().map_err(|_| bad("epoch is not a number"))?,
            identity,
            id_key: key("id-key")?,
            salt_key: key("salt-key")?,
            signers,
        })
    }

    /// Returns the keyed hashes.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        Hashes::new(&self.id_key, &self.salt_key)
    }
}

impl std::fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultSecret({}, epoch {})", self.vault, self.epoch)
    }
}

/// Reads a public signing key from hex.
#[must_use]
pub fn verifying_key(text: &str) -> Option<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    VerifyingKey::from_bytes(&bytes).ok().filter(|k| !k.is_weak())
}

/// Reads a recipient (`age1…`).
pub fn recipient(text: &str) -> Result<x25519::Recipient, PortError> {
    text.trim().parse().map_err(|why| {
        let shown: String = text.chars().take(80).collect();
        PortError::failed(Cause::Key, format!("recipient {shown:?} is not an age X25519 recipient: {why}"))
    })
}

/// Makes a signing key.
pub fn signing_key() -> Result<SigningKey, PortError> {
    Ok(SigningKey::from_bytes(&random()?))
}

/// Returns random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N], PortError> {
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(|e| PortError::permanent(format!("no random bytes from the system: {e}")))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_text_is_an_age_key_file_and_reads_back() {
        let signer = signing_key().expect("random").verifying_key();
        let secret = VaultSecret::generate("01J00000000000000000000000", &signer).expect("random");
        let text = secret.to_text();
        let back = VaultSecret::from_text(&text).expect("own text");
        assert_eq!(*back.to_text(), *text);
        assert!(VaultSecret::is_text(&text) && !VaultSecret::is_text("AGE-SECRET-KEY-1"));
        for broken in ["# id-key", "# salt-key", "# vault", "AGE-SECRET"] {
            assert!(VaultSecret::from_text(&text.replace(broken, "# x")).is_err(), "without {broken}");
        }
        assert!(!format!("{secret:?}").contains("AGE"));
    }
}
