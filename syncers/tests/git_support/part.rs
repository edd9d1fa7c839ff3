//! A snapshot part in memory: what a vault would keep, and a sink that computes a root.

use cathedral_model::conflict::value::Value;
use cathedral_model::ecosystem::{Side, SpokeKind};
use cathedral_model::ids::{Digest, SpokeName};
use cathedral_model::observation::SideState;
use cathedral_model::ports::vault::{DatabaseSchema, EntryVisitor, GitRefs, Stamp, TableInfo, TreeEntry};
use cathedral_model::ports::{PortError, Sink, Source};
use cathedral_model::snapshot::{PartInfo, PartKey};
use std::io::Read;

/// Keeps packs and refs.
#[derive(Default)]
pub struct Part {
    pub held: Vec<String>,
    pub packs: Vec<Vec<u8>>,
    pub refs: GitRefs,
    pub skipped: Vec<String>,
    /// Which side is as it was read last, and why.
    pub older: Option<(Side, String)>,
    /// Fail after this many bytes of a pack.
    pub full_after: Option<usize>,
}

fn no<T>() -> Result<T, PortError> {
    Err(PortError::permanent("not for git"))
}

impl Sink for Part {
    fn unchanged(&mut self, _: &TreeEntry, _: &Stamp) -> Result<bool, PortError> {
        no()
    }
    fn entry(&mut self, _: &TreeEntry, _: Option<&Stamp>, _: Option<&mut dyn Read>) -> Result<(), PortError> {
        no()
    }
    fn skipped(&mut self, item: &str, why: &str) {
        self.skipped.push(format!("{item}: {why}"));
    }
    fn older(&mut self, side: Side, why: &str) {
        self.older = Some((side, why.to_owned()));
    }
    fn git_held(&mut self) -> Result<Vec<String>, PortError> {
        Ok(self.held.clone())
    }
    fn git_pack(&mut self, tips: &[String], pack: &mut dyn Read) -> Result<(), PortError> {
        let mut bytes = Vec::new();
        if let Some(limit) = self.full_after {
            pack.take(limit as u64).read_to_end(&mut bytes).map_err(|e| PortError::io("pack", &e))?;
            return Err(PortError::failed(cathedral_model::ports::Cause::Full, "no room"));
        }
        pack.read_to_end(&mut bytes).map_err(|e| PortError::io("pack", &e))?;
        self.packs.push(bytes);
        self.held.extend(tips.iter().cloned());
        Ok(())
    }
    fn git_refs(&mut self, refs: &GitRefs) -> Result<(), PortError> {
        self.refs = refs.clone();
        Ok(())
    }
    fn schema(&mut self, _: &DatabaseSchema) -> Result<(), PortError> {
        no()
    }
    fn table(&mut self, _: &TableInfo) -> Result<(), PortError> {
        no()
    }
    fn row(&mut self, _: &[u8], _: &[Value]) -> Result<(), PortError> {
        no()
    }
    fn finish(&mut self, _: &SideState, _: &str) -> Result<PartInfo, PortError> {
        no()
    }
}

/// Gives a kept part back.
pub struct Kept<'a> {
    part: &'a Part,
    info: PartInfo,
}

impl<'a> Kept<'a> {
    pub fn new(part: &'a Part) -> Self {
        let info = PartInfo {
            key: PartKey { spoke: SpokeName::new("lib").unwrap(), side: Side::Hub },
            kind: SpokeKind::Git,
            root: Digest([0; 32]),
            observed: Digest([0; 32]),
            position: String::new(),
            items: 0,
            bytes: 0,
            consistency: "exact".into(),
            skipped: vec![],
            carried: None,
        };
        Self { part, info }
    }
}

impl Source for Kept<'_> {
    fn kind(&self) -> SpokeKind {
        SpokeKind::Git
    }
    fn info(&self) -> &PartInfo {
        &self.info
    }
    fn entries(&mut self, _: &mut EntryVisitor<'_>) -> Result<(), PortError> {
        no()
    }
    fn git_refs(&mut self) -> Result<GitRefs, PortError> {
        Ok(self.part.refs.clone())
    }
    fn git_packs(&mut self, visit: &mut dyn FnMut(&mut dyn Read) -> Result<(), PortError>) -> Result<(), PortError> {
        self.part.packs.iter().try_for_each(|p| visit(&mut p.as_slice()))
    }
    fn schema(&mut self) -> Result<(DatabaseSchema, Vec<TableInfo>), PortError> {
        no()
    }
    fn rows(&mut self, _: &str, _: &mut dyn FnMut(Vec<Value>) -> Result<(), PortError>) -> Result<(), PortError> {
        no()
    }
}
