//! The keyed merge as a stage.

use crate::conflict::{Candidate, Conflict, Pattern, Reason, Resolution, Resolver, Side};
use crate::fields::keyed;
use crate::kind::Kind;

const NAME: &str = "structural@1";

/// Merges keyed formats key by key, with the bytes of everything that did not change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Structural;

impl Resolver for Structural {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
        if let Some(bytes) = conflict.unchanged_side() {
            let pattern = if conflict.hub == conflict.spoke { Pattern::SameEdit } else { Pattern::OneSided };
            return Resolution::Resolved(candidate(bytes.to_vec(), pattern, "only one side changed".to_owned()));
        }
        if conflict.kind == Kind::Document {
            return Resolution::declined(Reason::NotApplicable);
        }
        let (merged, form) = match keyed(conflict, &|_| None, Side::Hub) {
            Ok(merged) => merged,
            Err(because) => return Resolution::declined(because),
        };
        let value = form.encode(&merged.text);
        if merged.open.is_empty() {
            // Entries of a lock file depend on each other; that they do not touch says little.
            let is_lock = conflict.kind == Kind::Lock && merged.pattern > Pattern::FormatOnly;
            let pattern = if is_lock { merged.pattern.max(Pattern::LockEntry) } else { merged.pattern };
            let because = "the sides changed different keys".to_owned();
            return if pattern.is_applied_alone() {
                Resolution::Resolved(candidate(value, pattern, because))
            } else {
                Resolution::Suggested(vec![candidate(value, pattern, describe(pattern).to_owned())])
            };
        }
        let open: Vec<&str> = merged.open.iter().map(|field| field.pointer.as_str()).collect();
        let because = |side| format!("open at {}; {side}'s value there", open.join(", "));
        let mut candidates = vec![candidate(value, merged.pattern, because(Side::Hub))];
        if let Ok((other, form)) = keyed(conflict, &|_| None, Side::Spoke) {
            let value = form.encode(&other.text);
            if value != candidates[0].value {
                candidates.push(candidate(value, other.pattern, because(Side::Spoke)));
            }
        }
        Resolution::Suggested(candidates)
    }
}

fn candidate(value: Vec<u8>, pattern: Pattern, because: String) -> Candidate {
    Candidate { value, resolver: NAME, pattern, because }
}

fn describe(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::SetUnion => "the items of both sides",
        Pattern::ListInsert => "both sides added to a list; hub's items come first",
        Pattern::ListReorder => "one side's order with the other side's items",
        Pattern::KeyAddedBoth => "both sides added this key; their entries together",
        Pattern::LockEntry => "both sides changed entries; whether they fit together is not checked",
        _ => "merged by key",
    }
}
