//! What needs no merge: equal sides, a side that did not change, a side that changed its form only.

use crate::conflict::{Candidate, Conflict, Pattern, Reason, Resolution, Resolver};
use crate::kind::{Kind, whitespace_has_meaning};
use crate::text::LINE_LIMIT_BYTES;
use crate::text::form::{Sides, Text, sides};

const NAME: &str = "trivial@1";

/// Answers conflicts that are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trivial;

impl Resolver for Trivial {
    fn name(&self) -> &'static str {
        NAME
    }

    fn resolve(&self, conflict: &Conflict<'_>) -> Resolution {
        if let Some(bytes) = conflict.unchanged_side() {
            return if conflict.hub == conflict.spoke {
                resolved(bytes.to_vec(), Pattern::SameEdit, "both sides are equal")
            } else {
                resolved(bytes.to_vec(), Pattern::OneSided, "only one side changed")
            };
        }
        if conflict.kind == Kind::Binary {
            return Resolution::declined(Reason::Binary);
        }
        if conflict.largest_side_bytes() > LINE_LIMIT_BYTES {
            return Resolution::declined(Reason::TooLarge {
                bytes: conflict.largest_side_bytes(),
                limit: LINE_LIMIT_BYTES,
            });
        }
        let Sides { base, hub, spoke, form } = match sides(conflict) {
            Ok(sides) => sides,
            Err(because) => return Resolution::declined(because),
        };
        let unchanged = |text: &Text<'_>| base.as_ref().is_some_and(|base| base.lines() == text.lines());
        let (ours, theirs) = (hub.lines(), spoke.lines());
        if ours == theirs || unchanged(&spoke) {
            return resolved(form.render(&ours), Pattern::FormatOnly, "only line ends or encoding differ");
        }
        if unchanged(&hub) {
            return resolved(form.render(&theirs), Pattern::FormatOnly, "only line ends or encoding differ");
        }
        if !whitespace_has_meaning(conflict.kind, conflict.path) && collapsed(&ours) == collapsed(&theirs) {
            return resolved(form.render(&ours), Pattern::SameEdit, "both sides made the same edit, blanks apart");
        }
        Resolution::declined(Reason::NotApplicable)
    }
}

fn resolved(value: Vec<u8>, pattern: Pattern, because: &str) -> Resolution {
    Resolution::Resolved(Candidate { value, resolver: NAME, pattern, because: because.to_owned() })
}

/// Returns the lines with every run of blanks as one and blank lines dropped.
pub(crate) fn collapsed(lines: &[&str]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}
