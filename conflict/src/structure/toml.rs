//! TOML as lines: keys with values, and sections. `toml_edit` has the last word on what is valid.

use std::collections::BTreeMap;

use super::flow::{Flow, canonical_number, check_duplicates};
use super::node::{Body, Digest, Doc, Fault, Member, NODE_LIMIT, Node, Style, broken, unsupported};
use crate::kind::Syntax;

/// Reads a TOML document.
///
/// Sections are members of the root beside the top-level keys; a section's key is `[a/b]`, an array item's
/// `[[a]]#identity`.
pub(crate) fn parse(src: &str) -> Result<Doc<'_>, Fault> {
    if let Err(error) = src.parse::<toml_edit::DocumentMut>() {
        let message = error.message().lines().next().unwrap_or("not valid").to_owned();
        return Err(if message.contains("duplicate key") { Fault::Duplicate(message) } else { Fault::Broken(message) });
    }
    let mut reader = Reader { src, pos: 0, nodes: 0 };
    let mut root: Vec<Member<'_>> = Vec::new();
    let mut headers: Vec<(usize, Header, &str)> = Vec::new(); // where its members start in `sections`
    let mut sections: Vec<Vec<Member<'_>>> = Vec::new();
    let mut frames: Vec<(&str, &str, &str, usize)> = Vec::new(); // lead, head, open, start
    let mut at = 0;
    loop {
        let lead = reader.lead();
        if reader.pos >= src.len() {
            at = at.max(reader.pos - lead.len());
            break;
        }
        let start = reader.pos - lead.len();
        if src[reader.pos..].starts_with('[') {
            let (header, head) = reader.header()?;
            let open = reader.rest_of_line();
            headers.push((sections.len(), header, head));
            frames.push((lead, head, open, start));
            sections.push(Vec::new());
        } else {
            let list = sections.last_mut().unwrap_or(&mut root);
            let first = list.is_empty();
            let member = reader.pair(lead, start, first)?;
            list.push(member);
        }
        at = reader.pos;
    }
    let file_head = split_file_head(&mut root, &mut frames);
    let mut positional = Vec::new();
    let mut current: Vec<(String, String)> = Vec::new(); // array path, key of its latest item
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeats: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (index, header, _) in headers.iter().filter(|(_, header, _)| header.is_item) {
        let identity = item_identity(&sections[*index]).unwrap_or_default();
        *repeats.entry((join(&header.path), identity)).or_default() += 1;
    }
    let ends: Vec<usize> = frames.iter().skip(1).map(|frame| frame.3).chain([at]).collect();
    for (((index, header, _), (lead, head, open, start)), end) in headers.into_iter().zip(frames).zip(ends) {
        let members = std::mem::take(&mut sections[index]);
        let path = join(&header.path);
        let inside = current.iter().rev().find(|(array, _)| path.starts_with(&format!("{array}/")));
        let place = inside.map_or(path.clone(), |(array, item)| format!("{item}{}", &path[array.len()..]));
        let key = if header.is_item {
            let mut identity = item_identity(&members).unwrap_or_default();
            if repeats.get(&(path.clone(), identity.clone())).is_some_and(|count| *count > 1) {
                // Two versions of one package, as in a lock file.
                let version = field(&members, "version").unwrap_or_default();
                identity = format!("{identity},version={}", escape(&version));
            }
            let mut key = format!("[[{place}]]#{identity}");
            let count = counts.entry(key.clone()).or_default();
            if identity.is_empty() || *count > 0 {
                positional.push(format!("[[{place}]]"));
                key = format!("{key}#{count}");
            }
            *count += 1;
            current.retain(|(array, _)| *array != path && !array.starts_with(&format!("{path}/")));
            current.push((path, key.clone()));
            key
        } else {
            format!("[{place}]")
        };
        let mut node = block(members, open);
        check_duplicates(&node)?;
        node.digest = node.compute_digest();
        node.raw = Some(&src[start + lead.len() + head.len()..end]);
        root.push(Member {
            key,
            lead: lead.into(),
            head: head.into(),
            node,
            tail: "".into(),
            post: "".into(),
            first: root.is_empty(),
            raw: Some(&src[start..end]),
        });
    }
    let mut node = block(root, file_head);
    check_duplicates(&node)?;
    node.close = src[at..].into();
    node.digest = node.compute_digest();
    node.raw = Some(src);
    positional.sort();
    positional.dedup();
    Ok(Doc { root: node, positional })
}

