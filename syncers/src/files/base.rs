//! The agreed state of a pair of trees, and the contents that a later merge will need as its base.
//!
//! Small contents are kept in bundles, so that recording ten thousand files costs a handful of flushes. The entry
//! list is sorted and prefix-compressed: `cathedral.files-base/v1`, then variable-length numbers and bytes; the
//! content store compresses and verifies it.

use std::collections::BTreeMap;

use cathedral_model::conflict::tree::{Body, Node, Tree};
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Content, PortError};

const MAGIC: &[u8] = b"cathedral.files-base/v1\n";
/// Larger files are not merged by content, so that their base is not kept.
pub const MERGEABLE_BYTES: u64 = 1 << 20;
const BUNDLE_BYTES: usize = 4 << 20;
/// Written for contents that were looked at and are not mergeable.
const NOT_KEPT: u64 = u64::MAX;

/// Where a content lies in the bundles; none when it is not worth keeping.
type Piece = Option<(usize, u64, u64)>;

/// Returns the contents that an agreed state needs besides itself.
pub fn needs(content: &dyn Content, id: &Digest) -> Result<Vec<Digest>, PortError> {
    Ok(Base::load(content, id)?.bundles.into_iter().map(|(bundle, _)| bundle).collect())
}

/// What both sides last agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub tree: Tree,
    bundles: Vec<(Digest, u64)>,
    pieces: BTreeMap<[u8; 32], Piece>,
}

impl Base {
    /// Loads a base.
    pub fn load(content: &dyn Content, id: &Digest) -> Result<Self, PortError> {
        decode(&content.get(id)?).ok_or_else(|| PortError::Corrupt(format!("agreed state {id} cannot be read")))
    }

    /// Stores a base; the same state has the same id.
    pub fn store(&self, content: &dyn Content) -> Result<Digest, PortError> {
        content.put(&self.encode())
    }

    /// Returns the content of a file as both sides had it, if it was kept.
    pub fn content(&self, content: &dyn Content, b3: &[u8; 32]) -> Option<Vec<u8>> {
        self.content_by(content, b3, &mut None)
    }

    /// The same with the bundle that was read last.
    fn content_by(&self, content: &dyn Content, b3: &[u8; 32], last: &mut Option<(usize, Vec<u8>)>) -> Option<Vec<u8>> {
        let (bundle, offset, length) = (*self.pieces.get(b3)?)?;
        if last.as_ref().is_none_or(|(open, _)| *open != bundle) {
            *last = Some((bundle, content.get(&self.bundles.get(bundle)?.0).ok()?));
        }
        let (_, bytes) = last.as_ref()?;
        let range = usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(length)?).ok()?;
        let piece = bytes.get(range)?.to_vec();
        (Digest::of(&piece).0 == *b3).then_some(piece)
    }

    /// Keeps the contents that the next merge may need. `read` gives a content, or none when it is not mergeable
    /// or cannot be read now.
    pub fn keep_contents(
        &mut self,
        content: &dyn Content,
        mut read: impl FnMut(&[u8], &[u8; 32]) -> Kept,
    ) -> Result<(), PortError> {
        let files = || {
            self.tree.iter().filter_map(|(path, node)| match node.body {
                Body::File { b3, size } if size <= MERGEABLE_BYTES => Some((path, b3)),
                _ => None,
            })
        };
        let wanted: BTreeMap<[u8; 32], &Vec<u8>> = files().map(|(path, b3)| (b3, path)).collect();
        let mut pieces: BTreeMap<[u8; 32], Piece> = BTreeMap::new();
        let live: u64 =
            wanted.keys().filter_map(|b3| self.pieces.get(b3).copied().flatten()).map(|piece| piece.2).sum();
        let stored: u64 = self.bundles.iter().map(|(_, length)| length).sum();
        let repack = stored > 2 * live + BUNDLE_BYTES as u64;
        let mut bundles = if repack { vec![] } else { self.bundles.clone() };
        let mut open = vec![];
        let mut waiting: Vec<([u8; 32], u64, u64)> = vec![];
        let mut flush = |open: &mut Vec<u8>, waiting: &mut Vec<([u8; 32], u64, u64)>, pieces: &mut BTreeMap<_, _>| {
            if !open.is_empty() || !waiting.is_empty() {
                let id = content.put(open)?;
                for (b3, offset, length) in waiting.drain(..) {
                    pieces.insert(b3, Some((bundles.len(), offset, length)));
                }
                bundles.push((id, open.len() as u64));
                open.clear();
            }
            Ok::<(), PortError>(())
        };
        let mut last = None;
        // In the order of the bundles, so that each is read once.
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_by_key(|(b3, _)| self.pieces.get(b3).copied().flatten());
        for (b3, path) in wanted {
            let known = self.pieces.get(&b3);
            let bytes = match known {
                Some(None) => {
                    pieces.insert(b3, None);
                    continue;
                }
                Some(piece) if !repack => {
                    pieces.insert(b3, *piece);
                    continue;
                }
                Some(_) => self.content_by(content, &b3, &mut last),
                None => match read(path, &b3) {
                    Kept::Bytes(bytes) => Some(bytes),
                    Kept::NotMergeable => {
                        pieces.insert(b3, None);
                        continue;
                    }
                    Kept::NotNow => None,
                },
            };
            let Some(bytes) = bytes else { continue };
            if open.len() + bytes.len() > BUNDLE_BYTES {
                flush(&mut open, &mut waiting, &mut pieces)?;
            }
            waiting.push((b3, open.len() as u64, bytes.len() as u64));
            open.extend_from_slice(&bytes);
        }
        flush(&mut open, &mut waiting, &mut pieces)?;
        (self.bundles, self.pieces) = (bundles, pieces);
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        number(&mut out, self.bundles.len() as u64);
        for (id, length) in &self.bundles {
            out.extend_from_slice(&id.0);
            number(&mut out, *length);
        }
        number(&mut out, self.tree.len() as u64);
        let mut last: &[u8] = b"";
        for (path, node) in &self.tree {
            let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
            number(&mut out, shared as u64);
            number(&mut out, (path.len() - shared) as u64);
            out.extend_from_slice(&path[shared..]);
            number(&mut out, node.mode.map_or(0, |mode| u64::from(mode) + 1));
            match &node.body {
                Body::Dir => out.push(b'd'),
                Body::File { b3, size } => {
                    out.push(b'f');
                    out.extend_from_slice(b3);
                    number(&mut out, *size);
                }
                Body::Symlink { target } => {
                    out.push(b'l');
                    number(&mut out, target.len() as u64);
                    out.extend_from_slice(target);
                }
            }
            last = path;
        }
        number(&mut out, self.pieces.len() as u64);
        for (b3, piece) in &self.pieces {
            out.extend_from_slice(b3);
            match piece {
                None => number(&mut out, NOT_KEPT),
                Some((bundle, offset, length)) => {
                    [*bundle as u64, *offset, *length].into_iter().for_each(|n| number(&mut out, n));
                }
            }
        }
        out
    }
}

