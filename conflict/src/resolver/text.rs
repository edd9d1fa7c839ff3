//! The line merge as a stage.

use crate::conflict::{Candidate, Conflict, Pattern, Reason, Resolution, Resolver};
use crate::kind::Kind;
use crate::text::{TextMerge, merge};

const NAME: &str = "text@1";

/// Merges by lines. A clean merge of a known format still has to pass the chain's checks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl Resolver for Text {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
        if conflict.kind == Kind::Binary && conflict.unchanged_side().is_none() {
            return Resolution::declined(Reason::Binary);
        }
        if conflict.kind == Kind::Document && conflict.unchanged_side().is_none() {
            // Two equal increments of a counter are two, though their lines are equal.
            return Resolution::declined(Reason::NotApplicable);
        }
        match merge(conflict) {
            Ok(TextMerge::Clean(value, pattern)) => Resolution::Resolved(Candidate {
                value,
                resolver: NAME,
                pattern,
                because: "the sides changed different lines".to_owned(),
            }),
            Ok(TextMerge::Open { proposal: Some((value, pattern)), .. }) => {
                let because = match pattern {
                    Pattern::SectionAppend => "both sides added lines at one place; hub's come first",
                    _ => "the changes touch without overlapping",
                };
                let because = because.to_owned();
                Resolution::Suggested(vec![Candidate { value, resolver: NAME, pattern, because }])
            }
            Ok(TextMerge::Open { proposal: None, hunks }) => Resolution::declined(Reason::Overlap { hunks }),
            Err(because) => Resolution::declined(because),
        }
    }
}
