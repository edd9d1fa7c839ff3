//! Makes a damaged store of the hub's own anew.
//!
//! The new store is built aside: what is still good of the damaged one, then what the spoke and its mirrors give,
//! then what snapshots hold. It takes the place of the damaged one in one step, once git finds nothing wrong with
//! it. The damaged one is kept, as it is, below `kept/`. Stopped anywhere before that step, nothing has changed,
//! and what was built is thrown away by the next attempt.
//!
//! A ref whose objects are nowhere is not set; it is named, and still stands in the store that is kept. Where refs
//! of the hub's own side were lost, what both sides had agreed on is disregarded: a ref that is not there any more
//! must not look like one that somebody has deleted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cathedral_model::ecosystem::GitIntegration;
use cathedral_model::ids::Digest;
use cathedral_model::ports::{PortError, Source};

use super::export::is_pinned;
use super::facts::Context;
use super::failure::GitError;
use super::import;
use super::object::Oid;
use super::refs::{OURS, Values, collide, takes_part};
use super::salvage::{self, Refs};
use super::sound::{self, Depth};
use super::store::{RefChange, Store, init_bare, sync_folder};

/// The file in a store that names an agreed state which is not to be believed any more.
const DISREGARDED: &str = "cathedral-base-disregarded";
/// What the hub notes beside git's own files begins with this.
const NOTES: &str = "cathedral-";
const ASIDE: &str = ".heal-";
/// So many calls may fail while the refs that lack something are looked for.
const TRIES: usize = 2_000;

/// Says whether an agreed state was set aside when the store was made anew.
pub fn is_disregarded(store: &Store, base: &Digest) -> bool {
    is_disregarded_at(store.path(), base)
}

/// The same by the folder of the store.
pub fn is_disregarded_at(store: &Path, base: &Digest) -> bool {
    let noted = fs::read_to_string(store.join(DISREGARDED));
    noted.is_ok_and(|noted| noted.trim() == base.to_string())
}

/// What became of a store.
#[derive(Clone, Debug, Default)]
pub struct Healed {
    /// Where the damaged one is kept; none when its folder was gone.
    pub kept: Option<PathBuf>,
    /// Refs whose objects are nowhere any more.
    pub lost: Vec<String>,
    /// What could not be asked for what it holds.
    pub unread: Vec<String>,
    /// Whether the next sync compares both sides afresh.
    pub is_afresh: bool,
}

/// A store that is being made anew.
pub struct Healing<'a> {
    context: Context<'a>,
    aside: tempfile::TempDir,
    from: Option<PathBuf>,
    refs: Refs,
    head: Option<String>,
    unread: Vec<String>,
    took_snapshot: bool,
}

impl<'a> Healing<'a> {
    /// Builds the new store from what is left of the damaged one, and from spoke and mirrors. `context` is made
    /// around the new store.
    pub fn begin(
        git: &super::run::Git,
        state_dir: &Path,
        name: &str,
        context: impl FnOnce(Store) -> Result<Context<'a>, GitError>,
    ) -> Result<Self, GitError> {
        let folder = state_dir.join("git");
        fs::create_dir_all(&folder).map_err(|e| GitError::io(folder.display(), &e))?;
        clear_leftovers(&folder);
        let aside = tempfile::Builder::new().prefix(ASIDE).tempdir_in(&folder);
        let aside = aside.map_err(|e| GitError::io(folder.display(), &e))?;
        let fresh = aside.path().join(format!("{name}.git"));
        init_bare(git, &fresh, "main")?;
        let from = source_of(state_dir, name);
        let (mut refs, mut head) = (Refs::default(), None);
        match &from {
            Some(from) => {
                (refs, head) = (salvage::refs(from), salvage::head(from));
                salvage::objects(from, &Store::existing(git, &fresh)?)?;
            }
            None => refs.unreadable.push("the whole folder is gone".into()),
        }
        let context = context(Store::existing(git, &fresh)?)?;
        let mut unread = vec![];
        let facts = context.look(&mut |side, error| match error {
            GitError::Stopped | GitError::Full(_) => Err(error),
            error => {
                unread.push(format!("{}: {error}", side.as_str()));
                Ok(())
            }
        })?;
        let away =
            facts.mirrors.iter().filter_map(|(name, m)| Some(format!("mirror {name}: {}", m.unreachable.as_ref()?)));
        unread.extend(away);
        if head.is_none() {
            head = facts.spoke_head;
        }
        let context = Context { store: Store::existing(git, &fresh)?, ..context };
        Ok(Self { context, aside, from, refs, head, unread, took_snapshot: false })
    }

