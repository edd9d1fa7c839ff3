//! Pure three-way merge algebra: trees, text, rows, documents.

pub mod chain;
pub mod check;
pub mod conflict;
pub mod document;
pub mod fields;
pub mod kind;
pub mod merge_file;
pub mod resolver;
pub mod rows;
mod structure;
pub mod text;
pub mod tree;
pub mod value;

pub use chain::{Chain, Outcome};
pub use conflict::{Candidate, Conflict, Pattern, Reason, Resolution, Resolver, Side};
pub use kind::Kind;
pub use merge_file::{MergeFile, merge_file};
pub use resolver::Policy;
