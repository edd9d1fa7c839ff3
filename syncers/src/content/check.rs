//! Checking a content store: what is there, whether it has its length, and whether it has its name.
//!
//! Nothing is written, and several processes may use the folder meanwhile.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;

use super::Verified;

/// What a check of a content store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Contents that were looked at, the damaged ones included.
    pub contents: u64,
    /// Bytes that they take on disk.
    pub bytes: u64,
    /// Contents that cannot be given back, each with the fault.
    pub damaged: Vec<(Digest, String)>,
}

/// Looks at every content of the store in `dir`: at its length, and when `is_deep` at every byte.
///
/// A folder that is not there holds nothing.
pub fn inspect(dir: &Path, is_deep: bool, seen: &mut dyn FnMut(u64)) -> Result<Inspected, PortError> {
    let mut found = Inspected::default();
    for folder in entries(dir)? {
        let prefix = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if prefix.len() != 2 || !folder.is_dir() {
            continue;
        }
        for path in entries(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What else lies here was not put here by a content store.
            let Some(id) = Digest::parse(&name).ok().filter(|_| name.starts_with(&prefix)) else { continue };
            found.contents += 1;
            match look(&path, id, is_deep) {
                Ok(bytes) => found.bytes += bytes,
                Err(error) => found.damaged.push((id, fault(&error))),
            }
            seen(found.contents);
        }
    }
    found.damaged.sort();
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<std::path::PathBuf>, PortError> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    match read() {
        Ok(mut paths) => {
            paths.sort();
            Ok(paths)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(PortError::io(dir.display(), &e)),
    }
}

fn fault(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "truncated".into(),
        io::ErrorKind::PermissionDenied => "it may not be read".into(),
        // zstd reports damaged frames as `Other`.
        io::ErrorKind::Other => format!("damaged: {error}"),
        _ => error.to_string(),
    }
}

/// Returns the length of a content's file.
fn look(path: &Path, id: Digest, is_deep: bool) -> io::Result<u64> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(wrong("it is no file"));
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let whole = frame_length(&mut file)?;
    if whole != length {
        return Err(wrong(&format!("truncated or grown: {length} bytes where {whole} were written")));
    }
    if is_deep {
        file.rewind()?;
        io::copy(&mut Verified::new(file, id)?, &mut io::sink())?;
    }
    Ok(length)
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Returns how long the zstd frame at the beginning says it is (RFC 8878, section 3.1.1); reads headers only.
fn frame_length(file: &mut File) -> io::Result<u64> {
    let mut from = BufReader::new(file);
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    if head[..4] != [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(wrong("damaged: it is no zstd frame"));
    }
    let flags = head[4];
    let is_single = flags & 0x20 != 0;
    let size_bytes = [u64::from(is_single), 2, 4, 8][usize::from(flags >> 6)];
    let dictionary_bytes = [0, 1, 2, 4][usize::from(flags & 3)];
    let header = u64::from(!is_single) + dictionary_bytes + size_bytes;
    let mut length = 5 + header;
    skip(&mut from, header)?;
    loop {
        let mut block = [0; 4];
        from.read_exact(&mut block[..3])?;
        let block = u32::from_le_bytes(block);
        let bytes = match (block >> 1) & 3 {
            0 | 2 => u64::from(block >> 3),
            1 => 1,
            _ => return Err(wrong("damaged: it has a block of an unknown type")),
        };
        length += 3 + bytes;
        if block & 1 != 0 {
            return Ok(length + if flags & 4 != 0 { 4 } else { 0 });
        }
        skip(&mut from, bytes)?;
    }
}

fn skip(from: &mut BufReader<&mut File>, bytes: u64) -> io::Result<()> {
    from.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::content::LocalContent;
    use cathedral_model::ports::Content as _;

    #[test]
    fn lengths_are_seen_without_reading_and_flips_by_reading() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(inspect(&dir.path().join("none"), true, &mut |_| {}).unwrap(), Inspected::default());
        let store = LocalContent::open(dir.path()).unwrap();
        let mut noise = vec![0; 700_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut ids = vec![];
        for bytes in [&b""[..], b"a", &[0; 3_000_000], &noise, b"some text, some text, some text"] {
            ids.push(store.put(bytes).unwrap());
        }
        let other = b"streamed ".repeat(100_000);
        ids.push(store.put_from(&mut other.as_slice()).unwrap().0);
        fs::write(dir.path().join("notes.txt"), "nobody's").unwrap();
        for is_deep in [false, true] {
            let found = inspect(dir.path(), is_deep, &mut |_| {}).unwrap();
            assert_eq!((found.contents, found.damaged), (6, vec![]), "{is_deep}");
            assert!(found.bytes > 700_000);
        }
        for id in &ids {
            let path = store.path(id);
            let whole = fs::read(&path).unwrap();
            let mut damages = vec![(vec![], false), (whole[..whole.len() - 1].to_vec(), false)];
            damages.push(([&whole[..], b"x"].concat(), false));
            damages.push((zstd::encode_all(&b"other"[..], 3).unwrap(), true));
            for (bytes, needs_reading) in damages {
                fs::write(&path, &bytes).unwrap();
                for is_deep in [false, true] {
                    let found = inspect(dir.path(), is_deep, &mut |_| {}).unwrap();
                    let named: Vec<Digest> = found.damaged.iter().map(|(id, _)| *id).collect();
                    let expect = if needs_reading && !is_deep { vec![] } else { vec![*id] };
                    assert_eq!(named, expect, "{} bytes of {}, deep: {is_deep}", bytes.len(), whole.len());
                }
            }
            fs::write(&path, &whole).unwrap();
        }
    }
}
