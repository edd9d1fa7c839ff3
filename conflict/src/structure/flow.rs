//! Values between brackets: JSON and JSONC documents, and the arrays and inline tables of TOML.

use std::borrow::Cow;

use super::node::{Body, DEPTH_LIMIT, Digest, Fault, Member, NODE_LIMIT, Node, Style, broken, unsupported};
use super::toml;
use crate::kind::Syntax;

/// Reads values and keeps every byte in a slot.
pub(crate) struct Flow<'a> {
    pub src: &'a str,
    pub pos: usize,
    pub syntax: Syntax,
    pub nodes: usize,
}

/// Reads a JSON or JSONC document.
pub(crate) fn parse(src: &str, syntax: Syntax) -> Result<Node<'_>, Fault> {
    let mut flow = Flow { src, pos: 0, syntax, nodes: 0 };
    let open = flow.trivia()?;
    let value = flow.value(0)?;
    let close_start = flow.pos;
    flow.trivia()?;
    if flow.pos < src.len() {
        return Err(broken("text after the value", src, flow.pos));
    }
    // What stands around the value belongs to its brackets.
    let mut root = value;
    root.open = Cow::Owned(format!("{open}{}", root.open));
    root.close = Cow::Owned(format!("{}{}", root.close, &src[close_start..]));
    root.raw = Some(src);
    Ok(root)
}

impl<'a> Flow<'a> {
    fn peek(&self) -> Option<u8> {
        self.src.as_bytes().get(self.pos).copied()
    }

