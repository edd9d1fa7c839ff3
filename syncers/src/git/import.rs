//! Gives a git part back: as a bare repository of its own, or as refs put back where they were.
//! Nothing that stands there is lost: it is pinned or moved aside first, and extra refs stay.

use cathedral_model::ecosystem::GitIntegration;
use cathedral_model::ids::RunId;
use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::vault::{GitRef, GitRefs};
use cathedral_model::ports::{PortError, Source};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::export::{KEPT, PIN, is_copy, is_pinned};
use super::facts::{Context, Facts};
use super::failure::GitError;
use super::held;
use super::hub::Edit;
use super::object::{Entry, Oid};
use super::push::{Push, Update, Worktree};
use super::refs::{BASE_REFS, OURS, Values, escaped, takes_part, unsafe_name};
use super::run::Git;
use super::stash;
use super::store::{RefChange, Store, init_bare, sync_folder};

/// Makes `dir` a bare repository with exactly the refs of the part.
pub fn path(
    git: &Git,
    state_dir: &Path,
    dir: &Path,
    source: &mut dyn Source,
    run: RunId,
) -> Result<Imported, PortError> {
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| PortError::io(parent.display(), &e))?;
    let name = dir.file_name().ok_or_else(|| PortError::permanent(format!("{}: not a folder", dir.display())))?;
    let refs = source.git_refs()?;
    let head = checked_head(&refs)?;
    let aside = tempfile::Builder::new()
        .prefix(".cathedral-restore-")
        .tempdir_in(parent)
        .map_err(|e| PortError::io(parent.display(), &e))?;
    let fresh = aside.path().join(name);
    init_bare(git, &fresh, head.strip_prefix("refs/heads/").unwrap_or("main"))?;
    let store = Store::existing(git, &fresh)?;
    let bytes = index(&store, source)?;
    let store = Store::existing(git, &fresh)?;
    store.set_head(&head)?;
    store.update(&changes(&refs.refs, |n| n.to_owned())?)?;
    stash::write_log(&store, &named(&refs.refs))?;
    store
        .call("check the restored repository")
        .args(["fsck", "--connectivity-only", "--no-dangling", "--progress"])
        .run()?;
    let kept = keep_aside(state_dir, dir, run)?;
    std::fs::rename(&fresh, dir).map_err(|e| PortError::io(dir.display(), &e))?;
    sync_folder(parent)?;
    Ok(Imported {
        path: dir.display().to_string(),
        files: refs.refs.len() as u64,
        bytes,
        kept: kept.map(|p| p.display().to_string()),
    })
}

fn checked_head(refs: &GitRefs) -> Result<String, PortError> {
    let head = refs.head.clone().unwrap_or_else(|| "refs/heads/main".to_owned());
    match unsafe_name(&head) {
        None => Ok(head),
        Some(why) => Err(PortError::Corrupt(format!("the snapshot's HEAD {head:?} cannot be used: {why}"))),
    }
}

fn named(refs: &[GitRef]) -> Values {
    refs.iter().map(|r| (r.name.clone(), r.oid.clone())).collect()
}

fn changes(refs: &[GitRef], name: impl Fn(&str) -> String) -> Result<Vec<RefChange>, PortError> {
    refs.iter()
        .map(|r| match unsafe_name(&r.name) {
            None => Ok(RefChange::set(name(&r.name), &r.oid)),
            Some(why) => Err(PortError::Corrupt(format!("the snapshot's ref {:?} cannot be used: {why}", r.name))),
        })
        .collect()
}

/// Takes every pack of the part into a store; returns how many bytes they were.
pub(super) fn index(store: &Store, source: &mut dyn Source) -> Result<u64, PortError> {
    let mut total = 0;
    source.git_packs(&mut |pack: &mut dyn Read| {
        let (child, mut pipe) =
            store.call("index a pack of the snapshot").args(["index-pack", "--stdin", "--fix-thin"]).writing()?;
        match std::io::copy(pack, &mut pipe) {
            Ok(bytes) => {
                total += bytes;
                drop(pipe);
                Ok(child.finish()?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                drop(pipe);
                child.finish()?;
                Err(PortError::io("index a pack of the snapshot", &error))
            }
            Err(error) => {
                child.abort();
                Err(PortError::Corrupt(format!("a pack of the snapshot cannot be read: {error}")))
            }
        }
    })?;
    Ok(total)
}

/// Moves what stands at `dir` below `kept/RUN`, or beside itself on another file system.
fn keep_aside(state_dir: &Path, dir: &Path, run: RunId) -> Result<Option<PathBuf>, PortError> {
    if std::fs::symlink_metadata(dir).is_err() || std::fs::remove_dir(dir).is_ok() {
        return Ok(None); // Nothing there, or an empty folder.
    }
    let folder = state_dir.join("kept").join(run.to_string());
    std::fs::create_dir_all(&folder).map_err(|e| PortError::io(folder.display(), &e))?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = |base: PathBuf| {
        let numbered = |n: u32| if n == 0 { base.clone() } else { PathBuf::from(format!("{}.{n}", base.display())) };
        (0..u32::MAX).map(numbered).find(|p| std::fs::symlink_metadata(p).is_err()).unwrap_or(base.clone())
    };
    let to = free(folder.join(&name));
    match std::fs::rename(dir, &to) {
        Ok(()) => Ok(Some(to)),
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            let to = free(dir.with_file_name(format!("{name}.kept-{run}")));
            std::fs::rename(dir, &to).map_err(|e| PortError::io(dir.display(), &e))?;
            Ok(Some(to))
        }
        Err(e) => Err(PortError::io(dir.display(), &e)),
    }
}