    /// Whether a snapshot could add something.
    pub fn lacks_something(&self) -> Result<bool, PortError> {
        Ok((!self.refs.unreadable.is_empty() && !self.took_snapshot) || !self.lacking()?.is_empty())
    }

    /// Takes from a snapshot what is missing; the newest one comes first.
    pub fn take(&mut self, source: &mut dyn Source) -> Result<(), PortError> {
        let refs = source.git_refs()?;
        let lacking = self.lacking()?;
        if self.took_snapshot && !refs.refs.iter().any(|r| lacking.contains(&r.oid)) {
            return Ok(());
        }
        import::index(&self.context.store, source)?;
        self.context.store = Store::existing(self.context.git, self.context.store.path())?;
        if !self.took_snapshot && !self.refs.unreadable.is_empty() {
            let is_mirror = self.is_mirror();
            let rules = &self.context.detail.refs;
            for found in refs.refs {
                if is_pinned(&found.name) || (is_mirror && takes_part(rules, &found.name)) {
                    self.refs.values.entry(found.name).or_insert(found.oid);
                }
            }
            if let (Some(name), true, true) =
                (refs.head, is_mirror, self.from.as_deref().and_then(salvage::head).is_none())
            {
                self.head = Some(name);
            }
        }
        self.took_snapshot = true;
        Ok(())
    }

    /// Sets the refs, looks at the whole, and puts the new store in the place of the damaged one. `base` is what
    /// both sides last agreed on.
    pub fn finish(self, base: Option<&Digest>) -> Result<Healed, PortError> {
        let store = &self.context.store;
        let lacking = self.lacking()?;
        let (lost, good): (Values, Values) = self.wanted()?.into_iter().partition(|(_, oid)| lacking.contains(oid));
        self.set(&good)?;
        let lost: Vec<String> = lost.into_keys().filter(|name| !is_made_again(name)).collect();
        let is_hubs = |name: &String| !name.starts_with(OURS) || name.starts_with(super::refs::BASE_REFS);
        let is_afresh = self.is_mirror() && (!self.refs.unreadable.is_empty() || lost.iter().any(is_hubs));
        if let Some(head) = &self.head {
            store.set_head(head)?;
        }
        if let Some(from) = &self.from {
            copy_notes(from, store.path())?;
        }
        if let (Some(base), true) = (base, is_afresh) {
            write_note(store.path(), DISREGARDED, base.to_string().as_bytes())?;
        }
        sync_folder(store.path())?;
        let wrong = sound::faults_at(self.context.git, store.path(), Depth::Full, &self.context.detail.fsck_allow)?;
        if let Some(wrong) = wrong.first() {
            let name = &self.context.spoke.name;
            return Err(PortError::Corrupt(format!("{name}: the store that was made anew is not whole: {wrong}")));
        }
        let (state_dir, name) = (self.context.state_dir.to_owned(), self.context.spoke.name.as_str().to_owned());
        let kept = put_in_place(&state_dir, &name, self.aside)?;
        Ok(Healed { kept, lost, unread: self.unread, is_afresh })
    }

    fn is_mirror(&self) -> bool {
        matches!(self.context.detail.integration, GitIntegration::Mirror { .. })
    }

    /// The refs of the damaged store that the new one does not have.
    fn wanted(&self) -> Result<Values, GitError> {
        let now = self.context.store.refs("refs/")?;
        let is_missing = |(name, oid): &(&String, &Oid)| now.get(*name) != Some(*oid);
        let values = self.refs.values.iter().filter(is_missing);
        Ok(values.map(|(name, oid)| (name.clone(), oid.clone())).collect())
    }

    /// What these refs name and the new store does not hold with all it needs.
    fn lacking(&self) -> Result<BTreeSet<Oid>, GitError> {
        let wanted: BTreeSet<Oid> =
            self.wanted()?.into_iter().filter(|(name, _)| !is_made_again(name)).map(|(_, oid)| oid).collect();
        let (there, mut lacking): (Vec<Oid>, BTreeSet<Oid>) = {
            let (there, gone): (Vec<Oid>, Vec<Oid>) = wanted.into_iter().partition(|oid| self.context.store.has(oid));
            (there, gone.into_iter().collect())
        };
        let mut queue = vec![there];
        let mut failed = 0;
        while let Some(some) = queue.pop() {
            if some.is_empty() || (failed < TRIES && is_whole(&self.context.store, &some)?) {
                continue;
            }
            failed += 1;
            if some.len() == 1 || failed > TRIES {
                lacking.extend(some);
            } else {
                let (left, right) = some.split_at(some.len() / 2);
                queue.extend([left.to_vec(), right.to_vec()]);
            }
        }
        Ok(lacking)
    }

