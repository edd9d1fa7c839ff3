//! What can be seen of an ecosystem from outside, as sorted lines that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::world::{World, git};

/// Lines that say what stands where.
pub type Lines = BTreeSet<String>;

/// All rows of all tables of the user, as text.
#[track_caller]
pub fn rows(path: &Path) -> Lines {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let sound: String = db.query_row("pragma integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(sound, "ok", "{}", path.display());
    let tables = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' and name not like '%cathedral%'";
    let tables: Vec<String> =
        db.prepare(tables).unwrap().query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut out = Lines::new();
    for table in tables {
        let mut statement = db.prepare(&format!("select * from \"{table}\"")).unwrap();
        let width = statement.column_count();
        let lines = statement.query_map([], |row| {
            let cells: Vec<String> = (0..width).map(|i| format!("{:?}", row.get_ref(i).unwrap())).collect();
            Ok(format!("{table}: {}", cells.join("|")))
        });
        out.extend(lines.unwrap().map(Result::unwrap));
    }
    out
}

/// All files below a folder: path, mode and content (of databases the rows, for two equal databases may
/// lie differently in their files). Names that begin with `.cathedral` are not the user's.
pub fn files(root: &Path) -> Lines {
    walk(root).into_iter().map(|(path, text)| format!("{}: {text}", path.display())).collect()
}

fn walk(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(folder) = left.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(".cathedral") || name == ".git" {
                continue;
            }
            let about = fs::symlink_metadata(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap().to_path_buf();
            if about.is_symlink() {
                out.insert(relative, format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if about.is_dir() {
                left.push(path);
            } else if about.is_file() {
                let text = if name.ends_with(".db") {
                    rows(&path).into_iter().collect::<Vec<_>>().join("\n")
                } else {
                    let bytes = fs::read(&path).unwrap();
                    String::from_utf8(bytes).unwrap_or_else(|e| blake3::hash(e.as_bytes()).to_string())
                };
                out.insert(relative, format!("{:o} {text}", about.permissions().mode() & 0o777));
            }
        }
    }
    out
}

/// The contents of all files below a folder, without their names.
pub fn contents(root: &Path) -> BTreeSet<Vec<u8>> {
    let mut out = BTreeSet::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(folder) = left.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.unwrap().path()) {
            match fs::symlink_metadata(&path) {
                Ok(about) if about.is_dir() => left.push(path),
                Ok(about) if about.is_file() => {
                    out.insert(fs::read(&path).unwrap());
                }
                _ => {}
            }
        }
    }
    out
}

/// Branches and tags; whether git finds the repository sound.
#[track_caller]
pub fn refs(repository: &Path) -> Lines {
    if !repository.exists() {
        return Lines::new();
    }
    git(repository, &["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
    let list = git(repository, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"]);
    list.lines().map(str::to_owned).collect()
}

/// Every commit and tag a repository can reach from its branches and tags.
pub fn commits(repository: &Path) -> BTreeSet<String> {
    if !repository.exists() {
        return BTreeSet::new();
    }
    let list = git(repository, &["rev-list", "--branches", "--tags"]);
    list.lines().map(str::to_owned).collect()
}

/// Both sides of everything that a user sees.
#[track_caller]
pub fn sides(world: &World) -> Lines {
    let mut out = Lines::new();
    let mut add = |place: &str, lines: Lines| out.extend(lines.into_iter().map(|line| format!("{place} {line}")));
    add("hub", refs(&world.hub()));
    add("hub status", git(&world.hub(), &["status", "--porcelain"]).lines().map(str::to_owned).collect());
    add("hub worktree", files(&world.hub().join("shared")));
    add("soul", refs(&world.soul()));
    add("mind", refs(&world.mind()));
    add("hub mind", refs(&world.kept_mind()));
    add("hub ledger", rows(&world.hub_db()));
    add("app ledger", rows(&world.app_db()));
    add("hub codex", files(&world.hub_files()));
    add("app codex", files(&world.app_files()));
    out
}

/// The conflicts that wait, without ids and times.
#[track_caller]
pub fn open_conflicts(world: &World) -> Lines {
    let document = world.cathedral(&["conflicts", "--json"]).json();
    let list = document["data"]["conflicts"].as_array().unwrap();
    let line = |c: &serde_json::Value| {
        let shown = |side: &str| c[side]["shown"].as_str().unwrap_or("nothing").to_owned();
        format!(
            "{} {} {} base {} hub {} spoke {} {}",
            c["spoke"],
            c["where"],
            c["conflict_kind"],
            shown("base"),
            shown("hub"),
            shown("spoke_side"),
            c["state"]
        )
    };
    let lines: Lines = list.iter().map(line).collect();
    assert_eq!(lines.len(), list.len(), "the same conflict twice: {list:#?}");
    lines
}

/// The first lines in which two sets differ, for messages.
pub fn difference(wanted: &Lines, found: &Lines) -> Option<String> {
    let missing = wanted.difference(found).take(4).map(|l| format!("- {l}"));
    let extra = found.difference(wanted).take(4).map(|l| format!("+ {l}"));
    let lines: Vec<String> = missing.chain(extra).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Every version of everything that a user had at one moment.
pub struct Versions {
    pub commits: BTreeSet<String>,
    pub rows: Lines,
    pub files: BTreeSet<Vec<u8>>,
}

impl Versions {
    #[track_caller]
    pub fn of(world: &World) -> Self {
        let repositories = [world.hub(), world.soul(), world.mind(), world.kept_mind()];
        Self {
            commits: repositories.iter().flat_map(|r| commits(r)).collect(),
            rows: [world.hub_db(), world.app_db()].iter().flat_map(|db| rows(db)).collect(),
            files: [world.hub_files(), world.app_files()].iter().flat_map(|tree| contents(tree)).collect(),
        }
    }

    /// What of these can be found neither on a side nor in folders that restores made (or that were kept).
    #[track_caller]
    pub fn lost(&self, world: &World, kept: &[PathBuf]) -> Vec<String> {
        let mut rows_found: Lines = [world.hub_db(), world.app_db()].iter().flat_map(|db| rows(db)).collect();
        let mut found: BTreeSet<Vec<u8>> =
            [world.hub_files(), world.app_files()].iter().flat_map(|tree| contents(tree)).collect();
        for folder in kept {
            found.extend(contents(folder));
            rows_found.extend(databases(folder).iter().flat_map(|db| rows(db)));
        }
        let mut lost = vec![];
        let mut stores = vec![world.hub(), world.soul(), world.mind()];
        stores.extend(fs::read_dir(world.state().join("git")).into_iter().flatten().map(|e| e.unwrap().path()));
        for commit in &self.commits {
            let has = |store: &PathBuf| {
                let mut command = std::process::Command::new("git");
                super::plain(&mut command);
                command.arg("-C").arg(store).args(["cat-file", "-e", commit]);
                command.output().unwrap().status.success()
            };
            if !stores.iter().any(has) {
                lost.push(format!("commit {commit}"));
            }
        }
        lost.extend(self.rows.difference(&rows_found).map(|row| format!("row {row}")));
        lost.extend(self.files.difference(&found).map(|f| format!("file {:?}", String::from_utf8_lossy(f))));
        lost
    }
}

fn databases(folder: &Path) -> Vec<PathBuf> {
    let mut out = vec![];
    let mut left = vec![folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|e| e == "db") {
                out.push(path);
            }
        }
    }
    out
}
