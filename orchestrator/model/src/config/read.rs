//! Walks the tree with the table of keys, gathering every problem on the way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use super::Capabilities;
use super::excerpt::problem;
use super::nearest::nearest;
use super::problem::{Problem, Severity, Wrong, clause, printable};
use super::secret::{Lookup, looks_secret};
use super::table::{Key, Mark, Reads, Section, Word};
use super::tree::{At, Node, Tree, Value};

/// More problems than this help nobody; the rest is counted.
const MAX_PROBLEMS: usize = 500;

/// One step of a key's path.
#[derive(Debug, Clone)]
pub enum Seg {
    Key(Cow<'static, str>),
    Index(usize),
}

impl From<&'static str> for Seg {
    fn from(key: &'static str) -> Self {
        Seg::Key(Cow::Borrowed(key))
    }
}

impl From<usize> for Seg {
    fn from(index: usize) -> Self {
        Seg::Index(index)
    }
}

/// What the walk knows and has found so far.
pub struct Cx<'t> {
    pub tree: &'t Tree<'t>,
    pub env: &'t dyn Lookup,
    pub caps: &'t Capabilities,
    pub(super) path: Vec<Seg>,
    /// Inside a key that is not available yet: references stay closed, and one answer is enough.
    later: u32,
    drafts: Vec<Draft>,
    left_out: usize,
    /// How many problems single values had; what follows is about how they fit together.
    single: usize,
    masked: Vec<(usize, usize)>,
    noted: HashMap<&'static str, (usize, u32)>,
}

struct Draft {
    at: At,
    path: String,
    found: String,
    wrong: Wrong,
}

impl<'t> Cx<'t> {
    pub fn new(tree: &'t Tree<'t>, env: &'t dyn Lookup, caps: &'t Capabilities) -> Self {
        Self {
            tree,
            env,
            caps,
            path: Vec::new(),
            later: 0,
            drafts: Vec::new(),
            left_out: 0,
            single: 0,
            masked: Vec::new(),
            noted: HashMap::new(),
        }
    }

    /// Whether the walk stands inside something that is not available yet.
    pub fn is_later(&self) -> bool {
        self.later > 0
    }

    pub fn has_errors(&self) -> bool {
        self.drafts.iter().any(|draft| draft.wrong.severity == Severity::Error)
    }

    /// Whether there are so many problems that one more is only counted; this counts it.
    pub(super) fn is_full(&mut self) -> bool {
        let is_full = self.drafts.len() >= MAX_PROBLEMS;
        self.left_out += usize::from(is_full);
        is_full
    }

    /// Reports `wrong` about `node`, at the path where the walk stands.
    pub fn report(&mut self, node: &Node<'_>, wrong: Wrong) {
        let found = match &node.value {
            Value::Scalar { text, .. } => printable(text, 80),
            _ => describe(node),
        };
        self.report_at(node.at, path_text(&self.path), found, wrong);
    }

    /// Reports `wrong` at a place and path given by the caller.
    pub fn report_at(&mut self, at: At, path: String, found: String, wrong: Wrong) {
        if wrong.is_secret {
            self.masked.push((at.start, at.end));
        }
        if self.is_full() {
            return;
        }
        let found = if wrong.is_secret { "***".to_owned() } else { found };
        self.drafts.push(Draft { at, path, found, wrong });
    }

    /// Ends the reading of single values.
    pub fn begin_cross_checks(&mut self) {
        self.single = self.drafts.len();
    }

    /// Reports `wrong` at the value of a path below the root key, or the closest one above it that was written.
    pub fn report_path(&mut self, path: &[Seg], wrong: Wrong) {
        if self.is_full() {
            return;
        }
        let text = path_text(path);
        let is_known = |draft: &Draft| {
            draft.wrong.severity == Severity::Error
                && draft.path.strip_prefix(&text).is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        };
        if self.drafts[..self.single].iter().any(is_known) {
            return; // the value itself is wrong; how it fits is seen when it is right
        }
        let (node, _) = self.closest(path);
        let Some(node) = node else {
            return;
        };
        let found = node.text().map_or_else(|| describe(node), |text| printable(text, 80));
        let mut at = node.at;
        if node.text().is_none() {
            at.end = at.start;
        }
        self.report_at(at, text, found, wrong);
    }

