//! Proofs of inclusion as text (C2SP tlog-proof).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::MAX_NOTE_BYTES;
use crate::tree::{Hash, MAX_PROOF};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The place of a leaf in a tree, with the checkpoint of that tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    pub index: u64,
    pub hashes: Vec<Hash>,
    /// The signed note, verbatim.
    pub checkpoint: String,
}

impl InclusionProof {
    /// Returns the text of the proof.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a proof; on failure returns the number of the first line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, usize> {
        let text = std::str::from_utf8(bytes).map_err(|_| 1_usize)?;
        if text.len() > 2 * MAX_NOTE_BYTES {
            return Err(1);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(1_usize)?;
        let mut lines = head.split('\n').enumerate().map(|(i, line)| (i + 1, line));
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(1);
        }
        let index = lines.next().and_then(|(_, line)| line.strip_prefix("index ")?.parse().ok()).ok_or(2_usize)?;
        let mut hashes = Vec::new();
        for (number, line) in lines {
            let hash = STANDARD.decode(line).ok().and_then(|h| h.try_into().ok()).ok_or(number)?;
            hashes.push(hash);
            if hashes.len() > MAX_PROOF {
                return Err(number);
            }
        }
        let read = Self { index, hashes, checkpoint: checkpoint.to_owned() };
        // One encoding: refuses `index 007` and `index +7`.
        if read.to_text() == text { Ok(read) } else { Err(2) }
    }
}