    fn slice(&self, from: usize) -> &'a str {
        &self.src[from..self.pos]
    }

    /// Skips blanks and comments.
    fn trivia(&mut self) -> Result<&'a str, Fault> {
        let start = self.pos;
        loop {
            let rest = &self.src[self.pos..];
            match (self.peek(), self.syntax) {
                (Some(b' ' | b'\t' | b'\n' | b'\r'), _) => self.pos += 1,
                (Some(b'#'), Syntax::Toml) => self.pos += rest.find('\n').unwrap_or(rest.len()),
                (Some(b'/'), Syntax::Jsonc) if rest.starts_with("//") => {
                    self.pos += rest.find('\n').unwrap_or(rest.len());
                }
                (Some(b'/'), Syntax::Jsonc) if rest.starts_with("/*") => {
                    let end = rest[2..].find("*/").ok_or_else(|| broken("comment without end", self.src, self.pos))?;
                    self.pos += end + 4;
                }
                _ => return Ok(self.slice(start)),
            }
        }
    }

    /// Skips blanks where a comment has no slot.
    fn blanks(&mut self) -> Result<(), Fault> {
        let skipped = self.trivia()?;
        if skipped.contains(['/', '#']) { Err(unsupported("a comment between a key and its value")) } else { Ok(()) }
    }

    /// Splits off a comment that ends the current line.
    fn line_comment(&self, from: usize, upto: usize) -> usize {
        let slot = &self.src[from..upto];
        let line = &slot[..slot.find('\n').unwrap_or(slot.len())];
        let trimmed = line.trim_start();
        let is_comment = trimmed.starts_with("//") || trimmed.starts_with('#') || trimmed.starts_with("/*");
        let is_whole = !trimmed.starts_with("/*") || trimmed.trim_end().ends_with("*/");
        if is_comment && is_whole && (line.len() < slot.len() || upto == self.src.len()) { line.len() } else { 0 }
    }

    pub(crate) fn value(&mut self, depth: usize) -> Result<Node<'a>, Fault> {
        self.nodes += 1;
        if depth > DEPTH_LIMIT {
            return Err(unsupported("more than 64 levels"));
        }
        if self.nodes > NODE_LIMIT {
            return Err(unsupported("more than two million values"));
        }
        match self.peek() {
            Some(b'{') => self.container(depth, true),
            Some(b'[') => self.container(depth, false),
            Some(_) => self.scalar(),
            None => Err(broken("value missing", self.src, self.pos)),
        }
    }

    fn container(&mut self, depth: usize, is_map: bool) -> Result<Node<'a>, Fault> {
        let start = self.pos;
        let end_byte = if is_map { b'}' } else { b']' };
        self.pos += 1;
        let inner = self.pos;
        self.trivia()?;
        let in_open = self.line_comment(inner, self.pos);
        self.pos = inner + in_open;
        let open = self.slice(start);
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut trailing = false;
        let close = loop {
            let lead_start = self.pos;
            let lead = self.trivia()?;
            if self.peek() == Some(end_byte) {
                if trailing && self.syntax == Syntax::Json {
                    return Err(broken("comma before a closing bracket", self.src, self.pos));
                }
                self.pos += 1;
                break self.slice(lead_start);
            }
            if !members.is_empty() && !trailing {
                return Err(broken("comma missing", self.src, self.pos));
            }
            let head_start = self.pos;
            let key = if is_map { self.key()? } else { String::new() };
            let head = self.slice(head_start);
            let node = self.value(depth + 1)?;
            let value_end = self.pos;
            self.trivia()?;
            let (tail, post);
            if self.peek() == Some(b',') {
                tail = self.slice(value_end);
                self.pos += 1;
                let after = self.pos;
                self.trivia()?;
                self.pos = after + self.line_comment(after, self.pos);
                post = self.slice(after);
                trailing = true;
            } else {
                self.pos = value_end + self.line_comment(value_end, self.pos);
                tail = "";
                post = self.slice(value_end);
                trailing = false;
            }
            members.push(Member {
                key,
                lead: lead.into(),
                head: head.into(),
                node,
                tail: tail.into(),
                post: post.into(),
                first: members.is_empty(),
                raw: Some(self.slice(lead_start)),
            });
        };
        let body = if is_map { Body::Map(members) } else { Body::Seq(members) };
        let mut node = Node {
            open: open.into(),
            close: close.into(),
            body,
            style: Style::Flow,
            indent: 0,
            trailing,
            digest: Digest::default(),
            raw: Some(self.slice(start)),
        };
        check_duplicates(&node)?;
        node.digest = node.compute_digest();
        Ok(node)
    }

    fn key(&mut self) -> Result<String, Fault> {
        if self.syntax == Syntax::Toml {
            let (segments, end) = toml::dotted_key(self.src, self.pos)?;
            self.pos = end;
            self.blanks()?;
            self.expect(b'=')?;
            self.blanks()?;
            return Ok(toml::join(&segments));
        }
        if self.peek() != Some(b'"') {
            return Err(broken("key is no string", self.src, self.pos));
        }
        let start = self.pos;
        self.json_string()?;
        let key = decode_json(self.slice(start), self.src, start)?;
        self.blanks()?;
        self.expect(b':')?;
        self.blanks()?;
        Ok(key)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.pos += 1;
            Ok(())
        } else {
            Err(broken(&format!("{:?} missing", byte as char), self.src, self.pos))
        }
    }

    fn json_string(&mut self) -> Result<(), Fault> {
        let start = self.pos;
        self.pos += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(());
                }
                Some(b'\\') => self.pos += 2,
                Some(byte) if byte >= 0x20 => self.pos += 1,
                _ => return Err(broken("string without end", self.src, start)),
            }
        }
    }

    fn scalar(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.pos;
        let canon = if self.syntax == Syntax::Toml {
            let (canon, end) = toml::scalar(self.src, self.pos)?;
            self.pos = end;
            canon
        } else if self.peek() == Some(b'"') {
            self.json_string()?;
            format!("s:{}", decode_json(self.slice(start), self.src, start)?)
        } else {
            while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
                self.pos += 1;
            }
            match self.slice(start) {
                word @ ("true" | "false" | "null") => word.to_owned(),
                number if is_json_number(number) => format!("n:{}", canonical_number(number)),
                _ => return Err(broken("value expected", self.src, start)),
            }
        };
        let text = self.slice(start);
        Ok(Node::scalar(text, canon, Some(text)))
    }
}

pub(crate) fn check_duplicates(node: &Node<'_>) -> Result<(), Fault> {
    if let Body::Map(members) = &node.body {
        let mut keys: Vec<&str> = members.iter().map(|member| member.key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Fault::Duplicate(pair[0].to_owned()));
        }
    }
    Ok(())
}

fn decode_json(raw: &str, src: &str, at: usize) -> Result<String, Fault> {
    serde_json::from_str(raw).map_err(|_| broken("bad escape in a string", src, at))
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Writes a decimal number so that equal values have equal texts, however large.
pub(crate) fn canonical_number(text: &str) -> String {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()),
        None => (text, Some(0)),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return format!("{sign}0");
    }
    let dropped = all.trim_start_matches('0').len() - significant.len();
    match exponent.and_then(|e| e.checked_add(dropped as i64)?.checked_sub(fraction.len() as i64)) {
        Some(exponent) => format!("{sign}{significant}e{exponent}"),
        None => text.to_owned(),
    }
}
