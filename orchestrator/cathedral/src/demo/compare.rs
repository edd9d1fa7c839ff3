//! Compares a restored copy with the original by means that share no code with the syncers: the git
//! command line, plain SQL, plain file reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::git::Git;
use crate::cli::{Failure, many};

/// What a comparison looked at, or the first thing that differs.
pub type Compared = Result<String, String>;

/// Every ref of `original` is in `restored` with the same object, and the restored repository is whole.
pub fn git(original: &Path, restored: &Path) -> Result<Compared, Failure> {
    let list = |repository: &Path| {
        Git::at(repository).line(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"])
    };
    let (left, right) = (list(original)?, list(restored)?);
    if let Some(missing) = left.lines().find(|line| !right.lines().any(|r| r == *line)) {
        return Ok(Err(format!("{missing} is not in the restored copy")));
    }
    if let Err(failure) = Git::at(restored).run(&["fsck", "--full", "--strict"]) {
        return Ok(Err(failure.what));
    }
    let commits = Git::at(restored).line(&["rev-list", "--count", "--all"])?;
    Ok(Ok(format!("{}, {commits} commits, git fsck clean", many(left.lines().count() as u64, "ref", "refs"))))
}

/// Every row of every table is equal.
pub fn database(original: &Path, restored: &Path) -> Result<Compared, Failure> {
    let read = |path: &Path| rows(path).map_err(|e| Failure::new(1, "C1002", format!("{}: {e}", path.display())));
    let (left, right) = (read(original)?, read(restored)?);
    if left == right {
        let count: usize = left.values().map(Vec::len).sum();
        return Ok(Ok(format!("{} tables, {count} rows, all equal", left.len())));
    }
    let differs = left.iter().find(|(table, rows)| right.get(*table) != Some(rows));
    Ok(Err(differs.map_or("a table too many".into(), |(table, _)| format!("table {table} differs"))))
}

type Tables = BTreeMap<String, Vec<String>>;

fn rows(path: &Path) -> rusqlite::Result<Tables> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(path, flags)?;
    let mut names = db.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name not like '_cathedral%' and name not like 'cathedral_%'")?;
    let names: Vec<String> = names.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    let mut out = Tables::new();
    for name in names {
        let mut statement = db.prepare(&format!("select * from \"{}\"", name.replace('"', "\"\"")))?;
        let width = statement.column_count();
        let mut lines: Vec<String> = statement
            .query_map([], |row| {
                let cells: Result<Vec<String>, _> =
                    (0..width).map(|i| row.get_ref(i).map(|cell| format!("{cell:?}"))).collect();
                cells.map(|c| c.join("|"))
            })?
            .collect::<Result<_, _>>()?;
        lines.sort();
        out.insert(name, lines);
    }
    Ok(out)
}

/// Every file has the same bytes.
pub fn files(original: &Path, restored: &Path) -> Result<Compared, Failure> {
    let (left, right) = (tree(original)?, tree(restored)?);
    for (path, bytes) in &left {
        match right.get(path) {
            Some(there) if there == bytes => {}
            Some(_) => return Ok(Err(format!("{} differs", path.display()))),
            None => return Ok(Err(format!("{} is missing", path.display()))),
        }
    }
    if let Some(extra) = right.keys().find(|path| !left.contains_key(*path)) {
        return Ok(Err(format!("{} is too many", extra.display())));
    }
    Ok(Ok(format!("{} files, every byte equal", left.len())))
}

fn tree(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failure> {
    let mut out = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(folder) = left.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| Failure::io(&folder.display().to_string(), &e))?;
        for entry in entries {
            let path = entry.map_err(|e| Failure::io(&folder.display().to_string(), &e))?.path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".cathedral"));
            if hidden {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else {
                let bytes = fs::read(&path).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
                out.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf(), bytes);
            }
        }
    }
    Ok(out)
}
