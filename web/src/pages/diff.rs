//! Which lines of two texts are equal: enough for people to look at.

/// One line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// Above this many pairs of lines the middle is shown as replaced as a whole.
const PAIRS: usize = 4_000_000;

/// Compares two texts line by line.
pub fn lines<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (left, right) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut out: Vec<Line<'a>> = a[..head].iter().map(|line| Line::Same(line)).collect();
    if left.len().saturating_mul(right.len()) > PAIRS {
        out.extend(left.iter().map(|line| Line::Removed(line)));
        out.extend(right.iter().map(|line| Line::Added(line)));
    } else {
        middle(left, right, &mut out);
    }
    out.extend(a[a.len() - tail..].iter().map(|line| Line::Same(line)));
    out
}

/// The longest common subsequence by its table.
fn middle<'a>(left: &[&'a str], right: &[&'a str], out: &mut Vec<Line<'a>>) {
    let width = right.len() + 1;
    let mut table = vec![0_u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            table[i * width + j] = if left[i] == right[j] {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            out.push(Line::Same(left[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= right.len() || (i < left.len() && table[(i + 1) * width + j] >= table[i * width + j + 1]) {
            out.push(Line::Removed(left[i]));
            i += 1;
        } else {
            out.push(Line::Added(right[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_gives_both_texts_back() {
        let texts = ["", "a", "a\nb\nc", "a\nx\nc", "b\nc\nd", "c\nb\na\nb", "x\ny"];
        for old in texts {
            for new in texts {
                let found = lines(old, new);
                let take = |wanted: fn(&Line<'_>) -> bool| -> Vec<&str> {
                    let text = |line: &Line<'static>| match *line {
                        Line::Same(t) | Line::Removed(t) | Line::Added(t) => t,
                    };
                    found.iter().filter(|line| wanted(line)).map(text).collect()
                };
                assert_eq!(take(|l| !matches!(l, Line::Added(_))), old.lines().collect::<Vec<_>>());
                assert_eq!(take(|l| !matches!(l, Line::Removed(_))), new.lines().collect::<Vec<_>>());
            }
        }
        assert_eq!(lines("a\nb", "a\nc"), [Line::Same("a"), Line::Removed("b"), Line::Added("c")]);
    }
}