/// Puts the refs of the part back at the hub and the spoke.
pub fn live(context: &Context<'_>, source: &mut dyn Source, run: RunId) -> Result<Imported, PortError> {
    let refs = source.git_refs()?;
    let bytes = index(&context.store, source)?;
    let store = Store::existing(context.git, context.store.path())?;
    let restored = format!("{KEPT}{run}/restored/");
    let (pinned, wanted): (Vec<GitRef>, Vec<GitRef>) = refs.refs.into_iter().partition(|r| is_pinned(&r.name));
    put_pins_back(&store, pinned)?;
    // The snapshot's own refs, so that its objects stay whatever becomes of the rest.
    store.update(&changes(&wanted, |n| format!("{restored}{}/%tip", escaped(&n["refs/".len()..])))?)?;
    store
        .call("check the restored objects")
        .args(["fsck", "--connectivity-only", "--no-dangling", "--progress"])
        .run()?;
    let facts = context.observe()?;
    let wanted = named(&wanted);
    let is_mirror = matches!(context.detail.integration, GitIntegration::Mirror { .. });
    let below = |prefix: &str| -> Values {
        let named = |(n, o): (&String, &String)| n.strip_prefix(prefix).map(|r| (format!("refs/{r}"), o.clone()));
        wanted.iter().filter_map(named).collect()
    };
    let own = |name: &str| !name.starts_with(OURS) || held::is_made_up(name);
    let plain: Values = wanted.iter().filter(|(n, _)| own(n)).map(|(n, o)| (n.clone(), o.clone())).collect();
    let spoke =
        if is_mirror { below(&format!("refs/cathedral/remote/{}/", context.spoke.name)) } else { plain.clone() };
    let now: Values = facts.spoke_refs.iter().chain(&facts.spoke_held).map(|(n, o)| (n.clone(), o.clone())).collect();
    let mut replaced = keep(context, run, "spoke", &now, &spoke)?;
    let declined = put_back(context, &now, &spoke)?;
    if is_mirror {
        let now: Values = facts.hub.iter().chain(&facts.hub_held).map(|(n, o)| (n.clone(), o.clone())).collect();
        // What only the spoke had stands among the plain refs of the part too, and goes back to the spoke alone.
        let is_hubs = |n: &String, o: &String| {
            let only_spokes = !takes_part(&context.detail.refs, n) && !now.contains_key(n) && spoke.get(n) == Some(o);
            !only_spokes && !held::is_made_up(n)
        };
        let plain: Values = plain.into_iter().filter(|(n, o)| is_hubs(n, o)).collect();
        replaced |= keep(context, run, "hub", &now, &plain)?;
        let change = |(n, o): (&String, &String)| RefChange {
            name: n.clone(),
            new: Some(o.clone()),
            old: Some(now.get(n).cloned()),
        };
        let changes: Vec<RefChange> = plain.iter().filter(|(n, o)| now.get(*n) != Some(o)).map(change).collect();
        store.update(&changes)?;
    }
    if let (Some(path), Some(oid)) = (context.pin(), wanted.get(PIN)) {
        put_pin_back(context, &facts, path, oid)?;
    }
    forget_base(&store)?;
    tidy(context, &restored)?;
    Ok(Imported {
        path: context.remote.to_string(),
        files: wanted.len() as u64,
        bytes,
        kept: told(context, run, replaced, &declined),
    })
}

/// Says where to find what was replaced, and what the remote did not take back.
fn told(context: &Context<'_>, run: RunId, replaced: bool, declined: &Values) -> Option<String> {
    let place = format!("{KEPT}{run} in {}", context.store.path().display());
    match declined.iter().next() {
        None => replaced.then_some(place),
        Some((name, why)) => {
            let more = declined.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            Some(format!("{place}; not taken back by the remote, and kept there: {name}{more} ({why})"))
        }
    }
}

/// Pins of earlier runs stand in the store already, unless that was lost.
fn put_pins_back(store: &Store, pinned: Vec<GitRef>) -> Result<(), PortError> {
    let now = store.refs(OURS)?;
    let missing: Vec<GitRef> = pinned.into_iter().filter(|r| !is_copy(&r.name) && !now.contains_key(&r.name)).collect();
    Ok(store.update(&changes(&missing, str::to_owned)?)?)
}

