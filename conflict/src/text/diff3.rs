//! Three-way comparison of lines, as git does it: two histogram diffs against base, walked side by side.
//!
//! Changes that touch count as one place. A place where both sides wrote the same lines is no conflict.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Base,
    Hub,
    Spoke,
}

/// A stretch of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Decided: these lines.
    Take(Source, Range<usize>),
    /// Both sides wrote these lines of hub.
    Same(Range<usize>),
    /// Open: both added lines at one place.
    BothInserted { hub: Range<usize>, spoke: Range<usize> },
    /// Open: changes touch without overlapping; the stretches in order.
    Adjacent(Vec<(Source, Range<usize>)>),
    /// Open: both changed the same lines.
    Overlap,
}

impl Chunk {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Chunk::BothInserted { .. } | Chunk::Adjacent(_) | Chunk::Overlap)
    }
}

/// Compares two sides with their base.
pub(crate) fn merge(base: &[&str], hub: &[&str], spoke: &[&str]) -> Vec<Chunk> {
    let (hub_hunks, spoke_hunks) = (hunks(base, hub), hunks(base, spoke));
    let mut chunks = Vec::new();
    let (mut h, mut s) = (0, 0);
    let mut done = 0; // lines of base that are written
    let (mut hub_shift, mut spoke_shift) = (0isize, 0isize);
    while h < hub_hunks.len() || s < spoke_hunks.len() {
        let start = match (hub_hunks.get(h), spoke_hunks.get(s)) {
            (Some(a), Some(b)) => a.before.start.min(b.before.start),
            (Some(a), None) => a.before.start,
            (None, Some(b)) => b.before.start,
            (None, None) => break,
        };
        let mut end = start;
        let (first_h, first_s) = (h, s);
        // Everything that touches what is already in the place belongs to it.
        loop {
            let before = (h, s);
            while let Some(hunk) = hub_hunks.get(h).filter(|hunk| hunk.before.start <= end) {
                end = end.max(hunk.before.end);
                h += 1;
            }
            while let Some(hunk) = spoke_hunks.get(s).filter(|hunk| hunk.before.start <= end) {
                end = end.max(hunk.before.end);
                s += 1;
            }
            if (h, s) == before {
                break;
            }
        }
        let (start, end) = (start as usize, end as usize);
        if start > done {
            chunks.push(Chunk::Take(Source::Base, done..start));
        }
        let (ours, theirs) = (&hub_hunks[first_h..h], &spoke_hunks[first_s..s]);
        let hub_range = shifted(start, hub_shift)..shifted(end, hub_shift + growth(ours));
        let spoke_range = shifted(start, spoke_shift)..shifted(end, spoke_shift + growth(theirs));
        chunks.push(if theirs.is_empty() {
            Chunk::Take(Source::Hub, hub_range)
        } else if ours.is_empty() {
            Chunk::Take(Source::Spoke, spoke_range)
        } else if hub[hub_range.clone()] == spoke[spoke_range.clone()] {
            Chunk::Same(hub_range)
        } else {
            open_chunk(base, hub, spoke, start..end, hub_range, spoke_range, ours, theirs)
        });
        hub_shift += growth(ours);
        spoke_shift += growth(theirs);
        done = end;
    }
    if done < base.len() {
        chunks.push(Chunk::Take(Source::Base, done..base.len()));
    }
    chunks
}

#[expect(clippy::too_many_arguments, reason = "one place, seen from three sides")]
fn open_chunk(
    base: &[&str],
    hub: &[&str],
    spoke: &[&str],
    place: Range<usize>,
    hub_range: Range<usize>,
    spoke_range: Range<usize>,
    ours: &[Hunk],
    theirs: &[Hunk],
) -> Chunk {
    if place.is_empty() {
        // Equal first or last lines are written once.
        let (a, b) = (&hub[hub_range.clone()], &spoke[spoke_range.clone()]);
        let prefix = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        return Chunk::BothInserted { hub: hub_range, spoke: spoke_range.start + prefix..spoke_range.end };
    }
    let mut all: Vec<(&Hunk, Source)> = Vec::with_capacity(ours.len() + theirs.len());
    all.extend(ours.iter().map(|hunk| (hunk, Source::Hub)));
    all.extend(theirs.iter().map(|hunk| (hunk, Source::Spoke)));
    all.sort_by_key(|(hunk, source)| (hunk.before.start, hunk.before.end, *source == Source::Spoke));
    let mut parts = Vec::new();
    let mut at = place.start;
    let mut last: Option<&Hunk> = None;
    for (hunk, source) in all {
        let (start, end) = (hunk.before.start as usize, hunk.before.end as usize);
        let both_insert = last.is_some_and(|last| last.before == hunk.before);
        if start < at || both_insert {
            return Chunk::Overlap;
        }
        if start > at {
            parts.push((Source::Base, at..start));
        }
        parts.push((source, hunk.after.start as usize..hunk.after.end as usize));
        at = end;
        last = Some(hunk);
    }
    if at < place.end {
        parts.push((Source::Base, at..place.end));
    }
    debug_assert!(place.end <= base.len());
    Chunk::Adjacent(parts)
}

fn hunks(before: &[&str], after: &[&str]) -> Vec<Hunk> {
    let mut input: InternedInput<&str> = InternedInput::default();
    input.update_before(before.iter().copied());
    input.update_after(after.iter().copied());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    // git's merges compact hunks without the indent heuristic; ours must meet in the same places.
    diff.postprocess_no_heuristic(&input);
    diff.hunks().collect()
}

fn growth(hunks: &[Hunk]) -> isize {
    hunks.iter().map(|hunk| hunk.after.len() as isize - hunk.before.len() as isize).sum()
}

fn shifted(line: usize, by: isize) -> usize {
    line.saturating_add_signed(by)
}
