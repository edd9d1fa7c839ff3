//! A database out of a snapshot.
//!
//! The new database is built and checked aside. At a new place it is renamed. Over a living file it is written
//! through SQLite's backup into that same file, in one transaction: programs that have the file open see the new
//! content at their next read, their locks are respected, and a crash rolls back. (A rename would leave them
//! writing to a file without a name, and would put the old log beside the new database.) Only a file that SQLite
//! itself cannot read is moved away, with its companions.
//!
//! Nothing that stood there is lost: it is kept first, under a name of its own, unless the very same was kept
//! before; and what a program writes in between is seen under the write lock and kept as well.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cathedral_model::ids::Digest;
use cathedral_model::ports::syncer::Imported;
use cathedral_model::ports::{Cause, PortError, Source};
use rusqlite::backup::{Backup, StepResult};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::build::{Builder, Finished};
use super::catalog::Settings;
use super::open::{Reading, absolute, beside, creating, fail, reading, writing};

const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// How often a database is kept anew because a program wrote to it meanwhile.
const ROUNDS: usize = 20;
type Seen = [Option<(u64, u64, u64, i64, i64)>; 2];

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
        let kept = put_away(path, keep)?.or_else(|| kept_before(keep).pop()).map(|k| k.display().to_string());
        return Ok(Imported { path: path.display().to_string(), files: 0, bytes: 0, kept });
    }
    // A log of other pages cannot take these in.
    let page_size = readable(path)?.and_then(|living| {
        let catalog = living.catalog();
        catalog.ok().filter(|c| c.settings.wal).map(|c| c.settings.page_size)
    });
    let finished = build(path, source, page_size)?;
    let wanted = reading(finished.path())?.and_then(|new| digest(&new));
    reach("import_built")?;
    let bytes = finished.bytes;
    let done = |kept: Option<PathBuf>| {
        let kept = kept.or_else(|| kept_before(keep).pop()).map(|k| k.display().to_string());
        Imported { path: path.display().to_string(), files: 1, bytes, kept }
    };
    let mut kept = None;
    for _ in 0..ROUNDS {
        let seen = seen(path);
        let Some(living) = readable(path)? else {
            kept = put_away(path, keep)?.or(kept);
            finished.place()?;
            return Ok(done(kept));
        };
        let now = digest(&living);
        if now.is_some() && now == wanted {
            // It was written before, by a run that could not tell so any more.
            return Ok(done(kept));
        }
        if !is_kept(&living, now, keep)? {
            kept = Some(keep_copy(&living, keep)?);
        }
        drop(living);
        reach("import_kept")?;
        if overwrite(path, &finished, &seen)? {
            return Ok(done(kept));
        }
    }
    let message = format!("database {} is written faster than it can be kept", path.display());
    Err(PortError::transient(Cause::Busy, message))
}

/// Opens what stands there; none when it is missing or SQLite cannot read it.
fn readable(path: &Path) -> Result<Option<Reading>, PortError> {
    match reading(path) {
        Err(PortError::Corrupt(_) | PortError::Permanent { cause: Cause::Invalid, .. }) => Ok(None),
        other => other,
    }
}

/// The digest of a whole database; none when it is damaged.
fn digest(living: &Reading) -> Option<Digest> {
    let catalog = living.catalog().ok()?;
    living.digest(&catalog).ok().map(|state| state.digest)
}

