//! Making a snapshot visible: packs, index, then the manifest, each at the quorum before the next.

use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{PartInfo, SnapshotInfo};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::snapshots::{self, Loaded};
use super::store::Store;
use super::{Inner, adopt, checked, file_cache, index_cache, lock, presence};
use crate::index::Pack;
use crate::manifest::{self, Manifest, Part, Stats};
use crate::root;
use crate::seal;
use crate::signed::{self, DOMAIN_SNAPSHOT};

/// Writes everything that is still open and returns when the quorum holds the snapshot.
pub(crate) fn commit(store: &Arc<Store>) -> Result<SnapshotInfo, PortError> {
    let inner = &store.inner;
    store.line.finish()?;
    let packer = &store.line.packer;
    packer.fanout.flush()?;
    store.env.reached("vault.packs");
    let packs: Vec<Pack> = store.adopted.iter().cloned().chain(lock(&packer.done).drain(..)).collect();
    let mut index_object = None;
    if !packs.is_empty() {
        let mut entropy = [0; 10];
        store.env.entropy(&mut entropy);
        let object = format!("index/{}.age", SnapshotId::generate(store.env.now(), entropy));
        let bytes = index_cache::seal(inner, &packs)?;
        packer.stored_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        packer.fanout.put(&object, bytes)?;
        packer.fanout.flush()?;
        index_object = Some(object);
        store.env.reached("vault.index");
    }
    let manifest = manifest(store)?;
    let signer = inner.signer.as_ref().ok_or_else(|| PortError::failed(Cause::Key, "signing key is missing"))?;
    let plain =
        signed::seal(DOMAIN_SNAPSHOT, &manifest, signer).map_err(|e| PortError::permanent(format!("manifest: {e}")))?;
    let sealed = seal::encrypt(&inner.recipients, &plain)?;
    let loaded = snapshots::verify(inner, &manifest.id, &sealed)
        .map_err(|e| PortError::permanent(format!("manifest cannot be read back: {e}")))?;
    packer.fanout.put(&manifest::object(&manifest.id), sealed)?;
    packer.fanout.flush()?;
    store.env.reached("vault.manifest");
    Ok(remember(store, inner, loaded, &packs, index_object))
}

fn manifest(store: &Store) -> Result<Manifest, PortError> {
    let inner = &store.inner;
    let packer = &store.line.packer;
    let spokes: Vec<Part> = lock(&store.parts).values().cloned().collect();
    let infos: Vec<PartInfo> = spokes.iter().map(Part::info).collect();
    let meta = &store.meta;
    Ok(Manifest {
        format: "cathedral-snapshot".into(),
        version: 1,
        id: meta.id.clone(),
        vault: inner.file.vault.clone(),
        epoch: inner.secret.epoch,
        ecosystem: meta.ecosystem.clone(),
        at: meta.at.0.to_string(),
        parent: store.parent.as_ref().map(|p| p.manifest.id.clone()),
        cause: meta.cause.clone(),
        root: root::ecosystem(&inner.hashes, &infos)?,
        tags: meta.tags.clone(),
        stats: Stats {
            logical: infos.iter().map(|i| i.bytes).sum::<u64>().to_string(),
            new: packer.new_bytes.load(Ordering::Relaxed).to_string(),
            stored: packer.stored_bytes.load(Ordering::Relaxed).to_string(),
        },
        spokes,
        destinations: packer.fanout.held(),
    })
}

/// Brings the caches up to date; nothing here can undo the snapshot.
fn remember(store: &Store, inner: &Inner, loaded: Loaded, packs: &[Pack], index: Option<String>) -> SnapshotInfo {
    {
        let mut known = inner.write_index();
        packs.iter().for_each(|pack| known.add(pack));
    }
    if let Some(object) = index {
        if let Some(dir) = inner.cache.as_deref() {
            index_cache::write_cache(&index_cache::cache_path(dir, &object), &inner.file.vault, packs);
        }
        lock(&inner.indexed).insert(object);
    }
    for (path, bytes) in lock(&store.caches).drain(..) {
        file_cache::replace(&path, &bytes);
    }
    if let Some(dir) = inner.cache.as_deref() {
        file_cache::replace(&dir.join("seen").join(loaded.manifest.id.as_str()), b"");
    }
    // What was stored again makes packs that are damaged superfluous, here and in older snapshots.
    let (gone, index) = (&store.gone, inner.read_index());
    let last = index.last_places(gone);
    drop(index);
    checked::update(inner, |known| known.note_needed(|pack| !gone.contains(pack) || last.contains(pack)));
    presence::note_proven(inner, &loaded.manifest.id, &store.gone);
    adopt::mark_closed(inner);
    let loaded = Arc::new(loaded);
    lock(&inner.manifests).insert(loaded.manifest.id.clone(), Arc::clone(&loaded));
    loaded.info(store.line.packer.fanout.held())
}
