//! What both sides of a spoke, and its mirrors, hold now. Reading an unchanged local spoke starts no
//! process.

use cathedral_model::ecosystem::{GitIntegration, GitSpoke, Mirror, SharedPath, Side, Spoke};
use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::decide::may_write;
use super::failure::GitError;
use super::fetch::{self, Fetch, kept_at};
use super::held;
use super::hub::HubRepo;
use super::listing::{list, list_one};
use super::object::{Oid, short};
use super::paths;
use super::refs::{self, Listing, Values, escaped, takes_part};
use super::run::Git;
use super::store::{RefChange, Relation, Store};
use super::url::Remote;

/// Key of the pinned commit of a submodule against the spoke's branch.
#[must_use]
pub fn pin_key(path: &str) -> String {
    format!("pin:{path}")
}

/// Key of a shared path.
#[must_use]
pub fn path_key(shared: &SharedPath) -> String {
    format!("path:{}", shared.hub)
}

/// Where the store keeps what the hub pins at a path.
#[must_use]
pub fn hub_pin(path: &str) -> String {
    format!("refs/cathedral/hub/pin/{}/%tip", escaped(path))
}

/// Where the store keeps what the hub holds at a shared path, carried by a commit.
#[must_use]
pub fn hub_path(shared: &SharedPath) -> String {
    format!("refs/cathedral/hub/paths/{}/%tip", escaped(&shared.hub))
}

/// Everything at hand while one spoke is worked on.
pub struct Context<'a> {
    pub git: &'a Git,
    pub state_dir: &'a Path,
    pub spoke: &'a Spoke,
    pub detail: &'a GitSpoke,
    pub remote: Remote,
    pub store: Store,
    pub hub: HubRepo<'a>,
}

/// A mirror as it was found.
#[derive(Clone, Debug, Default)]
pub struct MirrorFacts {
    pub refs: Values,
    /// Refs that take no part.
    pub held: Values,
    /// Why it takes no part this time.
    pub unreachable: Option<String>,
}

/// What the remotes answered.
struct Survey {
    spoke: Result<Listing, GitError>,
    /// None where the hub's tree is not needed.
    hub_tip: Option<Result<Option<Oid>, GitError>>,
    mirrors: BTreeMap<String, Result<Listing, GitError>>,
}

/// What becomes of a side that cannot be read: an error, or what was read of it last.
pub(super) type Away<'a> = dyn FnMut(Side, GitError) -> Result<(), GitError> + 'a;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The hub's value of every item: refs, `pin:PATH`, `path:PATH`.
    pub hub: Values,
    /// The spoke's value of the same items.
    pub spoke: Values,
    /// All refs of the spoke that take part, whatever the integration.
    pub spoke_refs: Values,
    /// Refs of the spoke, and of the hub's store of a mirror, that take no part and are held all the same.
    pub spoke_held: Values,
    pub hub_held: Values,
    pub mirrors: BTreeMap<String, MirrorFacts>,
    pub hub_head: Option<String>,
    pub spoke_head: Option<String>,
    /// Items that must not be touched now, with the reason.
    pub frozen: BTreeMap<String, String>,
    /// What is in no snapshot, and why.
    pub left_out: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// Why an item is left alone that is not as the snapshot has it.
const BUSY: &str = "it keeps changing: it waits for a quieter moment";

impl Facts {
    /// Leaves alone what is not as it was before, and counts it; none when that cannot be done item by item.
    pub fn freeze_changed(&mut self, before: &Self) -> Option<usize> {
        let heads = |f: &Self| (f.hub_head.clone(), f.spoke_head.clone());
        let away = |f: &Self| f.mirrors.values().map(|m| m.unreachable.is_some()).collect::<Vec<_>>();
        if heads(self) != heads(before) || away(self) != away(before) || !self.mirrors.keys().eq(before.mirrors.keys())
        {
            return None;
        }
        let mut changed = vec![];
        let mut compare = |prefix: &str, now: &Values, then: &Values| {
            let keys: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
            changed.extend(keys.into_iter().filter(|k| now.get(*k) != then.get(*k)).map(|k| format!("{prefix}{k}")));
        };
        compare("", &self.hub, &before.hub);
        compare("", &self.spoke, &before.spoke);
        compare("", &self.spoke_refs, &before.spoke_refs);
        for (name, mirror) in &self.mirrors {
            if let Some(then) = before.mirrors.get(name) {
                compare(&format!("{name}:"), &mirror.refs, &then.refs);
            }
        }
        let count = changed.len();
        for item in changed {
            self.frozen.entry(item).or_insert_with(|| BUSY.to_owned());
        }
        Some(count)
    }
}

