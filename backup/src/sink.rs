//! Receiving one part of a snapshot: stores its chunks and computes its root, or only the root.

pub(crate) mod database;
mod files;
pub(crate) mod git;

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::Digest;
use cathedral_model::observation::SideState;
use cathedral_model::ports::vault::{DatabaseSchema, GitRefs, Sink, Stamp, TableInfo, TreeEntry};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{PartInfo, PartKey};
use std::io::Read;
use std::sync::Arc;

use crate::hash::Hashes;
use crate::index::Kind;
use crate::manifest::{CarriedPart, DatabasePart, GitPart, Part};
use crate::vault::Store;

use database::Database;
use files::Files;
use git::Git;

/// A part that is being received.
pub(crate) struct PartSink {
    context: Context,
    body: Body,
    skipped: Vec<String>,
    carried: Option<CarriedPart>,
    finished: bool,
}

/// What all kinds need.
pub(crate) struct Context {
    pub hashes: Hashes,
    pub key: PartKey,
    pub store: Option<Arc<Store>>,
}

impl Context {
    /// Stores a chunk; a prover only names it.
    pub(crate) fn put(&self, kind: Kind, plain: Vec<u8>) -> Result<Digest, PortError> {
        match &self.store {
            Some(store) => store.put(kind, plain),
            None => Ok(self.hashes.id(&plain)),
        }
    }

    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> PortError {
        let (spoke, side) = (&self.key.spoke, self.key.side.as_str());
        PortError::failed(Cause::Invalid, format!("snapshot of {spoke} ({side}): {why}"))
    }
}

enum Body {
    Files(Box<Files>),
    Git(Git),
    Database(Box<Database>),
}

/// What a kind of part comes to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub root: Option<Digest>,
    pub items: u64,
    pub bytes: u64,
    pub tree: Option<Digest>,
    pub git: Option<GitPart>,
    pub database: Option<DatabasePart>,
}

impl PartSink {
    /// Opens a part of a snapshot.
    pub(crate) fn storing(store: &Arc<Store>, key: PartKey, kind: SpokeKind) -> Result<Self, PortError> {
        let context = Context { hashes: store.inner.hashes.clone(), key, store: Some(Arc::clone(store)) };
        let body = match kind {
            SpokeKind::Files => Body::Files(Box::new(Files::new(store.file_cache(&context.key)))),
            SpokeKind::Git => Body::Git(Git::new(store.previous(&context.key).and_then(|p| p.git.clone()))),
            SpokeKind::Database => Body::Database(Box::default()),
        };
        Ok(Self { context, body, skipped: Vec::new(), carried: None, finished: false })
    }

    /// Opens a part that is only proven.
    pub(crate) fn prover(hashes: Hashes, key: PartKey, kind: SpokeKind) -> Self {
        let body = match kind {
            SpokeKind::Files => Body::Files(Box::new(Files::new(None))),
            SpokeKind::Git => Body::Git(Git::new(None)),
            SpokeKind::Database => Body::Database(Box::default()),
        };
        let context = Context { hashes, key, store: None };
        Self { context, body, skipped: Vec::new(), carried: None, finished: false }
    }

    fn kind(&self) -> SpokeKind {
        match self.body {
            Body::Files(_) => SpokeKind::Files,
            Body::Git(_) => SpokeKind::Git,
            Body::Database(_) => SpokeKind::Database,
        }
    }

    fn wrong(&self, what: &str) -> PortError {
        self.context.refuse(format!("a {} part takes no {what}", self.kind().as_str()))
    }
}

impl Sink for PartSink {
    fn unchanged(&mut self, entry: &TreeEntry, stamp: &Stamp) -> Result<bool, PortError> {
        match &mut self.body {
            Body::Files(files) => files.unchanged(&self.context, entry, stamp),
            _ => Err(self.wrong("files")),
        }
    }

    fn entry(
        &mut self,
        entry: &TreeEntry,
        stamp: Option<&Stamp>,
        content: Option<&mut dyn Read>,
    ) -> Result<(), PortError> {
        match &mut self.body {
            Body::Files(files) => files.entry(&self.context, entry, stamp, content),
            _ => Err(self.wrong("files")),
        }
    }

    fn skipped(&mut self, item: &str, why: &str) {
        self.skipped.push(format!("{item}: {why}"));
    }

    fn older(&mut self, side: Side, why: &str) {
        let store = self.context.store.as_ref();
        self.carried = store.and_then(|store| store.older(&self.context.key, Some(side), why));
        if self.carried.is_none() {
            self.skipped(side.as_str(), why);
        }
    }

    fn git_held(&mut self) -> Result<Vec<String>, PortError> {
        match &mut self.body {
            Body::Git(git) => git.held(&self.context),
            _ => Err(self.wrong("git pack")),
        }
    }

    fn git_pack(&mut self, tips: &[String], pack: &mut dyn Read) -> Result<(), PortError> {
        match &mut self.body {
            Body::Git(git) => git.pack(&self.context, tips, pack),
            _ => Err(self.wrong("git pack")),
        }
    }

    fn git_refs(&mut self, refs: &GitRefs) -> Result<(), PortError> {
        match &mut self.body {
            Body::Git(git) => git.refs(refs),
            _ => Err(self.wrong("refs")),
        }
    }

    fn schema(&mut self, schema: &DatabaseSchema) -> Result<(), PortError> {
        match &mut self.body {
            Body::Database(database) => database.schema(&self.context, schema),
            _ => Err(self.wrong("schema")),
        }
    }

    fn table(&mut self, table: &TableInfo) -> Result<(), PortError> {
        match &mut self.body {
            Body::Database(database) => database.table(&self.context, table),
            _ => Err(self.wrong("tables")),
        }
    }

    fn row(&mut self, key: &[u8], cells: &[Value]) -> Result<(), PortError> {
        match &mut self.body {
            Body::Database(database) => database.row(&self.context, key, cells),
            _ => Err(self.wrong("rows")),
        }
    }

    fn finish(&mut self, state: &SideState, consistency: &str) -> Result<PartInfo, PortError> {
        if std::mem::replace(&mut self.finished, true) {
            return Err(self.context.refuse("the part is finished already"));
        }
        let outcome = match &mut self.body {
            Body::Files(files) => files.finish(&self.context),
            Body::Git(git) => git.finish(&self.context),
            Body::Database(database) => database.finish(&self.context),
        }?;
        let part = Part {
            name: self.context.key.spoke.clone(),
            side: self.context.key.side,
            kind: self.kind(),
            root: outcome.root.ok_or_else(|| self.context.refuse("the part has no root"))?,
            observed: state.digest,
            position: state.position.clone(),
            items: outcome.items,
            bytes: outcome.bytes.to_string(),
            consistency: consistency.to_owned(),
            skipped: std::mem::take(&mut self.skipped),
            carried: self.carried.take(),
            tree: outcome.tree,
            git: outcome.git,
            database: outcome.database,
        };
        let info = part.info();
        if let Some(store) = &self.context.store {
            store.finish(part);
        }
        Ok(info)
    }
}
