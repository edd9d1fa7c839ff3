//! What a candidate must pass before it may be applied.
//!
//! The checks know nothing of how a candidate was made. They compare counts: what one side alone added or deleted
//! must be so in the result, and what no side has must not be there.

use std::collections::BTreeMap;

use crate::conflict::{Candidate, Conflict};
use crate::text::form::Text;

/// Why a candidate may not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The candidate is broken; nobody should see it.
    #[error("{0}")]
    Broken(String),
    /// The candidate is well formed but doubtful: a suggestion.
    #[error("{0}")]
    Doubtful(String),
}

/// Checks a merge of lines.
pub fn check(conflict: &Conflict<'_>, candidate: &Candidate) -> Result<(), Failed> {
    let sides = [
        conflict.base.unwrap_or_default(),
        conflict.hub,
        conflict.spoke,
    ];
    let result = candidate.value.as_slice();
    if sides.contains(&result) {
        return Ok(());
    }
    if result.len() > sides.iter().map(|side| side.len()).sum::<usize>() + 64 {
        return Err(Failed::Broken(
            "the result is larger than all sides together".to_owned(),
        ));
    }
    let decode = |bytes| {
        Text::decode(bytes).ok_or_else(|| Failed::Broken("the result is not text".to_owned()))
    };
    let texts = [
        decode(sides[0])?,
        decode(sides[1])?,
        decode(sides[2])?,
        decode(result)?,
    ];
    let lines = texts.each_ref().map(|text| bag(text.body.lines()));
    markers(&lines)?;
    one_sided(&lines, "line")
}

/// How often each item occurs.
pub(crate) type Bag<'a> = BTreeMap<&'a str, usize>;

pub(crate) fn bag<'a>(items: impl Iterator<Item = &'a str>) -> Bag<'a> {
    let mut bag = Bag::new();
    for item in items {
        *bag.entry(item).or_default() += 1;
    }
    bag
}

/// Refuses lines that look like conflict markers, unless an input has them.
fn markers([base, hub, spoke, result]: &[Bag<'_>; 4]) -> Result<(), Failed> {
    for (line, count) in result {
        let marker = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"]
            .iter()
            .any(|marker| {
                line.strip_prefix(marker)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            });
        let known = [base, hub, spoke]
            .iter()
            .filter_map(|side| side.get(line))
            .max()
            .copied()
            .unwrap_or(0);
        if marker && *count > known {
            return Err(Failed::Broken(format!(
                "conflict marker in the result: {line}"
            )));
        }
    }
    Ok(())
}

/// Refuses a result that lacks what one side alone added, has what one side alone deleted, or has something from
/// nowhere.
pub(crate) fn one_sided(
    [base, hub, spoke, result]: &[Bag<'_>; 4],
    what: &str,
) -> Result<(), Failed> {
    let all = [base, hub, spoke, result]
        .into_iter()
        .flat_map(|bag| bag.keys());
    let count = |bag: &Bag<'_>, item: &str| bag.get(item).copied().unwrap_or(0) as i64;
    for item in all {
        let before = count(base, item);
        let (by_hub, by_spoke) = (count(hub, item) - before, count(spoke, item) - before);
        let change = count(result, item) - before;
        let (low, high) = if by_hub == 0 {
            (by_spoke, by_spoke)
        } else if by_spoke == 0 {
            (by_hub, by_hub)
        } else {
            let both = by_hub + by_spoke;
            (
                by_hub.min(by_spoke).min(both),
                by_hub.max(by_spoke).max(both),
            )
        };
        if change < low || change > high {
            let shown: String = item.chars().take(80).collect();
            let fault = match () {
                () if change > high && high <= 0 && before == 0 => "is in no side",
                () if change > high => "was deleted and is back, or occurs too often",
                () => "was added or kept and is missing",
            };
            return Err(Failed::Doubtful(format!("{what} {fault}: {shown}")));
        }
    }
    Ok(())
}
