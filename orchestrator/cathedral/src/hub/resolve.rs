//! From the configuration to the ecosystem: paths made absolute, repositories found, order fixed.

use std::fs;
use std::path::{Path, PathBuf};

use cathedral_model::config::address::GitUrl;
use cathedral_model::config::database::{DatabaseMerge, DatabasePolicy};
use cathedral_model::config::ecosystem::ConflictPolicy as Policy;
use cathedral_model::config::files::Preserve;
use cathedral_model::config::repository::{DataSync as Flow, IntegrationType, MergeWay, MirrorMode as Way, Repository};
use cathedral_model::config::scalar::Scalar as _;
use cathedral_model::ecosystem::{
    ConflictPolicy, DataSync, DatabaseSpoke, Ecosystem, FilesSpoke, GitIntegration, GitMerge, GitSpoke, Hub, Mirror,
    MirrorMode, RefRules, RowMerge, SharedPath, Spoke, SpokeDetail,
};
use cathedral_model::ids::SpokeName;

use super::site::Site;
use crate::cli::Failure;

/// Where a repository without a `url` was found, for `config validate`.
#[derive(Debug, Clone)]
pub struct Located {
    pub name: String,
    pub found: Option<String>,
    pub looked: Vec<String>,
}

/// Makes the ecosystem, and says what was found where.
pub fn resolve(site: &Site) -> Result<(Ecosystem, Vec<Located>), Failure> {
    let declared = &site.config.cathedral_ecosystem;
    let hub_url = local_or_url(site, &declared.hub.url);
    let hub_branch = match &declared.hub.branch {
        Some(branch) => branch.as_str().to_owned(),
        None => head_branch(&hub_url),
    };
    let hub = Hub { name: name(declared.master_repository.as_str())?, url: hub_url, branch: hub_branch };
    let mut spokes = vec![];
    let mut located = vec![];
    // One that was read before does not drop out of the snapshots when it cannot be read.
    let was_read = || site.state.join("git").join(format!("{}.git", hub.name)).is_dir();
    if is_repository(&hub.url) || was_read() {
        spokes.push(master(&hub));
    }
    for repository in &declared.connected_repositories {
        spokes.push(git(site, &hub, repository, &mut located)?);
    }
    for database in &declared.connected_databases {
        let path = |url: &cathedral_model::config::address::DbUrl| {
            normal(&site.root.join(url.sqlite_path().unwrap_or_default()))
        };
        spokes.push(Spoke {
            name: name(database.name.as_str())?,
            role: database.role.as_str().to_owned(),
            data_sync: flow(database.data_sync),
            wave: 0,
            after: vec![],
            chain: vec![],
            policy: match database.default_policy() {
                DatabasePolicy::Hub => ConflictPolicy::Hub,
                DatabasePolicy::Spoke => ConflictPolicy::Spoke,
                _ => ConflictPolicy::Queue,
            },
            detail: SpokeDetail::Database(DatabaseSpoke {
                hub: path(&database.hub),
                spoke: path(&database.url),
                include: database.tables.include.iter().map(|p| p.as_str().to_owned()).collect(),
                exclude: database.tables.exclude.iter().map(|p| p.as_str().to_owned()).collect(),
                merge: match database.merge {
                    DatabaseMerge::Cell => RowMerge::Cell,
                    DatabaseMerge::Row => RowMerge::Row,
                    DatabaseMerge::None => RowMerge::None,
                },
            }),
        });
    }
    for files in &declared.connected_files {
        let spoke = files.paths.first().map(|p| p.text()).unwrap_or_default();
        let keeps = |what: Preserve| files.preserve.contains(&what);
        spokes.push(Spoke {
            name: name(files.name.as_str())?,
            role: files.role.as_str().to_owned(),
            data_sync: flow(files.data_sync),
            wave: 0,
            after: vec![],
            chain: declared.conflicts.chain.iter().map(|r| r.as_str().to_owned()).collect(),
            policy: policy(declared.conflicts.policy),
            detail: SpokeDetail::Files(FilesSpoke {
                hub: normal(&site.root.join(files.hub.as_str())),
                spoke: normal(&site.root.join(spoke)),
                ignore: files.ignore.iter().map(|g| g.as_str().to_owned()).collect(),
                preserve_mode: keeps(Preserve::Mode),
                preserve_mtime: keeps(Preserve::Mtime),
                preserve_symlinks: keeps(Preserve::Symlinks),
                versions: files.versions,
                documents: files.documents.iter().map(|g| g.as_str().to_owned()).collect(),
            }),
        });
    }
    for spoke in &spokes {
        check_places(site, spoke)?;
    }
    spokes.sort_by(|a, b| (a.wave, &a.name).cmp(&(b.wave, &b.name)));
    let ecosystem = Ecosystem { name: declared.name().as_str().to_owned(), hub, spokes };
    Ok((ecosystem, located))
}

