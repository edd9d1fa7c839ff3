//! What is wrong, where, why, and what to write instead.

use std::fmt::{self, Write as _};
use std::ops::{Deref, DerefMut};

use serde::Serialize;

use super::secret::looks_secret;

/// How much a problem weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file is right, but asks for something this version does not do yet.
    NotAvailableYet,
    /// The file can be used; something in it has no effect yet.
    Warning,
}

/// One finding about the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The key, such as `connected_repositories[2].data_sync`; empty for the file as a whole.
    pub path: String,
    /// A stable word for scripts, such as `unknown_key`.
    pub code: &'static str,
    /// What was written there; never a secret.
    pub found: String,
    /// What is wrong, one sentence.
    pub what: String,
    /// Why it matters, one sentence.
    pub why: String,
    /// Every value that would be accepted, where they can be listed.
    pub allowed: Vec<String>,
    /// The accepted word closest to the one found.
    pub nearest: Option<String>,
    /// What to do, where that is not "write the nearest word".
    pub hint: String,
    /// The line of the file with a caret line below; secrets are masked.
    pub excerpt: String,
    pub severity: Severity,
}

impl Problem {
    /// Returns the problem as lines of text for a terminal of `width` columns (0: unlimited).
    #[must_use]
    pub fn render(&self, width: usize, color: bool) -> String {
        let paint = |code: &str, text: &str| {
            if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let (label, tint) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::NotAvailableYet => ("not available yet", "1;35"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut out = String::new();
        let subject = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        // `fmt::Write` for String never fails.
        let headline = wrap(&format!("{label}: {subject}{}   [{}]", self.what, self.code), width, 2);
        let _ = writeln!(out, "{}{}", paint(tint, label), &headline[label.len()..]);
        let _ = writeln!(out, "  {} {}:{}:{}", paint("2", "at"), self.file, self.line, self.column);
        if !self.excerpt.is_empty() {
            let number = self.line.to_string();
            let mut lines = self.excerpt.lines();
            let (source, caret) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let (source, caret) = window(source, caret, width.saturating_sub(number.len() + 5));
            let bar = paint("2", "|");
            let _ = writeln!(out, "  {} {bar} {source}", paint("2", &number));
            let _ = writeln!(out, "  {} {bar} {}", " ".repeat(number.len()), paint(tint, &caret));
        }
        let mut part = |name: &str, text: &str| {
            if !text.is_empty() {
                let indent = 2 + name.len() + 2;
                let line = wrap(&format!("  {name}: {text}"), width, indent);
                let _ = writeln!(out, "  {}{}", paint("1", name), &line[2 + name.len()..]);
            }
        };
        part("why", &self.why);
        part("allowed", &self.allowed.join(", "));
        match &self.nearest {
            Some(nearest) => part("try", nearest),
            None => part("try", &self.hint),
        }
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(0, false).trim_end())
    }
}

/// Breaks `text` at spaces so that lines fit `width`; the second and later lines are indented.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    if width < 40 || text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut column = 0;
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if length == 0 && column == indent {
            continue;
        }
        if index > 0 {
            if column + 1 + length > width && column > indent {
                out.truncate(out.trim_end().len());
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Cuts a long source line so that the caret stays in view.
fn window(source: &str, caret: &str, room: usize) -> (String, String) {
    let length = source.chars().count();
    if room < 20 || length.max(caret.chars().count()) <= room {
        return (source.to_owned(), caret.to_owned());
    }
    let first = caret.chars().position(|c| c == '^').unwrap_or(0);
    let skip = first.saturating_sub(room / 3).min(length.saturating_sub(room - 1).max(first.saturating_sub(room / 3)));
    let cut = |line: &str, edge: char| -> String {
        let mut out: String = line.chars().skip(skip).take(room).collect();
        if skip > 0 && !out.is_empty() {
            out = std::iter::once(edge).chain(out.chars().skip(1)).collect();
        }
        out
    };
    let mut shown = cut(source, '…');
    if length > skip + room {
        shown.pop();
        shown.push('…');
    }
    (shown, cut(caret, ' '))
}

/// What is wrong with one value; the reader adds the place and the path.
///
/// In a box: it travels in results that are nearly always good.
#[derive(Debug, Clone)]
pub struct Wrong(Box<Finding>);

#[derive(Debug, Clone)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub what: String,
    pub why: String,
    pub allowed: Vec<String>,
    pub nearest: Option<String>,
    pub hint: String,
    /// The value must not be repeated anywhere.
    pub is_secret: bool,
}

impl Deref for Wrong {
    type Target = Finding;

    fn deref(&self) -> &Finding {
        &self.0
    }
}

impl DerefMut for Wrong {
    fn deref_mut(&mut self) -> &mut Finding {
        &mut self.0
    }
}

impl Wrong {
    pub fn new(code: &'static str, what: impl Into<String>) -> Self {
        Self(Box::new(Finding {
            code,
            severity: Severity::Error,
            what: what.into(),
            why: String::new(),
            allowed: Vec::new(),
            nearest: None,
            hint: String::new(),
            is_secret: false,
        }))
    }

    pub fn into_finding(self) -> Finding {
        *self.0
    }

    pub fn not_yet(what: impl Into<String>) -> Self {
        Self::new("not_available_yet", what).severity(Severity::NotAvailableYet)
    }

    pub fn warning(code: &'static str, what: impl Into<String>) -> Self {
        Self::new(code, what).severity(Severity::Warning)
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn allowed<S: Into<String>>(mut self, allowed: impl IntoIterator<Item = S>) -> Self {
        self.allowed = allowed.into_iter().map(Into::into).collect();
        self
    }

    pub fn nearest(mut self, nearest: Option<&str>) -> Self {
        self.nearest = nearest.map(str::to_owned);
        self
    }

    pub fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

/// A meaning from the table as the middle of a message: small first letter (unless it is a name), no full stop.
pub fn clause(meaning: &[&str]) -> String {
    let text = meaning.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches('.');
    let is_name = text.split(' ').next().is_some_and(|word| word.chars().skip(1).any(char::is_uppercase));
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !is_name => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Makes hostile text safe to print: control, bidirectional and invisible characters become visible.
///
/// What looks like a secret becomes stars, wherever it stands.
pub fn printable(text: &str, limit: usize) -> String {
    if looks_secret(text).is_some() {
        return "***".to_owned();
    }
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        let is_hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}' | '\u{61c}');
        if is_hidden {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}
