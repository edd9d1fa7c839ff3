//! `init`: looks around and writes a configuration that works as it stands.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use cathedral_model::config::{Found, FoundDatabase, FoundFolder, FoundRepository, template_full, template_short};

use super::super::args::{Global, Template};
use super::super::output::{Tint, many, safe};
use super::{Ended, Failure, Output, folder};
use crate::hub::{CONFIG, Site, is_repository, make_webhook_secret, prepare_state, replace_file, shown};

pub fn run(dir: Option<PathBuf>, template: Template, stdout: bool, global: &Global, output: &Output) -> Ended {
    let start = match dir {
        Some(dir) => folder(global).join(dir),
        None => folder(global),
    };
    let root = std::path::absolute(&start).map_err(|e| Failure::io(&shown(&start), &e))?;
    if !root.is_dir() {
        return Err(Failure::new(4, "C1404", format!("{} is not a folder", shown(&root)))
            .next("make the folder that shall hold the hub first, or name another one"));
    }
    let (found, passed_over) = look_around(&root);
    let text = match template {
        Template::Short => template_short(&found),
        Template::Full => template_full(&found),
    };
    if stdout {
        output.raw(text.as_bytes());
        return Ok(0);
    }
    let file = root.join(CONFIG);
    if file.exists() {
        return Err(Failure::new(7, "C1701", format!("{} is there already", shown(&file)))
            .why("a configuration is never overwritten; nothing was changed")
            .next("cathedral config validate    checks it")
            .next("cathedral init --stdout      prints what would be written"));
    }
    prepare_state(&root.join(".cathedral"))?;
    make_webhook_secret(&root.join(".cathedral"))?;
    replace_file(&file, text.as_bytes())?;
    let site = Site::find(&root, None);
    let counts = serde_json::json!({
        "file": file, "repositories": found.repositories.len(), "databases": found.databases.len(), "folders": found.folders.len(),
    });
    output.data("init", &counts, &[]);
    let number = |n: usize, one, more| many(n as u64, one, more);
    output.note(format!(
        "{} written: {}, {}, {}",
        shown(&file),
        number(found.repositories.len(), "repository", "repositories"),
        number(found.databases.len(), "database", "databases"),
        number(found.folders.len(), "folder", "folders"),
    ));
    if !passed_over.is_empty() {
        let names: Vec<String> = passed_over.iter().map(|name| safe(name)).collect();
        output.note(format!("passed over, since repositories or hubs lie in them: {}", names.join(", ")));
    }
    site?;
    output.note(output.paint(
        Tint::Dim,
        "next: look it over, then `cathedral plan` shows what a sync would do, and `cathedral sync` does it",
    ));
    Ok(0)
}

/// Repositories, SQLite files and folders; one level, nothing hidden. A hub that is a repository itself has
/// its spokes beside it; into a plain folder it is looked, and what lies beside that is no business of it.
/// Also returns the folders that were passed over because repositories or hubs lie in them.
fn look_around(root: &Path) -> (Found, Vec<String>) {
    let is_hub = is_repository(&root.display().to_string());
    let mut passed_over = vec![];
    let master = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_else(|| "hub".into());
    let mut found = Found { master, ..Found::default() };
    let submodules = fs::read_to_string(root.join(".gitmodules")).unwrap_or_default();
    for (name, path) in submodule_paths(&submodules) {
        let has_own_path = path != name;
        found.repositories.push(FoundRepository {
            name,
            url: None,
            path: has_own_path.then_some(path),
            is_submodule: true,
        });
    }
    // What a submodule points at is declared by it already.
    let targets: Vec<PathBuf> = submodules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("url").and_then(|rest| rest.trim_start().strip_prefix('=')))
        .map(|url| crate::hub::normal(&root.join(url.trim())))
        .collect();
    for (base, prefix) in [(Some(root), ""), (root.parent().filter(|_| is_hub), "../")] {
        let Some(base) = base else { continue };
        let takes_data = !is_hub || !prefix.is_empty();
        for (name, path) in children(base) {
            let place = format!("{prefix}{name}");
            if path == root
                || (prefix.is_empty() && found.repositories.iter().any(|r| r.path.as_deref() == Some(&name)))
            {
                continue;
            }
            // Another hub, a vault or keys are never anybody's files.
            if [".cathedral", "cathedral-vault.json", "hub.key"].iter().any(|inside| path.join(inside).exists()) {
                continue;
            }
            if path.is_dir() {
                if targets.contains(&path) {
                    continue;
                }
                let known = found.repositories.iter().any(|r| r.name == name);
                if is_repository(&path.display().to_string()) {
                    if !known && is_plain(&name) {
                        let name = name.trim_end_matches(".git").to_owned();
                        found.repositories.push(FoundRepository {
                            name,
                            url: Some(place),
                            path: None,
                            is_submodule: false,
                        });
                    }
                } else if !takes_data || !is_plain(&name) || known || (prefix.is_empty() && name == "data") {
                    continue; // `data` holds the hub's own copies
                } else if holds_others(&path) {
                    passed_over.push(name);
                } else {
                    found.folders.push(FoundFolder { name, path: place });
                }
            } else if takes_data && path.is_file() && is_sqlite(&path) {
                let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
                if is_plain(&stem) {
                    found.databases.push(FoundDatabase { name: stem, path: place });
                }
            }
        }
    }
    (found, passed_over)
}

/// Whether repositories or hubs lie in a folder: it is where somebody keeps things of their own.
fn holds_others(folder: &Path) -> bool {
    children(folder).iter().take(1_000).any(|(_, path)| {
        path.is_dir() && (path.join(".cathedral").exists() || is_repository(&path.display().to_string()))
    })
}

fn children(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let mut out: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|e| e.file_name().into_string().ok().map(|name| (name, e.path())))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    out.sort();
    out
}

fn is_plain(name: &str) -> bool {
    cathedral_model::ids::SpokeName::new(name).is_ok()
}

fn is_sqlite(path: &Path) -> bool {
    let mut head = [0; 16];
    fs::File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && &head == b"SQLite format 3\0"
}

fn submodule_paths(text: &str) -> Vec<(String, String)> {
    let mut out = vec![];
    let mut name = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("[submodule") {
            name = line.split('"').nth(1).unwrap_or_default().to_owned();
        } else if let Some(path) = line.strip_prefix("path").and_then(|r| r.trim_start().strip_prefix('=')) {
            let last = name.rsplit('/').next().unwrap_or_default().to_owned();
            if is_plain(&last) {
                out.push((last, path.trim().to_owned()));
            }
        }
    }
    out
}
