//! `.gitmodules`, git configuration and INI: sections of `key = value` lines.

use std::collections::BTreeMap;

use super::flow::check_duplicates;
use super::node::{Body, Digest, Doc, Fault, Member, NODE_LIMIT, Node, Style, broken, unsupported};
use super::toml::file_head;
use crate::kind::Syntax;

struct Section<'a> {
    key: String,
    lead: &'a str,
    head: &'a str,
    open: &'a str,
    start: usize,
    members: Vec<Member<'a>>,
}

/// Reads a configuration. Keys that occur more than once in a section are a set of values.
pub(crate) fn parse(src: &str, syntax: Syntax) -> Result<Doc<'_>, Fault> {
    let mut root: Vec<Member<'_>> = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut lead_start = 0;
    let mut at = 0;
    for (index, line) in src.split_inclusive('\n').enumerate() {
        if index > NODE_LIMIT {
            return Err(unsupported("more than two million lines"));
        }
        let start = at;
        at += line.len();
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let lead = &src[lead_start..start + indent];
        if content.starts_with('[') {
            let close = section_end(content).ok_or_else(|| broken("section header without end", src, start))?;
            let head_start = start + indent;
            sections.push(Section {
                key: section_key(&content[1..close], syntax),
                lead,
                head: &src[head_start..head_start + close + 1],
                open: &src[head_start + close + 1..at],
                start: lead_start,
                members: Vec::new(),
            });
            let rest = content[close + 1..].trim();
            if !rest.is_empty() && !rest.starts_with(['#', ';']) {
                return Err(unsupported("a key on the line of its section"));
            }
        } else {
            if content.ends_with('\\') {
                return Err(unsupported("a value over several lines"));
            }
            if syntax == Syntax::Ini && indent > 0 && continues(sections.last(), &root) {
                return Err(unsupported("an indented line that may continue a value"));
            }
            let list = sections.last_mut().map_or(&mut root, |section| &mut section.members);
            let first = list.is_empty();
            list.push(pair(src, lead_start, start + indent, at, first, syntax));
        }
        lead_start = at;
    }
    let head = if let Some(member) = root.first_mut() {
        let raw = member.raw.unwrap_or_default();
        let upto = file_head(&raw[..member.lead.len()]);
        member.lead = raw[upto..member.lead.len()].into();
        member.raw = Some(&raw[upto..]);
        &raw[..upto]
    } else if let Some(section) = sections.first_mut() {
        let (head, rest) = section.lead.split_at(file_head(section.lead));
        section.lead = rest;
        section.start += head.len();
        head
    } else {
        ""
    };
    number_repeats(&mut root)?;
    let ends: Vec<usize> = sections.iter().skip(1).map(|section| section.start).chain([lead_start]).collect();
    for (mut section, end) in sections.into_iter().zip(ends) {
        number_repeats(&mut section.members)?;
        let mut node = block(section.members, section.open);
        node.digest = node.compute_digest();
        node.raw = Some(&src[section.start + section.lead.len() + section.head.len()..end]);
        root.push(Member {
            key: section.key,
            lead: section.lead.into(),
            head: section.head.into(),
            node,
            tail: "".into(),
            post: "".into(),
            first: root.is_empty(),
            raw: Some(&src[section.start..end]),
        });
    }
    let mut node = block(root, head);
    check_duplicates(&node)?;
    node.close = src[lead_start..].into();
    node.digest = node.compute_digest();
    node.raw = Some(src);
    Ok(Doc { root: node, positional: Vec::new() })
}

/// In INI files an indented line after a key that is not indented goes on with that key's value.
fn continues(section: Option<&Section<'_>>, root: &[Member<'_>]) -> bool {
    let members = section.map_or(root, |section| section.members.as_slice());
    members.last().is_some_and(|member| !member.lead.ends_with([' ', '\t']))
}

fn pair<'a>(src: &'a str, lead: usize, start: usize, end: usize, first: bool, syntax: Syntax) -> Member<'a> {
    let line = &src[start..end];
    let content = line.trim_end();
    let separator = match syntax {
        Syntax::GitConfig => content.find('='),
        _ => content.find(['=', ':']),
    };
    let (name, value_at) = match separator {
        Some(at) => {
            let value = &content[at + 1..];
            (content[..at].trim_end(), at + 1 + value.len() - value.trim_start().len())
        }
        None => (content, content.len()),
    };
    let text = &content[value_at..];
    let canon = if separator.is_some() { format!("s:{text}") } else { "alone".to_owned() };
    Member {
        key: name.to_ascii_lowercase(),
        lead: src[lead..start].into(),
        head: content[..value_at].into(),
        node: Node::scalar(text, canon, Some(text)),
        tail: line[content.len()..].into(),
        post: "".into(),
        first,
        raw: Some(&src[lead..end]),
    }
}

/// Gives the values of a repeated key names of their own.
fn number_repeats(members: &mut [Member<'_>]) -> Result<(), Fault> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for member in members.iter() {
        *counts.entry(member.key.clone()).or_default() += 1;
    }
    for member in members.iter_mut().filter(|member| counts.get(&member.key).is_some_and(|count| *count > 1)) {
        let Body::Scalar { text, .. } = &member.node.body else { continue };
        member.key = format!("{}={text}", member.key);
    }
    let mut keys: Vec<&str> = members.iter().map(|member| member.key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::Duplicate(pair[0].to_owned())),
        None => Ok(()),
    }
}

/// Returns where the header's closing bracket is; a subsection in quotes may hold brackets.
fn section_end(content: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Git compares section names without case, subsections with it.
fn section_key(inner: &str, syntax: Syntax) -> String {
    if syntax != Syntax::GitConfig {
        return format!("[{}]", inner.trim());
    }
    match inner.split_once('"') {
        Some((name, rest)) => {
            let name = name.trim().to_ascii_lowercase();
            format!("[{name} {}]", rest.trim_end().trim_end_matches('"'))
        }
        None => format!("[{}]", inner.trim().to_ascii_lowercase()),
    }
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
