//! Writes a JSON value into an existing text: changed fields as spans, everything else as it stands.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::flow::canonical_number;
use super::layout::Leads;
use super::node::{Body, Digest, Member, Node, Out, Style, map_digest, scalar_digest, seq_digest};
use super::parse;
use crate::kind::Syntax;

/// Returns `text` with its value replaced by `target`; `None` when the text is no JSON.
pub(crate) fn rewrite(text: &str, syntax: Syntax, target: &Value) -> Option<String> {
    let doc = parse(syntax, text).ok()?;
    let mut out = Out::default();
    let unit = indent_unit(&doc.root);
    node(&doc.root, target, 0, unit).render(&mut out, true);
    let again = parse(syntax, &out.text).ok()?;
    (again.root.digest == value_digest(target)).then_some(out.text)
}

/// Returns the digest that a text with this value has.
pub(crate) fn value_digest(value: &Value) -> Digest {
    match value {
        Value::Null => scalar_digest("null"),
        Value::Bool(true) => scalar_digest("true"),
        Value::Bool(false) => scalar_digest("false"),
        Value::Number(number) => scalar_digest(&format!("n:{}", canonical_number(&number.to_string()))),
        Value::String(text) => scalar_digest(&format!("s:{text}")),
        Value::Array(items) => seq_digest(items.iter().map(value_digest)),
        Value::Object(fields) => map_digest(fields.iter().map(|(key, value)| (key.as_str(), value_digest(value)))),
    }
}

fn node<'a>(old: &Node<'a>, target: &Value, depth: usize, unit: usize) -> Node<'a> {
    if old.digest == value_digest(target) {
        return old.clone();
    }
    let members = match (&old.body, target) {
        (Body::Map(members), Value::Object(fields)) => {
            let known: HashSet<&str> = members.iter().map(|member| member.key.as_str()).collect();
            let mut kept: Vec<Member<'a>> = Vec::new();
            for member in members {
                if let Some(value) = fields.get(&member.key) {
                    kept.push(Member { node: node(&member.node, value, depth + 1, unit), ..member.clone() });
                }
            }
            for (key, value) in fields {
                if !known.contains(key.as_str()) {
                    let head = format!("{}: ", Value::String(key.clone()));
                    kept.push(added(old, key, head, value, depth, unit));
                }
            }
            kept
        }
        (Body::Seq(members), Value::Array(items)) => {
            let digests: Vec<Digest> = items.iter().map(value_digest).collect();
            let prefix = members.iter().zip(&digests).take_while(|(m, d)| m.node.digest == **d).count();
            let left = members.len().min(digests.len()) - prefix;
            let suffix = members.iter().rev().zip(digests.iter().rev()).take(left);
            let suffix = suffix.take_while(|(m, d)| m.node.digest == **d).count();
            let mut kept: Vec<Member<'a>> = members[..prefix].to_vec();
            let middle = &members[prefix..members.len() - suffix];
            for (index, value) in items[prefix..items.len() - suffix].iter().enumerate() {
                kept.push(match middle.get(index) {
                    Some(member) => Member { node: node(&member.node, value, depth + 1, unit), ..member.clone() },
                    None => added(old, "", String::new(), value, depth, unit),
                });
            }
            kept.extend_from_slice(&members[members.len() - suffix..]);
            kept
        }
        _ => return fresh(target, depth, unit, false),
    };
    if old.members().is_empty() || members.is_empty() {
        return fresh(target, depth, unit, false);
    }
    let mut members = members;
    if let Some(leads) = Leads::of(old) {
        for (index, member) in members.iter_mut().enumerate() {
            if member.first != (index == 0) && member.lead.trim().is_empty() {
                member.lead = if index == 0 { leads.first.clone() } else { leads.next() };
            }
        }
    }
    Node::with_members(old, members)
}

fn added<'a>(old: &Node<'a>, key: &str, head: String, value: &Value, depth: usize, unit: usize) -> Member<'a> {
    let leads = Leads::of(old);
    let lead = leads.map_or(Cow::Borrowed(""), |leads| leads.next());
    let on_one_line = !lead.contains('\n');
    Member {
        key: key.to_owned(),
        lead,
        head: Cow::Owned(head),
        node: fresh(value, depth + 1, unit, on_one_line),
        tail: Cow::Borrowed(""),
        post: Cow::Borrowed(""),
        first: false,
        raw: None,
    }
}

/// Writes a new value; over several lines unless its surroundings are on one.
fn fresh<'a>(value: &Value, depth: usize, unit: usize, on_one_line: bool) -> Node<'a> {
    let text = match value {
        Value::Object(_) | Value::Array(_) if !on_one_line && unit > 0 => pretty(value, depth, unit),
        _ => value.to_string(),
    };
    let mut node = Node::scalar(Cow::Owned(text), String::new(), None);
    node.digest = value_digest(value);
    node
}

fn pretty(value: &Value, depth: usize, unit: usize) -> String {
    let pad = |depth: usize| " ".repeat(depth * unit);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let inner = fields.iter().map(|(key, value)| {
                format!("{}{}: {}", pad(depth + 1), Value::String(key.clone()), pretty(value, depth + 1, unit))
            });
            format!("{{\n{}\n{}}}", inner.collect::<Vec<_>>().join(",\n"), pad(depth))
        }
        Value::Array(items) if !items.is_empty() => {
            let inner = items.iter().map(|item| format!("{}{}", pad(depth + 1), pretty(item, depth + 1, unit)));
            format!("[\n{}\n{}]", inner.collect::<Vec<_>>().join(",\n"), pad(depth))
        }
        other => other.to_string(),
    }
}

/// Returns the indent of the first member on a line of its own; none for a text on one line.
fn indent_unit(root: &Node<'_>) -> usize {
    debug_assert_eq!(root.style, Style::Flow);
    root.members().first().and_then(|member| member.lead.rfind('\n').map(|at| member.lead.len() - at - 1)).unwrap_or(0)
}
