//! A database out of a snapshot.
//!
//! The new database is built and checked aside. At a new place it is renamed. Over a living file it is written
//! through SQLite's backup into that same file, in one transaction: programs that have the file open see the new
//! content at their next read, their locks are respected, and a crash rolls back. (A rename would leave them
//! writing to a file without a name, and would put the old log beside the new database.) Only a file that SQLite
//! itself cannot read is moved away, with its companions.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::{PortError, Source};
use rusqlite::backup::{Backup, StepResult};

use super::build::{Builder, Finished};
use super::catalog::Settings;
use super::open::{Reading, absolute, beside, creating, fail, reading, writing};

const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Builds the database at a new place.
pub(super) fn to_path(path: &Path, source: &mut dyn Source) -> Result<Imported, PortError> {
    let path = absolute(path)?;
    if fs::symlink_metadata(&path).is_ok() {
        // A repeated import finishes: what stands there is replaced only when it is the same kind of thing.
        let keep = beside(&path, ".before");
        return in_place_keeping(&path, &keep, source, &|_| Ok(()));
    }
    if source.schema()?.0.settings["missing"] == true {
        return Ok(Imported { path: path.display().to_string(), files: 0, bytes: 0, kept: None });
    }
    let finished = build(&path, source, None)?;
    let (bytes, files) = (finished.bytes, 1);
    let at = finished.place()?;
    Ok(Imported { path: at.display().to_string(), files, bytes, kept: None })
}

/// Replaces the content of a declared database; what stood there is kept in the folder `kept`.
pub(super) fn in_place(
    path: &Path,
    kept: &Path,
    source: &mut dyn Source,
    reach: &dyn Fn(&str) -> Result<(), PortError>,
) -> Result<Imported, PortError> {
    let path = absolute(path)?;
    let name = path.file_name().map_or_else(|| "database".into(), ToOwned::to_owned);
    fs::create_dir_all(kept).map_err(|e| PortError::io(kept.display(), &e))?;
    in_place_keeping(&path, &kept.join(name), source, reach)
}

fn in_place_keeping(
    path: &Path,
    keep: &Path,
    source: &mut dyn Source,
    reach: &dyn Fn(&str) -> Result<(), PortError>,
) -> Result<Imported, PortError> {
    if source.schema()?.0.settings["missing"] == true {
        // The snapshot was taken before this side had a file: what has come since is moved away, whole.
        let kept = put_away(path, keep)?;
        return Ok(Imported { path: path.display().to_string(), files: 0, bytes: 0, kept });
    }
    let living = match reading(path) {
        Ok(living) => living,
        Err(PortError::Corrupt(_)) => None,
        Err(PortError::Permanent { cause: cathedral_model::ports::Cause::Invalid, .. }) => None,
        Err(other) => return Err(other),
    };
    let page_size = match &living {
        // A log of other pages cannot take these in.
        Some(living) => {
            let catalog = living.catalog();
            catalog.ok().filter(|c| c.settings.wal).map(|c| c.settings.page_size)
        }
        None => None,
    };
    let finished = build(path, source, page_size)?;
    reach("import_built")?;
    let bytes = finished.bytes;
    let mut kept = keep.exists().then(|| keep.display().to_string());
    match living {
        Some(living) => {
            if kept.is_none() {
                keep_copy(&living, keep)?;
                kept = Some(keep.display().to_string());
            }
            drop(living);
            reach("import_kept")?;
            overwrite(path, &finished)?;
        }
        None => {
            kept = put_away(path, keep)?.or(kept);
            finished.place()?;
        }
    }
    Ok(Imported { path: path.display().to_string(), files: 1, bytes, kept })
}

fn build(path: &Path, source: &mut dyn Source, page_size: Option<i64>) -> Result<Finished, PortError> {
    let (schema, tables) = source.schema()?;
    let mut settings = Settings::from_json(&schema.settings);
    if let Some(page_size) = page_size {
        settings.page_size = page_size;
    }
    let mut builder = Builder::new(path, settings, &schema.statements)?;
    for info in tables {
        let table = builder.table(&info.name)?;
        if table.shape.columns != info.columns {
            return Err(PortError::Corrupt(format!("table {:?} does not have the columns of its rows", info.name)));
        }
        source.rows(&info.name, &mut |row| builder.insert(&table, &row))?;
    }
    builder.finish(None)
}

/// Copies a living database as of one moment; the copy is complete or not there.
fn keep_copy(living: &Reading, keep: &Path) -> Result<(), PortError> {
    let io = |e: std::io::Error| PortError::io(keep.display(), &e);
    let aside = beside(keep, ".part");
    let _ = fs::remove_file(&aside);
    {
        let mut to = creating(&aside)?;
        copy_all(&living.conn, &mut to, &living.path)?;
    }
    File::open(&aside).and_then(|f| f.sync_all()).map_err(io)?;
    fs::rename(&aside, keep).map_err(io)?;
    let dir = keep.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|d| d.sync_all()).map_err(io)
}

fn overwrite(path: &Path, finished: &Finished) -> Result<(), PortError> {
    let from = creating(finished.path())?;
    let mut to = writing(path)?;
    copy_all(&from, &mut to, path)
}

fn copy_all(from: &rusqlite::Connection, to: &mut rusqlite::Connection, path: &Path) -> Result<(), PortError> {
    let copy = Backup::new(from, to).map_err(|e| fail(path, &e))?;
    for _ in 0..50 {
        match copy.step(-1).map_err(|e| fail(path, &e))? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    let message = format!("database {} is locked by another program", path.display());
    Err(PortError::transient(cathedral_model::ports::Cause::Busy, message))
}

/// Moves a database and its companions; says where to, if there was anything.
fn put_away(path: &Path, keep: &Path) -> Result<Option<String>, PortError> {
    let mut kept = None;
    for suffix in COMPANIONS {
        let old = beside(path, suffix);
        if fs::symlink_metadata(&old).is_ok() {
            move_away(&old, &beside(keep, suffix))?;
            kept = Some(keep.display().to_string());
        }
    }
    Ok(kept)
}

fn move_away(from: &Path, to: &Path) -> Result<(), PortError> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()).and_then(|()| fs::remove_file(from))
        }
        other => other,
    }
    .map_err(|e| PortError::io(to.display(), &e))
}
