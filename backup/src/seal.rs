//! age files: the only encryption of the vault.

use age::x25519;
use cathedral_model::ports::{Cause, PortError};
use std::io::{BufReader, Read, Write};

/// The largest header that is read: about ten times a usual one with many recipients.
pub const HEADER_MAX: u64 = 64 * 1024;

/// Encrypts small objects in one go.
pub fn encrypt(recipients: &[x25519::Recipient], plain: &[u8]) -> Result<Vec<u8>, PortError> {
    let mut writer = writer(recipients, Vec::with_capacity(plain.len() + 512))?;
    writer.write_all(plain).map_err(sealing)?;
    writer.finish().map_err(sealing)
}

/// Starts an age file that is written piece by piece.
pub fn writer<W: Write>(recipients: &[x25519::Recipient], into: W) -> Result<age::stream::StreamWriter<W>, PortError> {
    let recipients = recipients.iter().map(|r| r as &dyn age::Recipient);
    age::Encryptor::with_recipients(recipients)
        .map_err(|e| PortError::failed(Cause::Key, format!("cannot encrypt to the vault's recipients: {e}")))?
        .wrap_output(into)
        .map_err(sealing)
}

/// Why an age file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no key fits")]
    NoKey,
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("more than {0} bytes")]
    TooLong(u64),
}

/// Decrypts a whole object of at most `limit` plain bytes.
pub fn decrypt(identities: &[x25519::Identity], sealed: &[u8], limit: u64) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    open(identities, sealed)?.take(limit + 1).read_to_end(&mut plain).map_err(|e| OpenError::Damaged(e.to_string()))?;
    if plain.len() as u64 > limit { Err(OpenError::TooLong(limit)) } else { Ok(plain) }
}

/// Opens an age file for reading; a reader that can seek gives one that can seek.
pub fn open<R: Read>(identities: &[x25519::Identity], sealed: R) -> Result<age::stream::StreamReader<R>, OpenError> {
    age::Decryptor::new(sealed).and_then(|d| d.decrypt(identities.iter().map(|i| i as &dyn age::Identity))).map_err(
        |e| match e {
            age::DecryptError::NoMatchingKeys | age::DecryptError::KeyDecryptionFailed => OpenError::NoKey,
            other => OpenError::Damaged(other.to_string()),
        },
    )
}

/// Returns the length of an age header: it ends with the line that begins with `---`.
#[must_use]
pub fn header_len(sealed: &[u8]) -> Option<usize> {
    let head = &sealed[..sealed.len().min(HEADER_MAX as usize)];
    let mark = head.windows(5).position(|w| w == b"\n--- ")?;
    head[mark + 1..].iter().position(|b| *b == b'\n').map(|end| mark + 1 + end + 1)
}

/// Reads all age identities of a key file's text; comments and empty lines are skipped. The error goes on after
/// the file's name.
pub fn identities(text: &str) -> Result<Vec<x25519::Identity>, PortError> {
    let reader = BufReader::new(text.as_bytes());
    let mut found = Vec::new();
    for line in std::io::BufRead::lines(reader) {
        let line = line.map_err(|e| PortError::io("key file", &e))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse::<x25519::Identity>() {
            Ok(identity) => found.push(identity),
            Err(why) => {
                return Err(PortError::failed(Cause::Key, format!("has a line that is no age identity: {why}")));
            }
        }
    }
    if found.is_empty() {
        return Err(PortError::failed(Cause::Key, "holds no age identity"));
    }
    Ok(found)
}

fn sealing(e: std::io::Error) -> PortError {
    PortError::permanent(format!("cannot encrypt: {e}"))
}
