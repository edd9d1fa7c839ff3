//! A bare store below the state folder: the hub's memory of one repository.
//!
//! Reading is done in process; everything that writes goes through git, so that locks, checks and
//! durability are git's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::failure::GitError;
use super::held;
use super::object::{self, CommitFacts, Entry, Oid, ZERO};
use super::packed;
use super::refs::Values;
use super::run::{Call, Git};
use super::sound;

/// The setting that leaves refs to the next packing.
pub const UNSYNCED_REFS: &str = "core.fsync=committed,-reference";
/// One file a ref is slow to write and to read when there are many.
pub const PACK_REFS_ABOVE: usize = 200;

/// How two commits stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    Same,
    /// The second contains the first.
    Behind,
    /// The first contains the second.
    Ahead,
    /// They share history.
    Diverged,
    Unrelated,
    /// One of them is not here, or is no commit.
    Unknown,
}

/// One change of a ref in a transaction.
#[derive(Clone, Debug)]
pub struct RefChange {
    pub name: String,
    /// None deletes.
    pub new: Option<Oid>,
    /// What it must hold now: `Some(None)` means nothing; none means whatever.
    pub old: Option<Option<Oid>>,
}

impl RefChange {
    /// Sets a ref whatever it held.
    #[must_use]
    pub fn set(name: impl Into<String>, new: impl Into<Oid>) -> Self {
        Self { name: name.into(), new: Some(new.into()), old: None }
    }

    /// Deletes a ref whatever it held.
    #[must_use]
    pub fn delete(name: impl Into<String>) -> Self {
        Self { name: name.into(), new: None, old: None }
    }
}

/// A bare repository of the hub's own.
pub struct Store {
    path: PathBuf,
    git: Git,
    repo: gix::Repository,
}

impl Store {
    /// Opens the store of a name, making it when there never was one. One that is gone is missed: what it alone
    /// knew must not look deleted.
    pub fn open(git: &Git, state_dir: &Path, name: &str) -> Result<Self, GitError> {
        if !sound::place(state_dir, name).is_dir() && sound::is_known(state_dir, name) {
            return Err(GitError::Corrupt(format!("the hub's own store of {name} is gone")));
        }
        Self::open_anew(git, state_dir, name)
    }

    /// Opens the store of a name, making it when it is not there, whether or not there was one.
    pub fn open_anew(git: &Git, state_dir: &Path, name: &str) -> Result<Self, GitError> {
        let (folder, path) = (state_dir.join("git"), sound::place(state_dir, name));
        if !path.is_dir() {
            std::fs::create_dir_all(&folder).map_err(|e| GitError::io(folder.display(), &e))?;
            init_bare(git, &path, "main")?;
        }
        sound::make_known(state_dir, name);
        Self::existing(git, &path)
    }

    /// Opens a bare repository that must be there.
    pub fn existing(git: &Git, path: &Path) -> Result<Self, GitError> {
        let repo = open_repository(path)?;
        Ok(Self { path: path.to_owned(), git: git.clone(), repo })
    }

    /// Returns what runs git in the store.
    #[must_use]
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Returns the folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name and address that commits of the hub bear.
    #[must_use]
    pub fn author(&self) -> (String, String) {
        self.git.options().author.clone()
    }

