//! The leaves of the ecosystem root: what is proven of an entry, a ref, a row, a part.
//!
//! Leaves say nothing of packs, chunks or destinations, so that storing the same content another way
//! never changes a root.

use cathedral_model::canonical;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use cathedral_model::ports::vault::{DatabaseSchema, GitRef};
use cathedral_model::snapshot::PartInfo;
use serde::Serialize;
use serde_json::json;

use crate::hash::Hashes;
use crate::merkle::{self, Merkle};
use crate::tree::{Name, mode};

/// A leaf's hash.
pub type Leaf = [u8; 32];

fn salted(hashes: &Hashes, path: &[u8], content: &Digest, value: &impl Serialize) -> Result<Leaf, PortError> {
    let text = canonical::to_string(value).map_err(|e| PortError::permanent(format!("leaf of the root: {e}")))?;
    Ok(merkle::leaf(&hashes.salt(path, &content.0), text.as_bytes()))
}

#[derive(Serialize)]
struct Entry<'a> {
    kind: &'a str,
    #[serde(flatten)]
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b3: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Digest>,
}

/// Returns the leaf of a file; `path` is the whole path below the part.
pub fn file(hashes: &Hashes, path: &[u8], bits: u32, size: u64, b3: &Digest) -> Result<Leaf, PortError> {
    let name = Name::new(last(path));
    let entry = Entry { kind: "file", name, mode: Some(mode(bits)), size: Some(size), b3: Some(*b3), root: None };
    salted(hashes, path, b3, &entry)
}

/// Returns the leaf of a directory.
pub fn dir(hashes: &Hashes, path: &[u8], bits: u32, root: &Digest) -> Result<Leaf, PortError> {
    let name = Name::new(last(path));
    let entry = Entry { kind: "dir", name, mode: Some(mode(bits)), size: None, b3: None, root: Some(*root) };
    salted(hashes, path, root, &entry)
}

/// Returns the leaf of a symbolic link: the BLAKE3 hash of its target stands for the content.
pub fn link(hashes: &Hashes, path: &[u8], target: &[u8]) -> Result<Leaf, PortError> {
    let b3 = Digest::of(target);
    let size = Some(target.len() as u64);
    let entry = Entry { kind: "link", name: Name::new(last(path)), mode: None, size, b3: Some(b3), root: None };
    salted(hashes, path, &b3, &entry)
}

/// Returns the leaf of a repository's HEAD.
pub fn head(hashes: &Hashes, target: Option<&str>) -> Result<Leaf, PortError> {
    let b3 = Digest::of(target.unwrap_or_default().as_bytes());
    salted(hashes, b"HEAD", &b3, &json!({ "kind": "head", "target": target }))
}

/// Returns the leaf of a ref.
pub fn git_ref(hashes: &Hashes, one: &GitRef) -> Result<Leaf, PortError> {
    let b3 = Digest::of(one.oid.as_bytes());
    let value = json!({ "kind": "ref", "name": one.name, "oid": one.oid, "peeled": one.peeled });
    salted(hashes, one.name.as_bytes(), &b3, &value)
}

/// Returns the leaf of a database's schema.
pub fn schema(hashes: &Hashes, schema: &DatabaseSchema, text: &[u8]) -> Result<Leaf, PortError> {
    let b3 = Digest::of(text);
    salted(hashes, b"schema", &b3, &json!({ "kind": "schema", "engine": schema.engine, "b3": b3 }))
}

/// Returns the leaf of a table.
pub fn table(
    hashes: &Hashes,
    name: &str,
    columns: &[String],
    key: &[String],
    rows: u64,
    root: &Digest,
) -> Result<Leaf, PortError> {
    let value = json!({
        "kind": "table", "name": name, "columns": columns, "key": key, "rows": rows.to_string(), "root": root,
    });
    salted(hashes, &[b"table/", name.as_bytes()].concat(), root, &value)
}

/// Returns the leaf of a row: the JSON array of its cells.
#[must_use]
pub fn row(hashes: &Hashes, table: &str, cells: &str) -> Leaf {
    let content = blake3::hash(cells.as_bytes());
    merkle::leaf(&hashes.salt(&[b"row/", table.as_bytes()].concat(), content.as_bytes()), cells.as_bytes())
}

/// Returns the ecosystem root over parts, which must be sorted by spoke and side.
pub fn ecosystem(hashes: &Hashes, parts: &[PartInfo]) -> Result<Digest, PortError> {
    let mut tree = Merkle::new();
    for part in parts {
        let (spoke, side) = (part.key.spoke.as_str(), part.key.side.as_str());
        let value = json!({ "kind": part.kind.as_str(), "name": spoke, "side": side, "root": part.root });
        tree.push(salted(hashes, format!("{spoke}/{side}").as_bytes(), &part.root, &value)?);
    }
    Ok(tree.root())
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