/// Whether this very content was kept before, by this call or by one that was cut off.
fn is_kept(living: &Reading, now: Option<Digest>, keep: &Path) -> Result<bool, PortError> {
    // What the digest leaves out would be lost without a trace.
    if now.is_none() || living.catalog().map_or(true, |c| !c.virtuals.is_empty()) {
        return Ok(false);
    }
    for kept in kept_before(keep) {
        if readable(&kept)?.and_then(|kept| digest(&kept)) == now {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `keep`, then `keep.1`, `keep.2` and so on.
fn keeping_names(keep: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(keep.to_owned()).chain((1u64..).map(|n| beside(keep, &format!(".{n}"))))
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn is_taken(keep: &Path) -> bool {
    COMPANIONS.iter().any(|suffix| is_there(&beside(keep, suffix)))
}

/// What was kept so far, the newest last.
fn kept_before(keep: &Path) -> Vec<PathBuf> {
    keeping_names(keep).take_while(|k| is_taken(k)).collect()
}

/// Everything a commit changes about the files, told without opening them.
fn seen(path: &Path) -> Seen {
    ["", "-wal"].map(|suffix| {
        // An empty log may come and go with our own connection.
        let meta = fs::metadata(beside(path, suffix)).ok().filter(|m| m.len() > 0)?;
        Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    })
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

/// Copies a living database as of one moment to the next free name; the copy is complete or not there.
fn keep_copy(living: &Reading, keep: &Path) -> Result<PathBuf, PortError> {
    let keep = keeping_names(keep).find(|k| !is_taken(k)).unwrap_or_else(|| keep.to_owned());
    let io = |e: std::io::Error| PortError::io(keep.display(), &e);
    let aside = beside(&keep, ".part");
    for suffix in COMPANIONS {
        // The journal of a copy that was cut off must not be played back into this one.
        let _ = fs::remove_file(beside(&aside, suffix));
    }
    {
        let mut to = creating(&aside)?;
        let copy = Backup::new(&living.conn, &mut to).map_err(|e| fail(&living.path, &e))?;
        step(&copy, -1, &living.path)?;
    }
    File::open(&aside).and_then(|f| f.sync_all()).map_err(io)?;
    rename_new(&aside, &keep).map_err(io)?;
    sync_folder_of(&keep)?;
    Ok(keep)
}

/// Writes the new content in one transaction, unless the file has changed since it was `seen`.
fn overwrite(path: &Path, finished: &Finished, before: &Seen) -> Result<bool, PortError> {
    let from = creating(finished.path())?;
    let mut to = writing(path)?;
    let copy = Backup::new(&from, &mut to).map_err(|e| fail(path, &e))?;
    // A step of no pages takes the write lock and nothing more: what is looked at now cannot change any more.
    step(&copy, 0, path)?;
    if seen(path) != *before {
        return Ok(false);
    }
    step(&copy, -1, path).map(|()| true)
}

fn step(copy: &Backup<'_, '_>, pages: i32, path: &Path) -> Result<(), PortError> {
    for _ in 0..50 {
        match copy.step(pages).map_err(|e| fail(path, &e))? {
            StepResult::Done => return Ok(()),
            StepResult::More if pages == 0 => return Ok(()),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    let message = format!("database {} is locked by another program", path.display());
    Err(PortError::transient(Cause::Busy, message))
}

/// Moves a database and its companions to the next free name; says where to, if there was anything.
///
/// All of them get their new names before one of them loses its old one, so that a crash never parts a database
/// from its log.
fn put_away(path: &Path, keep: &Path) -> Result<Option<PathBuf>, PortError> {
    let standing: Vec<&str> = COMPANIONS.into_iter().filter(|s| is_there(&beside(path, s))).collect();
    if standing.is_empty() {
        return Ok(None);
    }
    let half_done = |k: &PathBuf| {
        let same = |s: &&str| is_same(&beside(path, s), &beside(k, s));
        standing.iter().any(same) && standing.iter().all(|s| same(s) || !is_there(&beside(k, s)))
    };
    let keep = keeping_names(keep).find(|k| half_done(k) || !is_taken(k)).unwrap_or_else(|| keep.to_owned());
    for suffix in &standing {
        let (old, new) = (beside(path, suffix), beside(&keep, suffix));
        if !is_same(&old, &new) {
            second_name(&old, &new).map_err(|e| PortError::io(new.display(), &e))?;
        }
    }
    sync_folder_of(&keep)?;
    for suffix in &standing {
        let old = beside(path, suffix);
        match fs::remove_file(&old) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(PortError::io(old.display(), &e)),
            _ => {}
        }
    }
    sync_folder_of(path)?;
    Ok(Some(keep))
}

/// Gives a file a second name, or, where that cannot be, moves or copies it there.
fn second_name(old: &Path, new: &Path) -> std::io::Result<()> {
    let Err(error) = fs::hard_link(old, new) else { return Ok(()) };
    if error.kind() == ErrorKind::AlreadyExists {
        return Err(error);
    }
    match rename_new(old, new) {
        // A pipe would be read for ever.
        Err(e) if e.kind() == ErrorKind::CrossesDevices && fs::symlink_metadata(old)?.is_file() => {
            let aside = beside(new, ".part");
            fs::copy(old, &aside)?;
            File::open(&aside)?.sync_all()?;
            rename_new(&aside, new)
        }
        other => other,
    }
}

fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn sync_folder_of(path: &Path) -> Result<(), PortError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| PortError::io(dir.display(), &e))
}
