//! Giving back one part of a snapshot, every byte checked.

pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod git;

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::vault::{DatabaseSchema, EntryVisitor, GitRefs, Source, TableInfo};
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::snapshot::{PartInfo, PartKey};
use std::io::Read;
use std::sync::Arc;

use crate::manifest::Part;
use crate::vault::{Inner, Reader};

/// A part that is read.
pub(crate) struct PartSource {
    snapshot: SnapshotId,
    part: Part,
    info: PartInfo,
    reader: Reader,
}

impl PartSource {
    /// Opens a part of a snapshot whose manifest is verified first.
    pub(crate) fn open(inner: &Arc<Inner>, id: &SnapshotId, key: &PartKey) -> Result<Self, PortError> {
        let loaded = crate::vault::load_manifest(inner, id)?;
        let part = loaded.manifest.part(key).cloned().ok_or_else(|| {
            let message = format!("snapshot {id} holds nothing of spoke {} ({})", key.spoke, key.side.as_str());
            PortError::failed(Cause::NotFound, message)
        })?;
        let info = part.info();
        Ok(Self { snapshot: id.clone(), part, info, reader: Reader::new(Arc::clone(inner)) })
    }

    pub(crate) fn parts(&mut self) -> (&Part, &mut Reader) {
        (&self.part, &mut self.reader)
    }

    /// Says what needs the object that is damaged.
    pub(crate) fn affected(&self, error: PortError) -> PortError {
        match error {
            PortError::Corrupt(message) => PortError::Corrupt(format!(
                "{message}; needed by snapshot {}, spoke {} ({})",
                self.snapshot,
                self.part.name,
                self.part.side.as_str()
            )),
            other => other,
        }
    }

    fn wrong(&self, what: &str) -> PortError {
        PortError::failed(
            Cause::Invalid,
            format!("spoke {} is {}: it has no {what}", self.part.name, self.part.kind.as_str()),
        )
    }
}

impl Source for PartSource {
    fn kind(&self) -> SpokeKind {
        self.part.kind
    }

    fn info(&self) -> &PartInfo {
        &self.info
    }

    fn entries(&mut self, visit: &mut EntryVisitor<'_>) -> Result<(), PortError> {
        let tree = self.part.tree.ok_or_else(|| self.wrong("files"))?;
        files::walk(&mut self.reader, tree, &mut files::Visitor(visit)).map_err(|e| self.affected(e))
    }

    fn git_refs(&mut self) -> Result<GitRefs, PortError> {
        let git = self.part.git.clone().ok_or_else(|| self.wrong("refs"))?;
        git::refs(&mut self.reader, &git).map_err(|e| self.affected(e))
    }

    fn git_packs(&mut self, visit: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError> {
        let git = self.part.git.clone().ok_or_else(|| self.wrong("git packs"))?;
        git::packs(&mut self.reader, &git, visit).map_err(|e| self.affected(e))
    }

    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
        let part = self.part.database.clone().ok_or_else(|| self.wrong("schema"))?;
        database::schema(&mut self.reader, &part).map_err(|e| self.affected(e))
    }

    fn rows(
        &mut self,
        table: &str,
        visit: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let part = self.part.database.clone().ok_or_else(|| self.wrong("tables"))?;
        let table = part.tables.iter().find(|t| t.n == table).ok_or_else(|| {
            PortError::failed(
                Cause::NotFound,
                format!("spoke {} has no table {table} in this snapshot", self.part.name),
            )
        })?;
        database::rows(&mut self.reader, table, visit).map_err(|e| self.affected(e))
    }
}