/// What became of reading a content for the base.
pub enum Kept {
    Bytes(Vec<u8>),
    NotMergeable,
    NotNow,
}

fn number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn digest(&mut self) -> Option<[u8; 32]> {
        self.take(32)?.try_into().ok()
    }
}

fn decode(bytes: &[u8]) -> Option<Base> {
    let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
    let mut base = Base::default();
    for _ in 0..reader.number()? {
        base.bundles.push((Digest(reader.digest()?), reader.number()?));
    }
    let mut last: Vec<u8> = vec![];
    for _ in 0..reader.number()? {
        let shared = reader.length()?;
        let length = reader.length()?;
        let mut path = last.get(..shared)?.to_vec();
        path.extend_from_slice(reader.take(length)?);
        let mode = reader.number()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
        let body = match reader.take(1)?[0] {
            b'd' => Body::Dir,
            b'f' => Body::File { b3: reader.digest()?, size: reader.number()? },
            b'l' => {
                let length = reader.length()?;
                Body::Symlink { target: reader.take(length)?.to_vec() }
            }
            _ => return None,
        };
        last.clone_from(&path);
        base.tree.insert(path, Node { body, mode });
    }
    for _ in 0..reader.number()? {
        let b3 = reader.digest()?;
        let bundle = reader.number()?;
        let piece = match bundle {
            NOT_KEPT => None,
            bundle => Some((usize::try_from(bundle).ok()?, reader.number()?, reader.number()?)),
        };
        base.pieces.insert(b3, piece);
    }
    reader.0.is_empty().then_some(base)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::content::LocalContent;

    #[test]
    fn a_base_reads_back_with_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let content = LocalContent::open(dir.path()).unwrap();
        let mut base = Base::default();
        let texts: Vec<Vec<u8>> = (0..300).map(|i| format!("text {i}\n").repeat(i * 20).into_bytes()).collect();
        for (i, text) in texts.iter().enumerate() {
            let body = Body::File { b3: Digest::of(text).0, size: text.len() as u64 };
            base.tree.insert(format!("d/{i:03}").into_bytes(), Node { body, mode: Some(0o644) });
        }
        base.tree.insert(b"d".to_vec(), Node { body: Body::Dir, mode: Some(0) });
        base.tree.insert(b"l\xff".to_vec(), Node { body: Body::Symlink { target: b"../x".to_vec() }, mode: None });
        let read = |path: &[u8], _: &[u8; 32]| {
            let i: usize = std::str::from_utf8(&path[2..]).unwrap().parse().unwrap();
            if i.is_multiple_of(10) { Kept::NotMergeable } else { Kept::Bytes(texts[i].clone()) }
        };
        base.keep_contents(&content, read).unwrap();
        let id = base.store(&content).unwrap();
        let loaded = Base::load(&content, &id).unwrap();
        assert_eq!(loaded, base);
        assert!(loaded.bundles.len() > 1 && loaded.bundles.len() < 10);
        for (i, text) in texts.iter().enumerate() {
            if i % 13 == 0 || i % 10 == 0 {
                let kept = loaded.content(&content, &Digest::of(text).0);
                assert_eq!(kept.as_ref(), (i % 10 != 0).then_some(text), "{i}");
            }
        }
        // Dropping most files packs the rest anew and loses none.
        let mut fewer = loaded.clone();
        fewer.tree.retain(|path, _| path.ends_with(b"7"));
        fewer.keep_contents(&content, |_, _| Kept::NotNow).unwrap();
        assert_eq!(fewer.bundles.len(), 1);
        assert_eq!(fewer.content(&content, &Digest::of(&texts[127]).0).as_ref(), Some(&texts[127]));
        let bytes = base.encode();
        for cut in (0..bytes.len()).step_by(97) {
            assert!(decode(&bytes[..cut]).is_none());
        }
    }
}
