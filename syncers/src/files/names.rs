//! Paths as raw bytes, and their reversible form for people, plans and logs.

use std::fmt::Write as _;

/// Marks the root of a replica; never synced, snapshotted or removed.
pub const MARKER: &str = ".cathedral-root";
/// Holds what is being written; never synced, snapshotted or looked into.
pub const STAGE: &str = ".cathedral-stage";
/// The owner's list of what takes no part.
pub const IGNORE_FILE: &str = ".cathedralignore";

/// Says whether a name is one of our own.
pub fn is_ours(name: &[u8]) -> bool {
    name.starts_with(MARKER.as_bytes()) || name == STAGE.as_bytes()
}

/// Writes a path so that it is printable, on one line, reads left to right, and can be read back.
pub fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if c.is_control() || is_invisible(c) {
                let mut buffer = [0; 4];
                hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                out.push(c);
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Marks of direction, joiners, line separators, tags: what makes a name look like another one.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
        | 0xe0000..=0xe007f)
}

/// Reads a path back from its escaped form.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                out.push(high << 4 | low);
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Says why a path from outside may not be used, if so.
pub fn refuse(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return Some("the path is empty");
    }
    if path.contains(&0) {
        return Some("the path holds a zero byte");
    }
    path.split(|b| *b == b'/').find_map(|name| match name {
        b"" => Some("the path is absolute or has an empty part"),
        b"." | b".." => Some("the path has a part '.' or '..'"),
        name if is_ours(name) => Some("the name is reserved"),
        _ => None,
    })
}

/// Splits a path into its parent (empty for the root) and its name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Joins a directory (empty for the root) and a name.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Returns all parents of a path, the nearest last, without the root.
pub fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_safely_and_read_back() {
        for (bytes, shown) in [
            (&b"plain/\xc3\xa9.txt"[..], "plain/é.txt"),
            (b"a\nb", "a\\x0ab"),
            (b"a\\x0ab", "a\\\\x0ab"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("evil\u{202e}txt.exe".as_bytes(), "evil\\xe2\\x80\\xaetxt.exe"),
            (b"\x1b[31m", "\\x1b[31m"),
        ] {
            assert_eq!(escape(bytes), shown);
            assert_eq!(unescape(shown).unwrap(), bytes);
        }
        for bad in ["\\", "\\x1", "\\xzz", "\\n"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        for bad in ["", "/a", "a/../b", "..", ".", "a//b", "a/", "a\0b", ".cathedral-stage/x", "a/.cathedral-root"] {
            assert!(refuse(bad.as_bytes()).is_some(), "{bad:?}");
        }
        for good in ["a", "a/b", "...", "a/..b", ".git"] {
            assert_eq!(refuse(good.as_bytes()), None, "{good:?}");
        }
    }
}
