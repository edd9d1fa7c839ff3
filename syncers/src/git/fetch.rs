//! Takes what a remote advertises into the store. Nothing becomes visible as the remote's value before
//! it passed git's strict checks and ours; values that go away stay reachable.

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::failure::GitError;
use super::held;
use super::object::Oid;
use super::refs::{Listing, Values};
use super::store::{PACK_REFS_ABOVE, RefChange, Relation, Store, UNSYNCED_REFS};
use super::url::Remote;

/// Under this prefix fetched refs wait for the checks.
const QUARANTINE: &str = "refs/cathedral/quarantine/";

/// Returns where a remote's ref is kept.
#[must_use]
pub fn kept_at(side: &str, name: &str) -> String {
    format!("refs/cathedral/remote/{side}/{}", name.strip_prefix("refs/").unwrap_or(name))
}

/// Returns the refs of a remote as they were accepted last.
pub fn accepted(store: &Store, side: &str) -> Result<Values, GitError> {
    let prefix = format!("refs/cathedral/remote/{side}/");
    let refs = store.refs(&prefix)?;
    Ok(refs.into_iter().map(|(name, oid)| (format!("refs/{}", &name[prefix.len()..]), oid)).collect())
}

/// How to fetch.
pub struct Fetch<'a> {
    pub store: &'a Store,
    pub remote: &'a Remote,
    /// The name below `refs/cathedral/remote/`.
    pub side: &'a str,
    /// Message ids of git's checks that are tolerated.
    pub allow: &'a [String],
    /// Whether refs that are not in the listing are gone, or just were not asked for.
    pub complete: bool,
}

/// So many fetches may fail while the refs at fault are looked for.
const TRIES: usize = 60;
/// And so many among refs that are only held.
const TRIES_OF_HELD: usize = 12;

/// What came without a ref in the quarantine, and how many fetches have failed.
#[derive(Default)]
struct Arrived {
    values: Values,
    failed: usize,
}