    /// The node at a path below the root key, or the closest one above it that was written, and whether it is at
    /// the path itself.
    fn closest(&self, path: &[Seg]) -> (Option<&'t Node<'t>>, bool) {
        let tree = self.tree;
        let mut node = tree.root().and_then(|root| tree.get(root, "cathedral_ecosystem"));
        for seg in path {
            let below = node.and_then(|node| match seg {
                Seg::Key(key) => tree.get(node, key),
                Seg::Index(index) => tree.item(node, *index),
            });
            match below {
                Some(below) => node = Some(below),
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Whether something stands at a path below the root key, right or wrong.
    pub fn is_written(&self, path: &[Seg]) -> bool {
        self.closest(path).1
    }

    /// A key with its line, for a message about another one.
    pub fn named(&self, path: &[Seg]) -> String {
        match self.closest(path) {
            (Some(node), true) => format!("{} (line {})", path_text(path), node.at.line),
            _ => format!("{} (by default)", path_text(path)),
        }
    }

    /// The keys of a section with their values, after refusing what is no section.
    pub fn entries(
        &mut self,
        node: &'t Node<'t>,
        section: &'static Section,
    ) -> Option<Vec<(&'t str, &'t Node<'t>, &'t Node<'t>)>> {
        let mut entries = Vec::new();
        match &node.value {
            Value::List(items) if section.is_listable => {
                for (index, item) in items.iter().enumerate() {
                    let item = self.tree.node(*item);
                    if !matches!(item.value, Value::Map(_)) {
                        self.path.push(Seg::Index(index));
                        self.wrong_type(item, "a section of one key");
                        self.path.pop();
                        continue;
                    }
                    self.take_entries(item, &mut entries);
                }
            }
            Value::Map(_) => self.take_entries(node, &mut entries),
            _ if node.is_empty_value() => {}
            _ => {
                let names = section.keys.iter().map(|key| key.name).take(3).collect::<Vec<_>>().join(", ");
                self.wrong_type(node, &format!("a section (keys such as {names})"));
                return None;
            }
        }
        self.refuse_duplicates(&mut entries);
        Some(entries)
    }

    pub(super) fn take_entries(
        &mut self,
        node: &'t Node<'t>,
        entries: &mut Vec<(&'t str, &'t Node<'t>, &'t Node<'t>)>,
    ) {
        let Value::Map(pairs) = &node.value else {
            return;
        };
        for (name, value) in pairs {
            let (name, value) = (self.tree.node(*name), self.tree.node(*value));
            match &name.value {
                Value::Scalar { text, plain: true } if text == "<<" => self.report(
                    name,
                    Wrong::new("merge_key", "`<<` merges another section into this one")
                        .why("a reader could not see which keys are set here; merge keys are refused")
                        .hint("write the keys out"),
                ),
                Value::Scalar { text, plain } if !plain || is_text(text) => entries.push((text, name, value)),
                _ => {
                    let what = format!("a key is {}", describe(name));
                    self.report(
                        name,
                        Wrong::new("key_not_text", what).why("keys are words").hint("put it in quotes, or remove it"),
                    );
                }
            }
        }
    }

    pub(super) fn refuse_duplicates(&mut self, entries: &mut Vec<(&'t str, &'t Node<'t>, &'t Node<'t>)>) {
        let mut first: HashMap<&str, u32> = HashMap::new();
        let mut twice = Vec::new();
        if entries.len() <= 12 {
            for index in 1..entries.len() {
                if let Some(earlier) = entries[..index].iter().find(|earlier| earlier.0 == entries[index].0) {
                    twice.push((index, earlier.1.at.line));
                }
            }
        } else {
            for (index, (name, node, _)) in entries.iter().enumerate() {
                match first.get(name) {
                    Some(line) => twice.push((index, *line)),
                    None => {
                        first.insert(name, node.at.line);
                    }
                }
            }
        }
        for &(index, line) in &twice {
            let (name, node, _) = entries[index];
            self.report(
                node,
                Wrong::new("duplicate_key", format!("`{}` stands twice in this section", printable(name, 60)))
                    .why(format!("it is set on line {line} already, and only one of the two could count"))
                    .hint("remove one of them"),
            );
        }
        let mut twice = twice.into_iter().map(|(index, _)| index).peekable();
        let mut index = 0;
        entries.retain(|_| {
            let is_first = twice.next_if_eq(&index).is_none();
            index += 1;
            is_first
        });
    }

    /// Reads one key of a section into its place.
    pub fn field<T: Reads + PartialEq>(
        &mut self,
        key: &'static Key,
        name: &'t Node<'t>,
        value: &'t Node<'t>,
        slot: &mut T,
    ) {
        self.path.push(Seg::Key(Cow::Borrowed(key.name)));
        let is_later = !key.mark.is_available() && !self.caps.everything;
        self.later += u32::from(is_later);
        let got = T::read(value, self);
        self.later -= u32::from(is_later);
        if let Some(got) = got {
            if got != *slot && is_later && self.later == 0 {
                let what = "this key belongs to the contract, but is not built yet";
                let wrong =
                    Wrong::not_yet(what).why(clause(key.meaning)).hint("remove it for now, or put `#` before it");
                self.report_at(name.at, path_text(&self.path), describe(value), wrong);
            }
            if let Mark::Noted(note) = key.mark {
                self.note(name, note, key);
            }
            *slot = got;
        }
        self.path.pop();
    }

    /// A warning once per reason, with the number of places.
    fn note(&mut self, name: &Node<'_>, note: &'static str, key: &Key) {
        if self.later > 0 || self.caps.everything {
            return;
        }
        if let Some((_, count)) = self.noted.get_mut(note) {
            *count += 1;
            return;
        }
        self.noted.insert(note, (self.drafts.len(), 1));
        let wrong = Warning::of(note, key);
        self.report_at(name.at, path_text(&self.path), key.name.to_owned(), wrong);
    }

    /// Reports a key that does not exist; returns the place of the key that was probably meant.
    pub fn unknown_key(&mut self, name: &str, node: &Node<'_>, section: &'static Section) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let names = || section.keys.iter().map(|key| key.name);
        let place = if self.path.is_empty() { "here".to_owned() } else { format!("in {}", path_text(&self.path)) };
        let meant = nearest(name, names());
        let wrong = Wrong::new("unknown_key", format!("there is no key `{}` {place}", printable(name, 60)))
            .why("a key that is not understood would be ignored silently")
            .allowed(names())
            .nearest(meant)
            .hint("remove it, or see `cathedral config explain`");
        self.path.push(Seg::Key(Cow::Owned(printable(name, 60))));
        self.report(node, wrong);
        self.path.pop();
        meant.and_then(|meant| section.keys.iter().position(|key| key.name == meant))
    }

    pub fn missing_keys(&mut self, node: &Node<'_>, section: &'static Section, seen: u64) {
        for (index, key) in section.keys.iter().enumerate() {
            if matches!(key.mark, Mark::Required) && seen & (1 << index) == 0 {
                let wrong = Wrong::new("missing_key", format!("the key `{}` is missing here", key.name))
                    .why(clause(key.meaning))
                    .hint(format!("{}: {}", key.name, key.example));
                self.path.push(Seg::Key(Cow::Borrowed(key.name)));
                let mut at = node.at;
                at.end = at.start;
                self.report_at(at, path_text(&self.path), "nothing".to_owned(), wrong);
                self.path.pop();
            }
        }
    }

    pub fn wrong_type(&mut self, node: &Node<'_>, expected: &str) {
        let what = format!("found {}, expected {expected}", describe(node));
        let hint = if node.is_empty_value() { "write a value, or remove the key" } else { "" };
        self.report(node, Wrong::new("wrong_type", what).hint(hint));
    }

    /// The text of a scalar that may be anything but a number, `true`, `false` or nothing without quotes.
    pub fn text(&mut self, node: &'t Node<'t>, expected: &str, is_loose: bool) -> Option<&'t str> {
        let Value::Scalar { text, plain } = &node.value else {
            self.wrong_type(node, expected);
            return None;
        };
        if *plain && !is_loose && !is_text(text) {
            let what = format!("found {}, expected {expected}", describe(node));
            let hint = if node.is_empty_value() {
                "write a value, or remove the key".to_owned()
            } else {
                format!("\"{text}\"")
            };
            self.report(
                node,
                Wrong::new("wrong_type", what).why("without quotes YAML does not read it as text").hint(hint),
            );
            return None;
        }
        if let Some(kind) = looks_secret(text) {
            self.report(
                node,
                Wrong::new("literal_secret", format!("this looks like {kind}"))
                    .why("the file is shared and kept in history; secrets stay outside of it")
                    .hint("put it in a file or variable, write \"${file:PATH}\" or \"${NAME}\" here, and replace the secret if the file was shared")
                    .secret(),
            );
            return None;
        }
        Some(text)
    }

    /// The index of a word of a closed set.
    pub fn word(&mut self, node: &'t Node<'t>, words: &'static [Word]) -> Option<usize> {
        let Value::Scalar { text, .. } = &node.value else {
            self.wrong_type(node, "one word");
            return None;
        };
        let is_open = |word: &&Word| word.mark.is_available() || self.caps.everything;
        let Some(index) = words.iter().position(|word| word.text == text) else {
            let names = words
                .iter()
                .map(|word| if is_open(&word) { word.text.to_owned() } else { format!("{} (not yet)", word.text) });
            let what = if node.is_empty_value() {
                "a word is missing here".to_owned()
            } else {
                format!("`{}` is not a word this key knows", printable(text, 60))
            };
            let wrong = Wrong::new("unknown_value", what)
                .allowed(names)
                .nearest(nearest(text, words.iter().map(|word| word.text)));
            self.report(node, wrong);
            return None;
        };
        if !is_open(&&words[index]) && self.later == 0 {
            let wrong = Wrong::not_yet(format!("`{text}` belongs to the contract, but is not built yet"))
                .why(clause(words[index].meaning))
                .allowed(words.iter().filter(is_open).map(|word| word.text));
            self.report(node, wrong);
        }
        Some(index)
    }

    /// The problems in the order of the file.
    pub fn finish(mut self, text: &str, file: &str) -> Vec<Problem> {
        for (index, count) in self.noted.values() {
            if *count > 1
                && let Some(draft) = self.drafts.get_mut(*index)
            {
                let places = if *count == 2 { "place" } else { "places" };
                let _ = write!(draft.wrong.what, " (and in {} more {places})", count - 1);
            }
        }
        if self.left_out > 0 {
            let wrong = Wrong::new("too_many_problems", format!("{} more problems are not listed", self.left_out))
                .hint("repair the ones above first");
            self.drafts.push(Draft {
                at: At { line: u32::MAX, ..At::default() },
                path: String::new(),
                found: String::new(),
                wrong,
            });
        }
        self.drafts.sort_by_key(|draft| (draft.at.line, draft.at.column));
        let mut masked = self.masked;
        masked.sort_unstable();
        self.drafts.into_iter().map(|draft| draft.finish(text, file, &masked)).collect()
    }
}

struct Warning;

impl Warning {
    fn of(note: &str, key: &Key) -> Wrong {
        let (what, rest) = note.split_once("; ").unwrap_or((note, ""));
        Wrong::warning(
            "no_effect_yet",
            format!(
                "`{}` is {}",
                key.name,
                if what == "recorded" { "recorded only" } else { "read, but not served yet" }
            ),
        )
        .why(if what == "recorded" { rest.to_owned() } else { note.to_owned() })
        .hint("nothing; leave it as it is")
    }
}

impl Draft {
    fn finish(self, text: &str, file: &str, masked: &[(usize, usize)]) -> Problem {
        problem(text, file, masked, self.at, self.path, self.found, self.wrong)
    }
}

/// A path as it is shown: `connected_repositories[2].data_sync`.
pub fn path_text(path: &[Seg]) -> String {
    let mut out = String::new();
    // Everything but the root key itself stands in it; naming it each time would say nothing.
    let path = match path {
        [Seg::Key(root), rest @ ..] if root == "cathedral_ecosystem" && !rest.is_empty() => rest,
        whole => whole,
    };
    for seg in path {
        match seg {
            Seg::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
            Seg::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                if key.contains(['.', '[', ' ']) {
                    let _ = write!(out, "\"{key}\"");
                } else {
                    out.push_str(key);
                }
            }
        }
    }
    out
}

/// A value in words.
pub fn describe(node: &Node<'_>) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a section".to_owned(),
        Value::Scalar { .. } if node.is_empty_value() => "nothing".to_owned(),
        Value::Scalar { text, plain: true } if is_bool(text) => format!("`{text}` (true or false)"),
        Value::Scalar { text, plain: true } if is_number(text) => format!("the number {}", printable(text, 40)),
        Value::Scalar { text, .. } => format!("the text \"{}\"", printable(text, 40)),
    }
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

pub(super) fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let begins = digits.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    begins && (digits.parse::<f64>().is_ok() || digits.starts_with("0x") || digits.starts_with("0o"))
        || matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// Whether a plain scalar is text by YAML's rules.
fn is_text(text: &str) -> bool {
    !(matches!(text, "" | "~" | "null" | "Null" | "NULL") || is_bool(text) || is_number(text))
}
