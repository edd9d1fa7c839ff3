//! The vault: encrypted, deduplicated snapshots on several destinations.
