//! Taking one snapshot of the whole ecosystem, before a sync, before a restore or for itself.
//!
//! Each side is in it as it is. A side that cannot be read is in it as the newest snapshot holds it, or, where
//! both make one part, as it was read last, and marked; what is the matter with one side never keeps the other
//! one out.

use std::collections::BTreeMap;

use cathedral_model::ecosystem::{Side, Spoke};
use cathedral_model::event::{Message, NewEvent};
use cathedral_model::ids::{Digest, LeafIndex, RunId, SnapshotId, SpokeName};
use cathedral_model::notice::{DESTINATION_BEHIND, SNAPSHOT_SEALED};
use cathedral_model::observation::Digests;
use cathedral_model::ports::env::Update;
use cathedral_model::ports::ledger::{LeafKind, NewLeaf};
use cathedral_model::ports::syncer::Place;
use cathedral_model::ports::{Fault, PortError, SnapshotWriter};
use cathedral_model::run::{SnapshotTaken, SyncRun};
use cathedral_model::snapshot::{PartKey, SnapshotInfo, SnapshotMeta, Standing, part_digest, parts_of};
use cathedral_model::time::Timestamp;

use crate::work::Engine;

/// What is known of a spoke before it is written into a snapshot.
pub(crate) enum Known {
    /// It was seen at these digests: a part that was read at the same one before need not be read again.
    At(Digests),
    /// It has changed since: it is read as it is, and what was read may be remembered for the plan.
    Moved { remember: bool },
    /// It cannot be read as a whole, for this reason.
    Unread(Fault),
}

impl Engine {
    /// Decides the id of a new snapshot. Snapshots are ordered by their ids: one that was taken while the
    /// clock was ahead must not stay the latest until the clock catches up.
    pub(crate) async fn new_snapshot_id(&self) -> SnapshotId {
        let env = &self.ports.env;
        let mut entropy = [0; 10];
        env.entropy(&mut entropy);
        let id = SnapshotId::generate(env.now(), entropy);
        match self.patiently(|| self.ports.vault.newest()).await {
            Ok(Some(newest)) => id.after(&newest),
            Ok(None) => id,
            Err(error) => {
                // What is the matter with the vault is told when the snapshot is taken.
                tracing::debug!(%error, "the newest snapshot is not known");
                id
            }
        }
    }

    /// Returns the newest snapshot and its leaf when it holds all that this run may change as the run has seen it,
    /// and all that can be read of what it cannot sync, whole at every destination: another one would be the same
    /// once more. What is settled is not changed by this run, and what is disturbed is snapshotted then.
    pub(crate) async fn snapshot_as_seen(&self, state: &SyncRun) -> Option<(SnapshotId, LeafIndex)> {
        // What cannot be asked is told when the snapshot is taken.
        let newest = self.patiently(|| self.ports.vault.newest()).await.ok()??;
        let info = self.patiently(|| self.ports.vault.snapshot(&newest)).await.ok()?;
        if info.destinations.iter().any(|d| d.state != "held") {
            return None;
        }
        for (name, progress) in &state.spokes {
            let Some(seen) = progress.observed.as_ref().filter(|_| progress.failed.is_none()) else {
                if progress.unheld {
                    return None;
                }
                continue;
            };
            if !progress.is_changed() {
                continue;
            }
            let (kind, seen) = (progress.declared.kind, seen.digests());
            for side in parts_of(kind) {
                let key = PartKey { spoke: name.clone(), side: *side };
                let part = info.parts.iter().find(|p| p.key == key)?;
                if part.kind != kind || part.carried.is_some() || part.observed != part_digest(kind, *side, &seen) {
                    return None;
                }
            }
        }
        let look = self.ports.vault.look().await.ok()?;
        let is_sound = |d: &Standing| d.fault.is_none() && d.missing == 0 && d.damaged == 0;
        let is_whole = look.newest_lacks.is_none() && look.destinations.iter().all(is_sound);
        if !is_whole {
            return None;
        }
        // One that is not in the log is no proof of anything.
        let id = leaf_id(&newest);
        let leaf = self.patiently(|| self.ports.ledger.find(&id)).await.ok()??;
        Some((newest, leaf))
    }

