//! Many refs at once, written as git packs them.
//!
//! Git first makes a file of every ref, each under a lock of its own, and removes them again when it packs them.
//! For thousands of refs that is nearly all of a first sync, so they go to `packed-refs` at once: under git's
//! lock, in git's form, on disk before they count. Only in stores of the hub's own, and only names that have no
//! file of their own and are nobody else's to change: those of the hub's namespace, and new ones. Whatever is
//! not so simple is left to git.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::failure::GitError;
use super::held::raw_of;
use super::refs::{OURS, Values, colliding, unsafe_name};
use super::store::{RefChange, Store, sync_folder};

const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted ";

/// The packed refs of a store.
#[derive(Debug, Default)]
struct Packed {
    values: Values,
    /// What tags name, by the tag.
    peeled: Values,
}

/// Carries the changes out, all or none; says whether it did, or git has to.
pub fn write(store: &Store, changes: &[RefChange]) -> Result<bool, GitError> {
    if !changes.iter().all(is_simple) {
        return Ok(false);
    }
    let path = store.path().join("packed-refs");
    let Some((mut lock, file)) = Lock::take(&path)? else { return Ok(false) };
    let Some(mut packed) = Packed::read(&path)? else { return Ok(false) };
    for change in changes {
        if !packed.change(store, change) {
            return Ok(false);
        }
    }
    if changes.iter().any(|c| colliding(&packed.values, &c.name).is_some()) {
        return Ok(false);
    }
    packed.write(file).map_err(|e| GitError::io(lock.0.display(), &e))?;
    fs::rename(&lock.0, &path).map_err(|e| GitError::io(path.display(), &e))?;
    lock.0.clear();
    sync_folder(store.path())?;
    Ok(true)
}

fn is_simple(change: &RefChange) -> bool {
    let ours = change.name.starts_with(OURS) || change.old == Some(None);
    ours && change.new.is_some() && unsafe_name(&change.name).is_none() && raw_of(&change.name).is_none()
}

/// Git's own lock of the file; it goes when this does.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Option<(Self, File)>, GitError> {
        let lock = path.with_extension("lock");
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(file) => Ok(Some((Self(lock), file))),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(GitError::io(lock.display(), &e)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.0); // One that stays is found and removed by the next call of git.
        }
    }
}

impl Packed {
    /// Reads the file; none where it is not in the form that git writes today.
    fn read(path: &Path) -> Result<Option<Self>, GitError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Self::default())),
            Err(e) if e.kind() == ErrorKind::InvalidData => return Ok(None),
            Err(e) => return Err(GitError::io(path.display(), &e)),
        };
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split_terminator('\n');
        let traits = lines.next()?.strip_prefix("# pack-refs with:")?;
        let has = |name: &str| traits.split(' ').any(|t| t == name);
        if !has("fully-peeled") || !has("sorted") || !text.ends_with('\n') {
            return None;
        }
        let mut packed = Self::default();
        let mut last: Option<&str> = None;
        for line in lines {
            if let Some(target) = line.strip_prefix('^') {
                packed.peeled.insert(packed.values.get(last?)?.clone(), target.to_owned());
            } else {
                let (oid, name) = line.split_once(' ')?;
                packed.values.insert(name.to_owned(), oid.to_owned());
                last = Some(name);
            }
        }
        Some(packed)
    }

    /// Makes one change; says whether it can be made here.
    fn change(&mut self, store: &Store, change: &RefChange) -> bool {
        let Some(new) = &change.new else { return false };
        let fits = match &change.old {
            None => true,
            Some(old) => self.values.get(&change.name) == old.as_ref(),
        };
        if !fits || !is_free(&store.path().join(&change.name)) {
            return false;
        }
        match store.kind(new) {
            Some(gix::objs::Kind::Commit) => {}
            Some(_) if change.name.starts_with("refs/heads/") => return false,
            Some(gix::objs::Kind::Tag) => match store.peeled(new) {
                Some(target) => drop(self.peeled.insert(new.clone(), target)),
                None => return false,
            },
            Some(_) => {}
            None => return false,
        }
        self.values.insert(change.name.clone(), new.clone());
        true
    }

    fn write(&self, file: File) -> std::io::Result<()> {
        let mut out = BufWriter::new(file);
        writeln!(out, "{HEADER}")?;
        for (name, oid) in &self.values {
            writeln!(out, "{oid} {name}")?;
            if let Some(target) = self.peeled.get(oid) {
                writeln!(out, "^{target}")?;
            }
        }
        out.into_inner().map_err(|e| e.into_error())?.sync_all()
    }
}

/// Says whether neither a ref nor refs below it have files at a place; empty folders are no refs.
fn is_free(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(e) => e.kind() == ErrorKind::NotFound,
        Ok(meta) if meta.is_dir() => {
            fs::read_dir(path).is_ok_and(|mut entries| entries.all(|e| e.is_ok_and(|e| is_free(&e.path()))))
        }
        Ok(_) => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn what_git_has_written_is_read_and_written_again_as_it_was() {
        let (a, b, c) = (id('a'), id('b'), id('c'));
        let text = format!("{HEADER}\n{a} refs/heads/main\n{b} refs/tags/v1\n^{c}\n{a} refs/tags/v2\n");
        let packed = Packed::parse(&text).unwrap();
        assert_eq!((packed.values.len(), packed.peeled.get(&b)), (3, Some(&c)));
        let file = tempfile::NamedTempFile::new().unwrap();
        packed.write(file.reopen().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
    }

    #[test]
    fn another_form_is_left_to_git() {
        let a = id('a');
        for text in [
            String::new(),
            format!("{a} refs/heads/main\n"),
            format!("# pack-refs with: peeled \n{a} refs/heads/main\n"),
            format!("{HEADER}\n{a} refs/heads/main"),
            format!("{HEADER}\n^{a}\n"),
            format!("{HEADER}\nnonsense\n"),
        ] {
            assert!(Packed::parse(&text).is_none(), "{text:?}");
        }
    }
}