impl Context<'_> {
    /// The mirrors of the spoke.
    #[must_use]
    pub fn mirrors(&self) -> &[Mirror] {
        match &self.detail.integration {
            GitIntegration::Mirror { mirrors } => mirrors,
            _ => &[],
        }
    }

    /// The full name of the branch that pins and shared paths follow.
    #[must_use]
    pub fn branch(&self) -> String {
        format!("refs/heads/{}", self.detail.branch)
    }

    /// The path of the pin, for a submodule.
    #[must_use]
    pub fn pin(&self) -> Option<&str> {
        match &self.detail.integration {
            GitIntegration::Submodule { path } => Some(path),
            _ => None,
        }
    }

    /// Checks a mirror's address.
    pub fn mirror_remote(&self, mirror: &Mirror) -> Result<Remote, GitError> {
        if mirror.name == self.spoke.name {
            return Err(GitError::Invalid(format!("mirror {} has the name of its spoke", mirror.name)));
        }
        Remote::parse(&mirror.url, self.state_dir.parent().unwrap_or(self.state_dir))
    }

    /// Reads both sides, and takes whatever is new into the store.
    pub fn observe(&self) -> Result<Facts, GitError> {
        self.look(&mut |_, error| Err(error))
    }

    /// Reads both sides; `away` decides whether one that cannot be read is taken as it was read last.
    pub(super) fn look(&self, away: &mut Away<'_>) -> Result<Facts, GitError> {
        let mut facts = Facts::default();
        let survey = self.survey();
        match survey.spoke.and_then(|listing| self.read_spoke(&mut facts, listing)) {
            Ok(listing) => {
                self.keep_head(listing.head.as_deref());
                facts.spoke_head.clone_from(&listing.head);
                (facts.spoke_refs, facts.spoke_held) = listing.parted();
            }
            Err(error) => {
                away(Side::Spoke, error)?;
                self.recall_spoke(&mut facts)?;
            }
        }
        match &self.detail.integration {
            GitIntegration::Mirror { .. } => self.observe_mirror(&mut facts, survey.mirrors)?,
            GitIntegration::Master => facts.hub_head.clone_from(&facts.spoke_head),
            GitIntegration::Submodule { .. } | GitIntegration::SharedPaths => {}
        }
        if self.pin().is_some() || !self.detail.shared_paths.is_empty() {
            let gone =
                || GitError::NotFound(format!("hub {}: there is no branch {}", self.hub.remote, self.hub.hub.branch));
            let tip = survey.hub_tip.transpose().and_then(|tip| tip.flatten().ok_or_else(gone));
            if let Err(error) = tip.and_then(|tip| self.observe_hub_tree(&mut facts, tip)) {
                away(Side::Hub, error)?;
                self.recall_hub_tree(&mut facts)?;
            }
        }
        Ok(facts)
    }

    /// Asks every remote at the same time: what costs is the waiting.
    fn survey(&self) -> Survey {
        let (git, spoke, hub) = (self.git, &self.remote, &self.hub.remote);
        let (needs_hub, branch) = (self.pin().is_some() || !self.detail.shared_paths.is_empty(), self.hub.branch());
        let mirrors: Vec<(String, Result<Remote, GitError>)> =
            self.mirrors().iter().map(|m| (m.name.as_str().to_owned(), self.mirror_remote(m))).collect();
        let look = |remote: Result<Remote, GitError>| remote.and_then(|r| list(git, &r));
        if spoke.local().is_some() && (!needs_hub || hub.local().is_some()) && mirrors.is_empty() {
            let hub_tip = needs_hub.then(|| list_one(git, hub, &branch));
            return Survey { spoke: list(git, spoke), hub_tip, mirrors: BTreeMap::new() };
        }
        let lost = |_| GitError::Failed("a remote could not be looked at".into());
        std::thread::scope(|scope| {
            let hub_tip = needs_hub.then(|| scope.spawn(|| list_one(git, hub, &branch)));
            let mirrors: Vec<_> =
                mirrors.into_iter().map(|(name, remote)| (name, scope.spawn(move || look(remote)))).collect();
            Survey {
                spoke: list(git, spoke),
                hub_tip: hub_tip.map(|h| h.join().map_err(lost).and_then(|r| r)),
                mirrors: mirrors.into_iter().map(|(n, h)| (n, h.join().map_err(lost).and_then(|r| r))).collect(),
            }
        })
    }

    fn read_spoke(&self, facts: &mut Facts, listing: Listing) -> Result<Listing, GitError> {
        let name = self.spoke.name.as_str();
        let mut listing = listing.filtered(&self.detail.refs, "");
        facts.warnings.append(&mut listing.warnings);
        facts.left_out.append(&mut listing.left_out);
        let fetch = Fetch {
            store: &self.store,
            remote: &self.remote,
            side: name,
            allow: &self.detail.fsck_allow,
            complete: true,
        };
        for (refused, why) in fetch.run(&mut listing)? {
            facts.warnings.push(format!("{refused} is refused and left alone: {why}"));
            facts.frozen.insert(refused, why);
        }
        Ok(listing)
    }

    fn observe_mirror(
        &self,
        facts: &mut Facts,
        mut listings: BTreeMap<String, Result<Listing, GitError>>,
    ) -> Result<(), GitError> {
        facts.spoke = facts.spoke_refs.clone();
        let refs = self.store.refs("refs/")?;
        (facts.hub, facts.hub_held) = refs.into_iter().partition(|(name, _)| takes_part(&self.detail.refs, name));
        facts.hub_held.retain(|name, _| held::is_held(name));
        facts.hub_head = self.store.head();
        for mirror in self.mirrors() {
            let mut found = MirrorFacts::default();
            let listing = listings.remove(mirror.name.as_str()).unwrap_or_else(|| Ok(Listing::default()));
            match listing.and_then(|l| self.read_mirror(mirror, facts, l)) {
                Ok(listing) => (found.refs, found.held) = listing.parted(),
                Err(GitError::Stopped) => return Err(GitError::Stopped),
                Err(e @ (GitError::Invalid(_) | GitError::Full(_))) => return Err(e),
                Err(error) => {
                    facts.warnings.push(format!("mirror {} takes no part in this run: {error}", mirror.name));
                    found.unreachable = Some(error.to_string());
                }
            }
            facts.mirrors.insert(mirror.name.as_str().to_owned(), found);
        }
        self.tell_what_was_left(facts)
    }

    /// Deletions that do not travel are told each time, for they are easily forgotten, with what ends them.
    fn tell_what_was_left(&self, facts: &mut Facts) -> Result<(), GitError> {
        let prefix = format!("refs/cathedral/base/{}/", self.spoke.name);
        for (name, base) in self.store.refs(&prefix)? {
            let name = format!("refs/{}", &name[prefix.len()..]);
            let (gone, stands) = match (facts.hub.get(&name), facts.spoke.get(&name)) {
                (None, Some(value)) if *value == base => (Side::Hub, Side::Spoke),
                (Some(value), None) if *value == base => (Side::Spoke, Side::Hub),
                // What went on elsewhere is a conflict, which is told as one.
                _ => continue,
            };
            let may_travel = may_write(stands, self.spoke.data_sync);
            if may_travel && self.detail.refs.prune {
                continue;
            }
            let (gone, stood) = (gone.as_str(), stands.as_str());
            let mut line = format!("{name} was deleted at the {gone} and still stands at the {stood}, by design: ");
            line.push_str(&self.deletion(stands, &name));
            line.push_str("    deletes it there too");
            if may_travel {
                line.push_str(", and refs: { prune: true } for this repository lets every deletion travel");
            }
            facts.warnings.push(line);
        }
        Ok(())
    }

    /// The command that deletes a ref at a side.
    fn deletion(&self, side: Side, name: &str) -> String {
        let name = quoted(name);
        match (side, &self.remote) {
            (Side::Hub, _) => format!("git -C {} update-ref -d {name}", quoted(&self.store.path().to_string_lossy())),
            (Side::Spoke, Remote::Local(path)) => {
                format!("git -C {} update-ref -d {name}", quoted(&path.to_string_lossy()))
            }
            (Side::Spoke, remote) => format!("git push {} --delete {name}", quoted(&remote.to_string())),
        }
    }

    fn read_mirror(&self, mirror: &Mirror, facts: &mut Facts, listing: Listing) -> Result<Listing, GitError> {
        let (remote, side) = (self.mirror_remote(mirror)?, mirror.name.as_str());
        let mut listing = listing.filtered(&self.detail.refs, &format!("mirror {side}"));
        facts.warnings.append(&mut listing.warnings);
        facts.left_out.extend(listing.left_out.drain(..).map(|(what, why)| (format!("mirror {side}: {what}"), why)));
        let fetch = Fetch { store: &self.store, remote: &remote, side, allow: &self.detail.fsck_allow, complete: true };
        for (refused, why) in fetch.run(&mut listing)? {
            facts.warnings.push(format!("mirror {side}: {refused} is refused and left alone: {why}"));
            facts.frozen.insert(format!("{side}:{refused}"), why);
        }
        Ok(listing)
    }

    fn observe_hub_tree(&self, facts: &mut Facts, tip: Oid) -> Result<(), GitError> {
        let _turn = self.hub.turn();
        let shared = &self.detail.shared_paths;
        let mut wanted: Vec<&str> = self.pin().into_iter().collect();
        wanted.extend(shared.iter().map(|s| s.hub.as_str()));
        let mut found = self.hub.read(&tip, &wanted)?.into_iter();
        let branch_tip = facts.spoke_refs.get(&self.branch()).cloned();
        if let Some(path) = self.pin() {
            let key = pin_key(path);
            if let Some(entry) = found.next().flatten() {
                if entry.is_gitlink() {
                    self.keep_pin(&tip, path, &entry.oid)?;
                    facts.hub.insert(key.clone(), entry.oid);
                } else {
                    let why = format!("{path} in the hub is not a submodule");
                    facts.warnings.push(why.clone());
                    facts.frozen.insert(key.clone(), why);
                }
            }
            if let Some(oid) = &branch_tip {
                facts.spoke.insert(key.clone(), oid.clone());
            }
            if let Some(why) = facts.frozen.get(&self.branch()).cloned() {
                facts.frozen.insert(key, why);
            }
        }
        for (shared, entry) in shared.iter().zip(found) {
            let key = path_key(shared);
            if let Some(value) = paths::value_of(entry, &shared.hub)? {
                self.keep_hub_path(&tip, shared, &value)?;
                facts.hub.insert(key.clone(), value);
            }
            if let Some(tip) = &branch_tip
                && !facts.frozen.contains_key(&self.branch())
                && let Some(value) = paths::value_of(self.store.entry_at(tip, &shared.spoke)?, &shared.hub)?
            {
                facts.spoke.insert(key.clone(), value);
            }
            if let Some(why) = facts.frozen.get(&self.branch()).cloned() {
                facts.frozen.insert(key, why);
            }
        }
        Ok(())
    }

    /// Keeps the hub's pin in the store, from wherever its commit can be had.
    fn keep_pin(&self, tip: &str, path: &str, oid: &Oid) -> Result<(), GitError> {
        let name = hub_pin(path);
        let before = self.store.get(&name)?;
        if before.as_ref() == Some(oid) {
            return Ok(());
        }
        let mut arrived = self.store.commit(oid).is_ok();
        if !arrived {
            for folder in self.hub.submodule_folders(tip, path) {
                match fetch::copy_ref(&self.store, &folder, oid, "refs/cathedral/hub/%arriving") {
                    Ok(()) => arrived = true,
                    Err(GitError::Stopped) => return Err(GitError::Stopped),
                    // The next place may have it; a commit that is nowhere is told by the plan.
                    Err(_) => {}
                }
            }
        }
        if !arrived {
            return Ok(());
        }
        let mut changes = vec![RefChange::set(&name, oid)];
        if let Some(old) = before
            && self.store.relation(&old, oid) != Relation::Behind
        {
            changes.push(RefChange::set(format!("refs/cathedral/seen/{old}"), &old));
        }
        self.store.update(&changes)
    }

    /// Keeps what the hub holds at a shared path in the spoke's store.
    fn keep_hub_path(&self, tip: &str, shared: &SharedPath, value: &str) -> Result<(), GitError> {
        let name = hub_path(shared);
        let before = self.store.get(&name)?;
        if let Some(before) = &before
            && self.store.commit(before).is_ok_and(|c| c.tree == value)
        {
            return Ok(());
        }
        let hub_store = self.hub.store_at(tip)?;
        let entry = hub_store
            .entry_at(tip, &shared.hub)?
            .ok_or_else(|| GitError::Busy(format!("{} went away while it was read", shared.hub)))?;
        let written = paths::write_value(&hub_store, &entry, &shared.hub)?;
        let carrier = paths::carrier(&hub_store, &written)?;
        let carried = format!("refs/cathedral/shared/{}/{}/%tip", self.spoke.name, escaped(&shared.hub));
        hub_store.update(&[RefChange::set(&carried, &carrier)])?;
        if let Some(old) = before {
            self.store.update(&[RefChange::set(format!("refs/cathedral/seen/{old}"), &old)])?;
        }
        fetch::copy_ref(&self.store, hub_store.path(), &carried, &name)
    }

    /// Returns the digests, positions and counts of both sides.
    #[must_use]
    pub fn states(&self, facts: &Facts) -> (SideState, SideState) {
        if matches!(self.detail.integration, GitIntegration::Master) {
            let head = facts.spoke_head.as_deref();
            let state = self.state(&facts.spoke_refs, head, &facts.spoke_refs, &facts.spoke_held, &BTreeMap::new());
            return (state.clone(), state);
        }
        let hub_refs = if matches!(self.detail.integration, GitIntegration::Mirror { .. }) {
            &facts.hub
        } else {
            &facts.spoke_refs
        };
        let mut hub = self.state(&facts.hub, facts.hub_head.as_deref(), hub_refs, &facts.hub_held, &BTreeMap::new());
        if let Some(pin) = self.pin() {
            hub.position = match facts.hub.get(&pin_key(pin)) {
                Some(oid) => format!("{pin} {}", short(Some(oid))),
                None => format!("{pin} not there yet"),
            };
        } else if matches!(self.detail.integration, GitIntegration::SharedPaths) {
            hub.position = format!("{} shared paths", facts.hub.len());
        }
        let head = facts.spoke_head.as_deref();
        let spoke = self.state(&facts.spoke_refs, head, &facts.spoke_refs, &facts.spoke_held, &facts.mirrors);
        (hub, spoke)
    }

    fn state(
        &self,
        values: &Values,
        head: Option<&str>,
        refs: &Values,
        held: &Values,
        mirrors: &BTreeMap<String, MirrorFacts>,
    ) -> SideState {
        let head = head.map(str::to_owned);
        let mut lines: Vec<(String, String)> = values.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        lines.push(("HEAD".into(), head.unwrap_or_default()));
        lines.extend(held.iter().map(|(k, v)| (format!("held:{k}"), v.clone())));
        for (name, mirror) in mirrors {
            lines.extend(mirror.refs.iter().chain(&mirror.held).map(|(k, v)| (format!("{name}:{k}"), v.clone())));
            if mirror.unreachable.is_some() {
                lines.push((format!("{name}:"), "unreachable".into()));
            }
        }
        let digest: Digest = refs::digest(lines.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let position = match refs.get(&self.branch()) {
            Some(oid) => format!("{} {}", self.detail.branch, short(Some(oid))),
            None if refs.is_empty() => "empty".to_owned(),
            None => format!("{} refs", refs.len()),
        };
        SideState { digest, position, items: values.len() as u64 }
    }

    /// Sets the store's view of a remote's ref after it was read back.
    pub fn remember(&self, side: &str, name: &str, oid: &str) -> RefChange {
        RefChange::set(kept_at(side, name), oid)
    }
}

/// A word for a shell: names of refs may hold what a shell would act on.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/_.:@+-".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
