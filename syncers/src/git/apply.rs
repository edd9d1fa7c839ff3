//! Carries a plan out: objects and refs to the remotes by compare-and-swap, the hub's own refs and
//! tree after them, and the agreed state only from what was read back.

use cathedral_model::canonical;
use cathedral_model::ecosystem::Side;
use cathedral_model::plan::{Applied, Skipped};
use cathedral_model::ports::Content;
use std::collections::{BTreeMap, BTreeSet};

use super::deploy;
use super::facts::{Context, Facts, path_key, pin_key};
use super::failure::GitError;
use super::hub::Edit;
use super::object::{Entry, Oid, short};
use super::paths;
use super::payload::{Answered, BASE, Base, Payload, Target, Write};
use super::push::{Push, Update, Worktree};
use super::refs::{Values, escaped};
use super::store::{RefChange, Relation};
use super::url::Remote;
use super::worktree::{checked_out, holds_already, unsaved_files};

/// Why a write was not done, by where and what.
type Declined = BTreeMap<(Target, String), String>;

/// Carries the plan out and reads back.
pub fn apply(context: &Context<'_>, payload: &Payload, content: &dyn Content) -> Result<Applied, GitError> {
    let found = context.observe()?;
    let mut declined = Declined::new();
    push_all(context, payload, &found, &mut declined)?;
    write_hub_store(context, payload, &found, &mut declined)?;
    edit_hub_tree(context, payload, &mut declined)?;
    if let Some(head) = &payload.head
        && (context.store.get(head)?.is_some() || context.store.refs("refs/heads/")?.is_empty())
    {
        context.store.set_head(head)?;
    }
    let after = context.observe()?;
    let base = agreed(payload, &after);
    let text = canonical::to_string(&base).map_err(|e| GitError::Failed(e.to_string()))?;
    let base_id = content.put(text.as_bytes())?;
    keep_base(context, &base)?;
    let (hub, spoke) = context.states(&after);
    let (mut changes_in, mut changes_out, mut skipped) = (0, 0, Vec::new());
    for write in &payload.writes {
        if value_at(context, &after, write).as_ref() == write.new.as_ref() {
            *(if write.target.side() == Side::Hub { &mut changes_in } else { &mut changes_out }) += 1;
        } else {
            let why = declined.remove(&(write.target.clone(), write.name.clone()));
            let why = why.unwrap_or_else(|| "it has moved on since it was planned".into());
            skipped.push(Skipped { target: shown_target(write), why });
        }
    }
    tell_answers(payload, &after, &mut skipped);
    Ok(Applied { hub, spoke, base: base_id, changes_in, changes_out, skipped })
}

/// Lists, first, what answers were to leave and is not there, and what was not taken back.
fn tell_answers(payload: &Payload, after: &Facts, skipped: &mut Vec<Skipped>) {
    let is_there = |a: &&Answered| {
        let peer = match &a.mirror {
            Some(name) => after.mirrors.get(name).map(|m| &m.refs),
            None => Some(&after.spoke),
        };
        [after.hub.get(&a.key), peer.and_then(|p| p.get(&a.key))] == a.left.each_ref().map(Option::as_ref)
    };
    let mut told: Vec<Skipped> =
        payload.refused.iter().map(|r| Skipped { target: r.item.clone(), why: r.why.clone() }).collect();
    for answered in payload.answered.iter().filter(|a| !is_there(a)) {
        let at = skipped.iter().position(|s| s.target == answered.item);
        let why = match at.map(|n| skipped.remove(n)).as_ref().or(skipped.first()) {
            Some(skipped) => skipped.why.clone(),
            None => "it has moved on since it was planned".into(),
        };
        told.push(Skipped { target: answered.item.clone(), why });
    }
    told.append(skipped);
    *skipped = told;
}

fn shown_target(write: &Write) -> String {
    match &write.target {
        Target::Mirror(name) => format!("{name}:{}", write.name),
        _ => write.name.split_once(':').map_or(write.name.as_str(), |(_, path)| path).to_owned(),
    }
}

fn value_at(context: &Context<'_>, facts: &Facts, write: &Write) -> Option<Oid> {
    let empty = Values::new();
    let values = match &write.target {
        Target::HubStore | Target::HubTree => &facts.hub,
        Target::Spoke => &facts.spoke_refs,
        Target::Mirror(name) => facts.mirrors.get(name).map_or(&empty, |m| &m.refs),
    };
    debug_assert!(write.target != Target::HubTree || context.pin().is_some() || write.name.starts_with("path:"));
    values.get(&write.name).cloned()
}