/// A comment block at the top that an empty line sets apart belongs to the file, not to its first key.
fn split_file_head<'a>(root: &mut [Member<'a>], frames: &mut [(&'a str, &'a str, &'a str, usize)]) -> &'a str {
    if let Some(member) = root.first_mut() {
        let Some(raw) = member.raw else { return "" };
        let upto = file_head(&raw[..member.lead.len()]);
        member.lead = raw[upto..member.lead.len()].into();
        member.raw = Some(&raw[upto..]);
        &raw[..upto]
    } else if let Some((lead, _, _, start)) = frames.first_mut() {
        let (head, rest) = lead.split_at(file_head(lead));
        *lead = rest;
        *start += head.len();
        head
    } else {
        ""
    }
}

/// Returns the length of the part of a lead that ends with its last empty line.
pub(crate) fn file_head(lead: &str) -> usize {
    let mut end = 0;
    let mut at = 0;
    for line in lead.split_inclusive('\n') {
        at += line.len();
        if line.trim().is_empty() && line.ends_with('\n') {
            end = at;
        }
    }
    end
}

fn block<'a>(members: Vec<Member<'a>>, open: &'a str) -> Node<'a> {
    Node {
        open: open.into(),
        close: "".into(),
        body: Body::Map(members),
        style: Style::Block,
        indent: 0,
        trailing: false,
        digest: Digest::default(),
        raw: None,
    }
}

fn item_identity(members: &[Member<'_>]) -> Option<String> {
    let named = |name: &&str| Some(format!("{name}={}", escape(&field(members, name)?)));
    super::identity::FIELDS.iter().find_map(named)
}

fn field(members: &[Member<'_>], name: &str) -> Option<String> {
    members.iter().find(|member| member.key == name).and_then(|member| match &member.node.body {
        Body::Scalar { canon, .. } => Some(canon.split_once(':').map_or(&**canon, |(_, value)| value).to_owned()),
        _ => None,
    })
}

struct Header {
    path: Vec<String>,
    is_item: bool,
}

struct Reader<'a> {
    src: &'a str,
    pos: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// Skips empty lines, comments and the indent of the next statement.
    fn lead(&mut self) -> &'a str {
        let start = self.pos;
        loop {
            let rest = &self.src[self.pos..];
            match rest.as_bytes().first() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.pos += 1,
                Some(b'#') => self.pos += rest.find('\n').unwrap_or(rest.len()),
                _ => return &self.src[start..self.pos],
            }
        }
    }

    fn rest_of_line(&mut self) -> &'a str {
        let rest = &self.src[self.pos..];
        let line = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
        self.pos += line.len();
        line
    }

    fn header(&mut self) -> Result<(Header, &'a str), Fault> {
        let start = self.pos;
        let is_item = self.src[start..].starts_with("[[");
        let open = if is_item { 2 } else { 1 };
        let (path, end) = dotted_key(self.src, start + open)?;
        let close = &self.src[end..];
        let blanks = close.len() - close.trim_start_matches([' ', '\t']).len();
        if !close[blanks..].starts_with(if is_item { "]]" } else { "]" }) {
            return Err(broken("section header without end", self.src, start));
        }
        self.pos = end + blanks + open;
        Ok((Header { path, is_item }, &self.src[start..self.pos]))
    }

    fn pair(&mut self, lead: &'a str, start: usize, first: bool) -> Result<Member<'a>, Fault> {
        let head_start = self.pos;
        let (segments, end) = dotted_key(self.src, self.pos)?;
        let blank = |at: usize| {
            let rest = &self.src[at..];
            at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
        };
        let equals = blank(end);
        if !self.src[equals..].starts_with('=') {
            return Err(broken("'=' missing", self.src, equals));
        }
        let value = blank(equals + 1);
        let mut flow = Flow { src: self.src, pos: value, syntax: Syntax::Toml, nodes: self.nodes };
        let node = flow.value(0)?;
        self.nodes = flow.nodes + 1;
        if self.nodes > NODE_LIMIT {
            return Err(unsupported("more than two million values"));
        }
        self.pos = flow.pos;
        let tail = self.rest_of_line();
        Ok(Member {
            key: join(&segments),
            lead: lead.into(),
            head: self.src[head_start..value].into(),
            node,
            tail: tail.into(),
            post: "".into(),
            first,
            raw: Some(&self.src[start..self.pos]),
        })
    }
}

/// Joins key segments to one key.
pub(crate) fn join(segments: &[String]) -> String {
    segments.iter().map(|segment| escape(segment)).collect::<Vec<_>>().join("/")
}

fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// Reads a key with its dots; returns its segments and where it ends.
pub(crate) fn dotted_key(src: &str, mut at: usize) -> Result<(Vec<String>, usize), Fault> {
    let mut segments = Vec::new();
    loop {
        let rest = &src[at..];
        at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let rest = &src[at..];
        match rest.as_bytes().first() {
            Some(b'"' | b'\'') => {
                let (canon, end) = scalar(src, at)?;
                segments.push(canon.strip_prefix("s:").unwrap_or(&canon).to_owned());
                at = end;
            }
            _ => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
                if end == 0 {
                    return Err(broken("key missing", src, at));
                }
                segments.push(rest[..end].to_owned());
                at += end;
            }
        }
        let rest = &src[at..];
        let trimmed = rest.trim_start_matches([' ', '\t']);
        match trimmed.strip_prefix('.') {
            Some(after) => at = src.len() - after.len(),
            None => return Ok((segments, at)),
        }
    }
}

