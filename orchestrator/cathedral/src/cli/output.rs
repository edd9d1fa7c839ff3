//! Data on stdout, everything else on stderr; decided per stream whether a person looks.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::args::{Color, Global};
use super::failure::Failure;

/// How to speak.
pub struct Output {
    pub json: bool,
    pub jsonl: bool,
    pub quiet: bool,
    pub no_input: bool,
    pub progress: bool,
    color_out: bool,
    color_err: bool,
    /// Whether symbols beyond ASCII may be used.
    unicode: bool,
    /// The columns of the terminal on each stream; none in a pipe.
    room_out: Option<usize>,
    room_err: Option<usize>,
}

/// Tints, told by word and shape as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Output {
    /// For a command line that could not be read.
    pub fn bare(json: bool, jsonl: bool) -> Self {
        let plain = Global { json, jsonl, ..Global::default() };
        Self::new(&plain)
    }

    pub fn new(global: &Global) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let decide = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") || global.plain => false,
            Color::Auto if set("CLICOLOR_FORCE") => true,
            Color::Auto => terminal && !dumb,
        };
        let seen = Seen::of();
        let (out_terminal, err_terminal) = (seen.out.is_some(), seen.err.is_some());
        Self {
            json: global.json,
            jsonl: global.jsonl,
            quiet: global.quiet,
            no_input: global.no_input || !std::io::stdin().is_terminal(),
            progress: !global.no_progress && !global.quiet,
            color_out: decide(out_terminal) && !global.json && !global.jsonl,
            color_err: decide(err_terminal),
            unicode: seen.utf8 && !global.plain,
            room_out: seen.out,
            room_err: seen.err,
        }
    }

    /// Whether a person reads what goes to stdout.
    pub fn is_read_by_a_person() -> bool {
        Seen::of().out.is_some()
    }

    /// The columns of the terminals on stdout and stderr; none in a pipe.
    pub fn columns(&self) -> (Option<usize>, Option<usize>) {
        (self.room_out, self.room_err)
    }

    /// Whether more than ASCII is shown.
    pub fn is_utf8(&self) -> bool {
        self.unicode
    }

    /// Passes on what a hub elsewhere printed on its standard error.
    pub fn bytes_err(bytes: &[u8]) {
        // Nothing better can be done when even the terminal is gone.
        let _ = std::io::stderr().lock().write_all(bytes);
    }

    /// A path as text that is safe for a terminal.
    pub fn safe_path(path: &std::path::Path) -> String {
        safe(&path.to_string_lossy())
    }

    /// Whether stdout holds a machine format.
    pub fn is_machine(&self) -> bool {
        self.json || self.jsonl
    }

    /// The columns that a line on stdout may take; none in a pipe, where nothing is wrapped.
    pub fn room(&self) -> Option<usize> {
        self.room_out
    }

    /// The columns for a problem of the configuration on stderr: excerpts are cut in a pipe, too.
    pub fn width(&self) -> usize {
        self.room_err.unwrap_or(100)
    }

    /// A sentence for people on stdout, broken between words where the terminal is narrow.
    pub fn sentence(&self, line: &str) {
        self.sentence_under(line, 2);
    }

    /// A sentence whose further lines stand further in.
    pub fn sentence_under(&self, line: &str, indent: usize) {
        self.say(wrap(line, self.room_out.unwrap_or(usize::MAX), indent));
    }

    /// Whether stderr is watched by a person who can be shown moving lines.
    pub fn is_watched(&self) -> bool {
        self.progress && std::io::stderr().is_terminal()
    }

    pub fn colored_err(&self) -> bool {
        self.color_err
    }

    /// A symbol with its plain form.
    pub fn symbol(&self, symbol: &'static str, plain: &'static str) -> &'static str {
        if self.unicode { symbol } else { plain }
    }

    pub fn paint(&self, tint: Tint, text: &str) -> String {
        paint(self.color_out, tint, text)
    }

    /// A line for people on stdout; nothing with `--json`.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.is_machine() {
            self.raw(line.as_ref().as_bytes());
            self.raw(b"\n");
        }
    }

    /// A routine line for people on stdout, left out with `-q`.
    pub fn note(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// A routine line on stderr, beside a value on stdout that a script takes as it is.
    pub fn aside(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.is_machine() {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Bytes on stdout. A reader that has gone away ends the program quietly, as in any pipe.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                std::process::exit(0);
            }
            eprintln!("error: the output could not be written: {error}   [C1002]");
            std::process::exit(1);
        }
    }

    /// A routine sentence for people on stdout, broken between words, left out with `-q`.
    pub fn note_sentence(&self, line: &str) {
        if !self.quiet {
            self.sentence(line);
        }
    }

    /// A line on stderr.
    pub fn warn(&self, line: impl AsRef<str>) {
        eprintln!("{}", line.as_ref());
    }

    /// The one JSON document of the command, when asked for.
    pub fn data<T: Serialize>(&self, name: &str, data: &T, warnings: &[String]) {
        if self.is_machine() {
            let document = serde_json::json!({
                "schema": format!("cathedral.{name}/v1"), "generated_at": now(), "data": data, "warnings": warnings,
            });
            self.document(&document);
        }
    }

    fn document(&self, document: &serde_json::Value) {
        let text = if self.jsonl { document.to_string() } else { format!("{document:#}") };
        self.raw(text.as_bytes());
        self.raw(b"\n");
    }

    /// Reports a failure on stderr, and as the JSON document when asked for.
    pub fn failure(&self, failure: &Failure) {
        if self.is_machine() {
            let mut error = serde_json::json!({
                "type": format!("urn:cathedral:error:{}", failure.id), "title": failure.what, "status": failure.code,
                "detail": failure.why, "code": failure.id, "next": failure.next,
            });
            if let (Some(data), Some(object)) = (&failure.data, error.as_object_mut()) {
                object.insert("data".into(), data.clone());
            }
            self.document(&serde_json::json!({
                "schema": "cathedral.error/v1", "generated_at": now(), "error": error, "warnings": [],
            }));
        }
        self.failure_text(failure);
    }

    /// The three parts of a failure on stderr.
    pub fn failure_text(&self, failure: &Failure) {
        let mut text = String::new();
        for line in &failure.details {
            let _ = writeln!(text, "{line}");
        }
        for problem in &failure.problems {
            let _ = writeln!(text, "{}", problem.render(self.width(), self.color_err));
        }
        let room = self.room_err.unwrap_or(usize::MAX);
        let label = paint(self.color_err, Tint::Bad, "error:");
        let id = paint(self.color_err, Tint::Dim, &format!("[{}]", failure.id));
        let _ = writeln!(text, "{}", wrap(&format!("{label} {}   {id}", failure.what), room, 2));
        if let Some(why) = &failure.why {
            let _ = writeln!(text, "{}", wrap(&format!("  why: {why}"), room, 7));
        }
        for (index, next) in failure.next.iter().enumerate() {
            let _ = writeln!(text, "  {} {next}", if index == 0 { "try:" } else { "    " });
        }
        eprint!("{text}");
    }
}

