//! Transparency log: leaves, checkpoints, proofs, offline verification.
