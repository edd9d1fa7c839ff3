//! Checkpoints (C2SP tlog-checkpoint): origin, size and root of a tree, as a signed note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::ports::ledger::Head;

use crate::key::{VerifierKey, is_key_name};
use crate::note::{Note, NoteError};
use crate::tree::Hash;

/// Why bytes are not a checkpoint that can be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("checkpoint text is not origin, size and root")]
    Text,
    #[error("checkpoint is of {0}, not of {1}")]
    Origin(String, String),
}

/// The head of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// Returns the text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a note; extension lines are refused.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let read = Self {
                origin: origin.to_owned(),
                size: size.parse().ok()?,
                root: STANDARD.decode(root).ok()?.try_into().ok()?,
            };
            // One encoding: no leading zeros, no plus sign, nothing after the root.
            (is_key_name(origin) && read.to_text() == text).then_some(read)
        };
        read().ok_or(CheckpointError::Text)
    }

    /// Reads a note signed by `key`, whose name is the origin.
    pub fn open(bytes: &[u8], key: &VerifierKey) -> Result<(Self, Note), CheckpointError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin(checkpoint.origin, key.name().to_owned()));
        }
        note.verify(key)?;
        Ok((checkpoint, note))
    }

    pub(crate) fn to_head(&self, note: Option<&Note>) -> Head {
        Head {
            origin: self.origin.clone(),
            size: self.size,
            root: hex::encode(self.root),
            signatures: note.map(|n| n.signatures.iter().map(|s| s.to_line()).collect()).unwrap_or_default(),
            note: note.map(ToString::to_string).unwrap_or_default(),
        }
    }
}
