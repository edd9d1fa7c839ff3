//! Reading chunks: from the first destination whose bytes have the right id.

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, PortError};
use std::collections::VecDeque;
use std::sync::Arc;

use super::{Inner, adopt, members};
use crate::index::{Header, Kind, Record};
use crate::pack::read::PackReader;
use crate::vault_file;

/// Packs that are kept open.
const OPEN: usize = 8;
/// Small chunks that are kept decoded: many files share a group.
const RECENT: usize = 16;

/// Reads chunks of one vault, keeping packs open and small chunks decoded.
pub(crate) struct Reader {
    inner: Arc<Inner>,
    open: VecDeque<(Digest, usize, PackReader)>,
    recent: VecDeque<(Digest, Arc<Vec<u8>>)>,
}

impl Reader {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, open: VecDeque::new(), recent: VecDeque::new() }
    }

    /// Returns a chunk's plain bytes, checked against its id.
    pub(crate) fn chunk(&mut self, id: &Digest) -> Result<Arc<Vec<u8>>, PortError> {
        if let Some((_, bytes)) = self.recent.iter().find(|(recent, _)| recent == id) {
            return Ok(Arc::clone(bytes));
        }
        let mut failed = None;
        for (pack, record) in self.find(id)? {
            match self.read(&pack, &record) {
                Ok(bytes) => return Ok(self.keep(&record, Arc::new(bytes))),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| missing(id)))
    }

    fn keep(&mut self, record: &Record, bytes: Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        if matches!(record.kind, Kind::Group | Kind::Tree) {
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((record.id, Arc::clone(&bytes)));
        }
        bytes
    }

    /// Finds a chunk's places; on a miss the tables of packs that no index names are read once more.
    fn find(&self, id: &Digest) -> Result<Vec<(Header, Record)>, PortError> {
        let found = self.inner.read_index().places(id);
        if !found.is_empty() {
            return Ok(found);
        }
        let members = members::ask(&self.inner);
        members::require_one(&members)?;
        super::index_cache::refresh(&self.inner, &members);
        let found = self.inner.read_index().places(id);
        if !found.is_empty() {
            return Ok(found);
        }
        let packs = adopt::unindexed(&self.inner, &members);
        let mut index = self.inner.write_index();
        packs.iter().for_each(|pack| index.add(pack));
        let found = index.places(id);
        if found.is_empty() { Err(missing(id)) } else { Ok(found) }
    }

    fn read(&mut self, pack: &Header, record: &Record) -> Result<Vec<u8>, PortError> {
        let object = crate::index::object(&pack.id);
        let mut faults = Vec::new();
        let mut only_unreachable = true;
        let inner = Arc::clone(&self.inner);
        for at in (0..inner.destinations.len()).filter(|at| inner.reads(inner.destinations[*at].as_ref())) {
            match self.read_at(at, pack, record) {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => {
                    self.open.retain(|(id, from, _)| *id != pack.id || *from != at);
                    let destination = Arc::clone(&self.inner.destinations[at]);
                    let reachable = destination.size(vault_file::OBJECT).is_ok_and(|s| s.is_some());
                    if reachable {
                        only_unreachable = false;
                        self.inner.note_fault(destination.as_ref(), &object, &fault);
                    }
                    faults.push(format!("destination {}: {object}: {fault}", destination.name()));
                }
            }
        }
        let message = faults.join("; ");
        Err(if only_unreachable {
            PortError::transient(Cause::Unreachable, message)
        } else {
            PortError::Corrupt(message)
        })
    }

    fn read_at(&mut self, at: usize, pack: &Header, record: &Record) -> Result<Vec<u8>, String> {
        let place = match self.open.iter().position(|(id, from, _)| *id == pack.id && *from == at) {
            Some(place) => place,
            None => {
                let reader = PackReader::open(&self.inner.destinations[at], pack, &self.inner.identities)?;
                if self.open.len() >= OPEN {
                    self.open.pop_front();
                }
                self.open.push_back((pack.id, at, reader));
                self.open.len() - 1
            }
        };
        let plain = self.open[place].2.chunk(record)?;
        if self.inner.hashes.id(&plain) != record.id {
            return Err(format!("chunk {} has other content", record.id));
        }
        Ok(plain)
    }
}

fn missing(id: &Digest) -> PortError {
    PortError::Corrupt(format!("chunk {id} is in no pack at any destination"))
}
