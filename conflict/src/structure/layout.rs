//! Layout: which side's formatting the result is written in, and how a member moves into it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::node::{Body, Doc, Member, Node, Piece, Style};
use crate::conflict::Side;

/// Returns the side that changed more of the layout; the result is written in its style. Hub on a tie.
pub(crate) fn canvas(base: Option<&Doc<'_>>, hub: &Doc<'_>, spoke: &Doc<'_>) -> Side {
    let Some(base) = base else { return Side::Hub };
    let (by_hub, by_spoke) = (changes(&base.root, &hub.root), changes(&base.root, &spoke.root));
    if by_spoke > by_hub { Side::Spoke } else { Side::Hub }
}

/// Counts the slots of members present on both sides that differ.
fn changes(base: &Node<'_>, side: &Node<'_>) -> usize {
    if base.raw.is_some() && base.raw == side.raw {
        return 0;
    }
    let mut count = usize::from(base.open != side.open) + usize::from(base.close != side.close);
    let mut pair = |a: &Member<'_>, b: &Member<'_>| {
        count += usize::from(a.head != b.head) + usize::from(a.tail != b.tail);
        count += usize::from(a.first == b.first && a.lead != b.lead) + changes(&a.node, &b.node);
    };
    match (&base.body, &side.body) {
        (Body::Map(old), Body::Map(new)) => {
            let old: HashMap<&str, &Member<'_>> = old.iter().map(|m| (m.key.as_str(), m)).collect();
            for member in new {
                if let Some(before) = old.get(member.key.as_str()) {
                    pair(before, member);
                }
            }
        }
        (Body::Seq(old), Body::Seq(new)) => {
            for (before, member) in old.iter().zip(new) {
                pair(before, member);
            }
        }
        (Body::Scalar { text: a, .. }, Body::Scalar { text: b, .. }) if base.digest == side.digest && a != b => {
            count += 1;
        }
        _ => {}
    }
    count
}

/// The blanks that a container puts before its members.
#[derive(Debug, Clone)]
pub(crate) struct Leads<'a> {
    pub first: Piece<'a>,
    /// Before all but the first, if the container shows it.
    pub rest: Option<Piece<'a>>,
    spaced: bool,
}

impl<'a> Leads<'a> {
    /// Reads the style of a flow container; `None` when it has no members to read it from.
    pub(crate) fn of(node: &Node<'a>) -> Option<Leads<'a>> {
        let members = node.members();
        let blank = |piece: &Piece<'a>| -> Piece<'a> { Cow::Owned(last_blanks(piece).to_owned()) };
        let first = blank(&members.first()?.lead);
        let rest = match members.get(1) {
            Some(member) => Some(blank(&member.lead)),
            None => first.contains('\n').then(|| first.clone()),
        };
        let head = &members.first()?.head;
        Some(Leads { first, rest, spaced: head.is_empty() || head.ends_with(' ') })
    }

    /// Returns the blanks before a new member that is not the first.
    pub(crate) fn next(&self) -> Piece<'a> {
        self.rest.clone().unwrap_or(Cow::Borrowed(if self.spaced { " " } else { "" }))
    }
}

/// Returns the blanks at the end of a lead, from its last line end on.
fn last_blanks(lead: &str) -> &str {
    match lead.rfind('\n') {
        Some(at) if lead[at..].trim().is_empty() => &lead[at..],
        _ => {
            if lead.trim().is_empty() {
                lead
            } else {
                " "
            }
        }
    }
}

fn column(lead: &str) -> usize {
    lead.rfind('\n').map_or(0, |at| lead.len() - at - 1)
}

/// Puts a member of a flow container behind new blanks and shifts its lines along.
pub(crate) fn move_in_flow<'a>(member: &mut Member<'a>, leads: &Leads<'a>, first: bool) {
    let lead = match (first, member.first) {
        (true, _) => leads.first.clone(),
        (false, true) => leads.next(),
        // A list of one says nothing about what stands between its members.
        (false, false) => leads.rest.clone().unwrap_or_else(|| member.lead.clone()),
    };
    if !member.lead.trim().is_empty() || member.lead == lead {
        return;
    }
    let (from, to) = (column(&member.lead), column(&lead));
    let crosses = member.lead.contains('\n') && lead.contains('\n');
    member.lead = lead;
    if crosses && from != to {
        shift(&mut member.node, from, to);
    }
}

/// Moves a member of a block to another column; `false` when its lines do not allow it.
pub(crate) fn move_in_block(member: &mut Member<'_>, from: usize, to: usize, from_compact_first: bool) -> bool {
    if from_compact_first {
        member.lead = Cow::Owned(" ".repeat(to));
    } else {
        // A lead begins at a line start.
        let shifted = shifted(&format!("\n{}", member.lead), from, to);
        member.lead = Cow::Owned(shifted[1..].to_owned());
    }
    if from != to {
        shift(&mut member.node, from, to);
    }
    member.lead.lines().last().is_none_or(|line| line.len() == to || line.trim().is_empty() && to == 0)
}

fn shift(node: &mut Node<'_>, from: usize, to: usize) {
    let block = node.style != Style::Flow;
    let at_line_start = block && node.style == Style::Block;
    node.raw = None;
    node.indent = (node.indent + to).saturating_sub(from);
    let piece = |piece: &mut Piece<'_>| {
        if piece.contains('\n') {
            *piece = Cow::Owned(shifted(piece, from, to));
        }
    };
    piece(&mut node.open);
    piece(&mut node.close);
    match &mut node.body {
        Body::Scalar { text, .. } => piece(text),
        Body::Map(members) | Body::Seq(members) => {
            for (index, member) in members.iter_mut().enumerate() {
                member.raw = None;
                if at_line_start || block && index > 0 {
                    let moved = shifted(&format!("\n{}", member.lead), from, to);
                    member.lead = Cow::Owned(moved[1..].to_owned());
                } else {
                    piece(&mut member.lead);
                }
                piece(&mut member.post);
                if !block {
                    piece(&mut member.tail);
                }
                shift(&mut member.node, from, to);
            }
        }
    }
}

/// Replaces `from` blanks after every line end by `to`.
fn shifted(text: &str, from: usize, to: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index == 0 {
            out.push_str(line);
            continue;
        }
        out.push('\n');
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        if line.trim().is_empty() && index + 1 < text.split('\n').count() {
            out.push_str(line);
        } else if blanks >= from {
            out.push_str(&" ".repeat(to));
            out.push_str(&line[from..]);
        } else {
            out.push_str(line);
        }
    }
    out
}
