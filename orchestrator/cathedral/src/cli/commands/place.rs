//! Where a command may write what somebody named: never into what the hub or a sync works with.

use std::fs;
use std::path::{Path, PathBuf};

use cathedral_model::ecosystem::{Ecosystem, GitIntegration, SpokeDetail};

use super::Failure;

/// What a place must keep out of, beside every `.git` and `.cathedral`.
#[derive(Default)]
pub struct Kept<'a> {
    pub ecosystem: Option<&'a Ecosystem>,
    pub destinations: Vec<PathBuf>,
}

/// Refuses a place for new files that lies where they would do harm. Links on the way are followed first:
/// what counts is where the files would land.
pub fn check(to: &Path, kept: &Kept<'_>) -> Result<(), Failure> {
    let real = landing(to);
    for path in [to, real.as_path()] {
        let inside = |name: &str| path.components().any(|part| part.as_os_str() == name);
        if inside(".cathedral") {
            return Err(refused(to, "is inside a hub's own folder .cathedral")
                .why("keys, state and snapshots are kept there; other files among them would be taken for its own"));
        }
        if inside(".git") || path.ancestors().any(is_bare) {
            return Err(refused(to, "is inside a git repository's own folder")
                .why("git keeps its objects and refs there; other files among them can break it"));
        }
    }
    if let Some(destination) = kept.destinations.iter().find(|d| real.starts_with(landing(d))) {
        let name = super::Output::safe_path(destination);
        return Err(refused(to, &format!("is inside the backup destination {name}"))
            .why("a vault holds its own objects only; a check would wonder about everything else"));
    }
    kept.ecosystem.map_or(Ok(()), |ecosystem| outside_of_spokes(to, &real, ecosystem))
}

/// What is written into a synced tree would travel on to the other side.
fn outside_of_spokes(to: &Path, real: &Path, ecosystem: &Ecosystem) -> Result<(), Failure> {
    for spoke in &ecosystem.spokes {
        let (what, places): (&str, Vec<PathBuf>) = match &spoke.detail {
            SpokeDetail::Files(files) => ("the file tree", vec![files.hub.clone(), files.spoke.clone()]),
            // The hub's own worktree is where people work; its repository is kept out of above.
            SpokeDetail::Git(git) if git.url != ecosystem.hub.url => {
                let local = |url: &str| {
                    let path = PathBuf::from(url.strip_prefix("file://").unwrap_or(url));
                    path.is_absolute().then_some(path)
                };
                let mut places: Vec<PathBuf> = local(&git.url).into_iter().collect();
                if let GitIntegration::Submodule { path } = &git.integration {
                    places.extend(local(&ecosystem.hub.url).map(|hub| hub.join(path)));
                }
                ("the repository", places)
            }
            SpokeDetail::Git(_) => continue,
            SpokeDetail::Database(database) => ("the database", vec![database.hub.clone(), database.spoke.clone()]),
        };
        for place in places.iter().filter(|place| !place.as_os_str().is_empty()) {
            if to.starts_with(place) || real.starts_with(landing(place)) {
                return Err(refused(to, &format!("lies inside {what} {}", spoke.name))
                    .why("what is written there would be taken for a change, and travel on to the other side"));
            }
        }
    }
    Ok(())
}

fn refused(to: &Path, what: &str) -> Failure {
    Failure::new(7, "C1701", format!("{} {what}; nothing was changed", super::Output::safe_path(to)))
        .next("name a new folder outside of it, for example ../restored")
}

/// Where a path ends when the links in the part of it that is there are followed.
fn landing(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |p| crate::hub::normal(&p));
    let there = whole.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    match there {
        Some((part, real)) => whole.strip_prefix(part).map_or(real.clone(), |rest| real.join(rest)),
        None => whole,
    }
}

fn is_bare(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}
