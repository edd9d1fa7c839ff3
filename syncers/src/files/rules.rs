//! What takes part: the configuration's patterns, and each side's `.cathedralignore`.

use std::io::Read;

use cathedral_model::ecosystem::FilesSpoke;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::handle::{self, Root};
use super::names::{self, IGNORE_FILE};

/// A longer list of patterns is not read.
const LIST_BYTES: u64 = 1 << 20;

/// What takes part, and how.
#[derive(Debug)]
pub struct Rules {
    /// A path takes no part when one of these lists says so: a side's own list cannot bring back what the other
    /// side or the configuration leaves out.
    lists: Vec<Gitignore>,
    documents: Gitignore,
    pub keeps_mode: bool,
    pub keeps_mtime: bool,
    pub keeps_symlinks: bool,
    /// Patterns that could not be used.
    pub warnings: Vec<String>,
}

impl Rules {
    /// Reads the rules of a pair of trees.
    pub fn load(files: &FilesSpoke, roots: &[Option<&Root>]) -> Self {
        let mut warnings = vec![];
        let mut lists = vec![list("ignore", files.ignore.iter().map(String::as_str), &mut warnings)];
        for root in roots.iter().flatten() {
            let text = match read_list(root) {
                Ok(text) => text,
                Err(e) => {
                    warnings.push(format!("{}/{IGNORE_FILE} cannot be read: {e}", root.path().display()));
                    continue;
                }
            };
            if !text.is_empty() {
                lists.push(list(IGNORE_FILE, text.lines(), &mut warnings));
            }
        }
        lists.retain(|list| !list.is_empty());
        let documents = list("documents", files.documents.iter().map(String::as_str), &mut warnings);
        Self {
            lists,
            documents,
            keeps_mode: files.preserve_mode,
            keeps_mtime: files.preserve_mtime,
            keeps_symlinks: files.preserve_symlinks,
            warnings,
        }
    }

    /// Says whether an entry takes no part; its parents are asked before.
    pub fn ignores(&self, path: &[u8], is_dir: bool) -> bool {
        self.lists.iter().any(|list| list.matched(handle::os(path), is_dir).is_ignore())
    }

    /// Says whether an entry or one of its parents takes no part.
    pub fn ignores_with_parents(&self, path: &[u8], is_dir: bool) -> bool {
        !self.lists.is_empty()
            && (self.ignores(path, is_dir) || names::parents(path).any(|parent| self.ignores(parent, true)))
    }

    /// Says whether a file is a shared state document.
    pub fn is_document(&self, path: &[u8]) -> bool {
        self.documents.matched(handle::os(path), false).is_ignore()
    }
}

fn read_list(root: &Root) -> std::io::Result<String> {
    let mut bytes = vec![];
    match handle::open_file(root.fd(), IGNORE_FILE.as_bytes()) {
        Ok(file) => file.take(LIST_BYTES).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn list<'a>(name: &str, lines: impl Iterator<Item = &'a str>, warnings: &mut Vec<String>) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        if let Err(e) = builder.add_line(None, line) {
            warnings.push(format!("{name}: {e}"));
        }
    }
    builder.build().unwrap_or_else(|e| {
        warnings.push(format!("{name}: {e}"));
        Gitignore::empty()
    })
}