    /// Begins a call of git in the store.
    pub fn call(&self, what: impl Into<String>) -> Call<'_> {
        self.git.at(&self.path, what).own()
    }

    /// Returns the refs below a prefix, by full name.
    pub fn refs(&self, prefix: &str) -> Result<Values, GitError> {
        Ok(list_refs(&self.repo, prefix)?.0)
    }

    /// Returns the value of one ref.
    pub fn get(&self, name: &str) -> Result<Option<Oid>, GitError> {
        read_ref(&self.repo, name)
    }

    /// Returns the branch that HEAD names.
    #[must_use]
    pub fn head(&self) -> Option<String> {
        self.repo.head_name().ok().flatten().map(|n| n.as_bstr().to_string())
    }

    /// Lets HEAD name this branch.
    pub fn set_head(&self, branch: &str) -> Result<(), GitError> {
        if self.head().as_deref() == Some(branch) {
            return Ok(());
        }
        self.call("set HEAD").args(["symbolic-ref", "HEAD", branch]).run().map(drop)
    }

    /// Carries out ref changes: all or none. Names that move out of each other's way need two calls.
    pub fn update(&self, changes: &[RefChange]) -> Result<(), GitError> {
        if changes.is_empty() {
            return Ok(());
        }
        let many = changes.len() > PACK_REFS_ABOVE;
        if many && packed::write(self, changes)? {
            return Ok(());
        }
        let mut input = b"start\0".to_vec();
        for change in changes {
            let old = match &change.old {
                None => "",
                Some(None) => ZERO,
                Some(Some(oid)) => oid,
            };
            input.extend_from_slice(if change.new.is_some() { b"update " } else { b"delete " });
            input.extend_from_slice(&held::name_of(&change.name));
            let values = change.new.iter().map(String::as_str).chain([old]);
            values.for_each(|value| input.extend_from_slice(format!("\0{value}").as_bytes()));
            input.push(0);
        }
        input.extend_from_slice(b"prepare\0commit\0");
        // One sync of the disk for each of many refs takes minutes; packing them right after makes all of
        // them durable at once. Until then every value still stands where it came from.
        let call = self.call("write refs of the store").args(["update-ref", "--stdin", "-z"]).input(input);
        if many {
            call.config(UNSYNCED_REFS).run()?
        } else {
            call.run()?
        };
        if many {
            self.call("pack refs of the store").args(["pack-refs", "--all"]).run()?;
        }
        Ok(())
    }

    /// Says whether an object is here.
    #[must_use]
    pub fn has(&self, oid: &str) -> bool {
        parse(oid).is_ok_and(|id| self.repo.has_object(id))
    }

    /// Returns what kind an object is; none when it is not here.
    #[must_use]
    pub fn kind(&self, oid: &str) -> Option<gix::objs::Kind> {
        Some(self.repo.find_header(parse(oid).ok()?).ok()?.kind())
    }

    /// Returns the raw bytes of an object and what kind it is.
    pub fn object(&self, oid: &str) -> Result<(gix::objs::Kind, Vec<u8>), GitError> {
        read_object(&self.repo, oid)
    }

    /// Returns what is needed of a commit.
    pub fn commit(&self, oid: &str) -> Result<CommitFacts, GitError> {
        read_commit(&self.repo, oid)
    }

    /// Returns the entry at a path below the tree of a commit.
    pub fn entry_at(&self, commit: &str, path: &str) -> Result<Option<Entry>, GitError> {
        entry_at(&self.repo, commit, path)
    }

    /// Returns the entries of a tree.
    pub fn tree(&self, oid: &str) -> Result<Vec<Entry>, GitError> {
        match self.object(oid)? {
            (gix::objs::Kind::Tree, data) => object::entries(&data),
            _ => Err(GitError::Corrupt(format!("{oid} is not a tree"))),
        }
    }

    /// Follows tags to what they name; none when that is no tag or not here.
    #[must_use]
    pub fn peeled(&self, oid: &str) -> Option<Oid> {
        let mut at = oid.to_owned();
        let mut seen = BTreeSet::new();
        loop {
            match self.object(&at) {
                Ok((gix::objs::Kind::Tag, data)) if seen.insert(at.clone()) => at = object::tag_target(&data)?,
                _ => return (at != oid).then_some(at),
            }
        }
    }

    /// Says how two commits stand to each other.
    #[must_use]
    pub fn relation(&self, a: &str, b: &str) -> Relation {
        if a == b {
            return Relation::Same;
        }
        let (Ok(a_id), Ok(b_id)) = (parse(a), parse(b)) else { return Relation::Unknown };
        if self.commit(a).is_err() || self.commit(b).is_err() {
            return Relation::Unknown;
        }
        match self.repo.merge_base(a_id, b_id) {
            Ok(Some(base)) if base.detach() == a_id => Relation::Behind,
            Ok(Some(base)) if base.detach() == b_id => Relation::Ahead,
            Ok(Some(_)) => Relation::Diverged,
            Ok(None) => Relation::Unrelated,
            Err(_) => Relation::Unknown,
        }
    }

    /// Writes a tree.
    pub fn write_tree(&self, entries: &[Entry]) -> Result<Oid, GitError> {
        let input = object::mktree_input(entries);
        let out = self.call("write a tree").args(["mktree", "-z"]).input(input).run()?;
        Ok(out.line())
    }

    /// Writes a blob.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<Oid, GitError> {
        let args = ["hash-object", "-t", "blob", "-w", "--no-filters", "--stdin"];
        Ok(self.call("write a file").args(args).input(bytes).run()?.line())
    }

    /// Writes a commit with the hub's identity. The same arguments give the same id, always.
    pub fn write_commit(&self, tree: &str, parents: &[&str], date: i64, message: &str) -> Result<Oid, GitError> {
        let (name, mail) = &self.git.options().author;
        let mut args = vec!["commit-tree".to_owned(), tree.to_owned()];
        for parent in parents {
            args.extend(["-p".to_owned(), (*parent).to_owned()]);
        }
        let stamp = format!("@{date} +0000");
        let out = self
            .call("write a commit")
            .args(args)
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", mail)
            .env("GIT_AUTHOR_DATE", &stamp)
            .env("GIT_COMMITTER_NAME", name)
            .env("GIT_COMMITTER_EMAIL", mail)
            .env("GIT_COMMITTER_DATE", &stamp)
            .config("commit.gpgSign=false")
            .config("i18n.commitEncoding=utf-8")
            .input(message)
            .run()?;
        Ok(out.line())
    }

    /// Puts an entry at a path of a tree (none removes it) and leaves everything else byte-equal.
    pub fn graft(&self, root: Option<&str>, path: &str, entry: Option<&Entry>) -> Result<Oid, GitError> {
        let mut entries = match root {
            Some(oid) => self.tree(oid)?,
            None => Vec::new(),
        };
        let (first, rest) = path.split_once('/').map_or((path, None), |(f, r)| (f, Some(r)));
        let at = entries.iter().position(|e| e.name == first.as_bytes());
        let new = match rest {
            None => entry.map(|e| Entry { name: first.as_bytes().to_vec(), ..e.clone() }),
            Some(rest) => {
                let sub = match at {
                    Some(i) if entries[i].is_tree() => Some(entries[i].oid.clone()),
                    Some(_) => return Err(GitError::Refused(format!("{first} is a file, not a folder"))),
                    None => None,
                };
                if sub.is_none() && entry.is_none() {
                    None
                } else {
                    let oid = self.graft(sub.as_deref(), rest, entry)?;
                    let emptied = entry.is_none() && self.tree(&oid)?.is_empty();
                    (!emptied).then(|| Entry { mode: "40000".into(), name: first.as_bytes().to_vec(), oid })
                }
            }
        };
        match (at, new) {
            (Some(i), Some(new)) => entries[i] = new,
            (Some(i), None) => drop(entries.remove(i)),
            (None, Some(new)) => entries.push(new),
            (None, None) => {}
        }
        self.write_tree(&entries)
    }
}

