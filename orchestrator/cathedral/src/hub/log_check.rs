//! What the last check of the log found, kept beside the log: opening a log does not read all of it, and what
//! was found once must not be forgotten by whoever only opens it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cathedral_integrity::{Audit, LogError, LogReader};
use cathedral_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::env::HubEnv;

#[derive(Serialize, Deserialize)]
struct LogCheck {
    at: Timestamp,
    problems: u64,
    first: String,
}

/// How often a difference must be seen to count.
const LOOKS: usize = 3;

/// Computes the whole log anew. A hub may append meanwhile, which for a moment looks like a torn end: only what
/// each of several looks finds is a difference.
pub fn audit(state: &Path) -> Result<Audit, LogError> {
    let (log, key) = (state.join("log"), cathedral_integrity::key::verifier_key(&state.join("keys"))?);
    let mut audit = LogReader::audit(&log, &key)?;
    for _ in 1..LOOKS {
        if audit.is_clean() {
            break;
        }
        let again = LogReader::audit(&log, &key)?;
        audit.differences.retain(|difference| again.differences.contains(difference));
        audit.leaves = again.leaves;
    }
    Ok(audit)
}

fn path(state: &Path) -> PathBuf {
    state.join("log-check.json")
}

/// Remembers what a check found. Only a check of every leaf takes back what an earlier one has found.
pub fn note_log_check(state: &Path, is_whole: bool, problems: &[String]) {
    let path = path(state);
    let done = match problems.first() {
        None if is_whole && path.exists() => fs::remove_file(&path),
        None => Ok(()),
        Some(first) => {
            let check = LogCheck { at: HubEnv::clock(), problems: problems.len() as u64, first: first.clone() };
            let write = || -> std::io::Result<()> {
                let mut aside = tempfile::NamedTempFile::new_in(state)?;
                serde_json::to_writer(&mut aside, &check)?;
                aside.write_all(b"\n")?;
                aside.as_file().sync_all()?;
                aside.persist(&path).map(|_| ()).map_err(|e| e.error)
            };
            write()
        }
    };
    if let Err(error) = done {
        tracing::warn!(path = %path.display(), %error, "what a check of the log found is not remembered");
    }
}

/// Says what the last check of the log found; none: nothing, or there was none.
pub fn log_check(state: &Path) -> Option<String> {
    let check: LogCheck = serde_json::from_slice(&fs::read(path(state)).ok()?).ok()?;
    let more = if check.problems > 1 { format!(" and {} more", check.problems - 1) } else { String::new() };
    let at: String = check.at.to_rfc3339().chars().take(16).collect();
    Some(format!("the check of {} UTC found {}{more}", at.replace('T', " "), check.first))
}
