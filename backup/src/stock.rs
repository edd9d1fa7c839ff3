//! The stock recovery: what stands in every vault so that it can be read without us.

/// The files, by name.
pub const FILES: [(&str, &str); 2] =
    [("RECOVERY.md", include_str!("stock/RECOVERY.md")), ("recover.sh", include_str!("stock/recover.sh"))];
