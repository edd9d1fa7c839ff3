//! One concrete tree for all keyed formats: every byte of a text has its slot, so an unchanged tree renders to the
//! bytes that it was read from, and a merged tree is a mosaic of its sources.

use std::borrow::Cow;

use crate::kind::Syntax;

/// A piece of text, borrowed from a side or made for the result.
pub(crate) type Piece<'a> = Cow<'a, str>;

/// A digest of a value: equal digests mean equal values, whatever their bytes.
pub(crate) type Digest = [u8; 16];

/// How a container is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Between brackets, with commas.
    Flow,
    /// One member after the other, by lines.
    Block,
    /// As `Block`, but the first member stands on its parent's line (`- name: x`).
    Compact,
}

/// A value and its slots.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub open: Piece<'a>,
    pub close: Piece<'a>,
    pub body: Body<'a>,
    pub style: Style,
    /// Column of the members of a block.
    pub indent: usize,
    /// Whether the last member of a flow container has a comma.
    pub trailing: bool,
    pub digest: Digest,
    /// The whole text, for values as read.
    pub raw: Option<&'a str>,
}

/// What a value is made of.
#[derive(Debug, Clone)]
pub(crate) enum Body<'a> {
    Scalar { text: Piece<'a>, canon: Box<str> },
    Map(Vec<Member<'a>>),
    Seq(Vec<Member<'a>>),
}

/// A key or item with everything around it up to the next one.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// Identity within its map; empty in sequences, whose identities depend on all sides.
    pub key: String,
    /// Blanks and comments before it.
    pub lead: Piece<'a>,
    /// The key and what separates it from the value.
    pub head: Piece<'a>,
    pub node: Node<'a>,
    /// What follows the value: before the comma, or to the end of the line.
    pub tail: Piece<'a>,
    /// A comment after the comma on the same line.
    pub post: Piece<'a>,
    /// Whether it was its container's first.
    pub first: bool,
    pub raw: Option<&'a str>,
}

/// A parsed text.
#[derive(Debug, Clone)]
pub(crate) struct Doc<'a> {
    pub root: Node<'a>,
    /// Lists whose items have no identity but their place (TOML arrays of tables), by key prefix.
    pub positional: Vec<String>,
}

/// Why a text could not be read as a keyed tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not well formed.
    Broken(String),
    /// It is, or may be, well formed, but uses something that is not merged by key.
    Unsupported(String),
    /// A key occurs twice.
    Duplicate(String),
}

pub(crate) const DEPTH_LIMIT: usize = 64;
pub(crate) const NODE_LIMIT: usize = 2_000_000;

pub(crate) fn broken(what: &str, src: &str, pos: usize) -> Fault {
    let upto = src.as_bytes().get(..pos.min(src.len())).unwrap_or_default();
    let line = upto.iter().filter(|byte| **byte == b'\n').count() + 1;
    Fault::Broken(format!("{what} in line {line}"))
}

pub(crate) fn unsupported(what: &str) -> Fault {
    Fault::Unsupported(what.to_owned())
}

pub(crate) fn scalar_digest(canon: &str) -> Digest {
    digest(&[b"scalar", canon.as_bytes()])
}

pub(crate) fn map_digest<'k>(members: impl Iterator<Item = (&'k str, Digest)>) -> Digest {
    let mut members: Vec<(&str, Digest)> = members.collect();
    members.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"map");
    for (key, digest) in members {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes()).update(&digest);
    }
    shorten(&hasher)
}

pub(crate) fn seq_digest(items: impl Iterator<Item = Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"seq");
    for item in items {
        hasher.update(&item);
    }
    shorten(&hasher)
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    shorten(&hasher)
}

fn shorten(hasher: &blake3::Hasher) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

impl<'a> Node<'a> {
    pub(crate) fn scalar(text: impl Into<Piece<'a>>, canon: String, raw: Option<&'a str>) -> Self {
        Node {
            open: Cow::Borrowed(""),
            close: Cow::Borrowed(""),
            digest: scalar_digest(&canon),
            body: Body::Scalar { text: text.into(), canon: canon.into_boxed_str() },
            style: Style::Flow,
            indent: 0,
            trailing: false,
            raw,
        }
    }

    /// Makes a container that looks like `like` and has other members.
    pub(crate) fn with_members(like: &Node<'a>, members: Vec<Member<'a>>) -> Self {
        let is_map = matches!(like.body, Body::Map(_));
        let body = if is_map { Body::Map(members) } else { Body::Seq(members) };
        let mut node = Node {
            open: like.open.clone(),
            close: like.close.clone(),
            body,
            style: like.style,
            indent: like.indent,
            trailing: like.trailing,
            digest: Digest::default(),
            raw: None,
        };
        node.digest = node.compute_digest();
        node
    }

