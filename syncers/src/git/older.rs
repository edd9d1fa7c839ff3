//! One side that cannot be read, while the other one can: it is taken as it was read last. What was accepted
//! from it then is in the store; only which branch its HEAD names is noted beside it.

use cathedral_model::ecosystem::{GitIntegration, Side};

use super::facts::{Context, Facts, hub_path, hub_pin, path_key, pin_key};
use super::failure::GitError;
use super::fetch;
use super::paths;
use super::refs::takes_part;

/// The file in the store that says which branch the spoke's HEAD named last.
const HEAD_FILE: &str = "cathedral-head";

/// The side that is as it was read last.
pub struct Older {
    pub side: Side,
    pub why: String,
}

impl Context<'_> {
    /// Reads both sides as far as they can be read: one of them may be as it was read last. That both are is an
    /// error.
    pub fn observe_partly(&self) -> Result<(Facts, Option<Older>), GitError> {
        let mut older: Option<Older> = None;
        let is_mirror = matches!(self.detail.integration, GitIntegration::Mirror { .. });
        // The hub's own repository is both sides of itself.
        let is_one = matches!(self.detail.integration, GitIntegration::Master);
        let facts = self.look(&mut |side, error| {
            if is_one || matches!(error, GitError::Stopped) {
                return Err(error);
            }
            match &mut older {
                // What the hub has of a mirror is in the store, whatever its own repository's shared paths are.
                Some(older) if is_mirror => older.why.push_str(&format!("; {error}")),
                Some(_) => return Err(error),
                None => older = Some(Older { side, why: error.to_string() }),
            }
            Ok(())
        })?;
        Ok((facts, older))
    }

    /// Takes the spoke as it was read last.
    pub(super) fn recall_spoke(&self, facts: &mut Facts) -> Result<(), GitError> {
        let refs = fetch::accepted(&self.store, self.spoke.name.as_str())?;
        (facts.spoke_refs, facts.spoke_held) =
            refs.into_iter().partition(|(name, _)| takes_part(&self.detail.refs, name));
        facts.spoke_head = self.kept_head();
        Ok(())
    }

    /// Takes what the hub's repository holds as it was read last.
    pub(super) fn recall_hub_tree(&self, facts: &mut Facts) -> Result<(), GitError> {
        let tip = facts.spoke_refs.get(&self.branch()).cloned();
        if let Some(path) = self.pin() {
            let key = pin_key(path);
            if let Some(oid) = self.store.get(&hub_pin(path))? {
                facts.hub.insert(key.clone(), oid);
            }
            if let Some(oid) = &tip {
                facts.spoke.insert(key, oid.clone());
            }
        }
        for shared in &self.detail.shared_paths {
            let key = path_key(shared);
            if let Some(carrier) = self.store.get(&hub_path(shared))? {
                facts.hub.insert(key.clone(), self.store.commit(&carrier)?.tree);
            }
            if let Some(tip) = &tip
                && let Some(value) = paths::value_of(self.store.entry_at(tip, &shared.spoke)?, &shared.hub)?
            {
                facts.spoke.insert(key, value);
            }
        }
        Ok(())
    }

    fn kept_head(&self) -> Option<String> {
        std::fs::read_to_string(self.store.path().join(HEAD_FILE)).ok().filter(|head| !head.is_empty())
    }

    /// Notes which branch the spoke's HEAD names. Without it the spoke only seems to have changed once.
    pub(super) fn keep_head(&self, head: Option<&str>) {
        if self.kept_head().as_deref() == head {
            return;
        }
        let folder = self.store.path();
        let kept = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            std::io::Write::write_all(&mut file, head.unwrap_or_default().as_bytes())?;
            file.persist(folder.join(HEAD_FILE)).map_err(|e| e.error)
        });
        if let Err(error) = kept {
            tracing::debug!(store = %folder.display(), %error, "the spoke's HEAD is not noted");
        }
    }
}