impl Fetch<'_> {
    /// Brings the store up to the listing, which is corrected where the remote moved meanwhile. Returns
    /// the refs that were refused, with the reason; they keep their last good value in the store.
    pub fn run(&self, listing: &mut Listing) -> Result<BTreeMap<String, String>, GitError> {
        let before = accepted(self.store, self.side)?;
        let mut refused = BTreeMap::new();
        let mut wanted: Vec<String> =
            listing.refs.iter().filter(|(name, oid)| before.get(*name) != Some(oid)).map(|(n, _)| n.clone()).collect();
        let refused_before = self.store.refs(&self.refused_at("refs/"))?;
        wanted.retain(|name| {
            let known = refused_before.get(&self.refused_at(name)) == listing.refs.get(name);
            if known {
                refused.insert(name.clone(), "it was refused before and has not changed".to_owned());
            }
            !known
        });
        let gone: Vec<&String> = before.keys().filter(|n| self.complete && !listing.refs.contains_key(*n)).collect();
        if wanted.is_empty() && gone.is_empty() {
            return Ok(refused);
        }
        let (held, taking): (Vec<String>, Vec<String>) = wanted.iter().cloned().partition(|n| listing.held.contains(n));
        let mut arrived = Arrived::default();
        self.some(&taking, listing, &mut refused, &mut arrived)?;
        let missing = self.hold(&held, listing, &mut refused, &mut arrived)?;
        let waiting = self.quarantined()?;
        let quarantined: Values = waiting.clone().into_iter().chain(arrived.values).collect();
        if let Some(why) = missing {
            let missing = held.iter().filter(|n| !quarantined.contains_key(*n) && listing.refs.contains_key(*n));
            for name in missing {
                refused.entry(name.clone()).or_insert_with(|| why.clone());
            }
        }
        let known: BTreeSet<Oid> = before.values().cloned().collect();
        let wrong = check::findings(self.store, &quarantined, &known, self.allow)?;
        self.admit(&before, &quarantined, &waiting, &wrong, &gone)?;
        for name in &wanted {
            if let Some(oid) = quarantined.get(name) {
                listing.refs.insert(name.clone(), oid.clone());
            }
        }
        refused.extend(wrong);
        Ok(refused)
    }

    /// Fetches refs that are only held. One that cannot be had does not stop the sync of the others; returns why
    /// what did not come is missing.
    fn hold(
        &self,
        names: &[String],
        listing: &mut Listing,
        refused: &mut BTreeMap<String, String>,
        arrived: &mut Arrived,
    ) -> Result<Option<String>, GitError> {
        arrived.failed = TRIES - TRIES_OF_HELD;
        match self.some(names, listing, refused, arrived) {
            Ok(()) => Ok(None),
            Err(error @ (GitError::Stopped | GitError::Full(_) | GitError::Unreachable(_) | GitError::Busy(_))) => {
                Err(error)
            }
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    fn refused_at(&self, name: &str) -> String {
        format!("refs/cathedral/refused/{}/{}", self.side, name.strip_prefix("refs/").unwrap_or(name))
    }

    fn quarantine_at(&self, name: &str) -> String {
        format!("{QUARANTINE}{}/{}", self.side, name.strip_prefix("refs/").unwrap_or(name))
    }

    fn quarantined(&self) -> Result<Values, GitError> {
        let prefix = self.quarantine_at("refs/");
        let refs = self.store.refs(&prefix)?;
        Ok(refs.into_iter().map(|(name, oid)| (format!("refs/{}", &name[prefix.len()..]), oid)).collect())
    }

    /// Fetches refs into the quarantine; where one of them is at fault, the others still come.
    fn some(
        &self,
        names: &[String],
        listing: &mut Listing,
        refused: &mut BTreeMap<String, String>,
        arrived: &mut Arrived,
    ) -> Result<(), GitError> {
        if names.is_empty() {
            return Ok(());
        }
        let fetched = if names.len() > PACK_REFS_ABOVE {
            self.many(names, listing, &mut arrived.values)
        } else {
            self.fetch_aside(names, listing)
        };
        match fetched {
            Ok(()) => Ok(()),
            Err(error) if !error.is_about_items() || arrived.failed >= TRIES => Err(error),
            Err(error) if names.len() == 1 => {
                if matches!(error, GitError::NotFound(_)) {
                    listing.refs.remove(&names[0]); // It went away since it was listed.
                } else {
                    refused.insert(names[0].clone(), error.to_string());
                }
                Ok(())
            }
            Err(_) => {
                arrived.failed += 1;
                let (left, right) = names.split_at(names.len() / 2);
                self.some(left, listing, refused, arrived)?;
                self.some(right, listing, refused, arrived)
            }
        }
    }

    /// A crash may have left refs in the quarantine that stand in the way of these.
    fn clear_leftovers(&self, names: &[String]) -> Result<(), GitError> {
        let left = self.store.refs(&self.quarantine_at("refs/"))?;
        let wanted: BTreeSet<String> = names.iter().map(|n| self.quarantine_at(n)).collect();
        let in_the_way = |name: &str| !wanted.contains(name) && wanted.iter().any(|w| super::refs::collide(w, name));
        let changes: Vec<RefChange> = left.keys().filter(|n| in_the_way(n)).map(RefChange::delete).collect();
        self.store.update(&changes)
    }

    fn fetch_aside(&self, names: &[String], listing: &Listing) -> Result<(), GitError> {
        self.clear_leftovers(names)?;
        let mut specs = Vec::new();
        for (source, name) in Self::sources(names, listing).zip(names) {
            specs.extend([b"+", source.as_slice(), b":", self.quarantine_at(name).as_bytes(), b"\n"].concat());
        }
        self.fetch(specs, "--no-write-fetch-head")
    }

    /// What the remote is asked for to get these refs.
    fn sources(names: &[String], listing: &Listing) -> impl Iterator<Item = Vec<u8>> {
        let none = Oid::new();
        names.iter().map(move |name| held::source(name, listing.refs.get(name).unwrap_or(&none)))
    }

    /// Fetches what many refs name without a ref for each of them. Git notes which objects came, and has checked
    /// that everything these need came too.
    ///
    /// They are asked for by what the listing says they hold: of names git looks up each among all of the remote's,
    /// which for thousands takes far longer than the fetch. A remote that gives no object without a name is asked by
    /// names; a ref that has moved since it was listed is not among what comes then.
    fn many(&self, names: &[String], listing: &Listing, arrived: &mut Values) -> Result<(), GitError> {
        let values: BTreeSet<&Oid> = names.iter().filter_map(|name| listing.refs.get(name)).collect();
        let by_value = values.iter().flat_map(|oid| [oid.as_bytes(), b"\n"].concat()).collect();
        match self.fetch(by_value, "--write-fetch-head") {
            Ok(()) => {}
            Err(error) if error.is_about_items() => {
                let lines = Self::sources(names, listing).map(|source| [source.as_slice(), b"\n"].concat());
                self.fetch(lines.flatten().collect(), "--write-fetch-head")?;
            }
            Err(error) => return Err(error),
        }
        let path = self.store.path().join("FETCH_HEAD");
        let noted = std::fs::read(&path).map_err(|e| GitError::io(path.display(), &e))?;
        let came: BTreeSet<&[u8]> = noted.split(|b| *b == b'\n').filter_map(|line| line.get(..40)).collect();
        let mut moved = Vec::new();
        for name in names {
            match listing.refs.get(name).filter(|oid| came.contains(oid.as_bytes())) {
                Some(oid) => drop(arrived.insert(name.clone(), oid.clone())),
                None => moved.push(name.clone()),
            }
        }
        if moved.is_empty() { Ok(()) } else { self.fetch_aside(&moved, listing) }
    }

    fn fetch(&self, refspecs: Vec<u8>, note: &str) -> Result<(), GitError> {
        let mut call = self
            .store
            .call(format!("fetch from {}", self.remote))
            .remote(self.remote)
            .config("fetch.fsckObjects=true")
            .config("transfer.fsckObjects=true")
            // What is in quarantine is fetched again after a crash.
            .config(UNSYNCED_REFS)
            .config("fetch.showForcedUpdates=false")
            .config("fetch.recurseSubmodules=false");
        for id in self.allow.iter().filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric())) {
            call = call.config(format!("fetch.fsck.{id}=ignore"));
        }
        let call = call.args([
            "fetch",
            "--progress",
            "--no-tags",
            note,
            "--no-auto-gc",
            "--refmap=",
            "--stdin",
            "--end-of-options",
        ]);
        let call = call.args([self.remote.argument()]).input(refspecs);
        let out = call.run()?;
        if out.stderr.contains("shallow roots are not allowed") {
            return Err(GitError::Invalid(format!(
                "{} is a shallow clone, so its history is not whole: run `git fetch --unshallow` there, then sync again",
                self.remote
            )));
        }
        Ok(())
    }

    /// Moves what passed out of the quarantine. What is replaced without being contained in its
    /// successor, or vanished, stays reachable under its own id.
    fn admit(
        &self,
        before: &Values,
        fetched: &Values,
        waiting: &Values,
        wrong: &BTreeMap<String, String>,
        gone: &[&String],
    ) -> Result<(), GitError> {
        let (mut first, mut then) = (Vec::new(), Vec::new());
        let keep = |oid: &Oid| RefChange::set(format!("refs/cathedral/seen/{oid}"), oid);
        for name in gone {
            first.push(keep(&before[*name]));
            first.push(RefChange::delete(kept_at(self.side, name)));
        }
        for (name, oid) in fetched {
            if waiting.contains_key(name) {
                first.push(RefChange::delete(self.quarantine_at(name)));
            }
            if wrong.contains_key(name) {
                then.push(RefChange::set(self.refused_at(name), oid));
                continue;
            }
            if let Some(old) = before.get(name)
                && old != oid
                && self.store.relation(old, oid) != Relation::Behind
            {
                then.push(keep(old));
            }
            then.push(RefChange::set(kept_at(self.side, name), oid));
        }
        then.dedup_by(|a, b| a.name == b.name);
        first.sort_by(|a, b| a.name.cmp(&b.name));
        first.dedup_by(|a, b| a.name == b.name);
        then.sort_by(|a, b| a.name.cmp(&b.name));
        then.dedup_by(|a, b| a.name == b.name);
        // The new names first wherever they are not in the way of old ones, so that a crash between the
        // two leaves every object reachable; else the quarantine is fetched again.
        let (deletes, keeps): (Vec<_>, Vec<_>) = first.into_iter().partition(|c| c.new.is_none());
        let (unmove, vanish): (Vec<_>, Vec<_>) = deletes.into_iter().partition(|c| c.name.starts_with(QUARANTINE));
        self.store.update(&keeps)?;
        self.store.update(&vanish)?;
        self.store.update(&then)?;
        self.store.update(&unmove)
    }
}

/// Fetches one commit by a ref of another repository on this machine, into a ref of the store.
pub fn copy_ref(store: &Store, from: &std::path::Path, source: &str, target: &str) -> Result<(), GitError> {
    let remote = Remote::Local(from.to_owned());
    store
        .call(format!("copy {source}"))
        .remote(&remote)
        .config("fetch.fsckObjects=true")
        .config("uploadpack.allowAnySHA1InWant=true")
        .args([
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            "--refmap=",
            "--end-of-options",
        ])
        .args([remote.argument()])
        .args([format!("+{source}:{target}")])
        .run()
        .map(drop)
}