    /// Sets refs at their own names. Where spoke or mirror give another value by now, theirs stands, and the old
    /// one is kept like every value that was replaced.
    fn set(&self, good: &Values) -> Result<(), GitError> {
        let store = &self.context.store;
        let now = store.refs("refs/")?;
        let mut changes = vec![];
        for (name, oid) in good.iter().filter(|(name, _)| !is_made_again(name)) {
            let is_remote = name.starts_with("refs/cathedral/remote/") && self.unread.is_empty();
            if is_remote || now.contains_key(name) || now.keys().any(|other| collide(other, name)) {
                changes.push(RefChange::set(format!("refs/cathedral/seen/{oid}"), oid));
            } else {
                changes.push(RefChange::set(name, oid));
            }
        }
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes.dedup_by(|a, b| a.name == b.name);
        store.update(&changes)
    }
}

/// What every fetch makes anew by itself.
fn is_made_again(name: &str) -> bool {
    ["quarantine/", "refused/"].iter().any(|p| name.strip_prefix(OURS).is_some_and(|rest| rest.starts_with(p)))
        || name.ends_with("/%arriving")
}

/// Says whether everything that these need is in the store.
fn is_whole(store: &Store, oids: &[Oid]) -> Result<bool, GitError> {
    let mut input = oids.join("\n");
    input.push('\n');
    // What is not wanted is an argument: before 2.42 git takes no options from the input.
    let args = ["rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"];
    let call = store.call("look for what refs need").args(args);
    Ok(call.input(input).run_any()?.code == 0)
}

/// The damaged store; else the last one that was kept, for a step that was stopped between two renames.
fn source_of(state_dir: &Path, name: &str) -> Option<PathBuf> {
    let place = sound::place(state_dir, name);
    if place.is_dir() {
        return Some(place);
    }
    (1..)
        .map(|n| kept_at(state_dir, name, n))
        .take_while(|folder| folder.exists())
        .last()
        .map(|f| f.join(format!("{name}.git")))
}

fn kept_at(state_dir: &Path, name: &str, number: u32) -> PathBuf {
    state_dir.join("kept").join(format!("git-{name}-{number}"))
}

/// What an attempt that was stopped has built.
fn clear_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(ASIDE)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(folder = %entry.path().display(), %error, "a store that was begun is left over");
        }
    }
}

/// Takes over what the hub has noted in a store: its newest fence, and which branch HEAD named at the spoke.
fn copy_notes(from: &Path, to: &Path) -> Result<(), GitError> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_note = name.starts_with(NOTES) && entry.metadata().is_ok_and(|m| m.is_file() && m.len() < 65_536);
        if is_note && let Ok(bytes) = fs::read(entry.path()) {
            write_note(to, &name, &bytes)?;
        }
    }
    Ok(())
}

fn write_note(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), GitError> {
    let path = folder.join(name);
    let write = || {
        let mut file = fs::File::create(&path)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    };
    write().map_err(|e| GitError::io(path.display(), &e))
}

/// Exchanges the two stores, so that at every instant one of them is in place.
fn put_in_place(state_dir: &Path, name: &str, aside: tempfile::TempDir) -> Result<Option<PathBuf>, GitError> {
    let place = sound::place(state_dir, name);
    let failed = |path: &Path, e: &std::io::Error| GitError::io(path.display(), e);
    let folder = place.parent().unwrap_or(state_dir);
    let file = format!("{name}.git");
    if fs::symlink_metadata(&place).is_err() {
        fs::rename(aside.path().join(&file), &place).map_err(|e| failed(&place, &e))?;
        sync_folder(folder)?;
        sound::make_known(state_dir, name);
        return Ok(None);
    }
    let all_kept = state_dir.join("kept");
    fs::create_dir_all(&all_kept).map_err(|e| failed(&all_kept, &e))?;
    let number = (1..).find(|n| fs::symlink_metadata(kept_at(state_dir, name, *n)).is_err()).unwrap_or(u32::MAX);
    let kept = kept_at(state_dir, name, number);
    // Under its lasting name before the step: what is stopped right after it leaves the damaged one where it stays.
    fs::rename(aside.path(), &kept).map_err(|e| failed(&kept, &e))?;
    drop(aside.keep());
    let other = kept.join(&file);
    if exchange(&other, &place).is_err() {
        let damaged = kept.join(format!("{name}.damaged"));
        fs::rename(&place, &damaged).map_err(|e| failed(&place, &e))?;
        fs::rename(&other, &place).map_err(|e| failed(&place, &e))?;
        fs::rename(&damaged, &other).map_err(|e| failed(&other, &e))?;
    }
    sync_folder(folder)?;
    sync_folder(&kept)?;
    sync_folder(&all_kept)?;
    sound::make_known(state_dir, name);
    Ok(Some(other))
}

#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
}
