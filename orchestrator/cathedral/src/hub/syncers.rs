//! The syncers of a site, also by themselves where no hub can be opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cathedral_model::ecosystem::{Ecosystem, SpokeKind};
use cathedral_model::ports::{Content, Syncer};
use cathedral_syncers::content::LocalContent;
use cathedral_syncers::files::FilesSyncer;
use cathedral_syncers::git::GitSyncer;
use cathedral_syncers::sql::SqliteSyncer;

use super::site::Site;
use crate::cli::Failure;

/// One syncer for each kind of spoke.
pub struct Syncers {
    git: GitSyncer,
    database: SqliteSyncer,
    files: FilesSyncer,
}

impl Syncers {
    pub fn of(&self, kind: SpokeKind) -> &dyn Syncer {
        match kind {
            SpokeKind::Git => &self.git,
            SpokeKind::Database => &self.database,
            SpokeKind::Files => &self.files,
        }
    }
}

/// Makes the syncers of a site.
pub fn local_syncers(site: &Site, ecosystem: &Ecosystem) -> Result<Syncers, Failure> {
    let content: Arc<dyn Content> = Arc::new(LocalContent::open(site.state.join("content"))?);
    Ok(Syncers {
        git: git_syncer(site, ecosystem, &content),
        database: SqliteSyncer::new(site.state.clone(), Arc::clone(&content)),
        files: FilesSyncer::new(site.state.clone(), content),
    })
}

/// The syncer of git spokes by its own name: it can do more than the port asks for.
pub fn git_syncer(site: &Site, ecosystem: &Ecosystem, content: &Arc<dyn Content>) -> GitSyncer {
    GitSyncer::new(site.state.clone(), ecosystem.hub.clone(), Arc::clone(content), git_options(&site.state))
}

/// How git is run: the machine's own programs, the agent of whoever started the hub.
pub fn git_options(state: &Path) -> cathedral_syncers::git::Options {
    let mut options = cathedral_syncers::git::Options::new(state);
    if let Some(path) = std::env::var_os("PATH") {
        options.path = path;
    }
    options.ssh_agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    options.keeper = cathedral_syncers::git::this_program();
    options
}
