//! The finished problem, with the line of the file it is about.

use super::parts::complete;
use super::problem::{Problem, Wrong, printable};
use super::secret::looks_secret;
use super::tree::At;

/// Makes the finished problem, with the excerpt drawn from `text`.
pub fn problem(
    text: &str,
    file: &str,
    masked: &[(usize, usize)],
    at: At,
    path: String,
    found: String,
    wrong: Wrong,
) -> Problem {
    let mut wrong = wrong.into_finding();
    complete(&mut wrong);
    let is_summary = at.line == u32::MAX;
    Problem {
        file: printable(file, 200),
        line: if is_summary { 1 } else { at.line },
        column: at.column.max(1),
        path,
        code: wrong.code,
        found,
        what: wrong.what,
        why: wrong.why,
        allowed: wrong.allowed,
        nearest: wrong.nearest,
        hint: wrong.hint,
        excerpt: if is_summary { String::new() } else { excerpt(text, at, masked) },
        severity: wrong.severity,
    }
}

/// How many characters of a long line are shown before the place; twice as many after it.
const REACH: usize = 300;
/// How far secrets are looked for: one that is cut off by the edge of what is shown must still be known as one.
const LOOK: usize = 1024;

/// The line of `at` and a line of carets below its part; bytes of `masked` (sorted) become stars.
fn excerpt(text: &str, at: At, masked: &[(usize, usize)]) -> String {
    if text.is_empty() || at.start > text.len() || !text.is_char_boundary(at.start) {
        return String::new();
    }
    let start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at.start..].find('\n').map_or(text.len(), |length| at.start + length);
    let stop = at.end.clamp(at.start + 1, end.max(at.start + 1));
    let from = if at.start - start > LOOK { text.floor_char_boundary(at.start - LOOK) } else { start };
    let to = if end - at.start > LOOK { text.floor_char_boundary(at.start + LOOK) } else { end };
    let (mut line, mut carets) = (String::new(), String::new());
    for (offset, c) in text[from..to].char_indices().filter(|(_, c)| *c != '\r') {
        let offset = from + offset;
        let before = line.len();
        match c {
            _ if is_masked(masked, offset) => line.push('*'),
            ' '..='~' => line.push(c),
            '\t' => line.push('→'),
            c => line.push_str(&printable(c.encode_utf8(&mut [0; 4]), 1)),
        }
        let mark = if (at.start..stop).contains(&offset) { '^' } else { ' ' };
        carets.extend(std::iter::repeat_n(mark, line[before..].chars().count()));
    }
    if !carets.contains('^') {
        carets.push('^');
    }
    if looks_secret(&line).is_some() {
        line = line.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect();
    }
    let line = mask_named_secrets(&line);
    let skip = carets.find('^').unwrap_or_default().saturating_sub(REACH);
    let cut = |text: &str| text.chars().skip(skip).take(3 * REACH).collect::<String>();
    format!("{}\n{}", cut(&line), cut(&carets).trim_end())
}

/// Whether a byte stands in one of the sorted ranges.
fn is_masked(masked: &[(usize, usize)], offset: usize) -> bool {
    let next = masked.partition_point(|(from, _)| *from <= offset);
    next > 0 && offset < masked[next - 1].1
}

/// Stars over values whose key says that they are secret, for lines that were not understood.
fn mask_named_secrets(line: &str) -> String {
    const NAMES: [&str; 6] = ["secret", "passw", "token", "credential", "api_key", "private_key"];
    let lower = line.to_ascii_lowercase();
    let mut from = 0;
    let colon = loop {
        let Some(name) = NAMES.iter().filter_map(|name| lower[from..].find(name)).min() else {
            return line.to_owned();
        };
        let Some(length) = lower[from + name..].find(':') else {
            return line.to_owned();
        };
        from += name + length + 1;
        // A reference is not the secret itself.
        if !line[from..].trim_start_matches([' ', '"', '\'', '[']).starts_with("${") {
            break from;
        }
    };
    let (head, tail) = line.split_at(colon);
    let masked: String =
        tail.chars().map(|c| if c.is_whitespace() || "[]{}\"',".contains(c) { c } else { '*' }).collect();
    format!("{head}{masked}")
}
