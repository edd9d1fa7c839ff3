//! Transparency log: leaves, checkpoints, proofs, offline verification.
//!
//! It answers one question for a stranger, offline, years later, with programs that are not ours:
//! did this snapshot, run or decision exist, in that order, and has anything before it been changed
//! since? Every format here is a public one (RFC 6962, C2SP tlog-tiles, signed-note, tlog-checkpoint,
//! tlog-proof, in-toto, ustar); `docs/formats/log-v1.md` is the specification.
//!
//! Kept at all times: an append is acknowledged only after leaf and signed checkpoint are durable;
//! the signer never signs what does not extend the last thing it signed; an acknowledged leaf is
//! never trimmed away by recovery.

pub mod audit;
pub mod checkpoint;
mod disk;
pub mod error;
mod index;
pub mod key;
pub mod leaf;
pub mod log;
mod memory;
pub mod note;
pub mod pack;
pub mod proof;
pub mod reader;
mod signer;
mod statements;
pub mod tar;
pub mod tile;
pub mod tree;
pub mod verify;
mod wal;

pub use audit::{Audit, Difference};
pub use checkpoint::Checkpoint;
pub use error::LogError;
pub use key::VerifierKey;
pub use log::{Entropy, FileLog};
pub use pack::ProofPack;
pub use reader::LogReader;
pub use verify::{Check, Trust, Verdict, verify_pack};
