//! Copies a tree into a snapshot.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use cathedral_model::conflict::tree::{Body, Node};
use cathedral_model::observation::SideState;
use cathedral_model::ports::vault::{EntryKind, TreeEntry};
use cathedral_model::ports::{PortError, Sink};

use super::handle::{Facts, Root};
use super::hash::{self, ReadError};
use super::names;
use super::scan::Scan;

/// Larger files are copied aside first, so that the sink gets one moment's content without holding it in memory.
const MEMORY_BYTES: u64 = 16 << 20;

/// Gives every entry to the sink, parents first, siblings by raw bytes, and returns the state as it was read.
pub fn export(root: &Root, scan: &mut Scan, sink: &mut dyn Sink, scratch: &Path) -> Result<SideState, PortError> {
    let mut paths: Vec<Vec<u8>> = scan.tree.keys().cloned().collect();
    // A separator sorts before everything that a name can hold: directory by directory.
    paths.sort_unstable_by(|a, b| order(a).cmp(order(b)));
    for path in paths {
        let (Some(node), Some(facts)) = (scan.tree.get(&path).cloned(), scan.facts.get(&path).copied()) else {
            continue;
        };
        let mut entry = TreeEntry {
            path: path.clone(),
            kind: kind(&node, &facts),
            mode: facts.mode & 0o777,
            mtime_ns: facts.stamp.mtime_ns,
        };
        match node.body {
            Body::Dir => sink.entry(&entry, None, None)?,
            Body::Symlink { .. } => {
                entry.mode = 0o777;
                sink.entry(&entry, None, None)?;
            }
            Body::File { .. } => {
                if sink.unchanged(&entry, &facts.stamp)? {
                    continue;
                }
                match file(root, &path, &mut entry, sink, scratch)? {
                    Ok((b3, facts)) => {
                        let mode = node.mode.map(|_| facts.mode & 0o777);
                        let body = Body::File { b3, size: facts.stamp.size };
                        scan.tree.insert(path, Node { body, mode });
                    }
                    Err(why) => {
                        // It was there and cannot be read now: it is in no state.
                        scan.tree.remove(&path);
                        scan.why.insert(path.clone(), why.to_string());
                        scan.frozen.insert(path);
                    }
                }
            }
        }
    }
    for (path, why) in &scan.why {
        sink.skipped(&names::escape(path), why);
    }
    Ok(scan.state())
}

fn order(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    path.iter().map(|b| if *b == b'/' { 0 } else { *b })
}

fn kind(node: &Node, facts: &Facts) -> EntryKind {
    match &node.body {
        Body::Dir => EntryKind::Dir,
        Body::Symlink { target } => EntryKind::Symlink { target: target.clone() },
        Body::File { .. } => EntryKind::File { size: facts.stamp.size },
    }
}

/// Gives one file to the sink, as it was at one moment.
fn file(
    root: &Root,
    path: &[u8],
    entry: &mut TreeEntry,
    sink: &mut dyn Sink,
    scratch: &Path,
) -> Result<Result<([u8; 32], Facts), ReadError>, PortError> {
    let (parent, name) = names::split(path);
    let dir = match root.dir(parent) {
        Ok(dir) => dir,
        Err(e) => return Ok(Err(e.into())),
    };
    let mut dress = |facts: &Facts| {
        entry.kind = EntryKind::File { size: facts.stamp.size };
        entry.mode = facts.mode & 0o777;
        entry.mtime_ns = facts.stamp.mtime_ns;
        entry.clone()
    };
    match hash::read(&dir, name, MEMORY_BYTES) {
        Ok((bytes, b3, facts)) => {
            sink.entry(&dress(&facts), Some(&facts.stamp), Some(&mut bytes.as_slice()))?;
            Ok(Ok((b3, facts)))
        }
        Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::FileTooLarge => {
            let aside = |e: io::Error| PortError::io(scratch.display(), &e);
            let mut copy =
                std::fs::create_dir_all(scratch).and_then(|()| tempfile::tempfile_in(scratch)).map_err(aside)?;
            match copy_stable(&dir, name, &mut copy) {
                Ok((b3, facts)) => {
                    copy.rewind().map_err(aside)?;
                    sink.entry(&dress(&facts), Some(&facts.stamp), Some(&mut copy))?;
                    Ok(Ok((b3, facts)))
                }
                Err(why) => Ok(Err(why)),
            }
        }
        Err(why) => Ok(Err(why)),
    }
}

fn copy_stable(dir: &std::os::fd::OwnedFd, name: &[u8], copy: &mut File) -> Result<([u8; 32], Facts), ReadError> {
    let copy = std::cell::RefCell::new(copy);
    hash::read_stable(
        dir,
        name,
        || {
            let mut copy = copy.borrow_mut();
            copy.set_len(0)?;
            copy.rewind()
        },
        |part| copy.borrow_mut().write_all(part),
    )
}
