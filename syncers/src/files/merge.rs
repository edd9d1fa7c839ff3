//! Contents that both sides changed, through the chain of resolvers.

use std::collections::BTreeMap;

use cathedral_model::conflict::conflict::{Conflict, Resolution};
use cathedral_model::conflict::fields::{FieldChoice, apply_fields, fields};
use cathedral_model::conflict::tree::{Body, MergeContent, Merged, Node};
use cathedral_model::conflict::{Chain, Kind};
use cathedral_model::ids::Digest;
use cathedral_model::plan::{Choice, FieldDispute};
use cathedral_model::ports::{Content, PortError};
use cathedral_model::typed::Typed;

use super::base::Base;
use super::handle::Root;
use super::hash;
use super::names;
use super::rules::Rules;

/// Larger files are not merged by content.
const LIMIT_BYTES: u64 = 16 << 20;

/// Merges by the chain that the owner configured.
pub struct Merger<'a> {
    pub chain: Chain,
    pub hub: Option<&'a Root>,
    pub spoke: Option<&'a Root>,
    pub base: Option<&'a Base>,
    pub rules: &'a Rules,
    pub content: &'a dyn Content,
    /// Places in dispute, by path.
    pub fields: BTreeMap<Vec<u8>, Vec<FieldDispute>>,
    /// The first failure to store a result.
    pub failed: Option<PortError>,
}

/// The bytes of the three sides.
struct Sides {
    path: String,
    base: Option<Vec<u8>>,
    hub: Vec<u8>,
    spoke: Vec<u8>,
    is_document: bool,
}

impl Sides {
    fn conflict(&self) -> Conflict<'_> {
        let conflict = Conflict::new(&self.path, self.base.as_deref(), &self.hub, &self.spoke);
        if self.is_document { conflict.with_kind(Kind::Document) } else { conflict }
    }
}

impl Merger<'_> {
    fn sides(&self, path: &[u8], base: Option<&Node>, hub: &Node, spoke: &Node) -> Option<Sides> {
        let base = base.and_then(|node| match &node.body {
            Body::File { b3, .. } => self.base_content(b3),
            _ => None,
        });
        Some(Sides {
            path: names::escape(path),
            base,
            hub: read(self.hub?, path, hub)?,
            spoke: read(self.spoke?, path, spoke)?,
            is_document: self.rules.is_document(path),
        })
    }

    /// Returns what both sides had, where it is kept.
    pub fn base_content(&self, b3: &[u8; 32]) -> Option<Vec<u8>> {
        self.base.and_then(|base| base.content(self.content, b3)).or_else(|| self.content.get(&Digest(*b3)).ok())
    }

    /// Stores bytes as a file's body.
    fn store(&mut self, bytes: &[u8]) -> Option<Body> {
        match self.content.put(bytes) {
            Ok(id) => Some(Body::File { b3: id.0, size: bytes.len() as u64 }),
            Err(e) => {
                self.failed.get_or_insert(e);
                None
            }
        }
    }

    /// Applies answers field by field. The error says why they do not fit.
    pub fn choose(
        &mut self,
        path: &[u8],
        [base, hub, spoke]: [Option<&Node>; 3],
        answers: &BTreeMap<String, String>,
    ) -> Result<Body, String> {
        let (Some(hub), Some(spoke)) = (hub, spoke) else { return Err("one side has no file".to_owned()) };
        let sides = self.sides(path, base, hub, spoke).ok_or("the files cannot be read now")?;
        let choices = answers
            .iter()
            .map(|(field, value)| {
                let choice = match Typed::read(value).map_err(|e| format!("{field}: {e}"))? {
                    Typed::Take(Choice::Hub) => FieldChoice::Hub,
                    Typed::Take(Choice::Spoke) => FieldChoice::Spoke,
                    Typed::Take(Choice::Base) => FieldChoice::Base,
                    Typed::Text(value) => FieldChoice::Value(value.to_owned()),
                    Typed::Take(Choice::Suggested) => return Err(format!("{field} has no suggested value")),
                    Typed::Null => {
                        return Err(format!("{field}: @null is for databases; in a file write the word of its format"));
                    }
                };
                Ok((field.clone(), choice))
            })
            .collect::<Result<_, String>>()?;
        let bytes = apply_fields(&sides.conflict(), &choices).map_err(|e| e.to_string())?;
        self.store(&bytes).ok_or_else(|| "the result cannot be stored".to_owned())
    }
}

impl MergeContent for Merger<'_> {
    fn merge(&mut self, path: &[u8], base: Option<&Node>, hub: &Node, spoke: &Node) -> Merged {
        let size = |node: &Node| match node.body {
            Body::File { size, .. } => size,
            _ => 0,
        };
        let largest = size(hub).max(size(spoke));
        if largest > LIMIT_BYTES {
            let because = format!("a side has {largest} bytes: larger files are not merged by content");
            return Merged::Open { suggested: None, because };
        }
        let Some(sides) = self.sides(path, base, hub, spoke) else { return Merged::Unreadable };
        let conflict = sides.conflict();
        let outcome = self.chain.resolve(&conflict);
        let open = |because: String, suggested| Merged::Open { suggested, because };
        match outcome.resolution {
            Resolution::Resolved(candidate) => match self.store(&candidate.value) {
                Some(body) => Merged::Resolved { body, because: format!("merged: {}", candidate.because) },
                None => Merged::Unreadable,
            },
            Resolution::Suggested(candidates) => {
                self.note_fields(path, &conflict);
                let first = candidates.into_iter().next();
                let because = first.as_ref().map_or("a person must decide".to_owned(), |c| c.because.clone());
                let suggested = first.and_then(|candidate| self.store(&candidate.value));
                open(because, suggested)
            }
            Resolution::Declined { because } => {
                self.note_fields(path, &conflict);
                open(because.to_string(), None)
            }
        }
    }
}

impl Merger<'_> {
    fn note_fields(&mut self, path: &[u8], conflict: &Conflict<'_>) {
        let open = fields(conflict)
            .into_iter()
            .map(|field| FieldDispute {
                field: field.pointer,
                base: field.base.unwrap_or_default(),
                hub: field.hub.unwrap_or_default(),
                spoke: field.spoke.unwrap_or_default(),
            })
            .collect::<Vec<_>>();
        if !open.is_empty() {
            self.fields.insert(path.to_vec(), open);
        }
    }
}

/// Reads a file that must be the one that was scanned.
fn read(root: &Root, path: &[u8], node: &Node) -> Option<Vec<u8>> {
    let Body::File { b3, .. } = &node.body else { return None };
    let (parent, name) = names::split(path);
    let (bytes, found, _) = hash::read(root.dir(parent).ok()?, name, LIMIT_BYTES).ok()?;
    (found == *b3).then_some(bytes)
}

/// Reads a file for the base, when it is worth keeping there.
pub fn read_for_base(root: &Root, rules: &Rules, path: &[u8], b3: &[u8; 32]) -> super::base::Kept {
    use super::base::{Kept, MERGEABLE_BYTES};
    let (parent, name) = names::split(path);
    let Ok(dir) = root.dir(parent) else { return Kept::NotNow };
    match hash::read(dir, name, MERGEABLE_BYTES) {
        Ok((bytes, found, _)) if found == *b3 => {
            let is_binary = Kind::detect(&names::escape(path), &bytes) == Kind::Binary;
            if is_binary && !rules.is_document(path) { Kept::NotMergeable } else { Kept::Bytes(bytes) }
        }
        _ => Kept::NotNow,
    }
}
