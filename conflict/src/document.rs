//! Shared state documents: records that several nodes and people edit through Cathedral, kept in automerge.
//!
//! A record is also a file: importing turns the difference to the document into operations, exporting writes changed
//! fields as spans into the text that is there. Law: `export(import(f)) == f`, byte for byte.
//!
//! Maps merge by key, declared counters add up, declared sets unite. What automerge decides by its own winner is
//! listed as a conflict with all values, and so is what it would drop: an edit inside something the other side
//! deleted.

mod bridge;
mod merge;

use automerge::{ActorId, AutoCommit, ROOT};
use serde_json::Value;

use crate::kind::Syntax;
use crate::structure::rewrite::{rewrite, value_digest};
use crate::structure::{self, node::Fault};
use crate::text::form::Text;

pub use merge::{MergedDocument, merge_texts};

/// Documents above this are not loaded.
pub const LIMIT_BYTES: usize = 16 << 20;

/// Which fields of a document are more than values. Pointers are JSON pointers; a segment `*` stands for any key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// Integers whose changes add up.
    pub counters: Vec<String>,
    /// Lists whose order has no meaning.
    pub sets: Vec<String>,
}

/// Why a text is no document, or bytes are none.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text is not JSON.
    #[error("the document does not parse: {0}")]
    Unparsable(String),
    /// The text's value is not an object.
    #[error("a document is an object of fields")]
    NoObject,
    /// A number cannot be kept exactly.
    #[error("a number of the document cannot be kept exactly")]
    Number,
    /// A limit was exceeded.
    #[error("the document has {0} bytes, more than the limit")]
    TooLarge(usize),
    /// Automerge refused.
    #[error("automerge: {0}")]
    Automerge(#[from] automerge::AutomergeError),
}

/// A field with several values that were written without knowing of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentConflict {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// All values; the first is the provisional winner. A deletion is `None`.
    pub values: Vec<Option<Value>>,
}

/// A shared state document.
#[derive(Debug, Clone)]
pub struct Document {
    doc: AutoCommit,
    schema: Schema,
}

impl Document {
    /// Makes a document from its file form. The same text and actor make the same document, bit for bit.
    pub fn import(text: &[u8], schema: &Schema, actor: &[u8]) -> Result<Document, DocumentError> {
        let mut document = Document::empty(schema, actor);
        document.update(text)?;
        Ok(document)
    }

    /// Makes a document without fields.
    pub fn empty(schema: &Schema, actor: &[u8]) -> Document {
        let doc = AutoCommit::new().with_actor(ActorId::from(actor));
        Document { doc, schema: schema.clone() }
    }

    /// Reads a document as [`Document::save`] wrote it.
    pub fn load(saved: &[u8], schema: &Schema) -> Result<Document, DocumentError> {
        if saved.len() > LIMIT_BYTES {
            return Err(DocumentError::TooLarge(saved.len()));
        }
        Ok(Document { doc: AutoCommit::load(saved)?, schema: schema.clone() })
    }

    /// Returns the document with its whole history.
    pub fn save(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    /// Returns the hashes of the newest changes: what a peer has seen.
    pub fn heads(&mut self) -> Vec<[u8; 32]> {
        self.doc.get_heads().into_iter().map(|hash| hash.0).collect()
    }

    /// Returns a copy that `actor` edits.
    pub fn fork(&mut self, actor: &[u8]) -> Document {
        let mut doc = self.doc.fork();
        doc.set_actor(ActorId::from(actor));
        Document { doc, schema: self.schema.clone() }
    }

    /// Turns the difference between the document and its file form into operations.
    pub fn update(&mut self, text: &[u8]) -> Result<(), DocumentError> {
        let value = read(text)?;
        let Value::Object(fields) = &value else { return Err(DocumentError::NoObject) };
        bridge::write_map(&mut self.doc, &self.schema, &ROOT, "", fields)?;
        self.doc.commit();
        Ok(())
    }

    /// Takes in all changes of `other`. Merging again changes nothing.
    pub fn merge(&mut self, other: &mut Document) -> Result<(), DocumentError> {
        self.doc.merge(&mut other.doc)?;
        Ok(())
    }

    /// Returns the document's value, with the provisional winner where there is a conflict.
    pub fn value(&self) -> Result<Value, DocumentError> {
        Ok(bridge::read_object(&self.doc, &ROOT)?)
    }

    /// Returns the fields with more than one value.
    pub fn conflicts(&self) -> Result<Vec<DocumentConflict>, DocumentError> {
        let mut found = Vec::new();
        bridge::conflicts(&self.doc, &ROOT, "", &mut found)?;
        Ok(found)
    }

    /// Writes the document's value into its file form: changed fields as spans, all else as it stands.
    pub fn export(&self, text: &[u8]) -> Result<Vec<u8>, DocumentError> {
        let before = read(text)?;
        let mut value = self.value()?;
        bridge::arrange(&mut value, &before, &self.schema, "");
        write(text, &value)
    }
}

/// Reads a file form; every value must survive the way through the document.
fn read(text: &[u8]) -> Result<Value, DocumentError> {
    if text.len() > LIMIT_BYTES {
        return Err(DocumentError::TooLarge(text.len()));
    }
    let unreadable = |what: &str| DocumentError::Unparsable(what.to_owned());
    let text = Text::decode(text).ok_or_else(|| unreadable("it is not text"))?;
    let doc = structure::parse(Syntax::Json, &text.body).map_err(|fault| match fault {
        Fault::Broken(what) | Fault::Unsupported(what) => unreadable(&what),
        Fault::Duplicate(key) => unreadable(&format!("the key {key} is there twice")),
    })?;
    let value: Value = serde_json::from_str(&text.body).map_err(|_| unreadable("it is not JSON"))?;
    if value_digest(&value) == doc.root.digest { Ok(value) } else { Err(DocumentError::Number) }
}

fn write(text: &[u8], value: &Value) -> Result<Vec<u8>, DocumentError> {
    let unwritable = || DocumentError::Unparsable("the document cannot be written into its file".to_owned());
    let old = Text::decode(text).ok_or_else(unwritable)?;
    let new = rewrite(&old.body, Syntax::Json, value).ok_or_else(unwritable)?;
    if new == old.body {
        return Ok(text.to_vec());
    }
    let mut form = old.form;
    form.eol = crate::text::Eol::Lf; // The body kept its carriage returns.
    Ok(form.encode(&new))
}

impl Schema {
    pub(crate) fn is_counter(&self, pointer: &str) -> bool {
        self.counters.iter().any(|pattern| matches(pattern, pointer))
    }

    pub(crate) fn is_set(&self, pointer: &str) -> bool {
        self.sets.iter().any(|pattern| matches(pattern, pointer))
    }
}

fn matches(pattern: &str, pointer: &str) -> bool {
    let (mut pattern, mut pointer) = (pattern.split('/'), pointer.split('/'));
    loop {
        match (pattern.next(), pointer.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "*" => {}
            _ => return false,
        }
    }
}

pub(crate) fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}
