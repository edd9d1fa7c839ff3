//! The laws of the merge, on generated inputs.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;

use cathedral_conflict::document::{Document, Schema, merge_texts};
use cathedral_conflict::fields::{FieldChoice, apply_fields, fields};
use cathedral_conflict::resolver::{Crdt, Policy, PolicyStage, Structural, Text, Trivial};
use cathedral_conflict::{Chain, Conflict, Kind, Resolution, Resolver};
use proptest::prelude::*;

const PATHS: [&str; 10] =
    ["a.json", "a.jsonc", "a.toml", "a.yaml", ".gitmodules", "a.ini", "a.txt", "a.py", ".gitignore", "Cargo.lock"];

/// Pieces that make well formed and nearly well formed texts of all formats.
const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\"",
    "1",
    "1e3",
    "true",
    "null",
    "\n",
    "\n",
    "\n",
    "  ",
    "    ",
    "a: 1\n",
    "b:\n",
    "  c: 2\n",
    "- x\n",
    "- name: y\n",
    "a = 1\n",
    "b = [1, 2]\n",
    "[a]\n",
    "[[t]]\n",
    "name = \"n\"\n",
    "# c\n",
    " # d",
    "// e\n",
    "/* f */",
    "[submodule \"s\"]\n",
    "\tpath = p\n",
    "\r\n",
    "é",
    "\u{feff}",
    "&x",
    "*x",
    "|\n",
    "<<: ",
    "\"",
    "'",
    "\\",
    "x.y = 3\n",
];

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..16)
            .prop_map(|pieces| pieces.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn resolvers() -> Vec<Box<dyn Resolver>> {
    let mut all: Vec<Box<dyn Resolver>> =
        vec![Box::new(Trivial), Box::new(Text), Box::new(Structural), Box::new(Crdt::default())];
    for policy in [Policy::Queue, Policy::Hub, Policy::Spoke, Policy::Newest, Policy::Union] {
        all.push(Box::new(PolicyStage(policy)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn an_unchanged_side_gives_the_other_byte_for_byte(base in any_text(), x in any_text()) {
        for path in PATHS {
            for (base, hub, spoke, expect) in [(&base, &x, &base, &x), (&base, &x, &x, &x), (&base, &base, &x, &x)] {
                let conflict = Conflict::new(path, Some(base), hub, spoke);
                for kind in [conflict.kind, Kind::Document] {
                    let conflict = conflict.with_kind(kind);
                    let outcome = Chain::standard().resolve(&conflict);
                    prop_assert_eq!(&outcome.resolution.resolved().unwrap().value, expect);
                    for resolver in resolvers() {
                        if let Resolution::Resolved(candidate) = resolver.resolve(&conflict) {
                            prop_assert_eq!(&candidate.value, expect, "{}", resolver.name());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_answered_and_alike_when_the_sides_are_exchanged(
        base in prop::option::of(any_text()), hub in any_text(), spoke in any_text()
    ) {
        for path in PATHS {
            let conflict = Conflict::new(path, base.as_deref(), &hub, &spoke);
            let chain = Chain::standard();
            let (one, two) = (chain.resolve(&conflict), chain.resolve(&conflict.swapped()));
            for outcome in [&one, &two] {
                let panicked = outcome.trace.iter().any(|step| step.result.contains("the resolver failed"));
                prop_assert!(!panicked, "{:?}", outcome.trace);
            }
            prop_assert_eq!(one.resolution.resolved().is_some(), two.resolution.resolved().is_some());
            prop_assert_eq!(&one, &chain.resolve(&conflict));
            let open = fields(&conflict);
            let choices: BTreeMap<_, _> = open.iter().map(|field| (field.pointer.clone(), FieldChoice::Spoke)).collect();
            let _ = apply_fields(&conflict, &choices);
            let _ = merge_texts(&Schema::default(), base.as_deref(), &hub, &spoke);
        }
    }

    #[test]
    fn a_document_exports_the_bytes_that_it_was_imported_from(file in json_file(), other in json_file()) {
        let schema = Schema { counters: vec!["/k0".into(), "/k1/*".into()], sets: vec!["/k2".into()] };
        let mut document = Document::import(file.as_bytes(), &schema, &[7; 16]).unwrap();
        prop_assert_eq!(document.export(file.as_bytes()).unwrap(), file.as_bytes());
        // Changed to another value and back, the file is the same again.
        document.update(other.as_bytes()).unwrap();
        let written = document.export(file.as_bytes()).unwrap();
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        prop_assert_eq!(value(&document.export(other.as_bytes()).unwrap()), value(other.as_bytes()));
        prop_assert_eq!(document.value().unwrap().as_object().unwrap().len(), value(&written).as_object().unwrap().len());
        document.update(file.as_bytes()).unwrap();
        prop_assert_eq!(document.export(file.as_bytes()).unwrap(), file.as_bytes());
    }

    #[test]
    fn counters_in_documents_never_lose_an_increment(base in -99i64..99, hub in -99i64..99, spoke in -99i64..99) {
        prop_assume!(hub != spoke);
        let schema = Schema { counters: vec!["/n".into()], sets: vec![] };
        let file = |n: i64| format!("{{\"n\": {n}}}");
        let merged =
            merge_texts(&schema, Some(file(base).as_bytes()), file(hub).as_bytes(), file(spoke).as_bytes()).unwrap();
        prop_assert_eq!(merged.value["n"].as_i64(), Some(hub + spoke - base));
        prop_assert!(merged.conflicts.is_empty());
    }

    #[test]
    fn disjoint_edits_are_all_in_the_result_and_nothing_else(edits in edits(), style in 0usize..3) {
        for format in [Format::Json(style), Format::Toml, Format::Yaml(style), Format::Ini, Format::Git] {
            let path = format.path();
            let [base, hub, spoke, expect] = edits.versions().map(|version| format.write(&version));
            let conflict = Conflict::new(path, Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
            let outcome = Chain::standard().resolve(&conflict);
            let shown = format!("{path}\n--- base\n{base}\n--- hub\n{hub}\n--- spoke\n{spoke}\n--- {:?}", outcome.trace);
            let Some(result) = outcome.resolution.resolved() else {
                return Err(TestCaseError::fail(format!("not resolved: {shown}")));
            };
            let result = std::str::from_utf8(&result.value).unwrap();
            prop_assert_eq!(format.facts(result), format.facts(&expect), "{}\n--- result\n{}", shown, result);
            // Every line of the result is a line of a side: what did not change keeps its bytes (a comma apart).
            for line in result.lines() {
                let bare = |line: &str| line.trim_end_matches(',').to_owned();
                let known = [&base, &hub, &spoke].iter().any(|side| side.lines().any(|l| bare(l) == bare(line)));
                prop_assert!(known || !format.has_lines(), "new line {:?}: {}", line, shown);
            }
        }
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        (-5i64..5).prop_map(serde_json::Value::from),
        "[a-c\"\\\\é/]{0,4}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("k[0-3]", inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn json_file() -> impl Strategy<Value = String> {
    (prop::collection::btree_map("k[0-3]", json_value(), 0..4), 0usize..3).prop_map(|(fields, style)| {
        let value = serde_json::Value::Object(fields.into_iter().collect());
        match style {
            0 => value.to_string(),
            1 => serde_json::to_string_pretty(&value).unwrap() + "\n",
            _ => serde_json::to_string_pretty(&value).unwrap().replace("  ", "\t").replace('\n', "\r\n"),
        }
    })
}

/// Sections of keys with small numbers.
type Version = Vec<(String, Vec<(String, u32)>)>;

#[derive(Debug, Clone)]
struct Edits {
    base: Version,
    /// For every key of base: nobody, hub or spoke; and delete, or a new value.
    changes: Vec<(u8, Option<u32>)>,
    /// Section, place in it, side.
    added: Vec<(usize, usize, bool)>,
}

fn edits() -> impl Strategy<Value = Edits> {
    prop::collection::vec(1usize..5, 1..4)
        .prop_flat_map(|sizes| {
            let count = sizes.iter().sum::<usize>();
            (
                Just(sizes),
                prop::collection::vec((0u8..3, prop::option::of(100u32..999)), count),
                prop::collection::vec((0usize..3, 0usize..5, any::<bool>()), 0..4),
            )
        })
        .prop_map(|(sizes, changes, added)| {
            let mut number = 0;
            let base = sizes.iter().enumerate().map(|(section, size)| {
                let mut keys = vec![(format!("keep{section}"), 1)];
                keys.extend((0..*size).map(|key| {
                    number += 1;
                    (format!("k{section}_{key}"), number)
                }));
                (format!("sec{section}"), keys)
            });
            Edits { base: base.collect(), changes, added }
        })
}

impl Edits {
    fn versions(&self) -> [Version; 4] {
        let apply = |hub: bool, spoke: bool| {
            let mut changes = self.changes.iter();
            let mut version: Version = Vec::new();
            for (section, keys) in &self.base {
                let mut kept = Vec::new();
                for (key, value) in keys {
                    if key.starts_with("keep") {
                        kept.push((key.clone(), *value));
                        continue;
                    }
                    let (who, what) = changes.next().unwrap();
                    if *who == 1 && hub || *who == 2 && spoke {
                        kept.extend(what.map(|value| (key.clone(), value)));
                    } else {
                        kept.push((key.clone(), *value));
                    }
                }
                version.push((section.clone(), kept));
            }
            for (index, (section, place, by_hub)) in self.added.iter().enumerate() {
                if *by_hub && hub || !*by_hub && spoke {
                    let at = section % version.len();
                    let keys = &mut version[at].1;
                    let place = (*place).min(keys.len());
                    keys.insert(place, (format!("new{index}"), 7000 + index as u32));
                }
            }
            version
        };
        [apply(false, false), apply(true, false), apply(false, true), apply(true, true)]
    }
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Json(usize),
    Toml,
    Yaml(usize),
    Ini,
    Git,
}

impl Format {
    fn path(self) -> &'static str {
        match self {
            Format::Json(_) => "x.json",
            Format::Toml => "x.toml",
            Format::Yaml(_) => "x.yaml",
            Format::Ini => "x.ini",
            Format::Git => ".gitmodules",
        }
    }

    fn has_lines(self) -> bool {
        !matches!(self, Format::Json(0))
    }

    fn write(self, version: &Version) -> String {
        let mut out = String::new();
        match self {
            Format::Json(style) => {
                let value: serde_json::Map<_, _> = version
                    .iter()
                    .map(|(section, keys)| {
                        let keys = keys.iter().map(|(key, value)| (key.clone(), (*value).into()));
                        (section.clone(), serde_json::Value::Object(keys.collect()))
                    })
                    .collect();
                let value = serde_json::Value::Object(value);
                return match style {
                    0 => value.to_string(),
                    1 => serde_json::to_string_pretty(&value).unwrap(),
                    _ => serde_json::to_string_pretty(&value).unwrap().replace("  ", "\t") + "\n",
                };
            }
            Format::Yaml(2) => {
                // A list of named objects.
                out.push_str("list:\n");
                for (section, keys) in version {
                    out.push_str(&format!("  - name: {section}\n"));
                    for (key, value) in keys {
                        out.push_str(&format!("    # about {key}\n    {key}: {value} # {key}\n"));
                    }
                }
            }
            Format::Yaml(_) => {
                for (section, keys) in version {
                    out.push_str(&format!("{section}:\n"));
                    for (key, value) in keys {
                        out.push_str(&format!("  # about {key}\n  {key}: {value} # {key}\n"));
                    }
                }
            }
            Format::Toml => {
                for (section, keys) in version {
                    out.push_str(&format!("[{section}]\n"));
                    for (key, value) in keys {
                        out.push_str(&format!("# about {key}\n{key} = {value} # {key}\n"));
                    }
                    out.push('\n');
                }
            }
            Format::Ini | Format::Git => {
                let close = if matches!(self, Format::Git) { " \"s\"]" } else { "]" };
                for (section, keys) in version {
                    out.push_str(&format!("[{section}{close}\n"));
                    for (key, value) in keys {
                        out.push_str(&format!("; about {key}\n{key} = {value}\n"));
                    }
                }
            }
        }
        out
    }

    /// Reads what a text says, comments included, by other means than the merge.
    fn facts(self, text: &str) -> BTreeMap<String, usize> {
        let mut facts = BTreeMap::new();
        if let Format::Json(_) = self {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            for (section, keys) in value.as_object().unwrap() {
                for (key, value) in keys.as_object().unwrap() {
                    *facts.entry(format!("{section} {key} {value}")).or_default() += 1;
                }
            }
            return facts;
        }
        if let Format::Toml = self {
            text.parse::<toml_edit::DocumentMut>().unwrap();
        }
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('[') || line.ends_with(':') || line.starts_with("- ") {
                section = line;
            } else {
                *facts.entry(format!("{section} {line}")).or_default() += 1;
            }
        }
        facts
    }
}