/// Places that must never be synced as plain files or rows: git's own folders (their hooks are programs),
/// the state of a hub, and trees that lie inside each other.
fn check_places(site: &Site, spoke: &Spoke) -> Result<(), Failure> {
    let (hub, far) = match &spoke.detail {
        SpokeDetail::Files(files) => (&files.hub, &files.spoke),
        SpokeDetail::Database(database) => (&database.hub, &database.spoke),
        SpokeDetail::Git(_) => return Ok(()),
    };
    let refuse = |path: &Path, why: &str| {
        Err(Failure::new(3, "C1301", format!("{}: {} cannot be synced", spoke.name, path.display()))
            .why(why)
            .next("name another folder or file in the configuration; nothing was changed"))
    };
    for path in [hub, far] {
        if path.components().any(|part| part.as_os_str() == ".git") {
            return refuse(path, "it lies in git's own folder, and what is put there can be run as a program");
        }
        if path.components().any(|part| part.as_os_str() == ".cathedral") {
            return refuse(path, "it lies in the state of a hub");
        }
    }
    if let SpokeDetail::Files(_) = &spoke.detail {
        for path in [hub, far] {
            if site.root.starts_with(path) {
                return refuse(path, "it holds this hub itself");
            }
        }
        if hub.starts_with(far) || far.starts_with(hub) {
            return refuse(far, "the two sides lie inside each other");
        }
    }
    Ok(())
}

fn name(text: &str) -> Result<SpokeName, Failure> {
    SpokeName::new(text).map_err(|e| Failure::new(3, "C1301", e.to_string()))
}

fn flow(flow: Flow) -> DataSync {
    match flow {
        Flow::Bidirectional => DataSync::Bidirectional,
        Flow::HubDistribution => DataSync::HubDistribution,
        Flow::Collect => DataSync::Collect,
        Flow::SnapshotOnly => DataSync::SnapshotOnly,
    }
}

fn policy(policy: Policy) -> ConflictPolicy {
    match policy {
        Policy::Queue => ConflictPolicy::Queue,
        Policy::Hub => ConflictPolicy::Hub,
        Policy::Spoke => ConflictPolicy::Spoke,
        Policy::Newest => ConflictPolicy::Newest,
        Policy::Union => ConflictPolicy::Union,
    }
}

/// The master repository as a spoke that is only kept recoverable.
pub fn master(hub: &Hub) -> Spoke {
    let detail = GitSpoke {
        url: hub.url.clone(),
        branch: hub.branch.clone(),
        integration: GitIntegration::Master,
        refs: RefRules::default(),
        shared_paths: vec![],
        merge: GitMerge::Queue,
        fsck_allow: vec![],
    };
    Spoke::only_kept(hub.name.clone(), "master repository", SpokeDetail::Git(detail))
}

fn git(site: &Site, hub: &Hub, repository: &Repository, located: &mut Vec<Located>) -> Result<Spoke, Failure> {
    let declared = &site.config.cathedral_ecosystem;
    let found = submodule(hub, repository.name.as_str());
    let url = match &repository.url {
        Some(url) => local_or_url(site, url),
        None => find_repository(site, hub, repository, found.as_ref(), located),
    };
    let path = repository.path.as_ref().map(|p| p.as_str().trim_end_matches('/').to_owned());
    let path = path.or_else(|| found.map(|m| m.path)).unwrap_or_else(|| repository.name.as_str().to_owned());
    let integration = match repository.integration_type {
        IntegrationType::GitSubmodule | IntegrationType::GitSubtree => GitIntegration::Submodule { path },
        IntegrationType::SharedPaths => GitIntegration::SharedPaths,
        IntegrationType::GitMirror => GitIntegration::Mirror {
            mirrors: repository
                .mirrors
                .iter()
                .map(|m| {
                    Ok(Mirror {
                        name: name(m.name.as_str())?,
                        url: local_or_url(site, &m.url),
                        mode: match m.mode {
                            Way::Push => MirrorMode::Push,
                            Way::Pull => MirrorMode::Pull,
                            Way::Both => MirrorMode::Both,
                        },
                    })
                })
                .collect::<Result<_, Failure>>()?,
        },
    };
    let branch = repository.branch.as_ref().map_or_else(|| head_branch(&url), |b| b.as_str().to_owned());
    let own_chain = &repository.on_conflict;
    let chain = if own_chain.is_empty() { &declared.conflicts.chain } else { own_chain };
    Ok(Spoke {
        name: name(repository.name.as_str())?,
        role: repository.role.as_str().to_owned(),
        data_sync: flow(repository.data_sync),
        wave: repository.wave.unwrap_or(0),
        after: repository.after.iter().map(|a| name(a.as_str())).collect::<Result<_, _>>()?,
        chain: chain.iter().map(|r| r.as_str().to_owned()).collect(),
        policy: policy(declared.conflicts.policy),
        detail: SpokeDetail::Git(GitSpoke {
            url,
            branch,
            integration,
            refs: RefRules {
                include: repository.refs.include.iter().map(|p| p.as_str().to_owned()).collect(),
                exclude: repository.refs.exclude.iter().map(|p| p.as_str().to_owned()).collect(),
                prune: repository.refs.prune,
                max_vanish_percent: (repository.refs.max_vanish.share() * 100.0).round().clamp(0.0, 100.0) as u8,
            },
            shared_paths: repository
                .shared_paths
                .iter()
                .map(|s| SharedPath {
                    hub: s.hub.as_str().trim_end_matches('/').to_owned(),
                    spoke: s.spoke.as_str().trim_end_matches('/').to_owned(),
                })
                .collect(),
            merge: match repository.merge {
                MergeWay::Merge => GitMerge::Merge,
                MergeWay::FastForward => GitMerge::FastForward,
                MergeWay::Queue | MergeWay::Rebase | MergeWay::PullRequest => GitMerge::Queue,
            },
            fsck_allow: repository.fsck_allow.iter().map(|f| f.as_str().to_owned()).collect(),
        }),
    })
}

