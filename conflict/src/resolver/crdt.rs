//! Shared state documents as a stage.

use crate::conflict::{Candidate, Conflict, Pattern, Reason, Resolution, Resolver};
use crate::document::{DocumentError, Schema, merge_texts};
use crate::kind::Kind;

const NAME: &str = "crdt@1";

/// Merges items that the configuration declares as documents.
#[derive(Debug, Clone, Default)]
pub struct Crdt(pub Schema);

impl Resolver for Crdt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
        if conflict.kind != Kind::Document {
            return Resolution::declined(Reason::NotApplicable);
        }
        let candidate =
            |value: Vec<u8>, pattern, because: String| Candidate { value, resolver: NAME, pattern, because };
        if let Some(bytes) = conflict.unchanged_side() {
            let because = "only one side changed".to_owned();
            return Resolution::Resolved(candidate(bytes.to_vec(), Pattern::OneSided, because));
        }
        let merged = match merge_texts(&self.0, conflict.base, conflict.hub, conflict.spoke) {
            Ok(merged) => merged,
            Err(DocumentError::TooLarge(bytes)) => {
                return Resolution::declined(Reason::TooLarge { bytes, limit: crate::document::LIMIT_BYTES });
            }
            Err(error) => return Resolution::declined(Reason::Check(error.to_string())),
        };
        if merged.conflicts.is_empty() {
            let because = "the fields of both sides, counters added up, sets united".to_owned();
            return Resolution::Resolved(candidate(merged.bytes, Pattern::DisjointKeys, because));
        }
        let open: Vec<&str> = merged.conflicts.iter().map(|conflict| conflict.pointer.as_str()).collect();
        let because = format!("provisional values at {}", open.join(", "));
        Resolution::Suggested(vec![candidate(merged.bytes, Pattern::ScalarBoth, because)])
    }
}
