//! What a killed push wrote into a working tree, told apart from what a person wrote.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::super::failure::{GitError, printable};
use super::super::object::Oid;
use super::super::run::Git;
use super::super::store::Store;
use super::super::url::Remote;

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    mode: u32,
    oid: Oid,
}

const LINK: u32 = 0o120_000;
const SUBMODULE: u32 = 0o160_000;

impl Version {
    /// Reads mode and id as `diff-tree` writes them; none for a file that is not there.
    fn read(mode: &str, oid: &str) -> Option<Self> {
        let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode != 0)?;
        Some(Self { mode, oid: oid.to_owned() })
    }
}

/// What is to be put back.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Files that the branch does not have.
    new: Vec<PathBuf>,
    /// Files as the branch has them.
    old: Vec<(PathBuf, Version)>,
}

/// Whether the index is exactly what a commit holds.
pub fn is_indexed(git: &Git, remote: &Remote, work: &Path, commit: &Oid) -> Result<bool, GitError> {
    let out = git
        .at(work, format!("look at the index of {remote}"))
        .args(["diff-index", "--cached", "--quiet", "--ignore-submodules=none", commit, "--"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .run_any()?;
    Ok(out.code == 0)
}

/// Finds what a push from `old` to `new` left; or names a file that is not of its making.
pub fn find(
    git: &Git,
    store: &Store,
    remote: &Remote,
    work: &Path,
    old: &Oid,
    new: &Oid,
) -> Result<Result<Leftovers, String>, GitError> {
    let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new, "--"];
    let written = changes(&store.call("compare two commits").args(args).run()?.stdout);
    let status = git
        .at(work, format!("look at the working tree of {remote}"))
        .args(["status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .run()?;
    let mut left = Leftovers::default();
    for entry in status.stdout.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let path = entry.get(3..).unwrap_or_default();
        let (Some((Some(before), after)), Some([b' ', b'M' | b'D' | b'T', b' '])) = (written.get(path), entry.get(..3))
        else {
            return Ok(Err(printable(path)));
        };
        if !is_ours(store, work, path, after.as_ref())? {
            return Ok(Err(printable(path)));
        }
        left.old.push((PathBuf::from(OsStr::from_bytes(path)), before.clone()));
    }
    for (path, versions) in &written {
        let (None, Some(after)) = versions else { continue };
        let full = work.join(OsStr::from_bytes(path));
        let Ok(meta) = fs::symlink_metadata(&full) else { continue };
        if after.mode == SUBMODULE || meta.is_dir() || is_behind_a_link(work, Path::new(OsStr::from_bytes(path))) {
            continue;
        }
        if !is_ours(store, work, path, Some(after))? {
            return Ok(Err(printable(path)));
        }
        left.new.push(PathBuf::from(OsStr::from_bytes(path)));
    }
    Ok(Ok(left))
}

type Changes = BTreeMap<Vec<u8>, (Option<Version>, Option<Version>)>;

/// Reads `:MODE MODE OID OID LETTER`, NUL, path, NUL.
fn changes(raw: &[u8]) -> Changes {
    let mut out = Changes::new();
    let mut fields = raw.split(|b| *b == 0);
    while let (Some(head), Some(path)) = (fields.next(), fields.next()) {
        let head = String::from_utf8_lossy(head);
        let words: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
        if let [before, after, old, new, _] = words[..] {
            out.insert(path.to_vec(), (Version::read(before, old), Version::read(after, new)));
        }
    }
    out
}

/// Whether what stands at a path is gone, or is this version or the beginning of it: so git writes a file.
fn is_ours(store: &Store, work: &Path, path: &[u8], after: Option<&Version>) -> Result<bool, GitError> {
    if is_behind_a_link(work, Path::new(OsStr::from_bytes(path))) {
        return Ok(true); // So it is gone, and the link was looked at under its own name.
    }
    let full = work.join(OsStr::from_bytes(path));
    let meta = match fs::symlink_metadata(&full) {
        Ok(meta) => meta,
        // Something in the way of its folder was looked at under its own name.
        Err(e) => return Ok(matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)),
    };
    let Some(after) = after.filter(|after| after.mode != SUBMODULE) else {
        return Ok(meta.is_dir());
    };
    if meta.is_dir() {
        // Its files are looked at one by one; those that are nobody's stay.
        return Ok(true);
    }
    let (_, text) = store.object(&after.oid)?;
    if after.mode == LINK {
        let target = fs::read_link(&full).map(|target| target.as_os_str().as_bytes().to_vec());
        return Ok(meta.is_symlink() && target.is_ok_and(|target| target == text));
    }
    if !meta.is_file() || meta.len() > text.len() as u64 || (meta.mode() & 0o100) != (after.mode & 0o100) {
        return Ok(false);
    }
    Ok(fs::read(&full).is_ok_and(|found| text.starts_with(&found)))
}

/// Whether a folder on the way to a path is a link: then what is found there is in no working tree.
fn is_behind_a_link(work: &Path, path: &Path) -> bool {
    folders_of(path).any(|folder| fs::symlink_metadata(work.join(folder)).is_ok_and(|meta| meta.is_symlink()))
}

fn folders_of(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty())
}

impl Leftovers {
    /// Puts everything back, each file at once and whole, so that a kill on the way leaves what can be put back
    /// again. Says what stands in the way.
    pub fn take_back(&self, store: &Store, work: &Path) -> Result<(), String> {
        let told = |path: &Path, e: &dyn std::fmt::Display| format!("{} cannot be put back ({e})", path.display());
        for path in &self.new {
            fs::remove_file(work.join(path)).map_err(|e| told(path, &e))?;
            // A folder that holds anything stays.
            let _ = folders_of(path).find(|folder| fs::remove_dir(work.join(folder)).is_err());
        }
        for (path, version) in &self.old {
            if is_behind_a_link(work, path) {
                return Err(told(path, &"a link is in the way"));
            }
            let (_, text) = store.object(&version.oid).map_err(|e| told(path, &e))?;
            put(&work.join(path), version.mode, &text).map_err(|e| told(path, &e))?;
        }
        Ok(())
    }
}

fn put(path: &Path, mode: u32, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir(path)?;
    }
    let aside = tempfile::Builder::new().prefix(".cathedral-").tempdir_in(folder)?;
    let new = aside.path().join("new");
    if mode == LINK {
        symlink(OsStr::from_bytes(text), &new)?;
    } else {
        let mut file = fs::File::create(&new)?;
        file.write_all(text)?;
        if mode & 0o100 != 0 {
            let plain = file.metadata()?.mode();
            file.set_permissions(Permissions::from_mode(plain | ((plain & 0o444) >> 2)))?;
        }
    }
    fs::rename(&new, path)
}
