//! The file as a tree of values that know where they stand.
//!
//! Bounded on every axis before anything is interpreted: bytes, depth, and the size after aliases are
//! followed. Nodes live in one arena, so an alias is a number and a bomb costs nothing to hold.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::problem::Wrong;

/// The largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep lists and sections may stand in each other.
pub const MAX_DEPTH: usize = 64;
/// How many values the file may have once its aliases are followed.
pub const MAX_VALUES: u64 = 500_000;

/// Where something stands: line and column from 1 (in characters), and its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct At {
    pub line: u32,
    pub column: u32,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug)]
pub struct Node<'t> {
    pub at: At,
    pub value: Value<'t>,
}

#[derive(Debug)]
pub enum Value<'t> {
    Scalar { text: Cow<'t, str>, plain: bool },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(u32);

#[derive(Debug)]
pub struct Tree<'t> {
    nodes: Vec<Node<'t>>,
    root: Option<NodeId>,
}

impl<'t> Tree<'t> {
    pub fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id.0 as usize]
    }

    /// The value of the document; none in an empty file.
    pub fn root(&self) -> Option<&Node<'t>> {
        self.root.map(|id| self.node(id))
    }

    /// The value of `key` in a section.
    pub fn get(&self, node: &Node<'t>, key: &str) -> Option<&Node<'t>> {
        let Value::Map(entries) = &node.value else {
            return None;
        };
        entries.iter().find(|(name, _)| self.node(*name).text() == Some(key)).map(|(_, value)| self.node(*value))
    }

    /// The place of `key` itself in a section.
    pub fn key_at(&self, node: &Node<'t>, key: &str) -> Option<At> {
        let Value::Map(entries) = &node.value else {
            return None;
        };
        entries.iter().map(|(name, _)| self.node(*name)).find(|name| name.text() == Some(key)).map(|name| name.at)
    }

    /// The `index`-th value of a list.
    pub fn item(&self, node: &Node<'t>, index: usize) -> Option<&Node<'t>> {
        match &node.value {
            Value::List(items) => items.get(index).map(|id| self.node(*id)),
            _ => None,
        }
    }
}

impl Node<'_> {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether a key was written without a value.
    pub fn is_empty_value(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// A refusal of the whole text, with its place.
type Refusal = (At, Wrong);

struct Builder<'t> {
    nodes: Vec<Node<'t>>,
    /// Values below and including each node once aliases are followed.
    weights: Vec<u64>,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    root: Option<NodeId>,
}

struct Open {
    at: At,
    anchor: usize,
    items: Vec<NodeId>,
    is_map: bool,
    weight: u64,
}

/// Reads `text` (without a byte order mark) into a tree, or says at which place it is no YAML of ours.
pub fn read(text: &str) -> Result<Tree<'_>, Box<Refusal>> {
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes", text.len());
        return refuse(
            At { line: 1, column: 1, start: 0, end: 0 },
            Wrong::new("file_too_large", what)
                .why(format!("a configuration may have at most {MAX_BYTES} bytes"))
                .hint("split the ecosystem, or use patterns instead of long lists"),
        );
    }
    if let Some(offset) = text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let character = text[offset..].chars().next().unwrap_or_default();
        return refuse(
            place_of(text, offset),
            Wrong::new("control_character", format!("the file holds the control character U+{:04X}", character as u32))
                .why("it cannot be seen in an editor and has no use here")
                .hint("remove it"),
        );
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.disallow_directives = true;
    let mut builder =
        Builder { nodes: Vec::new(), weights: Vec::new(), open: Vec::new(), anchors: HashMap::new(), root: None };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| Box::new(syntax(text, &error)))?;
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                return refuse(
                    at(&span),
                    Wrong::new("second_document", "a second YAML document begins here")
                        .why("one file declares one ecosystem")
                        .hint("remove the line `---` and what follows it"),
                );
            }
        }
        builder.take(event, &span)?;
    }
    Ok(Tree { nodes: builder.nodes, root: builder.root })
}

fn refuse<T>(at: At, wrong: Wrong) -> Result<T, Box<Refusal>> {
    Err(Box::new((at, wrong)))
}