/// Sorts out what is to be written at one target: what is done is left, what moved on is skipped, and
/// nothing but what a person asked for leaves the old value behind.
fn due<'p>(
    context: &Context<'_>,
    payload: &'p Payload,
    found: &Facts,
    target: &Target,
    declined: &mut Declined,
) -> Vec<&'p Write> {
    let mut out = Vec::new();
    for write in payload.writes.iter().filter(|w| &w.target == target) {
        let now = value_at(context, found, write);
        if now == write.new {
            continue;
        }
        let why = if now != write.old {
            "it has moved on since it was planned"
        } else if !is_forward(context, write) {
            "the new value does not contain the old one"
        } else {
            out.push(write);
            continue;
        };
        declined.insert((target.clone(), write.name.clone()), why.to_owned());
    }
    out
}

fn is_forward(context: &Context<'_>, write: &Write) -> bool {
    match (&write.old, &write.new) {
        (Some(old), Some(new)) => write.moves || context.store.relation(old, new) == Relation::Behind,
        (None, _) => true,
        (Some(_), None) => write.moves || write.action == "delete",
    }
}

fn push_all(context: &Context<'_>, payload: &Payload, found: &Facts, declined: &mut Declined) -> Result<(), GitError> {
    let mut targets: Vec<(Target, String, Remote)> =
        vec![(Target::Spoke, context.spoke.name.as_str().to_owned(), context.remote.clone())];
    for mirror in context.mirrors() {
        let name = mirror.name.as_str().to_owned();
        targets.push((Target::Mirror(name.clone()), name, context.mirror_remote(mirror)?));
    }
    for (target, side, remote) in targets {
        let mut due = due(context, payload, found, &target, declined);
        let mut standing = BTreeSet::new();
        for (head, work) in checked_out(&remote) {
            let unsettled = deploy::settle(context.git, &context.store, &remote, &head, &work)?;
            let Some(write) = due.iter().find(|w| w.name == head) else { continue };
            if let Some(why) = unsettled {
                declined.insert((target.clone(), head.clone()), why);
                due.retain(|w| w.name != head);
                continue;
            }
            if let Some(files) = unsaved_files(context.git, &remote, &work, &[])? {
                if let Some(new) = &write.new
                    && holds_already(context.git, &remote, &work, new)?
                {
                    standing.insert(head);
                    continue;
                }
                let why = format!("the working tree there has changes that are not committed: {files}");
                declined.insert((target.clone(), head.clone()), why);
                due.retain(|w| w.name != head);
            }
        }
        if due.is_empty() {
            continue;
        }
        let update = |w: &&Write| Update { name: w.name.clone(), old: w.old.clone(), new: w.new.clone() };
        let (stand, follow): (Vec<Update>, Vec<Update>) =
            due.iter().map(update).partition(|u| standing.contains(&u.name));
        let there: Vec<&Values> = match &target {
            Target::Mirror(name) => found.mirrors.get(name).map(|m| vec![&m.refs, &m.held]).unwrap_or_default(),
            _ => vec![&found.spoke_refs, &found.spoke_held],
        };
        let mut refused = BTreeMap::new();
        for (worktree, updates) in [(Worktree::Stands, stand), (Worktree::Follows, follow)] {
            let push = Push { store: &context.store, remote: &remote, worktree, there: &there };
            refused.extend(match push.run(&updates) {
                Ok(refused) => refused,
                Err(GitError::Stopped) => return Err(GitError::Stopped),
                // The answer may have been lost after everything was done; the reading back decides.
                Err(error) => updates.iter().map(|u| (u.name.clone(), error.to_string())).collect(),
            });
        }
        remember(context, &side, &due, &refused)?;
        declined.extend(refused.into_iter().map(|(name, why)| ((target.clone(), name), why)));
    }
    Ok(())
}