    /// Takes a snapshot, or goes on with it. A spoke that is not in `known` is looked at first. What could
    /// not be read goes into `unread`, with the reason.
    pub(crate) async fn take_snapshot(
        &self,
        meta: &SnapshotMeta,
        known: &BTreeMap<SpokeName, Known>,
        unread: &mut BTreeMap<PartKey, PortError>,
    ) -> Result<SnapshotInfo, PortError> {
        let writer = match self.ports.vault.begin(meta).await? {
            Ok(writer) => writer,
            Err(visible) => return Ok(visible),
        };
        let total = self.ecosystem.spokes.len() as u64;
        for (done, spoke) in self.ecosystem.spokes.iter().enumerate() {
            self.ports.progress.update(&Update {
                phase: "snapshot",
                item: spoke.name.as_str(),
                done: done as u64,
                total,
                unit: "spokes",
            });
            self.write_spoke(writer.as_ref(), spoke, known.get(&spoke.name), unread).await?;
        }
        let info = self.patiently(|| writer.commit()).await?;
        self.ports.env.reached("snapshot:visible");
        Ok(info)
    }

    /// Writes the parts of a spoke, each by itself.
    async fn write_spoke(
        &self,
        writer: &dyn SnapshotWriter,
        spoke: &Spoke,
        known: Option<&Known>,
        unread: &mut BTreeMap<PartKey, PortError>,
    ) -> Result<(), PortError> {
        if let Some(Known::Moved { remember: true }) = known {
            self.ports.syncer(spoke.kind()).remember(&spoke.name);
        }
        for side in parts_of(spoke.kind()) {
            let key = PartKey { spoke: spoke.name.clone(), side: *side };
            let digest = match known {
                Some(Known::At(digests)) => Ok(Some(part_digest(spoke.kind(), *side, digests))),
                Some(Known::Moved { .. }) => Ok(None),
                Some(Known::Unread(fault)) => {
                    let whole = PortError::failed(fault.cause, fault.message.clone());
                    self.side_alone(spoke, *side, whole).await.map(Some)
                }
                None => self.part_now(spoke, *side).await.map(Some),
            };
            let written = match digest {
                Ok(digest) => self.write_part(writer, spoke, &key, digest).await,
                Err(error) => Err(error),
            };
            let Err(error) = written else { continue };
            if let PortError::Fenced(_) = error {
                return Err(error);
            }
            let carried = match self.write_partly(writer, spoke, &key).await {
                Ok(is_written) => is_written,
                Err(PortError::Fenced(who)) => return Err(PortError::Fenced(who)),
                Err(both) => {
                    tracing::debug!(spoke.name = %spoke.name, error = %both, "no side of it can be read");
                    false
                }
            };
            let why = error.to_string();
            let carried = carried || self.patiently(|| writer.carry(&key, spoke.kind(), &why)).await?;
            tracing::warn!(spoke.name = %spoke.name, side = side.as_str(), carried, %error, "cannot be read for this snapshot");
            unread.insert(key, error);
        }
        Ok(())
    }

    async fn write_part(
        &self,
        writer: &dyn SnapshotWriter,
        spoke: &Spoke,
        key: &PartKey,
        digest: Option<Digest>,
    ) -> Result<(), PortError> {
        if let Some(digest) = digest
            && writer.reuse(key, spoke.kind(), &digest).await?
        {
            return Ok(());
        }
        let mut sink = writer.part(key, spoke.kind())?;
        let read_at = self.ports.syncer(spoke.kind()).export(spoke, &Place::Live(key.side), sink.as_mut()).await?;
        sink.finish(&read_at, "exact").map(|_| ())
    }

    /// Writes the one part of both sides while one of them cannot be read, which is in it as it was read last.
    /// Says whether there is such a part.
    async fn write_partly(&self, writer: &dyn SnapshotWriter, spoke: &Spoke, key: &PartKey) -> Result<bool, PortError> {
        if !is_shared(spoke) {
            return Ok(false);
        }
        let mut sink = writer.part(key, spoke.kind())?;
        let read_at = self.ports.syncer(spoke.kind()).export_partly(spoke, sink.as_mut()).await?;
        sink.finish(&read_at, "exact").map(|_| true)
    }

    /// Returns the digest of a part as it is now, also while the other side cannot be read.
    pub(crate) async fn part_now(&self, spoke: &Spoke, side: Side) -> Result<Digest, PortError> {
        let syncer = self.ports.syncer(spoke.kind());
        match self.patiently(|| syncer.observe(spoke)).await {
            Ok(seen) => Ok(part_digest(spoke.kind(), side, &seen.digests())),
            Err(error) => self.side_alone(spoke, side, error).await,
        }
    }

    /// Returns the digest of one side of a spoke whose sides cannot be read together.
    async fn side_alone(&self, spoke: &Spoke, side: Side, whole: PortError) -> Result<Digest, PortError> {
        if is_shared(spoke) {
            return Err(whole);
        }
        let syncer = self.ports.syncer(spoke.kind());
        Ok(self.patiently(|| syncer.observe_side(spoke, side)).await?.digest)
    }

