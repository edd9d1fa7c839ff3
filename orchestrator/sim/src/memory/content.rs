//! A content store in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Mutex;

use cathedral_model::ids::Digest;
use cathedral_model::ports::{Cause, Content, PortError};

use super::lock;

/// Keeps bytes by digest.
#[derive(Default)]
pub struct MemoryContent(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Content for MemoryContent {
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError> {
        let id = Digest::of(bytes);
        lock(&self.0).insert(id, bytes.to_vec());
        Ok(id)
    }

    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError> {
        let mut bytes = vec![];
        from.read_to_end(&mut bytes).map_err(|e| PortError::io("content", &e))?;
        Ok((self.put(&bytes)?, bytes.len() as u64))
    }

    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError> {
        let found = lock(&self.0).get(id).cloned();
        found.ok_or_else(|| PortError::failed(Cause::NotFound, format!("content {id} is not here")))
    }

    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError> {
        Ok(Box::new(Cursor::new(self.get(id)?)))
    }

    fn has(&self, id: &Digest) -> Result<bool, PortError> {
        Ok(lock(&self.0).contains_key(id))
    }
}
