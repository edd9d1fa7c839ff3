//! The finished problem, with the line of the file it is about.

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
    let wrong = wrong.into_finding();
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

/// How much of a long line is shown before and after the place.
const REACH: usize = 300;

/// The line of `at` and a line of carets below its part; bytes of `masked` (sorted) become stars.
fn excerpt(text: &str, at: At, masked: &[(usize, usize)]) -> String {
    if text.is_empty() || at.start > text.len() || !text.is_char_boundary(at.start) {
        return String::new();
    }
    let start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at.start..].find('\n').map_or(text.len(), |length| at.start + length);
    let stop = at.end.clamp(at.start + 1, end.max(at.start + 1));
    let from = if at.start - start > REACH { text.floor_char_boundary(at.start - REACH) } else { start };
    let to = if end - at.start > 2 * REACH { text.floor_char_boundary(at.start + 2 * REACH) } else { end };
    let (mut line, mut carets) = (String::new(), String::new());
    for (offset, c) in text[from..to].char_indices().filter(|(_, c)| *c != '\r') {
        let offset = from + offset;
        let before = line.chars().count();
        match c {
            _ if is_masked(masked, offset) => line.push('*'),
            ' '..='~' => line.push(c),
            '\t' => line.push('→'),
            c => line.push_str(&printable(c.encode_utf8(&mut [0; 4]), 1)),
        }
        let mark = if (at.start..stop).contains(&offset) { '^' } else { ' ' };
        carets.extend(std::iter::repeat_n(mark, line.chars().count() - before));
    }
    if !carets.contains('^') {
        carets = format!("{}^", " ".repeat(line.chars().count()));
    }
    if looks_secret(&line).is_some() {
        line = line.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect();
    }
    format!("{}\n{}", mask_named_secrets(&line), carets.trim_end())
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
    let Some(name) = NAMES.iter().filter_map(|name| lower.find(name)).min() else {
        return line.to_owned();
    };
    let Some(colon) = line[name..].find(':').map(|offset| name + offset + 1) else {
        return line.to_owned();
    };
    let (head, tail) = line.split_at(colon);
    if tail.trim_start_matches([' ', '"', '\'', '[']).starts_with("${") {
        return line.to_owned();
    }
    let masked: String =
        tail.chars().map(|c| if c.is_whitespace() || "[]{}\"',".contains(c) { c } else { '*' }).collect();
    format!("{head}{masked}")
}
