//! Where the numbers of a new state database begin.
//!
//! It may stand beside what a lost one has left: spokes that know its fences, a log whose leaves are named after its
//! runs, folders of what its runs have kept, and messages that were sent under their numbers. None of those may be
//! met twice. Runs go on after the greatest that any of them names; of runs that found nothing to do nothing is left,
//! so that their numbers may come again.

use std::fs;

use cathedral_integrity::LogReader;
use cathedral_model::ids::{ConflictId, Fence, RunId};
use cathedral_model::time::Timestamp;

use super::site::Site;

/// Statements are read so many at a time.
const PAGE: u64 = 256;
/// Statements at the end of the log that are looked at whenever a hub is opened.
const END: u64 = 32;

/// The greatest numbers that may have been handed out.
pub struct Least {
    pub fence: Fence,
    pub run: RunId,
    pub conflict: ConflictId,
}

/// Reads what is left.
pub fn least(site: &Site, now: Timestamp) -> Least {
    // A hub that counted from its first millisecond on can hardly have handed out one a millisecond since.
    let (millis, minutes) = (now.0 / 1_000, now.0 / 60_000_000);
    let log = site.log();
    let had_state = !matches!(&log, Ok(log) if log.as_ref().is_none_or(|log| log.size() == 0));
    let run = match &log {
        Ok(Some(log)) => in_log(log),
        Ok(None) => Some(0),
        Err(_) => None,
    };
    Least {
        fence: Fence(millis),
        // A log that cannot be read may name any.
        run: RunId(run.unwrap_or(minutes).max(in_folder(site))),
        // Nothing names the conflicts that nobody had answered.
        conflict: ConflictId(if had_state { minutes } else { 0 }),
    }
}

/// The greatest fence that a spoke has seen, as far as the state folder knows. One that is ahead of the clock was
/// handed out while the clock was wrong, or was damaged: the next ones go on after it either way.
pub fn newest_fence(site: &Site) -> Fence {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let entries = |folder: &str| fs::read_dir(site.state.join(folder)).into_iter().flatten().flatten();
    let trees = entries("fence").filter_map(|entry| read(entry.path()));
    let stores = entries("git").filter_map(|entry| read(entry.path().join("cathedral-fence")));
    Fence(trees.chain(stores).filter(|fence| *fence <= Fence::GREATEST.0).max().unwrap_or(0))
}

/// Whether the log names a run that this state database does not know: then it is an older copy of itself. The end of
/// the log tells, where the newest runs are.
pub fn is_behind(site: &Site, newest: RunId) -> bool {
    let Ok(Some(log)) = site.log() else { return false };
    greatest(&log, log.size().saturating_sub(END), log.size()).is_some_and(|named| named > newest.0)
}

/// The greatest number of a run that a leaf names; none when the log cannot be read.
fn in_log(log: &LogReader) -> Option<i64> {
    let (mut found, mut at) = (0, 0);
    while at < log.size() {
        found = found.max(greatest(log, at, at + PAGE)?);
        at += PAGE;
    }
    Some(found)
}

fn greatest(log: &LogReader, from: u64, to: u64) -> Option<i64> {
    let statements = log.statements(from, to).ok()?;
    let named = statements.iter().map(|statement| {
        let subject = statement.subject.strip_prefix("run ").and_then(|n| n.parse().ok());
        let taken_by = statement.value["predicate"]["run"].as_i64();
        subject.unwrap_or(0).max(taken_by.unwrap_or(0))
    });
    Some(named.max().unwrap_or(0))
}

/// The same of what the runs left in the state folder: what they kept, and the messages about them.
fn in_folder(site: &Site) -> i64 {
    let names = |folder: &str| {
        let entries = fs::read_dir(site.state.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let kept = names("kept").into_iter().filter_map(|name| name.parse().ok());
    // SPOKE.RUN.PLACE
    let restored = names("restored");
    let restored = restored.iter().filter_map(|name| name.rsplit('.').nth(1)?.parse().ok());
    let notices = fs::read(site.state.join("notices.jsonl")).unwrap_or_default();
    let told = notices.split(|byte| *byte == b'\n').filter_map(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        line["key"].as_str()?.strip_prefix("run:")?.split(':').next()?.parse().ok()
    });
    let pinned = names("git").into_iter().flat_map(|store| pins(site, &store));
    kept.chain(restored).chain(told).chain(pinned).max().unwrap_or(0)
}

/// The runs that have pinned something in a store of a repository.
fn pins(site: &Site, store: &str) -> Vec<i64> {
    const PINS: &str = "refs/cathedral/conflicts/";
    let store = site.state.join("git").join(store);
    let loose = fs::read_dir(store.join(PINS)).into_iter().flatten().flatten();
    let mut found: Vec<i64> = loose.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let packed = fs::read(store.join("packed-refs")).unwrap_or_default();
    let text = String::from_utf8_lossy(&packed);
    let names = text.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix(PINS));
    found.extend(names.filter_map(|name| name.split('/').next()?.parse::<i64>().ok()));
    found
}
