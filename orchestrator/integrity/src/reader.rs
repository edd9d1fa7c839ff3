//! Reading a log without writing to it, also while a hub appends.

use std::path::{Path, PathBuf};

use cathedral_model::ports::ledger::Head;

use crate::audit::{self, Audit};
use crate::error::LogError;
use crate::index;
use crate::key::VerifierKey;
use crate::leaf::{KINDS, Leaf, Statement};
use crate::log::{Recovered, recover};
use crate::pack::ProofPack;
use crate::proof::InclusionProof;
use crate::statements;
use crate::tile::{WIDTH, read_bundle, read_entries};
use crate::tree::{Hash, Nodes as _, prove_consistency, prove_inclusion, root_at};

/// Times a read is repeated when a hub replaces files under it.
const TRIES: usize = 5;

/// A log as it stood when it was opened.
pub struct LogReader {
    dir: PathBuf,
    key: VerifierKey,
    log: Recovered,
}

impl LogReader {
    /// Opens the log in `dir` as far as it is acknowledged; `key` must have signed it.
    pub fn open(dir: &Path, key: &VerifierKey) -> Result<Self, LogError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match recover(dir, key) {
                Ok(log) => return Ok(Self { dir: dir.to_owned(), key: key.clone(), log }),
                Err(LogError::Corrupt { .. } | LogError::Io { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the signed head; size 0 without a note when nothing was ever appended.
    #[must_use]
    pub fn head(&self) -> Head {
        self.log.head.to_head(self.log.note.as_ref())
    }

    /// Returns the number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.log.head.size
    }

    /// Returns the entries of leaves `from..to`, at most to the end of the log.
    pub fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let to = to.min(self.size());
        let mut entries = Vec::new();
        let mut at = from;
        while at < to {
            let published = self.log.published;
            if at >= published {
                entries.push(self.log.pending[(at - published) as usize].entry.clone());
                at += 1;
                continue;
            }
            let bundle = read_bundle(&self.dir, at / WIDTH, published)?;
            let all = read_entries(&bundle).unwrap_or_default();
            let end = to.min(published).min((at / WIDTH + 1) * WIDTH);
            let first = at % WIDTH;
            let part = all.get(first as usize..(first + end - at) as usize).ok_or_else(|| {
                LogError::corrupt(crate::tile::bundle_path(at / WIDTH, WIDTH), "entry bundle is malformed")
            })?;
            entries.extend(part.iter().map(|e| e.to_vec()));
            at = end;
        }
        Ok(entries)
    }

    /// Returns what leaf `index` says.
    pub fn statement(&self, index: u64) -> Result<Statement, LogError> {
        let leaf = self.leaf(index)?;
        let file = statements::path(index / WIDTH);
        Statement::parse(&leaf.statement).map_err(|why| LogError::corrupt(file, format!("leaf {index}: {why}")))
    }

    /// Returns what leaves `from..to` say, at most to the end of the log.
    pub fn statements(&self, from: u64, to: u64) -> Result<Vec<Statement>, LogError> {
        let to = to.min(self.size());
        let mut read = Vec::new();
        let mut at = from;
        while at < to {
            let end = to.min((at / WIDTH + 1) * WIDTH);
            let on_disk = if at < self.log.published {
                statements::read(&self.dir, at / WIDTH, self.log.published)?.0
            } else {
                Vec::new()
            };
            for i in at..end {
                let bytes = match i.checked_sub(self.log.published) {
                    Some(later) => &self.log.pending[later as usize].statement,
                    None => &on_disk[(i % WIDTH) as usize].1,
                };
                let file = || statements::path(i / WIDTH);
                read.push(
                    Statement::parse(bytes).map_err(|why| LogError::corrupt(file(), format!("leaf {i}: {why}")))?,
                );
            }
            at = end;
        }
        Ok(read)
    }

    /// Returns the leaves with this subject or this id, oldest first.
    pub fn find(&self, subject: &str) -> Result<Vec<(u64, Statement)>, LogError> {
        let id = index::id_key(subject);
        let chains = KINDS.map(|kind| index::chain_key(kind, subject));
        let mut keys = match index::read(&self.dir, self.log.published)? {
            Some(keys) => keys,
            None => self.keys_from_statements()?,
        };
        for leaf in &self.log.pending {
            keys.push(index::keys_of(&leaf.statement).map_err(|why| LogError::corrupt("wal", why))?);
        }
        let mut found = Vec::new();
        for (at, keys) in keys.iter().enumerate() {
            if keys.0 == id || chains.contains(&keys.1) {
                let statement = self.statement(at as u64)?;
                if statement.subject == subject || statement.id == subject {
                    found.push((at as u64, statement));
                }
            }
        }
        Ok(found)
    }

    fn keys_from_statements(&self) -> Result<Vec<(index::Key, index::Key)>, LogError> {
        let mut keys = Vec::new();
        for n in 0..self.log.published.div_ceil(WIDTH) {
            for (_, statement) in statements::read(&self.dir, n, self.log.published)?.0 {
                let read = index::keys_of(&statement);
                keys.push(read.map_err(|why| LogError::corrupt(statements::path(n), why))?);
            }
        }
        Ok(keys)
    }

    /// Proves leaf `index` under the newest checkpoint.
    pub fn prove(&self, index: u64) -> Result<ProofPack, LogError> {
        let leaf = self.leaf(index)?;
        let hashes = prove_inclusion(&self.log.tiles, index, self.size())?.ok_or(LogError::NoLeaf(index))?;
        if self.log.tiles.node(0, index)? != leaf.hash() {
            let why = format!("salt and statement of leaf {index} are not those in the tree");
            return Err(LogError::corrupt(statements::path(index / WIDTH), why));
        }
        let checkpoint = self.log.note.as_ref().map(ToString::to_string).unwrap_or_default();
        let proof = InclusionProof { index, hashes, checkpoint };
        Ok(ProofPack { statement: leaf.statement, salt: leaf.salt, proof, vkey: self.key.to_string() })
    }

    /// Proves that the tree of `old` leaves is how the tree of `new` leaves begins.
    ///
    /// Returns both roots and the proof.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<(Hash, Hash, Vec<Hash>), LogError> {
        if new > self.size() {
            return Err(LogError::NoLeaf(new));
        }
        let proof = prove_consistency(&self.log.tiles, old, new)?
            .ok_or_else(|| LogError::Invalid(format!("a tree of {new} leaves cannot begin with {old}")))?;
        Ok((root_at(&self.log.tiles, old)?, root_at(&self.log.tiles, new)?, proof))
    }

    /// Computes everything again from the entries and compares it with every file of the log.
    pub fn audit(dir: &Path, key: &VerifierKey) -> Result<Audit, LogError> {
        audit::audit(dir, key)
    }

    fn leaf(&self, index: u64) -> Result<Leaf, LogError> {
        if index >= self.size() {
            return Err(LogError::NoLeaf(index));
        }
        let published = self.log.published;
        if index >= published {
            return Ok(self.log.pending[(index - published) as usize].clone());
        }
        let (mut records, _) = statements::read(&self.dir, index / WIDTH, published)?;
        let (salt, statement) = records.swap_remove((index % WIDTH) as usize);
        Ok(Leaf::seal(salt, statement))
    }
}