    pub(crate) fn compute_digest(&self) -> Digest {
        match &self.body {
            Body::Scalar { canon, .. } => scalar_digest(canon),
            Body::Map(members) => map_digest(members.iter().map(|m| (m.key.as_str(), m.node.digest))),
            Body::Seq(members) => seq_digest(members.iter().map(|m| m.node.digest)),
        }
    }

    pub(crate) fn members(&self) -> &[Member<'a>] {
        match &self.body {
            Body::Map(members) | Body::Seq(members) => members,
            Body::Scalar { .. } => &[],
        }
    }

    /// Returns the text of this value, for a person.
    pub(crate) fn text(&self) -> String {
        let mut out = Out::default();
        self.render(&mut out, true);
        out.text
    }

    pub(crate) fn render(&self, out: &mut Out, inline: bool) {
        out.text.push_str(&self.open);
        match &self.body {
            Body::Scalar { text, .. } => out.text.push_str(text),
            Body::Map(members) | Body::Seq(members) if self.style == Style::Flow => {
                for (index, member) in members.iter().enumerate() {
                    out.text.push_str(&member.lead);
                    out.text.push_str(&member.head);
                    member.node.render(out, true);
                    out.text.push_str(&member.tail);
                    if index + 1 < members.len() || self.trailing {
                        out.text.push(',');
                    }
                    out.text.push_str(&member.post);
                }
            }
            Body::Map(members) | Body::Seq(members) => {
                for (index, member) in members.iter().enumerate() {
                    let on_parents_line = index == 0 && (inline || self.style == Style::Compact);
                    if !on_parents_line && !out.text.is_empty() && !out.text.ends_with('\n') {
                        out.text.push('\n');
                    }
                    out.text.push_str(&member.lead);
                    out.text.push_str(&member.head);
                    member.node.render(out, false);
                    out.text.push_str(&member.tail);
                }
                if !self.close.is_empty() && !out.text.is_empty() && !out.text.ends_with('\n') {
                    out.text.push('\n');
                }
            }
        }
        out.text.push_str(&self.close);
    }

    /// Visits every scalar and empty container with its path.
    pub(crate) fn leaves(&self, path: &str, visit: &mut dyn FnMut(String)) {
        match &self.body {
            Body::Scalar { canon, .. } => visit(format!("{path} = {canon}")),
            Body::Map(members) if members.is_empty() => visit(format!("{path} = {{}}")),
            Body::Seq(members) if members.is_empty() => visit(format!("{path} = []")),
            Body::Map(members) => {
                for member in members {
                    // A section and an inline table are two forms of one place.
                    let key = match member.key.strip_prefix('[') {
                        Some(key) if self.style == Style::Block => key.trim_end_matches(']'),
                        _ => &member.key,
                    };
                    member.node.leaves(&format!("{path}/{key}"), visit);
                }
            }
            Body::Seq(members) => {
                let field = super::identity::field(&[members]);
                for member in members {
                    let name = super::identity::name(member, field).unwrap_or_default();
                    member.node.leaves(&format!("{path}/[{name}]"), visit);
                }
            }
        }
    }

    /// Visits the slots that may hold comments.
    pub(crate) fn slots(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.open);
        for member in self.members() {
            member.slots(visit);
        }
        visit(&self.close);
    }
}

impl Member<'_> {
    pub(crate) fn slots(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.lead);
        self.node.slots(visit);
        visit(&self.tail);
        visit(&self.post);
    }

    pub(crate) fn comments(&self, syntax: Syntax) -> Vec<String> {
        let mut all = Vec::new();
        self.slots(&mut |slot| comments(slot, syntax, &mut all));
        all
    }
}

/// The text being rendered.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub text: String,
}

/// Collects the comments of a slot, without the blanks around them.
pub(crate) fn comments(slot: &str, syntax: Syntax, into: &mut Vec<String>) {
    match syntax {
        Syntax::Json | Syntax::Jsonc => {
            let mut rest = slot;
            while let Some(at) = rest.find('/') {
                rest = &rest[at..];
                let end = if rest.starts_with("/*") {
                    rest.find("*/").map_or(rest.len(), |end| end + 2)
                } else {
                    rest.find('\n').unwrap_or(rest.len())
                };
                into.push(rest[..end].trim().to_owned());
                rest = &rest[end..];
            }
        }
        Syntax::Toml | Syntax::Yaml => {
            into.extend(slot.lines().filter_map(|line| line.find('#').map(|at| line[at..].trim().to_owned())));
        }
        Syntax::GitConfig | Syntax::Ini => {
            let start = |line: &str| line.find(['#', ';']);
            into.extend(slot.lines().filter_map(|line| start(line).map(|at| line[at..].trim().to_owned())));
        }
    }
}
