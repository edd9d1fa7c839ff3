//! `/integrity`: can it be proven.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cathedral_model::access::Action;
use cathedral_model::ids::LeafIndex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::part::{self, Html};
use super::{Frame, html};
use crate::auth::Who;
use crate::hub::{Leaf, Subject};
use crate::problem::Problem;
use crate::routes::{Access, Routes};
use crate::state::Shared;

const ROWS: u32 = 50;
/// Leaves that a pasted hash is looked for in.
const SEARCHED: u32 = 1_000;

pub(crate) fn routes(routes: Routes) -> Routes {
    let read = Access::Needs(Action::Read);
    routes.get("/integrity", read, show).get("/integrity/leaf/{leaf}", read, leaf)
}

#[derive(Template)]
#[template(path = "pages/integrity.html")]
struct Page {
    frame: Frame,
    can_sync: bool,
    problem: String,
    origin: String,
    size: String,
    root: String,
    note: String,
    signatures: Vec<Html>,
    leaves: Vec<LeafRow>,
    next: String,
    hash: String,
    answer: String,
    answer_class: &'static str,
    answer_link: String,
}

struct LeafRow {
    index: i64,
    kind: String,
    subject: Html,
    at: Html,
    hash: String,
}

fn text(leaf: &Leaf, pointers: &[&str]) -> String {
    pointers.iter().find_map(|p| leaf.statement.pointer(p)?.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What kind of act: the word in the type of its predicate.
fn kind(leaf: &Leaf) -> String {
    let kind = text(leaf, &["/predicateType"]);
    let act = text(leaf, &["/predicate/act"]);
    if act.is_empty() { kind.split(':').nth(3).unwrap_or(&kind).to_owned() } else { act.replace('.', " ") }
}

fn subject(leaf: &Leaf) -> String {
    text(leaf, &["/subject/0/name", "/predicate/subject", "/predicate/id"])
}

fn time(leaf: &Leaf) -> Option<cathedral_model::time::Timestamp> {
    let at = text(leaf, &["/predicate/at", "/predicate/time", "/predicate/created_at", "/at"]);
    cathedral_model::time::Timestamp::parse_rfc3339(&at).ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    before: Option<i64>,
    hash: String,
}

async fn show(State(state): State<Shared>, Who(who): Who, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = state.view().await?;
    let now = state.now();
    let (head, mut problem) = match state.ledger().head().await {
        Ok(head) => (Some(head), String::new()),
        Err(error) => (None, error.to_string()),
    };
    let leaves = match state.hub.leaves(wanted.before.map(LeafIndex), ROWS).await {
        Ok(leaves) => leaves,
        Err(error) => {
            problem = error.to_string();
            vec![]
        }
    };
    let hash: String = wanted.hash.trim().to_ascii_lowercase().chars().take(128).collect();
    let (answer, answer_class, answer_link) =
        if hash.is_empty() { Default::default() } else { look(&state, &hash).await };
    let page = Page {
        frame: Frame::of(&state, Some(&who), "integrity")
            .with(&view)
            .at(&[], "Integrity")
            .live("run,snapshot", false)
            .api("/api/v1/log/head"),
        can_sync: who.may(Action::Sync),
        problem,
        origin: head.as_ref().map(|h| h.origin.clone()).unwrap_or_default(),
        size: head.as_ref().map(|h| part::number(h.size)).unwrap_or_default(),
        root: head.as_ref().map(|h| h.root.clone()).unwrap_or_default(),
        note: head.as_ref().map(|h| h.note.clone()).unwrap_or_default(),
        signatures: head.iter().flat_map(|h| &h.signatures).map(|s| part::cut(s)).collect(),
        next: leaves
            .last()
            .filter(|l| l.index.0 > 0)
            .map_or(String::new(), |l| format!("/integrity?before={}", l.index)),
        leaves: leaves
            .iter()
            .map(|l| LeafRow {
                index: l.index.0,
                kind: kind(l),
                subject: part::cut(&subject(l)),
                at: time(l).map_or_else(part::none, |at| part::clock(now, at)),
                hash: l.hash.chars().take(16).collect(),
            })
            .collect(),
        hash,
        answer,
        answer_class,
        answer_link,
    };
    Ok(html(&page))
}

/// Looks a pasted hash up among snapshots and the newest leaves.
async fn look(state: &Shared, hash: &str) -> (String, &'static str, String) {
    if hash.len() < 8 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return ("That is no hash: hex digits are wanted, eight at least.".into(), "warn", String::new());
    }
    if let Ok(list) = state.snapshots().await {
        for info in list.iter().rev() {
            let roots = [info.root.to_string(), info.manifest_sha256.clone(), info.manifest_blake3.clone()];
            let parts = info.parts.iter().map(|p| p.root.to_string());
            if roots.into_iter().chain(parts).any(|known| known.starts_with(hash)) {
                return (
                    format!("It belongs to snapshot {}.", info.meta.id),
                    "ok",
                    format!("/snapshots/{}", info.meta.id),
                );
            }
        }
    }
    let leaves = state.hub.leaves(None, SEARCHED).await.unwrap_or_default();
    if let Some(leaf) = leaves.iter().find(|l| l.hash.starts_with(hash)) {
        return (format!("It is leaf {} of the log.", leaf.index), "ok", format!("/integrity/leaf/{}", leaf.index));
    }
    (format!("It is neither of a snapshot nor one of the newest {SEARCHED} leaves."), "bad", String::new())
}

#[derive(Template)]
#[template(path = "pages/leaf.html")]
struct LeafPage {
    frame: Frame,
    index: i64,
    kind: String,
    subject: Html,
    hash: String,
    statement: String,
    steps: Vec<Step>,
    verdict: String,
    verdict_class: &'static str,
    size: String,
}

struct Step {
    words: &'static str,
    other: String,
    result: String,
}

async fn leaf(State(state): State<Shared>, Who(who): Who, Path(index): Path<i64>) -> Result<Response, Problem> {
    let none = || Problem::not_found(format!("the log has no leaf {index}"));
    if index < 0 {
        return Err(none());
    }
    let view = state.view().await?;
    let found = state.hub.leaves(Some(LeafIndex(index.saturating_add(1))), 1).await?;
    let leaf = found.into_iter().find(|l| l.index.0 == index).ok_or_else(none)?;
    let (steps, verdict, verdict_class, size) = match state.hub.proof_pack(&Subject::Leaf(leaf.index)).await {
        Ok(pack) => path(&pack.bytes, &leaf.hash),
        Err(error) => (vec![], format!("The proof cannot be made: {error}."), "bad", String::new()),
    };
    let page = LeafPage {
        frame: Frame::of(&state, Some(&who), "integrity")
            .with(&view)
            .at(&[("Integrity", "/integrity")], &format!("Leaf {index}")),
        index,
        kind: kind(&leaf),
        subject: part::name(&subject(&leaf)),
        statement: serde_json::to_string_pretty(&leaf.statement).unwrap_or_default(),
        hash: leaf.hash,
        steps,
        verdict,
        verdict_class,
        size,
    };
    Ok(html(&page))
}

/// The content of one member of a tar file.
fn member<'a>(tar: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(head) = tar.get(at..at + 512) {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or_default().trim_matches(['\0', ' ']);
        let (name, size) = (text(&head[..100]), usize::from_str_radix(text(&head[124..136]), 8).ok()?);
        if name.is_empty() {
            return None;
        }
        if name == wanted {
            return tar.get(at + 512..at + 512 + size);
        }
        at = at.checked_add(512 + size.div_ceil(512) * 512)?;
    }
    None
}

