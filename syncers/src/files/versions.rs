//! Which contents were replaced or removed, where, by which run, and why: an index over the content store.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cathedral_model::ecosystem::Side;
use cathedral_model::ids::{Digest, RunId};
use serde::{Deserialize, Serialize};

/// One line of the index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Escaped.
    pub path: String,
    pub replica: Side,
    pub run: RunId,
    pub reason: String,
    pub b3: Digest,
    pub size: u64,
}

/// Adds lines that are not there yet, durably.
pub fn note(at: &Path, versions: &[Version]) -> io::Result<()> {
    if versions.is_empty() {
        return Ok(());
    }
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(at)?;
    let known: BTreeSet<Version> = read(&mut file)?.into_iter().collect();
    let mut lines = vec![];
    let size = file.seek(io::SeekFrom::End(0))?;
    if size > 0 {
        let mut last = [0];
        file.seek(io::SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            // A crash cut the last line.
            lines.push(b'\n');
        }
    }
    for version in versions.iter().filter(|version| !known.contains(version)) {
        serde_json::to_writer(&mut lines, version)?;
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_all()
}

fn read(file: &mut fs::File) -> io::Result<Vec<Version>> {
    let mut bytes = vec![];
    file.seek(io::SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Lists the index.
pub fn list(at: &Path) -> io::Result<Vec<Version>> {
    match fs::File::open(at) {
        Ok(mut file) => read(&mut file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(e),
    }
}