impl<'t> Builder<'t> {
    fn take(&mut self, event: Event<'t>, span: &Span) -> Result<(), Box<Refusal>> {
        let at = at(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                no_tag(at, tag.is_some())?;
                let plain = style == ScalarStyle::Plain;
                self.add(at, Value::Scalar { text, plain }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(at, tag.is_some())?;
                self.open(at, anchor, false)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(at, tag.is_some())?;
                self.open(at, anchor, true)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = self.open.pop() else {
                    return Ok(());
                };
                let value = if done.is_map {
                    Value::Map(done.items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
                } else {
                    Value::List(done.items)
                };
                self.add(done.at, value, done.anchor, done.weight)
            }
            Event::Alias(anchor) => {
                let Some(&id) = self.anchors.get(&anchor) else {
                    return refuse(
                        at,
                        Wrong::new("alias_in_itself", "this alias stands inside the value it names")
                            .why("the value would never end")
                            .hint("write the value out"),
                    );
                };
                self.attach(at, id)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: At, anchor: usize, is_map: bool) -> Result<(), Box<Refusal>> {
        if self.open.len() >= MAX_DEPTH {
            return refuse(
                at,
                Wrong::new("too_deep", format!("lists and sections stand more than {MAX_DEPTH} deep in each other"))
                    .why("no key of a configuration needs that, and it could exhaust a reader")
                    .hint("look for a bracket that is never closed"),
            );
        }
        self.open.push(Open { at, anchor, items: Vec::new(), is_map, weight: 1 });
        Ok(())
    }

    fn add(&mut self, at: At, value: Value<'t>, anchor: usize, weight: u64) -> Result<(), Box<Refusal>> {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { at, value });
        self.weights.push(weight);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.attach(at, id)
    }

    fn attach(&mut self, at: At, id: NodeId) -> Result<(), Box<Refusal>> {
        let weight = self.weights[id.0 as usize];
        match self.open.last_mut() {
            Some(parent) => {
                parent.items.push(id);
                parent.weight = parent.weight.saturating_add(weight);
                if parent.weight > MAX_VALUES {
                    return refuse(
                        at,
                        Wrong::new("too_many_values", format!("the file stands for more than {MAX_VALUES} values"))
                            .why("aliases (`*name`) repeat what they name, and this file repeats repetitions")
                            .hint("write the values out instead of using aliases"),
                    );
                }
            }
            None => self.root = Some(id),
        }
        Ok(())
    }
}

fn no_tag(at: At, is_tagged: bool) -> Result<(), Box<Refusal>> {
    if !is_tagged {
        return Ok(());
    }
    refuse(
        at,
        Wrong::new("tag", "this value has a YAML tag (`!name`)")
            .why("each key decides the type of its value; tags could say something else")
            .hint("remove the tag"),
    )
}

fn at(span: &Span) -> At {
    let start = span.start.byte_offset().unwrap_or_default();
    At {
        line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
        column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
        start,
        end: span.end.byte_offset().unwrap_or(start).max(start),
    }
}

fn place_of(text: &str, offset: usize) -> At {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    At {
        line: u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX),
        column: u32::try_from(before[line_start..].chars().count() + 1).unwrap_or(u32::MAX),
        start: offset,
        end: offset + 1,
    }
}

/// Puts the parser's finding into words for people who do not know YAML's grammar.
fn syntax(text: &str, error: &ScanError) -> Refusal {
    use serde_saphyr::granit_parser::ErrorKind as Kind;
    let marker = error.marker();
    let mut place = At {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
        start: marker.byte_offset().unwrap_or_default().min(text.len()),
        end: marker.byte_offset().unwrap_or_default().min(text.len()),
    };
    place.end = place.start;
    let wrong = match error.kind() {
        Kind::TabNotAllowed | Kind::TabInBlockIndentation | Kind::TabAtBlockScalarStart => {
            Wrong::new("tab", "a tab is used to indent")
                .why("YAML indents with spaces only")
                .hint("replace each tab by two spaces")
        }
        Kind::RecursionLimitExceeded => {
            Wrong::new("too_deep", format!("lists and sections stand more than {MAX_DEPTH} deep in each other"))
                .why("no key of a configuration needs that, and it could exhaust a reader")
                .hint("look for a bracket that is never closed")
        }
        Kind::UnknownAnchor => Wrong::new("unknown_alias", "this alias names nothing that was written above it")
            .why("`*name` repeats a value marked `&name` before it; a value that begins with `*` needs quotes")
            .hint("put the value in quotes"),
        Kind::DirectiveDisallowed => Wrong::new("directive", "a YAML directive (`%…`) begins here")
            .why("the file needs none")
            .hint("remove the line"),
        Kind::InvalidIndentation => Wrong::new("syntax", "this line is indented differently from its neighbours")
            .why("keys of one section begin in the same column")
            .hint("line it up with the key above"),
        kind => Wrong::new("syntax", "the file is no valid YAML from here on")
            .why(lower(&kind.to_string()))
            .hint("check the quotes, brackets and indentation of this line and the one above"),
    };
    (place, wrong)
}

fn lower(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
