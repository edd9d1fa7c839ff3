//! Leaves: an in-toto statement in canonical JSON, sealed under a salt into a 33-byte entry.

use cathedral_model::canonical;
use cathedral_model::ports::ledger::NewLeaf;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::LogError;
use crate::tree::{Hash, leaf_hash};

/// The longest statement.
pub const MAX_STATEMENT: usize = 64 * 1024;
/// First byte of a sealed entry.
pub const SEALED: u8 = 0x01;
/// Every kind of act that a log of this format can hold.
pub const KINDS: [&str; 10] =
    ["snapshot", "sync", "restore", "heal", "drill", "admin", "policy", "key", "anchor", "incident"];

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const RESERVED: [&str; 5] = ["ecosystem", "hub", "id", "prev", "time"];

/// 32 random bytes that keep a statement from being guessed from its entry.
pub type Salt = [u8; 32];

/// A leaf as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub entry: Vec<u8>,
    pub salt: Salt,
    pub statement: Vec<u8>,
}

impl Leaf {
    pub(crate) fn seal(salt: Salt, statement: Vec<u8>) -> Self {
        Self { entry: sealed_entry(&salt, &statement), salt, statement }
    }

    /// Returns the leaf's hash in the tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.entry)
    }
}

/// Returns the entry of a statement: 0x01 and SHA-256(salt || statement).
#[must_use]
pub fn sealed_entry(salt: &Salt, statement: &[u8]) -> Vec<u8> {
    let hash: Hash = Sha256::new().chain_update(salt).chain_update(statement).finalize().into();
    let mut entry = vec![SEALED];
    entry.extend_from_slice(&hash);
    entry
}

/// The log that a leaf belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub hub: String,
    pub ecosystem: String,
}

impl Origin {
    /// Splits `<hub-id>.cathedral/<ecosystem>`.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        text.split_once(".cathedral/")
            .filter(|(hub, ecosystem)| {
                !hub.is_empty() && !ecosystem.is_empty() && crate::key::is_key_name(text) && text.len() <= 200
            })
            .map(|(hub, ecosystem)| Self { hub: hub.to_owned(), ecosystem: ecosystem.to_owned() })
            .ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                LogError::Invalid(format!(
                    "log origin {shown:?} must be <hub-id>.cathedral/<ecosystem>, without spaces and '+'"
                ))
            })
    }
}

/// Where the leaf before this one of the same kind and subject is.
pub(crate) fn prev_value(prev: Option<(u64, Hash)>) -> Value {
    prev.map_or(Value::Null, |(index, hash)| json!({"index": index, "leaf": hex::encode(hash)}))
}

/// Builds the statement of a leaf.
pub(crate) fn build(leaf: &NewLeaf, origin: &Origin, prev: Value) -> Result<Vec<u8>, LogError> {
    statement(leaf, origin, json!(leaf.at.to_rfc3339()), prev)
}

fn statement(leaf: &NewLeaf, origin: &Origin, time: Value, prev: Value) -> Result<Vec<u8>, LogError> {
    check_text("leaf id", &leaf.id, 256)?;
    check_text("leaf subject", &leaf.subject, 1024)?;
    let mut predicate = match &leaf.predicate {
        Value::Null => Map::new(),
        Value::Object(fields) => fields.clone(),
        _ => return Err(LogError::Invalid(format!("predicate of leaf {} is not an object", leaf.id))),
    };
    if let Some(name) = RESERVED.iter().find(|name| predicate.contains_key(**name)) {
        return Err(LogError::Invalid(format!("predicate of leaf {} has the reserved field {name}", leaf.id)));
    }
    let digest = digests(leaf, &predicate)?;
    predicate.insert("hub".into(), json!(origin.hub));
    predicate.insert("ecosystem".into(), json!(origin.ecosystem));
    predicate.insert("id".into(), json!(leaf.id));
    predicate.insert("time".into(), time);
    predicate.insert("prev".into(), prev);
    let text = canonical_json(&json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": leaf.subject, "digest": digest}],
        "predicateType": format!("urn:cathedral:leaf:{}:v1", leaf.kind.as_str()),
        "predicate": predicate,
    }))?;
    if text.len() > MAX_STATEMENT {
        let (id, len) = (&leaf.id, text.len());
        return Err(LogError::Invalid(format!("statement of leaf {id} has {len} bytes, over {MAX_STATEMENT}")));
    }
    Ok(text.into_bytes())
}

