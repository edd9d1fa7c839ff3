//! Keyed three-way merge of structured text, by splicing the bytes of the sides.
//!
//! A text is read into a tree in which every byte has a slot. The trees are matched by key, each place is decided by
//! what base, hub and spoke hold there, and the result is written from the slots of the sides: what did not change
//! keeps its bytes. The result is read again and must hold exactly the merged values; else the merge declines.

pub(crate) mod flow;
pub(crate) mod identity;
pub(crate) mod ini;
pub(crate) mod layout;
pub(crate) mod merge;
pub(crate) mod node;
pub(crate) mod order;
pub(crate) mod rewrite;
pub(crate) mod toml;
pub(crate) mod yaml;

use crate::conflict::{Pattern, Reason, Side};
use crate::kind::Syntax;
use merge::Merger;
use node::{Doc, Fault, Out};

/// Above this a text is not read as a tree.
pub(crate) const LIMIT_BYTES: usize = 16 << 20;

/// A place that only a person can decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// Where, as a JSON pointer; list items by their name (`/deps/name=serde`).
    pub pointer: String,
    /// What kind of disagreement it is.
    pub pattern: Pattern,
    /// The value's text in base; `None` when it was not there.
    pub base: Option<String>,
    /// The value's text in hub; `None` when it is not there.
    pub hub: Option<String>,
    /// The value's text in spoke; `None` when it is not there.
    pub spoke: Option<String>,
}

/// A person's choice for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldChoice {
    /// Hub's value, or its absence.
    Hub,
    /// The spoke's value, or its absence.
    Spoke,
    /// Base's value, or its absence.
    Base,
    /// Another value.
    Value(String),
}

/// The result of a keyed merge; complete when nothing is open.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub text: String,
    pub pattern: Pattern,
    pub open: Vec<FieldConflict>,
}

/// Decides open places: a choice, or `None` to go with `prefer`.
pub(crate) type Choose<'c> = &'c dyn Fn(&str) -> Option<FieldChoice>;

/// Reads a text with plain line feeds.
pub(crate) fn parse(syntax: Syntax, text: &str) -> Result<Doc<'_>, Fault> {
    if text.len() > LIMIT_BYTES {
        return Err(Fault::Unsupported(format!("more than {LIMIT_BYTES} bytes")));
    }
    match syntax {
        Syntax::Json | Syntax::Jsonc => flow::parse(text, syntax).map(|root| Doc { root, positional: Vec::new() }),
        Syntax::Toml => toml::parse(text),
        Syntax::Yaml => yaml::parse(text),
        Syntax::GitConfig | Syntax::Ini => ini::parse(text, syntax),
    }
}

/// Merges three texts by key. Open places get `choose`'s answer, else the value of the side `prefer`.
pub(crate) fn merge(
    syntax: Syntax,
    base: Option<&str>,
    hub: &str,
    spoke: &str,
    choose: Choose<'_>,
    prefer: Side,
) -> Result<Merged, Reason> {
    let read = |side, text| parse(syntax, text).map_err(|fault| reason(side, fault));
    let base_doc = base.map(|text| read(Side::Base, text)).transpose()?;
    let hub_doc = read(Side::Hub, hub)?;
    let spoke_doc = read(Side::Spoke, spoke)?;
    if syntax == Syntax::Toml && same_toml(hub, spoke) && hub_doc.root.digest != spoke_doc.root.digest {
        return Ok(Merged { text: hub.to_owned(), pattern: Pattern::SameEdit, open: Vec::new() });
    }
    let mut merger = Merger::new(syntax, choose, prefer);
    merger.canvas = layout::canvas(base_doc.as_ref(), &hub_doc, &spoke_doc);
    merger.check_positional(base_doc.as_ref(), &hub_doc, &spoke_doc)?;
    let root = merger
        .node("", base_doc.as_ref().map(|doc| &doc.root), &hub_doc.root, &spoke_doc.root)
        .map_err(|what| Reason::Check(what.to_owned()))?;
    let mut out = Out::default();
    root.render(&mut out, true);
    let again = parse(syntax, &out.text).map_err(|fault| match fault {
        Fault::Broken(what) | Fault::Unsupported(what) => Reason::Check(format!("the result does not parse: {what}")),
        Fault::Duplicate(key) => Reason::Check(format!("the result has the key {key} twice")),
    })?;
    if again.root.digest != root.digest {
        return Err(Reason::Check("the result does not hold the merged values".to_owned()));
    }
    Ok(Merged { text: out.text, pattern: merger.pattern(), open: merger.open })
}