/// Reads a scalar; returns its canonical form and where it ends.
pub(crate) fn scalar(src: &str, at: usize) -> Result<(String, usize), Fault> {
    let rest = &src[at..];
    for quote in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let escapes = quote.starts_with('"');
            let end = string_end(inner, quote, escapes).ok_or_else(|| broken("string without end", src, at))?;
            // Up to two quotes may stand right before the closing three.
            let more = inner[end + 3..].bytes().take(2).take_while(|b| *b == quote.as_bytes()[0]).count();
            let end = end + more;
            let text = &inner[..end];
            let text = text.strip_prefix('\n').unwrap_or(text);
            let canon = if escapes && text.contains('\\') { format!("m:{text}") } else { format!("s:{text}") };
            return Ok((canon, at + 3 + end + 3));
        }
    }
    for quote in ["\"", "'"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let end = string_end(inner, quote, quote == "\"").ok_or_else(|| broken("string without end", src, at))?;
            let raw = &inner[..end];
            let canon = if quote == "\"" && raw.contains('\\') {
                let decoded: Result<String, _> = serde_json::from_str(&format!("\"{raw}\""));
                decoded.map_or_else(|_| format!("e:{raw}"), |decoded| format!("s:{decoded}"))
            } else {
                format!("s:{raw}")
            };
            return Ok((canon, at + 1 + end + 1));
        }
    }
    let end = rest.find([',', ']', '}', '#', '\n', '\r']).unwrap_or(rest.len());
    let text = rest[..end].trim_end();
    if text.is_empty() {
        return Err(broken("value missing", src, at));
    }
    let plain = text.replace('_', "");
    let digits = plain.trim_start_matches(['+', '-']);
    let canon = if text == "true" || text == "false" {
        text.to_owned()
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        format!("i:{}", canonical_number(&plain))
    } else if digits.starts_with(|c: char| c.is_ascii_digit())
        && !digits.starts_with("0x")
        && plain.parse::<f64>().is_ok()
    {
        format!("f:{}", canonical_number(&plain))
    } else {
        format!("r:{plain}")
    };
    Ok((canon, at + text.len()))
}

fn string_end(inner: &str, quote: &str, escapes: bool) -> Option<usize> {
    let bytes = inner.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if inner.as_bytes()[at..].starts_with(quote.as_bytes()) {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}
