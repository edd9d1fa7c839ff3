//! Merges without a checkout. Git says what merges cleanly; files that do not go through the resolver
//! chain; the commit that comes of it has the same id whoever makes it.

use cathedral_conflict::{Chain, Conflict, Policy, Resolution, chain::STAGES};
use cathedral_model::ecosystem::{ConflictPolicy, Spoke};
use std::collections::BTreeMap;

use super::disputed::Disputed;
use super::failure::{GitError, printable};
use super::object::{Entry, Oid, is_oid};
use super::store::Store;

/// What a merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// A tree in which nothing is open; the files that resolvers decided.
    Done { tree: Oid, resolved: Vec<String> },
    /// Files that a person has to decide, and a tree with proposals for all of them if there are.
    Open { files: Vec<Disputed>, suggested: Option<Oid> },
    /// The two have no history in common.
    Unrelated,
}

/// Merges two commits.
pub fn merge(
    store: &Store,
    spoke: &Spoke,
    policy: ConflictPolicy,
    ours: &str,
    theirs: &str,
) -> Result<Merged, GitError> {
    let out = store
        .call("merge")
        .config("merge.renames=true")
        .config("merge.directoryRenames=conflict")
        .config("merge.conflictStyle=merge")
        .args(["merge-tree", "--write-tree", "-z", "--no-messages", "--end-of-options", ours, theirs])
        .run_any()?;
    if out.code != 0 && out.code != 1 {
        if out.stderr.contains("unrelated histories") {
            return Ok(Merged::Unrelated);
        }
        return Err(GitError::classify("merge", &out.stderr));
    }
    let mut fields = out.stdout.split(|b| *b == 0);
    let tree = fields.next().map(|b| String::from_utf8_lossy(b).trim().to_owned()).unwrap_or_default();
    if !is_oid(&tree) {
        return Err(GitError::Failed(format!(
            "merge: git answered {:?}",
            printable(&out.stdout[..out.stdout.len().min(200)])
        )));
    }
    if out.code == 0 {
        return Ok(Merged::Done { tree, resolved: Vec::new() });
    }
    let mut paths: BTreeMap<Vec<u8>, Disputed> = BTreeMap::new();
    for field in fields.take_while(|f| !f.is_empty()) {
        let Some(tab) = field.iter().position(|b| *b == b'\t') else { continue };
        let head = String::from_utf8_lossy(&field[..tab]).into_owned();
        let mut words = head.split(' ');
        let (Some(mode), Some(oid), Some(stage)) = (words.next(), words.next(), words.next()) else { continue };
        let path = field[tab + 1..].to_vec();
        let entry = Some(Entry { mode: mode.to_owned(), name: path.clone(), oid: oid.to_owned() });
        let shown = printable(&path);
        let stages = paths.entry(path).or_insert_with(|| Disputed { path: shown, ..Disputed::default() });
        match stage {
            "1" => stages.base = entry,
            "2" => stages.hub = entry,
            _ => stages.spoke = entry,
        }
    }
    resolve(store, spoke, policy, tree, &paths)
}

/// Asks the chain about every conflicted file.
fn resolve(
    store: &Store,
    spoke: &Spoke,
    policy: ConflictPolicy,
    mut tree: Oid,
    paths: &BTreeMap<Vec<u8>, Disputed>,
) -> Result<Merged, GitError> {
    let chain = chain_of(spoke, policy)?;
    let (mut resolved, mut open, mut all_proposed) = (Vec::new(), Vec::new(), !paths.is_empty());
    for (path, stages) in paths {
        let answer = match (std::str::from_utf8(path), &stages.hub, &stages.spoke) {
            (Ok(path), Some(hub), Some(theirs)) if is_file(hub) && is_file(theirs) => {
                Some((path, hub, theirs, ask(store, &chain, path, stages.base.as_ref(), hub, theirs)?))
            }
            _ => None,
        };
        let Some((path, hub, theirs, (value, decided))) = answer.and_then(|(p, h, t, a)| a.map(|a| (p, h, t, a)))
        else {
            open.push(stages.clone());
            all_proposed = false;
            continue;
        };
        let base_mode = stages.base.as_ref().map(|b| b.mode.as_str());
        let mode = if base_mode == Some(hub.mode.as_str()) { &theirs.mode } else { &hub.mode };
        let entry = Entry { mode: mode.clone(), name: Vec::new(), oid: store.write_blob(&value)? };
        tree = store.graft(Some(&tree), path, Some(&entry))?;
        if decided { resolved.push(stages.path.clone()) } else { open.push(stages.clone()) }
    }
    if open.is_empty() && !paths.is_empty() {
        return Ok(Merged::Done { tree, resolved });
    }
    Ok(Merged::Open { files: open, suggested: all_proposed.then_some(tree) })
}

/// Returns the chain's value for a file and whether it is decided or only proposed.
fn ask(
    store: &Store,
    chain: &Chain,
    path: &str,
    base: Option<&Entry>,
    hub: &Entry,
    theirs: &Entry,
) -> Result<Option<(Vec<u8>, bool)>, GitError> {
    let read = |e: &Entry| store.object(&e.oid).map(|(_, data)| data);
    let base = base.filter(|b| is_file(b)).map(read).transpose()?;
    let (hub, theirs) = (read(hub)?, read(theirs)?);
    let outcome = chain.resolve(&Conflict::new(path, base.as_deref(), &hub, &theirs));
    Ok(match outcome.resolution {
        Resolution::Resolved(candidate) => Some((candidate.value, true)),
        Resolution::Suggested(candidates) => candidates.into_iter().next().map(|c| (c.value, false)),
        Resolution::Declined { .. } => None,
    })
}

fn is_file(entry: &Entry) -> bool {
    matches!(entry.mode.as_str(), "100644" | "100755")
}

fn chain_of(spoke: &Spoke, policy: ConflictPolicy) -> Result<Chain, GitError> {
    let policy = match policy {
        ConflictPolicy::Queue => Policy::Queue,
        ConflictPolicy::Hub => Policy::Hub,
        ConflictPolicy::Spoke => Policy::Spoke,
        ConflictPolicy::Newest => Policy::Newest,
        ConflictPolicy::Union => Policy::Union,
    };
    let named: Vec<&str> = spoke.chain.iter().map(String::as_str).collect();
    let names = if named.is_empty() { &STAGES[..] } else { &named[..] };
    Chain::new(names, policy).map_err(|e| GitError::Invalid(format!("spoke {}: {e}", spoke.name)))
}

/// Writes the commit of a merge: parents in this order, dated by the newest of them.
pub fn commit(
    store: &Store,
    subject: &str,
    spoke: &str,
    parents: &[&str],
    tree: &str,
    why: &str,
) -> Result<Oid, GitError> {
    let mut date = 0;
    for parent in parents {
        date = date.max(store.commit(parent)?.date);
    }
    let body = if why.is_empty() { String::new() } else { format!("{why}\n\n") };
    store.write_commit(tree, parents, date, &format!("{subject}\n\n{body}Cathedral-Merge: {spoke}\n"))
}
