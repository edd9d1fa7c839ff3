//! A plain ustar archive, written in one way only and read back strictly.
//!
//! Reading refuses every archive that writing would not make: after parsing, the members are written
//! again and compared byte by byte. So no byte of a pack is free to change.

const BLOCK: usize = 512;
/// Limits on what is read.
pub const MAX_ARCHIVE: usize = 1 << 20;
const MAX_MEMBERS: usize = 64;
const MAX_NAME: usize = 99;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Why bytes are not an archive of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("archive is larger than {MAX_ARCHIVE} bytes")]
    TooLarge,
    #[error("archive has more than {MAX_MEMBERS} members")]
    TooMany,
    #[error("archive is cut off or malformed at byte {0}")]
    Malformed(usize),
    #[error("archive differs at byte {0} from the one way to write it")]
    NotCanonical(usize),
    #[error("name {0:?} is not allowed in an archive")]
    Name(String),
    #[error("archive has {0} twice")]
    Twice(String),
}

/// Writes members in the given order: mode 0644, owner 0, time 0.
pub fn write(members: &[Member]) -> Result<Vec<u8>, TarError> {
    let mut out = Vec::new();
    for member in members {
        if !is_name(&member.name) {
            return Err(TarError::Name(member.name.clone()));
        }
        out.extend_from_slice(&header(&member.name, member.bytes.len()));
        out.extend_from_slice(&member.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    if out.len() > MAX_ARCHIVE {
        return Err(TarError::TooLarge);
    }
    Ok(out)
}

fn header(name: &str, len: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{len:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads an archive made by [`write()`], and no other.
pub fn read(bytes: &[u8]) -> Result<Vec<Member>, TarError> {
    if bytes.len() > MAX_ARCHIVE {
        return Err(TarError::TooLarge);
    }
    let mut members: Vec<Member> = Vec::new();
    let mut at = 0;
    loop {
        let malformed = TarError::Malformed(at);
        let block = bytes.get(at..at + BLOCK).ok_or(malformed.clone())?;
        if block[0] == 0 {
            break;
        }
        if members.len() == MAX_MEMBERS {
            return Err(TarError::TooMany);
        }
        let name = block[..100].split(|b| *b == 0).next().and_then(|n| std::str::from_utf8(n).ok());
        let size = std::str::from_utf8(&block[124..135]).ok().and_then(|t| usize::from_str_radix(t, 8).ok());
        let (Some(name), Some(size)) = (name, size) else { return Err(malformed) };
        let start = at + BLOCK;
        let content = start.checked_add(size).and_then(|end| bytes.get(start..end)).ok_or(malformed)?;
        if members.iter().any(|m| m.name == name) {
            return Err(TarError::Twice(name.to_owned()));
        }
        members.push(Member { name: name.to_owned(), bytes: content.to_vec() });
        at = (start + size).next_multiple_of(BLOCK);
    }
    let again = write(&members)?;
    if again != bytes {
        let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(TarError::NotCanonical(same));
    }
    Ok(members)
}

/// Relative, no `.` or `..` parts, only characters that are safe in every shell.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
}
