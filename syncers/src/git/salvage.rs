//! Takes out of a damaged store what is still good. The store is only read, and nothing about it is believed:
//! neither that it opens, nor that what it holds is what its names say.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::failure::GitError;
use super::held;
use super::object::{Oid, is_oid};
use super::refs::{Values, unsafe_name};
use super::store::Store;

/// So many calls may fail while the objects at fault are looked for.
const TRIES: usize = 200;

/// The refs of a damaged store.
#[derive(Clone, Debug, Default)]
pub struct Refs {
    pub values: Values,
    /// What could not be read: there may have been more refs than are known.
    pub unreadable: Vec<String>,
}

/// Returns what HEAD names.
#[must_use]
pub fn head(store: &Path) -> Option<String> {
    let text = fs::read_to_string(store.join("HEAD")).ok()?;
    let name = text.trim_end().strip_prefix("ref: ")?.trim().to_owned();
    unsafe_name(&name).is_none().then_some(name)
}

/// Reads the refs file by file; a loose one is newer than a packed one.
#[must_use]
pub fn refs(store: &Path) -> Refs {
    let mut out = Refs::default();
    let packed = match fs::read(store.join("packed-refs")) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(e) => {
            out.unreadable.push(format!("packed-refs: {e}"));
            vec![]
        }
    };
    let is_cut = !packed.is_empty() && packed.last() != Some(&b'\n');
    let mut bad = u64::from(is_cut);
    let lines = packed.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !matches!(l[0], b'#' | b'^'));
    for line in lines {
        let (value, name) = line.split_at(line.len().min(40));
        if !name.strip_prefix(b" ").is_some_and(|name| out.put(name, value)) {
            bad += 1;
        }
    }
    if bad > 0 {
        out.unreadable.push(format!("packed-refs: {bad} of its lines cannot be read"));
    }
    let mut folders = vec![store.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != "lock") {
                out.loose(store, &path);
            }
        }
    }
    out.unreadable.sort();
    out
}

impl Refs {
    fn put(&mut self, name: &[u8], value: &[u8]) -> bool {
        let key = match std::str::from_utf8(name) {
            Ok(name) => Some(name.to_owned()),
            Err(_) => held::key_of(name),
        };
        let value = std::str::from_utf8(value).ok().filter(|value| is_oid(value)).map(str::to_owned);
        match (key, value) {
            (Some(key), Some(value)) if unsafe_name(&key).is_none() => {
                self.values.insert(key, value);
                true
            }
            _ => false,
        }
    }

    fn loose(&mut self, store: &Path, path: &Path) {
        let name = path.strip_prefix(store).unwrap_or(path);
        let bytes = fs::read(path).unwrap_or_default();
        // What waits for its checks is fetched again anyway, and is not synced to the disk.
        if name.starts_with("refs/cathedral/quarantine") && bytes.trim_ascii().is_empty() {
            return;
        }
        // One that names another has no value of its own.
        if !bytes.starts_with(b"ref: ") && !self.put(name.as_os_str().as_bytes(), bytes.trim_ascii()) {
            self.unreadable.push(format!("{} holds no value", super::failure::printable(name.as_os_str().as_bytes())));
        }
    }
}

/// Takes every object that can be read into another store.
pub fn objects(from: &Path, into: &Store) -> Result<(), GitError> {
    let folder = from.join("objects");
    let mut left: Vec<Oid> = loose(&folder);
    for pack in packs(&folder) {
        if !whole_pack(into, &pack)? {
            left.extend(listed(into, &pack.with_extension("idx"))?);
        }
    }
    // Seen anew, with the packs that have come.
    let into = Store::existing(into.git(), into.path())?;
    let mut known = BTreeSet::new();
    left.retain(|oid| !into.has(oid) && known.insert(oid.clone()));
    one_by_one(&folder, &into, left)
}

fn packs(objects: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    let mut packs: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "pack")).collect();
    packs.sort();
    packs
}

