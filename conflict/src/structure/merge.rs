//! The merge of three trees: one table per key.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::identity::{self, Field};
use super::layout::{self, Leads};
use super::node::{Body, Doc, Member, Node, Piece, Style, comments};
use super::order::order;
use super::{Choose, FieldChoice, FieldConflict, parse};
use crate::conflict::{Pattern, Reason, Side};
use crate::kind::Syntax;

/// What a merge has to know and what it finds.
pub(crate) struct Merger<'c> {
    syntax: Syntax,
    choose: Choose<'c>,
    prefer: Side,
    pub canvas: Side,
    pub open: Vec<FieldConflict>,
    riskiest: Pattern,
    hub_changed: bool,
    spoke_changed: bool,
}

type Faulty<T> = Result<T, &'static str>;

/// One place of the three trees.
struct Place<'n, 'a> {
    base: Option<&'n Member<'a>>,
    hub: Option<&'n Member<'a>>,
    spoke: Option<&'n Member<'a>>,
}

impl<'c> Merger<'c> {
    pub(crate) fn new(syntax: Syntax, choose: Choose<'c>, prefer: Side) -> Self {
        Merger {
            syntax,
            choose,
            prefer,
            canvas: Side::Hub,
            open: Vec::new(),
            riskiest: Pattern::OneSided,
            hub_changed: false,
            spoke_changed: false,
        }
    }

    /// Returns the pattern of the whole merge.
    pub(crate) fn pattern(&self) -> Pattern {
        let shape = if self.hub_changed && self.spoke_changed { Pattern::DisjointKeys } else { Pattern::OneSided };
        self.riskiest.max(shape)
    }

