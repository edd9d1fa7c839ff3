//! Copies a git part into a snapshot: refs and one pack, thin against what the vault already holds.
//!
//! In a live part `refs/…` are the refs of the repository the hub answers for (the hub's store of a
//! mirror, and what the spoke has besides that takes no part in the sync; else the spoke's own refs), `refs/cathedral/remote/NAME/…` what spoke and mirrors hold of a
//! mirrored repository, `refs/cathedral/pin` the commit that the hub pins, `refs/cathedral/paths/…` what
//! the hub holds at shared paths, and `refs/cathedral/conflicts/…` and `kept/…` pinned values.

use cathedral_model::ecosystem::{GitIntegration, SpokeKind};
use cathedral_model::observation::{Digests, SideState};
use cathedral_model::ports::vault::{GitRef, GitRefs};
use cathedral_model::ports::{PortError, Sink};
use cathedral_model::snapshot::part_digest;
use std::collections::BTreeSet;
use std::path::Path;

use super::facts::{Context, Facts, hub_pin};
use super::failure::GitError;
use super::held::is_held;
use super::object::Oid;
use super::refs::{Values, digest, takes_part};
use super::run::Git;
use super::store::Store;

/// Where restores pin what they replace.
pub const KEPT: &str = "refs/cathedral/kept/";
/// Where the hub's pin stands in a snapshot.
pub const PIN: &str = "refs/cathedral/pin";

/// Copies both sides as they are now.
pub fn live(context: &Context<'_>, facts: &Facts, sink: &mut dyn Sink) -> Result<SideState, PortError> {
    for (item, why) in facts.frozen.iter().chain(facts.left_out.iter().map(|(i, w)| (i, w))) {
        sink.skipped(item, why);
    }
    let (hub, spoke) = context.states(facts);
    let (refs, head) = (mapped(context)?, facts.hub_head.clone().or_else(|| facts.spoke_head.clone()));
    let head = head.unwrap_or_else(|| context.branch());
    write(&context.store, &refs, &head, sink)?;
    let digests = Digests { hub: hub.digest, spoke: spoke.digest };
    let digest = part_digest(SpokeKind::Git, cathedral_model::ecosystem::Side::Hub, &digests);
    Ok(SideState { digest, position: spoke.position, items: refs.len() as u64 })
}

/// Copies a bare repository as it is.
pub fn path(git: &Git, dir: &Path, sink: &mut dyn Sink) -> Result<SideState, PortError> {
    let store = Store::existing(git, dir)?;
    let refs = store.refs("refs/")?;
    let head = store.head().unwrap_or_else(|| "refs/heads/main".to_owned());
    write(&store, &refs, &head, sink)?;
    let digest = digest(refs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let position = refs.get(&head).map_or_else(|| format!("{} refs", refs.len()), |o| super::position(&head, o));
    Ok(SideState { digest, position, items: refs.len() as u64 })
}

/// Names the refs of the store as they stand in a snapshot.
fn mapped(context: &Context<'_>) -> Result<Values, GitError> {
    let (mut out, mut only_held) = (Values::new(), Values::new());
    let is_mirror = matches!(context.detail.integration, GitIntegration::Mirror { .. });
    let own = format!("refs/cathedral/remote/{}/", context.spoke.name);
    let pin = context.pin().map(hub_pin);
    for (name, oid) in context.store.refs("refs/")? {
        let keep = if !name.starts_with(super::refs::OURS) {
            (is_mirror && is_held(&name)).then_some(name)
        } else if let Some(rest) = name.strip_prefix(&own) {
            let plain = format!("refs/{rest}");
            if is_mirror && !takes_part(&context.detail.refs, &plain) {
                only_held.insert(plain.clone(), oid.clone());
            }
            Some(if is_mirror { name } else { plain })
        } else if Some(&name) == pin.as_ref() {
            Some(PIN.to_owned())
        } else if let Some(rest) = name.strip_prefix("refs/cathedral/hub/paths/") {
            Some(format!("refs/cathedral/paths/{rest}"))
        } else {
            let mirrored = is_mirror && name.starts_with("refs/cathedral/remote/");
            (mirrored || (is_pinned(&name) && !is_copy(&name))).then_some(name)
        };
        if let Some(name) = keep {
            out.insert(name, oid);
        }
    }
    for (name, oid) in only_held {
        out.entry(name).or_insert(oid);
    }
    Ok(out)
}

/// Says whether a ref of the store is a pin of the hub's own.
pub fn is_pinned(name: &str) -> bool {
    name.starts_with("refs/cathedral/conflicts/") || name.starts_with(KEPT)
}

/// Says whether a ref only repeats a pin: restores once kept the pins of their snapshot again.
pub fn is_copy(name: &str) -> bool {
    let rest = name.strip_prefix(KEPT).and_then(|n| n.split_once('/')).map(|(_, rest)| rest);
    rest.and_then(|r| r.strip_prefix("restored/cathedral/"))
        .is_some_and(|r| r.starts_with("conflicts/") || r.starts_with("kept/"))
}

fn write(store: &Store, refs: &Values, head: &str, sink: &mut dyn Sink) -> Result<(), PortError> {
    let tips: BTreeSet<&Oid> = refs.values().collect();
    let held: BTreeSet<Oid> = sink.git_held()?.into_iter().filter(|o| store.has(o)).collect();
    if tips.iter().any(|t| !held.contains(*t)) {
        pack(store, &tips, &held, sink)?;
    }
    let refs = refs
        .iter()
        .map(|(name, oid)| GitRef { name: name.clone(), oid: oid.clone(), peeled: store.peeled(oid) })
        .collect();
    sink.git_refs(&GitRefs { head: Some(head.to_owned()), refs })
}

fn pack(store: &Store, tips: &BTreeSet<&Oid>, held: &BTreeSet<Oid>, sink: &mut dyn Sink) -> Result<(), PortError> {
    let mut input = String::new();
    for tip in tips {
        input.push_str(&format!("{tip}\n"));
    }
    for oid in held {
        input.push_str(&format!("^{oid}\n"));
    }
    let mut call = store.call("pack the objects of a snapshot").args([
        "pack-objects",
        "--revs",
        "--stdout",
        "--delta-base-offset",
        "--quiet",
    ]);
    if !held.is_empty() {
        call = call.args(["--thin"]);
    }
    let (child, mut bytes) = call.input(input).reading()?;
    let tips: Vec<Oid> = tips.iter().map(|t| (*t).clone()).collect();
    match sink.git_pack(&tips, &mut bytes) {
        Ok(()) => {
            // A sink may stop at the end of the pack without seeing the end of the stream.
            drop(std::io::copy(&mut bytes, &mut std::io::sink()));
            Ok(child.finish()?)
        }
        Err(error) => {
            child.abort();
            Err(error)
        }
    }
}