fn paint(on: bool, tint: Tint, text: &str) -> String {
    if !on {
        return text.to_owned();
    }
    let code = match tint {
        Tint::Good => "32",
        Tint::Warn => "33",
        Tint::Bad => "31;1",
        Tint::Dim => "2",
        Tint::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn now() -> String {
    crate::hub::HubEnv::clock().to_rfc3339()
}

/// In the environment of a command that a hub carries out for somebody elsewhere: the columns of their terminals
/// on stdout and stderr (empty: a pipe) and whether they show more than ASCII, such as `120,120,utf8`.
pub const TERMINAL: &str = "CATHEDRAL_TERMINAL";

/// How the output is looked at.
struct Seen {
    out: Option<usize>,
    err: Option<usize>,
    utf8: bool,
}

impl Seen {
    fn of() -> Self {
        if let Ok(told) = std::env::var(TERMINAL) {
            return Self::told(&told);
        }
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
        Self {
            out: std::io::stdout().is_terminal().then(|| columns(&std::io::stdout())),
            err: std::io::stderr().is_terminal().then(|| columns(&std::io::stderr())),
            utf8: locale.is_some_and(|l| l.to_ascii_lowercase().replace('-', "").contains("utf8")),
        }
    }

    fn told(text: &str) -> Self {
        let mut parts = text.split(',');
        let mut columns = || parts.next()?.parse().ok().map(|n: usize| n.clamp(20, 1_000));
        let (out, err) = (columns(), columns());
        Self { out, err, utf8: parts.next() == Some("utf8") }
    }
}

/// The columns of a terminal: what it says itself, else COLUMNS, else 80.
fn columns(stream: &impl std::os::fd::AsFd) -> usize {
    let told = terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0)).filter(|w| *w > 0);
    let set = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|w| *w > 0);
    set.or(told).unwrap_or(80).max(20)
}

/// Breaks lines between words, else within one, so that they fit; later lines are indented. Colour takes no room.
pub fn wrap(text: &str, room: usize, indent: usize) -> String {
    let width = |word: &str| -> usize {
        let mut is_escape = false;
        let shown = word.chars().filter(|c| {
            let is_hidden = is_escape || *c == '\u{1b}';
            is_escape = is_hidden && *c != 'm';
            !is_hidden
        });
        shown.collect::<String>().width()
    };
    if room == usize::MAX || width(text) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut column = 0;
    let mut is_fresh = true;
    for (index, word) in text.split(' ').enumerate() {
        let length = width(word);
        if index > 0 && column + 1 + length > room && column > indent && !(is_fresh && length == 0) {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            (column, is_fresh) = (indent, true);
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        if length == 0 {
            continue;
        }
        is_fresh = false;
        if column + length <= room || word.contains('\u{1b}') {
            out.push_str(word);
            column += length;
            continue;
        }
        let mut rest = word;
        loop {
            let whole = fitting(rest, room.saturating_sub(column));
            if whole == rest.len() {
                out.push_str(rest);
                column += rest.width();
                break;
            }
            // Names and paths are broken at their joints, if that does not waste the line.
            let joint = rest[..whole].rfind(['/', '-', '_', ',']).map(|at| at + 1).filter(|at| at * 2 > whole);
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let cut = if whole == 0 && column <= indent { first } else { joint.unwrap_or(whole) };
            out.push_str(&rest[..cut]);
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            (rest, column) = (&rest[cut..], indent);
        }
    }
    out
}

/// The bytes of a text that fit into so many columns.
fn fitting(text: &str, columns: usize) -> usize {
    let mut taken = 0;
    let past = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > columns
    });
    past.map_or(text.len(), |(at, _)| at)
}

/// Makes text safe for a terminal: control, escape and bidirectional characters become visible.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden =
            c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if hidden {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// A size for people, in powers of 1000.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A number with separators.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Singular or plural.
pub fn many(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}

/// Times in a document as RFC 3339, which are microseconds in what is stored.
pub fn with_times(value: impl Serialize) -> serde_json::Value {
    fn walk(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(items) => items.iter_mut().for_each(walk),
            serde_json::Value::Object(entries) => {
                for (name, value) in entries {
                    match value.as_i64() {
                        Some(at) if name == "at" || name.ends_with("_at") => {
                            *value = cathedral_model::time::Timestamp(at).to_rfc3339().into();
                        }
                        _ => walk(value),
                    }
                }
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).unwrap_or_default();
    walk(&mut value);
    value
}
