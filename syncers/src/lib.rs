//! Syncers for git repositories, SQLite databases and file trees.

pub mod content;
pub mod files;
pub mod git;
mod held;
pub mod sql;
