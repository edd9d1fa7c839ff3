//! What a candidate must pass before it may be applied.
//!
//! The checks know nothing of how a candidate was made. They compare counts: what one side alone added or deleted
//! must be so in the result, and what no side has must not be there.

use std::collections::BTreeMap;

use crate::conflict::{Candidate, Conflict};
use crate::kind::{Kind, Syntax};
use crate::structure;
use crate::structure::node::{Fault, Node, comments};
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

/// Checks a candidate against the sides.
pub fn check(conflict: &Conflict<'_>, candidate: &Candidate) -> Result<(), Failed> {
    let sides = [conflict.base.unwrap_or_default(), conflict.hub, conflict.spoke];
    let result = candidate.value.as_slice();
    if sides.contains(&result) && conflict.unchanged_side() == Some(result) {
        return Ok(());
    }
    // A change of form may add an end to every line.
    if result.len() > 2 * sides.iter().map(|side| side.len()).sum::<usize>() + 64 {
        return Err(Failed::Broken("the result is larger than all sides together".to_owned()));
    }
    let decode = |bytes| Text::decode(bytes).ok_or_else(|| Failed::Broken("the result is not text".to_owned()));
    let texts = [decode(sides[0])?, decode(sides[1])?, decode(sides[2])?, decode(result)?];
    let bodies = texts.each_ref().map(|text| text.body.replace("\r\n", "\n"));
    let lines = bodies.each_ref().map(|body| bag(body.lines().map(str::to_owned)));
    markers(&lines)?;
    let keyed = match conflict.kind.syntax(conflict.path) {
        Some(syntax) => keyed(conflict, candidate, syntax, &bodies)?,
        None => false,
    };
    // A keyed merge may write new lines (the old value in the new layout); then only values count.
    // What `trivial` answers is one side's lines as they are.
    let by_lines = candidate.resolver.starts_with("text@") || !keyed;
    if by_lines && !candidate.resolver.starts_with("trivial@") {
        one_sided(&lines, "line")?;
    }
    Ok(())
}

/// Checks values and comments of a keyed format; `false` when a side does not parse, so that there is nothing to say.
fn keyed(conflict: &Conflict<'_>, candidate: &Candidate, syntax: Syntax, bodies: &[String; 4]) -> Result<bool, Failed> {
    let [base, hub, spoke, result] = bodies.each_ref().map(|body| structure::parse(syntax, body));
    let empty = Err(Fault::Unsupported("empty".to_owned()));
    let base = if conflict.base.is_none() { empty } else { base };
    let inputs = [&base, &hub, &spoke];
    let all_fine = hub.is_ok() && spoke.is_ok() && (base.is_ok() || conflict.base.is_none());
    match &result {
        Err(Fault::Duplicate(key)) if !inputs.iter().any(|doc| matches!(doc, Err(Fault::Duplicate(_)))) => {
            return Err(Failed::Broken(format!("the key {key} is in the result twice")));
        }
        Err(Fault::Broken(why)) if !inputs.iter().any(|doc| matches!(doc, Err(Fault::Broken(_)))) => {
            return Err(Failed::Broken(format!("the result does not parse: {why}")));
        }
        Err(Fault::Unsupported(why)) if all_fine => {
            return Err(Failed::Doubtful(format!("the result has {why}")));
        }
        _ => {}
    }
    let (Ok(hub), Ok(spoke), Ok(result)) = (&hub, &spoke, &result) else {
        return if syntax == Syntax::Yaml { anchors(bodies).map(|()| false) } else { Ok(false) };
    };
    if !all_fine {
        return Ok(false);
    }
    if conflict.kind == Kind::Gitmodules {
        submodules(&result.root)?;
    }
    let docs = [base.as_ref().ok(), Some(hub), Some(spoke), Some(result)];
    let leaves = docs.map(|doc| {
        let mut leaves = Vec::new();
        if let Some(doc) = doc {
            doc.root.leaves("", &mut |leaf| leaves.push(leaf));
        }
        bag(leaves.into_iter())
    });
    // Counters add up to values that no side has; the document itself lists what is doubtful.
    if candidate.resolver.starts_with("crdt@") {
        return Ok(true);
    }
    one_sided(&leaves, "value")?;
    let said = docs.map(|doc| {
        let mut said = Vec::new();
        if let Some(doc) = doc {
            doc.root.slots(&mut |slot| comments(slot, syntax, &mut said));
        }
        bag(said.into_iter())
    });
    one_sided(&said, "comment")?;
    Ok(true)
}

/// Refuses paths that leave the work tree, and what git would read as an option.
fn submodules(root: &Node<'_>) -> Result<(), Failed> {
    for section in root.members() {
        for member in section.node.members() {
            let value = member.node.text();
            let value = value.trim().trim_matches('"');
            let hostile = match member.key.split('=').next().unwrap_or_default() {
                "path" => {
                    value.starts_with(['-', '/']) || value.contains('\\') || value.split('/').any(|part| part == "..")
                }
                "url" => value.starts_with('-') || value.starts_with("ext::") || value.contains(char::is_control),
                "update" => value.starts_with('!'),
                _ => false,
            };
            if hostile {
                return Err(Failed::Doubtful(format!("the {} of {} is not safe", member.key, section.key)));
            }
        }
    }
    Ok(())
}

