//! Directories as JSON lines: a header, then the entries sorted by raw name bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::canonical;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use serde::{Deserialize, Serialize};

/// A directory with more entries is split into parts.
pub const PART: usize = 65_536;
/// A file with more chunks keeps them in a list of its own.
pub const INLINE_CHUNKS: usize = 16_384;
/// The deepest tree that is read.
pub const DEPTH: usize = 4_096;

/// A piece of content: a chunk, an offset in its plain bytes, a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece(pub Digest, pub u64, pub u64);

/// A name that may not be UTF-8: `n`, or `n64` in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n64: Option<String>,
}

impl Name {
    /// Wraps raw bytes.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        match std::str::from_utf8(raw) {
            Ok(text) => Self { n: Some(text.into()), n64: None },
            Err(_) => Self { n: None, n64: Some(STANDARD.encode(raw)) },
        }
    }

    /// Returns the raw bytes of a name that is safe to use as one part of a path.
    #[must_use]
    pub fn raw(&self) -> Option<Vec<u8>> {
        let raw = match (&self.n, &self.n64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).ok().filter(|raw| std::str::from_utf8(raw).is_err())?,
            _ => return None,
        };
        is_safe(&raw).then_some(raw)
    }
}

/// Says whether a name stays where it is put.
#[must_use]
pub fn is_safe(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 4096
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// One line of a directory after its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Line {
    File {
        #[serde(flatten)]
        name: Name,
        s: u64,
        /// Permission bits, octal.
        m: String,
        /// Nanoseconds since 1970.
        mt: String,
        b3: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        c: Option<Vec<Piece>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cl: Option<Digest>,
    },
    Dir {
        #[serde(flatten)]
        name: Name,
        m: String,
        mt: String,
        tree: Digest,
        root: Digest,
    },
    Link {
        #[serde(flatten)]
        name: Name,
        mt: String,
        /// The target in base64.
        to: String,
    },
    /// A part of a split directory.
    Part { tree: Digest },
}

#[derive(Serialize, Deserialize)]
struct Header {
    t: String,
    n: u64,
}

/// Writes a directory's frame.
pub fn to_frame(lines: &[String]) -> Vec<u8> {
    let mut out = format!("{{\"n\":{},\"t\":\"tree\"}}\n", lines.len());
    out.reserve(lines.iter().map(|l| l.len() + 1).sum());
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    out.into_bytes()
}

/// Writes one line.
pub fn to_line(line: &Line) -> Result<String, PortError> {
    canonical::to_string(line).map_err(|e| PortError::permanent(format!("tree entry: {e}")))
}

/// Reads a directory's frame.
pub fn from_frame(frame: &[u8]) -> Result<Vec<Line>, String> {
    let mut lines = frame.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let header: Header = serde_json::from_slice(lines.next().ok_or("tree is empty")?).map_err(|e| e.to_string())?;
    if header.t != "tree" {
        return Err("it is no tree".into());
    }
    let lines: Vec<Line> = lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if lines.len() as u64 != header.n {
        Err("tree has another number of entries than it says".into())
    } else {
        Ok(lines)
    }
}

/// Writes permission bits.
#[must_use]
pub fn mode(bits: u32) -> String {
    format!("{:04o}", bits & 0o7777)
}

/// Reads permission bits.
#[must_use]
pub fn parse_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777)
}
