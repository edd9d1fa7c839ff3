//! Reading refs and packs of a git part.

use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{GitRef, GitRefs};
use serde::Deserialize;
use std::io::{self, Read};
use std::sync::Arc;

use crate::manifest::GitPart;
use crate::sink::git::{GitPiece, RefLine, parse_segment};
use crate::vault::Reader;

#[derive(Deserialize)]
struct Header {
    t: String,
    n: u64,
    head: Option<String>,
}

/// Reads the refs.
pub(crate) fn refs(reader: &mut Reader, git: &GitPart) -> Result<GitRefs, PortError> {
    let frame = reader.chunk(&git.refs)?;
    let corrupt = |why: String| PortError::Corrupt(format!("refs {}: {why}", git.refs));
    let mut lines = frame.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let header = lines.next().ok_or_else(|| corrupt("nothing is there".into()))?;
    let header: Header = serde_json::from_slice(header).map_err(|e| corrupt(e.to_string()))?;
    let mut refs = Vec::new();
    for line in lines {
        let RefLine { name, oid, peeled } = serde_json::from_slice(line).map_err(|e| corrupt(e.to_string()))?;
        refs.push(GitRef { name, oid, peeled });
    }
    if header.t != "refs" || header.n != refs.len() as u64 {
        return Err(corrupt("there is another number of refs than said".into()));
    }
    Ok(GitRefs { head: header.head, refs })
}

/// Visits the packs, base first.
pub(crate) fn packs(
    reader: &mut Reader,
    git: &GitPart,
    visit: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>,
) -> Result<(), PortError> {
    for id in git.base.iter().chain(&git.segments) {
        let pieces = segment(reader, id)?;
        visit(&mut PackReader { reader, pieces: pieces.into_iter(), chunk: None })?;
    }
    Ok(())
}

/// Reads the pieces of one segment.
pub(crate) fn segment(reader: &mut Reader, id: &Digest) -> Result<Vec<GitPiece>, PortError> {
    let frame = reader.chunk(id)?;
    let (_, pieces) = parse_segment(&frame).map_err(|why| PortError::Corrupt(format!("git segment {id}: {why}")))?;
    Ok(pieces)
}

struct PackReader<'a> {
    reader: &'a mut Reader,
    pieces: std::vec::IntoIter<GitPiece>,
    chunk: Option<(Arc<Vec<u8>>, usize)>,
}

impl Read for PackReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((bytes, at)) = &mut self.chunk
                && *at < bytes.len()
            {
                let n = (bytes.len() - *at).min(buf.len());
                buf[..n].copy_from_slice(&bytes[*at..*at + n]);
                *at += n;
                return Ok(n);
            }
            let Some(piece) = self.pieces.next() else { return Ok(0) };
            let bytes = self.reader.chunk(&piece.id).map_err(io::Error::other)?;
            if bytes.len() as u64 != piece.l {
                return Err(io::Error::other(PortError::Corrupt(format!("git piece {} has a wrong length", piece.id))));
            }
            self.chunk = Some((bytes, 0));
        }
    }
}
