//! The form of a text: encoding, line ends, final newline. Merged apart from the content, so that a change of
//! form here and an edit there do not meet.

use std::borrow::Cow;

use crate::conflict::{Conflict, Reason};

/// How characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 without mark.
    Utf8,
    /// UTF-8 with byte order mark.
    Utf8Bom,
    /// UTF-16, little endian, with byte order mark.
    Utf16Le,
    /// UTF-16, big endian, with byte order mark.
    Utf16Be,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eol {
    /// There is no line end to tell.
    None,
    /// Line feed, also for mixed texts, whose carriage returns then count as content.
    Lf,
    /// Carriage return and line feed, throughout.
    Crlf,
    /// Both occur.
    Mixed,
}

/// Everything about a text that is not its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// How characters are written.
    pub encoding: Encoding,
    /// How lines end.
    pub eol: Eol,
    /// Whether the last line ends with a line end.
    pub final_newline: bool,
}

/// A decoded text: UTF-8 without mark.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub body: Cow<'a, str>,
    pub form: Form,
}

/// The three decoded sides and the form of their merge.
pub(crate) struct Sides<'a> {
    pub base: Option<Text<'a>>,
    pub hub: Text<'a>,
    pub spoke: Text<'a>,
    pub form: Form,
}

/// Decodes the sides and merges their forms. Line ends are normalised only if no side mixes them.
pub(crate) fn sides<'a>(conflict: &Conflict<'a>) -> Result<Sides<'a>, Reason> {
    let base = conflict.base.map(|bytes| Text::decode(bytes).ok_or(Reason::Binary)).transpose()?;
    let mut hub = Text::decode(conflict.hub).ok_or(Reason::Binary)?;
    let mut spoke = Text::decode(conflict.spoke).ok_or(Reason::Binary)?;
    let mut base = base;
    let mixed = [Some(&hub), Some(&spoke), base.as_ref()].into_iter().flatten().any(|text| text.form.eol == Eol::Mixed);
    for text in [Some(&mut hub), Some(&mut spoke), base.as_mut()].into_iter().flatten() {
        if mixed {
            text.form.eol = Eol::Lf;
        } else if text.form.eol == Eol::Crlf {
            text.body = Cow::Owned(text.body.replace("\r\n", "\n"));
        }
    }
    let form = merge_forms(base.as_ref().map(|text| text.form), hub.form, spoke.form)?;
    Ok(Sides { base, hub, spoke, form })
}

fn merge_forms(base: Option<Form>, hub: Form, spoke: Form) -> Result<Form, Reason> {
    Ok(Form {
        encoding: three_way(base.map(|form| form.encoding), hub.encoding, spoke.encoding).ok_or(Reason::Form)?,
        eol: match (hub.eol, spoke.eol) {
            (Eol::None, other) | (other, Eol::None) => other,
            (hub, spoke) => {
                let base = base.map(|form| form.eol).filter(|eol| *eol != Eol::None);
                three_way(base, hub, spoke).ok_or(Reason::Form)?
            }
        },
        // Without a base, a text that ends its last line is the better one.
        final_newline: three_way(base.map(|form| form.final_newline), hub.final_newline, spoke.final_newline)
            .unwrap_or(true),
    })
}

fn three_way<T: PartialEq + Copy>(base: Option<T>, hub: T, spoke: T) -> Option<T> {
    if hub == spoke || base == Some(spoke) {
        Some(hub)
    } else if base == Some(hub) {
        Some(spoke)
    } else {
        None
    }
}

impl<'a> Text<'a> {
    /// Decodes `bytes`; `None` when they are not text.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Text<'a>> {
        let (body, encoding) = if bytes.starts_with(&[0xff, 0xfe]) {
            (Cow::Owned(decode_utf16(bytes)?), Encoding::Utf16Le)
        } else if bytes.starts_with(&[0xfe, 0xff]) {
            (Cow::Owned(decode_utf16(bytes)?), Encoding::Utf16Be)
        } else if let Some(rest) = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]) {
            (Cow::Borrowed(std::str::from_utf8(rest).ok()?), Encoding::Utf8Bom)
        } else {
            (Cow::Borrowed(std::str::from_utf8(bytes).ok()?), Encoding::Utf8)
        };
        if body.contains('\0') {
            return None;
        }
        let feeds = body.bytes().filter(|byte| *byte == b'\n').count();
        let pairs = body.matches("\r\n").count();
        let eol = match (feeds, pairs) {
            (0, _) => Eol::None,
            (_, 0) => Eol::Lf,
            (feeds, pairs) if feeds == pairs => Eol::Crlf,
            _ => Eol::Mixed,
        };
        let final_newline = body.is_empty() || body.ends_with('\n');
        Some(Text { body, form: Form { encoding, eol, final_newline } })
    }

    /// Returns the lines without their ends.
    pub(crate) fn lines(&self) -> Vec<&str> {
        if self.body.is_empty() {
            return Vec::new();
        }
        self.body.strip_suffix('\n').unwrap_or(&self.body).split('\n').collect()
    }
}

impl Form {
    /// Writes `lines` in this form.
    pub(crate) fn render(&self, lines: &[&str]) -> Vec<u8> {
        let mut body = lines.join("\n");
        if self.final_newline && !lines.is_empty() {
            body.push('\n');
        }
        self.encode(&body)
    }

    /// Writes a text with plain line feeds in this form; its final newline stays as it is.
    pub(crate) fn encode(&self, body: &str) -> Vec<u8> {
        let body = if self.eol == Eol::Crlf { Cow::Owned(body.replace('\n', "\r\n")) } else { Cow::Borrowed(body) };
        match self.encoding {
            Encoding::Utf8 => body.as_bytes().to_vec(),
            Encoding::Utf8Bom => [&[0xef, 0xbb, 0xbf], body.as_bytes()].concat(),
            Encoding::Utf16Le => {
                let units = std::iter::once(0xfeff).chain(body.encode_utf16());
                units.flat_map(u16::to_le_bytes).collect()
            }
            Encoding::Utf16Be => {
                let units = std::iter::once(0xfeff).chain(body.encode_utf16());
                units.flat_map(u16::to_be_bytes).collect()
            }
        }
    }
}

/// Decodes UTF-16 with byte order mark; `None` when it is not well formed.
pub(crate) fn decode_utf16(bytes: &[u8]) -> Option<String> {
    let (mark, rest) = bytes.split_at_checked(2)?;
    let (units, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    let unit: fn([u8; 2]) -> u16 = if mark == [0xff, 0xfe] { u16::from_le_bytes } else { u16::from_be_bytes };
    char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>().ok()
}