fn loose(objects: &Path) -> Vec<Oid> {
    let mut out = Vec::new();
    for folder in fs::read_dir(objects).into_iter().flatten().flatten() {
        let first = folder.file_name().to_string_lossy().into_owned();
        if first.len() == 2 {
            let entries = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            let names = entries.map(|e| format!("{first}{}", e.file_name().to_string_lossy()));
            out.extend(names.filter(|oid| is_oid(oid)));
        }
    }
    out.sort();
    out
}

/// Takes a pack as it is; false when it is not whole.
fn whole_pack(into: &Store, pack: &Path) -> Result<bool, GitError> {
    let Ok(mut file) = fs::File::open(pack) else { return Ok(false) };
    let (child, mut pipe) = into.call("take over a pack").args(["index-pack", "--stdin", "--fix-thin"]).writing()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) if pipe.write_all(&buffer[..n]).is_ok() => {}
            // It says below why it reads no further; a disk that cannot be read says it by a pack that is cut.
            _ => break,
        }
    }
    drop(pipe);
    match child.finish() {
        Ok(()) => Ok(true),
        Err(error @ (GitError::Stopped | GitError::Full(_))) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The objects of a pack in the order they lie in it, as its index has them.
fn listed(into: &Store, index: &Path) -> Result<Vec<Oid>, GitError> {
    let Ok(bytes) = fs::read(index) else { return Ok(vec![]) };
    let out = into.call("read the index of a pack").args(["show-index"]).input(bytes).run_any()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let (offset, oid): (u64, _) = (words.next()?.parse().ok()?, words.next()?);
        is_oid(oid).then(|| (offset, oid.to_owned()))
    };
    let mut entries: Vec<(u64, Oid)> = text.lines().filter_map(entry).collect();
    entries.sort();
    Ok(entries.into_iter().map(|(_, oid)| oid).collect())
}

/// Takes what single objects can still be read: all at once, and where one is at fault, by halves. What is not
/// found so within the limit is brought from elsewhere.
fn one_by_one(objects: &Path, into: &Store, oids: Vec<Oid>) -> Result<(), GitError> {
    let mut queue = VecDeque::from([oids]);
    let mut failed = 0;
    while let Some(some) = queue.pop_front().filter(|_| failed < TRIES) {
        if some.is_empty() || copy(objects, into, &some)? {
            continue;
        }
        failed += 1;
        if some.len() > 1 {
            let (left, right) = some.split_at(some.len() / 2);
            queue.extend([left.to_vec(), right.to_vec()]);
        }
    }
    Ok(())
}

/// Copies these objects; false when one of them cannot be read. They are named anew by what they hold.
fn copy(objects: &Path, into: &Store, oids: &[Oid]) -> Result<bool, GitError> {
    let call = into.call("read what is left of a damaged store").env("GIT_OBJECT_DIRECTORY", objects).args([
        "pack-objects",
        "--stdout",
        "--quiet",
        "--no-reuse-delta",
        "--window=0",
    ]);
    let (reader, mut bytes) =
        call.input(oids.iter().flat_map(|o| [o, "\n"].concat().into_bytes()).collect::<Vec<_>>()).reading()?;
    let mut pack = Vec::new();
    let mut spool = tempfile::tempfile().map_err(|e| GitError::io("a scratch file", &e))?;
    let copied = std::io::copy(&mut bytes, &mut spool);
    drop(bytes);
    match reader.finish() {
        Ok(()) => {}
        Err(error @ GitError::Stopped) => return Err(error),
        Err(_) => return Ok(false),
    }
    copied.map_err(|e| GitError::io("a scratch file", &e))?;
    std::io::Seek::rewind(&mut spool).map_err(|e| GitError::io("a scratch file", &e))?;
    let (child, mut pipe) = into.call("take over what is left").args(["index-pack", "--stdin"]).writing()?;
    loop {
        pack.resize(1 << 16, 0);
        let n = spool.read(&mut pack).map_err(|e| GitError::io("a scratch file", &e))?;
        if n == 0 || pipe.write_all(&pack[..n]).is_err() {
            break;
        }
    }
    drop(pipe);
    match child.finish() {
        Ok(()) => Ok(true),
        Err(error @ (GitError::Stopped | GitError::Full(_))) => Err(error),
        Err(_) => Ok(false),
    }
}
