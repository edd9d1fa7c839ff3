//! Line three-way merge that keeps encodings, line ends and the final newline apart from the content.

pub(crate) mod diff3;
pub(crate) mod form;

pub use form::{Encoding, Eol, Form};

use crate::conflict::{Conflict, Pattern, Reason};
use diff3::{Chunk, Source};
use form::{Sides, sides};

/// Above this no line merge is tried.
pub const LINE_LIMIT_BYTES: usize = 64 << 20;

/// More places than this are not shown to anyone.
const HUNK_LIMIT: usize = 50_000;

/// The result of a line merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMerge {
    /// Every changed place was changed by one side, or by both alike.
    Clean(Vec<u8>, Pattern),
    /// Some places are open.
    Open {
        /// A result, where all open places allow one without dropping a line.
        proposal: Option<(Vec<u8>, Pattern)>,
        /// How many places are open.
        hunks: usize,
    },
}

/// Merges three texts by lines.
///
/// Lines that both sides inserted at one place are never put into an order silently: they are open, with "hub's
/// first" as proposal.
pub fn merge(conflict: &Conflict<'_>) -> Result<TextMerge, Reason> {
    if let Some(bytes) = conflict.unchanged_side() {
        let pattern = if conflict.hub == conflict.spoke { Pattern::SameEdit } else { Pattern::OneSided };
        return Ok(TextMerge::Clean(bytes.to_vec(), pattern));
    }
    if conflict.largest_side_bytes() > LINE_LIMIT_BYTES {
        return Err(Reason::TooLarge { bytes: conflict.largest_side_bytes(), limit: LINE_LIMIT_BYTES });
    }
    let Sides { base, hub, spoke, form } = sides(conflict)?;
    let base = base.as_ref().ok_or(Reason::NoBase)?;
    let (base, hub, spoke) = (base.lines(), hub.lines(), spoke.lines());
    let chunks = diff3::merge(&base, &hub, &spoke);
    let open = chunks.iter().filter(|chunk| chunk.is_open()).count();
    if open > HUNK_LIMIT {
        return Err(Reason::Overlap { hunks: open });
    }
    let mut pattern = Pattern::OneSided;
    let mut lines: Vec<&str> = Vec::with_capacity(hub.len().max(spoke.len()));
    for chunk in &chunks {
        match chunk {
            Chunk::Take(Source::Base, range) => lines.extend(&base[range.clone()]),
            Chunk::Take(Source::Hub, range) => lines.extend(&hub[range.clone()]),
            Chunk::Take(Source::Spoke, range) => lines.extend(&spoke[range.clone()]),
            Chunk::Same(range) => {
                lines.extend(&hub[range.clone()]);
                pattern = pattern.max(Pattern::SameEdit);
            }
            Chunk::BothInserted { hub: ours, spoke: theirs } => {
                lines.extend(&hub[ours.clone()]);
                lines.extend(&spoke[theirs.clone()]);
                pattern = pattern.max(Pattern::SectionAppend);
            }
            Chunk::Adjacent(parts) => {
                for (source, range) in parts {
                    lines.extend(match source {
                        Source::Base => &base[range.clone()],
                        Source::Hub => &hub[range.clone()],
                        Source::Spoke => &spoke[range.clone()],
                    });
                }
                pattern = pattern.max(Pattern::AdjacentLines);
            }
            Chunk::Overlap => {
                return Ok(TextMerge::Open { proposal: None, hunks: open });
            }
        }
    }
    let bytes = form.render(&lines);
    Ok(if open == 0 {
        TextMerge::Clean(bytes, pattern)
    } else {
        TextMerge::Open { proposal: Some((bytes, pattern)), hunks: open }
    })
}

/// Merges three lists of entries, one a line, as a set: every added entry is in, every deleted one is out.
///
/// The order is base's, with hub's additions before spoke's at each place.
pub fn union(conflict: &Conflict<'_>) -> Result<Vec<u8>, Reason> {
    if let Some(bytes) = conflict.unchanged_side() {
        return Ok(bytes.to_vec());
    }
    if conflict.largest_side_bytes() > LINE_LIMIT_BYTES {
        return Err(Reason::TooLarge { bytes: conflict.largest_side_bytes(), limit: LINE_LIMIT_BYTES });
    }
    let Sides { base, hub, spoke, form } = sides(conflict)?;
    let base = base.as_ref().map(form::Text::lines).unwrap_or_default();
    let (hub, spoke) = (hub.lines(), spoke.lines());
    // A line that takes entries back has a place, so the list is no set.
    if [&base, &hub, &spoke].iter().any(|side| side.iter().any(|line| line.starts_with('!'))) {
        return Err(Reason::NoUnion);
    }
    let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<std::collections::BTreeSet<_>>();
    let (in_base, in_hub, in_spoke) = (set(&base), set(&hub), set(&spoke));
    let keep = |line: &str| {
        let (b, h, s) = (in_base.contains(line), in_hub.contains(line), in_spoke.contains(line));
        if b { h && s } else { h || s }
    };
    let lines: Vec<&str> = hub.iter().copied().filter(|line| line.trim().is_empty() || keep(line)).collect();
    let wanted = spoke.iter().copied().filter(|line| !line.trim().is_empty() && keep(line)).collect();
    let is_hubs = |line: &str| in_hub.contains(line) && !in_base.contains(line);
    let lines = crate::structure::order::weave(lines, spoke.iter().copied(), &wanted, &is_hubs);
    Ok(form.render(&lines))
}
