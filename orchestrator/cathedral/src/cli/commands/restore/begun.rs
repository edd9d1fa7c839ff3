//! What a restore without a hub has in place of a journal: a note in the folder it fills. It says which restore
//! was begun there, so that the same command goes on after a crash and no other one mixes in.
//!
//! Each part gets its name in one step, when it is complete. What stands there under that name is therefore
//! whole, and is proven again before it counts; what is not what the snapshot holds is somebody's and is left.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cathedral_engine::Engine;
use cathedral_model::ports::PortError;
use cathedral_model::ports::syncer::Place;
use cathedral_model::restore::{RestorePart, RestoreRequest, Restored};
use cathedral_model::snapshot::{PartKey, SnapshotInfo};

use super::super::Failure;

const NOTE: &str = ".cathedral-restore-unfinished";
/// How the adapters name what they build aside.
const ASIDE: [&str; 2] = [".cathedral-restore-", ".cathedral-"];

/// A restore that has begun in a folder. One process at a time.
pub struct Begun {
    to: PathBuf,
    /// Whether an earlier process began it.
    pub is_again: bool,
    _lock: File,
}

impl Begun {
    /// Begins in an empty folder, or goes on with the same restore.
    pub fn open(to: &Path, request: &RestoreRequest) -> Result<Self, Failure> {
        let (path, text) = (to.join(NOTE), text(request));
        let is_there = !to.is_symlink() && fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
        let found = if is_there { fs::read_to_string(&path).ok() } else { None };
        let is_again = found.as_ref() == Some(&text);
        if !is_again {
            if is_there && super::empty(to).is_err() {
                return Err(Failure::new(7, "C1701", format!("another restore into {} is not finished", to.display()))
                    .why("two restores in one folder would mix; nothing was changed")
                    .next("repeat the command that was stopped, then name a new folder for this one"));
            }
            super::empty(to)?;
            begin(to, &path, &text).map_err(|e| Failure::io(&to.display().to_string(), &e))?;
        }
        let lock = File::open(&path).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { to: to.to_path_buf(), is_again, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::new(75, "C7501", format!("another process restores into {}", to.display()))
                    .next("wait until it has ended, or name a new folder"))
            }
            Err(TryLockError::Error(e)) => Err(Failure::io(&path.display().to_string(), &e)),
        }
    }

    /// Takes the parts that are complete out of the request and returns them, proven.
    pub async fn complete(
        &self,
        engine: &Engine,
        info: &SnapshotInfo,
        request: &mut RestoreRequest,
    ) -> Result<Vec<Restored>, Failure> {
        let mut done = vec![];
        let mut rest = vec![];
        for part in std::mem::take(&mut request.parts) {
            match &part.to {
                Some(path) if self.is_again && fs::symlink_metadata(path).is_ok() => {
                    let is_whole = is_whole(engine, &part, path).await;
                    if !matches!(is_whole, Ok(true)) {
                        return Err(changed(path, is_whole.err()));
                    }
                    done.push(restored(info, &part, path));
                }
                _ => rest.push(part),
            }
        }
        request.parts = rest;
        Ok(done)
    }

    /// Removes the note, and what stopped attempts have left aside.
    pub fn end(self) -> Result<(), Failure> {
        let end = || -> std::io::Result<()> {
            if self.is_again {
                for entry in fs::read_dir(&self.to)?.flatten() {
                    if is_aside(&entry.file_name()) {
                        let is_dir = entry.file_type()?.is_dir();
                        if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
                    }
                }
            }
            fs::remove_file(self.to.join(NOTE))?;
            File::open(&self.to)?.sync_all()
        };
        end().map_err(|e| Failure::io(&self.to.display().to_string(), &e))
    }
}

/// A folder that this module made holds nothing of anybody else's under such a name.
fn is_aside(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_database = name.contains(".db");
    name != NOTE && (name.starts_with(ASIDE[0]) || name.starts_with(ASIDE[1]) && is_database)
}

/// Which restore it is, whatever the folder is called.
fn text(request: &RestoreRequest) -> String {
    let parts: Vec<_> = request.parts.iter().map(|p| (&p.spoke.name, p.side, p.root)).collect();
    let note = serde_json::json!({
        "note": "a restore into this folder was begun and is not finished; the same command goes on with it",
        "snapshot": request.snapshot, "root": request.snapshot_root, "parts": parts,
    });
    format!("{note:#}\n")
}

fn begin(to: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    let aside = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(to)?.sync_all()?;
    File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
}

async fn is_whole(engine: &Engine, part: &RestorePart, path: &Path) -> Result<bool, PortError> {
    let kind = part.spoke.kind();
    let key = PartKey { spoke: part.spoke.name.clone(), side: part.side };
    let mut sink = engine.ports().vault.prover(&key, kind)?;
    let place = Place::Path(path.to_path_buf());
    let read_at = engine.ports().syncer(kind).export(&part.spoke, &place, sink.as_mut()).await?;
    Ok(sink.finish(&read_at, "exact")?.root == part.root)
}

fn restored(info: &SnapshotInfo, part: &RestorePart, path: &Path) -> Restored {
    let known = info.parts.iter().find(|p| p.key.spoke == part.spoke.name && p.key.side == part.side);
    Restored {
        spoke: part.spoke.name.clone(),
        side: part.side,
        kind: part.spoke.kind(),
        path: path.display().to_string(),
        files: known.map_or(0, |p| p.items),
        bytes: known.map_or(0, |p| p.bytes),
        root: part.root,
        verified: true,
        kept: None,
    }
}

fn changed(path: &Path, why: Option<PortError>) -> Failure {
    let why = why.map(|e| format!(" ({e})")).unwrap_or_default();
    Failure::new(7, "C1701", format!("{} is not what the snapshot holds{why}", path.display()))
        .why("it was there complete when the restore was stopped: somebody has changed it since, so it is left alone")
        .next("move it away, then repeat the command: it goes on with the rest")
        .next("or name a new folder")
}