    /// Returns the parts, by their sides, of which something can be read that is not as the newest snapshot
    /// holds it, of a spoke whose sides cannot be read together.
    pub(crate) async fn unheld_sides(&self, spoke: &Spoke) -> Vec<Side> {
        let mut out = vec![];
        for side in parts_of(spoke.kind()) {
            let syncer = self.ports.syncer(spoke.kind());
            let seen = if is_shared(spoke) {
                let both = self.patiently(|| syncer.observe_partly(spoke)).await;
                both.map(|seen| part_digest(spoke.kind(), *side, &seen.digests()))
            } else {
                self.patiently(|| syncer.observe_side(spoke, *side)).await.map(|seen| seen.digest)
            };
            let Ok(seen) = seen else { continue };
            let key = PartKey { spoke: spoke.name.clone(), side: *side };
            // What cannot be compared is not known to be held.
            if self.patiently(|| self.newest_digest(&key)).await.ok().flatten() != Some(seen) {
                out.push(*side);
            }
        }
        out
    }

    /// Returns what the newest snapshot holds a part at.
    async fn newest_digest(&self, key: &PartKey) -> Result<Option<Digest>, PortError> {
        let Some(newest) = self.ports.vault.newest().await? else { return Ok(None) };
        let info = self.ports.vault.snapshot(&newest).await?;
        Ok(info.parts.iter().find(|p| p.key == *key).map(|p| p.observed))
    }

    /// Makes a snapshot a leaf of the log.
    pub(crate) async fn log_snapshot(&self, run: RunId, taken: &SnapshotTaken) -> Result<LeafIndex, PortError> {
        let leaf = NewLeaf {
            kind: LeafKind::Snapshot,
            id: leaf_id(&taken.id),
            subject: taken.id.to_string(),
            sha256: Some(taken.manifest_sha256.clone()),
            blake3: Some(taken.manifest_blake3.clone()),
            at: self.ports.env.now(),
            predicate: serde_json::json!({
                "run": run, "root": taken.root, "destinations": taken.destinations,
            }),
        };
        self.patiently(|| self.ports.ledger.append(&leaf)).await
    }
}

fn leaf_id(snapshot: &SnapshotId) -> String {
    format!("snapshot:{snapshot}")
}

/// Whether both sides of a spoke make one part.
fn is_shared(spoke: &Spoke) -> bool {
    parts_of(spoke.kind()).len() < 2
}

/// The event that tells of a snapshot that is in the log.
pub(crate) fn announcement(run: RunId, taken: &SnapshotTaken, leaf: LeafIndex) -> NewEvent {
    let data = serde_json::json!({ "snapshot": taken.id, "root": taken.root, "leaf": leaf });
    NewEvent { kind: "snapshot.taken".into(), run: Some(run), spoke: None, data }
}

/// What the outside is told of a snapshot that is in the log: that it is there, and which destinations do
/// not hold it; each of them once a day, since every snapshot misses one that is away.
pub(crate) fn messages(run: RunId, taken: &SnapshotTaken, leaf: LeafIndex, now: Timestamp) -> Vec<Message> {
    let id = &taken.id;
    let data = serde_json::json!({
        "snapshot": id, "root": taken.root, "leaf": leaf, "run": run, "destinations": taken.destinations,
    });
    let sealed = Message { key: format!("snapshot:{id}:sealed"), topic: SNAPSHOT_SEALED.into(), payload: data };
    let day: String = now.to_rfc3339().chars().take(10).collect();
    let behind = taken.destinations.iter().filter(|held| held.state != "held").map(|held| Message {
        key: format!("destination:{}:behind:{day}", held.name),
        topic: DESTINATION_BEHIND.into(),
        payload: serde_json::json!({
            "destination": held.name, "state": held.state, "snapshot": id, "run": run,
        }),
    });
    std::iter::once(sealed).chain(behind).collect()
}

pub(crate) fn taken_of(info: &SnapshotInfo) -> SnapshotTaken {
    SnapshotTaken {
        id: info.meta.id.clone(),
        root: info.root,
        parts: info.digests(),
        bytes: info.bytes,
        destinations: info.destinations.clone(),
        manifest_sha256: info.manifest_sha256.clone(),
        manifest_blake3: info.manifest_blake3.clone(),
        skipped: info.parts.iter().map(|p| p.skipped.len() as u64).sum(),
    }
}