/// A repository without a `url`: a submodule of that name in the hub, then a folder beside or in it.
fn find_repository(
    site: &Site,
    hub: &Hub,
    repository: &Repository,
    submodule: Option<&Submodule>,
    located: &mut Vec<Located>,
) -> String {
    let spoke = repository.name.as_str();
    let mut looked = vec![format!("{}/.gitmodules", hub.url)];
    if let Some(url) = submodule.and_then(|m| m.url.as_ref()) {
        located.push(Located { name: spoke.to_owned(), found: Some(url.clone()), looked });
        return url.clone();
    }
    let hub_folder = PathBuf::from(&hub.url);
    let beside = hub_folder.parent().unwrap_or(&site.root).to_path_buf();
    let candidates = [
        beside.join(spoke),
        beside.join(format!("{spoke}.git")),
        site.root.join(spoke),
        site.root.join(format!("{spoke}.git")),
    ];
    for candidate in candidates {
        let text = candidate.display().to_string();
        looked.push(text.clone());
        if is_repository(&text) {
            located.push(Located { name: spoke.to_owned(), found: Some(text.clone()), looked });
            return text;
        }
    }
    located.push(Located { name: spoke.to_owned(), found: None, looked });
    beside.join(spoke).display().to_string()
}

struct Submodule {
    path: String,
    url: Option<String>,
}

/// Reads `.gitmodules` of a local hub. Urls relative to the hub are resolved against its folder.
fn submodule(hub: &Hub, wanted: &str) -> Option<Submodule> {
    let text = fs::read_to_string(Path::new(&hub.url).join(".gitmodules")).ok()?;
    let mut name = String::new();
    let mut found = Submodule { path: String::new(), url: None };
    let mut hit = None;
    for line in text.lines().chain(["[end]"]) {
        let line = line.trim();
        if line.starts_with('[') {
            let last = found.path.rsplit('/').next().unwrap_or_default();
            if !found.path.is_empty() && (name == wanted || last == wanted) {
                hit = Some(std::mem::replace(&mut found, Submodule { path: String::new(), url: None }));
            }
            found = Submodule { path: String::new(), url: None };
            name = line.split('"').nth(1).unwrap_or_default().to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            match key.trim() {
                "path" => found.path = value.trim().to_owned(),
                "url" => found.url = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    let mut hit = hit?;
    if let Some(url) = &hit.url
        && (url.starts_with("./") || url.starts_with("../"))
    {
        hit.url = Some(normal(&Path::new(&hub.url).join(url)).display().to_string());
    }
    Some(hit)
}

/// Removes `.` and `..` by name: the folders are the user's own and named in the configuration.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

fn local_or_url(site: &Site, url: &GitUrl) -> String {
    match url.local_path() {
        Some(path) => normal(&site.root.join(path)).display().to_string(),
        None => url.text(),
    }
}

/// Whether a local folder is a git repository, bare or with a worktree.
pub fn is_repository(path: &str) -> bool {
    let path = Path::new(path);
    path.join(".git").exists() || (path.join("HEAD").is_file() && path.join("objects").is_dir())
}

/// The branch HEAD names in a local repository; `main` where that cannot be seen.
fn head_branch(url: &str) -> String {
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    let git = path.join(".git");
    let dir = if git.is_dir() {
        git
    } else if let Ok(text) = fs::read_to_string(&git) {
        path.join(text.trim().strip_prefix("gitdir: ").unwrap_or_default())
    } else {
        path.to_path_buf()
    };
    let head = fs::read_to_string(dir.join("HEAD")).unwrap_or_default();
    head.trim().strip_prefix("ref: refs/heads/").map_or_else(|| "main".to_owned(), str::to_owned)
}
