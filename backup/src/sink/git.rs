//! Git: packs as raw pieces, in a chain of a base and thin segments; refs as JSON lines.

use cathedral_model::canonical;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::GitRefs;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Read;

use super::{Context, Outcome};
use crate::cut;
use crate::index::Kind;
use crate::manifest::GitPart;
use crate::merkle::Merkle;
use crate::root;

/// A chain with more segments begins anew.
const SEGMENTS_MAX: usize = 16;

/// The first line of a segment's chunk; the lines after it name the pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentHeader {
    pub t: String,
    /// Length of the pack.
    pub bytes: u64,
    /// How many pieces follow.
    pub n: u64,
    pub tips: Vec<String>,
}

/// A piece of a git pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GitPiece {
    pub id: Digest,
    pub l: u64,
}

/// A git part that is being received.
pub(crate) struct Git {
    previous: Option<GitPart>,
    /// The chain that continues: known once the caller has asked what is held.
    chain: Vec<Digest>,
    refs: Option<GitRefs>,
    bytes: u64,
}

impl Git {
    pub(crate) fn new(previous: Option<GitPart>) -> Self {
        Self { previous, chain: Vec::new(), refs: None, bytes: 0 }
    }

    pub(crate) fn held(&mut self, context: &Context) -> Result<Vec<String>, PortError> {
        let (Some(previous), Some(store)) = (self.previous.take(), &context.store) else { return Ok(Vec::new()) };
        let chain: Vec<Digest> = previous.base.into_iter().chain(previous.segments).collect();
        if chain.is_empty() || chain.len() > SEGMENTS_MAX {
            return Ok(Vec::new());
        }
        let mut reader = store.reader();
        let (mut tips, mut sizes) = (Vec::new(), Vec::new());
        for id in &chain {
            if !store.has(id) {
                return Ok(Vec::new());
            }
            // A chain that cannot be read is not built upon.
            let Ok(bytes) = reader.chunk(id) else { return Ok(Vec::new()) };
            let Ok((header, pieces)) = parse_segment(&bytes) else { return Ok(Vec::new()) };
            if !pieces.iter().all(|p| store.has(&p.id)) {
                return Ok(Vec::new());
            }
            sizes.push(header.bytes);
            tips.extend(header.tips);
        }
        if sizes[1..].iter().sum::<u64>() > sizes[0] / 2 && sizes[0] > 1 << 20 {
            return Ok(Vec::new());
        }
        self.bytes = sizes.iter().sum();
        self.chain = chain;
        tips.sort();
        tips.dedup();
        Ok(tips)
    }

    pub(crate) fn pack(&mut self, context: &Context, tips: &[String], pack: &mut dyn Read) -> Result<(), PortError> {
        // Who did not ask what is held sends a pack that stands alone.
        self.previous = None;
        let mut pieces = Vec::new();
        let mut bytes = 0;
        loop {
            let piece = cut::read_up_to(pack, cut::GIT_PIECE).map_err(|e| PortError::io("git pack", &e))?;
            if piece.is_empty() {
                break;
            }
            let l = piece.len() as u64;
            bytes += l;
            pieces.push(GitPiece { id: context.put(Kind::Git, piece)?, l });
        }
        let mut tips = tips.to_vec();
        tips.sort();
        tips.dedup();
        let header = SegmentHeader { t: "segment".into(), bytes, n: pieces.len() as u64, tips };
        let unwritable = |e: canonical::CanonicalError| context.refuse(format!("git segment: {e}"));
        let mut frame = canonical::to_string(&header).map_err(unwritable)?;
        frame.push('\n');
        for piece in &pieces {
            frame.push_str(&canonical::to_string(piece).map_err(unwritable)?);
            frame.push('\n');
        }
        self.chain.push(context.put(Kind::Segment, frame.into_bytes())?);
        self.bytes += bytes;
        Ok(())
    }

    pub(crate) fn refs(&mut self, refs: &GitRefs) -> Result<(), PortError> {
        self.refs = Some(refs.clone());
        Ok(())
    }

    pub(crate) fn finish(&mut self, context: &Context) -> Result<Outcome, PortError> {
        let mut refs = self.refs.take().ok_or_else(|| context.refuse("no refs were given"))?;
        refs.refs.sort_by(|a, b| a.name.cmp(&b.name));
        if refs.refs.windows(2).any(|w| w[0].name == w[1].name) {
            return Err(context.refuse("a ref was given twice"));
        }
        let mut merkle = Merkle::new();
        merkle.push(root::head(&context.hashes, refs.head.as_deref())?);
        let unwritable = |e: canonical::CanonicalError| context.refuse(format!("refs: {e}"));
        let header = json!({ "t": "refs", "n": refs.refs.len(), "head": refs.head });
        let mut frame = canonical::to_string(&header).map_err(unwritable)?;
        frame.push('\n');
        for one in &refs.refs {
            merkle.push(root::git_ref(&context.hashes, one)?);
            let line = RefLine { name: one.name.clone(), oid: one.oid.clone(), peeled: one.peeled.clone() };
            frame.push_str(&canonical::to_string(&line).map_err(unwritable)?);
            frame.push('\n');
        }
        let id = context.put(Kind::Refs, frame.into_bytes())?;
        let mut chain = std::mem::take(&mut self.chain).into_iter();
        let git = GitPart { refs: id, head: refs.head, base: chain.next(), segments: chain.collect() };
        let items = refs.refs.len() as u64;
        Ok(Outcome { root: Some(merkle.root()), git: Some(git), items, bytes: self.bytes, ..Outcome::default() })
    }
}

/// One ref's line.
#[derive(Serialize, Deserialize)]
pub(crate) struct RefLine {
    pub name: String,
    pub oid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peeled: Option<String>,
}

/// Reads a segment's chunk.
pub(crate) fn parse_segment(frame: &[u8]) -> Result<(SegmentHeader, Vec<GitPiece>), String> {
    let mut lines = frame.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let header: SegmentHeader =
        serde_json::from_slice(lines.next().ok_or("segment is empty")?).map_err(|e| e.to_string())?;
    let pieces: Vec<GitPiece> =
        lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let bytes: u64 = pieces.iter().map(|p| p.l).sum();
    if header.t != "segment" || header.n != pieces.len() as u64 || header.bytes != bytes {
        return Err("it is no git segment".into());
    }
    Ok((header, pieces))
}
