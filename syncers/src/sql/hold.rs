//! One moment of a database, kept for the plan after the snapshot without keeping anybody from writing.

use std::path::Path;

use cathedral_model::ports::{Cause, PortError};
use rusqlite::backup::Backup;
use tempfile::TempDir;

use super::open::{creating, fail, reading};
use super::plan::{Open, open};

/// A side as it was at one moment.
pub(super) struct Moment {
    pub side: Open,
    /// Goes after the connection to what is in it.
    _copy: Option<TempDir>,
}

/// Opens a side to be kept; none when its file is missing. Readers of a log (WAL) are in nobody's way. In the
/// other journal modes a reader keeps everybody from committing, so that a copy is made and kept.
pub(super) fn moment(path: &Path, scratch: &Path) -> Result<Option<Moment>, PortError> {
    let Some(source) = reading(path)? else { return Ok(None) };
    let mode =
        |conn: &rusqlite::Connection| conn.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    if mode(&source.conn).map_err(|e| fail(path, &e))?.eq_ignore_ascii_case("wal") {
        let catalog = source.catalog()?;
        return Ok(Some(Moment { side: Open { reading: source, catalog }, _copy: None }));
    }
    let aside = |e: std::io::Error| PortError::io(scratch.display(), &e);
    std::fs::create_dir_all(scratch).map_err(aside)?;
    let folder = tempfile::Builder::new().prefix("moment-").tempdir_in(scratch).map_err(aside)?;
    let file = folder.path().join("copy.db");
    let mut copy = creating(&file)?;
    // Through SQLite: to open and close the file itself would end the locks on it, as POSIX has it.
    Backup::new(&source.conn, &mut copy).and_then(|backup| backup.step(-1)).map_err(|e| fail(path, &e))?;
    drop((copy, source));
    let gone = || PortError::failed(Cause::NotFound, format!("the copy of {} is gone", path.display()));
    let side = open(&file)?.ok_or_else(gone)?;
    Ok(Some(Moment { side, _copy: Some(folder) }))
}
