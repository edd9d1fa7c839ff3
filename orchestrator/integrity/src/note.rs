//! Signed notes (C2SP signed-note): a text, an empty line, signature lines.
//!
//! Signature lines by unknown keys are kept and skipped. There is one encoding of a note: parsing
//! and writing gives the same bytes, or the note is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{VerifierKey, is_key_name};

/// Limits on what is read.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
const MAX_SIGNATURES: usize = 32;

/// Why bytes are not a note that can be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("note is larger than {MAX_NOTE_BYTES} bytes")]
    TooLarge,
    #[error("note is not UTF-8 text without control characters")]
    NotText,
    #[error("note has no empty line before its signatures")]
    NoSignatures,
    #[error("signature line {0} is malformed")]
    Line(usize),
    #[error("signature line {0} repeats an earlier one")]
    Repeated(usize),
    #[error("note has more than {MAX_SIGNATURES} signatures")]
    TooMany,
    #[error("no signature by {0}")]
    NotSigned(String),
    #[error("the signature by {0} is wrong")]
    Wrong(String),
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    pub name: String,
    pub key_id: [u8; 4],
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Returns the line without its line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.signature);
        format!("\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        // The engine refuses stray low bits and missing padding: one encoding only.
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        (is_key_name(name) && !signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    }
}

/// A note: the text with its final line feed, and the signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    pub signatures: Vec<SignatureLine>,
}

impl Note {
    /// Reads a note without believing any signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if whole.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::NotText);
        }
        let cut = whole.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = (&whole[..=cut], &whole[cut + 2..]);
        let rest = rest.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures: Vec<SignatureLine> = Vec::new();
        for (i, line) in rest.split('\n').enumerate() {
            let number = i + 1;
            if number > MAX_SIGNATURES {
                return Err(NoteError::TooMany);
            }
            let read = SignatureLine::parse(line).ok_or(NoteError::Line(number))?;
            if signatures.iter().any(|s| s.name == read.name && s.key_id == read.key_id) {
                return Err(NoteError::Repeated(number));
            }
            signatures.push(read);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Checks the signature by `key`; other lines are not looked at.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let line = self
            .signatures
            .iter()
            .find(|s| s.name == key.name() && s.key_id == key.id())
            .ok_or_else(|| NoteError::NotSigned(key.name().to_owned()))?;
        if key.verify(self.text.as_bytes(), &line.signature) {
            Ok(())
        } else {
            Err(NoteError::Wrong(key.name().to_owned()))
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|s| writeln!(f, "{}", s.to_line()))
    }
}