/// Index, path, size of the tree and its root.
type Proof = (u64, Vec<[u8; 32]>, u64, [u8; 32]);

fn parse(text: &str) -> Option<Proof> {
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.lines().skip(1);
    let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
    let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
    let hashes = lines.map(hash).collect::<Option<Vec<[u8; 32]>>>()?;
    let mut note = note.lines().skip(1);
    let size = note.next()?.parse().ok()?;
    let root = hash(note.next()?)?;
    Some((index, hashes, size, root))
}

fn join(left: &[u8], right: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// Computes the path from a leaf to the signed root (RFC 9162, 2.1.3.2), each step as it is shown.
fn path(pack: &[u8], leaf: &str) -> (Vec<Step>, String, &'static str, String) {
    let read = member(pack, "leaf.tlog-proof").and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(parse);
    let mut start = [0; 32];
    let (Some((index, hashes, size, root)), Ok(())) = (read, hex::decode_to_slice(leaf, &mut start)) else {
        return (
            vec![],
            "The proof cannot be read here; the pack can be checked offline.".into(),
            "warn",
            String::new(),
        );
    };
    let (mut at, mut last, mut hash) = (index, size.saturating_sub(1), start);
    let mut steps = vec![];
    for other in &hashes {
        let words;
        if at & 1 == 1 || at == last {
            hash = join(other, &hash);
            words = "joined on the left";
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = join(&hash, other);
            words = "joined on the right";
        }
        (at, last) = (at >> 1, last >> 1);
        steps.push(Step { words, other: hex::encode(other), result: hex::encode(hash) });
    }
    if index < size && last == 0 && hash == root {
        let words = format!("Computed here: the path ends at the signed root of {size} leaves.");
        (steps, words, "ok", part::number(size))
    } else {
        (
            steps,
            "The path does not end at the signed root: the log or the proof has been changed.".into(),
            "bad",
            part::number(size),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn leaf_hash(n: u8) -> [u8; 32] {
        Sha256::digest([0, n]).into()
    }

    fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
        if let [one] = leaves {
            return *one;
        }
        let half = leaves.len().next_power_of_two() / 2;
        join(&root(&leaves[..half]), &root(&leaves[half..]))
    }

    fn proof(leaves: &[[u8; 32]], at: usize) -> Vec<[u8; 32]> {
        if leaves.len() < 2 {
            return vec![];
        }
        let half = leaves.len().next_power_of_two() / 2;
        let (mut out, other) = if at < half {
            (proof(&leaves[..half], at), root(&leaves[half..]))
        } else {
            (proof(&leaves[half..], at - half), root(&leaves[..half]))
        };
        out.push(other);
        out
    }

    fn pack(text: &str) -> Vec<u8> {
        let mut head = [0_u8; 512];
        head[..15].copy_from_slice(b"leaf.tlog-proof");
        head[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        let mut out = head.to_vec();
        out.extend(text.as_bytes());
        out.resize(out.len().div_ceil(512) * 512, 0);
        out
    }

    #[test]
    fn a_path_is_good_only_when_it_ends_at_the_signed_root() {
        for size in 1..20_u8 {
            let leaves: Vec<[u8; 32]> = (0..size).map(leaf_hash).collect();
            for at in 0..size {
                let hashes: Vec<String> = proof(&leaves, at.into()).iter().map(|h| STANDARD.encode(h) + "\n").collect();
                let signed = STANDARD.encode(root(&leaves));
                let text = format!(
                    "c2sp.org/tlog-proof@v1\nindex {at}\n{}\norigin\n{size}\n{signed}\n\n- sig\n",
                    hashes.concat()
                );
                let (_, words, class, _) = path(&pack(&text), &hex::encode(leaf_hash(at)));
                assert_eq!(class, "ok", "{at} of {size}: {words}");
                let (_, _, class, _) = path(&pack(&text), &hex::encode(leaf_hash(99)));
                assert_eq!(class, "bad", "another leaf at {at} of {size}");
            }
        }
        assert_eq!(path(b"no tar", &"0".repeat(64)).2, "warn");
    }
}