/// What both sides agreed on holds no longer: against it, what was put back would look like a rewound history.
fn forget_base(store: &Store) -> Result<(), GitError> {
    let base = store.refs(BASE_REFS)?;
    let mut seen: Vec<RefChange> =
        base.values().map(|oid| RefChange::set(format!("refs/cathedral/seen/{oid}"), oid)).collect();
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    seen.dedup_by(|a, b| a.name == b.name);
    store.update(&seen)?;
    store.update(&base.keys().map(RefChange::delete).collect::<Vec<_>>())
}

/// Lets go of what the restore kept of the snapshot and stands at its place by now.
fn tidy(context: &Context<'_>, restored: &str) -> Result<(), GitError> {
    match context.observe() {
        Ok(_) => {}
        Err(GitError::Stopped) => return Err(GitError::Stopped),
        // Everything is done, and what is kept twice is no harm.
        Err(_) => return Ok(()),
    }
    let (kept, others): (Values, Values) =
        context.store.refs("refs/")?.into_iter().partition(|(name, _)| name.starts_with(restored));
    let stands: BTreeSet<&Oid> = others.values().collect();
    let done = kept.iter().filter(|(_, oid)| stands.contains(oid)).map(|(name, _)| RefChange::delete(name));
    context.store.update(&done.collect::<Vec<_>>())
}

/// Pins what differs from the snapshot.
fn keep(context: &Context<'_>, run: RunId, side: &str, now: &Values, wanted: &Values) -> Result<bool, GitError> {
    let differs = |n: &String, o: &String| wanted.get(n).is_some_and(|w| w != o);
    let changes: Vec<RefChange> = now
        .iter()
        .filter(|(n, o)| differs(n, o) && !n.starts_with(held::STASH))
        .map(|(n, o)| {
            RefChange::set(format!("{KEPT}{run}/{side}/{}/%tip", escaped(n.strip_prefix("refs/").unwrap_or(n))), o)
        })
        .collect();
    context.store.update(&changes)?;
    Ok(!changes.is_empty())
}

/// Puts refs back at the spoke. Returns the refs that it declines, of those that take no part in the sync: many a
/// forge writes some of them by itself only.
fn put_back(context: &Context<'_>, now: &Values, wanted: &Values) -> Result<Values, PortError> {
    let stashed = stash::put_back(context, now, wanted)?;
    let is_due = |n: &String, o: &String| {
        now.get(n) != Some(o)
            && n != held::DETACHED
            && !n.starts_with(held::STASH)
            && !(stashed && n == held::STASH_TIP)
    };
    let update =
        |(n, o): (&String, &String)| Update { name: n.clone(), old: now.get(n).cloned(), new: Some(o.clone()) };
    let updates: Vec<Update> = wanted.iter().filter(|(n, o)| is_due(n, o)).map(update).collect();
    if updates.is_empty() {
        return Ok(Values::new());
    }
    let (parts, others): (Vec<Update>, Vec<Update>) =
        updates.iter().cloned().partition(|u| takes_part(&context.detail.refs, &u.name));
    for (branch, work) in super::worktree::checked_out(&context.remote) {
        if let Some(why) = super::deploy::settle(context.git, &context.store, &context.remote, &branch, &work)? {
            tracing::warn!(spoke.name = %context.spoke.name, "{}: {why}", work.display());
        }
    }
    let push = Push { store: &context.store, remote: &context.remote, worktree: Worktree::Follows, there: &[now] };
    let mut words = push.run(&parts)?;
    words.extend(push.run(&others)?);
    let after = super::listing::list(context.git, &context.remote)?;
    let mut declined = Values::new();
    for update in updates.iter().filter(|u| after.refs.get(&u.name) != u.new.as_ref()) {
        let why = words.get(&update.name).map_or("it moved while it was restored", String::as_str);
        let place = super::failure::printable(&held::name_of(&update.name));
        if takes_part(&context.detail.refs, &update.name) {
            return Err(GitError::Refused(format!("{} {place} was not put back: {why}", context.remote)).into());
        }
        tracing::warn!(spoke.name = %context.spoke.name, "{place} was not put back: {why}");
        declined.insert(place, why.to_owned());
    }
    Ok(declined)
}

/// The hub's pin goes back by a commit on top of its branch.
fn put_pin_back(context: &Context<'_>, facts: &Facts, path: &str, oid: &str) -> Result<(), PortError> {
    let now = facts.hub.get(&super::facts::pin_key(path));
    if now.is_some_and(|n| n == oid) {
        return Ok(());
    }
    let entry = |oid: &str| Entry { mode: "160000".into(), name: Vec::new(), oid: oid.to_owned() };
    let edit = Edit {
        path: path.to_owned(),
        old: now.map(|o| entry(o)),
        new: Some(entry(oid)),
        objects: None,
        submodule_url: Some(context.detail.url.clone()),
    };
    let message = |_: &[&Edit]| format!("restore: pin {} at {}\n", context.spoke.name, super::object::short(Some(oid)));
    let date = context.store.commit(oid)?.date;
    match context.hub.edit(&[edit], date, &message)?.skipped.into_iter().next() {
        None => Ok(()),
        Some((path, why)) => Err(GitError::Refused(format!("the pin {path} was not put back: {why}")).into()),
    }
}
