//! An engine that only looks: it plans, and writes nothing anywhere.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use cathedral_engine::{Engine, Options};
use cathedral_model::ids::{Digest, NodeId};
use cathedral_model::ports::env::Silent;
use cathedral_model::ports::{Content, Ledger, PortError};
use cathedral_syncers::content::LocalContent;

use super::env::HubEnv;
use super::open::{NoLog, Parts, Stores, ports, read_vault};
use super::resolve::resolve;
use super::site::Site;
use crate::cli::Failure;

impl Site {
    /// Opens the folder to say what would be, beside whoever works on it: what a plan keeps stays in memory.
    pub fn looking(&self, stores: &Stores) -> Result<Engine, Failure> {
        let (ecosystem, _) = resolve(self)?;
        let under = LocalContent::open(self.state.join("content"))?;
        let content: Arc<dyn Content> = Arc::new(Aside { under, kept: Mutex::default() });
        let vault = Arc::new(read_vault(self)?);
        let ledger: Arc<dyn Ledger> = Arc::new(NoLog);
        let progress = Arc::new(Silent);
        let parts = Parts { stores, vault: &vault, ledger: &ledger, content: &content, progress };
        let ports = ports(self, &ecosystem, parts, Arc::new(HubEnv));
        let options = Options { drives: false, ..Options::default() };
        Ok(Engine::new(ports, Arc::new(ecosystem), NodeId::new("look"), options))
    }
}

/// What is kept, and in memory what is put beside it.
struct Aside {
    under: LocalContent,
    kept: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

impl Aside {
    fn kept(&self, id: &Digest) -> Option<Vec<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl Content for Aside {
    fn put(&self, bytes: &[u8]) -> Result<Digest, PortError> {
        let id = Digest::of(bytes);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(id, bytes.to_vec());
        Ok(id)
    }

    fn put_from(&self, from: &mut dyn Read) -> Result<(Digest, u64), PortError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(|e| PortError::io("content", &e))?;
        Ok((self.put(&bytes)?, bytes.len() as u64))
    }

    fn get(&self, id: &Digest) -> Result<Vec<u8>, PortError> {
        self.kept(id).map_or_else(|| self.under.get(id), Ok)
    }

    fn open(&self, id: &Digest) -> Result<Box<dyn Read + Send>, PortError> {
        match self.kept(id) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => self.under.open(id),
        }
    }

    fn has(&self, id: &Digest) -> Result<bool, PortError> {
        Ok(self.kept(id).is_some() || self.under.has(id)?)
    }
}