/// Refuses a line merge of YAML that the keyed reader does not understand, if a changed line has an anchor or alias.
fn anchors([base, hub, spoke, _]: &[String; 4]) -> Result<(), Failed> {
    let known: std::collections::BTreeSet<&str> = base.lines().collect();
    let touched = hub.lines().chain(spoke.lines()).filter(|line| !known.contains(line)).any(|line| {
        line.split_whitespace().any(|word| {
            let name = word.trim_start_matches(['[', '{', ',']);
            name.len() > 1 && name.starts_with(['&', '*']) || word == "<<:"
        })
    });
    if touched { Err(Failed::Doubtful("an anchor or alias was edited".to_owned())) } else { Ok(()) }
}

/// How often each item occurs.
type Bag = BTreeMap<String, usize>;

fn bag(items: impl Iterator<Item = String>) -> Bag {
    let mut bag = Bag::new();
    for item in items {
        *bag.entry(item).or_default() += 1;
    }
    bag
}

/// Refuses lines that look like conflict markers, unless an input has them.
fn markers([base, hub, spoke, result]: &[Bag; 4]) -> Result<(), Failed> {
    for (line, count) in result {
        let marker = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"]
            .iter()
            .any(|marker| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
        let known = [base, hub, spoke].iter().filter_map(|side| side.get(line)).max().copied().unwrap_or(0);
        if marker && *count > known {
            return Err(Failed::Broken(format!("conflict marker in the result: {line}")));
        }
    }
    Ok(())
}

/// Refuses a result that lacks what one side alone added, has what one side alone deleted, or has something from
/// nowhere.
fn one_sided([base, hub, spoke, result]: &[Bag; 4], what: &str) -> Result<(), Failed> {
    let all = [base, hub, spoke, result].into_iter().flat_map(|bag| bag.keys());
    let count = |bag: &Bag, item: &str| bag.get(item).copied().unwrap_or(0) as i64;
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
            (by_hub.min(by_spoke).min(both), by_hub.max(by_spoke).max(both))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::Pattern;

    /// Checks a result that no resolver would give.
    fn verdict(path: &str, [base, hub, spoke]: [&str; 3], result: &str, resolver: &'static str) -> String {
        let conflict = Conflict::new(path, Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
        let value = result.as_bytes().to_vec();
        let candidate = Candidate { value, resolver, pattern: Pattern::OneSided, because: String::new() };
        match check(&conflict, &candidate) {
            Ok(()) => "fine".to_owned(),
            Err(Failed::Broken(why)) => format!("broken: {why}"),
            Err(Failed::Doubtful(why)) => format!("doubtful: {why}"),
        }
    }

    #[test]
    fn every_check_refuses_what_it_is_for() {
        let lines = ["a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n"];
        let keys = ["{\"a\":1,\"b\":1}", "{\"a\":2,\"b\":1}", "{\"a\":1,\"b\":2}"];
        let said = ["# x\na = 1\nb = 1\n", "# x\n# h\na = 1\nb = 1\n", "# x\na = 1\nb = 2\n"];
        for (path, sides, result, resolver, expect) in [
            ("x.txt", lines, "A\nb\nC\n", "text@1", "fine"),
            ("x.txt", lines, "A\nb\nc\n", "text@1", "doubtful: line"),
            ("x.txt", lines, "A\na\nb\nC\n", "text@1", "doubtful: line"),
            ("x.txt", lines, "A\nb\nC\nd\n", "text@1", "doubtful: line"),
            ("x.txt", lines, "A\nb\nC\n<<<<<<< hub\n", "text@1", "broken: conflict marker in the result"),
            ("x.txt", lines, &"A\nb\nC\n".repeat(90), "text@1", "broken: the result is larger"),
            ("x.json", keys, "{\"a\":2,\"b\":2}", "structural@1", "fine"),
            ("x.json", keys, "{\"a\":2,\"b\":1}", "structural@1", "doubtful: value"),
            ("x.json", keys, "{\"a\":2,\"b\":2,\"c\":3}", "structural@1", "doubtful: value"),
            ("x.json", keys, "{\"a\":2,\"b\":2,\"a\":2}", "text@1", "broken: the key a is in the result twice"),
            ("x.json", keys, "{\"a\":2,\"b\":2", "text@1", "broken: the result does not parse"),
            ("x.toml", said, "# x\n# h\na = 1\nb = 2\n", "structural@1", "fine"),
            ("x.toml", said, "# x\na = 1\nb = 2\n", "structural@1", "doubtful: comment"),
            ("x.toml", said, "# h\na = 1\nb = 2\n", "structural@1", "doubtful: comment"),
        ] {
            let verdict = verdict(path, sides, result, resolver);
            assert!(verdict.starts_with(expect), "{path} {result:?}: {verdict}, not {expect}");
        }
    }
}