    /// Refuses lists whose items are told apart by place only, if both sides changed them differently.
    pub(crate) fn check_positional(
        &self,
        base: Option<&Doc<'_>>,
        hub: &Doc<'_>,
        spoke: &Doc<'_>,
    ) -> Result<(), Reason> {
        let docs = [base, Some(hub), Some(spoke)].into_iter().flatten();
        let lists: HashSet<&String> = docs.flat_map(|doc| &doc.positional).collect();
        let mut lists: Vec<&String> = lists.into_iter().collect();
        lists.sort();
        for list in lists {
            let group = |doc: &Doc<'_>| -> Vec<(String, [u8; 16])> {
                let members = doc.root.members().iter().filter(|member| member.key.contains(list.as_str()));
                members.map(|member| (member.key.clone(), member.node.digest)).collect()
            };
            let (base, hub, spoke) = (base.map(group), group(hub), group(spoke));
            if hub != spoke && base.as_ref() != Some(&hub) && base.as_ref() != Some(&spoke) {
                return Err(Reason::Open(vec![format!("/{}", list.trim_matches(['[', ']']))]));
            }
        }
        Ok(())
    }

    fn change(&mut self, side: Side) {
        match side {
            Side::Hub => self.hub_changed = true,
            Side::Spoke => self.spoke_changed = true,
            Side::Base => self.riskiest = self.riskiest.max(Pattern::SameEdit),
        }
    }

    fn risk(&mut self, pattern: Pattern) {
        self.riskiest = self.riskiest.max(pattern);
    }

    /// Merges one value.
    pub(crate) fn node<'a>(
        &mut self,
        path: &str,
        base: Option<&Node<'a>>,
        hub: &Node<'a>,
        spoke: &Node<'a>,
    ) -> Faulty<Node<'a>> {
        let same = |a: &Node<'a>, b: &Node<'a>| a.raw.is_some() && a.raw == b.raw;
        if same(hub, spoke) {
            if base.is_none_or(|base| base.digest != hub.digest) {
                self.risk(Pattern::SameEdit);
            }
            return Ok(hub.clone());
        }
        if let Some(base) = base {
            if same(base, hub) {
                if base.digest != spoke.digest {
                    self.change(Side::Spoke);
                }
                return Ok(spoke.clone());
            }
            if same(base, spoke) {
                if base.digest != hub.digest {
                    self.change(Side::Hub);
                }
                return Ok(hub.clone());
            }
        }
        match (&hub.body, &spoke.body) {
            (Body::Map(ours), Body::Map(theirs)) => {
                let old = base.and_then(|base| match &base.body {
                    Body::Map(members) => Some(members.as_slice()),
                    _ => None,
                });
                if old.is_none() {
                    self.risk(Pattern::KeyAddedBoth);
                }
                let key = |member: &Member<'_>| member.key.clone();
                let nodes = (base.filter(|_| old.is_some()), hub, spoke);
                self.children(path, nodes, (old.unwrap_or_default(), ours, theirs), &key, None)
            }
            (Body::Seq(ours), Body::Seq(theirs)) => {
                let old = base.and_then(|base| match &base.body {
                    Body::Seq(members) => Some(members.as_slice()),
                    _ => None,
                });
                let sides = [old.unwrap_or_default(), ours, theirs];
                match identity::field(&sides) {
                    Some(field) if !sides.iter().all(|side| side.is_empty()) => {
                        let key = |member: &Member<'_>| identity::name(member, Some(field)).unwrap_or_default();
                        let nodes = (base.filter(|_| old.is_some()), hub, spoke);
                        self.children(path, nodes, (sides[0], ours, theirs), &key, Some(field))
                    }
                    _ => self.whole(path, base, hub, spoke),
                }
            }
            _ => self.whole(path, base, hub, spoke),
        }
    }

    /// Decides a value that is not looked into.
    fn whole<'a>(&mut self, path: &str, base: Option<&Node<'a>>, hub: &Node<'a>, spoke: &Node<'a>) -> Faulty<Node<'a>> {
        let before = base.map(|base| base.digest);
        if hub.digest == spoke.digest {
            if before != Some(hub.digest) {
                self.risk(Pattern::SameEdit);
            }
            return Ok(if self.canvas == Side::Spoke { spoke.clone() } else { hub.clone() });
        }
        if before == Some(hub.digest) {
            self.change(Side::Spoke);
            return Ok(spoke.clone());
        }
        if before == Some(spoke.digest) {
            self.change(Side::Hub);
            return Ok(hub.clone());
        }
        let is_version = path.rsplit('/').next() == Some("version");
        let higher = if is_version { higher_version(base, hub, spoke) } else { None };
        let pattern = if higher.is_some() {
            Pattern::VersionBoth
        } else if matches!(hub.body, Body::Seq(_)) && matches!(spoke.body, Body::Seq(_)) {
            Pattern::ListInsert
        } else if base.is_none() {
            Pattern::KeyAddedBoth
        } else {
            Pattern::ScalarBoth
        };
        let prefer = match (higher, self.prefer) {
            (Some(higher), Side::Hub) => higher,
            (Some(Side::Hub), _) => Side::Spoke,
            (Some(_), _) => Side::Hub,
            (None, prefer) => prefer,
        };
        let texts = [base, Some(hub), Some(spoke)].map(|node| node.map(|node| node.text().trim().to_owned()));
        let choice = self.ask(path, pattern, texts);
        Ok(match choice.unwrap_or(if prefer == Side::Spoke { FieldChoice::Spoke } else { FieldChoice::Hub }) {
            FieldChoice::Hub => hub.clone(),
            FieldChoice::Spoke => spoke.clone(),
            FieldChoice::Base => base.unwrap_or(hub).clone(),
            FieldChoice::Value(text) => self.free_value(text)?,
        })
    }

    /// Reads a person's value; it must be one value, not a way to write others beside it.
    fn free_value<'a>(&self, text: String) -> Faulty<Node<'a>> {
        let framed = match self.syntax {
            Syntax::Json | Syntax::Jsonc => text.clone(),
            Syntax::Toml => format!("x = {text}\n"),
            Syntax::Yaml => format!("x: {text}\n"),
            Syntax::GitConfig | Syntax::Ini => format!("[x]\nx = {text}\n"),
        };
        let fault = "a chosen value is not one value of the format";
        let doc = parse(self.syntax, &framed).map_err(|_| fault)?;
        let mut value = &doc.root;
        while value.style == Style::Block {
            match value.members() {
                [only] => value = &only.node,
                _ => return Err(fault),
            }
        }
        if value.text().trim() != text.trim() || text.contains(['\n', '\r']) {
            return Err(fault);
        }
        let mut node = Node::scalar(Cow::Owned(text.trim().to_owned()), String::new(), None);
        node.digest = value.digest;
        Ok(node)
    }

    /// Records an open place, unless a person has chosen.
    fn ask(&mut self, path: &str, pattern: Pattern, [base, hub, spoke]: [Option<String>; 3]) -> Option<FieldChoice> {
        let pointer = pointer(path, self.syntax);
        self.risk(pattern);
        let choice = (self.choose)(&pointer);
        if choice.is_none() {
            self.open.push(FieldConflict { pointer, pattern, base, hub, spoke });
        }
        choice
    }

    /// Merges the members of three containers of one kind.
    fn children<'a>(
        &mut self,
        path: &str,
        (base, hub, spoke): (Option<&Node<'a>>, &Node<'a>, &Node<'a>),
        (old, ours, theirs): (&[Member<'a>], &[Member<'a>], &[Member<'a>]),
        key: &dyn Fn(&Member<'_>) -> String,
        list: Option<Field>,
    ) -> Faulty<Node<'a>> {
        let keys = [old, ours, theirs].map(|members| members.iter().map(key).collect::<Vec<_>>());
        let index = |members: &[Member<'a>], keys: &[String]| -> HashMap<String, usize> {
            debug_assert_eq!(members.len(), keys.len());
            keys.iter().enumerate().map(|(at, key)| (key.clone(), at)).collect()
        };
        let (in_base, in_hub, in_spoke) = (index(old, &keys[0]), index(ours, &keys[1]), index(theirs, &keys[2]));
        let mut seen: HashSet<&str> = HashSet::new();
        let mut merged: HashMap<&str, (Member<'a>, Option<Side>)> = HashMap::new();
        let (mut hub_shape, mut spoke_shape) = (false, false);
        for name in keys.iter().flatten() {
            if !seen.insert(name) {
                continue;
            }
            let place = Place {
                base: in_base.get(name).map(|at| &old[*at]),
                hub: in_hub.get(name).map(|at| &ours[*at]),
                spoke: in_spoke.get(name).map(|at| &theirs[*at]),
            };
            hub_shape |= place.base.is_some() != place.hub.is_some();
            spoke_shape |= place.base.is_some() != place.spoke.is_some();
            let segment = if list.is_some() { escape(name) } else { self.segment(name) };
            if let Some(member) = self.member(&format!("{path}/{segment}"), place)? {
                merged.insert(name, member);
            }
        }
        let wanted: HashSet<&str> = merged.keys().copied().collect();
        let order = order(&keys[0], &keys[1], &keys[2], &wanted);
        if let Some(field) = list {
            if order.clash {
                return self.whole(path, base, hub, spoke);
            }
            let moved = order.hub_reordered || order.spoke_reordered;
            if (hub_shape || order.hub_reordered) && (spoke_shape || order.spoke_reordered) {
                self.risk(match field {
                    _ if moved => Pattern::ListReorder,
                    Field::Value => Pattern::SetUnion,
                    Field::Named(_) => Pattern::ListInsert,
                });
            }
        }
        if order.hub_reordered {
            self.hub_changed = true;
        }
        if order.spoke_reordered {
            self.spoke_changed = true;
        }
        let canvas = if self.canvas == Side::Spoke { spoke } else { hub };
        let other = if self.canvas == Side::Spoke { hub } else { spoke };
        let mut members: Vec<Member<'a>> = Vec::with_capacity(order.keys.len());
        let leads = Leads::of(canvas).or_else(|| Leads::of(other));
        let column = if canvas.members().is_empty() { other.indent } else { canvas.indent };
        for name in &order.keys {
            let Some((mut member, added_by)) = merged.remove(name.as_str()) else { continue };
            let first = members.is_empty();
            let from_other = added_by.is_some_and(|side| side != self.canvas);
            match canvas.style {
                Style::Flow => {
                    if let Some(leads) = &leads
                        && (member.first != first || from_other)
                    {
                        layout::move_in_flow(&mut member, leads, first);
                    }
                }
                Style::Block | Style::Compact => {
                    let source = if from_other { other } else { canvas };
                    let was_inline = member.first && source.style == Style::Compact;
                    let is_inline = first && canvas.style == Style::Compact;
                    let moved = from_other && source.indent != column && !source.members().is_empty();
                    if (moved || was_inline && !is_inline)
                        && !layout::move_in_block(&mut member, source.indent, column, was_inline)
                    {
                        return Err("the sides indent this place in ways that do not fit together");
                    }
                    if is_inline && !was_inline {
                        if !member.lead.trim().is_empty() {
                            return Err("a comment would have to stand before the first key of a list item");
                        }
                        member.lead = Cow::Borrowed("");
                    }
                }
            }
            member.first = first;
            members.push(member);
        }
        let open = self.slot(path, base.map(|n| &n.open), &hub.open, &spoke.open);
        let close = self.slot(path, base.map(|n| &n.close), &hub.close, &spoke.close);
        let mut node = Node::with_members(canvas, members);
        node.open = open;
        node.close = close;
        node.indent = column;
        node.trailing = match base {
            Some(base) if base.trailing == hub.trailing => spoke.trailing,
            _ => hub.trailing,
        };
        Ok(node)
    }

    /// Merges one member; says which side added it, if only one did.
    fn member<'a>(&mut self, path: &str, place: Place<'_, 'a>) -> Faulty<Option<(Member<'a>, Option<Side>)>> {
        let Place { base, hub, spoke } = place;
        match (base, hub, spoke) {
            (_, Some(ours), Some(theirs)) => {
                if base.is_none() {
                    self.risk(Pattern::SameEdit);
                }
                let node = self.node(path, base.map(|member| &member.node), &ours.node, &theirs.node)?;
                let canvas = if self.canvas == Side::Spoke { theirs } else { ours };
                // A first member's lead and a last one's tail depend on the neighbours, not on an edit.
                let member = Member {
                    key: canvas.key.clone(),
                    lead: self.slot(path, base.map(|m| &m.lead), &ours.lead, &theirs.lead),
                    head: three(base.map(|m| &m.head), &ours.head, &theirs.head).unwrap_or(&canvas.head).clone(),
                    node,
                    tail: self.slot(path, base.map(|m| &m.tail), &ours.tail, &theirs.tail),
                    post: self.slot(path, base.map(|m| &m.post), &ours.post, &theirs.post),
                    first: canvas.first,
                    raw: None,
                };
                Ok(Some((member, None)))
            }
            (None, Some(added), None) => {
                self.change(Side::Hub);
                Ok(Some((added.clone(), Some(Side::Hub))))
            }
            (None, None, Some(added)) => {
                self.change(Side::Spoke);
                Ok(Some((added.clone(), Some(Side::Spoke))))
            }
            (Some(before), Some(kept), None) => self.deleted(path, before, kept, Side::Hub),
            (Some(before), None, Some(kept)) => self.deleted(path, before, kept, Side::Spoke),
            (Some(_), None, None) => {
                self.risk(Pattern::SameEdit);
                Ok(None)
            }
            (None, None, None) => Ok(None),
        }
    }

    /// One side deleted a member that the side `keeper` still has.
    fn deleted<'a>(
        &mut self,
        path: &str,
        before: &Member<'a>,
        kept: &Member<'a>,
        keeper: Side,
    ) -> Faulty<Option<(Member<'a>, Option<Side>)>> {
        let deleter = if keeper == Side::Hub { Side::Spoke } else { Side::Hub };
        let untouched =
            before.node.digest == kept.node.digest && before.comments(self.syntax) == kept.comments(self.syntax);
        if untouched {
            self.change(deleter);
            return Ok(None);
        }
        let text = |member: &Member<'_>| Some(member.node.text().trim().to_owned());
        let (hub, spoke) = if keeper == Side::Hub { (text(kept), None) } else { (None, text(kept)) };
        let keep = (kept.clone(), Some(keeper));
        Ok(match self.ask(path, Pattern::DeleteEdit, [text(before), hub, spoke]) {
            // The edit is the safer proposal, whoever made it.
            None => Some(keep),
            Some(FieldChoice::Base) => {
                let member = Member { node: before.node.clone(), raw: None, ..kept.clone() };
                Some((member, Some(keeper)))
            }
            Some(FieldChoice::Hub) => (keeper == Side::Hub).then_some(keep),
            Some(FieldChoice::Spoke) => (keeper == Side::Spoke).then_some(keep),
            Some(FieldChoice::Value(text)) => {
                let member = Member { node: self.free_value(text)?, raw: None, ..kept.clone() };
                Some((member, Some(keeper)))
            }
        })
    }

    /// Merges blanks and comments: blanks never conflict, comments that both sides changed do.
    fn slot<'a>(&mut self, path: &str, base: Option<&Piece<'a>>, hub: &Piece<'a>, spoke: &Piece<'a>) -> Piece<'a> {
        if let Some(slot) = three(base, hub, spoke) {
            return slot.clone();
        }
        let canvas = if self.canvas == Side::Spoke { spoke } else { hub };
        let said = |slot: &Piece<'a>| {
            let mut said = Vec::new();
            comments(slot, self.syntax, &mut said);
            said
        };
        let (before, ours, theirs) = (base.map(said).unwrap_or_default(), said(hub), said(spoke));
        if ours == theirs {
            return canvas.clone();
        }
        // The comment of the side that changed it. Its blanks come along: they are legal where they stood.
        if ours == before {
            return spoke.clone();
        }
        if theirs == before {
            return hub.clone();
        }
        let texts = [before, ours, theirs].map(|said| Some(said.join("\n")));
        match self.ask(&format!("{path}#comment"), Pattern::ScalarBoth, texts) {
            Some(FieldChoice::Hub) => hub.clone(),
            Some(FieldChoice::Spoke) => spoke.clone(),
            Some(FieldChoice::Base) => base.unwrap_or(canvas).clone(),
            _ if self.prefer == Side::Spoke => spoke.clone(),
            _ => hub.clone(),
        }
    }

    fn segment(&self, key: &str) -> String {
        match self.syntax {
            Syntax::Toml => key.replace(['[', ']'], "").trim_matches('#').to_owned(),
            Syntax::GitConfig | Syntax::Ini => escape(key.trim_start_matches('[').trim_end_matches(']')),
            _ => escape(key),
        }
    }
}

fn pointer(path: &str, _: Syntax) -> String {
    path.to_owned()
}

fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn three<'p, T: PartialEq>(base: Option<&'p T>, hub: &'p T, spoke: &'p T) -> Option<&'p T> {
    if hub == spoke || base == Some(spoke) {
        Some(hub)
    } else if base == Some(hub) {
        Some(spoke)
    } else {
        None
    }
}

/// Returns the side with the higher version, if both raised it.
fn higher_version(base: Option<&Node<'_>>, hub: &Node<'_>, spoke: &Node<'_>) -> Option<Side> {
    let version = |node: &Node<'_>| -> Option<Vec<u64>> {
        let Body::Scalar { canon, .. } = &node.body else { return None };
        let text = canon.split_once(':').map_or(&**canon, |(_, text)| text);
        text.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect()
    };
    let (before, ours, theirs) = (version(base?)?, version(hub)?, version(spoke)?);
    (ours > before && theirs > before).then_some(if theirs > ours { Side::Spoke } else { Side::Hub })
}