fn canonical_json(value: &Value) -> Result<String, LogError> {
    canonical::to_string(value).map_err(|e| LogError::Invalid(format!("statement has no canonical form: {e}")))
}

fn check_text(what: &str, text: &str, limit: usize) -> Result<(), LogError> {
    if text.is_empty() || text.len() > limit {
        return Err(LogError::Invalid(format!("{what} must have 1 to {limit} bytes")));
    }
    Ok(())
}

/// The digests of the stored object; an act without one is its own object.
fn digests(leaf: &NewLeaf, predicate: &Map<String, Value>) -> Result<Map<String, Value>, LogError> {
    let mut digest = Map::new();
    for (name, value) in [("sha256", &leaf.sha256), ("blake3", &leaf.blake3)] {
        let Some(value) = value else { continue };
        if value.len() != 64 || !value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(LogError::Invalid(format!("{name} of leaf {} is not 64 lower-case hex digits", leaf.id)));
        }
        digest.insert(name.into(), json!(value));
    }
    if digest.is_empty() {
        let own: Hash = Sha256::digest(canonical_json(&Value::Object(predicate.clone()))?).into();
        digest.insert("sha256".into(), json!(hex::encode(own)));
    }
    Ok(digest)
}

/// A statement that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub kind: String,
    pub id: String,
    pub subject: String,
    /// The time the leaf claims; order comes from the tree.
    pub time: String,
    pub sha256: Option<String>,
    pub blake3: Option<String>,
    /// The leaf before this one of the same kind and subject.
    pub prev: Option<(u64, Hash)>,
    pub hub: String,
    pub ecosystem: String,
    /// The whole statement.
    pub value: Value,
}

impl Statement {
    /// Reads a statement; it must be canonical and complete.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_STATEMENT {
            return Err(format!("statement is over {MAX_STATEMENT} bytes"));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("statement is not JSON: {e}"))?;
        let canonical = canonical::to_string(&value).map_err(|e| format!("statement is not canonical: {e}"))?;
        if canonical.as_bytes() != bytes {
            return Err("statement is not in canonical form (RFC 8785)".into());
        }
        Self::read(value).ok_or_else(|| "statement lacks a required field".into())
    }

    fn read(value: Value) -> Option<Self> {
        let predicate = value.get("predicate")?;
        let [subject] = value.get("subject")?.as_array()?.as_slice() else { return None };
        let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = value.get("predicateType")?.as_str()?.strip_prefix("urn:cathedral:leaf:")?.strip_suffix(":v1")?;
        let prev = match predicate.get("prev")? {
            Value::Null => None,
            prev => {
                let leaf = hex::decode(prev.get("leaf")?.as_str()?).ok()?;
                Some((prev.get("index")?.as_u64()?, leaf.try_into().ok()?))
            }
        };
        let digest = subject.get("digest")?;
        let read = Self {
            kind: kind.to_owned(),
            id: text(predicate, "id")?,
            subject: text(subject, "name")?,
            time: text(predicate, "time")?,
            sha256: text(digest, "sha256"),
            blake3: text(digest, "blake3"),
            prev,
            hub: text(predicate, "hub")?,
            ecosystem: text(predicate, "ecosystem")?,
            value,
        };
        (read.value.get("_type").and_then(Value::as_str) == Some(STATEMENT_TYPE)).then_some(read)
    }

    /// Whether `leaf` would say the same again; only its time may differ, since a step can be tried later.
    pub(crate) fn repeats(&self, stored: &[u8], leaf: &NewLeaf, origin: &Origin) -> bool {
        let predicate = &self.value["predicate"];
        statement(leaf, origin, predicate["time"].clone(), predicate["prev"].clone()).is_ok_and(|s| s == stored)
    }
}