/// Says whether two texts hold equal values and the same comments.
pub(crate) fn same_value(syntax: Syntax, a: &[u8], b: &[u8]) -> bool {
    let read = |bytes| {
        let text = crate::text::form::Text::decode(bytes)?;
        let body = text.body.replace("\r\n", "\n");
        let doc = parse(syntax, &body).ok()?;
        let mut said = Vec::new();
        doc.root.slots(&mut |slot| node::comments(slot, syntax, &mut said));
        said.sort();
        Some((doc.root.digest, said, body))
    };
    let (Some((a, a_said, a_body)), Some((b, b_said, b_body))) = (read(a), read(b)) else { return false };
    a_said == b_said && (a == b || syntax == Syntax::Toml && same_toml(&a_body, &b_body))
}

pub(crate) fn reason(side: Side, fault: Fault) -> Reason {
    match fault {
        Fault::Broken(what) => Reason::Unparsable { side, what },
        Fault::Unsupported(what) => Reason::Unsupported { side, what },
        Fault::Duplicate(key) => Reason::DuplicateKey { side, key },
    }
}

/// Says whether two TOML texts hold equal values, whatever mix of tables, dotted keys and inline tables they use.
fn same_toml(a: &str, b: &str) -> bool {
    fn value(item: &toml_edit::Item, out: &mut String) {
        match item {
            toml_edit::Item::None => {}
            toml_edit::Item::Value(v) => scalar(v, out),
            toml_edit::Item::Table(table) => entries(table.iter().map(|(k, v)| (k.to_owned(), v.clone())), out),
            toml_edit::Item::ArrayOfTables(tables) => {
                out.push('[');
                for table in tables {
                    entries(table.iter().map(|(k, v)| (k.to_owned(), v.clone())), out);
                    out.push(',');
                }
                out.push(']');
            }
        }
    }
    fn scalar(v: &toml_edit::Value, out: &mut String) {
        match v {
            toml_edit::Value::Array(array) => {
                out.push('[');
                for item in array {
                    scalar(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            toml_edit::Value::InlineTable(table) => {
                entries(table.iter().map(|(k, v)| (k.to_owned(), toml_edit::Item::Value(v.clone()))), out);
            }
            toml_edit::Value::String(s) => out.push_str(&format!("{:?}", s.value())),
            toml_edit::Value::Integer(i) => out.push_str(&format!("i{}", i.value())),
            toml_edit::Value::Float(f) => out.push_str(&format!("f{:?}", f.value())),
            toml_edit::Value::Boolean(b) => out.push_str(&format!("{}", b.value())),
            toml_edit::Value::Datetime(d) => out.push_str(&format!("d{}", d.value())),
        }
    }
    fn entries(items: impl Iterator<Item = (String, toml_edit::Item)>, out: &mut String) {
        let mut items: Vec<(String, toml_edit::Item)> = items.collect();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        out.push('{');
        for (key, item) in items {
            out.push_str(&format!("{key:?}:"));
            value(&item, out);
            out.push(',');
        }
        out.push('}');
    }
    let digest = |text: &str| {
        let document = text.parse::<toml_edit::DocumentMut>().ok()?;
        let mut out = String::new();
        value(document.as_item(), &mut out);
        Some(out)
    };
    let a = digest(a);
    a.is_some() && a == digest(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SYNTAXES: [Syntax; 6] =
        [Syntax::Json, Syntax::Jsonc, Syntax::Toml, Syntax::Yaml, Syntax::GitConfig, Syntax::Ini];

    fn written(doc: &Doc<'_>) -> String {
        let mut out = Out::default();
        doc.root.render(&mut out, true);
        out.text
    }

    fn texts() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"b\\u00e9\"",
            "1",
            "-0.5e+3",
            "true",
            "null",
            "\n",
            "\n",
            " ",
            "  ",
            "a: 1\n",
            "b:\n",
            "  c: 2\n",
            "- x\n",
            "- name: y\n",
            "  z: 'q' # e\n",
            "t: |\n    x\n\n    y\n",
            "u: >-\n  w\n",
            "f: [a, {b: c}]\n",
            "a = 1\n",
            "b = [1,\n 2] # x\n",
            "c.d = { e = 'f' }\n",
            "[a]\n",
            "[[t]]\n",
            "name = \"n\"\n",
            "m = \"\"\"\nx\n\"\"\"\n",
            "# c\n",
            " # d",
            "// e\n",
            "/* f */",
            "---\n",
            "[submodule \"s\"]\n",
            "\tpath = p\n",
            "\r\n",
            "é",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_read_is_written_back_byte_for_byte(text in texts()) {
            for syntax in SYNTAXES {
                if let Ok(doc) = parse(syntax, &text) {
                    prop_assert_eq!(written(&doc), text.as_str(), "{:?}", syntax);
                }
            }
        }

        #[test]
        fn json_is_what_serde_json_says_it_is(text in texts()) {
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            match (parse(Syntax::Json, &text), theirs) {
                (Ok(doc), Ok(value)) => prop_assert_eq!(doc.root.digest, rewrite::value_digest(&value)),
                (Ok(_), Err(error)) => prop_assert!(false, "serde_json refuses: {error}"),
                (Err(Fault::Broken(what)), Ok(_)) => prop_assert!(false, "only we refuse: {what}"),
                _ => {}
            }
        }

        #[test]
        fn jsonc_is_what_jsonc_parser_says_it_is(text in texts()) {
            use jsonc_parser::{ParseOptions, parse_to_ast};
            let theirs = parse_to_ast(&text, &Default::default(), &ParseOptions::default());
            if parse(Syntax::Jsonc, &text).is_ok() {
                prop_assert!(theirs.is_ok(), "{:?}", theirs.err());
            }
        }
    }

    #[test]
    fn a_tree_says_what_it_does_not_read() {
        for (syntax, text, expect) in [
            (Syntax::Yaml, "a: &x 1\n", "an anchor"),
            (Syntax::Yaml, "a: *x\n", "an alias"),
            (Syntax::Yaml, "a: !t 1\n", "a tag"),
            (Syntax::Yaml, "<<: 1\n", "a merge key"),
            (Syntax::Yaml, "? a\n: b\n", "a complex key"),
            (Syntax::Yaml, "a:\n\tb: 1\n", "tabs in the indent"),
            (Syntax::Yaml, "a: [1,\n  2]\n", "a flow collection over several lines"),
            (Syntax::Yaml, "a: b\n  c\n", "a value over several lines"),
            (Syntax::Yaml, "a: 1\n---\nb: 1\n", "a stream of documents"),
            (Syntax::Jsonc, "{\"a\" /* x */: 1}", "a comment between a key and its value"),
            (Syntax::GitConfig, "[a]\nb = c\\\nd\n", "a value over several lines"),
        ] {
            assert_eq!(parse(syntax, text).err(), Some(Fault::Unsupported(expect.to_owned())), "{text}");
        }
        for (syntax, text) in [
            (Syntax::Yaml, "a: 1\n  b: 2\n"),
            (Syntax::Yaml, "a: b: c\n"),
            (Syntax::Json, "{\"a\":1,}"),
            (Syntax::Json, "{\"a\":01}"),
            (Syntax::Json, "// x\n{}"),
            (Syntax::Toml, "a = \n"),
            (Syntax::GitConfig, "[a\n"),
        ] {
            let fault = parse(syntax, text).err();
            assert!(matches!(fault, Some(Fault::Broken(_) | Fault::Unsupported(_))), "{text}: {fault:?}");
        }
        assert_eq!(parse(Syntax::Yaml, "a: 1\na: 2\n").err(), Some(Fault::Duplicate("a".to_owned())));
    }
}
