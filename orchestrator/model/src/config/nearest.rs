//! "Did you mean": the known word closest to the one that was written.

/// Returns the known word closest to `word`, if one is close enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = fold(word);
    if written.is_empty() || written.len() > 64 {
        return None;
    }
    let limit = (written.len() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let folded = fold(candidate);
        if holds(&folded, &written) && best.is_none() {
            best = Some((limit, candidate));
            continue;
        }
        if folded.len().abs_diff(written.len()) > limit {
            continue;
        }
        let distance = distance(&written, &folded);
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Whether `written` is a whole part of a longer word: `submodule` of `git_submodule`.
fn holds(folded: &[char], written: &[char]) -> bool {
    written.len() >= 4 && folded.len() > written.len() && folded.split(|c| *c == '_').any(|part| part == written)
}

/// Upper case and the choice between `-`, ` ` and `_` are no difference worth a step.
fn fold(word: &str) -> Vec<char> {
    word.chars()
        .take(65)
        .map(|c| match c {
            '-' | ' ' => '_',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// The Damerau-Levenshtein distance with adjacent swaps (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["bidirectional", "hub_distribution", "collect", "hub"];
        for (word, meant) in [
            ("bidirectonal", Some("bidirectional")),
            ("Hub-Distribution", Some("hub_distribution")),
            ("colelct", Some("collect")),
            ("huv", Some("hub")),
            ("distribution", Some("hub_distribution")),
            ("spoke", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn a_swap_counts_once() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("encyrption"), &chars("encryption")), 1);
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(distance(&chars(""), &chars("abc")), 3);
    }
}