/// Makes a bare repository, complete or not at all.
pub fn init_bare(git: &Git, path: &Path, branch: &str) -> Result<(), GitError> {
    let parent = path.parent().ok_or_else(|| GitError::Invalid(format!("{}: no folder", path.display())))?;
    let aside =
        tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(|e| GitError::io(parent.display(), &e))?;
    git.anywhere(format!("make {}", path.display()))
        .args(["init", "--quiet", "--bare", "--template="])
        .arg_branch(branch)
        .args([aside.path()])
        .run()?;
    for folder in ["refs", "objects/info"] {
        let folder = aside.path().join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| GitError::io(folder.display(), &e))?;
    }
    match std::fs::rename(aside.path(), path) {
        Ok(()) => {
            // The folder has moved away from its temporary name.
            drop(aside.keep());
            sync_folder(parent)
        }
        Err(_) if path.join("HEAD").is_file() => Ok(()),
        Err(e) => Err(GitError::io(path.display(), &e)),
    }
}

/// Makes the entries of a folder durable.
pub fn sync_folder(path: &Path) -> Result<(), GitError> {
    std::fs::File::open(path).and_then(|f| f.sync_all()).map_err(|e| GitError::io(path.display(), &e))
}

impl Call<'_> {
    fn arg_branch(self, branch: &str) -> Self {
        self.args([format!("--initial-branch={branch}")])
    }
}