/// Notes what was pushed as the remote's value, so that reading back need not fetch our own commits.
fn remember(
    context: &Context<'_>,
    side: &str,
    due: &[&Write],
    refused: &BTreeMap<String, String>,
) -> Result<(), GitError> {
    let mut changes = Vec::new();
    for write in due.iter().filter(|w| !refused.contains_key(&w.name)) {
        let Some(new) = &write.new else { continue };
        if let Some(old) = write.old.as_ref().filter(|o| context.store.relation(o, new) != Relation::Behind) {
            changes.push(RefChange::set(format!("refs/cathedral/seen/{old}"), old));
        }
        // A new name may collide with one that the remote has just lost; the reading back sorts it out.
        if write.old.is_some() {
            changes.push(context.remember(side, &write.name, new));
        }
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes.dedup_by(|a, b| a.name == b.name);
    context.store.update(&changes)
}

fn write_hub_store(
    context: &Context<'_>,
    payload: &Payload,
    found: &Facts,
    declined: &mut Declined,
) -> Result<(), GitError> {
    let mut due = due(context, payload, found, &Target::HubStore, declined);
    due.retain(|w| !is_left_alone(context, payload, w, declined));
    let change = |w: &&Write| RefChange { name: w.name.clone(), new: w.new.clone(), old: Some(w.old.clone()) };
    let (deletes, sets): (Vec<_>, Vec<_>) = due.iter().map(change).partition(|c| c.new.is_none());
    context.store.update(&deletes)?;
    context.store.update(&sets)
}

/// An undo is done on both sides or on none: where the other side refused it, the hub's stays as well.
fn is_left_alone(context: &Context<'_>, payload: &Payload, write: &Write, declined: &mut Declined) -> bool {
    if !write.moves || write.action != "restore" {
        return false;
    }
    // A pin goes with the branch it is of, and a shared path with the branch that carries it.
    let is_ref = write.name.starts_with("refs/");
    let name = if is_ref { write.name.clone() } else { context.branch() };
    let other = payload.writes.iter().filter(|w| w.target.side() == Side::Spoke && w.name == name);
    let other = other.filter(|w| !is_ref || w.action == "restore");
    let why = other.filter_map(|w| declined.get(&(w.target.clone(), w.name.clone()))).next().cloned();
    let Some(why) = why else { return false };
    declined.insert((write.target.clone(), write.name.clone()), why);
    true
}

fn edit_hub_tree(context: &Context<'_>, payload: &Payload, declined: &mut Declined) -> Result<(), GitError> {
    let writes: Vec<&Write> = payload.writes.iter().filter(|w| w.target == Target::HubTree).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let (mut edits, mut date, mut lines, mut trailers) = (Vec::new(), 0, BTreeMap::new(), BTreeMap::new());
    let mut keys: BTreeMap<String, &Write> = BTreeMap::new();
    let mut tip = None;
    for write in writes {
        if is_left_alone(context, payload, write, declined) {
            continue;
        }
        let edit = if write.name.starts_with("pin:") {
            let tip = match &mut tip {
                Some(tip) => tip,
                none => none.insert(super::listing::list_one(context.git, &context.remote, &context.branch())?),
            };
            match pin_edit(context, write, tip.as_deref())? {
                Ok(edit) => {
                    if let Some(new) = &write.new {
                        date = date.max(context.store.commit(new)?.date);
                        lines.insert(edit.path.clone(), bump_line(context, write, new)?);
                    }
                    edit
                }
                Err(why) => {
                    declined.insert((Target::HubTree, write.name.clone()), why);
                    continue;
                }
            }
        } else {
            let edit = path_edit(context, write)?;
            let oid = edit.new.as_ref().map_or("none", |e| e.oid.as_str());
            trailers.insert(edit.path.clone(), format!("Cathedral-Synced: {} {oid}\n", edit.path));
            edit
        };
        keys.insert(edit.path.clone(), write);
        edits.push(edit);
    }
    if edits.is_empty() {
        return Ok(());
    }
    let name = context.spoke.name.as_str();
    let message = |done: &[&Edit]| {
        let bumps: Vec<&str> = done.iter().filter_map(|e| lines.get(&e.path)).map(String::as_str).collect();
        let synced: String = done.iter().filter_map(|e| trailers.get(&e.path)).map(String::as_str).collect();
        let subject =
            if bumps.is_empty() { format!("sync: shared paths from {name}") } else { "bump: 1 module".to_owned() };
        let source = if synced.is_empty() { String::new() } else { format!("\n{synced}Cathedral-Source: {name}\n") };
        let body = if bumps.is_empty() { String::new() } else { format!("\n{}\n", bumps.join("\n")) };
        format!("{subject}\n{body}{source}")
    };
    for (path, why) in context.hub.edit(&edits, date, &message)?.skipped {
        if let Some(write) = keys.get(&path) {
            declined.insert((Target::HubTree, write.name.clone()), why);
        }
    }
    Ok(())
}

/// A pin may only name a commit that the spoke's branch has now.
fn pin_edit(context: &Context<'_>, write: &Write, tip: Option<&str>) -> Result<Result<Edit, String>, GitError> {
    let path = write.name.trim_start_matches("pin:").to_owned();
    if let Some(new) = &write.new {
        let contained =
            tip.is_some_and(|t| matches!(context.store.relation(new, t), Relation::Same | Relation::Behind));
        if !contained && !write.moves {
            return Ok(Err(format!("{} is not on the spoke's branch {}", short(Some(new)), context.detail.branch)));
        }
    }
    let entry = |oid: &Oid| Entry { mode: "160000".into(), name: Vec::new(), oid: oid.clone() };
    let url = Some(context.detail.url.clone());
    let (old, new) = (write.old.as_ref().map(entry), write.new.as_ref().map(entry));
    Ok(Ok(Edit { path, old, new, objects: None, submodule_url: url }))
}

fn bump_line(context: &Context<'_>, write: &Write, new: &Oid) -> Result<String, GitError> {
    let range = match &write.old {
        Some(old) if context.store.has(old) => format!("{old}..{new}"),
        _ => new.clone(),
    };
    let count =
        context.store.call("count commits").args(["rev-list", "--count", "--end-of-options", &range]).run()?.line();
    let (from, to) = (short(write.old.as_deref()), short(Some(new)));
    Ok(format!("{} {from}..{to} ({count} commits)", context.spoke.name))
}

fn path_edit(context: &Context<'_>, write: &Write) -> Result<Edit, GitError> {
    let store = &context.store;
    let path = write.name.trim_start_matches("path:").to_owned();
    let entry = |value: &Option<Oid>| match value {
        Some(value) if store.has(value) => paths::entry_of(store, value),
        Some(value) => Err(GitError::Corrupt(format!("the contents {value} of {path} are not in the store"))),
        None => Ok(None),
    };
    let objects = match &write.new {
        Some(value) => {
            let leaving = format!("refs/cathedral/leaving/{}/%tip", escaped(&path));
            store.update(&[RefChange::set(&leaving, paths::carrier(store, value)?)])?;
            Some((store.path().to_owned(), leaving))
        }
        None => None,
    };
    let (old, new) = (entry(&write.old)?, entry(&write.new)?);
    Ok(Edit { path, old, new, objects, submodule_url: None })
}

/// The agreed state after a run: what both sides hold now, else what they last agreed on.
fn agreed(payload: &Payload, after: &Facts) -> Base {
    let pair = |base: &Values, hub: &Values, spoke: &Values| -> Values {
        let keys: BTreeSet<&String> = base.keys().chain(hub.keys()).collect();
        let value = |key: &String| match (hub.get(key), spoke.get(key)) {
            (None, None) => None,
            (Some(h), Some(s)) if h == s => Some(h.clone()),
            _ => base.get(key).cloned(),
        };
        keys.into_iter().filter_map(|k| value(k).map(|v| (k.clone(), v))).collect()
    };
    let items = pair(&payload.base.items, &after.hub, &after.spoke);
    let left = items.keys().filter(|k| after.hub.contains_key(*k) != after.spoke.contains_key(*k)).cloned().collect();
    let refs: Values =
        after.hub.iter().filter(|(k, _)| k.starts_with("refs/")).map(|(k, v)| (k.clone(), v.clone())).collect();
    let empty = Values::new();
    let mut mirrors = payload.base.mirrors.clone();
    for (name, mirror) in after.mirrors.iter().filter(|(_, m)| m.unreachable.is_none()) {
        let before = payload.base.mirrors.get(name).unwrap_or(&empty);
        mirrors.insert(name.clone(), pair(before, &refs, &mirror.refs));
    }
    Base { v: BASE.into(), items, mirrors, left, answers: payload.base.answers.clone() }
}

/// Copies the agreed state among the refs of the store, where it survives the loss of the database.
fn keep_base(context: &Context<'_>, base: &Base) -> Result<(), GitError> {
    let (mut deletes, mut sets) = (Vec::new(), Vec::new());
    let sides = [(context.spoke.name.as_str(), &base.items)];
    for (side, values) in sides.into_iter().chain(base.mirrors.iter().map(|(n, v)| (n.as_str(), v))) {
        let prefix = format!("refs/cathedral/base/{side}/");
        let before = context.store.refs(&prefix)?;
        let mut now = Values::new();
        for (key, value) in values {
            let (rest, oid) = if let Some(pin) = context.pin().filter(|p| &pin_key(p) == key) {
                (format!("pin/{}/%tip", escaped(pin)), value.clone())
            } else if let Some(shared) = context.detail.shared_paths.iter().find(|s| &path_key(s) == key) {
                if !context.store.has(value) {
                    continue;
                }
                (format!("paths/{}/%tip", escaped(&shared.hub)), paths::carrier(&context.store, value)?)
            } else if let Some(rest) = key.strip_prefix("refs/") {
                (rest.to_owned(), value.clone())
            } else {
                continue;
            };
            if context.store.has(&oid) {
                now.insert(format!("{prefix}{rest}"), oid);
            }
        }
        deletes.extend(before.keys().filter(|n| !now.contains_key(*n)).map(RefChange::delete));
        sets.extend(now.iter().filter(|(n, o)| before.get(*n) != Some(o)).map(|(n, o)| RefChange::set(n, o)));
    }
    context.store.update(&deletes)?;
    context.store.update(&sets)
}