/// Opens a repository in process, with nothing but its own configuration.
pub fn open_repository(path: &Path) -> Result<gix::Repository, GitError> {
    let mut repo = gix::open_opts(path, gix::open::Options::isolated())
        .map_err(|e| GitError::Failed(format!("open {}: {e}", path.display())))?;
    repo.object_cache_size_if_unset(4 * 1024 * 1024);
    Ok(repo)
}

/// Lists the refs below a prefix, and what could not be read.
pub fn list_refs(repo: &gix::Repository, prefix: &str) -> Result<(Values, Vec<String>), GitError> {
    let failed = |e: &dyn std::fmt::Display| GitError::Failed(format!("read refs: {e}"));
    let (mut values, mut warnings) = (Values::new(), Vec::new());
    let platform = repo.references().map_err(|e| failed(&e))?;
    let found = if prefix == "refs/" { platform.all() } else { platform.prefixed(prefix) };
    for reference in found.map_err(|e| failed(&e))? {
        match reference {
            Ok(reference) => {
                let bytes: &[u8] = reference.name().as_bstr();
                let name = match std::str::from_utf8(bytes) {
                    Ok(name) => name.to_owned(),
                    Err(_) => held::key_of(bytes).unwrap_or_default(),
                };
                if !name.starts_with(prefix) {
                    continue;
                }
                if let Some(oid) = follow(repo, &reference) {
                    values.insert(name, oid);
                }
            }
            Err(e) => warnings.push(format!("a ref cannot be read and is left alone: {e}")),
        }
    }
    Ok((values, warnings))
}

/// Says whether an object is in a repository.
pub fn is_there(repo: &gix::Repository, oid: &str) -> bool {
    parse(oid).is_ok_and(|id| repo.has_object(id))
}

/// Reads one ref.
pub fn read_ref(repo: &gix::Repository, name: &str) -> Result<Option<Oid>, GitError> {
    match repo.try_find_reference(name) {
        Ok(found) => Ok(found.and_then(|r| follow(repo, &r))),
        Err(e) => Err(GitError::Failed(format!("read ref {name}: {e}"))),
    }
}

/// Follows symbolic refs to a value; none when it dangles.
fn follow(repo: &gix::Repository, reference: &gix::Reference<'_>) -> Option<Oid> {
    if let Some(id) = reference.try_id() {
        return Some(id.to_string());
    }
    let mut at = reference.target().try_name()?.to_owned();
    for _ in 0..5 {
        let next = repo.try_find_reference(at.as_ref()).ok().flatten()?;
        if let Some(id) = next.try_id() {
            return Some(id.to_string());
        }
        at = next.target().try_name()?.to_owned();
    }
    None
}

/// Reads an object.
pub fn read_object(repo: &gix::Repository, oid: &str) -> Result<(gix::objs::Kind, Vec<u8>), GitError> {
    let object = repo.find_object(parse(oid)?).map_err(|e| GitError::Corrupt(format!("object {oid}: {e}")))?;
    Ok((object.kind, object.data.clone()))
}

/// Reads a commit.
pub fn read_commit(repo: &gix::Repository, oid: &str) -> Result<CommitFacts, GitError> {
    match read_object(repo, oid)? {
        (gix::objs::Kind::Commit, data) => object::commit_facts(&data),
        _ => Err(GitError::Corrupt(format!("{oid} is not a commit"))),
    }
}

/// Returns the entry at a path below the tree of a commit.
pub fn entry_at(repo: &gix::Repository, commit: &str, path: &str) -> Result<Option<Entry>, GitError> {
    let mut tree = read_commit(repo, commit)?.tree;
    let parts: Vec<&str> = path.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        let (_, data) = read_object(repo, &tree)?;
        let Some(entry) = object::entries(&data)?.into_iter().find(|e| e.name == part.as_bytes()) else {
            return Ok(None);
        };
        if i + 1 == parts.len() {
            return Ok(Some(entry));
        }
        if !entry.is_tree() {
            return Ok(None);
        }
        tree = entry.oid;
    }
    Ok(None)
}

fn parse(oid: &str) -> Result<gix::ObjectId, GitError> {
    gix::ObjectId::from_hex(oid.as_bytes()).map_err(|e| GitError::Corrupt(format!("object id {oid:?}: {e}")))
}
